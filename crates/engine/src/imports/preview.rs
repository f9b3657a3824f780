//! The first rows of a draft as they are read, and what a mapping makes of their cells. Whether the
//! values then fit is what a trial says.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use tidings_delimited::{Item, Layout, Limits, OpenError, Reader};
use tidings_domain::ImportId;
use tidings_store::imports::ImportState;

use super::mapping::Mapping;
use super::upload::{file_fault, path_of, storage_fault};
use super::{Plan, get};
use crate::{Ctx, Error, Result};

/// Rows that are shown, and how much of each cell.
const ROWS: usize = 10;
const CELL_CHARS: usize = 200;

/// A row as it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PreviewRow {
    /// From 1; the header is not counted.
    pub row: u64,
    pub line: u64,
    pub cells: Vec<String>,
    /// What each target of the mapping gets; `None` where the row has nothing for it.
    pub becomes: BTreeMap<String, Option<String>>,
    /// Why the row cannot be read, or a transform refuses it.
    pub fault: Option<String>,
}

/// The first rows of a draft, by the mapping that is given or by its own.
pub async fn preview(
    ctx: &Ctx,
    id: ImportId,
    mapping: Option<&Mapping>,
) -> Result<Vec<PreviewRow>> {
    let import = get(ctx, id).await?;
    if import.row.state != ImportState::Draft {
        let state = import.row.state.name();
        return Err(Error::Conflict(format!("the import is {state}: only a draft is shown")));
    }
    let schema = ctx.workspace.fresh_schema().await?;
    let mapping = mapping.unwrap_or(&import.mapping);
    let plan = Plan::new(mapping, &import.headers(), &schema, import.row.table.as_deref())?;
    let (path, layout) = (path_of(&ctx.hub, &import), import.layout);
    let rows = tokio::task::spawn_blocking(move || rows(path, &layout, &plan));
    rows.await.map_err(|_| Error::Internal("reading the first rows panicked".to_owned()))?
}

fn rows(path: PathBuf, layout: &Layout, plan: &Plan) -> Result<Vec<PreviewRow>> {
    let file = File::open(path).map_err(|error| storage_fault(&error))?;
    let reader = Reader::open(file, layout, Limits::default());
    let mut reader = reader.map_err(|error| match error {
        OpenError::Fault(fault) => file_fault(&fault),
        OpenError::Io(error) => storage_fault(&error),
    })?;
    let mut rows = Vec::with_capacity(ROWS);
    while rows.len() < ROWS {
        match reader.read().map_err(|error| storage_fault(&error))? {
            None => break,
            Some(Item::Row(row)) => {
                let mut one = PreviewRow {
                    row: row.position().row,
                    line: row.position().line,
                    cells: row.cells().map(short).collect(),
                    ..PreviewRow::default()
                };
                for (target, value) in plan.shown(&row) {
                    match value {
                        Ok(value) => {
                            one.becomes.insert(target, value.as_deref().map(short));
                        }
                        Err(refusal) => {
                            one.fault.get_or_insert(format!("{target}: {}", refusal.message));
                        }
                    }
                }
                rows.push(one);
            }
            Some(Item::Refused(refused)) => rows.push(PreviewRow {
                row: refused.position.row,
                line: refused.position.line,
                cells: vec![short(&String::from_utf8_lossy(refused.raw))],
                fault: Some(refused.fault.reason.to_string()),
                ..PreviewRow::default()
            }),
        }
    }
    Ok(rows)
}

fn short(text: &str) -> String {
    text.chars().take(CELL_CHARS).collect()
}
