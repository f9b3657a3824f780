//! `/v1/groups`: lists of customers kept by hand or by API.

use axum::Json;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tidings_domain::GroupId;
use tidings_domain::change::{Change, CustomerRef};
use tidings_engine::groups;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::call::{Call, ReadCustomers, WriteCustomers};
use crate::customers::{CustomerSummary, summary};
use crate::errors::Result;
use crate::input::{Incoming, Input, Path, Query, object};
use crate::many::{OneOrMany, OneOrManyDone, receive};
use crate::paging::{List, Paging};
use crate::translate::{CustomerRefInput, customer_ref};

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

/// One group.
#[utoipa::path(get, path = "/v1/groups/{id}", tag = "Groups",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = Group)))]
pub async fn show(call: Call<ReadCustomers>, Path(id): Path<Uuid>) -> Result<Json<Group>> {
    Ok(Json(group(groups::get(&call.ctx, GroupId(id)).await?)))
}

/// Remove a group; its customers stay. Refused where a segment reads it.
#[utoipa::path(delete, path = "/v1/groups/{id}", tag = "Groups",
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    params(("id" = Uuid, Path)),
    responses((status = 204)))]
pub async fn remove(call: Call<WriteCustomers>, Path(id): Path<Uuid>) -> Result<StatusCode> {
    groups::remove(&call.ctx, GroupId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The customers of a group.
#[utoipa::path(get, path = "/v1/groups/{id}/customers", tag = "Groups",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])),
    params(("id" = Uuid, Path), Paging),
    responses((status = 200, body = List<CustomerSummary>)))]
pub async fn customers(
    call: Call<ReadCustomers>,
    Path(id): Path<Uuid>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<CustomerSummary>>> {
    let (place, limit) = (paging.place()?, paging.limit()?);
    let page = groups::customers(&call.ctx, GroupId(id), place, limit).await?;
    Ok(Json(List::page(page.items.into_iter().map(summary).collect(), page.next)))
}

/// Put customers into a group: one, an array of at most 10,000, or lines of NDJSON, each naming a
/// customer. Who is not known is refused, and holds nobody up.
#[utoipa::path(post, path = "/v1/groups/{id}/customers", tag = "Groups",
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    params(("id" = Uuid, Path)),
    request_body(content(
        (OneOrMany<CustomerRefInput> = "application/json"),
        (String = "application/x-ndjson"),
    )),
    responses((status = 200, body = OneOrManyDone)))]
pub async fn add(
    call: Call<WriteCustomers>,
    Path(id): Path<Uuid>,
    body: Incoming,
) -> Result<Response> {
    change_members(call, id, body, |customer, group| Change::PutGroupMember { customer, group })
        .await
}

/// Take customers out of a group: one, an array of at most 10,000, or lines of NDJSON.
#[utoipa::path(post, path = "/v1/groups/{id}/customers/remove", tag = "Groups",
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    params(("id" = Uuid, Path)),
    request_body(content(
        (OneOrMany<CustomerRefInput> = "application/json"),
        (String = "application/x-ndjson"),
    )),
    responses((status = 200, body = OneOrManyDone)))]
pub async fn take(
    call: Call<WriteCustomers>,
    Path(id): Path<Uuid>,
    body: Incoming,
) -> Result<Response> {
    change_members(call, id, body, |customer, group| Change::RemoveGroupMember { customer, group })
        .await
}

async fn change_members(
    call: Call<WriteCustomers>,
    group: Uuid,
    body: Incoming,
    change: fn(CustomerRef, String) -> Change,
) -> Result<Response> {
    let name = groups::get(&call.ctx, GroupId(group)).await?.name;
    let read = move |item: &[u8]| {
        let customer = customer_ref(object::<CustomerRefInput>(item)?)?;
        Ok(change(customer, name.clone()))
    };
    receive(call.ctx, body, Box::new(read)).await
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
