//! A run: chunk after chunk, each one transaction under the lease of the import's job.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_domain::{ImportId, Timestamp};

use super::refusals::record_refusals;
use super::{Import, ImportState, RefusedRow, by_id, refresh_segments, signed};
use crate::changes::journal::Journal;
use crate::changes::{Applying, Ready, apply_ready};
use crate::engines::{Priority, Tx};
use crate::jobs::{self, Job};
use crate::sql::{Dialect, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

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
    /// Which changes also set what the schema still lacks; only in trials.
    pub sets_new: Vec<bool>,
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

pub(super) static SQL: &[&Sql] = &[&BEGIN, &STANDS, &ADVANCE, &FAIL, &TROUBLE];

impl Workspace {
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
        let journal = Some(Journal::default());
        let mut how = Applying { schema, at, judge: false, system_ids, journal };
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
    if let (Some(journal), Some(first)) = (how.journal.take(), chunk.sources.first()) {
        journal.write(tx, number, signed(first.row), how.at.0).await?;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imports::{Counts, NewImport};
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
            sets_new: Vec::new(),
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
