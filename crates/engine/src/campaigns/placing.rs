//! Whom a campaign goes to, where each of them stands in it, and what a user should know of that
//! before a launch.

use std::sync::Arc;

use tidings_domain::Timestamp;
use tidings_domain::campaign::{Placing, begins_at};
use tidings_store::campaigns::Campaign;
use tidings_store::deliveries::{Audience, Review};

use super::{Level, Problem};
use crate::{Ctx, Result, segments, sending_rules};

/// What places the customers of a campaign that began, or would begin, at a time.
pub(crate) async fn placing(
    ctx: &Ctx,
    campaign: &Campaign,
    begun: Timestamp,
) -> Result<Arc<Placing>> {
    let rules = sending_rules::get(ctx).await?;
    let row = &ctx.workspace.row;
    Ok(Arc::new(Placing::new(
        campaign.plan.clone(),
        (campaign.id, campaign.class),
        (row.id, &row.time_zone),
        rules.global_holdout,
        begun,
    )))
}

/// The audience of a campaign as the segment and the schema stand now.
pub(crate) async fn audience(
    ctx: &Ctx,
    campaign: &Campaign,
    placing: Arc<Placing>,
) -> Result<Audience> {
    let condition = segments::audience(ctx, campaign).await?;
    let schema = ctx.workspace.schema().await?;
    let zone = placing.zone_attribute().and_then(|name| schema.attribute(name));
    Ok(Audience {
        class: campaign.class,
        topic: campaign.topic.clone(),
        condition,
        zone_column: zone.map(|attribute| attribute.column.clone()),
        placing,
    })
}

/// What a plan means for its audience that a user may not expect.
pub(super) fn problems(campaign: &Campaign, found: &Review, begun: Timestamp) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut warn = |message: String, fix: &str| {
        problems.push(Problem::new(Level::Warning, message, fix));
    };
    if let Some(local) = &campaign.plan.local {
        if begun > begins_at(local.at) {
            warn(
                "in some time zones the local time has passed already".to_owned(),
                "choose a later time, or look at how many get it at once or not at all",
            );
        }
        if found.unknown_zone > 0 {
            let (count, name) = (found.unknown_zone, &local.zone_attribute);
            warn(
                format!("{count} customers have no known time zone in {name}"),
                "they get it by the clock of the workspace",
            );
        }
    }
    if let Some(test) = &campaign.plan.test {
        for (at, variant) in test.variants.iter().enumerate() {
            let count = i16::try_from(at).ok().and_then(|at| found.variants.get(&at));
            if count.is_none_or(|count| *count == 0) {
                warn(
                    format!("nobody would get variant {}", variant.name),
                    "test a larger share of the audience",
                );
            }
        }
    }
    problems
}
