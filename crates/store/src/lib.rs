//! What the hub remembers: one store, two engines.
//!
//! Callers see coarse operations in the domain's terms; SQL appears in this crate alone.

pub mod archive;
pub mod audience;
mod bulk;
pub mod campaigns;
pub mod changes;
pub mod customers;
pub mod deliveries;
mod engines;
pub mod error;
pub mod groups;
#[cfg(test)]
mod guard;
mod hex;
pub mod idempotency;
pub mod imports;
pub mod jobs;
pub mod mailbox;
pub mod memberships;
pub mod migrate;
pub mod overview;
mod schema;
pub mod search;
pub mod segments;
pub mod sql;
pub mod statements;
mod store;
pub mod suppressions;
pub mod system;
pub mod templates;
mod workspace;

pub use customers::Page;
pub use engines::{Layout, Priority};
pub use error::{Error, Result};
pub use store::{Home, Store};
pub use workspace::Workspace;

/// For the counter-tests of the crash harness only: with `TIDINGS_TEST_BUG=no-fencing` a holder
/// that lost its lease writes all the same, and the harness must notice.
pub(crate) fn fencing_is_off() -> bool {
    static OFF: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *OFF.get_or_init(|| std::env::var("TIDINGS_TEST_BUG").is_ok_and(|bug| bug == "no-fencing"))
}
