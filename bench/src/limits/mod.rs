//! The limits: small programs that do the bare thing and nothing else.

pub mod columns;
pub mod http_log;
pub mod postgres_copy;
pub mod signatures;
pub mod smtp;
pub mod sqlite_again;
pub mod sqlite_fill;

use tidings_domain::change::IdentityKind;
use tidings_domain::{CustomerId, bucket_of, identity_bucket};

use crate::people::{Person, person};

/// A customer's row as the hub would write it, worked out before the clock starts.
pub struct Ready {
    pub number: i64,
    pub id: CustomerId,
    pub bucket: i64,
    pub external_bucket: i64,
    pub email_bucket: i64,
    pub person: Person,
}

/// The rows of customers `from..to`.
pub fn ready(from: u64, to: u64) -> Vec<Ready> {
    (from..to)
        .map(|number| {
            let person = person(number);
            let id = CustomerId::generate();
            Ready {
                number: i64::try_from(number).unwrap_or_default() + 1,
                id,
                bucket: i64::from(bucket_of(id)),
                external_bucket: i64::from(identity_bucket(
                    IdentityKind::ExternalId,
                    &person.external_id,
                )),
                email_bucket: i64::from(identity_bucket(IdentityKind::Email, &person.email)),
                person,
            }
        })
        .collect()
}
