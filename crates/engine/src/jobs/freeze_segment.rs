//! Copies the members of a segment into a group that no rule changes.

use tidings_store::jobs::{Job, Next};
use tidings_store::memberships::Copied;
use tokio::sync::watch;

use crate::{Ctx, Result, segments};

pub async fn run(ctx: &Ctx, job: &Job, stop: &watch::Receiver<bool>) -> Result<Next> {
    let mut job = job.clone();
    while !*stop.borrow() {
        match ctx.workspace.copy_members(&job).await? {
            Copied::Some(further) => job = further,
            Copied::All { group } => {
                // A rule that names the group may have been saved while it was filled.
                let live = segments::live(ctx).await?;
                let readers =
                    live.segments.iter().filter(|s| s.rule.reads().groups.contains(&group));
                let numbers: Vec<i32> = readers.map(|segment| segment.number).collect();
                if !numbers.is_empty() {
                    ctx.workspace.restart_segments(numbers).await?;
                }
                return Ok(Next::Done);
            }
        }
    }
    Ok(Next::Again(ctx.now()))
}
