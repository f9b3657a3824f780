//! Imports: one run over one file, applied chunk by chunk.
//!
//! A chunk's changes, its counts, its refused rows and the position behind it are one transaction,
//! so a crash loses nothing and doubles nothing. What the columns mean is the engine's business;
//! layout, columns and mapping are JSON texts here.

mod absent;
mod chunks;
mod drafts;
mod refusals;
#[cfg(test)]
mod tests;
mod trials;

use tidings_domain::{ImportId, Timestamp};

pub use self::absent::ABSENT;
pub use self::chunks::{Advance, Chunk, Source};
pub use self::drafts::{NewImport, NewLayout};
pub use self::refusals::RefusedRow;
use crate::customers::Page;
use crate::engines::Tx;
use crate::jobs;
use crate::memberships::REFRESH_SEGMENTS;
use crate::sql::{Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// The job that applies the rows of an import; its subject is the import's id.
pub const RUN_IMPORT: &str = "run_import";
/// The job that tries the rows of a draft; its subject is the import's id.
pub const TRY_IMPORT: &str = "try_import";

/// Where an import stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportState {
    /// Uploaded; the mapping may still change.
    Draft,
    /// Started; its job waits.
    Queued,
    Running,
    Done,
    Failed,
    Cancelled,
}

impl ImportState {
    pub const ALL: [ImportState; 6] = [
        ImportState::Draft,
        ImportState::Queued,
        ImportState::Running,
        ImportState::Done,
        ImportState::Failed,
        ImportState::Cancelled,
    ];

    pub fn name(self) -> &'static str {
        match self {
            ImportState::Draft => "draft",
            ImportState::Queued => "queued",
            ImportState::Running => "running",
            ImportState::Done => "done",
            ImportState::Failed => "failed",
            ImportState::Cancelled => "cancelled",
        }
    }

    pub fn is_finished(self) -> bool {
        matches!(self, ImportState::Done | ImportState::Failed | ImportState::Cancelled)
    }

    fn parse(text: &str) -> Result<ImportState> {
        let known = ImportState::ALL.into_iter().find(|state| state.name() == text);
        known.ok_or_else(|| Error::Corrupt(format!("unknown state of an import: {text}")))
    }
}

/// Rows of the file by what became of them; `read` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub read: u64,
    pub created: u64,
    pub updated: u64,
    pub unchanged: u64,
    pub refused: u64,
}

/// An import as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    pub id: ImportId,
    pub number: i64,
    pub filename: String,
    /// The table whose records the rows are; `None` means customers.
    pub table: Option<String>,
    pub state: ImportState,
    pub layout: String,
    pub columns: String,
    pub mapping: String,
    pub bytes_total: u64,
    pub bytes_done: u64,
    /// Where the next chunk begins; empty before the first one.
    pub position: String,
    pub counts: Counts,
    pub error: Option<String>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// How a trial of the draft stands, as JSON, and which trial it is.
    pub trial: Option<String>,
    pub trial_run: Option<String>,
    /// How undoing it stands, as JSON.
    pub undo: Option<String>,
    /// Customers who were not in the file and were marked so.
    pub absent: u64,
}

const COLUMNS: &str = "id, number, filename, target_table, state, layout, columns, mapping, \
     bytes_total, bytes_done, position, rows_read, rows_created, rows_updated, rows_unchanged, \
     rows_refused, error, created_at, started_at, finished_at, trial, trial_run, undo, rows_absent";

/// The statements of this folder, one list a file.
pub(crate) static SQLS: &[&[&Sql]] =
    &[absent::SQL, chunks::SQL, drafts::SQL, refusals::SQL, trials::SQL];

fn import(row: &Row) -> Result<Import> {
    Ok(Import {
        id: ImportId(row.uuid(0)?),
        number: row.int(1)?,
        filename: row.text(2)?,
        table: row.opt_text(3)?,
        state: ImportState::parse(&row.text(4)?)?,
        layout: row.text(5)?,
        columns: row.text(6)?,
        mapping: row.text(7)?,
        bytes_total: row.small(8)?,
        bytes_done: row.small(9)?,
        position: row.text(10)?,
        counts: Counts {
            read: row.small(11)?,
            created: row.small(12)?,
            updated: row.small(13)?,
            unchanged: row.small(14)?,
            refused: row.small(15)?,
        },
        error: row.opt_text(16)?,
        created_at: row.time(17)?,
        started_at: row.opt_time(18)?,
        finished_at: row.opt_time(19)?,
        trial: row.opt_text(20)?,
        trial_run: row.opt_text(21)?,
        undo: row.opt_text(22)?,
        absent: row.small(23)?,
    })
}

async fn by_id(tx: &mut Tx, id: ImportId) -> Result<Option<Import>> {
    let text = format!("select {COLUMNS} from {{s}}imports where id = ?1");
    tx.query_text(&text, crate::params![id]).await?.first().map(import).transpose()
}

async fn existing(tx: &mut Tx, id: ImportId) -> Result<Import> {
    by_id(tx, id).await?.ok_or_else(|| Error::NotFound(format!("import {id}")))
}

/// Many customers changed at once, so every segment is compared once instead of judging each.
async fn refresh_segments(tx: &mut Tx, at: Timestamp) -> Result<()> {
    jobs::add(tx, REFRESH_SEGMENTS, "all", "", at).await
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Which import it is, the caller has said.
fn nothing_more(_: &Import) -> serde_json::Value {
    serde_json::Value::Null
}

impl Workspace {
    /// One import, or `None`.
    pub async fn import(&self, id: ImportId) -> Result<Option<Import>> {
        self.read(move |tx| Box::pin(async move { by_id(tx, id).await })).await
    }

    /// A page of imports, newest first; the cursor is a number.
    pub async fn imports(&self, before: Option<i64>, limit: usize) -> Result<Page<Import, i64>> {
        let text = format!(
            "select {COLUMNS} from {{s}}imports where number < ?1 order by number desc limit ?2"
        );
        // Numbers are small on PostgreSQL, and a larger parameter would not fit.
        let before = before.unwrap_or(i64::MAX).min(i64::from(i32::MAX));
        let items = self
            .read(move |tx| {
                Box::pin(async move {
                    let params = crate::params![before, signed(limit as u64 + 1)];
                    let rows = tx.query_text(&text, params).await?;
                    rows.iter().map(import).collect::<Result<Vec<_>>>()
                })
            })
            .await?;
        Ok(Page::cut(items, limit, |import| import.number))
    }
}

/// The import after a change, or why there was none.
async fn changed(tx: &mut Tx, id: ImportId, touched: u64, why_not: &str) -> Result<Import> {
    let import = existing(tx, id).await?;
    match touched {
        0 => Err(Error::Conflict(format!("the import is {}: {why_not}", import.state.name()))),
        _ => Ok(import),
    }
}
