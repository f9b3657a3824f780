//! How numbers and dates are written in a column: found out from its values, and rewritten in the
//! one form that programs agree on (`1234.5`, `1999-12-31`).

use serde::{Deserialize, Serialize};

/// The mark between a number's whole part and its fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecimalMark {
    Point,
    Comma,
}

/// The order of day, month and year. Any of `.` `/` `-` and a blank may stand between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DateOrder {
    Ymd,
    Dmy,
    Mdy,
}

/// How the values of one column are written, as far as they say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Form {
    /// Said where numbers have a comma, a thousands mark or a currency sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimal: Option<DecimalMark>,
    /// Said where dates are not written year first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<DateOrder>,
    /// The values fit another form too, and the other columns of the file decided, or a guess.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ambiguous: bool,
}

/// What one column's values allow.
#[derive(Clone, Copy, Debug, Default)]
struct Allowed {
    point: bool,
    comma: bool,
    /// Read so, some number is not plain: the form must be said.
    point_marked: bool,
    comma_marked: bool,
    dmy: bool,
    mdy: bool,
    /// The dates are written with slashes, of which day and month first are both usual.
    slashes: bool,
}

/// The form of each column, from values of its first rows. Where a column's own values leave it
/// open, the other columns decide; else a `;` between columns speaks for a comma in numbers, and
/// the day stands before the month.
pub fn detect_forms<S: AsRef<str>>(columns: &[Vec<S>], delimiter: u8) -> Vec<Form> {
    let allowed: Vec<Allowed> = columns.iter().map(|values| allowed(values)).collect();
    let sure = |test: fn(&Allowed) -> bool| allowed.iter().any(test);
    let sure_comma = sure(|one| one.comma && !one.point);
    let sure_point = sure(|one| one.point && !one.comma);
    let sure_mdy = sure(|one| one.mdy && !one.dmy);
    let sure_dmy = sure(|one| one.dmy && !one.mdy);
    let comma_is_usual = sure_comma || (!sure_point && delimiter == b';');
    let month_is_first = sure_mdy && !sure_dmy;
    allowed
        .iter()
        .map(|one| Form {
            decimal: match (one.point, one.comma) {
                (_, true) if one.comma_marked && (!one.point || comma_is_usual) => {
                    Some(DecimalMark::Comma)
                }
                (true, _) if one.point_marked => Some(DecimalMark::Point),
                _ => None,
            },
            date: match (one.dmy, one.mdy) {
                (true, true) if month_is_first && one.slashes => Some(DateOrder::Mdy),
                (true, _) => Some(DateOrder::Dmy),
                (false, true) => Some(DateOrder::Mdy),
                (false, false) => None,
            },
            ambiguous: (one.point && one.comma && (one.point_marked || one.comma_marked))
                || (one.dmy && one.mdy && one.slashes),
        })
        .collect()
}

fn allowed<S: AsRef<str>>(values: &[S]) -> Allowed {
    let mut given = values.iter().map(|value| value.as_ref().trim()).filter(|v| !v.is_empty());
    let Some(first) = given.next() else { return Allowed::default() };
    let mut all = Allowed { point: true, comma: true, dmy: true, mdy: true, ..Allowed::default() };
    for value in std::iter::once(first).chain(given) {
        let (point, comma) = (number(value, DecimalMark::Point), number(value, DecimalMark::Comma));
        all.point_marked |= point.as_ref().is_some_and(|plain| plain != value);
        all.comma_marked |= comma.as_ref().is_some_and(|plain| plain != value);
        all.point &= point.is_some();
        all.comma &= comma.is_some();
        all.dmy &= date(value, DateOrder::Dmy).is_some();
        all.mdy &= date(value, DateOrder::Mdy).is_some();
        all.slashes |= value.contains('/');
        if !(all.point || all.comma || all.dmy || all.mdy) {
            return Allowed::default();
        }
    }
    all
}

/// A number as `-1234.5`, read with one decimal mark. The other mark, blanks and `'` may stand
/// between groups of three digits, and a currency sign before or behind. `None` for anything else.
pub fn number(text: &str, mark: DecimalMark) -> Option<String> {
    let is_sign = |c: char| c.is_whitespace() || "€$£¥".contains(c);
    let text = text.trim();
    let (negative, rest) = match text.strip_prefix(['-', '\u{2212}']) {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let rest = rest.trim_matches(is_sign);
    let (negative, rest) = match rest.strip_prefix('-') {
        Some(rest) if !negative => (true, rest.trim_start_matches(is_sign)),
        _ => (negative, rest),
    };
    let (mark, other) = match mark {
        DecimalMark::Point => ('.', ','),
        DecimalMark::Comma => (',', '.'),
    };
    let (whole, fraction) = rest.split_once(mark).unwrap_or((rest, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(fraction) || rest.ends_with(mark) {
        return None;
    }
    let whole = ungrouped(whole, other)?;
    let sign = if negative { "-" } else { "" };
    Some(match fraction {
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    })
}

/// Digits without the marks between groups of three; all the marks are the same one.
fn ungrouped(whole: &str, other: char) -> Option<String> {
    let between = whole.chars().find(|c| !c.is_ascii_digit());
    let Some(between) = between else { return Some(whole.to_owned()) };
    if between != other && !"' \u{a0}\u{202f}\u{2019}".contains(between) {
        return None;
    }
    let mut plain = String::new();
    for (at, group) in whole.split(between).enumerate() {
        let fits = if at == 0 { (1..=3).contains(&group.len()) } else { group.len() == 3 };
        if !fits || !group.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        plain.push_str(group);
    }
    Some(plain)
}

/// A date as `1999-12-31`, and where a time follows as `1999-12-31T23:59:00`, read in one order.
/// A year of two digits is 1950 to 2049. `None` for anything else, days that do not exist too.
pub fn date(text: &str, order: DateOrder) -> Option<String> {
    let text = text.trim();
    let is_mark = |c: char| ".-/".contains(c);
    let mark = text.chars().find(|c| !c.is_ascii_digit())?;
    if !is_mark(mark) && mark != ' ' {
        return None;
    }
    let mut parts = text.splitn(3, mark);
    let (a, b, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let rest = rest.trim_start();
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (c, time) = rest.split_at(digits);
    let (year, month, day) = match order {
        DateOrder::Ymd => (a, b, c),
        DateOrder::Dmy => (c, b.trim(), a),
        DateOrder::Mdy => (c, a, b.trim()),
    };
    let short = |part: &str| (1..=2).contains(&part.len());
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !short(month) || !short(day) || ![2, 4].contains(&year.len()) {
        return None;
    }
    if order == DateOrder::Ymd && year.len() != 4 || ![year, month, day].into_iter().all(plain) {
        return None;
    }
    let (y, m, d): (u32, u32, u32) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    let y = match (year.len(), y) {
        (2, 0..50) => 2000 + y,
        (2, _) => 1900 + y,
        _ => y,
    };
    if y == 0 || !(1..=12).contains(&m) || d == 0 || d > days_in(y, m) {
        return None;
    }
    // The dates of some countries end in a mark: `31. 12. 1999.`
    let time = time.strip_prefix('.').unwrap_or(time).trim_start_matches(['T', ' ', ',']);
    match clock(time) {
        Some(None) => Some(format!("{y:04}-{m:02}-{d:02}")),
        Some(Some(time)) => Some(format!("{y:04}-{m:02}-{d:02}T{time}")),
        None => None,
    }
}

/// A time of day with 24 or 12 hours as `23:59:00`, with what stands behind it (a zone) left as it
/// is; `Some(None)` for no time at all.
fn clock(text: &str) -> Option<Option<String>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(None);
    }
    let lower = text.to_ascii_lowercase().replace("a.m.", "am").replace("p.m.", "pm");
    let (half, text) = match (lower.strip_suffix("am"), lower.strip_suffix("pm")) {
        (Some(rest), _) => (Some(false), rest.trim_end().to_owned()),
        (_, Some(rest)) => (Some(true), rest.trim_end().to_owned()),
        _ => (None, text.to_owned()),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != ':' && c != '.');
    let (time, zone) = text.split_at(end.unwrap_or(text.len()));
    let mut parts = time.split(':');
    let (hour, minute) = (parts.next()?, parts.next()?);
    let second = parts.next().unwrap_or("00");
    let hour: u32 = hour.parse().ok().filter(|hour| *hour < 24)?;
    let hour = match half {
        None => hour,
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some(afternoon) => hour % 12 + if afternoon { 12 } else { 0 },
    };
    let fits = |part: &str| part.len() == 2 && part.parse::<u32>().is_ok_and(|n| n < 60);
    let whole_second = second.split_once('.').map_or(second, |(whole, _)| whole);
    if !fits(minute) || !fits(whole_second) || parts.next().is_some() {
        return None;
    }
    Some(Some(format!("{hour:02}:{minute}:{second}{}", zone.trim())))
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DateOrder::{Dmy, Mdy, Ymd};
    use DecimalMark::{Comma, Point};

    #[test]
    fn numbers_are_rewritten() {
        for (text, mark, expected) in [
            ("1,5", Comma, Some("1.5")),
            ("1.234,56", Comma, Some("1234.56")),
            ("1 234 567,8", Comma, Some("1234567.8")),
            ("1'234.5", Point, Some("1234.5")),
            ("1,234.56", Point, Some("1234.56")),
            ("-3", Comma, Some("-3")),
            ("€ 12,50", Comma, Some("12.50")),
            ("€ -12,50", Comma, Some("-12.50")),
            ("-€12,50", Comma, Some("-12.50")),
            ("12,50 €", Comma, Some("12.50")),
            ("1,5", Point, None),
            ("1.5", Comma, None),
            ("12.34.567", Comma, None),
            ("1.234.56", Comma, None),
            ("1,2,3", Comma, None),
            ("1,", Comma, None),
            (",5", Comma, None),
            ("abc", Point, None),
            ("--1", Point, None),
        ] {
            assert_eq!(number(text, mark).as_deref(), expected, "{text} {mark:?}");
        }
    }

    #[test]
    fn dates_are_rewritten() {
        for (text, order, expected) in [
            ("31.12.1999", Dmy, Some("1999-12-31")),
            ("1.2.1999", Dmy, Some("1999-02-01")),
            ("31. 12. 1999.", Dmy, Some("1999-12-31")),
            ("12/31/1999", Mdy, Some("1999-12-31")),
            ("31-12-99", Dmy, Some("1999-12-31")),
            ("31-12-49", Dmy, Some("2049-12-31")),
            ("1999/12/31", Ymd, Some("1999-12-31")),
            ("1999-12-31", Ymd, Some("1999-12-31")),
            ("31.12.1999 23:59", Dmy, Some("1999-12-31T23:59:00")),
            ("12/31/1999 11:59:30 PM", Mdy, Some("1999-12-31T23:59:30")),
            ("12/31/1999 12:05 am", Mdy, Some("1999-12-31T00:05:00")),
            ("31.12.1999T08:00:00+01:00", Dmy, Some("1999-12-31T08:00:00+01:00")),
            ("29.02.2000", Dmy, Some("2000-02-29")),
            ("29.02.1900", Dmy, None),
            ("31.12.1999", Mdy, None),
            ("1999-12-31", Dmy, None),
            ("31.12", Dmy, None),
            ("31.12.199", Dmy, None),
            ("31.12.1999 25:00", Dmy, None),
            ("31.12.1999 13:00 pm", Dmy, None),
            ("12", Dmy, None),
        ] {
            assert_eq!(date(text, order).as_deref(), expected, "{text} {order:?}");
        }
    }

    /// Given columns, finds forms: `,` and `.` for the decimal mark, `dmy`, `mdy`, a `?` where
    /// the values alone leave it open, `-` for nothing to say.
    #[track_caller]
    fn check(columns: &[&[&str]], delimiter: u8, expected: &[&str]) {
        let columns: Vec<Vec<&str>> = columns.iter().map(|values| values.to_vec()).collect();
        let found: Vec<String> = detect_forms(&columns, delimiter)
            .into_iter()
            .map(|form| {
                let decimal = match form.decimal {
                    Some(Point) => ".",
                    Some(Comma) => ",",
                    None => "",
                };
                let date = match form.date {
                    Some(Dmy) => "dmy",
                    Some(Mdy) => "mdy",
                    Some(Ymd) => "ymd",
                    None => "",
                };
                let open = if form.ambiguous { "?" } else { "" };
                match format!("{decimal}{date}{open}") {
                    text if text.is_empty() => "-".to_owned(),
                    text if text == "?" => "-?".to_owned(),
                    text => text,
                }
            })
            .collect();
        assert_eq!(found, expected, "{columns:?}");
    }

    #[test]
    fn forms_are_found_in_the_values() {
        check(&[&["1,5", "2"], &["1.5", "2"], &["7"], &["a"]], b';', &[",", "-", "-", "-"]);
        check(&[&["1.234,56"]], b',', &[","]);
        check(&[&["1,234.56", "1,000"]], b',', &["."]);
        check(&[&["31.12.1999", "1.2.2000"]], b',', &["dmy"]);
        check(&[&["12/31/1999", "1/2/2000"]], b',', &["mdy"]);
        check(&[&["1999-12-31", ""]], b',', &["-"]);
        check(&[&["", " "]], b',', &["-"]);
        // A column that is no date on one row is none.
        check(&[&["31.12.1999", "soon"]], b',', &["-"]);
    }

    #[test]
    fn the_file_decides_what_a_column_leaves_open() {
        check(&[&["1,234"]], b',', &[".?"]);
        check(&[&["1,234"]], b';', &[",?"]);
        check(&[&["1,234"], &["1,5"]], b',', &[",?", ","]);
        check(&[&["1,234"], &["1,234.5"]], b';', &[".?", "."]);
        check(&[&["1.250"]], b',', &["-?"]);
        check(&[&["1.250"]], b';', &[",?"]);
        check(&[&["1.250"], &["1.5"]], b';', &["-?", "-"]);
        check(&[&["1/2/2000"]], b',', &["dmy?"]);
        check(&[&["1/2/2000"], &["12/31/1999"]], b',', &["mdy?", "mdy"]);
        check(&[&["1.2.2000"], &["12/31/1999"]], b',', &["dmy", "mdy"]);
    }
}
