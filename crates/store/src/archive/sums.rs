//! Checksums of tables that do not depend on the order of rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Buckets are summed in groups of this many.
const BUCKETS_PER_GROUP: i64 = 16;

/// The rows of a table and their sums, by group of buckets; a table without buckets has one sum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    pub rows: u64,
    pub sums: BTreeMap<String, Sum>,
}

/// SHA-256 values added up modulo 2^256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum([u64; 4]);

impl Sums {
    /// Adds one row by its line. `bucket` is the row's bucket where its table has one.
    pub(super) fn add(&mut self, line: &[u8], bucket: Option<i64>) {
        let group = match bucket {
            Some(bucket) => format!("{:02}", bucket / BUCKETS_PER_GROUP),
            None => "all".to_owned(),
        };
        self.rows += 1;
        self.sums.entry(group).or_default().add(&Sha256::digest(line));
    }

    /// The sum over all groups, in hexadecimal.
    pub fn total(&self) -> String {
        let mut total = Sum::default();
        for sum in self.sums.values() {
            total.add(&sum.bytes());
        }
        crate::hex::hex(&total.bytes())
    }
}

impl Sum {
    fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|limb| limb.to_le_bytes()).collect()
    }

    fn add(&mut self, digest: &[u8]) {
        let mut carry = false;
        for (limb, bytes) in self.0.iter_mut().zip(digest.chunks_exact(8)) {
            let mut term = [0; 8];
            term.copy_from_slice(bytes);
            let (sum, over) = limb.overflowing_add(u64::from_le_bytes(term));
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = over || over_again;
        }
    }
}

impl Serialize for Sum {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&crate::hex::hex(&self.bytes()))
    }
}

impl<'de> Deserialize<'de> for Sum {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = crate::hex::unhex(&text).filter(|bytes| bytes.len() == 32);
        let bytes = bytes.ok_or_else(|| serde::de::Error::custom("expected 32 bytes"))?;
        let mut sum = Sum::default();
        sum.add(&bytes);
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(rows: &[(&str, Option<i64>)]) -> Sums {
        let mut sums = Sums::default();
        for (line, bucket) in rows {
            sums.add(line.as_bytes(), *bucket);
        }
        sums
    }

    #[test]
    fn order_does_not_matter_and_everything_else_does() {
        let one = sums(&[("[1]", None), ("[2]", None), ("[2]", None)]);
        assert_eq!(one, sums(&[("[2]", None), ("[1]", None), ("[2]", None)]));
        for other in [
            sums(&[("[1]", None), ("[2]", None)]),
            sums(&[("[1]", None), ("[1]", None), ("[2]", None)]),
            sums(&[("[1]", None), ("[2]", None), ("[3]", None)]),
            sums(&[("[1]", Some(0)), ("[2]", Some(0)), ("[2]", Some(0))]),
        ] {
            assert_ne!(one, other);
        }
        let apart = sums(&[("[1]", Some(0)), ("[2]", Some(15)), ("[3]", Some(16))]);
        assert_eq!(apart.sums.keys().collect::<Vec<_>>(), ["00", "01"]);
        let together = sums(&[("[3]", None), ("[1]", None), ("[2]", None)]);
        assert_eq!(apart.total(), together.total());
        assert_ne!(apart.total(), one.total());
    }

    #[test]
    fn sums_are_read_as_they_are_written() {
        let one = sums(&[("[1]", Some(1)), ("[2]", Some(1023))]);
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Sums>(&text).unwrap(), one);
    }
}
