//! The ledger: workers' steps, committed in groups. One worker has at most one message in flight,
//! so no more messages can be uncertain after a crash than there are workers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tidings_domain::CustomerId;
use tidings_store::Error as StoreError;
use tidings_store::deliveries::{Finished, Starting};
use tokio::sync::{mpsc, oneshot};

use super::guard::Guard;
use super::{Ending, Run};

/// One step of a worker: the end of its last message, the start of its next, or both.
struct Step {
    finished: Option<Finished>,
    starting: Option<Starting>,
    answer: oneshot::Sender<bool>,
}

/// A worker's way to the ledger.
#[derive(Clone)]
pub(super) struct Ledger {
    steps: mpsc::Sender<Step>,
}

impl Ledger {
    /// Commits a step. True means that the message may go now; without `starting` the answer only
    /// says that the step is on disk.
    pub(super) async fn step(
        &self,
        finished: Option<Finished>,
        starting: Option<Starting>,
    ) -> bool {
        if finished.is_none() && starting.is_none() {
            return true;
        }
        let (answer, answered) = oneshot::channel();
        let step = Step { finished, starting, answer };
        if self.steps.send(step).await.is_err() {
            return false;
        }
        answered.await.unwrap_or(false)
    }
}

/// The ledger of a run, and the loop that writes it; the loop ends when every worker has.
pub(super) fn open(run: Arc<Run>) -> (Ledger, impl Future<Output = ()> + Send) {
    let (steps, queue) = mpsc::channel(1_024);
    (Ledger { steps }, write(run, queue))
}

async fn write(run: Arc<Run>, mut queue: mpsc::Receiver<Step>) {
    let mut group: Vec<Step> = Vec::new();
    let mut guard = Guard::new();
    while queue.recv_many(&mut group, 256).await > 0 {
        let finished: Vec<Finished> = group.iter().filter_map(|s| s.finished.clone()).collect();
        let starting: Vec<Starting> = group.iter().filter_map(|s| s.starting.clone()).collect();
        let wanted = starting.len();
        guard.count(&finished);
        let started = commit(&run, finished, starting).await;
        if started.is_some() {
            guard.watch(&run).await;
        }
        if started.as_ref().is_some_and(|started| started.len() < wanted) {
            check_campaign(&run).await;
        }
        for step in group.drain(..) {
            let may_go = match (&started, &step.starting) {
                (Some(started), Some(starting)) => started.contains(&starting.customer),
                (Some(_), None) => true,
                (None, _) => false,
            };
            let _ = step.answer.send(may_go);
        }
        run.ctx.wake();
    }
}

/// One commit. While the database is away it is tried again, because what the receivers have
/// answered is known only here; `None` means that nothing was kept.
async fn commit(
    run: &Run,
    finished: Vec<Finished>,
    starting: Vec<Starting>,
) -> Option<HashSet<CustomerId>> {
    let key = (run.campaign.number, run.campaign.id);
    let mut pause_ms = 50;
    // One time for all tries: by it the store knows a step that is on disk although nobody said so.
    let at = run.ctx.now();
    for _ in 0..40 {
        let step = run.ctx.workspace.step_deliveries(
            &run.job,
            key,
            finished.clone(),
            starting.clone(),
            at,
        );
        match step.await {
            Ok(started) => return Some(started),
            Err(StoreError::Fenced) => {
                run.end(Ending::Fenced);
                crate::jobs::note_fenced(&run.ctx, &run.job).await;
                return None;
            }
            Err(error @ (StoreError::Unavailable(_) | StoreError::DiskFull(_))) => {
                tracing::warn!(%error, campaign = run.campaign.number, "record deliveries");
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                pause_ms = (pause_ms * 2).min(2_000);
            }
            Err(error) => {
                tracing::error!(%error, campaign = run.campaign.number, "record deliveries");
                run.end(Ending::StoreGone(error.to_string()));
                return None;
            }
        }
    }
    run.end(Ending::StoreGone("the database stayed away".to_owned()));
    None
}

/// Some messages may not go: called off one by one, or the whole campaign was halted.
async fn check_campaign(run: &Run) {
    use tidings_domain::campaign::CampaignState;
    let campaign = run.ctx.workspace.campaign_by_number(run.campaign.number).await;
    let sending = matches!(
        &campaign,
        Ok(Some(campaign))
            if matches!(campaign.state, CampaignState::Preparing | CampaignState::Sending)
    );
    if !sending {
        run.end(Ending::Halted);
    }
}
