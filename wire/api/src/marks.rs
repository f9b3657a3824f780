//! `/v1/customers/{ref}/tags` and `…/groups`: marks on one customer.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_domain::Timestamp;
use tidings_domain::change::{Change, Outcome};
use tidings_engine::{Ctx, changes};
use utoipa::ToSchema;

use crate::call::{Call, WriteCustomers};
use crate::errors::{Problem, Result};
use crate::input::{OptionalInput, Path};
use crate::translate::path_ref;

/// What became of a mark.
#[derive(Debug, Serialize, ToSchema)]
pub struct MarkDone {
    /// `updated`, or `unchanged` where it was so before.
    pub outcome: &'static str,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TagInput {
    /// When the tag ends; never unless given.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

pub(crate) async fn put(ctx: &Ctx, change: Change) -> Result<Json<MarkDone>> {
    Ok(Json(MarkDone { outcome: apply(ctx, change).await?.name() }))
}

async fn take(ctx: &Ctx, change: Change) -> Result<StatusCode> {
    apply(ctx, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Applies a change of a customer that the path names.
async fn apply(ctx: &Ctx, change: Change) -> Result<Outcome> {
    match changes::apply_one(ctx, change).await? {
        Outcome::Refused(refusal) if refusal.code == "unknown_customer" => {
            Err(Problem::not_found("the customer"))
        }
        Outcome::Refused(refusal) => Err(Problem::invalid(vec![refusal.into()])),
        outcome => Ok(outcome),
    }
}

/// Put a tag on a customer, or change its end.
#[utoipa::path(put, path = "/v1/customers/{ref}/tags/{tag}", tag = "Tags and groups",
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    params(("ref" = String, Path), ("tag" = String, Path)),
    request_body(content = Option<TagInput>),
    responses((status = 200, body = MarkDone)))]
pub async fn put_tag(
    call: Call<WriteCustomers>,
    Path((reference, tag)): Path<(String, String)>,
    OptionalInput(body): OptionalInput<TagInput>,
) -> Result<Json<MarkDone>> {
    let customer = path_ref(&reference)?;
    put(&call.ctx, Change::PutTag { customer, tag, until: body.until }).await
}

/// Take a tag off a customer.
#[utoipa::path(delete, path = "/v1/customers/{ref}/tags/{tag}", tag = "Tags and groups",
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    params(("ref" = String, Path), ("tag" = String, Path)),
    responses((status = 204)))]
pub async fn remove_tag(
    call: Call<WriteCustomers>,
    Path((reference, tag)): Path<(String, String)>,
) -> Result<StatusCode> {
    take(&call.ctx, Change::RemoveTag { customer: path_ref(&reference)?, tag }).await
}

/// Put a customer into a group; a new name makes a new group.
#[utoipa::path(put, path = "/v1/customers/{ref}/groups/{group}", tag = "Tags and groups",
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    params(("ref" = String, Path), ("group" = String, Path)),
    responses((status = 200, body = MarkDone)))]
pub async fn put_group(
    call: Call<WriteCustomers>,
    Path((reference, group)): Path<(String, String)>,
) -> Result<Json<MarkDone>> {
    put(&call.ctx, Change::PutGroupMember { customer: path_ref(&reference)?, group }).await
}

/// Take a customer out of a group.
#[utoipa::path(delete, path = "/v1/customers/{ref}/groups/{group}", tag = "Tags and groups",
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    params(("ref" = String, Path), ("group" = String, Path)),
    responses((status = 204)))]
pub async fn remove_group(
    call: Call<WriteCustomers>,
    Path((reference, group)): Path<(String, String)>,
) -> Result<StatusCode> {
    take(&call.ctx, Change::RemoveGroupMember { customer: path_ref(&reference)?, group }).await
}
