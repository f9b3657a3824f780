//! `/v1/roles` and `/v1/security`: what this workspace's people may do, and how they sign in.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_domain::Timestamp;
use tidings_engine::accounts::{self, Caller, OwnRole};
use utoipa::ToSchema;

use crate::call::{Administer, Call};
use crate::errors::Result;
use crate::input::{Input, Path};
use crate::paging::List;

/// A role of this workspace's own, beside admin, editor and viewer.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnRoleBody {
    #[schema(example = "analyst")]
    pub name: String,
    #[schema(example = json!(["segments:read", "campaigns:read"]))]
    pub scopes: Vec<String>,
    /// How many people have it.
    pub people: i64,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnRoleInput {
    /// The same scopes that tokens have.
    pub scopes: Vec<String>,
}

fn role(role: OwnRole) -> OwnRoleBody {
    let OwnRole { name, scopes, created_at, people } = role;
    OwnRoleBody { name, scopes, people, created_at }
}

/// The roles of this workspace's own, by name.
#[utoipa::path(get, path = "/v1/roles", tag = "People and tokens",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    responses((status = 200, body = List<OwnRoleBody>)))]
pub async fn list(call: Call<Administer>) -> Result<Json<List<OwnRoleBody>>> {
    let roles = accounts::roles(&call.ctx).await?;
    Ok(Json(List::whole(roles.into_iter().map(role).collect())))
}

/// Make a role, or give one other scopes; it holds for those who have it from their next call.
#[utoipa::path(put, path = "/v1/roles/{name}", tag = "People and tokens",
    request_body = OwnRoleInput,
    security(("token" = ["admin"]), ("session" = ["admin"])),
    params(("name" = String, Path)),
    responses((status = 200, body = OwnRoleBody)))]
pub async fn put(
    call: Call<Administer>,
    Path(name): Path<String>,
    Input(body): Input<OwnRoleInput>,
) -> Result<Json<OwnRoleBody>> {
    Ok(Json(role(accounts::put_role(&call.ctx, &name, &body.scopes).await?)))
}

/// Drop a role that nobody has.
#[utoipa::path(delete, path = "/v1/roles/{name}", tag = "People and tokens",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    params(("name" = String, Path)),
    responses((status = 204)))]
pub async fn remove(call: Call<Administer>, Path(name): Path<String>) -> Result<StatusCode> {
    accounts::remove_role(&call.ctx, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How the people of this workspace sign in.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Security {
    /// Whether it takes a code of an authenticator app beside the password. Who has none set up can
    /// do nothing here until they do; tokens are not asked.
    pub require_totp: bool,
}

async fn security(call: &Call<Administer>) -> Result<Json<Security>> {
    let rows = call.ctx.hub.store.system.workspaces().await.map_err(tidings_engine::Error::from)?;
    let own = rows.iter().find(|row| row.id == call.ctx.workspace.row.id);
    Ok(Json(Security { require_totp: own.is_some_and(|row| row.totp_required) }))
}

/// How people sign in to this workspace.
#[utoipa::path(get, path = "/v1/security", tag = "People and tokens",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    responses((status = 200, body = Security)))]
pub async fn show_security(call: Call<Administer>) -> Result<Json<Security>> {
    security(&call).await
}

/// Change how people sign in to this workspace.
#[utoipa::path(put, path = "/v1/security", tag = "People and tokens", request_body = Security,
    security(("token" = ["admin"]), ("session" = ["admin"])),
    responses((status = 200, body = Security)))]
pub async fn put_security(
    call: Call<Administer>,
    Input(body): Input<Security>,
) -> Result<Json<Security>> {
    let by = match &call.caller {
        Caller::User { id, .. } => Some(*id),
        Caller::Token { .. } => None,
    };
    accounts::require_totp(&call.ctx, body.require_totp, by).await?;
    security(&call).await
}
