//! An import run by the process that sent it, as the command line does: the same job, taken here
//! and not left for a hub that may not be running.

use std::time::Duration;

use tidings_domain::ImportId;
use tidings_store::imports::{RUN_IMPORT, TRY_IMPORT};
use tidings_store::memberships::REFRESH_SEGMENTS;
use tidings_store::segments::EVALUATE_SEGMENT;
use tokio::sync::watch;

use super::trial::TrialState;
use super::{Import, get};
use crate::{Ctx, Result, jobs};

/// An import and what follows from it.
const KINDS: [&str; 3] = [RUN_IMPORT, REFRESH_SEGMENTS, EVALUATE_SEGMENT];
/// How often the import is looked at while another process has its job.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Runs a started import to its end, with the comparing of segments behind it. Where a running hub
/// was quicker to take the job, waits for it. Told to stop, it leaves the rest to whoever comes.
pub async fn run_here(ctx: &Ctx, id: ImportId, stop: &watch::Receiver<bool>) -> Result<Import> {
    loop {
        let ran = jobs::run_next_of(ctx, KINDS, stop).await?;
        let import = get(ctx, id).await?;
        if *stop.borrow() || (ran.is_none() && import.row.state.is_finished()) {
            return Ok(import);
        }
        if ran.is_none() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Runs a started trial to its end, in the same way.
pub async fn try_here(ctx: &Ctx, id: ImportId, stop: &watch::Receiver<bool>) -> Result<Import> {
    loop {
        let ran = jobs::run_next_of(ctx, [TRY_IMPORT; 3], stop).await?;
        let import = get(ctx, id).await?;
        let ended = import
            .trial
            .as_ref()
            .is_none_or(|trial| matches!(trial.state, TrialState::Done | TrialState::Failed));
        if *stop.borrow() || (ran.is_none() && ended) {
            return Ok(import);
        }
        if ran.is_none() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
