//! `/v1/sender-domains`: what belongs to a sender's domain, its DKIM keys above all; and
//! `/v1/recipient-limits`.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_domain::{RelayId, Timestamp};
use tidings_engine::senders;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::call::{Administer, Call};
use crate::errors::Result;
use crate::input::{Input, Path};
use crate::paging::List;

#[derive(Serialize, ToSchema)]
pub struct SenderDomain {
    /// In ASCII and lower case.
    #[schema(example = "shop.example")]
    pub domain: String,
    /// The relay that all its mail takes.
    pub relay_id: Option<Uuid>,
    /// Where links, pixels and unsubscribe links of its mail point to, instead of the hub.
    pub tracking_url: Option<String>,
    pub keys: Vec<DkimKey>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SenderDomainInput {
    /// By the shares of the relays unless given.
    pub relay_id: Option<Uuid>,
    /// A scheme and a host, which must lead to this hub.
    pub tracking_url: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct DkimKey {
    #[schema(example = "rsa-20261123")]
    pub selector: String,
    pub algorithm: Algorithm,
    /// Whether it signs.
    pub active: bool,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    pub record: Record,
}

/// The TXT record that publishes a key.
#[derive(Serialize, ToSchema)]
pub struct Record {
    #[schema(example = "rsa-20261123._domainkey.shop.example")]
    pub name: String,
    #[schema(example = "v=DKIM1; k=rsa; p=MIIB…")]
    pub value: String,
    /// The same as a line of a zone file, cut into strings of at most 255 bytes.
    pub zone_line: String,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// RSA with 2048 bits, which every receiver can verify.
    #[default]
    Rsa,
    /// Twenty times faster, and not yet verified everywhere: give a domain one of each.
    Ed25519,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DkimKeyInput {
    #[serde(default)]
    pub algorithm: Algorithm,
    /// Of a-z, 0-9 and `-`; made from the algorithm and the date unless given.
    pub selector: Option<String>,
    /// Whether it signs from now on. A signature whose record is not published yet counts as none,
    /// so a key that replaces another one is better made inactive first.
    #[serde(default = "active")]
    pub active: bool,
}

fn active() -> bool {
    true
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DkimKeyChange {
    pub active: bool,
}

/// How many messages may be on their way from a node to the addresses of a domain at once.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecipientLimit {
    /// `*` is for every domain without a limit of its own.
    #[schema(example = "mail.example")]
    pub domain: String,
    pub open_max: i32,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecipientLimits {
    pub items: Vec<RecipientLimit>,
}

fn domain(found: senders::SenderDomain) -> SenderDomain {
    SenderDomain {
        domain: found.domain,
        relay_id: found.relay.map(|id| id.0),
        tracking_url: found.tracking_url,
        keys: found.keys.into_iter().map(key).collect(),
        created_at: found.created_at,
    }
}

fn key(found: senders::Key) -> DkimKey {
    DkimKey {
        algorithm: match found.algorithm {
            senders::Algorithm::Rsa => Algorithm::Rsa,
            senders::Algorithm::Ed25519 => Algorithm::Ed25519,
        },
        active: found.active,
        created_at: found.created_at,
        record: Record {
            zone_line: found.zone_line(),
            name: found.record_name,
            value: found.record_value,
        },
        selector: found.selector,
    }
}

fn limits(found: Vec<senders::RecipientLimit>) -> Json<List<RecipientLimit>> {
    let limit = |found: senders::RecipientLimit| RecipientLimit {
        domain: found.domain,
        open_max: found.open_max,
    };
    Json(List::whole(found.into_iter().map(limit).collect()))
}

/// The sender domains of this workspace, by name.
#[utoipa::path(get, path = "/v1/sender-domains", tag = "E-mail",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    responses((status = 200, body = List<SenderDomain>)))]
pub async fn list(call: Call<Administer>) -> Result<Json<List<SenderDomain>>> {
    let found = senders::list(&call.ctx).await?;
    Ok(Json(List::whole(found.into_iter().map(domain).collect())))
}

/// One sender domain.
#[utoipa::path(get, path = "/v1/sender-domains/{domain}", tag = "E-mail",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    params(("domain" = String, Path)),
    responses((status = 200, body = SenderDomain)))]
pub async fn show(call: Call<Administer>, Path(name): Path<String>) -> Result<Json<SenderDomain>> {
    Ok(Json(domain(senders::get(&call.ctx, &name).await?)))
}

/// Set a sender domain's relay and tracking address.
#[utoipa::path(put, path = "/v1/sender-domains/{domain}", tag = "E-mail",
    request_body = SenderDomainInput,
    security(("token" = ["admin"]), ("session" = ["admin"])),
    params(("domain" = String, Path)),
    responses((status = 200, body = SenderDomain)))]
pub async fn put(
    call: Call<Administer>,
    Path(name): Path<String>,
    Input(body): Input<SenderDomainInput>,
) -> Result<Json<SenderDomain>> {
    let relay = body.relay_id.map(RelayId);
    Ok(Json(domain(senders::put(&call.ctx, &name, relay, body.tracking_url).await?)))
}

/// Drop a sender domain with its keys.
#[utoipa::path(delete, path = "/v1/sender-domains/{domain}", tag = "E-mail",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    params(("domain" = String, Path)),
    responses((status = 204)))]
pub async fn remove(call: Call<Administer>, Path(name): Path<String>) -> Result<StatusCode> {
    senders::drop(&call.ctx, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a DKIM key. Its private half is kept sealed and never shown; publish the record.
#[utoipa::path(post, path = "/v1/sender-domains/{domain}/keys", tag = "E-mail",
    request_body = DkimKeyInput,
    security(("token" = ["admin"]), ("session" = ["admin"])),
    params(("domain" = String, Path)),
    responses((status = 201, body = DkimKey)))]
pub async fn create_key(
    call: Call<Administer>,
    Path(name): Path<String>,
    Input(body): Input<DkimKeyInput>,
) -> Result<(StatusCode, Json<DkimKey>)> {
    let input = senders::KeyInput {
        algorithm: match body.algorithm {
            Algorithm::Rsa => senders::Algorithm::Rsa,
            Algorithm::Ed25519 => senders::Algorithm::Ed25519,
        },
        selector: body.selector,
        active: body.active,
    };
    let made = senders::create_key(&call.ctx, &name, input).await?;
    Ok((StatusCode::CREATED, Json(key(made))))
}

/// Let a key sign, or not. All active keys of a domain sign.
#[utoipa::path(patch, path = "/v1/sender-domains/{domain}/keys/{selector}", tag = "E-mail",
    request_body = DkimKeyChange,
    security(("token" = ["admin"]), ("session" = ["admin"])),
    params(("domain" = String, Path), ("selector" = String, Path)),
    responses((status = 200, body = DkimKey)))]
pub async fn switch_key(
    call: Call<Administer>,
    Path((name, selector)): Path<(String, String)>,
    Input(body): Input<DkimKeyChange>,
) -> Result<Json<DkimKey>> {
    Ok(Json(key(senders::switch_key(&call.ctx, &name, &selector, body.active).await?)))
}

/// Drop a key. Leave its record for some days: mail that it signed may still be on its way.
#[utoipa::path(delete, path = "/v1/sender-domains/{domain}/keys/{selector}", tag = "E-mail",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    params(("domain" = String, Path), ("selector" = String, Path)),
    responses((status = 204)))]
pub async fn remove_key(
    call: Call<Administer>,
    Path((name, selector)): Path<(String, String)>,
) -> Result<StatusCode> {
    senders::drop_key(&call.ctx, &name, &selector).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Limits by the receiver's domain.
#[utoipa::path(get, path = "/v1/recipient-limits", tag = "E-mail",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    responses((status = 200, body = List<RecipientLimit>)))]
pub async fn list_limits(call: Call<Administer>) -> Result<Json<List<RecipientLimit>>> {
    Ok(limits(senders::limits(&call.ctx).await?))
}

/// Put these limits in the place of all others.
#[utoipa::path(put, path = "/v1/recipient-limits", tag = "E-mail", request_body = RecipientLimits,
    security(("token" = ["admin"]), ("session" = ["admin"])),
    responses((status = 200, body = List<RecipientLimit>)))]
pub async fn put_limits(
    call: Call<Administer>,
    Input(body): Input<RecipientLimits>,
) -> Result<Json<List<RecipientLimit>>> {
    let limit = |limit: RecipientLimit| senders::RecipientLimit {
        domain: limit.domain,
        open_max: limit.open_max,
    };
    let items = body.items.into_iter().map(limit).collect();
    Ok(limits(senders::put_limits(&call.ctx, items).await?))
}
