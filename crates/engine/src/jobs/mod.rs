//! Background work. Everything the hub does by itself is in the list of `run_job`, on one screen.

mod evaluate_segment;
mod judge_customers;
mod refresh_segments;

use std::sync::Arc;
use std::time::Duration;

use tidings_domain::{Timestamp, WorkspaceId};
use tidings_store::Error as StoreError;
use tidings_store::campaigns::SEND_CAMPAIGN;
use tidings_store::imports::{RUN_IMPORT, TRY_IMPORT};
use tidings_store::jobs::{Job, Next};
use tidings_store::memberships::{JUDGE_CUSTOMERS, REFRESH_SEGMENTS};
use tidings_store::segments::EVALUATE_SEGMENT;
use tidings_store::undo::UNDO_IMPORT;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::{Ctx, Error, Hub, Result};

/// How many jobs a node runs at once.
const AT_ONCE: usize = 8;
/// How often a workspace is looked at although nobody rang, for work that other processes left.
const LOOK_EVERY_SECS: i64 = 2;

/// How often what is kept for a time only is looked through.
const CLEAN_EVERY_SECS: i64 = 3_600;

/// Runs one job. Each arm is one kind of work.
async fn run_job(ctx: &Ctx, job: &Job, stop: &watch::Receiver<bool>) -> Result<Next> {
    match job.kind.as_str() {
        SEND_CAMPAIGN => crate::deliveries::run(ctx, job, stop).await,
        JUDGE_CUSTOMERS => judge_customers::run(ctx, job, stop).await,
        EVALUATE_SEGMENT => evaluate_segment::run(ctx, job, stop).await,
        REFRESH_SEGMENTS => refresh_segments::run(ctx).await,
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

/// Looks for due jobs and runs them until told to stop; then finishes what is in hand.
pub async fn run(hub: Arc<Hub>, mut stop: watch::Receiver<bool>) {
    let mut running: JoinSet<()> = JoinSet::new();
    let mut look_all_at = Timestamp(0);
    let mut clean_at = Timestamp(0);
    while !*stop.borrow() {
        while running.try_join_next().is_some() {}
        let now = Timestamp::now();
        if now >= look_all_at {
            look_all_at = now.plus_secs(LOOK_EVERY_SECS);
            match hub.store.system.workspaces().await {
                Ok(rows) => {
                    if now >= clean_at {
                        clean_at = now.plus_secs(CLEAN_EVERY_SECS);
                        let ids = rows.iter().map(|row| row.id).collect();
                        tokio::spawn(crate::imports::undo::forget_old(hub.clone(), ids));
                    }
                    let mut awake = hub.awake.lock();
                    for row in rows {
                        awake.entry(row.id).or_insert(now);
                    }
                }
                Err(error) => tracing::warn!(%error, "list workspaces"),
            }
        }
        let due: Vec<WorkspaceId> = {
            let mut awake = hub.awake.lock();
            let due: Vec<WorkspaceId> =
                awake.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
            for id in &due {
                awake.remove(id);
            }
            due
        };
        for id in due {
            if let Err(error) = claim_all(&hub, id, &mut running, &stop).await {
                tracing::warn!(%error, workspace = %id, "claim jobs");
                hub.wake(id, Timestamp::now().plus_secs(1));
            }
        }
        let pause = hub.awake.lock().values().min().map_or(1_000, |at| at.ms_since(now));
        let pause = Duration::from_millis(pause.clamp(5, 1_000) as u64);
        tokio::select! {
            () = hub.work.notified() => {}
            () = tokio::time::sleep(pause) => {}
            _ = stop.changed() => {}
        }
    }
    while running.join_next().await.is_some() {}
}

/// Starts every job that is due in a workspace, as far as there is room.
async fn claim_all(
    hub: &Arc<Hub>,
    id: WorkspaceId,
    running: &mut JoinSet<()>,
    stop: &watch::Receiver<bool>,
) -> Result<()> {
    let ctx = hub.ctx(id).await?;
    if ctx.workspace.customers_want_judging().await? {
        ctx.workspace.add_job(JUDGE_CUSTOMERS, "all", ctx.now()).await?;
    }
    loop {
        if running.len() >= AT_ONCE {
            hub.wake(id, Timestamp::now().plus_ms(50));
            return Ok(());
        }
        // Looked for before it is claimed, because a look costs the writer nothing.
        match ctx.workspace.next_due_job().await? {
            Some(at) if at <= Timestamp::now() => {}
            Some(at) => {
                hub.wake(id, at);
                return Ok(());
            }
            None => return Ok(()),
        }
        let Some(job) = ctx.workspace.claim_job(hub.node).await? else {
            hub.wake(id, Timestamp::now().plus_ms(20));
            return Ok(());
        };
        let (ctx, stop) = (ctx.clone(), stop.clone());
        running.spawn(async move { run_claimed(&ctx, job, &stop).await });
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
