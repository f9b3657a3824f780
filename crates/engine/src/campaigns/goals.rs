//! What a campaign's goal came to: conversions and revenue of each arm and variant.

use tidings_domain::value::Kind;
use tidings_store::campaigns::{Campaign, GoalFigures, GoalQuery, Minute};

use crate::{Ctx, Result};

/// A goal as it stands in the schema now.
struct Bound {
    query: GoalQuery,
    scale: u8,
    currency: Option<String>,
}

/// What the goal came to so far.
pub struct GoalSums {
    pub figures: Vec<GoalFigures>,
    /// Digits after the point of the amounts.
    pub scale: u8,
    pub currency: Option<String>,
}

/// The goal's table and columns; `None` where the schema has lost one of them.
async fn bound(ctx: &Ctx, campaign: &Campaign) -> Result<Option<Bound>> {
    let Some(goal) = &campaign.plan.goal else { return Ok(None) };
    let schema = ctx.workspace.schema().await?;
    let Some(table) = schema.table(&goal.table) else { return Ok(None) };
    let Some(time) = table.field(&goal.time_field) else { return Ok(None) };
    let amount = match &goal.amount_field {
        Some(name) => match table.field(name) {
            Some(field) => Some(field),
            None => return Ok(None),
        },
        None => None,
    };
    let kind = amount.map(|field| &field.kind);
    Ok(Some(Bound {
        scale: kind.and_then(Kind::scale).unwrap_or(0),
        currency: kind.and_then(Kind::currency).map(str::to_owned),
        query: GoalQuery {
            campaign: campaign.number,
            table: table.physical.clone(),
            time: time.column.clone(),
            amount: amount.map(|field| field.column.clone()),
            window_secs: i64::from(goal.window_hours) * 3_600,
            now: ctx.now(),
        },
    }))
}

/// What the goal came to so far; `None` without a goal, or where its table or a field is gone.
pub(crate) async fn sums(ctx: &Ctx, campaign: &Campaign) -> Result<Option<GoalSums>> {
    let Some(Bound { query, scale, currency }) = bound(ctx, campaign).await? else {
        return Ok(None);
    };
    let figures = ctx.workspace.goal_figures(query).await?;
    Ok(Some(GoalSums { figures, scale, currency }))
}

/// When customers of the test first reached the goal, in the order of time.
pub(crate) async fn reactions(ctx: &Ctx, campaign: &Campaign) -> Result<Vec<Minute>> {
    match bound(ctx, campaign).await? {
        Some(bound) => Ok(ctx.workspace.goal_reactions(bound.query).await?),
        None => Ok(Vec::new()),
    }
}
