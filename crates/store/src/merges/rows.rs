//! Moving the rows of one customer to another, whatever tables there are, and writing down which.

use std::collections::HashSet;

use serde_json::{Map, Value as Json};
use tidings_domain::{CustomerId, bucket_of};
use uuid::Uuid;

use super::MOST_ROWS;
use crate::Result;
use crate::archive::tables::{Stored, columns, param, select, value};
use crate::bulk::{Column, ColumnType, OnConflict, column, insert_many};
use crate::engines::Tx;
use crate::personal::owned;
use crate::sql::{Dialect, Param, quoted};

/// What does not move as it is: what is made anew, what stays under the old id, and what says who
/// was merged with whom.
const STAY: &[&str] = &[
    "identities",
    "segment_members",
    "segment_checks",
    "dirty_customers",
    "deliveries",
    "merges",
    "merge_rows",
    "merged_customers",
];

/// Who becomes whom, and under which merge it is written down.
pub(super) struct Mover {
    pub kept: CustomerId,
    pub lost: CustomerId,
    pub merge: Option<Uuid>,
}

/// What the kept one must heed of the rows.
#[derive(Default)]
pub(super) struct Moved {
    /// Channels and topics that the lost one had said *no* to.
    pub withdrawn: Vec<(i16, String)>,
}

/// A row by column, as archives write it.
pub(super) type Line = Map<String, Json>;

/// The type of a column as a batch needs it.
pub(super) fn column_type(stored: &Stored, table: &str) -> ColumnType {
    match stored.stored.as_str() {
        "smallint" => ColumnType::SmallInt,
        "bigint" => ColumnType::BigInt,
        "integer" => ColumnType::Int,
        "boolean" => ColumnType::Bool,
        "jsonb" => ColumnType::Json,
        "text[]" => ColumnType::List,
        "uuid" => ColumnType::Uuid,
        "blob" | "bytea" => ColumnType::Bytes,
        _ => {
            debug_assert_eq!(stored.stored, "text", "{table}");
            ColumnType::Text
        }
    }
}

/// The key columns of a table but the bucket and whose the row is.
pub(super) async fn own_key(tx: &mut Tx, table: &str) -> Result<Vec<String>> {
    let (text, params): (&str, Vec<Param>) = match tx.dialect() {
        Dialect::Sqlite => {
            ("select name from pragma_table_info(?1) where pk > 0", vec![table.into()])
        }
        Dialect::Postgres => {
            let schema = tx.schema().trim_end_matches('.').trim_matches('"').to_owned();
            (
                "select a.attname::text from pg_index i
                 join pg_class c on c.oid = i.indrelid
                 join pg_namespace n on n.oid = c.relnamespace
                 join pg_attribute a on a.attrelid = c.oid and a.attnum = any(i.indkey)
                 where i.indisprimary and n.nspname = ?1::text and c.relname = ?2::text",
                vec![schema.into(), table.into()],
            )
        }
    };
    let mut key = Vec::new();
    for row in tx.query_text(text, &params).await? {
        let name = row.text(0)?;
        if name != "bucket" && name != "customer_id" {
            key.push(name);
        }
    }
    key.sort();
    Ok(key)
}

/// The rows of a customer in a table.
pub(super) async fn lines(
    tx: &mut Tx,
    table: &str,
    stored: &[Stored],
    customer: CustomerId,
) -> Result<Vec<Line>> {
    let text = format!(
        "{} where bucket = ?1 and customer_id = ?2 limit {}",
        select(table, stored, ""),
        MOST_ROWS + 1
    );
    let rows = tx.query_text(&text, crate::params![bucket_of(customer), customer]).await?;
    rows.into_iter()
        .map(|row| {
            let mut line = Map::new();
            for (cell, column) in row.0.into_iter().zip(stored) {
                line.insert(column.name.clone(), value(cell, column)?);
            }
            Ok(line)
        })
        .collect()
}

/// Writes rows as a customer's own; gives the keys of those that were written. A row of the same
/// key that is there stays.
pub(super) async fn write(
    tx: &mut Tx,
    table: &str,
    stored: &[Stored],
    key: &[String],
    customer: CustomerId,
    lines: &[Line],
) -> Result<HashSet<String>> {
    let mut columns: Vec<Column<'_>> =
        vec![column("bucket", ColumnType::SmallInt), column("customer_id", ColumnType::Uuid)];
    let own: Vec<&Stored> =
        stored.iter().filter(|one| one.name != "bucket" && one.name != "customer_id").collect();
    columns.extend(own.iter().map(|one| column(&one.name, column_type(one, table))));
    let mut rows: Vec<Vec<Param>> = Vec::with_capacity(lines.len());
    for line in lines {
        let mut row: Vec<Param> = vec![bucket_of(customer).into(), customer.into()];
        for one in &own {
            // A column that came later has no value in an older row.
            row.push(param(line.get(&one.name).unwrap_or(&Json::Null), one)?);
        }
        rows.push(row);
    }
    let returning: Vec<String> = key.iter().map(|name| quoted(name)).collect();
    let returning = if returning.is_empty() { "bucket".to_owned() } else { returning.join(", ") };
    let written = insert_many(tx, table, &columns, &rows, OnConflict::Keep, &returning).await?;
    let of = |name: &String| stored.iter().find(|one| one.name == *name);
    written
        .into_iter()
        .map(|row| {
            let mut text = String::new();
            for (cell, name) in row.0.into_iter().zip(key) {
                let cell = match of(name) {
                    Some(one) => value(cell, one)?,
                    None => value(cell, &stored[0])?,
                };
                text.push_str(&cell.to_string());
                text.push('\n');
            }
            Ok(text)
        })
        .collect()
}

/// The key of a row, as `write` gives it.
pub(super) fn key_of(line: &Line, key: &[String]) -> String {
    let mut text = String::new();
    for name in key {
        text.push_str(&line.get(name).unwrap_or(&Json::Null).to_string());
        text.push('\n');
    }
    text
}

impl Mover {
    /// Moves every row; `None`, and nothing done, where there are too many.
    pub(super) async fn run(&self, tx: &mut Tx) -> Result<Option<Moved>> {
        let mut tables = owned(tx).await?;
        tables.retain(|table| !STAY.contains(&table.as_str()));
        let mut all = Vec::new();
        let mut count = 0;
        for table in tables {
            let stored = columns(tx, &table).await?;
            let lines = lines(tx, &table, &stored, self.lost).await?;
            count += lines.len();
            if count > MOST_ROWS {
                return Ok(None);
            }
            if !lines.is_empty() {
                all.push((table, stored, lines));
            }
        }
        let mut moved = Moved::default();
        let mut journal: Vec<Vec<Param>> = Vec::new();
        for (table, stored, lines) in all {
            let key = own_key(tx, &table).await?;
            let written = write(tx, &table, &stored, &key, self.kept, &lines).await?;
            for line in lines {
                let has_moved = written.contains(&key_of(&line, &key));
                if table == "consents" {
                    moved.withdrawn.extend(withdrawn(&line));
                }
                if let Some(merge) = self.merge {
                    journal.push(vec![
                        bucket_of(self.kept).into(),
                        self.kept.into(),
                        merge.into(),
                        (journal.len() as i64).into(),
                        table.as_str().into(),
                        i64::from(has_moved).into(),
                        Json::Object(line).to_string().into(),
                    ]);
                }
            }
            let text = format!(
                "delete from {{s}}{} where bucket = ?1 and customer_id = ?2",
                quoted(&table)
            );
            tx.execute_text(&text, crate::params![bucket_of(self.lost), self.lost]).await?;
        }
        let columns = [
            column("bucket", ColumnType::SmallInt),
            column("customer_id", ColumnType::Uuid),
            column("merge_id", ColumnType::Uuid),
            column("number", ColumnType::BigInt),
            column("table_name", ColumnType::Text),
            column("moved", ColumnType::SmallInt),
            column("line", ColumnType::Text),
        ];
        insert_many(tx, "merge_rows", &columns, &journal, OnConflict::Fail, "").await?;
        Ok(Some(moved))
    }
}

/// The channel and topic of a consent that was taken back.
fn withdrawn(line: &Line) -> Option<(i16, String)> {
    let text = |name: &str| line.get(name).and_then(Json::as_str);
    let channel = line.get("channel").and_then(Json::as_i64)?;
    let channel = i16::try_from(channel).ok()?;
    (text("state") == Some("withdrawn"))
        .then(|| (channel, text("topic").unwrap_or_default().into()))
}

/// Takes the rows with these keys away from a customer.
pub(super) async fn remove(
    tx: &mut Tx,
    table: &str,
    stored: &[Stored],
    key: &[String],
    customer: CustomerId,
    lines: &[Line],
) -> Result<()> {
    let of = |name: &String| stored.iter().find(|one| one.name == *name);
    let known: Vec<&Stored> = key.iter().filter_map(of).collect();
    let mut keys: Vec<Column<'_>> =
        vec![column("bucket", ColumnType::SmallInt), column("customer_id", ColumnType::Uuid)];
    keys.extend(known.iter().map(|one| column(&one.name, column_type(one, table))));
    let mut rows: Vec<Vec<Param>> = Vec::with_capacity(lines.len());
    for line in lines {
        let mut row: Vec<Param> = vec![bucket_of(customer).into(), customer.into()];
        for one in &known {
            row.push(param(line.get(&one.name).unwrap_or(&Json::Null), one)?);
        }
        rows.push(row);
    }
    crate::bulk::delete_many(tx, table, &keys, &rows).await.map(|_| ())
}

/// A line that was written down as text.
pub(super) fn line_of(text: &str) -> Line {
    serde_json::from_str(text).unwrap_or_default()
}
