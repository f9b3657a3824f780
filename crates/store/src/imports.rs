//! Imports: one run over one file, applied chunk by chunk.
//!
//! A chunk's changes, its counts, its refused rows and the position behind it are one transaction,
//! so a crash loses nothing and doubles nothing. What the columns mean is the engine's business;
//! layout, columns and mapping are JSON texts here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_domain::change::Outcome;
use tidings_domain::{ImportId, Timestamp};

use crate::bulk::{ColumnType, OnConflict, column, insert_many};
use crate::changes::{Applying, Ready, apply_ready};
use crate::customers::Page;
use crate::engines::{Priority, Tx};
use crate::jobs::{self, Job};
use crate::memberships::REFRESH_SEGMENTS;
use crate::sql::{Dialect, Param, Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// The job that applies the rows of an import; its subject is the import's id.
pub const RUN_IMPORT: &str = "run_import";

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
}

/// What a new import is made of.
#[derive(Clone, Debug)]
pub struct NewImport {
    pub id: ImportId,
    pub filename: String,
    pub table: Option<String>,
    pub layout: String,
    pub columns: String,
    pub mapping: String,
    pub bytes_total: u64,
    pub at: Timestamp,
}

/// A refused row, as the report shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRow {
    /// From 1; the header is not counted.
    pub row: u64,
    pub line: u64,
    /// The column's name in the file, or empty where the row as a whole is meant.
    pub column: String,
    pub code: String,
    pub message: String,
    /// The row as it stands in the file, without its line ending.
    pub raw: Vec<u8>,
}

/// Where one change of a chunk came from.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    pub row: u64,
    pub line: u64,
    /// The end of its text in `Chunk::raw`; it begins where the one before ends.
    pub end: usize,
}

/// Consecutive rows of the file, ready to be written in one transaction.
#[derive(Debug)]
pub struct Chunk {
    /// The position it begins at, which must be where the import stands.
    pub from: String,
    /// The position behind it.
    pub to: String,
    pub bytes_done: u64,
    pub changes: Ready,
    /// One for each change.
    pub sources: Vec<Source>,
    /// The text of the rows behind `changes`, one after the other.
    pub raw: Vec<u8>,
    /// Rows that never became a change.
    pub refused: Vec<RefusedRow>,
    /// Which column of the file a refusal's path stands for.
    pub columns: Arc<Vec<(String, String)>>,
    /// The file ends here: the import is done with this chunk.
    pub last: bool,
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// It is on disk; writing took so long, without the commit.
    Written { took: Duration },
    /// Nothing was written: the import is no longer running, but in this state.
    Stopped(ImportState),
}

const COLUMNS: &str = "id, number, filename, target_table, state, layout, columns, mapping, \
     bytes_total, bytes_done, position, rows_read, rows_created, rows_updated, rows_unchanged, \
     rows_refused, error, created_at, started_at, finished_at";

static ADD: Sql = Sql::reference(
    "add_import",
    "insert into {s}imports (number, id, filename, target_table, state, layout, columns, mapping,
       bytes_total, bytes_done, position, rows_read, rows_created, rows_updated, rows_unchanged,
       rows_refused, created_at)
     select coalesce(max(number), 0) + 1, ?1, ?2, ?3, 'draft', ?4, ?5, ?6, ?7, 0, '',
       0, 0, 0, 0, 0, ?8 from {s}imports where true
     on conflict do nothing",
);
static SET_MAPPING: Sql = Sql::reference(
    "set_import_mapping",
    "update {s}imports set mapping = ?2 where id = ?1 and state = 'draft'",
);
static START: Sql = Sql::reference(
    "start_import",
    "update {s}imports set state = 'queued', mapping = ?2 where id = ?1 and state = 'draft'",
);
static CANCEL: Sql = Sql::reference(
    "cancel_import",
    "update {s}imports set state = 'cancelled', finished_at = ?2
     where id = ?1 and state in ('draft', 'queued', 'running')",
);
static BEGIN: Sql = Sql::reference(
    "begin_import",
    "update {s}imports set state = 'running', started_at = coalesce(started_at, ?2)
     where id = ?1 and state in ('queued', 'running')",
);
static STANDS_SQLITE: Sql =
    Sql::reference("import_stands", "select number, state, position from {s}imports where id = ?1");
static STANDS: Sql = Sql::reference(
    "import_stands",
    "select number, state, position from {s}imports where id = ?1 for update",
);
static ADVANCE: Sql = Sql::reference(
    "advance_import",
    "update {s}imports set position = ?2, bytes_done = ?3, rows_read = rows_read + ?4,
       rows_created = rows_created + ?5, rows_updated = rows_updated + ?6,
       rows_unchanged = rows_unchanged + ?7, rows_refused = rows_refused + ?8,
       state = ?9, finished_at = ?10, error = null
     where number = ?1",
);
static FAIL: Sql = Sql::reference(
    "fail_import",
    "update {s}imports set state = 'failed', error = ?2, finished_at = ?3
     where id = ?1 and state in ('queued', 'running')",
);
static TROUBLE: Sql = Sql::reference(
    "note_import_trouble",
    "update {s}imports set error = ?2 where id = ?1 and state = 'running'",
);
static REFUSALS: Sql = Sql::reference(
    "import_refusals",
    "select row_number, line, column_name, code, message, substr(raw, 1, cast(?4 as integer))
     from {s}import_refusals
     where import_number = (select number from {s}imports where id = ?1) and row_number > ?2
     order by row_number limit ?3",
);

pub(crate) static SQL: &[&Sql] =
    &[&ADD, &SET_MAPPING, &START, &CANCEL, &BEGIN, &STANDS, &ADVANCE, &FAIL, &TROUBLE, &REFUSALS];

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
    /// Makes an import in the state draft.
    pub async fn add_import(&self, new: NewImport) -> Result<Import> {
        self.write_acted(Priority::Interactive, nothing_more, move |tx| {
            Box::pin(async move {
                // Another node may take the number in the same moment; then the next one is free.
                for _ in 0..8 {
                    let params = crate::params![
                        new.id,
                        &new.filename,
                        new.table.clone(),
                        &new.layout,
                        &new.columns,
                        &new.mapping,
                        signed(new.bytes_total),
                        new.at,
                    ];
                    if tx.execute(&ADD, params).await? > 0 {
                        return existing(tx, new.id).await;
                    }
                }
                Err(Error::Unavailable("numbers of imports keep moving".to_owned()))
            })
        })
        .await
    }

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

    /// Changes the mapping of a draft.
    pub async fn set_import_mapping(&self, id: ImportId, mapping: String) -> Result<Import> {
        self.write_acted(Priority::Interactive, nothing_more, move |tx| {
            Box::pin(async move {
                let touched = tx.execute(&SET_MAPPING, crate::params![id, mapping]).await?;
                changed(tx, id, touched, "its mapping can no longer change").await
            })
        })
        .await
    }

    /// Starts a draft: its job is written in the same transaction.
    pub async fn start_import(
        &self,
        id: ImportId,
        mapping: String,
        at: Timestamp,
    ) -> Result<Import> {
        self.write_acted(Priority::Interactive, nothing_more, move |tx| {
            Box::pin(async move {
                let touched = tx.execute(&START, crate::params![id, mapping]).await?;
                if touched > 0 {
                    jobs::add(tx, RUN_IMPORT, &id.to_string(), "", at).await?;
                }
                changed(tx, id, touched, "it was started before").await
            })
        })
        .await
    }

    /// Cancels an import that is not finished; rows that were applied stay.
    pub async fn cancel_import(&self, id: ImportId, at: Timestamp) -> Result<Import> {
        self.write_acted(Priority::Interactive, nothing_more, move |tx| {
            Box::pin(async move {
                let touched = tx.execute(&CANCEL, crate::params![id, at]).await?;
                let import = changed(tx, id, touched, "it is finished").await?;
                if import.counts.read > 0 {
                    refresh_segments(tx, at).await?;
                }
                Ok(import)
            })
        })
        .await
    }

    /// Takes up an import under its job's lease; `None` where there is nothing left to do.
    pub async fn begin_import(
        &self,
        job: &Job,
        id: ImportId,
        at: Timestamp,
    ) -> Result<Option<Import>> {
        let job = job.clone();
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                match tx.execute(&BEGIN, crate::params![id, at]).await? {
                    0 => Ok(None),
                    _ => by_id(tx, id).await,
                }
            })
        })
        .await
    }

    /// Writes one chunk in one transaction: its changes, its counts, its refused rows and the
    /// position behind it. `Fenced` where the job's lease is gone, `Conflict` where the import
    /// does not stand where the chunk begins; then nothing is written.
    pub async fn advance_import(
        &self,
        job: &Job,
        id: ImportId,
        chunk: &Arc<Chunk>,
        at: Timestamp,
    ) -> Result<Advance> {
        let system_ids = self.system_ids(chunk.changes.upserts()).await?;
        let schema = chunk.changes.schema().clone();
        let mut how = Applying { schema, at, judge: false, system_ids };
        let (job, chunk) = (job.clone(), chunk.clone());
        if crate::test_bug("advance-before-apply") {
            self.skip_chunk(id, chunk.to.clone()).await?;
        }
        let (advance, unused) = self
            .write(Priority::Bulk, move |tx| {
                Box::pin(async move {
                    let advance = advance(tx, &mut how, &job, id, &chunk).await?;
                    Ok((advance, how.system_ids))
                })
            })
            .await?;
        self.return_system_ids(unused);
        Ok(advance)
    }

    /// The bug of a counter-test: the position moves in a commit of its own.
    async fn skip_chunk(&self, id: ImportId, to: String) -> Result<()> {
        self.write(Priority::Bulk, move |tx| {
            Box::pin(async move {
                let text = "update {s}imports set position = ?2 where id = ?1";
                tx.execute_text(text, crate::params![id, to]).await.map(|_| ())
            })
        })
        .await
    }

    /// Ends an import badly. Rows that were applied stay.
    pub async fn fail_import(
        &self,
        job: &Job,
        id: ImportId,
        error: String,
        at: Timestamp,
    ) -> Result<()> {
        let job = job.clone();
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                if tx.execute(&FAIL, crate::params![id, error, at]).await? > 0 {
                    refresh_segments(tx, at).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Says what a running import waits for; the next chunk that is written clears it.
    pub async fn note_import_trouble(&self, job: &Job, id: ImportId, error: String) -> Result<()> {
        let job = job.clone();
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                tx.execute(&TROUBLE, crate::params![id, error]).await.map(|_| ())
            })
        })
        .await
    }

    /// A page of refused rows in the order of the file; the cursor is a row. Of each row's text at
    /// most `raw_bytes` are read.
    pub async fn import_refusals(
        &self,
        id: ImportId,
        after: Option<u64>,
        limit: usize,
        raw_bytes: u32,
    ) -> Result<Page<RefusedRow, u64>> {
        let items = self
            .read(move |tx| {
                Box::pin(async move {
                    let after = after.map_or(-1, signed);
                    let limit = signed(limit as u64 + 1);
                    let params = crate::params![id, after, limit, raw_bytes];
                    let rows = tx.query(&REFUSALS, params).await?;
                    rows.iter().map(refused_row).collect::<Result<Vec<_>>>()
                })
            })
            .await?;
        Ok(Page::cut(items, limit, |refused| refused.row))
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

fn refused_row(row: &Row) -> Result<RefusedRow> {
    Ok(RefusedRow {
        row: row.small(0)?,
        line: row.small(1)?,
        column: row.text(2)?,
        code: row.text(3)?,
        message: row.text(4)?,
        raw: row.bytes(5)?,
    })
}

async fn advance(
    tx: &mut Tx,
    how: &mut Applying,
    job: &Job,
    id: ImportId,
    chunk: &Chunk,
) -> Result<Advance> {
    let began = Instant::now();
    jobs::hold(tx, job).await?;
    let stands = match tx.dialect() {
        Dialect::Sqlite => &STANDS_SQLITE,
        Dialect::Postgres => &STANDS,
    };
    let row = tx.first(stands, crate::params![id]).await?;
    let row = row.ok_or_else(|| Error::NotFound(format!("import {id}")))?;
    let (number, state) = (row.int(0)?, ImportState::parse(&row.text(1)?)?);
    if state != ImportState::Running {
        return Ok(Advance::Stopped(state));
    }
    if row.text(2)? != chunk.from && !crate::test_bug("advance-before-apply") {
        return Err(Error::Conflict("the import does not stand where the chunk begins".into()));
    }
    let outcomes = apply_ready(tx, how, &chunk.changes).await?;
    let counts = record_refusals(tx, number, chunk, &outcomes).await?;
    let state = if chunk.last { ImportState::Done } else { ImportState::Running };
    let params = crate::params![
        number,
        &chunk.to,
        signed(chunk.bytes_done),
        signed(counts.read),
        signed(counts.created),
        signed(counts.updated),
        signed(counts.unchanged),
        signed(counts.refused),
        state.name(),
        chunk.last.then_some(how.at),
    ];
    tx.execute(&ADVANCE, params).await?;
    if chunk.last {
        refresh_segments(tx, how.at).await?;
    }
    Ok(Advance::Written { took: began.elapsed() })
}

/// Counts the outcomes of a chunk and keeps its refused rows.
async fn record_refusals(
    tx: &mut Tx,
    number: i64,
    chunk: &Chunk,
    outcomes: &[Outcome],
) -> Result<Counts> {
    let mut counts = Counts::default();
    let mut rows: Vec<Vec<Param>> = Vec::new();
    for refused in &chunk.refused {
        rows.push(vec![
            number.into(),
            signed(refused.row).into(),
            signed(refused.line).into(),
            refused.column.as_str().into(),
            refused.code.as_str().into(),
            refused.message.as_str().into(),
            refused.raw.clone().into(),
        ]);
    }
    let mut start = 0;
    for (outcome, source) in outcomes.iter().zip(&chunk.sources) {
        match outcome {
            Outcome::Created { .. } => counts.created += 1,
            Outcome::Updated { .. } => counts.updated += 1,
            Outcome::Unchanged { .. } => counts.unchanged += 1,
            Outcome::Refused(refusal) => {
                let column = chunk.columns.iter().find(|(path, _)| *path == refusal.path);
                rows.push(vec![
                    number.into(),
                    signed(source.row).into(),
                    signed(source.line).into(),
                    column.map_or("", |(_, name)| name).into(),
                    refusal.code.as_ref().into(),
                    refusal.message.as_str().into(),
                    chunk.raw[start..source.end].to_vec().into(),
                ]);
            }
        }
        start = source.end;
    }
    counts.refused = rows.len() as u64;
    counts.read = counts.created + counts.updated + counts.unchanged + counts.refused;
    let columns = [
        column("import_number", ColumnType::BigInt),
        column("row_number", ColumnType::BigInt),
        column("line", ColumnType::BigInt),
        column("column_name", ColumnType::Text),
        column("code", ColumnType::Text),
        column("message", ColumnType::Text),
        column("raw", ColumnType::Bytes),
    ];
    // Cells may hold anything; only their text is kept as it came.
    for row in &mut rows {
        for cell in &mut row[3..6] {
            if let Param::Text(text) = cell
                && text.contains('\0')
            {
                *text = text.replace('\0', "\u{fffd}");
            }
        }
    }
    insert_many(tx, "import_refusals", &columns, &rows, OnConflict::Fail, "").await?;
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Home, Store};
    use tidings_domain::NodeId;
    use tidings_domain::change::{Change, UpsertCustomer};

    const AT: Timestamp = Timestamp(1_700_000_000_000_000);

    /// Lets the writer's file grow to so many pages and no further, as a full disk would.
    async fn limit_pages(workspace: &Workspace, pages: i64) {
        workspace
            .write(Priority::Interactive, move |tx| {
                Box::pin(async move {
                    tx.query_text(&format!("pragma max_page_count = {pages}"), &[]).await?;
                    Ok(())
                })
            })
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_leaves_nothing_half_written_and_the_import_goes_on_later() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Home::Folder(folder.path().to_owned())).await.unwrap();
        let workspace = store.create_workspace("Full", "UTC", false).await.unwrap();
        let new = NewImport {
            id: ImportId::generate(),
            filename: "a.csv".to_owned(),
            table: None,
            layout: "{}".to_owned(),
            columns: "[]".to_owned(),
            mapping: "{}".to_owned(),
            bytes_total: 1,
            at: AT,
        };
        let id = workspace.add_import(new).await.unwrap().id;
        workspace.start_import(id, "{}".to_owned(), AT).await.unwrap();
        let job = workspace.claim_job(NodeId::generate()).await.unwrap().unwrap();
        workspace.begin_import(&job, id, AT).await.unwrap();
        let upsert = |number: usize| {
            Change::UpsertCustomer(UpsertCustomer {
                external_id: Some(format!("{number:0>200}")),
                ..Default::default()
            })
        };
        let chunk = Arc::new(Chunk {
            from: String::new(),
            to: "2000".to_owned(),
            bytes_done: 1,
            changes: Ready::new(
                &workspace.schema().await.unwrap(),
                (0..2_000).map(upsert).collect(),
            ),
            sources: vec![Source { row: 1, line: 1, end: 0 }; 2_000],
            raw: Vec::new(),
            refused: Vec::new(),
            columns: Arc::default(),
            last: true,
        });
        limit_pages(&workspace, 1).await;
        for _ in 0..2 {
            let full = workspace.advance_import(&job, id, &chunk, AT).await;
            assert!(matches!(full, Err(Error::DiskFull(_))), "{full:?}");
            let import = workspace.import(id).await.unwrap().unwrap();
            assert_eq!((import.position.as_str(), import.counts), ("", Counts::default()));
            let customers = workspace.customers(None, None, 1).await.unwrap();
            assert!(customers.items.is_empty());
        }
        limit_pages(&workspace, 1_000_000).await;
        workspace.advance_import(&job, id, &chunk, AT).await.unwrap();
        let import = workspace.import(id).await.unwrap().unwrap();
        assert_eq!((import.state, import.counts.created), (ImportState::Done, 2_000));
    }
}
