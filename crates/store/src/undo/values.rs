//! Columns of customers and records as they stand, and written back.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value as Json;
use tidings_domain::Timestamp;
use tidings_domain::schema::Attribute;
use tidings_domain::value::Storage;

use super::stories::{Back, Story};
use crate::Result;
use crate::bulk::{Column, ColumnType, column, update_many};
use crate::changes::journal::{NAMES, field, json_value};
use crate::changes::sort_rows;
use crate::engines::Tx;
use crate::sql::Param;

/// A customer as it stands, as far as the journal speaks of it.
pub(super) struct Standing {
    pub updated_at: i64,
    /// By field, as the journal holds values.
    pub values: HashMap<String, Json>,
}

/// The columns that a journal's fields stand for: the journal's name, the column and how it is kept.
pub(super) fn attribute_columns<'s>(
    fields: &'s [Attribute],
    stories: &[&Story],
) -> Vec<(String, &'s str, Storage)> {
    let touched: HashSet<&String> = stories.iter().flat_map(|story| story.changes.keys()).collect();
    let columns = fields.iter().map(|one| (field(one.number), one));
    columns
        .filter(|(name, _)| touched.contains(name))
        .map(|(name, one)| (name, one.column.as_str(), one.kind.storage()))
        .collect()
}

/// Writes the columns back, those with the same fields together.
pub(super) async fn restore(
    tx: &mut Tx,
    table: &str,
    keys: &[Column<'_>],
    columns: &[(String, &str, Storage)],
    back: &[Back<'_>],
    at: Timestamp,
    key: impl Fn(&Story) -> Vec<Param>,
) -> Result<()> {
    let mut groups: BTreeMap<Vec<(&str, ColumnType)>, Vec<Vec<Param>>> = BTreeMap::new();
    for (story, fields) in back {
        let mut set = Vec::new();
        let mut row = key(story);
        row.push(at.into());
        for (name, before) in fields {
            if let Some((_, column, storage)) = columns.iter().find(|(one, ..)| one == *name) {
                let Some(value) = json_value(before, *storage) else { continue };
                set.push((*column, ColumnType::from(*storage)));
                row.push(value.into());
            } else if let Some(kind) = NAMES.iter().find(|kind| kind.name() == *name) {
                set.push((kind.name(), ColumnType::Text));
                row.push(before.as_str().map(str::to_owned).into());
            }
        }
        groups.entry(set).or_default().push(row);
    }
    for (fields, mut rows) in groups {
        let mut set = vec![column("updated_at", ColumnType::BigInt)];
        set.extend(fields.iter().map(|(name, kind)| column(name, *kind)));
        sort_rows(&mut rows);
        update_many(tx, table, keys, &set, &rows, "", "").await?;
    }
    Ok(())
}
