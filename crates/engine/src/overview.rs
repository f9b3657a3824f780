//! The figures of the first page.

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use tidings_store::search::Counts;

use crate::{Ctx, Result};

/// Counts are kept at least so long …
const KEEP: Duration = Duration::from_secs(5);
/// … and so many times as long as they took, so that a page that is left open costs a big
/// workspace no more than 2 % of one core.
const KEEP_TIMES: u32 = 50;

/// Counts and how long they are good for.
pub(crate) struct Kept {
    until: Instant,
    counts: Counts,
}

/// How many customers, reachable ones and events of the last day there are; some seconds old.
pub async fn counts(ctx: &Ctx) -> Result<Counts> {
    let slot = {
        let mut overviews = ctx.hub.overviews.lock();
        Arc::clone(overviews.entry(ctx.workspace.row.id).or_default())
    };
    // Whoever comes while they are counted waits for that count instead of starting another.
    let mut kept = slot.lock().await;
    if let Some(kept) = kept.as_ref().filter(|kept| Instant::now() < kept.until) {
        return Ok(kept.counts);
    }
    let began = Instant::now();
    let counts = ctx.workspace.counts(ctx.now().plus_secs(-24 * 3_600)).await?;
    let keep = KEEP.max(began.elapsed() * KEEP_TIMES);
    *kept = Some(Kept { until: Instant::now() + keep, counts });
    Ok(counts)
}
