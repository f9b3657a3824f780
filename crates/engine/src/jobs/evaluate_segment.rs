//! Evaluates one segment over the whole base, slice by slice.

use tidings_store::jobs::{Job, Next};
use tokio::sync::watch;

use crate::{Ctx, Result, segments};

pub async fn run(ctx: &Ctx, job: &Job, stop: &watch::Receiver<bool>) -> Result<Next> {
    let Ok(number) = job.subject.parse::<i32>() else {
        return Ok(Next::Failed(format!("no segment is named by {}", job.subject)));
    };
    let found = ctx.workspace.segments().await?.into_iter().find(|one| one.number == number);
    let Some(segment) = found else { return Ok(Next::Done) };
    while !*stop.borrow() {
        let now = ctx.now();
        let condition = segments::condition(ctx, &segment.rule, now).await?;
        let version = segment.version;
        if ctx.workspace.evaluate_segment(job, number, version, condition, now).await? {
            return Ok(Next::Done);
        }
    }
    Ok(Next::Again(ctx.now()))
}
