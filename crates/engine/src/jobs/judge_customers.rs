//! Judges customers who have changed, until nobody waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_store::jobs::{Job, Next};
use tokio::sync::watch;

use crate::{Ctx, Result, segments};

/// Rules are bound anew so often while one run goes on, because names they mention may appear.
const REBIND: Duration = Duration::from_millis(500);

pub async fn run(ctx: &Ctx, job: &Job, stop: &watch::Receiver<bool>) -> Result<Next> {
    let mut live = Arc::new(segments::live(ctx).await?);
    let mut bound_at = Instant::now();
    while !*stop.borrow() {
        if bound_at.elapsed() > REBIND {
            live = Arc::new(segments::live(ctx).await?);
            bound_at = Instant::now();
        }
        if ctx.workspace.judge_customers(job, live.clone(), ctx.now()).await? == 0 {
            return Ok(Next::Done);
        }
    }
    Ok(Next::Again(ctx.now()))
}
