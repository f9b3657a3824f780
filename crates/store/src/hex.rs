//! Bytes as hexadecimal text, and back.

/// Two lower-case digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// `None` where the text is not an even number of hexadecimal digits.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[a, b]| u8::try_from(digit(*a)? * 16 + digit(*b)?).ok()).collect()
}

#[test]
fn bytes_come_back() {
    for (bytes, text) in [(&[][..], ""), (&[0, 15, 255], "000fff")] {
        assert_eq!(hex(bytes), text);
        assert_eq!(unhex(text).as_deref(), Some(bytes));
    }
    for wrong in ["0", "0g", "+1", "é"] {
        assert_eq!(unhex(wrong), None, "{wrong}");
    }
}
