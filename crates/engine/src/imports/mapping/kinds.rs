//! Which kind a new attribute should have, judged by the first values of its column.

use tidings_delimited::{Form, date, number};
use tidings_domain::value::{Kind, truth_word};

/// The values as they are once numbers and dates are rewritten.
pub fn plainly(values: &[String], form: Form) -> Vec<String> {
    let plain = |value: &String| {
        let as_number = form.decimal.and_then(|mark| number(value, mark));
        let as_date = form.date.and_then(|order| date(value, order));
        as_number.or(as_date).unwrap_or_else(|| value.clone())
    };
    values.iter().map(plain).collect()
}

/// The narrowest kind that takes every value; text where they differ or there are none.
pub fn sniff(values: &[String], concept: Option<&str>) -> Kind {
    let given: Vec<&str> =
        values.iter().map(|value| value.trim()).filter(|value| !value.is_empty()).collect();
    if given.is_empty() {
        return Kind::Text;
    }
    let every =
        |kind: &Kind| given.iter().all(|value| matches!(kind.parse_text(value), Ok(Some(_))));
    match concept {
        Some("country") if every(&Kind::Country) => return Kind::Country,
        Some("language") if every(&Kind::Language) => return Kind::Language,
        // Codes that happen to be digits are no numbers.
        Some("postal_code") => return Kind::Text,
        _ => {}
    }
    if given.iter().all(|value| is_truth(value)) {
        return Kind::Boolean;
    }
    if given.iter().all(|value| is_whole(value)) {
        return Kind::Integer;
    }
    if let Some(scale) = decimal_scale(&given) {
        return Kind::Decimal { scale };
    }
    if given.iter().all(|value| value.len() <= 10) && every(&Kind::Date) {
        return Kind::Date;
    }
    [Kind::Timestamp, Kind::Email, Kind::Phone].into_iter().find(every).unwrap_or(Kind::Text)
}

/// Whether there are values and all of them fit.
pub fn all(values: &[String], kind: &Kind) -> bool {
    let mut given = values.iter().filter(|value| !value.trim().is_empty()).peekable();
    given.peek().is_some() && given.all(|value| kind.parse_text(value).is_ok())
}

/// Whether at least half of the values fit; also where there are none.
pub fn mostly(values: &[String], kind: &Kind) -> bool {
    let given = values.iter().filter(|value| !value.trim().is_empty());
    let (mut good, mut bad) = (0, 0);
    for value in given {
        match kind.parse_text(value) {
            Ok(_) => good += 1,
            Err(_) => bad += 1,
        }
    }
    good >= bad
}

/// Words only: a column of 0 and 1 may count something.
fn is_truth(value: &str) -> bool {
    truth_word(value).is_some()
}

/// A whole number whose digits mean a quantity: a leading zero would be lost.
fn is_whole(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    !leading_zero
        && (1..=15).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The digits after the point that these numbers need, at least two; `None` where one is none.
fn decimal_scale(values: &[&str]) -> Option<u8> {
    let mut scale = 2;
    for value in values {
        let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
        let fraction_ok = fraction.len() <= 6 && fraction.bytes().all(|b| b.is_ascii_digit());
        if !is_whole(whole) || whole.len() > 11 || !fraction_ok {
            return None;
        }
        scale = scale.max(fraction.len() as u8);
    }
    Some(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_judged_by_their_values() {
        for (values, concept, expected) in [
            (&["1", "22", ""][..], None, Kind::Integer),
            (&["0", "1"], None, Kind::Integer),
            (&["01", "2"], None, Kind::Text),
            (&["1012", "9000"], Some("postal_code"), Kind::Text),
            (&["12345678901234567890"], None, Kind::Text),
            (&["1.5", "2"], None, Kind::Decimal { scale: 2 }),
            (&["1.2345"], None, Kind::Decimal { scale: 4 }),
            (&["1,5"], None, Kind::Text),
            (&["yes", "No"], None, Kind::Boolean),
            (&["Ja", "nein", ""], None, Kind::Boolean),
            (&["2026-01-02", " 1999-12-31"], None, Kind::Date),
            (&["2026-01-02T03:04:05Z"], None, Kind::Timestamp),
            (&["2026-01-02 03:04:05"], None, Kind::Timestamp),
            (&["02/01/2026"], None, Kind::Text),
            (&["+31612345678"], None, Kind::Phone),
            (&["ann@example.com"], None, Kind::Email),
            (&["NL", "de"], Some("country"), Kind::Country),
            (&["NL", "de"], None, Kind::Text),
            (&["en", "pt-BR"], Some("language"), Kind::Language),
            (&["Netherlands"], Some("country"), Kind::Text),
            (&["", " "], None, Kind::Text),
            (&["1", "x"], None, Kind::Text),
        ] {
            let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
            assert_eq!(sniff(&values, concept), expected, "{values:?}");
        }
    }
}
