//! Mappings kept under a name: saved once, taken by an import when somebody picks them, and by
//! themselves where a file has the very same columns.

use std::collections::HashSet;

use tidings_domain::schema::{Schema, checked_name};
use tidings_domain::{ImportId, ImportMappingId, Timestamp};
use tidings_store::import_mappings::KeptMapping;
use tidings_store::imports::{ImportState, NewLayout};

use super::mapping::{ColumnName, Mapping};
use super::upload::stored;
use super::{Import, Plan, Source, get, json};
use crate::{Ctx, Error, Fault, Result};

/// Mappings that a workspace keeps.
const MAX_KEPT: usize = 500;
/// Columns that a mapping is kept for.
const MAX_HEADERS: usize = 1_000;

/// A mapping under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub id: ImportMappingId,
    pub name: String,
    /// The table whose records the rows are; `None` means customers.
    pub table: Option<String>,
    /// The columns that it was made for.
    pub headers: Vec<String>,
    pub mapping: Mapping,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// When an import took it last, or when it was made.
    pub used_at: Timestamp,
}

/// A mapping to be kept.
#[derive(Clone, Debug)]
pub struct NewNamed {
    pub name: String,
    pub table: Option<String>,
    pub headers: Vec<String>,
    pub mapping: Mapping,
}

/// What of a kept mapping changes; `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct NamedChange {
    pub name: Option<String>,
    pub headers: Option<Vec<String>>,
    pub mapping: Option<Mapping>,
}

impl Named {
    fn new(kept: KeptMapping) -> Result<Named> {
        let unreadable =
            |error: serde_json::Error| Error::Internal(format!("read a kept mapping: {error}"));
        Ok(Named {
            headers: serde_json::from_str(&kept.headers).map_err(unreadable)?,
            mapping: serde_json::from_str(&kept.mapping).map_err(unreadable)?,
            id: kept.id,
            name: kept.name,
            table: kept.table,
            created_at: kept.created_at,
            updated_at: kept.updated_at,
            used_at: kept.used_at,
        })
    }
}

/// Every kept mapping, by name.
pub async fn list(ctx: &Ctx) -> Result<Vec<Named>> {
    ctx.workspace.import_mappings().await?.into_iter().map(Named::new).collect()
}

/// Keeps a mapping under a name that is new. It is checked as if a file with these columns had come.
pub async fn save(ctx: &Ctx, new: NewNamed) -> Result<Named> {
    if !ctx.workspace.is_done_already().await? {
        let all = ctx.workspace.import_mappings().await?;
        if all.len() >= MAX_KEPT {
            let text = format!("a workspace keeps at most {MAX_KEPT} mappings");
            return Err(Error::Conflict(text));
        }
    }
    let id = ImportMappingId::generate();
    let kept = kept(ctx, id, new, ctx.now(), ctx.now()).await?;
    Named::new(ctx.workspace.add_import_mapping(kept).await?)
}

/// Renames a kept mapping, or writes it anew. Imports that took it keep what they took.
pub async fn change(ctx: &Ctx, id: ImportMappingId, change: NamedChange) -> Result<Named> {
    let now = list(ctx).await?.into_iter().find(|one| one.id == id);
    let now = now.ok_or_else(|| Error::NotFound(format!("the mapping {id}")))?;
    let new = NewNamed {
        name: change.name.unwrap_or(now.name),
        table: now.table,
        headers: change.headers.unwrap_or(now.headers),
        mapping: change.mapping.unwrap_or(now.mapping),
    };
    let mut changed = kept(ctx, id, new, now.created_at, ctx.now()).await?;
    changed.used_at = now.used_at;
    Named::new(ctx.workspace.change_import_mapping(changed).await?)
}

/// Drops a kept mapping. Imports that took it keep what they took.
pub async fn drop(ctx: &Ctx, id: ImportMappingId) -> Result<()> {
    match ctx.workspace.drop_import_mapping(id).await? {
        true => Ok(()),
        false => Err(Error::NotFound(format!("the mapping {id}"))),
    }
}

/// Maps a draft as a kept mapping says.
pub async fn take(ctx: &Ctx, id: ImportId, name: &str) -> Result<Import> {
    let import = get(ctx, id).await?;
    if import.row.state != ImportState::Draft {
        let state = import.row.state.name();
        return Err(Error::Conflict(format!("the import is {state}: its mapping stands")));
    }
    let schema = ctx.workspace.fresh_schema().await?;
    let (headers, table) = (import.headers(), import.row.table.as_deref());
    let mapping = fitting(ctx, name, &headers, &schema, table).await?;
    let mapped_by = Some(name.to_owned());
    let source = Source { mapped_by, mapped_as: None, ..import.source };
    let set = NewLayout {
        layout: stored(&import.layout, &source)?,
        columns: json(&import.columns)?,
        mapping: json(&mapping)?,
        bytes_total: import.row.bytes_total,
    };
    Import::new(ctx.workspace.set_import_layout(id, set).await?)
}

/// A kept mapping by its name, once it fits a file.
pub(super) async fn fitting(
    ctx: &Ctx,
    name: &str,
    headers: &[String],
    schema: &Schema,
    table: Option<&str>,
) -> Result<Mapping> {
    let refused = |message: String| {
        Error::Invalid(vec![Fault::new("mapping_name", "unknown_mapping", message)])
    };
    let kept = ctx.workspace.import_mapping(name.to_owned()).await?;
    let kept = Named::new(kept.ok_or_else(|| refused(format!("no mapping is named {name}")))?)?;
    if kept.table.as_deref() != table {
        let rows = kept.table.map_or("customers".to_owned(), |table| format!("records of {table}"));
        return Err(refused(format!("the mapping {name} is for rows that are {rows}")));
    }
    Plan::new(&kept.mapping, headers, schema, table)?;
    Ok(kept.mapping)
}

/// The kept mapping that files with these columns take by themselves: the one that was taken last.
/// `None` where there is none, or where it no longer fits the schema.
pub(super) async fn default_for(
    ctx: &Ctx,
    headers: &[String],
    schema: &Schema,
    table: Option<&str>,
) -> Result<Option<(String, Mapping)>> {
    let key = header_key(headers)?;
    let kept = ctx.workspace.import_mapping_for(key, table.map(str::to_owned)).await?;
    let Some(kept) = kept else { return Ok(None) };
    let kept = Named::new(kept)?;
    let fits = Plan::new(&kept.mapping, headers, schema, table).is_ok();
    Ok(fits.then_some((kept.name, kept.mapping)))
}

async fn kept(
    ctx: &Ctx,
    id: ImportMappingId,
    new: NewNamed,
    created_at: Timestamp,
    updated_at: Timestamp,
) -> Result<KeptMapping> {
    checked_name(&new.name).map_err(|text| Error::invalid("name", text))?;
    if !(1..=MAX_HEADERS).contains(&new.headers.len()) {
        let text = format!("expected the names of 1 to {MAX_HEADERS} columns");
        return Err(Error::invalid("headers", text));
    }
    let schema = ctx.workspace.fresh_schema().await?;
    Plan::new(&new.mapping, &new.headers, &schema, new.table.as_deref())?;
    Ok(KeptMapping {
        id,
        header_key: header_key(&new.headers)?,
        mapping: json(&by_name(new.mapping, &new.headers))?,
        headers: json(&new.headers)?,
        name: new.name,
        table: new.table,
        created_at,
        updated_at,
        used_at: created_at,
    })
}

/// Whether every column has a name of its own, so that their order says nothing.
fn are_names(headers: &[String]) -> bool {
    let distinct: HashSet<&str> = headers.iter().map(|header| header.trim()).collect();
    distinct.len() == headers.len() && !distinct.contains("")
}

/// The same text for files with the same columns, in any order where each has a name of its own.
fn header_key(headers: &[String]) -> Result<String> {
    let mut names: Vec<&str> = headers.iter().map(|header| header.trim()).collect();
    if are_names(headers) {
        names.sort_unstable();
    }
    json(&names)
}

/// The mapping with columns by their names, so that it also fits where they come in another order.
fn by_name(mut mapping: Mapping, headers: &[String]) -> Mapping {
    if !are_names(headers) {
        return mapping;
    }
    let name = |column: &mut ColumnName| {
        if let ColumnName::Index(index) = column
            && let Some(header) = headers.get(*index)
        {
            *column = ColumnName::Header(header.trim().to_owned());
        }
    };
    for mapped in &mut mapping.columns {
        mapped.column.iter_mut().for_each(name);
        if let Some(join) = &mut mapped.join {
            join.columns.iter_mut().for_each(name);
        }
    }
    mapping
}
