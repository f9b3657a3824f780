//! Statements over many rows: one prepared statement in a loop on SQLite, one statement over
//! arrays on PostgreSQL. Where tables are partitioned by bucket, a batch is cut by bucket first,
//! so that every statement touches one partition.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tidings_domain::value::Storage;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::engines::{Connection, Layout, Tx, postgres, sqlite};
use crate::sql::{Dialect, Param, Row, quoted, spell};
use crate::{Error, Result};

/// The type of a column, as far as an array of its values must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ColumnType {
    SmallInt,
    Int,
    BigInt,
    Bool,
    Text,
    Uuid,
    Bytes,
    Json,
    List,
    /// Numbers as an array literal, on PostgreSQL only.
    Numbers,
}

impl From<Storage> for ColumnType {
    fn from(storage: Storage) -> ColumnType {
        match storage {
            Storage::Text => ColumnType::Text,
            Storage::Integer => ColumnType::BigInt,
            Storage::Boolean => ColumnType::Bool,
            Storage::List => ColumnType::List,
        }
    }
}

impl ColumnType {
    /// The array type that carries the column's values, and how one of them is read back.
    fn array(self) -> &'static str {
        match self {
            ColumnType::SmallInt => "smallint[]",
            ColumnType::Int => "integer[]",
            ColumnType::BigInt => "bigint[]",
            ColumnType::Bool => "boolean[]",
            ColumnType::Text | ColumnType::Json | ColumnType::List | ColumnType::Numbers => {
                "text[]"
            }
            ColumnType::Uuid => "uuid[]",
            ColumnType::Bytes => "bytea[]",
        }
    }

    fn unpacked(self, column: &str) -> String {
        match self {
            ColumnType::Json => format!("{column}::jsonb"),
            ColumnType::Numbers => format!("{column}::integer[]"),
            ColumnType::List => format!(
                "case when {column} is null then null else \
                 array(select jsonb_array_elements_text({column}::jsonb)) end"
            ),
            _ => column.to_owned(),
        }
    }
}

/// A column of a table: its name, which is quoted here, and its type.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    pub name: &'a str,
    pub kind: ColumnType,
}

pub const fn column(name: &str, kind: ColumnType) -> Column<'_> {
    Column { name, kind }
}

/// What an insert does with a row that is there already.
#[derive(Clone, Copy, Debug)]
pub enum OnConflict<'a> {
    /// It is an error.
    Fail,
    /// The row there stays.
    Keep,
    /// The given clause, after `on conflict`, in the shared spelling.
    Clause(&'a str),
}

enum Values<'r> {
    SmallInt(Vec<Option<i16>>),
    Int(Vec<Option<i32>>),
    BigInt(Vec<Option<i64>>),
    Bool(Vec<Option<bool>>),
    Text(Vec<Option<Cow<'r, str>>>),
    Uuid(Vec<Option<Uuid>>),
    Bytes(Vec<Option<&'r [u8]>>),
}

impl Values<'_> {
    fn as_sql(&self) -> &(dyn ToSql + Sync) {
        match self {
            Values::SmallInt(v) => v,
            Values::Int(v) => v,
            Values::BigInt(v) => v,
            Values::Bool(v) => v,
            Values::Text(v) => v,
            Values::Uuid(v) => v,
            Values::Bytes(v) => v,
        }
    }
}

fn wrong(param: &Param, kind: ColumnType) -> Error {
    Error::Invalid(format!("{param:?} does not fit {kind:?}"))
}

fn gather<'r, T>(
    rows: &[&'r Vec<Param>],
    at: usize,
    kind: ColumnType,
    take: impl Fn(&'r Param) -> Option<T>,
) -> Result<Vec<Option<T>>> {
    rows.iter()
        .map(|row| match &row[at] {
            Param::Null => Ok(None),
            param => take(param).map(Some).ok_or_else(|| wrong(param, kind)),
        })
        .collect()
}

fn integer<T: TryFrom<i64>>(param: &Param) -> Option<T> {
    match param {
        Param::Int(value) => T::try_from(*value).ok(),
        _ => None,
    }
}

fn values<'r>(rows: &[&'r Vec<Param>], at: usize, kind: ColumnType) -> Result<Values<'r>> {
    Ok(match kind {
        ColumnType::SmallInt => Values::SmallInt(gather(rows, at, kind, integer)?),
        ColumnType::Int => Values::Int(gather(rows, at, kind, integer)?),
        ColumnType::BigInt => Values::BigInt(gather(rows, at, kind, integer)?),
        ColumnType::Bool => Values::Bool(gather(rows, at, kind, |param| match param {
            Param::Bool(value) => Some(*value),
            _ => None,
        })?),
        ColumnType::Text | ColumnType::Json | ColumnType::List | ColumnType::Numbers => {
            Values::Text(gather(rows, at, kind, |param| match param {
                Param::Text(value) => Some(Cow::Borrowed(value.as_str())),
                Param::Json(json) => Some(json.to_string().into()),
                Param::List(items) => {
                    Some(serde_json::Value::from(items.as_slice()).to_string().into())
                }
                _ => None,
            })?)
        }
        ColumnType::Uuid => Values::Uuid(gather(rows, at, kind, |param| match param {
            Param::Uuid(value) => Some(*value),
            _ => None,
        })?),
        ColumnType::Bytes => Values::Bytes(gather(rows, at, kind, |param| match param {
            Param::Bytes(value) => Some(value.as_slice()),
            _ => None,
        })?),
    })
}

/// The rows as columns, ready to be parameters of one statement.
fn transposed<'r>(columns: &[Column<'_>], rows: &[&'r Vec<Param>]) -> Result<Vec<Values<'r>>> {
    columns.iter().enumerate().map(|(at, column)| values(rows, at, column.kind)).collect()
}

/// `unnest($1::…, …) as u(c0, …)`.
fn unnest(columns: &[Column<'_>]) -> String {
    let arrays: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| format!("?{}::{}", at + 1, column.kind.array()))
        .collect();
    let names: Vec<String> = (0..columns.len()).map(|at| format!("c{at}")).collect();
    format!("unnest({}) as u({})", arrays.join(", "), names.join(", "))
}

/// Cuts rows by their first column, the bucket, where the layout asks for it.
fn cut(layout: Layout, rows: &[Vec<Param>]) -> Vec<(Option<i16>, Vec<&Vec<Param>>)> {
    if layout == Layout::Plain {
        return vec![(None, rows.iter().collect())];
    }
    let mut by_bucket: BTreeMap<i16, Vec<&Vec<Param>>> = BTreeMap::new();
    for row in rows {
        let bucket = row.first().and_then(integer).unwrap_or_default();
        by_bucket.entry(bucket).or_default().push(row);
    }
    by_bucket.into_iter().map(|(bucket, rows)| (Some(bucket), rows)).collect()
}

/// The condition that joins table `t` with the given keys `u`. Where a batch is cut by bucket, its
/// one bucket is the parameter behind the `columns` that are arrays: a plan then touches one
/// partition, and the text is the same for all of them.
fn joined(layout: Layout, keys: &[Column<'_>], columns: usize) -> String {
    let mut parts: Vec<String> = Vec::with_capacity(keys.len());
    for (at, key) in keys.iter().enumerate() {
        let name = quoted(key.name);
        match layout {
            Layout::Partitioned if at == 0 => parts.push(format!("t.{name} = ?{}", columns + 1)),
            _ => parts.push(format!("t.{name} = u.c{at}")),
        }
    }
    parts.join(" and ")
}

/// The parameters of a statement over arrays: the columns, and the bucket where there is one.
fn parameters<'v>(
    values: &'v [Values<'_>],
    bucket: &'v Option<i16>,
) -> Vec<&'v (dyn ToSql + Sync)> {
    let mut params: Vec<&(dyn ToSql + Sync)> = values.iter().map(Values::as_sql).collect();
    if let Some(bucket) = bucket {
        params.push(bucket);
    }
    params
}

fn placeholders(from: usize, count: usize) -> String {
    let list: Vec<String> = (from..from + count).map(|at| format!("?{at}")).collect();
    list.join(", ")
}

fn list(columns: &[Column<'_>]) -> String {
    let names: Vec<String> = columns.iter().map(|column| quoted(column.name)).collect();
    names.join(", ")
}

/// Inserts rows. With `returning`, gives those columns of the rows that were written.
pub async fn insert_many(
    tx: &mut Tx,
    table: &str,
    columns: &[Column<'_>],
    rows: &[Vec<Param>],
    conflict: OnConflict<'_>,
    returning: &str,
) -> Result<Vec<Row>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let conflict = match conflict {
        OnConflict::Fail => String::new(),
        OnConflict::Keep => " on conflict do nothing".to_owned(),
        OnConflict::Clause(clause) => format!(" on conflict {clause}"),
    };
    let returning =
        if returning.is_empty() { String::new() } else { format!(" returning {returning}") };
    let into = format!("insert into {{s}}{} as t ({})", quoted(table), list(columns));
    let text = match tx.dialect() {
        Dialect::Sqlite => {
            format!("{into} values ({}){conflict}{returning}", placeholders(1, columns.len()))
        }
        Dialect::Postgres => {
            let picked: Vec<String> = columns
                .iter()
                .enumerate()
                .map(|(at, column)| column.kind.unpacked(&format!("u.c{at}")))
                .collect();
            format!(
                "{into} select {} from {}{conflict}{returning}",
                picked.join(", "),
                unnest(columns)
            )
        }
    };
    tx.written += rows.len() as u64;
    tx.touched.rows(table, columns, rows, false);
    let text = spell(&text, tx.dialect(), tx.schema());
    match &tx.connection {
        Connection::Sqlite(connection) if returning.is_empty() => {
            sqlite::execute_each(connection, &text, rows.iter())?;
            Ok(Vec::new())
        }
        Connection::Sqlite(connection) => sqlite::query_each(connection, &text, rows.iter()),
        Connection::Postgres(client) => {
            let mut written = Vec::new();
            for (_, part) in cut(tx.layout, rows) {
                let values = transposed(columns, &part)?;
                let params: Vec<_> = values.iter().map(Values::as_sql).collect();
                written.append(&mut postgres::query_columns(client, &text, &params).await?);
            }
            Ok(written)
        }
    }
}

/// Rows of a table by their keys; the answer has no order and no row for a key that is not there.
/// `keys` start with the bucket; `wanted` is a list of columns in the shared spelling, with `t.`.
pub async fn select_many(
    tx: &mut Tx,
    table: &str,
    wanted: &str,
    keys: &[Column<'_>],
    rows: &[Vec<Param>],
    condition: &str,
) -> Result<Vec<Row>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let table = quoted(table);
    let condition =
        if condition.is_empty() { String::new() } else { format!(" and ({condition})") };
    match &tx.connection {
        Connection::Sqlite(connection) => {
            // The bucket stands outside the keys on SQLite; its parameter is simply not used.
            let by: Vec<String> = keys
                .iter()
                .enumerate()
                .skip(1)
                .map(|(at, key)| format!("t.{} = ?{}", quoted(key.name), at))
                .collect();
            let text = format!(
                "select {wanted} from {{s}}{table} t where {}{condition}",
                by.join(" and ")
            );
            let text = spell(&text, Dialect::Sqlite, tx.schema());
            sqlite::query_each(connection, &text, rows.iter().map(|row| &row[1..]))
        }
        Connection::Postgres(client) => {
            let mut found = Vec::new();
            let text = format!(
                "select {wanted} from {} join {{s}}{table} t on {}{condition}",
                unnest(keys),
                joined(tx.layout, keys, keys.len())
            );
            let text = spell(&text, Dialect::Postgres, tx.schema());
            for (bucket, part) in cut(tx.layout, rows) {
                let values = transposed(keys, &part)?;
                let params = parameters(&values, &bucket);
                found.append(&mut postgres::query_columns(client, &text, &params).await?);
            }
            Ok(found)
        }
    }
}

/// Sets columns of rows by their keys; each given row holds the keys, then the new values.
/// `keys` start with the bucket. `condition` may look at `t.` and, for the new values, at nothing.
pub async fn update_many(
    tx: &mut Tx,
    table: &str,
    keys: &[Column<'_>],
    set: &[Column<'_>],
    rows: &[Vec<Param>],
    condition: &str,
    returning: &str,
) -> Result<Vec<Row>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    tx.touched.rows(table, keys, rows, false);
    let table = quoted(table);
    let condition =
        if condition.is_empty() { String::new() } else { format!(" and ({condition})") };
    let all: Vec<Column<'_>> = keys.iter().chain(set).copied().collect();
    match &tx.connection {
        Connection::Sqlite(connection) => {
            let by: Vec<String> = keys
                .iter()
                .enumerate()
                .skip(1)
                .map(|(at, key)| format!("t.{} = ?{}", quoted(key.name), at))
                .collect();
            let assigned: Vec<String> = set
                .iter()
                .enumerate()
                .map(|(at, column)| format!("{} = ?{}", quoted(column.name), keys.len() + at))
                .collect();
            let returning = returning_clause(returning, "");
            let text = format!(
                "update {{s}}{table} as t set {} where {}{condition}{returning}",
                assigned.join(", "),
                by.join(" and ")
            );
            let text = spell(&text, Dialect::Sqlite, tx.schema());
            let sets = rows.iter().map(|row| &row[1..]);
            if returning.is_empty() {
                sqlite::execute_each(connection, &text, sets)?;
                Ok(Vec::new())
            } else {
                sqlite::query_each(connection, &text, sets)
            }
        }
        Connection::Postgres(client) => {
            let assigned: Vec<String> = set
                .iter()
                .enumerate()
                .map(|(at, column)| {
                    let value = column.kind.unpacked(&format!("u.c{}", keys.len() + at));
                    format!("{} = {value}", quoted(column.name))
                })
                .collect();
            let mut written = Vec::new();
            let text = format!(
                "update {{s}}{table} as t set {} from {} where {}{condition}{}",
                assigned.join(", "),
                unnest(&all),
                joined(tx.layout, keys, all.len()),
                returning_clause(returning, "t.")
            );
            let text = spell(&text, Dialect::Postgres, tx.schema());
            for (bucket, part) in cut(tx.layout, rows) {
                let values = transposed(&all, &part)?;
                let params = parameters(&values, &bucket);
                written.append(&mut postgres::query_columns(client, &text, &params).await?);
            }
            Ok(written)
        }
    }
}

/// Deletes rows by their keys, which start with the bucket; gives how many there were.
pub async fn delete_many(
    tx: &mut Tx,
    table: &str,
    keys: &[Column<'_>],
    rows: &[Vec<Param>],
) -> Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    tx.touched.rows(table, keys, rows, true);
    let table = quoted(table);
    match &tx.connection {
        Connection::Sqlite(connection) => {
            let by: Vec<String> = keys
                .iter()
                .enumerate()
                .skip(1)
                .map(|(at, key)| format!("{} = ?{}", quoted(key.name), at))
                .collect();
            let text = format!("delete from {{s}}{table} where {}", by.join(" and "));
            let text = spell(&text, Dialect::Sqlite, tx.schema());
            sqlite::execute_each(connection, &text, rows.iter().map(|row| &row[1..]))
        }
        Connection::Postgres(client) => {
            let mut touched = 0;
            let text = format!(
                "delete from {{s}}{table} as t using {} where {}",
                unnest(keys),
                joined(tx.layout, keys, keys.len())
            );
            let text = spell(&text, Dialect::Postgres, tx.schema());
            for (bucket, part) in cut(tx.layout, rows) {
                let values = transposed(keys, &part)?;
                let params = parameters(&values, &bucket);
                touched += postgres::execute_columns(client, &text, &params).await?;
            }
            Ok(touched)
        }
    }
}

fn returning_clause(columns: &str, prefix: &str) -> String {
    if columns.is_empty() {
        return String::new();
    }
    let named: Vec<String> =
        columns.split(',').map(|name| format!("{prefix}{}", name.trim())).collect();
    format!(" returning {}", named.join(", "))
}

/// `select_many` that locks the rows until the transaction ends. Only PostgreSQL needs it: SQLite
/// has one writer.
pub async fn lock_many(
    tx: &mut Tx,
    table: &str,
    wanted: &str,
    keys: &[Column<'_>],
    rows: &[Vec<Param>],
) -> Result<Vec<Row>> {
    let Connection::Postgres(client) = &tx.connection else {
        return select_many(tx, table, wanted, keys, rows, "").await;
    };
    let mut found = Vec::new();
    let order: Vec<String> = keys.iter().map(|key| format!("t.{}", quoted(key.name))).collect();
    let text = format!(
        "select {wanted} from {} join {{s}}{} t on {} order by {} for no key update of t",
        unnest(keys),
        quoted(table),
        joined(tx.layout, keys, keys.len()),
        order.join(", ")
    );
    let text = spell(&text, Dialect::Postgres, tx.schema());
    for (bucket, part) in cut(tx.layout, rows) {
        let values = transposed(keys, &part)?;
        let params = parameters(&values, &bucket);
        found.append(&mut postgres::query_columns(client, &text, &params).await?);
    }
    Ok(found)
}
