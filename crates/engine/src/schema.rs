//! The workspace's own schema: attributes of the customer and tables.

use std::sync::Arc;

use tidings_domain::schema::{Attribute, Owner, Schema};
use tidings_domain::value::Kind;

use crate::audit::about;
use crate::{Ctx, Error, Fault, Result};

/// The schema as it stands.
pub async fn schema(ctx: &Ctx) -> Result<Arc<Schema>> {
    Ok(ctx.workspace.fresh_schema().await?)
}

/// A field of a table to be made.
#[derive(Clone, Debug)]
pub struct NewField {
    pub name: String,
    pub kind: Kind,
}

fn named<T>(path: &str, result: Result<T, tidings_store::Error>) -> Result<T> {
    result.map_err(|error| match error {
        tidings_store::Error::Invalid(text) => {
            Error::Invalid(vec![Fault::new(path, "invalid_name", text)])
        }
        other => other.into(),
    })
}

pub async fn add_attribute(ctx: &Ctx, name: &str, kind: Kind) -> Result<Attribute> {
    about(name);
    named("name", ctx.workspace.add_attribute(name, kind, ctx.now()).await)
}

pub async fn rename_attribute(ctx: &Ctx, name: &str, new_name: &str) -> Result<Attribute> {
    let schema = ctx.workspace.fresh_schema().await?;
    let is_done = ctx.workspace.is_done_already().await?;
    if !is_done && schema.attribute(name).is_none() {
        return Err(Error::NotFound(format!("attribute {name}")));
    }
    if !is_done && name != new_name && schema.attribute(new_name).is_some() {
        return Err(Error::Conflict(format!("an attribute named {new_name} exists")));
    }
    named("name", ctx.workspace.rename_attribute(name, new_name).await)?;
    let schema = ctx.workspace.fresh_schema().await?;
    let gone = || Error::NotFound(format!("attribute {new_name}"));
    schema.attribute(new_name).cloned().ok_or_else(gone)
}

/// Drops an attribute with its values.
pub async fn drop_attribute(ctx: &Ctx, name: &str) -> Result<()> {
    Ok(ctx.workspace.drop_attribute(name).await?)
}

pub async fn add_table(ctx: &Ctx, name: &str, owner: Owner, fields: Vec<NewField>) -> Result<()> {
    about(name);
    let fields = fields.into_iter().map(|field| (field.name, field.kind)).collect();
    named("name", ctx.workspace.add_table(name, owner, fields, ctx.now()).await)
}

pub async fn add_field(ctx: &Ctx, table: &str, field: NewField) -> Result<()> {
    named("name", ctx.workspace.add_field(table, &field.name, field.kind, ctx.now()).await)
}
