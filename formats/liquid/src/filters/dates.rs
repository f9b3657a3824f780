//! `date` and `time_zone`: reads the ways people write dates. `now` comes from the caller.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

use super::strftime::strftime;
use super::{Call, Filtered};
use crate::value::Value;

/// Formats a date. What is no date, and any date under an empty format, passes unchanged.
pub(super) fn date(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let format = call.text_argument(0)?;
    if format.is_empty() {
        return Ok(input);
    }
    match read(&input, call.now) {
        Some(moment) => Ok(Value::text(strftime(&moment, &format))),
        None => Ok(input),
    }
}

/// The same moment as the clocks of a zone show it, like `2024-07-01 14:30:00 +0200`.
pub(super) fn time_zone(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let name = call.text_argument(0)?;
    let Ok(zone) = TimeZone::get(&name) else {
        return Err(format!("unknown time zone '{name}'").into());
    };
    match read(&input, call.now) {
        Some(moment) => {
            let moment = moment.with_time_zone(zone);
            Ok(Value::text(strftime(&moment, "%Y-%m-%d %H:%M:%S %z")))
        }
        None => Ok(input),
    }
}

fn read(value: &Value, now: &Zoned) -> Option<Zoned> {
    match value {
        Value::Int(seconds) => from_seconds(*seconds, now),
        Value::Float(seconds) => from_seconds(*seconds as i64, now),
        Value::Text(text) => read_text(text.as_str().trim(), now),
        _ => None,
    }
}

fn from_seconds(seconds: i64, now: &Zoned) -> Option<Zoned> {
    let moment = Timestamp::from_second(seconds).ok()?;
    Some(moment.to_zoned(now.time_zone().clone()))
}

fn read_text(text: &str, now: &Zoned) -> Option<Zoned> {
    if matches!(text.to_ascii_lowercase().as_str(), "now" | "today") {
        return Some(now.clone());
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return from_seconds(text.parse().ok()?, now);
    }
    let mut found = Found::default();
    for word in words(text) {
        found.read_word(word)?;
    }
    found.into_moment(now)
}

/// Splits at white space and commas, and an ISO date from its time (`2024-01-02T03:04`).
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in text.split(|c: char| c.is_whitespace() || c == ',').filter(|w| !w.is_empty()) {
        let iso = word.as_bytes();
        let has_time = iso.len() > 11 && iso[4] == b'-' && matches!(iso[10], b'T' | b't');
        match word.get(..10).filter(|_| has_time) {
            Some(date) => words.extend([date, &word[11..]]),
            None => words.push(word),
        }
    }
    words
}

/// The parts of a date found so far, in any order.
#[derive(Debug, Default)]
struct Found {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    time: Option<Time>,
    zone: Option<TimeZone>,
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Position of the name that `word` is, or whose first letters (three at least) it is.
fn named(names: &[&str], word: &str) -> Option<usize> {
    let word = word.trim_end_matches('.');
    if word.len() < 3 {
        return None;
    }
    names.iter().position(|name| name.starts_with(word))
}

impl Found {
    /// `None` when the word is no part of a date.
    fn read_word(&mut self, word: &str) -> Option<()> {
        let lower = word.to_ascii_lowercase();
        if let Some(month) = named(&MONTHS, &lower) {
            self.month = Some(i8::try_from(month).ok()? + 1);
        } else if matches!(lower.as_str(), "am" | "pm") {
            self.time = Some(half_day(self.time?, &lower)?);
        } else if let Some(zone) = read_zone(&lower) {
            self.zone = Some(zone);
        } else if named(&WEEKDAYS, &lower).is_some() || matches!(lower.as_str(), "at" | "of") {
            // A weekday says nothing the date does not say.
        } else if lower.contains(':') {
            self.read_time(&lower)?;
        } else if lower.contains(['-', '/', '.']) {
            self.read_date(&lower)?;
        } else {
            self.read_number(&lower)?;
        }
        Some(())
    }

    /// A day (`5`, `5th`) or a year.
    fn read_number(&mut self, word: &str) -> Option<()> {
        let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let suffix = &word[digits.len()..];
        let number: i16 = digits.parse().ok()?;
        match (digits.len(), suffix) {
            (1 | 2, "" | "st" | "nd" | "rd" | "th") if self.day.is_none() => {
                self.day = Some(i8::try_from(number).ok()?);
            }
            (1 | 2, "am" | "pm") => {
                let time = Time::new(i8::try_from(number).ok()?, 0, 0, 0).ok()?;
                self.time = Some(half_day(time, suffix)?);
            }
            (2, "") if self.year.is_none() => self.year = Some(full_year(number)),
            (4, "") if self.year.is_none() => self.year = Some(number),
            _ => return None,
        }
        Some(())
    }

    /// `2024-03-14`, `2024/3/14`, `14/3/2024`, `14.3.2024`, `14-Mar-2024`, `2024-03`.
    fn read_date(&mut self, word: &str) -> Option<()> {
        let parts: Vec<&str> = word.split(['-', '/', '.']).collect();
        let number = |part: &str| part.parse::<i16>().ok();
        let (year, month, day) = match parts.as_slice() {
            [year, month] if year.len() == 4 => (number(year)?, *month, "1"),
            [year, month, day] if year.len() == 4 => (number(year)?, *month, *day),
            [day, month, year] if year.len() == 4 => (number(year)?, *month, *day),
            [day, month, year] if year.len() == 2 => (full_year(number(year)?), *month, *day),
            _ => return None,
        };
        self.year = Some(year);
        self.day = Some(day.parse().ok()?);
        self.month = Some(match named(&MONTHS, month) {
            Some(position) => i8::try_from(position).ok()? + 1,
            None => month.parse().ok()?,
        });
        Some(())
    }

    /// `3:04`, `03:04:05.678`, `3:04pm`, with a zone behind it as in `03:04:05+02:00`.
    fn read_time(&mut self, word: &str) -> Option<()> {
        let end = word.find(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.'));
        let (clock, rest) = word.split_at(end.unwrap_or(word.len()));
        if clock.is_empty() {
            return None;
        }
        let mut parts = clock.split(':');
        let hour = parts.next()?.parse().ok()?;
        let minute = parts.next()?.parse().ok()?;
        let (second, fraction) = match parts.next() {
            Some(seconds) => seconds.split_once('.').unwrap_or((seconds, "")),
            None => ("0", ""),
        };
        let nanoseconds: String = fraction.chars().chain("000000000".chars()).take(9).collect();
        let nanosecond = nanoseconds.parse().ok()?;
        let time = Time::new(hour, minute, second.parse().ok()?, nanosecond).ok()?;
        self.time = Some(time);
        match rest {
            "" => {}
            "am" | "pm" => self.time = Some(half_day(time, rest)?),
            zone => self.zone = Some(read_zone(zone)?),
        }
        Some(())
    }

    /// Parts that are missing come from now; a date without a time is its midnight.
    fn into_moment(self, now: &Zoned) -> Option<Zoned> {
        if self.year.is_none() && self.month.is_none() && self.day.is_none() && self.time.is_none()
        {
            return None;
        }
        let zone = self.zone.unwrap_or_else(|| now.time_zone().clone());
        let today = now.with_time_zone(zone.clone()).date();
        let has_date = self.year.is_some() || self.month.is_some() || self.day.is_some();
        // A bare year or a bare day is more likely a number in a sentence than a date.
        if has_date && self.month.is_none() {
            return None;
        }
        let date = if has_date {
            let year = self.year.unwrap_or(today.year());
            Date::new(year, self.month?, self.day.unwrap_or(1)).ok()?
        } else {
            today
        };
        let time = self.time.unwrap_or(Time::midnight());
        DateTime::from_parts(date, time).to_zoned(zone).ok()
    }
}

/// Years below 69 are of this century.
fn full_year(year: i16) -> i16 {
    if year < 69 { 2000 + year } else { 1900 + year }
}

fn half_day(time: Time, half: &str) -> Option<Time> {
    let hour = match (time.hour(), half) {
        (12, "am") => 0,
        (12, "pm") => 12,
        (hour @ 0..12, "pm") => hour + 12,
        (hour @ 0..12, "am") => hour,
        _ => return None,
    };
    time.with().hour(hour).build().ok()
}

/// `z`, `utc`, `gmt`, `+02:00`, `-0330`, `+02`.
fn read_zone(word: &str) -> Option<TimeZone> {
    if matches!(word, "z" | "utc" | "gmt") {
        return Some(TimeZone::UTC);
    }
    let sign = match word.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits = word[1..].replace(':', "");
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let hours: i32 = digits[..2].parse().ok()?;
    let minutes: i32 = if digits.len() == 4 { digits[2..].parse().ok()? } else { 0 };
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok().map(TimeZone::fixed)
}
