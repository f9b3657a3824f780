//! The figures of the first page.

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use tidings_store::overview::{Day, Figures};

use crate::{Ctx, Result};

/// Figures are kept at least so long …
const KEEP: Duration = Duration::from_secs(5);
/// … and so many times as long as they took, so that a page that is left open costs a big
/// workspace no more than 2 % of one core.
const KEEP_TIMES: u32 = 50;
const DAY_SECS: i64 = 24 * 3_600;

/// Figures and how long they are good for.
pub(crate) struct Kept {
    until: Instant,
    figures: Figures,
}

/// How many customers, reachable ones and events of the last day there are, and what was sent on
/// the last fourteen days; some seconds old.
pub async fn figures(ctx: &Ctx) -> Result<Figures> {
    let slot = {
        let mut overviews = ctx.hub.overviews.lock();
        Arc::clone(overviews.entry(ctx.workspace.row.id).or_default())
    };
    // Whoever comes while they are counted waits for that count instead of starting another.
    let mut kept = slot.lock().await;
    if let Some(kept) = kept.as_ref().filter(|kept| Instant::now() < kept.until) {
        return Ok(kept.figures.clone());
    }
    let began = Instant::now();
    let now = ctx.now();
    let (day, fortnight) = (now.plus_secs(-DAY_SECS), now.plus_secs(-14 * DAY_SECS));
    let figures = ctx.workspace.figures(day, fortnight).await?;
    let keep = KEEP.max(began.elapsed() * KEEP_TIMES);
    *kept = Some(Kept { until: Instant::now() + keep, figures: figures.clone() });
    Ok(figures)
}

/// Whether an operator, or a restore, holds all sending back.
pub async fn sending_is_paused(ctx: &Ctx) -> Result<bool> {
    crate::deliveries::sending_is_paused(ctx).await
}
