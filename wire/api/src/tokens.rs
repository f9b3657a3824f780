//! `/v1/tokens`: what programs sign in with.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tidings_domain::{Timestamp, TokenId};
use tidings_engine::accounts;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::call::{Administer, Call};
use crate::errors::Result;
use crate::idempotency::Secret;
use crate::input::{Input, Path};
use crate::paging::List;

#[derive(Debug, Serialize, ToSchema)]
pub struct Token {
    pub id: Uuid,
    pub name: String,
    #[schema(example = json!(["customers:read", "customers:write"]))]
    pub scopes: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// To the minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenInput {
    #[schema(example = "web shop")]
    pub name: String,
    /// Of `customers:read`, `customers:write`, `imports`, `segments`, `templates`, `campaigns`,
    /// `mailbox`, `audit` and `admin`, which includes all. `imports`, `segments`, `templates` and
    /// `campaigns` have a part that only reads, such as `segments:read`.
    pub scopes: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub struct CreatedToken {
    pub id: Uuid,
    pub name: String,
    pub scopes: Vec<String>,
    /// Shown this once.
    #[schema(example = "tdg_…")]
    pub token: String,
}

/// The tokens of this workspace, oldest first.
#[utoipa::path(get, path = "/v1/tokens", tag = "People and tokens",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    responses((status = 200, body = List<Token>)))]
pub async fn list(call: Call<Administer>) -> Result<Json<List<Token>>> {
    let tokens = accounts::tokens(&call.ctx).await?;
    let items = tokens
        .into_iter()
        .map(|row| Token {
            id: row.id.0,
            name: row.name,
            scopes: row.scopes,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
        })
        .collect();
    Ok(Json(List::whole(items)))
}

/// Make a token. An `Idempotency-Key` does not keep its answer, because the token is kept nowhere.
#[utoipa::path(post, path = "/v1/tokens", tag = "People and tokens", request_body = TokenInput,
    security(("token" = ["admin"]), ("session" = ["admin"])),
    responses((status = 201, body = CreatedToken)))]
pub async fn create(call: Call<Administer>, Input(body): Input<TokenInput>) -> Result<Response> {
    let made = accounts::create_token(&call.ctx, &body.name, &body.scopes).await?;
    let body = CreatedToken {
        id: made.row.id.0,
        name: made.row.name,
        scopes: made.row.scopes,
        token: made.secret,
    };
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    response.extensions_mut().insert(Secret);
    Ok(response)
}

/// Revoke a token.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "People and tokens",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    params(("id" = Uuid, Path)),
    responses((status = 204)))]
pub async fn revoke(call: Call<Administer>, Path(id): Path<Uuid>) -> Result<StatusCode> {
    accounts::revoke_token(&call.ctx, TokenId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
