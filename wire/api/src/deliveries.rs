//! `/v1/campaigns/{id}/deliveries`: who got a campaign's message, who not and why; and what becomes of
//! what a crash left uncertain.

use axum::Json;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use tidings_domain::campaign::DeliveryState;
use tidings_domain::{CampaignId, CustomerId, Timestamp};
use tidings_engine::campaigns::{self, Delivery as StoredDelivery};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::call::{Call, ReadCampaigns, WriteCampaigns};
use crate::errors::{Problem, Result};
use crate::input::{Input, Path, Query};
use crate::paging::{List, checked_limit, place};

/// What to do with messages that a crash left uncertain.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UncertainAction {
    Resend,
    GiveUp,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UncertainInput {
    pub action: UncertainAction,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct UncertainDone {
    pub resolved: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Recipient {
    pub id: Uuid,
    pub email: Option<String>,
    pub external_id: Option<String>,
}

/// Who got a message, who not and why.
#[derive(Debug, Serialize, ToSchema)]
pub struct Delivery {
    pub id: Uuid,
    pub customer: Recipient,
    /// `due`, `in_flight`, `sent`, `failed`, `bounced`, `skipped`, `uncertain` or `cancelled`.
    #[schema(example = "sent")]
    pub state: &'static str,
    pub reason: Option<String>,
    /// What the relay said.
    pub reply: Option<String>,
    pub attempts: i32,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sent_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub opened_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub clicked_at: Option<Timestamp>,
    /// `message`, or in a test `test` or `rest`, or `holdout` or `global_holdout`; null where
    /// nobody could send to them.
    pub arm: Option<&'static str>,
    /// The variant's name, where there is a test.
    pub variant: Option<String>,
    /// When it is due, while it is.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due_at: Option<Timestamp>,
    pub message_id: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveriesQuery {
    pub state: Option<String>,
    pub reason: Option<String>,
    #[param(minimum = 1, maximum = 1000, default = 50)]
    pub limit: Option<usize>,
    pub cursor: Option<String>,
}

fn delivery(
    stored: StoredDelivery,
    campaign: &tidings_engine::campaigns::Campaign,
    domain: &str,
) -> Delivery {
    let variant = campaigns::variant_name(campaign, &stored).map(str::to_owned);
    let sent = stored.state == DeliveryState::Sent;
    let waiting = stored.state == DeliveryState::Due && stored.attempts > 0;
    Delivery {
        id: stored.id.0,
        customer: Recipient {
            id: stored.customer.0,
            email: stored.address,
            external_id: stored.external_id,
        },
        state: stored.state.name(),
        reason: stored.reason,
        reply: stored.reply,
        attempts: stored.attempts,
        next_attempt_at: waiting.then_some(stored.due_at),
        sent_at: stored.finished_at.filter(|_| sent),
        opened_at: stored.opened_at,
        clicked_at: stored.clicked_at,
        arm: stored.arm.map(|arm| arm.name()),
        variant,
        due_at: (stored.state == DeliveryState::Due).then_some(stored.due_at),
        message_id: format!("{}@{domain}", stored.id),
    }
}

/// Decide over the messages that a crash left uncertain.
#[utoipa::path(post, path = "/v1/campaigns/{id}/uncertain", tag = "Campaigns",
    request_body = UncertainInput, security(("token" = ["campaigns"]), ("session" = ["editor"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = UncertainDone)))]
pub async fn uncertain(
    call: Call<WriteCampaigns>,
    Path(id): Path<Uuid>,
    Input(body): Input<UncertainInput>,
) -> Result<Json<UncertainDone>> {
    let resend = matches!(body.action, UncertainAction::Resend);
    let resolved = campaigns::resolve_uncertain(&call.ctx, CampaignId(id), resend).await?;
    Ok(Json(UncertainDone { resolved }))
}

fn state(text: Option<&str>) -> Result<Option<DeliveryState>> {
    let Some(text) = text else { return Ok(None) };
    let known = DeliveryState::parse(text);
    known.map(Some).ok_or_else(|| {
        let names: Vec<&str> = DeliveryState::ALL.iter().map(|state| state.name()).collect();
        Problem::field("state", "invalid_value", format!("expected one of {}", names.join(", ")))
    })
}

/// Who got a message, who not and why.
#[utoipa::path(get, path = "/v1/campaigns/{id}/deliveries", tag = "Campaigns",
    security(("token" = ["campaigns:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path), DeliveriesQuery),
    responses((status = 200, body = List<Delivery>)))]
pub async fn deliveries(
    call: Call<ReadCampaigns>,
    Path(id): Path<Uuid>,
    Query(query): Query<DeliveriesQuery>,
) -> Result<Json<List<Delivery>>> {
    let after: Option<CustomerId> = place(query.cursor.as_deref())?;
    let limit = checked_limit(query.limit)?;
    let state = state(query.state.as_deref())?;
    let found = campaigns::get(&call.ctx, CampaignId(id)).await?;
    let domain = domain(&found.sender.address).to_owned();
    let page = campaigns::deliveries(&call.ctx, &found, state, query.reason, after, limit).await?;
    let items = page.items.into_iter().map(|one| delivery(one, &found, &domain)).collect();
    Ok(Json(List::page(items, page.next)))
}

fn domain(address: &str) -> &str {
    address.rsplit('@').next().unwrap_or_default()
}

/// The whole list as CSV, streamed.
#[utoipa::path(get, path = "/v1/campaigns/{id}/deliveries.csv", tag = "Campaigns",
    security(("token" = ["campaigns:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path)),
    responses((status = 200, content_type = "text/csv", body = String)))]
pub async fn deliveries_csv(call: Call<ReadCampaigns>, Path(id): Path<Uuid>) -> Result<Response> {
    let found = campaigns::get(&call.ctx, CampaignId(id)).await?;
    let name = format!("attachment; filename=\"campaign-{}-deliveries.csv\"", found.number);
    let lines = campaigns::deliveries_csv(call.ctx, found);
    let body = Body::from_stream(lines.map(|chunk| chunk.map_err(std::io::Error::other)));
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, body).into_response())
}
