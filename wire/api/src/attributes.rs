//! `/v1/attributes`: what is known of a customer.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_domain::schema::Attribute as StoredAttribute;
use tidings_domain::value::Kind;
use tidings_engine::schema;
use utoipa::ToSchema;

use crate::call::{Administer, Call, ReadCustomers, WriteCustomers};
use crate::errors::{Problem, Result};
use crate::input::{Input, Path};
use crate::paging::List;

/// An attribute of the customer, or a field of a table.
#[derive(Debug, Serialize, ToSchema)]
pub struct Attribute {
    /// Stays the same when the name changes; null for what is built in.
    pub number: Option<i32>,
    pub name: String,
    pub kind: String,
    /// Digits after the point, of decimals and money.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    pub built_in: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AttributeInput {
    #[schema(example = "loyalty_points")]
    pub name: String,
    /// `text`, `integer`, `decimal`, `boolean`, `date`, `timestamp`, `list`, `email`, `phone`,
    /// `country`, `language` or `money`.
    #[schema(example = "integer")]
    pub kind: String,
    /// For decimals and money: 0 to 9, 2 unless given.
    pub scale: Option<u8>,
    /// For money: ISO 4217, EUR unless given.
    pub currency: Option<String>,
}

impl AttributeInput {
    /// The kind that name, scale and currency make; `path` is where they stand.
    pub fn kind(&self, path: &str) -> Result<Kind> {
        let kind = Kind::from_parts(&self.kind, self.scale, self.currency.as_deref());
        kind.map_err(|expected| Problem::field(format!("{path}kind"), "invalid_kind", expected))
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewName {
    pub name: String,
}

pub fn attribute(stored: &StoredAttribute) -> Attribute {
    Attribute {
        number: Some(stored.number),
        name: stored.name.clone(),
        kind: stored.kind.name().to_owned(),
        scale: stored.kind.scale(),
        currency: stored.kind.currency().map(str::to_owned),
        built_in: false,
    }
}

/// What every customer has without a schema.
fn built_in() -> impl Iterator<Item = Attribute> {
    let kinds = [
        ("external_id", "text"),
        ("email", "email"),
        ("phone", "phone"),
        ("created_at", "timestamp"),
        ("updated_at", "timestamp"),
    ];
    kinds.into_iter().map(|(name, kind)| Attribute {
        number: None,
        name: name.to_owned(),
        kind: kind.to_owned(),
        scale: None,
        currency: None,
        built_in: true,
    })
}

/// All attributes, the built-in ones first.
#[utoipa::path(get, path = "/v1/attributes", tag = "Schema",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])),
    responses((status = 200, body = List<Attribute>)))]
pub async fn list(call: Call<ReadCustomers>) -> Result<Json<List<Attribute>>> {
    let schema = schema::schema(&call.ctx).await?;
    let items = built_in().chain(schema.attributes.iter().map(attribute)).collect();
    Ok(Json(List::whole(items)))
}

/// Add an attribute.
#[utoipa::path(post, path = "/v1/attributes", tag = "Schema", request_body = AttributeInput,
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    responses((status = 201, body = Attribute)))]
pub async fn create(
    call: Call<WriteCustomers>,
    Input(body): Input<AttributeInput>,
) -> Result<(StatusCode, Json<Attribute>)> {
    let made = schema::add_attribute(&call.ctx, &body.name, body.kind("")?).await?;
    Ok((StatusCode::CREATED, Json(attribute(&made))))
}

/// Give an attribute another name.
#[utoipa::path(patch, path = "/v1/attributes/{name}", tag = "Schema", request_body = NewName,
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    params(("name" = String, Path)),
    responses((status = 200, body = Attribute)))]
pub async fn rename(
    call: Call<WriteCustomers>,
    Path(name): Path<String>,
    Input(body): Input<NewName>,
) -> Result<Json<Attribute>> {
    Ok(Json(attribute(&schema::rename_attribute(&call.ctx, &name, &body.name).await?)))
}

/// Remove an attribute with all its values.
#[utoipa::path(delete, path = "/v1/attributes/{name}", tag = "Schema",
    security(("token" = ["admin"]), ("session" = ["admin"])),
    params(("name" = String, Path)),
    responses((status = 204)))]
pub async fn remove(call: Call<Administer>, Path(name): Path<String>) -> Result<StatusCode> {
    schema::drop_attribute(&call.ctx, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
