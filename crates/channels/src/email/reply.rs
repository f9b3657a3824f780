//! Reads SMTP replies out of a buffer, within bounds.

/// Longest reply taken, in bytes; RFC 5321 allows 512 a line.
const REPLY_BYTES: usize = 16 * 1024;
/// What is kept of a reply for people to read.
const SHOWN_CHARS: usize = 1000;

/// One complete reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// The lines without code, joined by line feeds.
    pub text: String,
}

impl Reply {
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    pub fn is_refusal(&self) -> bool {
        matches!(self.code / 100, 4 | 5)
    }

    /// The enhanced status code (RFC 2034), if its class agrees with the code's.
    pub fn enhanced(&self) -> Option<&str> {
        let word = self.text.split([' ', '\n']).next()?;
        let mut parts = word.split('.');
        let class = parts.next()?.parse::<u16>().ok()?;
        let short =
            |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        let whole = parts.next().is_some_and(short)
            && parts.next().is_some_and(short)
            && parts.next().is_none();
        (whole && class == self.code / 100).then_some(word)
    }

    /// Code and text in one line. Servers repeat the enhanced code in each line; it is kept once.
    pub fn one_line(&self) -> String {
        let enhanced = self.enhanced();
        let mut line = self.code.to_string();
        for (number, text) in self.text.split('\n').enumerate() {
            let text = match enhanced {
                Some(code) if number > 0 => text.strip_prefix(code).unwrap_or(text),
                _ => text,
            };
            if !text.trim().is_empty() {
                line.push(' ');
                line.push_str(text.trim());
            }
        }
        match line.char_indices().nth(SHOWN_CHARS) {
            Some((end, _)) => line[..end].to_owned(),
            None => line,
        }
    }
}

/// The reply at the front of `input` and its length in bytes; `None` while it is incomplete. The error
/// says why this can never become a reply.
pub fn parse(input: &[u8]) -> Result<Option<(Reply, usize)>, &'static str> {
    let mut reply: Option<Reply> = None;
    let mut used = 0;
    loop {
        if used > REPLY_BYTES {
            return Err("reply too long");
        }
        let Some(length) = input[used..].iter().position(|byte| *byte == b'\n') else {
            return if input.len() > REPLY_BYTES { Err("reply too long") } else { Ok(None) };
        };
        let line = &input[used..used + length];
        used += length + 1;
        let (code, last, text) = parse_line(line.strip_suffix(b"\r").unwrap_or(line))?;
        let reply = match &mut reply {
            None => reply.insert(Reply { code, text }),
            Some(reply) if reply.code == code => {
                reply.text.push('\n');
                reply.text.push_str(&text);
                reply
            }
            Some(_) => return Err("reply changes its code"),
        };
        if last {
            return Ok(Some((
                std::mem::replace(reply, Reply { code: 0, text: String::new() }),
                used,
            )));
        }
    }
}

/// Code, whether the reply ends here, and text of one line.
fn parse_line(line: &[u8]) -> Result<(u16, bool, String), &'static str> {
    let (code, rest) = line.split_at_checked(3).ok_or("line without a reply code")?;
    let digits = code.iter().all(u8::is_ascii_digit);
    let code = code.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit.wrapping_sub(b'0')));
    if !digits || !(200..600).contains(&code) {
        return Err("line without a reply code");
    }
    let last = match rest.first() {
        None | Some(b' ') => true,
        Some(b'-') => false,
        Some(_) => return Err("line without a reply code"),
    };
    let text = String::from_utf8_lossy(rest.get(1..).unwrap_or_default());
    Ok((code, last, text.replace(|c: char| c.is_control(), " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &[u8], code: u16, enhanced: Option<&str>, line: &str) {
        let (reply, used) = parse(input).expect("it is a reply").expect("it is complete");
        assert_eq!(
            (reply.code, reply.enhanced(), reply.one_line().as_str()),
            (code, enhanced, line)
        );
        assert_eq!(used, input.len());
        for end in 0..input.len() {
            assert_eq!(parse(&input[..end]), Ok(None), "{end} bytes");
        }
    }

    #[test]
    fn replies_are_read_when_complete() {
        check(b"250 ok\r\n", 250, None, "250 ok");
        check(b"250\r\n", 250, None, "250");
        check(b"250 ok\n", 250, None, "250 ok");
        check(b"550 5.1.1 no such user\r\n", 550, Some("5.1.1"), "550 5.1.1 no such user");
        check(
            b"550-5.1.1 The account does\r\n550-5.1.1 not exist.\r\n550 5.1.1\r\n",
            550,
            Some("5.1.1"),
            "550 5.1.1 The account does not exist.",
        );
        check(b"550 4.1.1 classes differ\r\n", 550, None, "550 4.1.1 classes differ");
        check(b"550 5.1.1234 no code\r\n", 550, None, "550 5.1.1234 no code");
        check(b"550 10.0.0.1 is listed\r\n", 550, None, "550 10.0.0.1 is listed");
        check(b"451 \xff\x07 odd\r\n", 451, None, "451 \u{fffd}  odd");
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for input in [
            &b"<html>\r\n"[..],
            b"\r\n",
            b"25\r\n",
            b"2500 ok\r\n",
            b"150 ok\r\n",
            b"999 ok\r\n",
            b"250-a\r\n251 b\r\n",
            b"+OK ready\r\n",
        ] {
            assert!(parse(input).is_err(), "{:?}", String::from_utf8_lossy(input));
        }
        assert!(parse(&b"250-".repeat(5000)).is_err());
        assert!(parse(&b"250-x\r\n".repeat(5000)).is_err());
    }

    #[test]
    fn long_replies_are_shown_in_part() {
        let input = format!("550 {}\r\n", "ü".repeat(3000));
        let (reply, _) = parse(input.as_bytes()).expect("it is a reply").expect("it is complete");
        assert_eq!(reply.one_line().chars().count(), SHOWN_CHARS);
    }
}
