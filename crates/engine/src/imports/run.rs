//! The work of an import: a thread reads and translates, this task writes what it hands over, one
//! chunk at a time, each in one transaction with the position behind it.

mod reading;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidings_domain::ImportId;
use tidings_store::Error as StoreError;
use tidings_store::imports::{Advance, Chunk};
use tidings_store::jobs::{Job, Next};
use tokio::sync::{mpsc, watch};

use self::reading::{Ended, Reading};
use super::plan::Plan;
use super::{Import, upload};
use crate::jobs::{is_fenced, lost_lease, note_fenced};
use crate::{Ctx, Error, Result};

/// How long a write turn may last where there is one writer, so that single calls stay quick.
const TURN: Duration = Duration::from_millis(8);
/// Rows of a chunk: the first one, and what it is kept within.
const EMBEDDED_ROWS: usize = 300;
const EMBEDDED_ROWS_MIN: usize = 20;
const EMBEDDED_ROWS_MAX: usize = 1_000;
const SERVER_ROWS: usize = 2_000;
/// Bytes of a chunk's rows, whichever comes first.
const EMBEDDED_BYTES: usize = 256 * 1024;
const SERVER_BYTES: usize = 2 * 1024 * 1024;
/// Chunks that are ready before they are written.
const AHEAD: usize = 2;
/// Pauses before a chunk is tried again where the database is away or full for a moment.
const PAUSES_MS: [u64; 4] = [100, 500, 2_000, 5_000];
/// After so many runs that ended in an error of another kind, the import is given up.
const MAX_RUNS: i32 = 8;

/// Runs an import from where it stands until its end, or until told to stop.
pub async fn run(ctx: &Ctx, job: &Job, stop: &watch::Receiver<bool>) -> Result<Next> {
    let Ok(id) = job.subject.parse::<ImportId>() else {
        return Ok(Next::Failed("the subject is no import".to_owned()));
    };
    let begun = ctx.workspace.begin_import(job, id, ctx.now()).await;
    let Some(row) = fenced(ctx, job, begun).await? else {
        return Ok(Next::Done);
    };
    match advance_to_end(ctx, job, Import::new(row)?, stop).await {
        Ok(Run::Ended) => {
            upload::remove(&ctx.hub, id).await;
            Ok(Next::Done)
        }
        Ok(Run::Stopped) => Ok(Next::Again(ctx.now())),
        Ok(Run::Failed(text)) => fail(ctx, job, id, text).await,
        Err(error) if job.attempts >= MAX_RUNS && !matches!(error, Error::Unavailable(_)) => {
            fail(ctx, job, id, format!("given up after {} attempts: {error}", job.attempts)).await
        }
        Err(error) => Err(error),
    }
}

async fn fail(ctx: &Ctx, job: &Job, id: ImportId, text: String) -> Result<Next> {
    let failed = ctx.workspace.fail_import(job, id, text, ctx.now()).await;
    fenced(ctx, job, failed).await?;
    upload::remove(&ctx.hub, id).await;
    ctx.wake();
    Ok(Next::Done)
}

enum Run {
    /// The last row is written, or somebody cancelled.
    Ended,
    /// Told to stop between two chunks.
    Stopped,
    /// It can never go on; the text is for the person who sent the file.
    Failed(String),
}

async fn advance_to_end(
    ctx: &Ctx,
    job: &Job,
    import: Import,
    stop: &watch::Receiver<bool>,
) -> Result<Run> {
    let id = import.row.id;
    let schema = ctx.workspace.fresh_schema().await?;
    let headers = import.headers();
    let plan = match Plan::new(&import.mapping, &headers, &schema, import.row.table.as_deref()) {
        Ok(plan) if plan.create.is_empty() => plan,
        Ok(plan) => {
            let names: Vec<&str> = plan.create.iter().map(|(name, _)| name.as_str()).collect();
            return Ok(Run::Failed(format!("the schema has lost {}", names.join(", "))));
        }
        Err(Error::Invalid(faults)) => {
            return Ok(Run::Failed(Error::Invalid(faults).to_string()));
        }
        Err(error) => return Err(error),
    };
    let embedded = ctx.workspace.is_embedded();
    let rows = Arc::new(AtomicUsize::new(if embedded { EMBEDDED_ROWS } else { SERVER_ROWS }));
    let (hand_over, mut chunks) = mpsc::channel(AHEAD);
    let reading = Reading {
        path: upload::path_of(&ctx.hub, id),
        layout: import.layout,
        headers,
        bytes_total: import.row.bytes_total,
        from: import.row.position.clone(),
        plan,
        schema,
        rows: rows.clone(),
        bytes: if embedded { EMBEDDED_BYTES } else { SERVER_BYTES },
        hand_over,
    };
    // It ends by itself when nobody takes its chunks any more.
    tokio::task::spawn_blocking(move || reading.run());
    loop {
        if *stop.borrow() {
            return Ok(Run::Stopped);
        }
        let chunk = match chunks.recv().await {
            Some(Ok(chunk)) => Arc::new(chunk),
            Some(Err(Ended::Failed(text))) => return Ok(Run::Failed(text)),
            Some(Err(Ended::Broken(error))) => {
                return Err(Error::Unavailable(format!("read upload: {error}")));
            }
            None => return Err(Error::Internal("the reading thread panicked".to_owned())),
        };
        match write(ctx, job, id, &chunk).await? {
            Advance::Stopped(_) => return Ok(Run::Ended),
            Advance::Written { took } if embedded => {
                rows.store(fitting_rows(rows.load(Ordering::Relaxed), took), Ordering::Relaxed);
            }
            Advance::Written { .. } => {}
        }
        let count = (chunk.sources.len() + chunk.refused.len()) as u64;
        metrics::counter!("tidings_import_rows_total").increment(count);
        if chunk.last {
            ctx.wake();
            return Ok(Run::Ended);
        }
    }
}

/// Writes one chunk, patient with a database that is away or full for a moment.
async fn write(ctx: &Ctx, job: &Job, id: ImportId, chunk: &Arc<Chunk>) -> Result<Advance> {
    let mut pauses = PAUSES_MS.iter();
    loop {
        let written = ctx.workspace.advance_import(job, id, chunk, ctx.now()).await;
        match (&written, pauses.next()) {
            (Err(error @ (StoreError::Unavailable(_) | StoreError::DiskFull(_))), Some(pause)) => {
                tracing::warn!(%error, import = %id, "write chunk; trying again");
                note_trouble(ctx, job, id, error).await;
                tokio::time::sleep(Duration::from_millis(*pause)).await;
            }
            _ => return fenced(ctx, job, written).await,
        }
    }
}

/// Shows what an import waits for. On a full disk even this may fail, and then it is in the log.
async fn note_trouble(ctx: &Ctx, job: &Job, id: ImportId, error: &StoreError) {
    let text = format!("{error}; the import goes on as soon as it can");
    if let Err(error) = ctx.workspace.note_import_trouble(job, id, text).await {
        tracing::warn!(%error, import = %id, "show what the import waits for");
    }
}

async fn fenced<T>(ctx: &Ctx, job: &Job, result: Result<T, StoreError>) -> Result<T> {
    if is_fenced(&result) {
        note_fenced(ctx, job).await;
        return Err(lost_lease());
    }
    Ok(result?)
}

/// How many rows fit a write turn, from how long the last chunk took.
fn fitting_rows(rows: usize, took: Duration) -> usize {
    let fitting = rows as u128 * TURN.as_micros() / took.as_micros().max(1);
    let fitting = usize::try_from(fitting).unwrap_or(EMBEDDED_ROWS_MAX);
    // Grown in steps, because one quick chunk says little.
    fitting.min(rows + rows / 4 + 1).clamp(EMBEDDED_ROWS_MIN, EMBEDDED_ROWS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_fit_the_turn() {
        for (rows, took_ms, expected) in
            [(300, 16, 150), (300, 8, 300), (300, 1, 376), (1_000, 1, 1_000), (30, 1_000, 20)]
        {
            assert_eq!(fitting_rows(rows, Duration::from_millis(took_ms)), expected, "{rows}");
        }
    }
}
