//! Filling one table of the target: `COPY` on PostgreSQL, one prepared statement in commits of
//! bounded size on SQLite.

use bytes::Bytes;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};

use super::REPORT_EVERY;
use super::format::{Item, Mark, Reader, Table};
use super::sums::Sums;
use super::tables::{Stored, columns, param};
use crate::engines::{Connection, Tx, postgres, sqlite};
use crate::sql::{Param, quoted};
use crate::{Error, Result};

/// Rows of one commit on SQLite.
const ROWS_AT_ONCE: usize = 10_000;

/// Loads the rows that follow a table's mark, and gives the sums that the archive has for them.
/// `extra` is a column that archives leave out, with the value that every row gets.
pub async fn load(
    tx: &mut Tx,
    reader: &mut Reader,
    table: &Table,
    extra: Option<(&str, Param)>,
    mut report: impl FnMut(u64),
) -> Result<Sums> {
    let name = &table.name;
    let into = known_columns(tx, table).await?;
    let mut rows = Rows { reader, columns: &into, extra: extra.as_ref().map(|(_, value)| value) };
    let mut names: Vec<String> = into.iter().map(|one| quoted(&one.name)).collect();
    names.extend(extra.as_ref().map(|(column, _)| quoted(column)));
    match tx.dialect() {
        crate::sql::Dialect::Sqlite => insert(tx, &mut rows, name, &names, &mut report).await,
        crate::sql::Dialect::Postgres => {
            let mut types = Vec::with_capacity(names.len());
            for column in &into {
                types.push(type_of(&column.stored)?);
            }
            types.extend(extra.as_ref().map(|_| Type::BOOL));
            copy(tx, &mut rows, name, &names, &types, &mut report).await
        }
    }
    .map_err(|error| match error {
        Error::Database(text) => Error::Database(format!("load {name}: {text}")),
        Error::Conflict(text) => Error::Conflict(format!("load {name}: {text}")),
        other => other,
    })
}

/// The rows that follow a small table's mark, with the names of their columns.
pub async fn collect(
    tx: &mut Tx,
    reader: &mut Reader,
    table: &Table,
) -> Result<(Vec<String>, Vec<Vec<Param>>)> {
    let into = known_columns(tx, table).await?;
    let mut rows = Rows { reader, columns: &into, extra: None };
    let mut all = Vec::new();
    while let Next::Row(row) = rows.next()? {
        all.push(row);
    }
    Ok((into.into_iter().map(|column| column.name).collect(), all))
}

/// The columns here that a table of the archive goes into.
async fn known_columns(tx: &mut Tx, table: &Table) -> Result<Vec<Stored>> {
    let name = &table.name;
    let here = columns(tx, name).await?;
    if here.is_empty() {
        return Err(Error::Invalid(format!("the archive has the unknown table {name}")));
    }
    let mut into: Vec<Stored> = Vec::with_capacity(table.columns.len());
    for (column, kind) in &table.columns {
        let known = here.iter().find(|one| one.name == *column && one.kind == *kind);
        let known =
            known.ok_or_else(|| Error::Invalid(format!("{name} has no column {column} here")))?;
        into.push(known.clone());
    }
    Ok(into)
}

/// The rows of one table as they come out of the archive.
struct Rows<'a> {
    reader: &'a mut Reader,
    columns: &'a [Stored],
    extra: Option<&'a Param>,
}

enum Next {
    Row(Vec<Param>),
    End(Sums),
}

impl Rows<'_> {
    fn next(&mut self) -> Result<Next> {
        match self.reader.next()? {
            Some(Item::Row(values)) => {
                let mut row: Vec<Param> = Vec::with_capacity(values.len() + 1);
                for (value, column) in values.iter().zip(self.columns) {
                    row.push(param(value, column)?);
                }
                row.extend(self.extra.cloned());
                Ok(Next::Row(row))
            }
            Some(Item::Mark(Mark::EndTable(sums))) => Ok(Next::End(sums)),
            _ => Err(Error::Corrupt("the archive is damaged: a table has no end".to_owned())),
        }
    }
}

async fn insert(
    tx: &mut Tx,
    rows: &mut Rows<'_>,
    table: &str,
    names: &[String],
    report: &mut impl FnMut(u64),
) -> Result<Sums> {
    let places: Vec<String> = (1..=names.len()).map(|at| format!("?{at}")).collect();
    let text = format!(
        "insert into main.{} ({}) values ({})",
        quoted(table),
        names.join(", "),
        places.join(", ")
    );
    let mut done = 0;
    loop {
        let mut batch: Vec<Vec<Param>> = Vec::new();
        let mut end = None;
        while batch.len() < ROWS_AT_ONCE && end.is_none() {
            match rows.next()? {
                Next::Row(row) => batch.push(row),
                Next::End(sums) => end = Some(sums),
            }
        }
        tx.script("begin immediate").await?;
        if let Connection::Sqlite(connection) = &tx.connection {
            sqlite::execute_each(connection, &text, batch.iter())?;
        }
        tx.script("commit").await?;
        done += batch.len() as u64;
        report(done);
        if let Some(sums) = end {
            return Ok(sums);
        }
    }
}

async fn copy(
    tx: &mut Tx,
    rows: &mut Rows<'_>,
    table: &str,
    names: &[String],
    types: &[Type],
    report: &mut impl FnMut(u64),
) -> Result<Sums> {
    let text =
        format!("copy {}{} ({}) from stdin binary", tx.schema(), quoted(table), names.join(", "));
    let Connection::Postgres(client) = &tx.connection else {
        return Err(Error::Invalid("copy is PostgreSQL's".to_owned()));
    };
    let sink = client.copy_in::<_, Bytes>(&text).await.map_err(postgres::fault)?;
    let mut writer = std::pin::pin!(BinaryCopyInWriter::new(sink, types));
    let mut done = 0;
    loop {
        let row = match rows.next()? {
            Next::Row(row) => row,
            Next::End(sums) => {
                writer.finish().await.map_err(postgres::fault)?;
                report(done);
                return Ok(sums);
            }
        };
        let values: Vec<&(dyn ToSql + Sync)> = row.iter().map(|value| value as _).collect();
        writer.as_mut().write(&values).await.map_err(postgres::fault)?;
        done += 1;
        if done % REPORT_EVERY == 0 {
            report(done);
        }
    }
}

fn type_of(stored: &str) -> Result<Type> {
    Ok(match stored {
        "smallint" => Type::INT2,
        "integer" => Type::INT4,
        "bigint" => Type::INT8,
        "boolean" => Type::BOOL,
        "text" => Type::TEXT,
        "jsonb" => Type::JSONB,
        "text[]" => Type::TEXT_ARRAY,
        "uuid" => Type::UUID,
        "bytea" => Type::BYTEA,
        other => return Err(Error::Corrupt(format!("the unknown type {other}"))),
    })
}
