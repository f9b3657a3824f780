//! The relaxed forms that are hashed (RFC 6376 sections 3.4.2 and 3.4.4).

/// A header field as it stands in a mail: what is before and after its colon, folds included.
pub(super) struct Field<'m> {
    name: &'m [u8],
    pub(super) value: &'m [u8],
}

impl Field<'_> {
    /// Whether it has this name, which is given in lower case.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.trim_ascii_end().eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Parts a mail into its fields and its body; `None` where it begins with no field.
pub(super) fn split(mail: &[u8]) -> Option<(Vec<Field<'_>>, &[u8])> {
    let mut fields: Vec<Field<'_>> = Vec::with_capacity(16);
    let mut at = 0;
    // Where the field in hand begins, and where its colon is.
    let mut open: Option<(usize, usize)> = None;
    while at < mail.len() {
        let (line, next) = line(mail, at);
        if line.is_empty() {
            fields.extend(field(mail, open, at));
            return Some((fields, &mail[next..])).filter(|(fields, _)| !fields.is_empty());
        }
        if !matches!(line[0], b' ' | b'\t') {
            fields.extend(field(mail, open, at));
            open = line.iter().position(|byte| *byte == b':').map(|colon| (at, at + colon));
        }
        at = next;
    }
    fields.extend(field(mail, open, mail.len()));
    Some((fields, &mail[mail.len()..])).filter(|(fields, _)| !fields.is_empty())
}

fn field(mail: &[u8], open: Option<(usize, usize)>, end: usize) -> Option<Field<'_>> {
    let (start, colon) = open?;
    Some(Field { name: &mail[start..colon], value: &mail[colon + 1..end] })
}

/// The line that begins at `at`, without its end, and where the next one begins.
fn line(text: &[u8], at: usize) -> (&[u8], usize) {
    let rest = &text[at..];
    let Some(end) = memchr::memchr2(b'\r', b'\n', rest) else {
        return (rest, text.len());
    };
    let after = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
    (&rest[..end], at + end + after)
}

/// Appends a field in its relaxed form, without a line end. The name is given in lower case.
pub(super) fn header(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    let mut space = false;
    let mut begun = false;
    for byte in value {
        match byte {
            b'\r' | b'\n' => {}
            b' ' | b'\t' => space = begun,
            other => {
                if std::mem::take(&mut space) {
                    out.push(b' ');
                }
                out.push(*other);
                begun = true;
            }
        }
    }
}

/// The body in its relaxed form: runs of spaces are one, none end a line, no empty lines end it.
pub(super) fn body(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 2);
    let mut empty_lines = 0;
    let mut at = 0;
    while at < body.len() {
        let (mut line, next) = line(body, at);
        at = next;
        while let Some((b' ' | b'\t', before)) = line.split_last() {
            line = before;
        }
        if line.is_empty() {
            empty_lines += 1;
            continue;
        }
        for _ in 0..std::mem::take(&mut empty_lines) {
            out.extend_from_slice(b"\r\n");
        }
        if is_relaxed(line) {
            out.extend_from_slice(line);
        } else {
            relax(line, &mut out);
        }
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Whether a line has neither tabs nor runs of spaces, as nearly all have. Every byte is looked at, so
/// that many are at once.
fn is_relaxed(line: &[u8]) -> bool {
    let pairs = line.iter().zip(line.iter().skip(1));
    let runs = pairs.fold(false, |found, (one, next)| found | (*one == b' ' && *next == b' '));
    !runs & line.iter().fold(true, |found, byte| found & (*byte != b'\t'))
}

fn relax(line: &[u8], out: &mut Vec<u8>) {
    let mut space = false;
    for byte in line {
        if matches!(byte, b' ' | b'\t') {
            space = true;
            continue;
        }
        if std::mem::take(&mut space) {
            out.push(b' ');
        }
        out.push(*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_relaxed_as_the_standard_says() {
        for (text, expected) in [
            // The example of section 3.4.5.
            (" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"),
            ("", ""),
            ("\r\n\r\n", ""),
            (" \t\r\n", ""),
            ("a\r\n \r\n\t\r\n", "a\r\n"),
            ("a\r\n\r\nb", "a\r\n\r\nb\r\n"),
            ("a\nb\rc\r\n", "a\r\nb\r\nc\r\n"),
        ] {
            assert_eq!(String::from_utf8(body(text.as_bytes())).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn headers_are_relaxed_as_the_standard_says() {
        let mail = b"A: X\r\nB : Y\t\r\n\tZ  \r\nnothing\r\n\r\n C \r\n";
        let (fields, rest) = split(mail).expect("fields");
        assert_eq!(rest, b" C \r\n");
        let relaxed = |name: &str| {
            let field = fields.iter().find(|field| field.is(name)).expect("the field");
            let mut out = Vec::new();
            header(name, field.value, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!((relaxed("a").as_str(), relaxed("b").as_str()), ("a:X", "b:Y Z"));
        assert!(split(b"").is_none() && split(b"\r\nbody").is_none());
        assert_eq!(split(b"A: x").map(|(fields, body)| (fields.len(), body)), Some((1, &b""[..])));
    }
}
