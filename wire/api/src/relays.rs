//! `/v1/relays`: the servers that a workspace's mail is handed to.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_domain::{RelayId, Timestamp};
use tidings_engine::relays;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::call::{Administer, Call};
use crate::errors::Result;
use crate::input::{Input, Path};
use crate::paging::List;

#[derive(Serialize, ToSchema)]
pub struct Relay {
    pub id: Uuid,
    pub number: i32,
    #[schema(example = "newsletters")]
    pub name: String,
    /// Without name and password.
    #[schema(example = "smtps://smtp.example:465")]
    pub url: String,
    pub username: Option<String>,
    pub has_password: bool,
    pub per_second: Option<i32>,
    pub open_max: i32,
    pub weight: i32,
    pub enabled: bool,
    /// What the node that answers knows of it; null while it is switched off.
    pub state: Option<RelayState>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
pub struct RelayState {
    pub up: bool,
    /// Why it could not be reached the last time, while it is down.
    pub error: Option<String>,
    /// Connections at work now.
    pub open: usize,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RelayInput {
    pub name: String,
    /// `smtp://`, `smtp+starttls://` or `smtps://`. A name and password in it are taken out and kept
    /// apart. Options: `per_connection`, `hello`.
    #[schema(example = "smtp+starttls://smtp.example:587")]
    pub url: String,
    pub username: Option<String>,
    /// Kept sealed and never shown. Left out, the one stays that was given before for this username.
    pub password: Option<String>,
    /// Messages a second that each node gives it at most; no limit unless given.
    pub per_second: Option<i32>,
    /// Messages that may be on their way to it from a node at once.
    #[serde(default = "open_max")]
    pub open_max: i32,
    /// Its share of the mail that no sender domain assigns; 0 for assigned mail only.
    #[serde(default = "weight")]
    pub weight: i32,
    #[serde(default = "enabled")]
    pub enabled: bool,
}

fn open_max() -> i32 {
    16
}

fn weight() -> i32 {
    1
}

fn enabled() -> bool {
    true
}

#[derive(Serialize, ToSchema)]
pub struct TriedRelay {
    pub works: bool,
    /// The extensions it offers, or why it cannot be used.
    pub message: String,
}

fn relay(found: relays::Relay) -> Relay {
    Relay {
        id: found.id.0,
        number: found.number,
        name: found.name,
        url: found.url,
        username: found.username,
        has_password: found.has_password,
        per_second: found.per_second,
        open_max: found.open_max,
        weight: found.weight,
        enabled: found.enabled,
        state: found.state.map(|state| RelayState {
            up: state.is_up,
            error: state.error,
            open: state.open,
        }),
        created_at: found.created_at,
        updated_at: found.updated_at,
    }
}

fn input(body: RelayInput) -> relays::RelayInput {
    relays::RelayInput {
        name: body.name,
        url: body.url,
        username: body.username,
        password: body.password,
        per_second: body.per_second,
        open_max: body.open_max,
        weight: body.weight,
        enabled: body.enabled,
    }
}

/// The relays of this workspace, oldest first. Without one, mail goes by the hub's own.
#[utoipa::path(get, path = "/v1/relays", tag = "E-mail",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    responses((status = 200, body = List<Relay>)))]
pub async fn list(call: Call<Administer>) -> Result<Json<List<Relay>>> {
    let relays = relays::list(&call.ctx).await?;
    Ok(Json(List::whole(relays.into_iter().map(relay).collect())))
}

/// Add a relay.
#[utoipa::path(post, path = "/v1/relays", tag = "E-mail", request_body = RelayInput,
    security(("token" = ["admin"]), ("session" = ["admin"])),
    responses((status = 201, body = Relay)))]
pub async fn create(
    call: Call<Administer>,
    Input(body): Input<RelayInput>,
) -> Result<(StatusCode, Json<Relay>)> {
    let made = relays::create(&call.ctx, input(body)).await?;
    Ok((StatusCode::CREATED, Json(relay(made))))
}

/// One relay.
#[utoipa::path(get, path = "/v1/relays/{id}", tag = "E-mail",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = Relay)))]
pub async fn show(call: Call<Administer>, Path(id): Path<Uuid>) -> Result<Json<Relay>> {
    Ok(Json(relay(relays::get(&call.ctx, RelayId(id)).await?)))
}

/// Put settings in the place of a relay's. What is on its way is finished by the old ones.
#[utoipa::path(put, path = "/v1/relays/{id}", tag = "E-mail", request_body = RelayInput,
    security(("token" = ["admin"]), ("session" = ["admin"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = Relay)))]
pub async fn put(
    call: Call<Administer>,
    Path(id): Path<Uuid>,
    Input(body): Input<RelayInput>,
) -> Result<Json<Relay>> {
    Ok(Json(relay(relays::change(&call.ctx, RelayId(id), input(body)).await?)))
}

/// Drop a relay. Sender domains that were assigned to it go by the others.
#[utoipa::path(delete, path = "/v1/relays/{id}", tag = "E-mail",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    params(("id" = Uuid, Path)),
    responses((status = 204)))]
pub async fn remove(call: Call<Administer>, Path(id): Path<Uuid>) -> Result<StatusCode> {
    relays::drop(&call.ctx, RelayId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Connect to a relay as a message would, sign in, and say goodbye. Nothing is sent.
#[utoipa::path(post, path = "/v1/relays/{id}/test", tag = "E-mail",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = TriedRelay)))]
pub async fn test(call: Call<Administer>, Path(id): Path<Uuid>) -> Result<Json<TriedRelay>> {
    let tried = relays::try_out(&call.ctx, RelayId(id)).await?;
    Ok(Json(TriedRelay { works: tried.works, message: tried.message }))
}
