//! Imports: a file comes in whole, its columns are given a meaning, and a job applies its rows as
//! changes, chunk by chunk.
//!
//! This room knows files and mappings; it does not know who sent the file or how the report is
//! shown. The way of a file: `create` keeps it and suggests a mapping, `start` checks the mapping
//! and queues the job, `run` applies the rows, `errors` hands the refused ones back.

mod errors;
mod here;
mod mapping;
mod plan;
mod run;
mod upload;

use serde::{Deserialize, Serialize};
use tidings_delimited::Layout;
use tidings_domain::{ImportId, Timestamp};
use tidings_store::Error as StoreError;
use tidings_store::imports::{ImportState, RefusedRow};

pub use errors::error_file;
pub use here::run_here;
pub use mapping::{ColumnName, ImportMode, MappedColumn, Mapping, NewKind, Suggestion};
pub use plan::{Plan, column_name};
pub use run::run;
pub use tidings_delimited::{Encoding, LineEnding};
pub(crate) use upload::path_of;
pub(crate) use upload::remove as remove_upload;
pub use upload::{MAX_UPLOAD_BYTES, Upload, create};

use crate::{Ctx, Error, Fault, Hub, Result};

/// An import with its file's shape and its mapping.
#[derive(Clone, Debug)]
pub struct Import {
    pub row: tidings_store::imports::Import,
    pub layout: Layout,
    pub columns: Vec<Column>,
    pub mapping: Mapping,
}

/// One column of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name; empty where the file has no header.
    pub header: String,
    /// Values of the first rows, at most five, each cut to 200 characters.
    pub samples: Vec<String>,
    pub suggestion: Option<Suggestion>,
}

impl Import {
    fn new(row: tidings_store::imports::Import) -> Result<Import> {
        let unreadable =
            |error: serde_json::Error| Error::Internal(format!("read import: {error}"));
        Ok(Import {
            layout: serde_json::from_str(&row.layout).map_err(unreadable)?,
            columns: serde_json::from_str(&row.columns).map_err(unreadable)?,
            mapping: serde_json::from_str(&row.mapping).map_err(unreadable)?,
            row,
        })
    }

    /// The names of the columns.
    pub fn headers(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.header.clone()).collect()
    }

    /// Rows applied in a second, from the start to the end or until now.
    pub fn rows_per_second(&self, now: Timestamp) -> u64 {
        let Some(started) = self.row.started_at else { return 0 };
        let ms = self.row.finished_at.unwrap_or(now).ms_since(started).max(1);
        self.row.counts.read.saturating_mul(1_000) / ms.unsigned_abs()
    }
}

/// One import.
pub async fn get(ctx: &Ctx, id: ImportId) -> Result<Import> {
    let row = ctx.workspace.import(id).await?;
    Import::new(row.ok_or_else(|| Error::NotFound(format!("import {id}")))?)
}

/// A page of imports, newest first, and the number that the next page begins after.
pub async fn list(
    ctx: &Ctx,
    before: Option<i64>,
    limit: usize,
) -> Result<(Vec<Import>, Option<i64>)> {
    let page = ctx.workspace.imports(before, limit).await?;
    let items = page.items.into_iter().map(Import::new).collect::<Result<Vec<_>>>()?;
    Ok((items, page.next))
}

/// Changes the mapping of a draft, once it is checked.
pub async fn set_mapping(ctx: &Ctx, id: ImportId, mapping: &Mapping) -> Result<Import> {
    let import = get(ctx, id).await?;
    let schema = ctx.workspace.fresh_schema().await?;
    Plan::new(mapping, &import.headers(), &schema, import.row.table.as_deref())?;
    Import::new(ctx.workspace.set_import_mapping(id, json(mapping)?).await?)
}

/// Starts a draft: makes the attributes that its mapping asks for, then queues its job.
pub async fn start(ctx: &Ctx, id: ImportId) -> Result<Import> {
    let import = get(ctx, id).await?;
    if import.row.state != ImportState::Draft {
        let state = import.row.state.name();
        return Err(Error::Conflict(format!("the import is {state}: it was started before")));
    }
    let schema = ctx.workspace.fresh_schema().await?;
    let table = import.row.table.as_deref();
    let plan = Plan::new(&import.mapping, &import.headers(), &schema, table)?;
    for (name, kind) in plan.create {
        let at = ctx.now();
        let made = match table {
            None => ctx.workspace.add_attribute(&name, kind.clone(), at).await.map(|_| ()),
            Some(table) => ctx.workspace.add_field(table, &name, kind.clone(), at).await,
        };
        match made {
            // Somebody else made it since we looked; with the same kind that is as good.
            Err(StoreError::Conflict(_)) if has_kind(ctx, table, &name, &kind).await? => {}
            other => other?,
        }
    }
    let started = ctx.workspace.start_import(id, json(&import.mapping)?, ctx.now()).await?;
    ctx.wake();
    Import::new(started)
}

async fn has_kind(
    ctx: &Ctx,
    table: Option<&str>,
    name: &str,
    kind: &tidings_domain::value::Kind,
) -> Result<bool> {
    let schema = ctx.workspace.fresh_schema().await?;
    Ok(match table {
        None => schema.attribute(name).is_some_and(|known| known.kind == *kind),
        Some(table) => {
            let field = schema.table(table).and_then(|table| table.field(name));
            field.is_some_and(|known| known.kind == *kind)
        }
    })
}

/// Cancels an import that is not finished. Rows that were applied stay.
pub async fn cancel(ctx: &Ctx, id: ImportId) -> Result<Import> {
    let import = ctx.workspace.cancel_import(id, ctx.now()).await?;
    upload::remove(&ctx.hub, id).await;
    ctx.wake();
    Import::new(import)
}

/// A page of refused rows in the order of the file; each one's text is cut to 4 KiB.
pub async fn refusals(
    ctx: &Ctx,
    id: ImportId,
    after: Option<u64>,
    limit: usize,
) -> Result<(Vec<RefusedRow>, Option<u64>)> {
    get(ctx, id).await?;
    let page = ctx.workspace.import_refusals(id, after, limit, 4_096).await?;
    Ok((page.items, page.next))
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Internal(error.to_string()))
}

/// Where uploads of this hub lie.
fn folder(hub: &Hub) -> std::path::PathBuf {
    hub.settings.data_dir.join("blobs").join("imports")
}

fn invalid_file(code: &'static str, message: impl Into<String>) -> Error {
    Error::Invalid(vec![Fault::new("file", code, message)])
}
