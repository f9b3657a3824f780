//! `/v1/tables`: the workspace's own tables, such as orders, and their records.

use axum::Json;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tidings_domain::schema::{Owner, Table as StoredTable};
use tidings_engine::schema::{self, NewField};
use utoipa::{IntoParams, ToSchema};

use crate::attributes::{Attribute, AttributeInput, attribute};
use crate::call::{Call, ReadCustomers, WriteCustomers};
use crate::errors::{Problem, Result};
use crate::input::{Incoming, Input, Path, Query, object};
use crate::many::{OneOrMany, OneOrManyDone, receive};
use crate::paging::List;
use crate::translate::{ModeInput, RecordInput, record};

#[derive(Debug, Serialize, ToSchema)]
pub struct Table {
    pub number: i32,
    #[schema(example = "orders")]
    pub name: String,
    pub owner: OwnerName,
    /// How records are told apart: every record has a text key.
    #[schema(example = "key")]
    pub key: &'static str,
    pub fields: Vec<Attribute>,
}

/// Whom the records belong to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwnerName {
    Customer,
    None,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TableInput {
    #[schema(example = "orders")]
    pub name: String,
    pub owner: OwnerName,
    #[serde(default)]
    pub fields: Vec<AttributeInput>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ModeQuery {
    /// Whether to create and update (`upsert`, unless given), only `update`, or only `create`.
    #[serde(default)]
    #[param(inline)]
    pub mode: ModeInput,
}

fn table(stored: &StoredTable) -> Table {
    let owner = match stored.owner {
        Owner::Customer => OwnerName::Customer,
        Owner::Nobody => OwnerName::None,
    };
    let fields = stored.fields.iter().map(attribute).collect();
    Table { number: stored.number, name: stored.name.clone(), owner, key: "key", fields }
}

async fn one<N>(call: &Call<N>, name: &str) -> Result<Table> {
    let schema = schema::schema(&call.ctx).await?;
    schema.table(name).map(|one| table(one)).ok_or_else(|| Problem::not_found("the table"))
}

/// All tables.
#[utoipa::path(get, path = "/v1/tables", tag = "Schema",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])),
    responses((status = 200, body = List<Table>)))]
pub async fn list(call: Call<ReadCustomers>) -> Result<Json<List<Table>>> {
    let schema = schema::schema(&call.ctx).await?;
    Ok(Json(List::whole(schema.tables.iter().map(|one| table(one)).collect())))
}

/// Add a table.
#[utoipa::path(post, path = "/v1/tables", tag = "Schema", request_body = TableInput,
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    responses((status = 201, body = Table)))]
pub async fn create(
    call: Call<WriteCustomers>,
    Input(body): Input<TableInput>,
) -> Result<(StatusCode, Json<Table>)> {
    let owner = match body.owner {
        OwnerName::Customer => Owner::Customer,
        OwnerName::None => Owner::Nobody,
    };
    let mut fields = Vec::with_capacity(body.fields.len());
    for (at, field) in body.fields.into_iter().enumerate() {
        let kind = field.kind(&format!("fields[{at}]."))?;
        fields.push(NewField { name: field.name, kind });
    }
    schema::add_table(&call.ctx, &body.name, owner, fields).await?;
    Ok((StatusCode::CREATED, Json(one(&call, &body.name).await?)))
}

/// Add a field to a table.
#[utoipa::path(post, path = "/v1/tables/{name}/fields", tag = "Schema",
    request_body = AttributeInput,
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    params(("name" = String, Path)),
    responses((status = 201, body = Table)))]
pub async fn add_field(
    call: Call<WriteCustomers>,
    Path(name): Path<String>,
    Input(body): Input<AttributeInput>,
) -> Result<(StatusCode, Json<Table>)> {
    let kind = body.kind("")?;
    schema::add_field(&call.ctx, &name, NewField { name: body.name, kind }).await?;
    Ok((StatusCode::CREATED, Json(one(&call, &name).await?)))
}

/// Create or update records: one, an array of at most 10,000, or lines of NDJSON.
#[utoipa::path(post, path = "/v1/tables/{name}/records", tag = "Records",
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    params(("name" = String, Path), ModeQuery),
    request_body(content(
        (OneOrMany<RecordInput> = "application/json"),
        (String = "application/x-ndjson"),
    )),
    responses(
        (status = 200, body = OneOrManyDone),
        (status = 201, body = crate::translate::Done, description = "A new record"),
    ))]
pub async fn upsert_records(
    call: Call<WriteCustomers>,
    Path(name): Path<String>,
    Query(query): Query<ModeQuery>,
    body: Incoming,
) -> Result<Response> {
    one(&call, &name).await?;
    let mode = query.mode.into();
    let read = move |item: &[u8]| record(object::<RecordInput>(item)?, &name, mode);
    receive(call.ctx, body, Box::new(read)).await
}
