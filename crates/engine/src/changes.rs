//! The way in: callers' changes are gathered and applied together.
//!
//! Whoever waits gets an answer after the commit that holds the change. What waits while one batch
//! is written forms the next batch, so that many single calls cost one commit.

use std::sync::Arc;
use std::time::Duration;

use tidings_domain::Timestamp;
use tidings_domain::change::{Change, Outcome};
use tidings_store::audit::is_acting;
use tidings_store::idempotency::{is_kept, is_overtaken};
use tidings_store::{Error as StoreError, Workspace};
use tokio::sync::{mpsc, oneshot};

use crate::{Ctx, Error, Result};

/// How many changes one transaction carries at most; a caller with more is cut.
pub const BATCH: usize = 500;
/// How many batches are written at once where the engine has more than one writer.
const WRITERS: usize = 4;
/// An applier with nothing to do ends, so that its workspace may be closed.
const IDLE: Duration = Duration::from_secs(60);

struct Request {
    changes: Vec<Change>,
    at: Timestamp,
    caller: oneshot::Sender<std::result::Result<Vec<Outcome>, StoreError>>,
}

/// Gathers the changes of one workspace.
#[derive(Clone)]
pub(crate) struct Applier {
    queue: mpsc::Sender<Request>,
}

impl Applier {
    pub(crate) fn start(workspace: Arc<Workspace>) -> Applier {
        let (queue, requests) = mpsc::channel(1_024);
        tokio::spawn(gather(workspace, requests));
        Applier { queue }
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.queue.is_closed()
    }
}

async fn gather(workspace: Arc<Workspace>, mut requests: mpsc::Receiver<Request>) {
    let writers = if workspace.is_embedded() { 1 } else { WRITERS };
    let free = Arc::new(tokio::sync::Semaphore::new(writers));
    loop {
        let Ok(permit) = free.clone().acquire_owned().await else { return };
        let first = match tokio::time::timeout(IDLE, requests.recv()).await {
            Ok(Some(first)) => first,
            Ok(None) => return,
            Err(_) => {
                // Close first, so that a caller who still has this queue is told to take another.
                requests.close();
                match requests.recv().await {
                    Some(last) => last,
                    None => return,
                }
            }
        };
        let mut count = first.changes.len();
        let mut group = vec![first];
        while count < BATCH {
            let Ok(next) = requests.try_recv() else { break };
            count += next.changes.len();
            group.push(next);
        }
        let workspace = workspace.clone();
        tokio::spawn(async move {
            write(&workspace, group).await;
            drop(permit);
        });
    }
}

/// Writes a group in one transaction. Where the store refuses the whole of it, each caller's part
/// is tried alone, so that one bad request never fails another's.
async fn write(workspace: &Workspace, mut group: Vec<Request>) {
    let at = group.iter().map(|request| request.at).max().unwrap_or_default();
    let lengths: Vec<usize> = group.iter().map(|request| request.changes.len()).collect();
    if group.len() == 1
        && let Some(only) = group.pop()
    {
        let result = retried(workspace, only.changes, at).await;
        let _ = only.caller.send(result);
        return;
    }
    let all: Vec<Change> =
        group.iter().flat_map(|request| request.changes.iter().cloned()).collect();
    match retried(workspace, all, at).await {
        Ok(outcomes) => {
            let mut outcomes = outcomes.into_iter();
            for (request, length) in group.into_iter().zip(lengths) {
                let own: Vec<Outcome> = outcomes.by_ref().take(length).collect();
                let _ = request.caller.send(Ok(own));
            }
        }
        Err(_) => {
            for request in group {
                let result = retried(workspace, request.changes, at).await;
                let _ = request.caller.send(result);
            }
        }
    }
}

/// Tries again where another node stood in the way for a moment.
async fn retried(
    workspace: &Workspace,
    changes: Vec<Change>,
    at: Timestamp,
) -> std::result::Result<Vec<Outcome>, StoreError> {
    let mut pause_ms = 5;
    for _ in 0..3 {
        match workspace.apply(changes.clone(), at).await {
            Err(error) if is_overtaken() => return Err(error),
            Err(StoreError::Unavailable(_) | StoreError::Conflict(_)) => {
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                pause_ms *= 6;
            }
            other => return other,
        }
    }
    workspace.apply(changes, at).await
}

/// Applies changes in their order and answers after the commit, one outcome each. A long list is
/// cut into transactions of at most `BATCH`; each change stays atomic.
pub async fn apply(ctx: &Ctx, changes: Vec<Change>) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::with_capacity(changes.len());
    let mut rest = changes;
    while !rest.is_empty() {
        let later = rest.split_off(rest.len().min(BATCH));
        outcomes.append(&mut submit(ctx, rest).await?);
        rest = later;
    }
    if outcomes.iter().any(|o| matches!(o, Outcome::Created { .. } | Outcome::Updated { .. })) {
        ctx.wake();
    }
    Ok(outcomes)
}

/// Applies one change.
pub async fn apply_one(ctx: &Ctx, change: Change) -> Result<Outcome> {
    let mut outcomes = apply(ctx, vec![change]).await?;
    outcomes.pop().ok_or_else(|| Error::Internal("a change without an outcome".to_owned()))
}

async fn submit(ctx: &Ctx, changes: Vec<Change>) -> Result<Vec<Outcome>> {
    if is_kept() || is_acting() {
        // What is kept with a call's key, or written down, is committed with its own changes alone.
        return Ok(retried(&ctx.workspace, changes, ctx.now()).await?);
    }
    let (caller, answer) = oneshot::channel();
    let mut request = Request { changes, at: ctx.now(), caller };
    loop {
        let applier = ctx.hub.applier(&ctx.workspace);
        match applier.queue.send(request).await {
            Ok(()) => break,
            // The applier had just ended for want of work; the next one takes it.
            Err(mpsc::error::SendError(back)) => request = back,
        }
    }
    let gone = || Error::Unavailable("the change was not reached before the stop".to_owned());
    Ok(answer.await.map_err(|_| gone())??)
}
