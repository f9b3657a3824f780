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
pub enum SuppressedFor {
    #[default]
    Manual,
    HardBounce,
    Complaint,
}

impl From<Channel> for StoredChannel {
    fn from(channel: Channel) -> StoredChannel {
        match channel {
            Channel::Email => StoredChannel::Email,
            Channel::Sms => StoredChannel::Sms,
        }
    }
}

impl From<SuppressedFor> for SuppressionReason {
    fn from(reason: SuppressedFor) -> SuppressionReason {
        match reason {
            SuppressedFor::Manual => SuppressionReason::Manual,
            SuppressedFor::HardBounce => SuppressionReason::HardBounce,
            SuppressedFor::Complaint => SuppressionReason::Complaint,
        }
    }
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
    pub reason: SuppressedFor,
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
    let (channel, reason) = (body.channel.into(), body.reason.into());
    let added = suppressions::add(&call.ctx, channel, &body.address, reason).await?;
    Ok((StatusCode::CREATED, Json(suppression(added))))
}

/// A list of addresses that are never to be written to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuppressionList {
    pub channel: Channel,
    /// At most 10,000: addresses, or the SHA-256 of addresses in lower case as 64 hexadecimal
    /// digits, also mixed.
    #[schema(example = json!(["ann@example.com"]))]
    pub entries: Vec<String>,
    #[serde(default)]
    pub reason: SuppressedFor,
}

/// What became of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct SuppressionListDone {
    pub added: u64,
    /// How many were suppressed before, or stood in the list twice.
    pub known: u64,
    pub refused: Vec<SuppressionRefused>,
}

/// An entry that was not taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct SuppressionRefused {
    /// Its place in the list, from 0.
    pub index: usize,
    pub message: String,
}

/// A suppressed address of which only the hash is known.
#[derive(Debug, Serialize, ToSchema)]
pub struct SuppressedHash {
    pub channel: &'static str,
    /// SHA-256 of the address in lower case, in hexadecimal.
    pub hash: String,
    #[schema(example = "manual")]
    pub reason: String,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// Suppress a list of addresses or of their hashes. What is planned for an address and has not
/// begun is called off with it; whose a hash is shows when a message is about to go.
#[utoipa::path(post, path = "/v1/suppressions/import", tag = "Consents and suppressions",
    request_body = SuppressionList,
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    responses((status = 200, body = SuppressionListDone)))]
pub async fn import(
    call: Call<WriteCustomers>,
    Input(body): Input<SuppressionList>,
) -> Result<Json<SuppressionListDone>> {
    let (channel, reason) = (body.channel.into(), body.reason.into());
    let (done, refused) = suppressions::import(&call.ctx, channel, &body.entries, reason).await?;
    let refusal =
        |one: suppressions::Refused| SuppressionRefused { index: one.index, message: one.message };
    Ok(Json(SuppressionListDone {
        added: done.added,
        known: done.known,
        refused: refused.into_iter().map(refusal).collect(),
    }))
}

/// Suppressed addresses of which only the hash is known, by channel and hash.
#[utoipa::path(get, path = "/v1/suppressions/hashes", tag = "Consents and suppressions",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])),
    params(Paging),
    responses((status = 200, body = List<SuppressedHash>)))]
pub async fn hashes(
    call: Call<ReadCustomers>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<SuppressedHash>>> {
    let page = suppressions::hashes(&call.ctx, paging.place()?, paging.limit()?).await?;
    let hash = |one: suppressions::SuppressedHash| SuppressedHash {
        channel: one.channel.name(),
        hash: one.hash,
        reason: one.reason,
        at: one.at,
    };
    Ok(Json(List::page(page.items.into_iter().map(hash).collect(), page.next)))
}

/// Lift a suppression, of an address or of a hash.
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
