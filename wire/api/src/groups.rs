//! `/v1/groups`: lists of customers kept by hand or by API.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_engine::groups;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::call::{Call, ReadCustomers, WriteCustomers};
use crate::errors::Result;
use crate::input::{Input, Query};
use crate::paging::{List, Paging};

#[derive(Debug, Serialize, ToSchema)]
pub struct Group {
    pub id: Uuid,
    pub number: i32,
    #[schema(example = "staff")]
    pub name: String,
    /// How many customers are in it.
    pub size: i64,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupInput {
    #[schema(example = "staff")]
    pub name: String,
}

pub fn group(stored: groups::Group) -> Group {
    Group { id: stored.id.0, number: stored.number, name: stored.name, size: stored.size }
}

/// Groups, oldest first.
#[utoipa::path(get, path = "/v1/groups", tag = "Groups",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])),
    params(Paging),
    responses((status = 200, body = List<Group>)))]
pub async fn list(
    call: Call<ReadCustomers>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Group>>> {
    let page = groups::page(&call.ctx, paging.place()?, paging.limit()?).await?;
    Ok(Json(List::page(page.items.into_iter().map(group).collect(), page.next)))
}

/// Make a group.
#[utoipa::path(post, path = "/v1/groups", tag = "Groups", request_body = GroupInput,
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    responses((status = 201, body = Group)))]
pub async fn create(
    call: Call<WriteCustomers>,
    Input(body): Input<GroupInput>,
) -> Result<(StatusCode, Json<Group>)> {
    let made = groups::create(&call.ctx, &body.name).await?;
    Ok((StatusCode::CREATED, Json(group(made))))
}
