//! From when until when a certificate holds, out of its DER (RFC 5280, 4.1); nothing else of it.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The first and the last moment; `None` for what is no certificate.
pub fn validity(der: &[u8]) -> Option<(Timestamp, Timestamp)> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (to_be_signed, _) = element(certificate, SEQUENCE)?;
    let rest = match element(to_be_signed, VERSION) {
        Some((_, rest)) => rest,
        None => to_be_signed,
    };
    let (_serial, rest) = element(rest, INTEGER)?;
    let (_algorithm, rest) = element(rest, SEQUENCE)?;
    let (_issuer, rest) = element(rest, SEQUENCE)?;
    let (validity, _) = element(rest, SEQUENCE)?;
    let (begins_at, rest) = time(validity)?;
    let (ends_at, _) = time(rest)?;
    Some((begins_at, ends_at))
}

/// The content of the element in front, which has this tag, and what follows it.
fn element(from: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = from.split_first()?;
    if first != tag {
        return None;
    }
    let (&length, mut rest) = rest.split_first()?;
    let mut size = usize::from(length);
    if length >= 0x80 {
        let count = usize::from(length & 0x7f);
        // No certificate needs more than four bytes for a length.
        if count == 0 || count > 4 {
            return None;
        }
        let (digits, after) = rest.split_at_checked(count)?;
        size = digits.iter().fold(0, |size, digit| size << 8 | usize::from(*digit));
        rest = after;
    }
    rest.split_at_checked(size)
}

fn time(from: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (text, rest, has_century) = match element(from, UTC_TIME) {
        Some((text, rest)) => (text, rest, false),
        None => {
            let (text, rest) = element(from, GENERALIZED_TIME)?;
            (text, rest, true)
        }
    };
    let digits = text.strip_suffix(b"Z")?;
    let width = if has_century { 14 } else { 12 };
    if digits.len() != width || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |from: usize, to: usize| {
        digits[from..to].iter().fold(0_i16, |n, digit| n * 10 + i16::from(digit - b'0'))
    };
    let (year, at) = match has_century {
        true => (number(0, 4), 4),
        // Two digits stand for 1950 to 2049.
        false if number(0, 2) < 50 => (2000 + number(0, 2), 2),
        false => (1900 + number(0, 2), 2),
    };
    let part = |n: usize| number(at + 2 * n, at + 2 * n + 2) as i8;
    let moment = DateTime::new(year, part(0), part(1), part(2), part(3), part(4), 0).ok()?;
    Some((moment.to_zoned(TimeZone::UTC).ok()?.timestamp(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(begins: (i32, u8, u8), ends: (i32, u8, u8)) -> Vec<u8> {
        let mut wish = rcgen::CertificateParams::new(vec!["hub.example".to_owned()]).unwrap();
        wish.not_before = rcgen::date_time_ymd(begins.0, begins.1, begins.2);
        wish.not_after = rcgen::date_time_ymd(ends.0, ends.1, ends.2);
        let key = rcgen::KeyPair::generate().unwrap();
        wish.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn both_ends_are_read_in_either_spelling() {
        for (begins, ends) in [
            ((1975, 1, 2), (2049, 12, 31)),
            ((2026, 2, 28), (2050, 1, 1)),
            ((2050, 6, 7), (4096, 1, 1)),
        ] {
            let found = validity(&made(begins, ends)).expect("a certificate");
            let expected = [begins, ends].map(|(year, month, day)| {
                let date = jiff::civil::date(year as i16, month as i8, day as i8);
                date.to_zoned(TimeZone::UTC).unwrap().timestamp()
            });
            assert_eq!([found.0, found.1], expected, "{begins:?} {ends:?}");
        }
    }

    #[test]
    fn anything_else_is_nothing() {
        let whole = made((2026, 1, 1), (2027, 1, 1));
        for cut in 0..whole.len().min(200) {
            // Cut anywhere before the validity ends, or with a byte turned, it must not panic.
            let _ = validity(&whole[..cut]);
            let mut bent = whole.clone();
            bent[cut] ^= 0xff;
            let _ = validity(&bent);
        }
        for text in [&b""[..], b"0", b"0\x84\xff\xff\xff\xff", b"hello", &whole[..60]] {
            assert_eq!(validity(text), None, "{text:?}");
        }
    }
}
