//! Dates in rules: today, dates some days away, and days and months that come round. A day begins
//! at midnight of a zone, the workspace's own.

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::Timestamp;

const DAY_MICROS: i64 = 86_400_000_000;
/// In so many days in a row every day and month comes round.
const EVERY_DAY: i32 = 366;

/// Where days begin and end. UTC unless told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Default for Zone {
    fn default() -> Zone {
        Zone(TimeZone::UTC)
    }
}

impl Zone {
    /// The zone of a name such as `Europe/Amsterdam`; UTC where there is none of that name.
    pub fn named(name: &str) -> Zone {
        Zone(TimeZone::get(name).unwrap_or(TimeZone::UTC))
    }

    /// The date that it is.
    pub fn today(&self, now: Timestamp) -> Date {
        let now = now.0.clamp(Timestamp::MIN.0, Timestamp::MAX.0);
        let now = jiff::Timestamp::from_microsecond(now).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        self.0.to_datetime(now).date()
    }

    /// When a date begins. Where the clocks skip midnight, it is when they have.
    pub fn midnight(&self, date: Date) -> Timestamp {
        match date.to_zoned(self.0.clone()) {
            Ok(zoned) => Timestamp(zoned.timestamp().as_microsecond()),
            // Only at the very ends of the calendar, where no clock will ever be.
            Err(_) => {
                let days = (date - Date::constant(1970, 1, 1)).get_days();
                Timestamp(i64::from(days) * DAY_MICROS)
            }
        }
    }

    /// When the day after today begins.
    pub fn next_midnight(&self, now: Timestamp) -> Timestamp {
        let tomorrow = plus_days(self.today(now), 1);
        tomorrow.map_or(Timestamp(i64::MAX), |date| self.midnight(date))
    }
}

/// The date so many days later; `None` beyond the year 9999.
pub fn plus_days(date: Date, days: i32) -> Option<Date> {
    date.checked_add(days.days()).ok()
}

/// A date as it is stored, `YYYY-MM-DD`; `None` where it is not one.
pub fn parse(text: &str) -> Option<Date> {
    text.parse().ok()
}

/// The date, not before `today`, on which a day and month next come round. February 29 counts as
/// March 1 in years that do not have it. `None` beyond the year 9999.
pub fn next_anniversary(born: Date, today: Date) -> Option<Date> {
    let in_year = |year: i16| {
        Date::new(year, born.month(), born.day()).or_else(|_| Date::new(year, 3, 1)).ok()
    };
    match in_year(today.year()) {
        Some(date) if date >= today => Some(date),
        _ => today.year().checked_add(1).and_then(in_year),
    }
}

/// Which days and months lie in a run of days, in a form that compares as text (`MM-DD`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MonthDays {
    All,
    /// From `first` to `last`, over the turn of the year where `first` is the later text.
    Run {
        first: String,
        last: String,
        /// February 29 lies in the run as March 1 of a year without it.
        leap_day: bool,
    },
}

/// The days and months of the run of `days` days that starts today.
pub fn month_days(today: Date, days: i32) -> MonthDays {
    let last = plus_days(today, days - 1);
    let Some(last) = last.filter(|_| days < EVERY_DAY) else {
        return MonthDays::All;
    };
    let first_of_march = |year: i16| {
        let date = Date::new(year, 3, 1).ok();
        date.is_some_and(|date| !date.in_leap_year() && (today..=last).contains(&date))
    };
    let leap_day = first_of_march(today.year()) || first_of_march(last.year());
    let text = |date: Date| format!("{:02}-{:02}", date.month(), date.day());
    MonthDays::Run { first: text(today), last: text(last), leap_day }
}

impl MonthDays {
    /// Whether a day and month, as `MM-DD`, is among them.
    pub fn contains(&self, day: &str) -> bool {
        match self {
            MonthDays::All => true,
            MonthDays::Run { first, last, leap_day } => {
                let (from, to) = (day >= first.as_str(), day <= last.as_str());
                let within = if first <= last { from && to } else { from || to };
                within || (*leap_day && day == "02-29")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn times_and_dates_agree() {
        let utc = Zone::default();
        for (micros, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (DAY_MICROS - 1, "1970-01-01"),
            (1_795_392_000_000_000, "2026-11-23"),
        ] {
            assert_eq!(utc.today(Timestamp(micros)), date(expected));
            assert_eq!(utc.today(Timestamp(micros)).to_string(), Timestamp(micros).date());
        }
        assert_eq!(utc.midnight(date("2026-11-23")), Timestamp(1_795_392_000_000_000));
        assert_eq!(utc.midnight(date("1969-12-31")), Timestamp(-DAY_MICROS));
        assert_eq!(utc.midnight(date("9999-12-31")), Timestamp(2_932_896 * DAY_MICROS));
    }

    #[test]
    fn days_begin_at_midnight_of_their_zone() {
        for (zone, now, today, next) in [
            ("Europe/Amsterdam", "2026-11-22T22:59:59Z", "2026-11-22", "2026-11-22T23:00:00Z"),
            ("Europe/Amsterdam", "2026-11-22T23:00:00Z", "2026-11-23", "2026-11-23T23:00:00Z"),
            // The day the clocks go back has 25 hours.
            ("Europe/Amsterdam", "2026-10-24T22:00:00Z", "2026-10-25", "2026-10-25T23:00:00Z"),
            // Here they went forward at midnight, so the day began at one.
            ("America/Sao_Paulo", "2018-11-04T02:59:59Z", "2018-11-03", "2018-11-04T03:00:00Z"),
            ("Nowhere/At all", "2026-11-22T22:59:59Z", "2026-11-22", "2026-11-23"),
        ] {
            let zone = Zone::named(zone);
            let now: Timestamp = now.parse().unwrap();
            assert_eq!(zone.today(now), date(today), "{now}");
            let next: Timestamp = next.parse().unwrap();
            assert_eq!(zone.next_midnight(now), next, "{now}");
            assert_eq!(zone.today(Timestamp(next.0 - 1)), date(today));
            assert_eq!(zone.today(next), plus_days(date(today), 1).unwrap());
        }
    }

    #[test]
    fn anniversaries_come_round() {
        for (born, today, expected) in [
            ("1990-05-17", "2026-05-17", "2026-05-17"),
            ("1990-05-17", "2026-05-18", "2027-05-17"),
            ("1992-02-29", "2026-02-28", "2026-03-01"),
            ("1992-02-29", "2028-02-28", "2028-02-29"),
            ("1992-02-29", "2028-03-01", "2029-03-01"),
            ("1990-12-31", "2026-12-31", "2026-12-31"),
        ] {
            assert_eq!(next_anniversary(date(born), date(today)), Some(date(expected)));
        }
    }

    /// The two ways to decide an anniversary agree on every day of four years.
    #[test]
    fn runs_of_days_agree_with_the_next_anniversary() {
        // The edges of months, where the mistakes are, February 29 among them.
        let birthdays: Vec<Date> = (0..366)
            .map(|at| plus_days(date("1992-01-01"), at).unwrap())
            .filter(|born| [1, 2, 28, 29, 31].contains(&born.day()))
            .collect();
        for offset in 0..4 * 366 {
            let today = plus_days(date("2026-01-01"), offset).unwrap();
            for days in [1, 3, 30, 364, 365, 366] {
                let run = month_days(today, days);
                for born in &birthdays {
                    let next = next_anniversary(*born, today).unwrap();
                    let expected = (next - today).get_days() < days;
                    let day = &born.to_string()[5..];
                    assert_eq!(run.contains(day), expected, "{born} {today} {days}");
                }
            }
        }
    }
}
