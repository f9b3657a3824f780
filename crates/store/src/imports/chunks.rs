//! A run: chunk after chunk, each one transaction under the lease of the import's job.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_domain::{ImportId, Timestamp};

use super::absent::{self, ABSENT};
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
    /// Those who are in the file are noted, so that the others can be marked behind the last row.
    pub marks_absent: bool,
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
static STANDS_SQLITE: Sql = Sql::reference(
    "import_stands",
    "select number, state, position, rows_refused from {s}imports where id = ?1",
);
static STANDS: Sql = Sql::reference(
    "import_stands",
    "select number, state, position, rows_refused from {s}imports where id = ?1 for update",
);
static ADVANCE: Sql = Sql::reference(
    "advance_import",
    "update {s}imports set position = ?2, bytes_done = ?3, rows_read = rows_read + ?4,
       rows_created = rows_created + ?5, rows_updated = rows_updated + ?6,
       rows_unchanged = rows_unchanged + ?7, rows_refused = rows_refused + ?8,
       state = ?9, finished_at = ?10, error = ?11
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

/// Where an import stands, locked until the transaction ends.
pub(super) struct Stands {
    pub number: i64,
    pub state: ImportState,
    pub position: String,
    pub refused: u64,
}

pub(super) async fn stands(tx: &mut Tx, id: ImportId) -> Result<Stands> {
    let stands = match tx.dialect() {
        Dialect::Sqlite => &STANDS_SQLITE,
        Dialect::Postgres => &STANDS,
    };
    let row = tx.first(stands, crate::params![id]).await?;
    let row = row.ok_or_else(|| Error::NotFound(format!("import {id}")))?;
    Ok(Stands {
        number: row.int(0)?,
        state: ImportState::parse(&row.text(1)?)?,
        position: row.text(2)?,
        refused: row.small(3)?,
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
    let Stands { number, state, position, refused } = stands(tx, id).await?;
    if state != ImportState::Running {
        return Ok(Advance::Stopped(state));
    }
    if position != chunk.from && !crate::test_bug("advance-before-apply") {
        return Err(Error::Conflict("the import does not stand where the chunk begins".into()));
    }
    let outcomes = apply_ready(tx, how, &chunk.changes).await?;
    if let (Some(journal), Some(first)) = (how.journal.take(), chunk.sources.first()) {
        journal.write(tx, number, signed(first.row), how.at.0).await?;
    }
    let counts = record_refusals(tx, number, chunk, &outcomes).await?;
    if chunk.marks_absent {
        absent::note_seen(tx, number, &outcomes).await?;
    }
    let refused = refused + counts.refused;
    // Whom a refused row is about is not known, so nobody may be said to be absent.
    let goes_on = chunk.last && chunk.marks_absent && refused == 0;
    let done = chunk.last && !goes_on;
    let state = if done { ImportState::Done } else { ImportState::Running };
    let error = (done && chunk.marks_absent).then(|| {
        format!(
            "{refused} rows were refused, so nobody was marked as missing from the file: \
                 correct it and import the whole of it"
        )
    });
    let to = if goes_on { format!("{ABSENT}0") } else { chunk.to.clone() };
    let params = crate::params![
        number,
        to,
        signed(chunk.bytes_done),
        signed(counts.read),
        signed(counts.created),
        signed(counts.updated),
        signed(counts.unchanged),
        signed(counts.refused),
        state.name(),
        done.then_some(how.at),
        error
    ];
    tx.execute(&ADVANCE, params).await?;
    if done {
        refresh_segments(tx, how.at).await?;
    }
    Ok(Advance::Written { took: began.elapsed() })
}
