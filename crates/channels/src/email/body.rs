//! The text of a message as it goes over the wire.

/// Appends `message` as DATA wants it: every line end CRLF, leading dots doubled, the final dot last.
///
/// A bare CR or LF becomes CRLF, so that no server can take something inside the message for its end
/// (RFC 5321 section 2.3.8 forbids sending them; servers differ in what they make of them).
pub fn write_body(message: &[u8], out: &mut Vec<u8>) {
    out.reserve(message.len() + message.len() / 64 + 8);
    let mut rest = message;
    while !rest.is_empty() {
        let end =
            rest.iter().position(|byte| *byte == b'\n' || *byte == b'\r').unwrap_or(rest.len());
        if rest[0] == b'.' {
            out.push(b'.');
        }
        out.extend_from_slice(&rest[..end]);
        out.extend_from_slice(b"\r\n");
        let line_end = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = rest.get(end + line_end..).unwrap_or_default();
    }
    out.extend_from_slice(b".\r\n");
}

#[cfg(test)]
mod tests {
    use super::write_body;

    #[test]
    fn lines_are_normalised_and_stuffed() {
        for (message, expected) in [
            (&b""[..], &b".\r\n"[..]),
            (b"a", b"a\r\n.\r\n"),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b"a\nb\rc\r\n", b"a\r\nb\r\nc\r\n.\r\n"),
            (b".\r\n..\r\n.x\r\nx.\r\n", b"..\r\n...\r\n..x\r\nx.\r\n.\r\n"),
            (b"a\n.\nMAIL FROM:<x>\n", b"a\r\n..\r\nMAIL FROM:<x>\r\n.\r\n"),
            (b"a\r.\rb", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\r\r\n.\n\n", b"a\r\n\r\n..\r\n\r\n.\r\n"),
        ] {
            let mut out = Vec::new();
            write_body(message, &mut out);
            assert_eq!(out, expected, "{:?}", String::from_utf8_lossy(message));
        }
    }
}
