//! `/v1/users`: the people of a workspace.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tidings_engine::accounts::{self, Role, UserInfo};
use utoipa::ToSchema;

use crate::call::{Administer, Call};
use crate::errors::Result;
use crate::idempotency::Secret;
use crate::input::{Input, Path};
use crate::paging::List;

#[derive(Debug, Serialize, ToSchema)]
pub struct User {
    #[schema(example = "ann@example.com")]
    pub mail: String,
    pub name: String,
    pub role: RoleName,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoleName {
    Admin,
    Editor,
    Viewer,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserInput {
    pub mail: String,
    pub role: RoleName,
    /// At least 8 characters; made up unless given.
    pub password: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct CreatedUser {
    #[serde(flatten)]
    pub user: User,
    /// Only where it was made up; shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

fn role(name: RoleName) -> Role {
    match name {
        RoleName::Admin => Role::Admin,
        RoleName::Editor => Role::Editor,
        RoleName::Viewer => Role::Viewer,
    }
}

fn user(info: UserInfo) -> User {
    let role = match info.role {
        Role::Admin => RoleName::Admin,
        Role::Editor => RoleName::Editor,
        Role::Viewer => RoleName::Viewer,
    };
    User { mail: info.mail, name: info.name, role }
}

/// The people of this workspace.
#[utoipa::path(get, path = "/v1/users", tag = "People and tokens",
    security(("token" = ["admin"])),
    responses((status = 200, body = List<User>)))]
pub async fn list(call: Call<Administer>) -> Result<Json<List<User>>> {
    let users = accounts::users(&call.ctx).await?;
    Ok(Json(List::whole(users.into_iter().map(user).collect())))
}

/// Give somebody a role here. Somebody new gets a password.
#[utoipa::path(post, path = "/v1/users", tag = "People and tokens", request_body = UserInput,
    security(("token" = ["admin"])),
    responses((status = 201, body = CreatedUser)))]
pub async fn create(call: Call<Administer>, Input(body): Input<UserInput>) -> Result<Response> {
    let made = accounts::create_user(&call.ctx, &body.mail, role(body.role), body.password).await?;
    let secret = made.password.is_some();
    let body = CreatedUser { user: user(made.info), password: made.password };
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    if secret {
        response.extensions_mut().insert(Secret);
    }
    Ok(response)
}

/// Take somebody's role away.
#[utoipa::path(delete, path = "/v1/users/{mail}", tag = "People and tokens",
    security(("token" = ["admin"])),
    params(("mail" = String, Path)),
    responses((status = 204)))]
pub async fn remove(call: Call<Administer>, Path(mail): Path<String>) -> Result<StatusCode> {
    accounts::remove_user(&call.ctx, &mail).await?;
    Ok(StatusCode::NO_CONTENT)
}
