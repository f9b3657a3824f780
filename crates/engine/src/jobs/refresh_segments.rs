//! Has every segment evaluated anew, as after a bulk import.

use tidings_store::jobs::Next;
use tidings_store::segments::EVALUATE_SEGMENT;

use crate::{Ctx, Result};

pub async fn run(ctx: &Ctx) -> Result<Next> {
    for segment in ctx.workspace.segments().await? {
        ctx.workspace.add_job(EVALUATE_SEGMENT, &segment.number.to_string(), ctx.now()).await?;
    }
    Ok(Next::Done)
}
