//! Background work. Everything the hub does by itself is in the list of `run_job`, on one screen.

mod evaluate_segment;
mod freeze_segment;
mod index_search;
mod judge_customers;
mod refresh_segments;
mod turns;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_domain::{Timestamp, WorkspaceId};
use tidings_store::Error as StoreError;
use tidings_store::alerts::MAIL_ALERTS;
use tidings_store::campaigns::SEND_CAMPAIGN;
use tidings_store::forms::SEND_CONFIRMATION;
use tidings_store::imports::{RUN_IMPORT, TRY_IMPORT};
use tidings_store::jobs::{Job, Next};
use tidings_store::memberships::{ClockDue, FREEZE_SEGMENT, JUDGE_CUSTOMERS, REFRESH_SEGMENTS};
use tidings_store::retention::APPLY_RETENTION;
use tidings_store::search::INDEX_SEARCH;
use tidings_store::segments::EVALUATE_SEGMENT;
use tidings_store::undo::UNDO_IMPORT;
use tokio::sync::watch;
use tokio::task::JoinSet;

use turns::Places;

use crate::{Ctx, Error, Hub, Result};

/// How often a workspace is looked at although nobody rang, for work that other processes left.
const LOOK_EVERY_SECS: i64 = 2;

/// From one look to the next at least.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// How often what is kept for a time only is looked through.
const CLEAN_EVERY_SECS: i64 = 3_600;

/// How long after the start the storage is measured first, where today has no sample yet: not while
/// everything else begins.
const MEASURE_AFTER_SECS: i64 = 300;

/// Runs one job. Each arm is one kind of work.
async fn run_job(ctx: &Ctx, job: &Job, stop: &watch::Receiver<bool>) -> Result<Next> {
    match job.kind.as_str() {
        SEND_CAMPAIGN => crate::deliveries::run(ctx, job, stop).await,
        JUDGE_CUSTOMERS => judge_customers::run(ctx, job, stop).await,
        EVALUATE_SEGMENT => evaluate_segment::run(ctx, job, stop).await,
        REFRESH_SEGMENTS => refresh_segments::run(ctx).await,
        MAIL_ALERTS => crate::alerts::mail_out(ctx, job).await,
        SEND_CONFIRMATION => crate::forms::send_confirmation(ctx, job).await,
        FREEZE_SEGMENT => freeze_segment::run(ctx, job, stop).await,
        APPLY_RETENTION => crate::retention::run(ctx, job, stop).await,
        INDEX_SEARCH => index_search::run(ctx, job, stop).await,
        RUN_IMPORT => crate::imports::run(ctx, job, stop).await,
        TRY_IMPORT => crate::imports::trial::run(ctx, job, stop).await,
        UNDO_IMPORT => crate::imports::undo::run(ctx, job, stop).await,
        crate::idempotency::CLEAN_UP => {
            crate::idempotency::clean_up(ctx).await?;
            Ok(Next::Again(ctx.now().plus_secs(3_600)))
        }
        other => Ok(Next::Failed(format!("no such kind of job: {other}"))),
    }
}

/// Makes the jobs due that a crash of this program left running, instead of waiting for their
/// leases. Call it before [`run`], and only where no other process can be at work on the data.
pub async fn take_over(hub: &Arc<Hub>) -> Result<()> {
    for row in hub.store.system.workspaces().await? {
        hub.store.workspace(row.id).await?.release_all_jobs().await?;
    }
    Ok(())
}

/// Looks for due jobs and runs them until told to stop; then finishes what is in hand. Workspaces
/// take turns, so that one with much to do keeps no other waiting.
pub async fn run(hub: Arc<Hub>, mut stop: watch::Receiver<bool>) {
    let mut running: JoinSet<()> = JoinSet::new();
    let mut numbers: HashMap<tokio::task::Id, u64> = HashMap::new();
    let mut places = Places::default();
    let mut look_all_at = Timestamp(0);
    let mut clean_at = Timestamp(0);
    let mut measure_at = Timestamp::now().plus_secs(MEASURE_AFTER_SECS);
    while !*stop.borrow() {
        let looked = tokio::time::Instant::now();
        while let Some(ended) = running.try_join_next_with_id() {
            // One that panicked has ended too; its lease lapses, and then it is tried again.
            let task = ended.map_or_else(|error| error.id(), |(task, ())| task);
            if let Some(number) = numbers.remove(&task) {
                places.free(number);
            }
        }
        let now = Timestamp::now();
        if now >= look_all_at {
            look_all_at = now.plus_secs(LOOK_EVERY_SECS);
            look_everywhere(&hub, now).await;
        }
        if now >= clean_at {
            clean_at = now.plus_secs(CLEAN_EVERY_SECS);
            tokio::spawn(crate::imports::undo::forget_old(hub.clone()));
            tokio::spawn(crate::personal::again::keep_all(hub.clone()));
        }
        if now >= measure_at {
            measure_at = now.plus_secs(CLEAN_EVERY_SECS);
            tokio::spawn(crate::storage::sample_all(hub.clone()));
        }
        let mut waiting = due_workspaces(&hub, now);
        for id in &waiting {
            if let Err(error) = look_at(&hub, *id).await {
                tracing::warn!(%error, workspace = %id, "look for work");
            }
        }
        while let Some(id) = places.next(&mut waiting) {
            if !places.has_room(id) {
                places.make_room(id, Instant::now());
                hub.wake(id, Timestamp::now().plus_ms(50));
                continue;
            }
            match claim_one(&hub, id).await {
                Ok(Some((ctx, job))) => {
                    let (number, stop) = places.take(id, Instant::now());
                    let task = running.spawn(async move { run_claimed(&ctx, job, &stop).await });
                    numbers.insert(task.id(), number);
                    waiting.push_back(id);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, workspace = %id, "claim jobs");
                    hub.wake(id, Timestamp::now().plus_secs(1));
                }
            }
        }
        let pause = hub.awake.lock().values().min().map_or(1_000, |at| at.ms_since(now));
        let pause = Duration::from_millis(pause.clamp(5, 1_000) as u64);
        tokio::select! {
            () = hub.work.notified() => {}
            () = tokio::time::sleep(pause) => {}
            _ = stop.changed() => {}
        }
        // Thousands of changes a second each say that there is work; a look finds it for all of them.
        tokio::time::sleep_until(looked + LOOK_PAUSE).await;
    }
    places.stop_all();
    while running.join_next().await.is_some() {}
}

/// Adds the jobs that nobody asked for: judging customers who changed, and what the clock wants.
/// Gives the time at which the clock next wants something.
pub async fn plan(ctx: &Ctx) -> Result<Option<Timestamp>> {
    if ctx.workspace.customers_want_judging().await? {
        // Jobs are due by the real time, however far a test's clock has gone.
        ctx.workspace.add_job(JUDGE_CUSTOMERS, "all", ctx.now().min(Timestamp::now())).await?;
    }
    if ctx.workspace.search_wants_index().await? {
        ctx.workspace.add_job(INDEX_SEARCH, "all", ctx.now().min(Timestamp::now())).await?;
    }
    match ctx.workspace.heed_clock(ctx.now()).await? {
        ClockDue::Later(at) => Ok(at),
        ClockDue::Now => Ok(None),
    }
}

/// Every workspace is looked at now and then, for work that other processes left there.
async fn look_everywhere(hub: &Hub, now: Timestamp) {
    match hub.store.system.workspaces().await {
        Ok(rows) => {
            let mut awake = hub.awake.lock();
            for row in rows {
                // Also where the next work that is known of lies far ahead.
                let due = awake.entry(row.id).or_insert(now);
                *due = (*due).min(now);
            }
        }
        Err(error) => tracing::warn!(%error, "list workspaces"),
    }
}

/// The workspaces that said they have work by now, those that waited longest first.
fn due_workspaces(hub: &Hub, now: Timestamp) -> VecDeque<WorkspaceId> {
    let mut awake = hub.awake.lock();
    let mut due: Vec<(Timestamp, WorkspaceId)> =
        awake.iter().filter(|(_, at)| **at <= now).map(|(id, at)| (*at, *id)).collect();
    due.sort();
    due.into_iter()
        .map(|(_, id)| {
            awake.remove(&id);
            id
        })
        .collect()
}

/// Makes the jobs that a workspace wants by itself, and says when it next wants one.
async fn look_at(hub: &Arc<Hub>, id: WorkspaceId) -> Result<()> {
    let ctx = hub.ctx(id).await?;
    if let Some(at) = plan(&ctx).await? {
        // As long from now as by the hub's own clock.
        hub.wake(id, Timestamp::now().plus_ms(at.ms_since(ctx.now()) + 1));
    }
    Ok(())
}

/// Claims a job that is due in a workspace, if any; else says when to look again.
async fn claim_one(hub: &Arc<Hub>, id: WorkspaceId) -> Result<Option<(Ctx, Job)>> {
    let ctx = hub.ctx(id).await?;
    // Looked for before it is claimed, because a look costs the writer nothing.
    match ctx.workspace.next_due_job().await? {
        Some(at) if at <= Timestamp::now() => {}
        Some(at) => {
            hub.wake(id, at);
            return Ok(None);
        }
        None => return Ok(None),
    }
    match ctx.workspace.claim_job(hub.node).await? {
        Some(job) => Ok(Some((ctx, job))),
        None => {
            hub.wake(id, Timestamp::now().plus_ms(20));
            Ok(None)
        }
    }
}

/// Claims the job that has been due longest and runs it here; `None` where none is due. For tests,
/// and for commands that wait for their own work.
pub async fn run_next(ctx: &Ctx, stop: &watch::Receiver<bool>) -> Result<Option<Job>> {
    let Some(job) = ctx.workspace.claim_job(ctx.hub.node).await? else { return Ok(None) };
    run_claimed(ctx, job.clone(), stop).await;
    Ok(Some(job))
}

/// The same for a job of these kinds only.
pub async fn run_next_of(
    ctx: &Ctx,
    kinds: [&'static str; 3],
    stop: &watch::Receiver<bool>,
) -> Result<Option<Job>> {
    let claimed = ctx.workspace.claim_job_of(ctx.hub.node, kinds).await?;
    let Some(job) = claimed else { return Ok(None) };
    run_claimed(ctx, job.clone(), stop).await;
    Ok(Some(job))
}

/// Runs a claimed job and lets go of it.
async fn run_claimed(ctx: &Ctx, job: Job, stop: &watch::Receiver<bool>) {
    let (next, error) = match run_job(ctx, &job, stop).await {
        Ok(next) => (next, None),
        Err(error) => {
            tracing::warn!(%error, kind = job.kind, attempts = job.attempts, "run job");
            let wait = 2_i64.saturating_pow(job.attempts.clamp(0, 8) as u32);
            (Next::Again(ctx.now().plus_secs(wait)), Some(error.to_string()))
        }
    };
    if let Next::Failed(text) = &next {
        tracing::error!(kind = job.kind, error = text, "job given up");
    }
    let due = match &next {
        Next::Again(at) => *at,
        _ => ctx.now(),
    };
    crate::alerts::watch_job(ctx, &job, &next, error.as_deref()).await;
    let_go(ctx, &job, next, error).await;
    ctx.hub.wake(ctx.workspace.row.id, due);
}

/// Lets go of a job. A database that is away is waited for, because the job would else rest until
/// its lease lapses.
async fn let_go(ctx: &Ctx, job: &Job, next: Next, error: Option<String>) {
    let mut pause_ms = 50;
    loop {
        match ctx.workspace.let_go_of_job(job, next.clone(), error.clone()).await {
            Ok(()) => return,
            Err(StoreError::Unavailable(_)) if pause_ms < 10_000 => {
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                pause_ms = pause_ms * 3 / 2;
            }
            Err(error) => {
                tracing::warn!(%error, kind = job.kind, "let go of job");
                return;
            }
        }
    }
}

/// Counts a write that was turned away because the lease had gone, and says so.
pub(crate) async fn note_fenced(ctx: &Ctx, job: &Job) {
    tracing::warn!(kind = job.kind, subject = job.subject, "a late write was turned away");
    metrics::counter!("tidings_fenced_writes_total").increment(1);
    if let Err(error) = ctx.workspace.count_fenced(job.id).await {
        tracing::warn!(%error, "count a late write");
    }
}

/// Whether a result means that the lease went to another node.
pub(crate) fn is_fenced<T>(result: &std::result::Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Fenced))
}

/// The error of a job that lost its lease: there is nothing left for it to do.
pub(crate) fn lost_lease() -> Error {
    Error::Unavailable("the lease of this job went to another node".to_owned())
}
