//! Evaluates one segment over the whole base, slice by slice.

use std::sync::Arc;

use tidings_store::jobs::{Job, Next};
use tidings_store::memberships::Evaluation;
use tokio::sync::watch;

use crate::{Ctx, Result, segments};

/// How long a segment rests whose rule does not fit the schema any more.
const UNBOUND_SECS: i64 = 300;

pub async fn run(ctx: &Ctx, job: &Job, stop: &watch::Receiver<bool>) -> Result<Next> {
    let Ok(number) = job.subject.parse::<i32>() else {
        return Ok(Next::Failed(format!("no segment is named by {}", job.subject)));
    };
    let mut live = Arc::new(segments::live(ctx).await?);
    while !*stop.borrow() {
        if !live.segments.iter().any(|segment| segment.number == number) {
            let all = ctx.workspace.segments().await?;
            return Ok(match all.iter().any(|segment| segment.number == number) {
                true => Next::Again(ctx.now().plus_secs(UNBOUND_SECS)),
                false => Next::Done,
            });
        }
        match ctx.workspace.evaluate_segment(job, number, live.clone(), ctx.now()).await? {
            Evaluation::Done => return Ok(Next::Done),
            Evaluation::More => {}
            Evaluation::Stale => live = Arc::new(segments::live(ctx).await?),
        }
    }
    Ok(Next::Again(ctx.now()))
}
