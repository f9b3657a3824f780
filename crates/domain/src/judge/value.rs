//! Tests on values whose kind is known.

use jiff::civil::Date;

use super::{Moment, Verdict};
use crate::Timestamp;
use crate::rule::{BoundTest, calendar};
use crate::value::Value;

/// Whether a test holds of a value; of a missing one, none does.
pub(super) fn test(test: &BoundTest, value: Option<&Value>, moment: Moment<'_>) -> Verdict {
    let Some(value) = value else {
        return Verdict::fixed(false);
    };
    match test {
        BoundTest::Exists => Verdict::fixed(true),
        BoundTest::Compare(comparison, constant) => {
            Verdict::fixed(comparison.holds(value.cmp(constant)))
        }
        BoundTest::In(list) => Verdict::fixed(list.binary_search(value).is_ok()),
        BoundTest::Within(period) => within(integer(value), period.micros(), moment.now),
        BoundTest::WithinDays(days) => {
            date(value).map_or(Verdict::fixed(false), |date| within_days(date, *days, moment))
        }
        BoundTest::AnniversaryWithin(days) => {
            date(value).map_or(Verdict::fixed(false), |date| anniversary(date, *days, moment))
        }
        BoundTest::Has(item) => match value {
            Value::List(items) => Verdict::fixed(items.contains(item)),
            _ => Verdict::fixed(false),
        },
        BoundTest::Contains(part) => text(value, |text| text.contains(part.as_str())),
        BoundTest::StartsWith(part) => text(value, |text| text.starts_with(part.as_str())),
        BoundTest::EndsWith(part) => text(value, |text| text.ends_with(part.as_str())),
        BoundTest::Matches(pattern) => text(value, |text| pattern.matches(text)),
    }
}

fn text(value: &Value, holds: impl FnOnce(&str) -> bool) -> Verdict {
    match value {
        Value::Text(text) => Verdict::fixed(holds(text)),
        _ => Verdict::fixed(false),
    }
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::Integer(number) => *number,
        _ => 0,
    }
}

fn date(value: &Value) -> Option<Date> {
    match value {
        Value::Text(text) => calendar::parse(text),
        _ => None,
    }
}

fn within(at: i64, window: i64, now: Timestamp) -> Verdict {
    let falls_out = Timestamp(at.saturating_add(window));
    if at > now.0 {
        Verdict::until(false, Timestamp(at))
    } else if falls_out > now {
        Verdict::until(true, falls_out)
    } else {
        Verdict::fixed(false)
    }
}

fn within_days(date: Date, days: i32, moment: Moment<'_>) -> Verdict {
    let today = moment.zone.today(moment.now);
    let falls_out = calendar::plus_days(date, days);
    if date > today {
        Verdict::until(false, moment.zone.midnight(date))
    } else if falls_out.is_none_or(|falls_out| falls_out > today) {
        let next_check_at = falls_out.map(|date| moment.zone.midnight(date));
        Verdict { member: true, next_check_at }
    } else {
        Verdict::fixed(false)
    }
}

fn anniversary(born: Date, days: i32, moment: Moment<'_>) -> Verdict {
    let today = moment.zone.today(moment.now);
    let Some(next) = calendar::next_anniversary(born, today) else {
        return Verdict::fixed(false);
    };
    let away = (next - today).get_days();
    let turns = if away < days {
        // The day after, it is most of a year away again.
        calendar::plus_days(next, 1)
    } else {
        calendar::plus_days(next, 1 - days)
    };
    let next_check_at = turns.map(|date| moment.zone.midnight(date));
    Verdict { member: away < days, next_check_at }
}
