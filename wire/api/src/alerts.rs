//! `/v1/alerts`: what operators must know.

use axum::Json;
use serde::{Deserialize, Serialize};
use tidings_domain::{AlertId, Timestamp};
use tidings_engine::accounts::Caller;
use tidings_engine::alerts;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::call::{Call, ReadCampaigns, WriteCampaigns};
use crate::errors::Result;
use crate::input::{Path, Query};
use crate::paging::{checked_limit, cursor, place};

/// Something that happened, from its beginning to its end: one alert a cause.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alert {
    pub id: Uuid,
    /// `campaign_paused`, `sending_held_up`, `job_stuck` or `job_given_up`.
    #[schema(example = "campaign_paused")]
    pub kind: &'static str,
    pub message: String,
    /// The campaign that it is about, if it is about one.
    pub campaign_id: Option<Uuid>,
    #[schema(value_type = String, format = DateTime)]
    pub raised_at: Timestamp,
    /// When its cause went away.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub acknowledged_at: Option<Timestamp>,
    pub acknowledged_by: Option<String>,
}

/// A page of alerts, and how many nobody has acknowledged.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alerts {
    pub items: Vec<Alert>,
    /// What to give as `cursor` for the next page; null at the end.
    pub next: Option<String>,
    pub unread: i64,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertsQuery {
    /// Only those that nobody has acknowledged.
    #[serde(default)]
    pub unread: bool,
    #[param(minimum = 1, maximum = 1000, default = 50)]
    pub limit: Option<usize>,
    pub cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Acknowledged {
    pub acknowledged: u64,
}

fn alert(stored: alerts::Alert) -> Alert {
    Alert {
        id: stored.id.0,
        kind: stored.kind.name(),
        message: stored.message,
        campaign_id: stored.campaign.map(|id| id.0),
        raised_at: stored.raised_at,
        ended_at: stored.ended_at,
        acknowledged_at: stored.acknowledged_at,
        acknowledged_by: stored.acknowledged_by,
    }
}

/// Who acknowledges, as colleagues know them.
fn name(caller: &Caller) -> &str {
    match caller {
        Caller::User { mail, .. } => mail,
        _ => "token",
    }
}

/// Alerts, newest first.
#[utoipa::path(get, path = "/v1/alerts", tag = "Alerts",
    security(("token" = ["campaigns:read"]), ("session" = ["viewer"])), params(AlertsQuery),
    responses((status = 200, body = Alerts)))]
pub async fn list(
    call: Call<ReadCampaigns>,
    Query(query): Query<AlertsQuery>,
) -> Result<Json<Alerts>> {
    let before: Option<(Timestamp, AlertId)> = place(query.cursor.as_deref())?;
    let limit = checked_limit(query.limit)?;
    let page = alerts::page(&call.ctx, query.unread, before, limit).await?;
    Ok(Json(Alerts {
        unread: alerts::unread(&call.ctx).await?,
        items: page.items.into_iter().map(alert).collect(),
        next: page.next.map(|next| cursor(&next)),
    }))
}

/// Say that an alert was seen.
#[utoipa::path(post, path = "/v1/alerts/{id}/acknowledge", tag = "Alerts",
    security(("token" = ["campaigns"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Alert)))]
pub async fn acknowledge(call: Call<WriteCampaigns>, Path(id): Path<Uuid>) -> Result<Json<Alert>> {
    let found = alerts::acknowledge(&call.ctx, AlertId(id), name(&call.caller)).await?;
    Ok(Json(alert(found)))
}

/// Say that all alerts so far were seen.
#[utoipa::path(post, path = "/v1/alerts/acknowledge", tag = "Alerts",
    security(("token" = ["campaigns"]), ("session" = ["editor"])),
    responses((status = 200, body = Acknowledged)))]
pub async fn acknowledge_all(call: Call<WriteCampaigns>) -> Result<Json<Acknowledged>> {
    let acknowledged = alerts::acknowledge_all(&call.ctx, name(&call.caller)).await?;
    Ok(Json(Acknowledged { acknowledged }))
}
