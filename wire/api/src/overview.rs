//! `/v1/overview`: the figures of the first page.

use axum::Json;
use serde::Serialize;
use tidings_engine::{campaigns, imports, overview, segments};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::call::{Call, ReadCustomers};
use crate::campaigns::{Campaign, Counts, campaign};
use crate::errors::Result;
use crate::imports::{Import, import};

/// How many campaigns and imports are shown.
const RECENT: usize = 5;

/// Figures of the workspace; counts may be some seconds old.
#[derive(Debug, Serialize, ToSchema)]
pub struct Overview {
    pub customers: i64,
    pub reachable_by_email: i64,
    pub events_24h: i64,
    pub segments: Vec<SegmentSize>,
    /// The last five.
    pub campaigns: Vec<CampaignFigures>,
    /// The last five.
    pub imports: Vec<Import>,
    /// The last fourteen days, in UTC; days without a message are left out.
    pub sent_by_day: Vec<Day>,
    /// Whether all sending is held back.
    pub sending_paused: bool,
    /// Whether there is a relay that mail could be handed to.
    pub mail_ready: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SegmentSize {
    pub id: Uuid,
    pub name: String,
    /// Null until it was evaluated once.
    pub size: Option<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CampaignFigures {
    pub id: Uuid,
    pub name: String,
    pub state: &'static str,
    pub counts: Counts,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Day {
    #[schema(format = Date, example = "2026-11-23")]
    pub day: String,
    pub sent: i64,
    pub opened: i64,
    pub clicked: i64,
}

fn figures(campaign: Campaign) -> CampaignFigures {
    CampaignFigures {
        id: campaign.id,
        name: campaign.name,
        state: campaign.state,
        counts: campaign.counts,
    }
}

/// The figures of the first page.
#[utoipa::path(get, path = "/v1/overview", tag = "Overview",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])),
    responses((status = 200, body = Overview)))]
pub async fn show(call: Call<ReadCustomers>) -> Result<Json<Overview>> {
    let ctx = &call.ctx;
    let figures_of_workspace = overview::figures(ctx).await?;
    let sizes = segments::sizes(ctx).await?;
    let segments = segments::list(ctx).await?.into_iter().map(|segment| SegmentSize {
        id: segment.id.0,
        size: (segment.evaluated_version > 0)
            .then(|| sizes.get(&segment.number).copied().unwrap_or(0)),
        name: segment.name,
    });
    let recent = campaigns::page(ctx, i32::MAX, RECENT).await?;
    let (files, _) = imports::list(ctx, None, RECENT).await?;
    let day = |day: overview::Day| Day {
        day: day.day,
        sent: day.sent,
        opened: day.opened,
        clicked: day.clicked,
    };
    Ok(Json(Overview {
        customers: figures_of_workspace.customers,
        reachable_by_email: figures_of_workspace.reachable_by_email,
        events_24h: figures_of_workspace.events,
        segments: segments.collect(),
        campaigns: recent.items.into_iter().map(campaign).map(figures).collect(),
        imports: files.into_iter().map(|file| import(file, ctx.now())).collect(),
        sent_by_day: figures_of_workspace.days.into_iter().map(day).collect(),
        sending_paused: overview::sending_is_paused(ctx).await?,
        mail_ready: tidings_engine::mail::is_ready(ctx).await?,
    }))
}
