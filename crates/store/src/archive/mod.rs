//! Backup and restore: the whole hub in one file that knows no engine, so that restoring it into
//! the other engine is the move.
//!
//! The file is gzip around lines. A line that begins with `{` is a mark, one that begins with `[`
//! is a row. In order:
//!
//! ```text
//! {"archive":{"format":1,"made_at":…,"engine":"sqlite","program":"0.1.0"}}
//! {"database":{"name":"system","migration":1,"partitioned":false}}
//! {"table":{"name":"users","columns":[["created_at","integer"],["id","blob"],…]}}
//! [1700000000000000,"0193…",…]                       one line a row, values in the columns' order
//! {"end_table":{"rows":12,"sums":{"all":"3f…"}}}
//! … the other tables, then {"database":{"name":"w1",…}} and its tables, one workspace at a time …
//! {"file":{"path":"imports/7.csv"}}                  only where files were asked for
//! {"chunk":{"bytes":65536}}                          followed by as many raw bytes and a line end
//! {"end_file":{"bytes":70000,"sha256":"…"}}
//! {"done":{"tables":40,"rows":123456,"sha256":"…"}}  the digest of everything before this line
//! ```
//!
//! Columns stand in the order of their names and have one of three kinds: `integer`, `text`, and
//! `blob` in hexadecimal. Booleans are 0 and 1, JSON and lists are JSON text with sorted keys, so
//! a row is the same line whichever engine it came from. A table's checksum is the sum of the
//! SHA-256 of its rows' lines, modulo 2^256, kept apart for each group of sixteen buckets: it does
//! not depend on the order of rows, which differs between engines, so nothing has to be sorted.
//! An archive without its last line, or with any wrong sum, is refused before the target is touched.
//!
//! Sessions and nodes stay behind: nobody is signed in to a restored hub, and none of its nodes run.

mod backup;
mod beside;
mod format;
mod load;
mod restore;
mod settle;
mod snapshot;
mod sums;
pub(crate) mod tables;

pub(crate) use backup::on_own_thread;
pub use backup::{backup, backup_workspace, checksums};
pub use beside::restore_beside;
pub use restore::{Restoring, restore};
pub(crate) use restore::{has_table, refuse_unfinished};
pub(crate) use settle::SQL;
pub(crate) use snapshot::{Named, Snapshot};
pub use sums::Sums;

/// How far a backup or a restore has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// `reading`, `writing`, `loading` or `comparing`.
    pub step: &'static str,
    /// `system`, or `w` and the workspace's number.
    pub database: String,
    pub table: String,
    /// Rows of this table so far.
    pub rows: u64,
}

/// What was written or restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub workspaces: u64,
    pub tables: u64,
    pub rows: u64,
    pub files: u64,
}

/// Checksums by database and table.
pub type Checksums = std::collections::BTreeMap<(String, String), Sums>;

/// How many rows pass between two reports of progress.
const REPORT_EVERY: u64 = 10_000;
