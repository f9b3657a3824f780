//! Judges customers who have changed or whom the clock may have moved, until nobody waits.

use std::sync::Arc;
use std::time::Duration;

use tidings_store::jobs::{Job, Next};
use tidings_store::memberships::{JUDGED_AT_ONCE, Judged};
use tokio::sync::watch;

use crate::{Ctx, Result, segments};

/// Who changes within this time is judged together, so that a steady load of single calls does not
/// have each of them judged in a commit of its own.
const GATHER: Duration = Duration::from_millis(20);
/// How often nobody may be found waiting before the run ends; to begin another costs more.
const QUIET_LOOKS: u32 = 5;

pub async fn run(ctx: &Ctx, job: &Job, stop: &watch::Receiver<bool>) -> Result<Next> {
    let mut live = Arc::new(segments::live(ctx).await?);
    let mut quiet = 0;
    while !*stop.borrow() {
        let waiting = quiet == 0 || ctx.workspace.customers_wait(ctx.now()).await?;
        let judged = match waiting {
            true => ctx.workspace.judge_customers(job, live.clone(), ctx.now()).await?,
            false => Judged::Customers(0),
        };
        let judged = match judged {
            Judged::Customers(count) => count,
            Judged::Stale => {
                live = Arc::new(segments::live(ctx).await?);
                continue;
            }
        };
        match judged {
            0 if quiet >= QUIET_LOOKS => return Ok(Next::Done),
            0 => quiet += 1,
            _ => quiet = 1,
        }
        if judged < JUDGED_AT_ONCE {
            tokio::time::sleep(GATHER).await;
        }
    }
    Ok(Next::Again(ctx.now()))
}
