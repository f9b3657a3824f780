//! `/v1/import-mappings`: mappings of imports that are kept under a name.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_domain::{ImportMappingId, Timestamp};
use tidings_engine::imports::Mapping;
use tidings_engine::imports::named::{self, Named, NamedChange, NewNamed};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::call::{Call, ReadImports, WriteImports};
use crate::errors::Result;
use crate::imports::MappingShape;
use crate::input::{Input, Path};
use crate::paging::List;

/// A mapping under its name.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImportMapping {
    pub id: Uuid,
    #[schema(example = "Web shop, daily")]
    pub name: String,
    /// The table whose records the rows are; null for customers.
    pub table: Option<String>,
    /// The columns that it was made for. A file with the same ones takes it by itself.
    pub headers: Vec<String>,
    #[schema(value_type = MappingShape)]
    pub mapping: Mapping,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// When an import took it last, or when it was made. Of several for the same columns the one
    /// that was taken last is taken by itself.
    #[schema(value_type = String, format = DateTime)]
    pub used_at: Timestamp,
}

impl From<Named> for ImportMapping {
    fn from(named: Named) -> ImportMapping {
        ImportMapping {
            id: named.id.0,
            name: named.name,
            table: named.table,
            headers: named.headers,
            mapping: named.mapping,
            created_at: named.created_at,
            updated_at: named.updated_at,
            used_at: named.used_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportMappingInput {
    #[schema(example = "Web shop, daily")]
    pub name: String,
    /// The table whose records the rows are; customers unless given.
    pub table: Option<String>,
    /// The columns of the files that it is for, in their order.
    pub headers: Vec<String>,
    #[schema(value_type = MappingShape)]
    pub mapping: Mapping,
}

/// What is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportMappingChange {
    pub name: Option<String>,
    pub headers: Option<Vec<String>>,
    #[schema(value_type = Option<MappingShape>)]
    pub mapping: Option<Mapping>,
}

/// Mappings that are kept, by name.
#[utoipa::path(get, path = "/v1/import-mappings", tag = "Imports",
    security(("token" = ["imports:read"]), ("session" = ["viewer"])),
    responses((status = 200, body = List<ImportMapping>)))]
pub async fn list(call: Call<ReadImports>) -> Result<Json<List<ImportMapping>>> {
    let all = named::list(&call.ctx).await?;
    Ok(Json(List::whole(all.into_iter().map(ImportMapping::from).collect())))
}

/// Keep a mapping under a new name.
#[utoipa::path(post, path = "/v1/import-mappings", tag = "Imports",
    request_body = ImportMappingInput,
    security(("token" = ["imports"]), ("session" = ["editor"])),
    responses((status = 201, body = ImportMapping)))]
pub async fn create(
    call: Call<WriteImports>,
    Input(body): Input<ImportMappingInput>,
) -> Result<(StatusCode, Json<ImportMapping>)> {
    let ImportMappingInput { name, table, headers, mapping } = body;
    let new = NewNamed { name, table, headers, mapping };
    let made = named::save(&call.ctx, new).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// Rename a kept mapping, or write it anew. Imports that took it keep what they took.
#[utoipa::path(patch, path = "/v1/import-mappings/{id}", tag = "Imports",
    request_body = ImportMappingChange,
    security(("token" = ["imports"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = ImportMapping)))]
pub async fn change(
    call: Call<WriteImports>,
    Path(id): Path<Uuid>,
    Input(body): Input<ImportMappingChange>,
) -> Result<Json<ImportMapping>> {
    let ImportMappingChange { name, headers, mapping } = body;
    let change = NamedChange { name, headers, mapping };
    Ok(Json(named::change(&call.ctx, ImportMappingId(id), change).await?.into()))
}

/// Drop a kept mapping. Imports that took it keep what they took.
#[utoipa::path(delete, path = "/v1/import-mappings/{id}", tag = "Imports",
    security(("token" = ["imports"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 204)))]
pub async fn remove(call: Call<WriteImports>, Path(id): Path<Uuid>) -> Result<StatusCode> {
    named::drop(&call.ctx, ImportMappingId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
