//! Has every segment evaluated anew, as after a bulk import.

use tidings_store::jobs::Next;

use crate::{Ctx, Result};

pub async fn run(ctx: &Ctx) -> Result<Next> {
    let segments = ctx.workspace.segments().await?;
    ctx.workspace.restart_segments(segments.iter().map(|segment| segment.number).collect()).await?;
    Ok(Next::Done)
}
