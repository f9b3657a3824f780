//! Back-off for wrong passwords: by account and by address.

use std::collections::HashMap;

use parking_lot::Mutex;
use tidings_domain::Timestamp;

use crate::forms::place;

/// Wrong passwords for one account before it must wait.
const ACCOUNT_FREE: u32 = 5;
/// Wrong passwords from one address before it must wait; offices share one.
const ADDRESS_FREE: u32 = 20;
/// The longest wait. Short for an account, so that nobody can lock another out for long.
const ACCOUNT_MAX_SECS: i64 = 60;
const ADDRESS_MAX_SECS: i64 = 900;
/// What was quiet for so long is forgotten.
const FORGET_SECS: i64 = 3_600;
const MAX_KEPT: usize = 10_000;

#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u32,
    last: Timestamp,
}

/// The subscriber's line of an address: whoever has one of IPv6 has billions of addresses.
fn line_of(address: &str) -> String {
    match address.parse() {
        Ok(ip) => place(ip).to_string(),
        Err(_) => address.to_owned(),
    }
}

/// Failures by account and by address.
#[derive(Default)]
pub(super) struct Attempts {
    kept: Mutex<HashMap<String, Failures>>,
}

fn wait_secs(failures: Failures, free: u32, max_secs: i64) -> i64 {
    if failures.count < free {
        return 0;
    }
    1_i64.checked_shl((failures.count - free).min(20)).unwrap_or(max_secs).min(max_secs)
}

impl Attempts {
    /// Counts an attempt before it is judged, so that many at once do not all slip through.
    /// Answers with the seconds to wait where it may not be made.
    pub(super) fn begin(&self, account: &str, address: &str, now: Timestamp) -> Result<(), u64> {
        let mut kept = self.kept.lock();
        if kept.len() >= MAX_KEPT {
            kept.retain(|_, one| now < one.last.plus_secs(FORGET_SECS));
        }
        let limits = [
            (format!("account {account}"), ACCOUNT_FREE, ACCOUNT_MAX_SECS),
            (format!("address {}", line_of(address)), ADDRESS_FREE, ADDRESS_MAX_SECS),
        ];
        for (key, free, max_secs) in &limits {
            let Some(failures) = kept.get(key).copied() else { continue };
            let until = failures.last.plus_secs(wait_secs(failures, *free, *max_secs));
            if now < until {
                return Err((until.ms_since(now) as u64).div_ceil(1_000).max(1));
            }
        }
        for (key, ..) in limits {
            let failures = kept.entry(key).or_default();
            if now >= failures.last.plus_secs(FORGET_SECS) {
                failures.count = 0;
            }
            *failures = Failures { count: failures.count.saturating_add(1), last: now };
        }
        Ok(())
    }

    /// The attempt was right: the account starts anew, and the address is not blamed for it.
    pub(super) fn succeeded(&self, account: &str, address: &str) {
        let mut kept = self.kept.lock();
        kept.remove(&format!("account {account}"));
        if let Some(failures) = kept.get_mut(&format!("address {}", line_of(address))) {
            failures.count = failures.count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

    #[test]
    fn an_account_waits_after_five_failures_and_a_success_clears_it() {
        let attempts = Attempts::default();
        for _ in 0..5 {
            assert_eq!(attempts.begin("ann", "1.2.3.4", NOW), Ok(()));
        }
        assert_eq!(attempts.begin("ann", "5.6.7.8", NOW), Err(1));
        assert_eq!(attempts.begin("bob", "1.2.3.4", NOW), Ok(()));
        assert_eq!(attempts.begin("ann", "1.2.3.4", NOW.plus_secs(1)), Ok(()));
        assert_eq!(attempts.begin("ann", "1.2.3.4", NOW.plus_secs(1)), Err(2));
        attempts.succeeded("ann", "1.2.3.4");
        assert_eq!(attempts.begin("ann", "1.2.3.4", NOW.plus_secs(1)), Ok(()));
    }

    #[test]
    fn an_address_that_tries_many_accounts_waits() {
        let attempts = Attempts::default();
        for n in 0..20 {
            assert_eq!(attempts.begin(&format!("a{n}"), "1.2.3.4", NOW), Ok(()));
        }
        assert_eq!(attempts.begin("a99", "1.2.3.4", NOW), Err(1));
        assert_eq!(attempts.begin("a99", "4.3.2.1", NOW), Ok(()));
    }

    #[test]
    fn row_52_the_many_addresses_of_one_line_wait_together() {
        let attempts = Attempts::default();
        for n in 0..20 {
            let address = format!("2001:db8:1:2::{n:x}");
            assert_eq!(attempts.begin(&format!("a{n}"), &address, NOW), Ok(()));
        }
        assert_eq!(attempts.begin("a99", "2001:db8:1:2:ffff::1", NOW), Err(1));
        assert_eq!(attempts.begin("a99", "2001:db8:1:3::1", NOW), Ok(()));
    }

    #[test]
    fn row_52_a_thousand_tries_at_one_account_take_hours_and_lock_nobody_out_for_long() {
        let attempts = Attempts::default();
        let mut now = NOW;
        for n in 0..1_000 {
            // A botnet: every try from somewhere else.
            let address = format!("10.{}.{}.1", n / 250, n % 250);
            while let Err(wait) = attempts.begin("ann", &address, now) {
                assert!(wait <= 60, "whoever knows the password waits no longer than a minute");
                now = now.plus_secs(wait as i64);
            }
        }
        assert!(now.ms_since(NOW) > 16 * 3_600 * 1_000);
    }

    #[test]
    fn waits_grow_to_a_limit_and_are_forgotten() {
        let attempts = Attempts::default();
        let mut now = NOW;
        for _ in 0..40 {
            while let Err(wait) = attempts.begin("ann", "1.2.3.4", now) {
                assert!(wait <= 900);
                now = now.plus_secs(wait as i64);
            }
        }
        assert!(attempts.begin("ann", "1.2.3.4", now).is_err());
        assert_eq!(attempts.begin("ann", "1.2.3.4", now.plus_secs(3_600)), Ok(()));
        assert_eq!(attempts.begin("ann", "1.2.3.4", now.plus_secs(3_600)), Ok(()));
    }
}
