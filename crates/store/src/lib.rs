//! What the hub remembers: one store, two engines.
//!
//! Callers see coarse operations in the domain's terms; SQL appears in this crate alone.

pub mod alerts;
pub mod archive;
pub mod audience;
pub mod audit;
pub mod blocks;
mod bulk;
pub mod campaigns;
pub mod changes;
pub mod columns;
pub mod consents;
pub mod customers;
pub mod definitions;
pub mod deliveries;
mod engines;
pub mod erasures;
pub mod error;
pub mod forms;
pub mod groups;
#[cfg(test)]
mod guard;
pub mod health;
mod hex;
pub mod idempotency;
pub mod images;
pub mod import_mappings;
pub mod imports;
pub mod jobs;
pub mod mailbox;
pub mod memberships;
pub mod merges;
pub mod migrate;
pub mod overview;
pub mod own_texts;
pub mod people;
pub mod personal;
pub mod relays;
pub mod retention;
mod schema;
pub mod sealed;
pub mod search;
pub mod segments;
pub mod senders;
pub mod sql;
pub mod statements;
pub mod storage;
mod store;
pub mod suppressions;
pub mod system;
pub mod templates;
pub mod topics;
pub mod undo;
mod workspace;

pub use customers::Page;
pub use engines::sqlite::disk_failed;
pub use engines::{Layout, Priority};
pub use error::{Error, Result};
pub use store::{Home, Store};
pub use workspace::Workspace;

/// For the counter-tests of the crash harness only: whether `TIDINGS_TEST_BUG` names this bug, which
/// the harness must then notice. There are three: `no-fencing`, where a holder that lost its lease
/// writes all the same; `commit-after-send`, where a message leaves before its start is committed;
/// `advance-before-apply`, where an import moves on before its rows are on disk.
pub fn test_bug(name: &str) -> bool {
    static BUG: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    BUG.get_or_init(|| std::env::var("TIDINGS_TEST_BUG").ok()).as_deref() == Some(name)
}
