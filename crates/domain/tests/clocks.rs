//! Local times and days in every zone there is, around every change of its clocks from 2020 to 2035.

use jiff::civil::{Date, DateTime, time};
use jiff::tz::TimeZone;
use jiff::{Timestamp as Instant, ToSpan};
use tidings_domain::Timestamp;
use tidings_domain::campaign::{begins_at, local_instant};
use tidings_domain::rule::calendar::Zone;

const HOUR: i64 = 3_600_000_000;

fn zones() -> Vec<(String, TimeZone)> {
    let names = jiff::tz::db().available();
    names.map(|name| (name.to_string(), TimeZone::get(name.as_str()).expect("a zone"))).collect()
}

/// The days on which the clocks of a zone change.
fn changes(zone: &TimeZone) -> Vec<Date> {
    let from: Instant = "2020-01-01T00:00:00Z".parse().expect("a moment");
    let to: Instant = "2035-12-31T00:00:00Z".parse().expect("a moment");
    let within = zone.following(from).take_while(|change| change.timestamp() < to);
    within.map(|change| zone.to_datetime(change.timestamp()).date()).collect()
}

/// What is planned for a local time happens once a day, also on the days when the clocks skip it or
/// show it twice: at that time, or as much later as they skip.
#[test]
fn row_18_a_local_time_comes_once_a_day_in_every_zone() {
    let (mut days, mut skipped, mut twice) = (0, 0, 0);
    for (name, zone) in zones() {
        for change in changes(&zone) {
            for half_hour in 0..48 {
                let clock = time(half_hour / 2, 30 * (half_hour % 2), 0, 0);
                let mut before: Option<Timestamp> = None;
                for day in -2..=2 {
                    let date = change.checked_add(day.days()).expect("a date");
                    let at: DateTime = date.to_datetime(clock);
                    let instant = local_instant(at, &zone);
                    if let Some(before) = before {
                        let hours = (instant.0 - before.0) / HOUR;
                        assert!((20..=28).contains(&hours), "{name} {at}: {hours} hours later");
                    }
                    before = Some(instant);
                    let shown =
                        zone.to_datetime(Instant::from_microsecond(instant.0).expect("a time"));
                    if shown != at {
                        assert!(shown > at && shown < at + 4.hours(), "{name} {at} is {shown}");
                        skipped += 1;
                    }
                    twice +=
                        usize::from(zone.to_ambiguous_timestamp(at).is_ambiguous() && shown == at);
                    assert!(begins_at(at) <= instant, "{name} {at}: a campaign has begun by then");
                    days += 1;
                }
            }
        }
    }
    assert!(days > 100_000 && skipped > 1_000 && twice > 1_000, "{days} {skipped} {twice}");
}

/// Days follow each other without a gap, whatever the clocks do at midnight.
#[test]
fn row_18_every_moment_is_on_one_day_in_every_zone() {
    let mut days = 0;
    for (name, zone) in zones() {
        let named = Zone::named(&name);
        for change in changes(&zone) {
            for day in -2..=2 {
                let date = change.checked_add(day.days()).expect("a date");
                let begins = named.midnight(date);
                assert_eq!(named.today(begins), date, "{name} {date}");
                assert!(named.today(Timestamp(begins.0 - 1)) < date, "{name} {date}");
                let next = named.next_midnight(begins);
                assert_eq!(next, named.midnight(date.tomorrow().expect("a date")), "{name} {date}");
                assert!((20..=28).contains(&((next.0 - begins.0) / HOUR)), "{name} {date}");
                days += 1;
            }
        }
    }
    assert!(days > 2_000, "{days}");
}
