//! Spans of time counted back from now, such as `30d`.

/// A length of time: minutes, hours, days or weeks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    minutes: i64,
}

const MINUTES_A_DAY: i64 = 24 * 60;
const MAX_DAYS: i64 = 36_500;

impl Period {
    pub const EXPECTED: &'static str =
        "expected a period such as 45m, 12h, 30d or 2w, of at most 36500 days";

    pub fn parse(text: &str) -> Result<Period, String> {
        let fault = || Self::EXPECTED.to_owned();
        let unit = text.chars().last().ok_or_else(fault)?;
        let minutes = match unit {
            'm' => 1,
            'h' => 60,
            'd' => MINUTES_A_DAY,
            'w' => 7 * MINUTES_A_DAY,
            _ => return Err(fault()),
        };
        let digits = &text[..text.len() - 1];
        if digits.len() > 9 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(fault());
        }
        let number: i64 = digits.parse().map_err(|_| fault())?;
        match number * minutes {
            minutes @ 1.. if minutes <= MAX_DAYS * MINUTES_A_DAY => Ok(Period { minutes }),
            _ => Err(fault()),
        }
    }

    pub fn micros(self) -> i64 {
        self.minutes * 60_000_000
    }

    /// The number of days, where it is a whole one.
    pub fn days(self) -> Option<i32> {
        let whole = self.minutes % MINUTES_A_DAY == 0;
        // At most MAX_DAYS, so the number fits.
        whole.then(|| i32::try_from(self.minutes / MINUTES_A_DAY).unwrap_or(i32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_read() {
        for (text, minutes) in [
            ("1m", Some(1)),
            ("12h", Some(720)),
            ("30d", Some(43_200)),
            ("2w", Some(20_160)),
            ("36500d", Some(52_560_000)),
            ("36501d", None),
            ("0d", None),
            ("-1d", None),
            ("+1d", None),
            ("d", None),
            ("", None),
            ("30", None),
            ("3 d", None),
            ("9999999999d", None),
            ("1é", None),
        ] {
            assert_eq!(Period::parse(text).ok().map(|p| p.minutes), minutes, "{text:?}");
        }
        assert_eq!(Period::parse("48h").unwrap().days(), Some(2));
        assert_eq!(Period::parse("36h").unwrap().days(), None);
    }
}
