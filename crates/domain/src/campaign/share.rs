//! Shares of an audience, drawn by a keyed hash: the same customer always falls on the same side,
//! and every customer has the same chance.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::CustomerId;

/// A share of customers, in hundredths of a percent; never none, at most all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u16);

const WHOLE: u16 = 10_000;

impl Share {
    /// From a percentage with at most two decimals, above 0 and up to 100.
    pub fn of_percent(percent: f64) -> Option<Share> {
        let hundredths = percent * 100.0;
        let whole = hundredths.round();
        let fits = whole >= 1.0 && whole <= f64::from(WHOLE) && (hundredths - whole).abs() < 1e-6;
        fits.then_some(Share(whole as u16))
    }

    pub fn percent(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    pub fn is_whole(self) -> bool {
        self.0 == WHOLE
    }

    /// Whether a hash falls into this share.
    pub fn holds(self, hash: u64) -> bool {
        part_of(hash, u64::from(WHOLE)) < u64::from(self.0)
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.percent())
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Share, D::Error> {
        let percent = f64::deserialize(deserializer)?;
        let expected = "expected a percentage above 0 and up to 100, with at most two decimals";
        Share::of_percent(percent).ok_or_else(|| serde::de::Error::custom(expected))
    }
}

/// The hash of a customer under a key, for one purpose. Frozen: who is held out of a campaign or
/// gets which variant must not change with a release.
pub fn keyed_hash(purpose: &str, key: Uuid, customer: CustomerId) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(purpose.as_bytes());
    hasher.update([0]);
    hasher.update(key.as_bytes());
    hasher.update(customer.0.as_bytes());
    let digest = hasher.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

/// Which of so many equal parts a hash falls into, from 0.
pub(super) fn part_of(hash: u64, parts: u64) -> u64 {
    ((u128::from(hash) * u128::from(parts)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_have_two_decimals_and_are_never_none() {
        for (percent, expected) in [
            (10.0, Some(1_000)),
            (0.01, Some(1)),
            (0.29, Some(29)),
            (100.0, Some(10_000)),
            (0.0, None),
            (-1.0, None),
            (0.001, None),
            (0.005, None),
            (12.345, None),
            (100.01, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            assert_eq!(Share::of_percent(percent).map(|share| share.0), expected, "{percent}");
        }
        assert!(serde_json::from_str::<Share>("0").is_err());
        assert_eq!(serde_json::to_string(&Share(1_050)).expect("JSON"), "10.5");
    }

    #[test]
    fn the_hash_is_frozen() {
        let customer = CustomerId(Uuid::from_u128(7));
        for (purpose, key, expected) in [
            ("holdout", 1, 0x3ab6_9878_f886_c705),
            ("test", 1, 0x6335_9a71_0b9e_de02),
            ("holdout", 2, 0xda57_b943_3277_20e5),
        ] {
            let hash = keyed_hash(purpose, Uuid::from_u128(key), customer);
            assert_eq!(hash, expected, "{purpose} {key}: {hash:#x}");
        }
    }

    #[test]
    fn a_share_is_even_and_two_keys_are_independent() {
        let share = Share::of_percent(10.0).expect("a share");
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut counts = [0_i32; 3];
        for at in 0..100_000_u128 {
            let customer = CustomerId(Uuid::from_u128(at));
            let in_one = share.holds(keyed_hash("holdout", one, customer));
            let in_two = share.holds(keyed_hash("holdout", two, customer));
            counts[0] += i32::from(in_one);
            counts[1] += i32::from(in_two);
            counts[2] += i32::from(in_one && in_two);
        }
        // Five standard deviations: 475 and 157.
        assert!((counts[0] - 10_000).abs() < 475 && (counts[1] - 10_000).abs() < 475, "{counts:?}");
        assert!((counts[2] - 1_000).abs() < 157, "{counts:?}");
    }
}
