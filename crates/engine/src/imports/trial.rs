//! A trial: every row of a draft goes the way it would go, and nothing of it stays. What would become
//! of each row is written to a file beside the upload, a line a row, so that any number of rows can
//! be looked at page by page.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidings_domain::change::{Change, CustomerRef, Outcome};
use tidings_domain::{ImportId, Timestamp};
use tidings_store::changes::Ready;
use tidings_store::imports::{Chunk, ImportState};
use tidings_store::jobs::{Job, Next};
use tokio::sync::watch;

use super::run::{Chunks, Ended, read_chunks};
use super::{Import, ImportMode, Plan, get, json, upload};
use crate::{Ctx, Error, Hub, Result};

/// Customers that earlier rows would make, which are remembered so that later rows update them.
/// Beyond that number a repeated one counts as made twice.
const MADE_MAX: usize = 4_000_000;
/// Bytes of the verdicts' file that one page looks at.
const PAGE_BYTES: u64 = 4 * 1024 * 1024;

/// How a trial stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    pub state: TrialState,
    pub rows: Rows,
    pub bytes_done: u64,
    pub error: Option<String>,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialState {
    Queued,
    Running,
    Done,
    Failed,
}

/// Rows by what would become of them; `read` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    pub read: u64,
    pub create: u64,
    pub update: u64,
    pub unchanged: u64,
    pub refuse: u64,
}

/// What would become of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Create,
    Update,
    Unchanged,
    Refuse,
}

/// A row and what would become of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowVerdict {
    /// From 1; the header is not counted.
    pub row: u64,
    pub line: u64,
    pub verdict: Verdict,
    /// Of a refused row: the column that is to blame, a code and a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub column: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Tries a draft as its mapping stands; an earlier trial is forgotten.
pub async fn start(ctx: &Ctx, id: ImportId) -> Result<Import> {
    let import = get(ctx, id).await?;
    if import.row.state != ImportState::Draft {
        let state = import.row.state.name();
        return Err(Error::Conflict(format!("the import is {state}: only a draft can be tried")));
    }
    let schema = ctx.workspace.fresh_schema().await?;
    Plan::new(&import.mapping, &import.headers(), &schema, import.row.table.as_deref())?;
    let trial = Trial {
        state: TrialState::Queued,
        rows: Rows::default(),
        bytes_done: 0,
        error: None,
        started_at: ctx.now(),
        finished_at: None,
    };
    let run = uuid::Uuid::now_v7().to_string();
    let started = ctx.workspace.start_trial(id, run, json(&trial)?, ctx.now()).await?;
    ctx.wake();
    Import::new(started)
}

/// A page of verdicts in the order of the file, all or those of one kind, and the place that the next
/// page begins at. A page that looks for few among many may be short although there is more.
pub async fn verdicts(
    ctx: &Ctx,
    id: ImportId,
    after: Option<u64>,
    limit: usize,
    only: Option<Verdict>,
) -> Result<(Vec<RowVerdict>, Option<u64>)> {
    let import = get(ctx, id).await?;
    if import.trial.is_none() {
        return Err(Error::NotFound(format!("a trial of import {id}")));
    }
    let path = verdicts_path(&ctx.hub, id);
    let page = tokio::task::spawn_blocking(move || page(path, after.unwrap_or(0), limit, only));
    let page = page.await.map_err(|_| Error::Internal("reading verdicts panicked".to_owned()))?;
    page.map_err(|error| Error::Internal(format!("read verdicts: {error}")))
}

fn page(
    path: PathBuf,
    from: u64,
    limit: usize,
    only: Option<Verdict>,
) -> io::Result<(Vec<RowVerdict>, Option<u64>)> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), None)),
        other => other?,
    };
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::new(file);
    let (mut items, mut at, mut line) = (Vec::new(), from, String::new());
    loop {
        line.clear();
        let read = reader.read_line(&mut line)?;
        // The last line may still be on its way.
        if read == 0 || !line.ends_with('\n') {
            return Ok((items, None));
        }
        if items.len() == limit || at - from > PAGE_BYTES {
            return Ok((items, Some(at)));
        }
        at += read as u64;
        let one: RowVerdict = serde_json::from_str(&line).map_err(io::Error::other)?;
        if only.is_none_or(|only| only == one.verdict) {
            items.push(one);
        }
    }
}

pub fn verdicts_path(hub: &Hub, id: ImportId) -> PathBuf {
    super::folder(hub).join(format!("{id}.verdicts"))
}

/// The work of the job. A trial that was interrupted begins anew, as it has left nothing behind.
pub async fn run(ctx: &Ctx, job: &Job, stop: &watch::Receiver<bool>) -> Result<Next> {
    let Ok(id) = job.subject.parse::<ImportId>() else {
        return Ok(Next::Failed("the subject is no import".to_owned()));
    };
    let Some(row) = ctx.workspace.import(id).await? else { return Ok(Next::Done) };
    let Some(run) = row.trial_run.clone() else { return Ok(Next::Done) };
    let import = Import::new(row)?;
    let Some(trial) = import.trial.clone() else { return Ok(Next::Done) };
    if import.row.state != ImportState::Draft
        || !matches!(trial.state, TrialState::Queued | TrialState::Running)
    {
        return Ok(Next::Done);
    }
    let trial = Trial { state: TrialState::Running, rows: Rows::default(), bytes_done: 0, ..trial };
    let mut trying = Trying { ctx, job, id, run, trial, made: HashSet::default() };
    match trying.until_the_end(import, stop).await {
        Ok(true) => Ok(Next::Done),
        Ok(false) => Ok(Next::Again(ctx.now())),
        // A database that is away for a moment is waited for by the job itself.
        Err(error @ Error::Unavailable(_)) => Err(error),
        Err(error) => {
            trying.end(TrialState::Failed, Some(error.to_string())).await?;
            Ok(Next::Done)
        }
    }
}

struct Trying<'a> {
    ctx: &'a Ctx,
    job: &'a Job,
    id: ImportId,
    run: String,
    trial: Trial,
    /// Hashes of what names the customers and records that earlier rows would make.
    made: HashSet<u64, RandomState>,
}

impl Trying<'_> {
    /// True at the end, also where the trial is no longer wanted; false where it was told to stop.
    async fn until_the_end(
        &mut self,
        import: Import,
        stop: &watch::Receiver<bool>,
    ) -> Result<bool> {
        let ctx = self.ctx;
        let schema = ctx.workspace.fresh_schema().await?;
        let table = import.row.table.as_deref();
        let plan = Plan::new(&import.mapping, &import.headers(), &schema, table)?.without_new();
        let adds = import.mapping.mode == ImportMode::Add;
        let path = verdicts_path(&ctx.hub, self.id);
        let file = File::create(path).map_err(|error| upload::storage_fault(&error))?;
        let mut file = BufWriter::new(file);
        let mut chunks: Chunks = read_chunks(ctx, &import, plan, schema, String::new()).1;
        while !*stop.borrow() {
            let chunk = match chunks.recv().await {
                Some(Ok(chunk)) => chunk,
                Some(Err(Ended::Failed(text))) => {
                    self.end(TrialState::Failed, Some(text)).await?;
                    return Ok(true);
                }
                Some(Err(Ended::Broken(error))) => {
                    return Err(Error::Unavailable(format!("read upload: {error}")));
                }
                None => return Err(Error::Internal("the reading thread panicked".to_owned())),
            };
            let chunk = std::sync::Arc::new(chunk);
            let tried = ctx.workspace.try_chunk(self.job, &chunk, ctx.now()).await;
            let outcomes = super::run::fenced(ctx, self.job, tried).await?;
            let verdicts = self.verdicts(&chunk, outcomes, adds);
            let written = verdicts.iter().try_for_each(|one| self.write(&mut file, one));
            written.and_then(|()| file.flush()).map_err(|error| upload::storage_fault(&error))?;
            self.trial.bytes_done = chunk.bytes_done;
            let wanted = match chunk.last {
                true => self.end(TrialState::Done, None).await?,
                false => self.keep().await?,
            };
            if chunk.last || !wanted {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn write(&self, file: &mut impl Write, one: &RowVerdict) -> io::Result<()> {
        serde_json::to_writer(&mut *file, one).map_err(io::Error::other)?;
        file.write_all(b"\n")
    }

    /// What would become of each row, in the order of the file, and counts them.
    fn verdicts(&mut self, chunk: &Chunk, outcomes: Vec<Outcome>, adds: bool) -> Vec<RowVerdict> {
        let mut verdicts = Vec::with_capacity(outcomes.len() + chunk.refused.len());
        for refused in &chunk.refused {
            verdicts.push(RowVerdict {
                row: refused.row,
                line: refused.line,
                verdict: Verdict::Refuse,
                column: refused.column.clone(),
                code: refused.code.clone(),
                message: refused.message.clone(),
            });
        }
        for (at, (outcome, source)) in outcomes.into_iter().zip(&chunk.sources).enumerate() {
            let sets_new = chunk.sets_new.get(at).copied().unwrap_or_default();
            let mut one = RowVerdict {
                row: source.row,
                line: source.line,
                verdict: Verdict::Unchanged,
                column: String::new(),
                code: String::new(),
                message: String::new(),
            };
            match outcome {
                Outcome::Created { .. } if !self.is_first(chunk, at) && adds => {
                    one.verdict = Verdict::Refuse;
                    one.code = "exists".to_owned();
                    one.message = "an earlier row of the file has this identity".to_owned();
                }
                Outcome::Created { .. } => {
                    one.verdict = match self.note_made(chunk, at) {
                        true => Verdict::Create,
                        false => Verdict::Update,
                    };
                }
                Outcome::Updated { .. } => one.verdict = Verdict::Update,
                Outcome::Unchanged { .. } if sets_new => one.verdict = Verdict::Update,
                Outcome::Unchanged { .. } => {}
                Outcome::Refused(refusal) => {
                    let column = chunk.columns.iter().find(|(path, _)| *path == refusal.path);
                    one.verdict = Verdict::Refuse;
                    one.column = column.map(|(_, name)| name.clone()).unwrap_or_default();
                    one.code = refusal.code.into_owned();
                    one.message = refusal.message;
                }
            }
            verdicts.push(one);
        }
        verdicts.sort_by_key(|one| one.row);
        for one in &verdicts {
            let rows = &mut self.trial.rows;
            rows.read += 1;
            match one.verdict {
                Verdict::Create => rows.create += 1,
                Verdict::Update => rows.update += 1,
                Verdict::Unchanged => rows.unchanged += 1,
                Verdict::Refuse => rows.refuse += 1,
            }
        }
        verdicts
    }

    /// Whether no earlier chunk would make the same one.
    fn is_first(&self, chunk: &Chunk, at: usize) -> bool {
        names(self.made.hasher(), chunk, at).iter().all(|name| !self.made.contains(name))
    }

    /// Remembers one that would be made; false where an earlier chunk would make it.
    fn note_made(&mut self, chunk: &Chunk, at: usize) -> bool {
        let first = self.is_first(chunk, at);
        if self.made.len() < MADE_MAX {
            let names = names(self.made.hasher(), chunk, at);
            self.made.extend(names);
        }
        first
    }

    /// Shows how far it is; false where nobody wants it any more.
    async fn keep(&self) -> Result<bool> {
        let (id, run, text) = (self.id, self.run.clone(), json(&self.trial)?);
        let kept = self.ctx.workspace.keep_trial(self.job, id, run, text).await;
        super::run::fenced(self.ctx, self.job, kept).await
    }

    async fn end(&mut self, state: TrialState, error: Option<String>) -> Result<bool> {
        self.trial.state = state;
        self.trial.error = error;
        self.trial.finished_at = Some(self.ctx.now());
        self.keep().await
    }
}

/// Hashes of what names the customer or record of a change. Their key is made anew each time, so that
/// nobody can choose names that fall together.
fn names(hasher: &RandomState, chunk: &Chunk, at: usize) -> Vec<u64> {
    match &chunk.changes {
        Ready::Customers { upserts, .. } => match upserts.get(at) {
            Some(Ok(one)) => {
                one.identities.iter().map(|identity| hasher.hash_one(identity)).collect()
            }
            _ => Vec::new(),
        },
        Ready::Others { changes, .. } => match changes.get(at) {
            Some(Change::UpsertRecord(record)) => {
                let owner: &Option<CustomerRef> = &record.customer;
                vec![hasher.hash_one((owner, &record.key))]
            }
            _ => Vec::new(),
        },
    }
}
