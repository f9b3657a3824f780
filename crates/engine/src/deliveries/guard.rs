//! Watches the share of mails that bounce, and pauses a campaign whose list is bad before it harms
//! the sender's good name; and the relay, of which operators are told when it stays away.

use tidings_store::alerts::{AlertKind, Raised};
use tidings_store::campaigns::PauseCause;
use tidings_store::deliveries::{Attempt, Finished};

use super::{Ending, Run};
use crate::alerts;

/// Counts what this run has seen end, so that the database is asked only now and then: when a
/// quarter more has ended than at the last time.
pub(super) struct Guard {
    ended: u64,
    bounced: u64,
    next_look: u64,
}

/// The first look of a run; a campaign may be sent by several.
const FIRST_LOOK: u64 = 20;

impl Guard {
    pub(super) fn new() -> Guard {
        Guard { ended: 0, bounced: 0, next_look: FIRST_LOOK }
    }

    /// Takes in what is about to be recorded.
    pub(super) fn count(&mut self, finished: &[Finished]) {
        for one in finished {
            let bounced = matches!(one.attempt, Attempt::Bounced { .. });
            self.ended += u64::from(!matches!(one.attempt, Attempt::Retry { .. }));
            self.bounced += u64::from(bounced);
        }
    }

    /// Looks at the whole campaign where that is due.
    pub(super) async fn watch(&mut self, run: &Run) {
        if self.bounced == 0 || self.ended < self.next_look {
            return;
        }
        self.next_look = self.ended + (self.ended / 4).max(FIRST_LOOK);
        if let Err(error) = look(run).await {
            tracing::warn!(%error, campaign = run.campaign.number, "look at bounces");
        }
    }
}

async fn look(run: &Run) -> tidings_store::Result<()> {
    let number = run.campaign.number;
    let (ended, bounced) = run.ctx.workspace.bounces(number).await?;
    if !run.bounces.is_passed(ended, bounced) {
        return Ok(());
    }
    let percent = bounced as f64 * 100.0 / ended as f64;
    let name = &run.campaign.name;
    let message = format!(
        "The campaign {name} has paused itself: {bounced} of {ended} mails bounced ({percent:.1} %). \
         Look at where its addresses come from; it can be resumed or cancelled."
    );
    let at = run.ctx.now();
    if run.ctx.workspace.pause_by_itself(number, PauseCause::Bounces, &message, at).await? {
        tracing::warn!(campaign = number, ended, bounced, "too many bounces: campaign paused");
        run.end(Ending::Halted);
    }
    Ok(())
}

/// How long a relay may be away before the operators are told.
const HELD_UP_ALERT_MS: i64 = 60_000;

/// Tells the operators of a relay that cannot be reached for a while, and of its return.
pub(super) async fn watch_relay(run: &Run, gone: Option<&str>) {
    let (ctx, number) = (&run.ctx, run.campaign.number);
    let key = (ctx.workspace.row.id, number);
    let Some(reason) = gone else {
        let was_held_up = ctx.hub.held_up.lock().remove(&key).is_some();
        if was_held_up {
            alerts::end(ctx, AlertKind::SendingHeldUp, &number.to_string()).await;
        }
        return;
    };
    let now = ctx.now();
    let since = *ctx.hub.held_up.lock().entry(key).or_insert(now);
    if now.ms_since(since) < HELD_UP_ALERT_MS {
        return;
    }
    let name = &run.campaign.name;
    let message = format!("The campaign {name} waits: its mail relay cannot be reached: {reason}");
    let raised = Raised {
        kind: AlertKind::SendingHeldUp,
        subject: number.to_string(),
        message,
        campaign: Some(run.campaign.id),
    };
    alerts::raise(ctx, raised).await;
}
