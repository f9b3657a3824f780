//! Buckets: the 1,024 shards that every customer's data is divided over.
//!
//! Both functions are frozen: a stored row could not be found again if either ever changed.

use sha2::{Digest, Sha256};

use crate::CustomerId;
use crate::change::IdentityKind;

/// A shard number, `0..BUCKETS`.
pub type Bucket = u16;

/// How many buckets there are.
pub const BUCKETS: u16 = 1024;

/// The bucket of a customer: the low ten bits of the id's random tail.
pub fn bucket_of(customer: CustomerId) -> Bucket {
    let bytes = customer.0.as_bytes();
    u16::from_be_bytes([bytes[14], bytes[15]]) & (BUCKETS - 1)
}

/// The bucket of an identity or an address: the low ten bits of the first two bytes of
/// SHA-256 over the kind's name, a colon and the normalised value.
pub fn identity_bucket(kind: IdentityKind, value: &str) -> Bucket {
    keyed_bucket(kind.name(), value)
}

/// The bucket of any other value that has no customer, such as an idempotency key.
pub fn keyed_bucket(space: &str, value: &str) -> Bucket {
    let mut hash = Sha256::new();
    hash.update(space.as_bytes());
    hash.update(b":");
    hash.update(value.as_bytes());
    let digest = hash.finalize();
    u16::from_be_bytes([digest[0], digest[1]]) & (BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_of_known_customers_never_change() {
        for (id, bucket) in [
            ("00000000-0000-7000-8000-000000000000", 0),
            ("00000000-0000-7000-8000-0000000003ff", 1023),
            ("00000000-0000-7000-8000-000000000400", 0),
            ("01931f2e-7a3b-7c4d-9e5f-a1b2c3d4e5f6", 0xe5f6 & 1023),
        ] {
            assert_eq!(bucket_of(id.parse().unwrap()), bucket, "{id}");
        }
    }

    #[test]
    fn buckets_of_known_identities_never_change() {
        for (kind, value, bucket) in [
            (IdentityKind::Email, "ann@example.com", EMAIL_ANN),
            (IdentityKind::ExternalId, "10001", EXTERNAL_10001),
            (IdentityKind::Phone, "+31612345678", PHONE_NL),
        ] {
            assert_eq!(identity_bucket(kind, value), bucket, "{value}");
        }
    }

    const EMAIL_ANN: u16 = 499;
    const EXTERNAL_10001: u16 = 237;
    const PHONE_NL: u16 = 1011;
}
