//! The nouns of the hub and their rules: pure values and functions.
//!
//! Nothing here does I/O, reads a clock or knows a foreign protocol; every rule can be tested by
//! calling a function.

pub mod bucket;
pub mod campaign;
pub mod change;
pub mod checked;
pub mod consent;
pub mod id;
pub mod json;
pub mod judge;
pub mod retention;
pub mod rule;
pub mod schema;
pub mod search;
pub mod time;
pub mod upsert;
pub mod value;

pub use bucket::{Bucket, bucket_of, identity_bucket};
pub use id::*;
pub use time::{Clock, Timestamp};
