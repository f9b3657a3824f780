//! `/v1/suppressions`: addresses that are never written to again.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_domain::Timestamp;
use tidings_domain::consent::{Channel as StoredChannel, SuppressionReason};
use tidings_engine::suppressions;
use utoipa::ToSchema;

use crate::call::{Call, ReadCustomers, WriteCustomers};
use crate::errors::{Problem, Result};
use crate::input::{Input, Path, Query};
use crate::paging::{List, Paging};

#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Email,
    Sms,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    #[default]
    Manual,
    HardBounce,
    Complaint,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Suppression {
    pub channel: &'static str,
    #[schema(example = "ann@example.com")]
    pub address: String,
    #[schema(example = "manual")]
    pub reason: String,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuppressionInput {
    pub channel: Channel,
    pub address: String,
    #[serde(default)]
    pub reason: Reason,
}

fn suppression(stored: suppressions::Suppression) -> Suppression {
    Suppression {
        channel: stored.channel.name(),
        address: stored.address,
        reason: stored.reason,
        at: stored.at,
    }
}

/// Suppressed addresses, by channel and address.
#[utoipa::path(get, path = "/v1/suppressions", tag = "Consents and suppressions",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])),
    params(Paging),
    responses((status = 200, body = List<Suppression>)))]
pub async fn list(
    call: Call<ReadCustomers>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Suppression>>> {
    let page = suppressions::page(&call.ctx, paging.place()?, paging.limit()?).await?;
    Ok(Json(List::page(page.items.into_iter().map(suppression).collect(), page.next)))
}

/// Suppress an address. What is planned for it and has not begun is called off with it.
#[utoipa::path(post, path = "/v1/suppressions", tag = "Consents and suppressions",
    request_body = SuppressionInput,
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    responses((status = 201, body = Suppression)))]
pub async fn add(
    call: Call<WriteCustomers>,
    Input(body): Input<SuppressionInput>,
) -> Result<(StatusCode, Json<Suppression>)> {
    let channel = match body.channel {
        Channel::Email => StoredChannel::Email,
        Channel::Sms => StoredChannel::Sms,
    };
    let reason = match body.reason {
        Reason::Manual => SuppressionReason::Manual,
        Reason::HardBounce => SuppressionReason::HardBounce,
        Reason::Complaint => SuppressionReason::Complaint,
    };
    let added = suppressions::add(&call.ctx, channel, &body.address, reason).await?;
    Ok((StatusCode::CREATED, Json(suppression(added))))
}

/// Lift a suppression.
#[utoipa::path(delete, path = "/v1/suppressions/{channel}/{address}",
    tag = "Consents and suppressions",
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    params(("channel" = String, Path), ("address" = String, Path)),
    responses((status = 204)))]
pub async fn remove(
    call: Call<WriteCustomers>,
    Path((channel, address)): Path<(String, String)>,
) -> Result<StatusCode> {
    let channel =
        StoredChannel::parse(&channel).ok_or_else(|| Problem::not_found("the channel"))?;
    suppressions::remove(&call.ctx, channel, &address).await?;
    Ok(StatusCode::NO_CONTENT)
}
