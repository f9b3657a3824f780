//! Makes the search know customers who are new or called otherwise, slice by slice.

use tidings_store::jobs::{Job, Next};
use tokio::sync::watch;

use crate::{Ctx, Result};

pub async fn run(ctx: &Ctx, job: &Job, stop: &watch::Receiver<bool>) -> Result<Next> {
    while !*stop.borrow() {
        if !ctx.workspace.index_search(job).await? {
            return Ok(Next::Done);
        }
    }
    Ok(Next::Again(ctx.now()))
}
