//! `/v1/users`: the people of a workspace.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tidings_engine::accounts::{self, UserInfo};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::call::{Administer, Call};
use crate::errors::Result;
use crate::idempotency::Secret;
use crate::input::{Input, Path};
use crate::paging::List;

#[derive(Debug, Serialize, ToSchema)]
pub struct User {
    pub id: Uuid,
    #[schema(example = "ann@example.com")]
    pub mail: String,
    pub name: String,
    /// `admin`, `editor`, `viewer` or a role of this workspace.
    #[schema(example = "editor")]
    pub role: String,
    /// Whether they sign in with a code beside the password.
    pub totp: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserInput {
    pub mail: String,
    /// `admin`, `editor`, `viewer` or a role of this workspace.
    pub role: String,
    /// At least 8 characters; made up unless given.
    pub password: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    /// `admin`, `editor`, `viewer` or a role of this workspace.
    pub role: String,
}

#[derive(Serialize, ToSchema)]
pub struct CreatedUser {
    #[serde(flatten)]
    pub user: User,
    /// Only where it was made up; shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

fn user(info: UserInfo) -> User {
    let role = info.access.name().to_owned();
    User { id: info.id.0, mail: info.mail, name: info.name, role, totp: info.totp }
}

/// The people of this workspace.
#[utoipa::path(get, path = "/v1/users", tag = "People and tokens",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    responses((status = 200, body = List<User>)))]
pub async fn list(call: Call<Administer>) -> Result<Json<List<User>>> {
    let users = accounts::users(&call.ctx).await?;
    Ok(Json(List::whole(users.into_iter().map(user).collect())))
}

/// Give somebody a role here. Somebody new gets a password.
#[utoipa::path(post, path = "/v1/users", tag = "People and tokens", request_body = UserInput,
    security(("token" = ["admin"]), ("session" = ["admin"])),
    responses((status = 201, body = CreatedUser)))]
pub async fn create(call: Call<Administer>, Input(body): Input<UserInput>) -> Result<Response> {
    let made = accounts::create_user(&call.ctx, &body.mail, &body.role, body.password).await?;
    let secret = made.password.is_some();
    let body = CreatedUser { user: user(made.info), password: made.password };
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    if secret {
        response.extensions_mut().insert(Secret);
    }
    Ok(response)
}

/// Give somebody another role; it holds from their next call. The last admin stays one.
#[utoipa::path(patch, path = "/v1/users/{mail}", tag = "People and tokens",
    request_body = UserPatch,
    security(("token" = ["admin"]), ("session" = ["admin"])),
    params(("mail" = String, Path)),
    responses((status = 200, body = User)))]
pub async fn change(
    call: Call<Administer>,
    Path(mail): Path<String>,
    Input(body): Input<UserPatch>,
) -> Result<Json<User>> {
    Ok(Json(user(accounts::change_user(&call.ctx, &mail, &body.role).await?)))
}

/// Take somebody's role away. The last admin stays.
#[utoipa::path(delete, path = "/v1/users/{mail}", tag = "People and tokens",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    params(("mail" = String, Path)),
    responses((status = 204)))]
pub async fn remove(call: Call<Administer>, Path(mail): Path<String>) -> Result<StatusCode> {
    accounts::remove_user(&call.ctx, &mail).await?;
    Ok(StatusCode::NO_CONTENT)
}
