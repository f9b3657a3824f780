//! Undoing an import, for 30 days: a field goes back only where it still holds what the import wrote,
//! a customer that it made goes only where nothing else has touched it, and what stays is listed. What
//! was sent meanwhile stays sent.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_domain::{ImportId, Timestamp};
use tidings_store::Error as StoreError;
use tidings_store::jobs::{Job, Next};
use tidings_store::undo::{Kept, Undone};
use tokio::sync::watch;

use super::{Import, get, json};
use crate::{Ctx, Error, Hub, Result};

/// How long an import can be undone after its end.
pub const KEPT_DAYS: i64 = 30;

/// How an undo stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    pub state: UndoState,
    /// What the journal held at the start and what of it is done with, for showing progress.
    pub total: u64,
    pub done: u64,
    /// Customers or records that got fields back, that are gone again, and what stays as it is.
    pub restored: u64,
    pub deleted: u64,
    pub kept: u64,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoState {
    Running,
    Done,
}

impl Import {
    /// Until when the import can be undone; `None` where it cannot, or was.
    pub fn undoable_until(&self, now: Timestamp) -> Option<Timestamp> {
        let finished = self.row.finished_at.filter(|_| self.row.started_at.is_some())?;
        let until = finished.plus_secs(KEPT_DAYS * 24 * 3_600);
        let counts = self.row.counts;
        let changed = counts.created + counts.updated > 0;
        (changed && self.undo.is_none() && self.row.state.is_finished() && now < until)
            .then_some(until)
    }
}

/// Starts to undo an import.
pub async fn start(ctx: &Ctx, id: ImportId) -> Result<Import> {
    let import = get(ctx, id).await?;
    if ctx.workspace.is_done_already().await? {
        return Ok(import);
    }
    if import.undo.is_some() {
        return Err(Error::Conflict("the import is undone already, or just now".to_owned()));
    }
    if !import.row.state.is_finished() {
        let state = import.row.state.name();
        let text = format!("the import is {state}: cancel it first, then undo it");
        return Err(Error::Conflict(text));
    }
    if import.undoable_until(ctx.now()).is_none() {
        let text = format!(
            "there is nothing to undo: an import is kept for {KEPT_DAYS} days, and \
                            only what it changed"
        );
        return Err(Error::Conflict(text));
    }
    let undo = Undo {
        state: UndoState::Running,
        total: ctx.workspace.journal_rows(id).await?,
        done: 0,
        restored: 0,
        deleted: 0,
        kept: 0,
        started_at: ctx.now(),
        finished_at: None,
    };
    if !ctx.workspace.start_undo(id, json(&undo)?, ctx.now()).await? {
        return Err(Error::Conflict("the import is undone already, or just now".to_owned()));
    }
    ctx.wake();
    get(ctx, id).await
}

/// A page of what an undo left as it is, and the place that the next page begins after.
pub async fn kept(
    ctx: &Ctx,
    id: ImportId,
    after: Option<i64>,
    limit: usize,
) -> Result<(Vec<Kept>, Option<i64>)> {
    get(ctx, id).await?;
    let page = ctx.workspace.import_kept(id, after, limit).await?;
    Ok((page.items, page.next))
}

/// The work of the job: slice by slice, until the journal is empty or it is told to stop.
pub async fn run(ctx: &Ctx, job: &Job, stop: &watch::Receiver<bool>) -> Result<Next> {
    let Ok(id) = job.subject.parse::<ImportId>() else {
        return Ok(Next::Failed("the subject is no import".to_owned()));
    };
    while !*stop.borrow() {
        let import = match get(ctx, id).await {
            Err(Error::NotFound(_)) => return Ok(Next::Done),
            other => other?,
        };
        let Some(undo) = import.undo.filter(|undo| undo.state == UndoState::Running) else {
            return Ok(Next::Done);
        };
        let now = ctx.now();
        let report = move |undone: &Undone| {
            let next = Undo {
                state: if undone.ended { UndoState::Done } else { UndoState::Running },
                done: undo.done + undone.rows,
                restored: undo.restored + undone.restored,
                deleted: undo.deleted + undone.deleted,
                kept: undo.kept + undone.kept,
                finished_at: undone.ended.then_some(now),
                ..undo
            };
            serde_json::to_string(&next).map_err(|error| StoreError::Corrupt(error.to_string()))
        };
        let number = import.row.number;
        let slice = ctx.workspace.undo_slice(job, id, number, now, report).await;
        let undone = super::run::fenced(ctx, job, slice).await?;
        if undone.ended {
            ctx.wake();
            return Ok(Next::Done);
        }
    }
    Ok(Next::Again(ctx.now()))
}

/// Forgets the journals that are older than their time, in every workspace.
pub(crate) async fn forget_old(hub: Arc<Hub>) {
    let rows = match hub.store.system.workspaces().await {
        Ok(rows) => rows,
        Err(error) => return tracing::warn!(%error, "list workspaces"),
    };
    for row in rows {
        let forgotten = async {
            let ctx = hub.ctx(row.id).await?;
            let before = ctx.now().plus_secs(-KEPT_DAYS * 24 * 3_600);
            ctx.workspace.forget_journals(before).await?;
            Ok::<_, Error>(())
        };
        if let Err(error) = forgotten.await {
            tracing::warn!(%error, workspace = %row.id, "forget old journals of imports");
        }
    }
}
