//! How often a form may be sent from one place, counted in this process.

use std::collections::HashMap;
use std::net::IpAddr;

use parking_lot::Mutex;
use tidings_domain::Timestamp;

/// Sign-ups from one place within a window.
const MOST: u32 = 30;
const WINDOW_SECS: i64 = 600;
/// How many places are counted at once. Beyond that counting begins anew: the limit a mail address
/// has of its own, which is kept in the store, holds all the same.
const PLACES: usize = 50_000;

/// Counts sign-ups by where they come from.
#[derive(Default)]
pub struct Limits {
    places: Mutex<HashMap<IpAddr, (Timestamp, u32)>>,
}

impl Limits {
    /// Counts one more; false where there were too many.
    pub(super) fn allows(&self, ip: IpAddr, now: Timestamp) -> bool {
        let mut places = self.places.lock();
        let is_over = |since: Timestamp| now >= since.plus_secs(WINDOW_SECS);
        if places.len() >= PLACES {
            places.retain(|_, (since, _)| !is_over(*since));
            if places.len() >= PLACES {
                places.clear();
            }
        }
        let (since, count) = places.entry(place(ip)).or_insert((now, 0));
        if is_over(*since) {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= MOST
    }
}

/// One subscriber's line: an IPv4 address, or the first 64 bits of an IPv6 one.
pub(crate) fn place(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_stopped_until_its_window_is_over() {
        let limits = Limits::default();
        let (now, here) = (Timestamp(1_700_000_000_000_000), IpAddr::from([192, 0, 2, 1]));
        for _ in 0..MOST {
            assert!(limits.allows(here, now));
        }
        assert!(!limits.allows(here, now));
        assert!(limits.allows(IpAddr::from([192, 0, 2, 2]), now));
        assert!(!limits.allows(here, now.plus_secs(WINDOW_SECS - 1)));
        assert!(limits.allows(here, now.plus_secs(WINDOW_SECS)));
    }

    #[test]
    fn a_line_has_one_count_whatever_address_of_it_is_used() {
        let at = |text: &str| place(text.parse().unwrap());
        assert_eq!(at("2001:db8:1:2:aaaa::1"), at("2001:db8:1:2:bbbb::2"));
        assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
    }
}
