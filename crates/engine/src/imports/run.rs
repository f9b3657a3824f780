//! The work of an import: a thread reads and translates, this task writes what it hands over, one
//! chunk at a time, each in one transaction with the position behind it.

mod reading;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tidings_domain::ImportId;
use tidings_domain::schema::Schema;
use tidings_store::Error as StoreError;
use tidings_store::imports::{ABSENT, Advance, Chunk};
use tidings_store::jobs::{Job, Next};
use tokio::sync::{mpsc, watch};

pub(super) use self::reading::Ended;
use self::reading::Reading;
use super::plan::Plan;
use super::{Import, upload};
use crate::jobs::{is_fenced, lost_lease, note_fenced};
use crate::{Ctx, Error, Result};

/// How long a chunk may hold the writer where there is one, so that single calls stay quick: they
/// are written right after it, in the same commit.
const TURN: Duration = Duration::from_millis(4);
/// Rows of a chunk: the first one, and what it is kept within.
const EMBEDDED_ROWS: usize = 150;
const EMBEDDED_ROWS_MIN: usize = 20;
const EMBEDDED_ROWS_MAX: usize = 1_000;
const SERVER_ROWS: usize = 2_000;
/// Bytes of a chunk's rows, whichever comes first.
const EMBEDDED_BYTES: usize = 256 * 1024;
const SERVER_BYTES: usize = 2 * 1024 * 1024;
/// Chunks that are ready before they are written.
const AHEAD: usize = 2;
/// Chunks that wait for their turn at once where there is one writer, which keeps their order and
/// puts many into one commit while nobody else writes.
const QUEUED: usize = 40;
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
    let present = plan.present.clone();
    let from = import.row.position.clone();
    if let (Some(attribute), true) = (&present, from.starts_with(ABSENT)) {
        return mark_absent(ctx, job, &import, attribute, stop).await;
    }
    let (rows, chunks) = read_chunks(ctx, &import, plan, schema, from);
    let embedded = ctx.workspace.is_embedded();
    let writing = Writing { ctx, job, id, rows: embedded.then_some(rows) };
    match (write_all(writing, chunks, stop).await?, present) {
        (Run::Ended, Some(attribute)) => mark_absent(ctx, job, &import, &attribute, stop).await,
        (run, _) => Ok(run),
    }
}

/// Behind the last row: marks those who were not in the file, slice by slice, and forgets who was.
async fn mark_absent(
    ctx: &Ctx,
    job: &Job,
    import: &Import,
    attribute: &str,
    stop: &watch::Receiver<bool>,
) -> Result<Run> {
    let id = import.row.id;
    while !*stop.borrow() {
        let marked = ctx.workspace.mark_absent(job, id, attribute, ctx.now()).await;
        if let Advance::Stopped(_) = fenced(ctx, job, marked).await? {
            ctx.workspace.forget_seen(import.row.number).await?;
            ctx.wake();
            return Ok(Run::Ended);
        }
    }
    Ok(Run::Stopped)
}

/// Chunks of a file as they are read.
pub(super) type Chunks = mpsc::Receiver<Result<Chunk, Ended>>;

/// Reads a file on a thread of its own, from a position, or from its beginning where that is empty.
/// Gives the number of rows of the chunks to come, which may be changed, and the chunks.
pub(super) fn read_chunks(
    ctx: &Ctx,
    import: &Import,
    plan: Plan,
    schema: Arc<Schema>,
    from: String,
) -> (Arc<AtomicUsize>, Chunks) {
    let embedded = ctx.workspace.is_embedded();
    let rows = Arc::new(AtomicUsize::new(if embedded { EMBEDDED_ROWS } else { SERVER_ROWS }));
    let (hand_over, chunks) = mpsc::channel(AHEAD);
    let reading = Reading {
        path: upload::path_of(&ctx.hub, import),
        layout: import.layout,
        kind: import.source.kind,
        headers: import.headers(),
        bytes_total: import.row.bytes_total,
        from,
        plan,
        schema,
        rows: rows.clone(),
        bytes: if embedded { EMBEDDED_BYTES } else { SERVER_BYTES },
        hand_over,
    };
    // It ends by itself when nobody takes its chunks any more.
    tokio::task::spawn_blocking(move || reading.run());
    (rows, chunks)
}

/// What the writing of every chunk needs.
struct Writing<'a> {
    ctx: &'a Ctx,
    job: &'a Job,
    id: ImportId,
    /// Rows of a chunk to come, where turns of the one writer must stay short.
    rows: Option<Arc<AtomicUsize>>,
}

/// Writes chunks as they come. Where there is one writer, which keeps their order, the next chunk
/// already waits for its turn while one is written.
async fn write_all(
    writing: Writing<'_>,
    mut chunks: Chunks,
    stop: &watch::Receiver<bool>,
) -> Result<Run> {
    let at_once = if writing.rows.is_some() { QUEUED } else { 1 };
    let mut in_flight = FuturesOrdered::new();
    let mut reading = Ok(true);
    loop {
        let may_read = matches!(reading, Ok(true)) && !*stop.borrow();
        let written = tokio::select! {
            biased;
            chunk = chunks.recv(), if may_read && in_flight.len() < at_once => {
                match chunk {
                    Some(Ok(chunk)) => {
                        reading = Ok(!chunk.last);
                        in_flight.push_back(writing.submit(Arc::new(chunk)));
                    }
                    Some(Err(ended)) => reading = Err(ended),
                    None => return Err(Error::Internal("the reading thread panicked".to_owned())),
                }
                continue;
            }
            Some(written) = in_flight.next(), if !in_flight.is_empty() => written,
            else => break,
        };
        // After a failure the chunk behind was turned away too; they are tried again in order.
        let mut failed = Vec::new();
        match written {
            (chunk, Err(error)) if is_passing(&error) => {
                note_trouble(writing.ctx, writing.job, writing.id, &error).await;
                failed.push(chunk);
                while let Some((chunk, _)) = in_flight.next().await {
                    failed.push(chunk);
                }
            }
            (chunk, result) => {
                let advance = fenced(writing.ctx, writing.job, result).await?;
                if writing.note(&chunk, advance) {
                    return Ok(Run::Ended);
                }
            }
        }
        for chunk in failed {
            let advance = writing.patiently(&chunk).await?;
            if writing.note(&chunk, advance) {
                return Ok(Run::Ended);
            }
        }
    }
    match reading {
        Err(Ended::Failed(text)) => Ok(Run::Failed(text)),
        Err(Ended::Broken(error)) => Err(Error::Unavailable(format!("read upload: {error}"))),
        Ok(_) => Ok(Run::Stopped),
    }
}

/// Whether trying again may help: the database is away or full for a moment.
fn is_passing(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_) | StoreError::DiskFull(_))
}

impl Writing<'_> {
    async fn submit(&self, chunk: Arc<Chunk>) -> (Arc<Chunk>, Result<Advance, StoreError>) {
        let at = self.ctx.now();
        let written = self.ctx.workspace.advance_import(self.job, self.id, &chunk, at).await;
        (chunk, written)
    }

    /// Tries a chunk again after a pause, a few times.
    async fn patiently(&self, chunk: &Arc<Chunk>) -> Result<Advance> {
        for pause in PAUSES_MS {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            match self.submit(chunk.clone()).await.1 {
                Err(error) if is_passing(&error) => {
                    note_trouble(self.ctx, self.job, self.id, &error).await;
                }
                other => return fenced(self.ctx, self.job, other).await,
            }
        }
        fenced(self.ctx, self.job, self.submit(chunk.clone()).await.1).await
    }

    /// Takes note of what became of a chunk; true where the import has ended with it.
    fn note(&self, chunk: &Chunk, advance: Advance) -> bool {
        let Advance::Written { took } = advance else { return true };
        let count = (chunk.sources.len() + chunk.refused.len()) as u64;
        if let Some(rows) = &self.rows {
            rows.store(
                fitting_rows(rows.load(Ordering::Relaxed), count as usize, took),
                Ordering::Relaxed,
            );
        }
        metrics::counter!("tidings_import_rows_total").increment(count);
        if chunk.last {
            self.ctx.wake();
        }
        chunk.last
    }
}

/// Shows what an import waits for. On a full disk even this may fail, and then it is in the log.
async fn note_trouble(ctx: &Ctx, job: &Job, id: ImportId, error: &StoreError) {
    tracing::warn!(%error, import = %id, "write chunk; trying again");
    let text = format!("{error}; the import goes on as soon as it can");
    if let Err(error) = ctx.workspace.note_import_trouble(job, id, text).await {
        tracing::warn!(%error, import = %id, "show what the import waits for");
    }
}

pub(super) async fn fenced<T>(ctx: &Ctx, job: &Job, result: Result<T, StoreError>) -> Result<T> {
    if is_fenced(&result) {
        note_fenced(ctx, job).await;
        return Err(lost_lease());
    }
    Ok(result?)
}

/// How many rows the next chunks should have, from how long a chunk took for its rows.
fn fitting_rows(now: usize, written: usize, took: Duration) -> usize {
    let fitting = written.max(1) as u128 * TURN.as_micros() / took.as_micros().max(1);
    let fitting = usize::try_from(fitting).unwrap_or(EMBEDDED_ROWS_MAX);
    // Changed in steps, because one chunk says little.
    fitting.clamp(now - now / 4, now + now / 4 + 1).clamp(EMBEDDED_ROWS_MIN, EMBEDDED_ROWS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_fit_the_turn() {
        for (now, written, took_ms, expected) in [
            (300, 300, 4, 300),
            (300, 300, 5, 240),
            (300, 300, 80, 225),
            (300, 300, 1, 376),
            (300, 20, 1, 225),
            (1_000, 1_000, 1, 1_000),
            (20, 20, 1_000, 20),
        ] {
            let took = Duration::from_millis(took_ms);
            assert_eq!(fitting_rows(now, written, took), expected, "{now} {written} {took_ms}");
        }
    }
}
