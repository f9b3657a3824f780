//! Points in time: microseconds since 1970 in UTC, the same on every engine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time in UTC, in whole microseconds since 1970-01-01.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The earliest and latest times that can be written in RFC 3339 (years 0001 to 9999).
    pub const MIN: Timestamp = Timestamp(-62_135_596_800_000_000);
    pub const MAX: Timestamp = Timestamp(253_402_207_200_000_000);

    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_microsecond())
    }

    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1000)))
    }

    pub fn plus_secs(self, secs: i64) -> Self {
        self.plus_ms(secs.saturating_mul(1000))
    }

    /// Milliseconds since an earlier time; negative if `earlier` is later.
    pub fn ms_since(self, earlier: Timestamp) -> i64 {
        (self.0 - earlier.0) / 1000
    }

    fn jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0.clamp(Self::MIN.0, Self::MAX.0))
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// The civil date in UTC, as `YYYY-MM-DD`.
    pub fn date(self) -> String {
        self.jiff().to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.jiff().fmt(f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = String;

    /// RFC 3339 with an offset, or a date or date-time without one, which then is UTC.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let parsed = match text.parse::<jiff::Timestamp>() {
            Ok(at) => Some(at),
            Err(_) => text
                .parse::<jiff::civil::DateTime>()
                .ok()
                .and_then(|at| at.to_zoned(jiff::tz::TimeZone::UTC).ok())
                .map(|at| at.timestamp()),
        };
        let at = parsed.map(|at| Timestamp(at.as_microsecond()));
        at.filter(|at| (Self::MIN..=Self::MAX).contains(at))
            .ok_or_else(|| "expected a time such as 2026-11-23T08:30:00Z".to_owned())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where the time comes from: the system, or a test that moves it by hand.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    #[default]
    System,
    Fixed(std::sync::Arc<std::sync::atomic::AtomicI64>),
}

impl Clock {
    pub fn fixed(at: Timestamp) -> Clock {
        Clock::Fixed(std::sync::Arc::new(at.0.into()))
    }

    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System => Timestamp::now(),
            Clock::Fixed(at) => Timestamp(at.load(std::sync::atomic::Ordering::Relaxed)),
        }
    }

    /// Moves a fixed clock; the system's goes by itself.
    pub fn advance_ms(&self, ms: i64) {
        if let Clock::Fixed(at) = self {
            at.fetch_add(ms * 1000, std::sync::atomic::Ordering::Relaxed);
        }
    }
}
