//! How many messages a second a relay is given.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How much of its time a pace may catch up at once. Timers are coarse; without it a pace of a
/// thousand a second could never be reached.
const CATCH_UP: Duration = Duration::from_millis(100);

/// Lets so many through a second, evenly.
pub(super) struct Pace {
    every: Duration,
    /// When the next one may go.
    next: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(per_second: u32, now: Instant) -> Pace {
        Pace { every: Duration::from_secs(1) / per_second.max(1), next: Mutex::new(now) }
    }

    /// Takes the right to one message; else says how long to wait before asking again.
    pub(super) fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut next = self.next.lock();
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        let due = (*next).max(earliest);
        if due > now {
            return Err(due - now);
        }
        *next = due + self.every;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_go_as_are_allowed() {
        for (per_second, step_ms) in [(1, 7), (10, 3), (250, 10), (1_000, 40)] {
            let start = Instant::now();
            let pace = Pace::new(per_second, start);
            let mut gone = 0;
            // Ten seconds, looked at every few milliseconds.
            for at in (0..10_000).step_by(step_ms) {
                while pace.take(start + Duration::from_millis(at as u64)).is_ok() {
                    gone += 1;
                }
            }
            let (most, least) =
                (per_second * 10 + per_second / 10 + 1, per_second * 10 - per_second / 20);
            assert!((least..=most).contains(&gone), "{per_second} a second: {gone} in ten");
        }
    }

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let start = Instant::now();
        let pace = Pace::new(10, start);
        assert_eq!(pace.take(start), Ok(()));
        assert_eq!(pace.take(start), Err(Duration::from_millis(100)));
        let later = start + Duration::from_secs(60);
        assert_eq!((pace.take(later), pace.take(later)), (Ok(()), Ok(())));
        assert!(pace.take(later).is_err());
    }
}
