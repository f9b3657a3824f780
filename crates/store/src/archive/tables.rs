//! Which tables a database has, and their rows in the one form that both engines share.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tidings_domain::json::canonical;

use super::format::Table;
use crate::engines::Tx;
use crate::hex::{hex, unhex};
use crate::sql::{Cell, Dialect, Param, quoted};
use crate::{Error, Result};

/// What a column holds, as an archive tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Integer,
    Text,
    Blob,
}

/// A column as it stands in a database: `stored` is the engine's own type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub name: String,
    pub stored: String,
    pub kind: Kind,
}

/// Tables that are no data: what ran here, who is signed in, which nodes live, a restore's mark, and
/// what is made of other tables.
const LEFT_OUT: &[&str] =
    &["migrations", "sessions", "nodes", "restoring", "search_texts", "search_pending"];
/// Tables that must be there before the others can be made.
pub const CATALOGUE: &[&str] = &["meta", "attributes", "user_tables", "user_fields"];
/// How a workspace is laid out is its engine's affair, so it is kept beside the rows.
const LAYOUT: (&str, &str) = ("workspaces", "partitioned");

/// The names of the tables with data, the catalogue first.
pub async fn tables(tx: &mut Tx) -> Result<Vec<String>> {
    let text = match tx.dialect() {
        Dialect::Sqlite => {
            "select name from pragma_table_list
             where schema = 'main' and type = 'table' and name not like 'sqlite\\_%' escape '\\'"
        }
        Dialect::Postgres => {
            "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where n.nspname = ?1::text and c.relkind in ('r', 'p') and not c.relispartition"
        }
    };
    let params = schema_param(tx);
    let rows = tx.query_text(text, &params).await?;
    let mut names: Vec<String> = rows.iter().map(|row| row.text(0)).collect::<Result<_>>()?;
    names.retain(|name| !LEFT_OUT.contains(&name.as_str()));
    names.sort_by_key(|name| {
        let place = CATALOGUE.iter().position(|first| first == name);
        (place.unwrap_or(CATALOGUE.len()), name.clone())
    });
    Ok(names)
}

/// The bare name of the schema as a parameter; SQLite asks for none.
fn schema_param(tx: &Tx) -> Vec<Param> {
    match tx.dialect() {
        Dialect::Sqlite => Vec::new(),
        Dialect::Postgres => vec![tx.schema().trim_end_matches('.').trim_matches('"').into()],
    }
}

/// The columns of a table in the order of their names, without those that only say how it is laid
/// out.
pub async fn columns(tx: &mut Tx, table: &str) -> Result<Vec<Stored>> {
    let mut params = schema_param(tx);
    params.push(table.into());
    let text = match tx.dialect() {
        Dialect::Sqlite => "select name, lower(type) from pragma_table_info(?1)",
        Dialect::Postgres => {
            "select a.attname::text, format_type(a.atttypid, null) from pg_attribute a
             join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
             where n.nspname = ?1::text and c.relname = ?2::text
               and a.attnum > 0 and not a.attisdropped"
        }
    };
    let mut found = Vec::new();
    for row in tx.query_text(text, &params).await? {
        let (name, stored) = (row.text(0)?, row.text(1)?);
        if (table, name.as_str()) == LAYOUT {
            continue;
        }
        let kind = match stored.as_str() {
            "integer" | "bigint" | "smallint" | "boolean" => Kind::Integer,
            "text" | "jsonb" | "text[]" => Kind::Text,
            "blob" | "bytea" | "uuid" => Kind::Blob,
            other => {
                let place = format!("{table}.{name}");
                return Err(Error::Corrupt(format!("{place} has the unknown type {other}")));
            }
        };
        found.push(Stored { name, stored, kind });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

pub fn heading(name: &str, columns: &[Stored]) -> Table {
    let columns = columns.iter().map(|one| (one.name.clone(), one.kind)).collect();
    Table { name: name.to_owned(), columns }
}

/// Where the bucket stands that a table's rows are divided by.
pub fn bucket_column(columns: &[(String, Kind)]) -> Option<usize> {
    let at = |name: &str| columns.iter().position(|(column, _)| column == name);
    at("ibucket").or_else(|| at("bucket"))
}

/// `select` of every row that is wanted, in the engine's own order.
pub fn select(table: &str, columns: &[Stored], wanted: &str) -> String {
    let names: Vec<String> = columns.iter().map(|one| quoted(&one.name)).collect();
    format!("select {} from {{s}}{}{wanted}", names.join(", "), quoted(table))
}

/// Which rows of a table of the system database belong to one workspace. A table that says nothing
/// of workspaces holds what is the hub's own.
pub fn of_workspace(table: &str, columns: &[Stored], number: i32) -> String {
    let id = format!("(select id from {{s}}workspaces where number = {number})");
    let people = format!("(select user_id from {{s}}roles where workspace_id = {id})");
    let has = |name: &str| columns.iter().any(|column| column.name == name);
    match table {
        "workspaces" => format!(" where number = {number}"),
        "users" => format!(" where id in {people}"),
        // The links of its mails and its audit log hang on the root, which is sealed.
        "settings" => " where key = 'root'".to_owned(),
        _ if has("workspace_id") => format!(" where workspace_id = {id}"),
        _ if has("user_id") => format!(" where user_id in {people}"),
        _ => " where 1 = 0".to_owned(),
    }
}

/// Writes a row's line into a buffer.
pub fn write_line(line: &mut Vec<u8>, cells: Vec<Cell>, columns: &[Stored]) -> Result<()> {
    line.clear();
    line.push(b'[');
    for (at, (cell, column)) in cells.into_iter().zip(columns).enumerate() {
        if at > 0 {
            line.push(b',');
        }
        let value = value(cell, column)?;
        serde_json::to_writer(&mut *line, &value).map_err(|e| Error::Corrupt(e.to_string()))?;
    }
    line.push(b']');
    Ok(())
}

pub fn value(cell: Cell, column: &Stored) -> Result<Json> {
    Ok(match (cell, column.kind) {
        (Cell::Null, _) => Json::Null,
        (Cell::Int(number), Kind::Integer) => Json::from(number),
        (Cell::Bool(flag), Kind::Integer) => Json::from(i64::from(flag)),
        (Cell::Text(text), Kind::Text) => Json::from(text),
        (Cell::Json(json), Kind::Text) => Json::from(canonical(json).to_string()),
        (Cell::List(items), Kind::Text) => Json::from(Json::from(items).to_string()),
        (Cell::Uuid(id), Kind::Blob) => Json::from(hex(id.as_bytes())),
        (Cell::Bytes(bytes), Kind::Blob) => Json::from(hex(&bytes)),
        (cell, kind) => {
            let name = &column.name;
            return Err(Error::Corrupt(format!("{name}: expected {kind:?}, found {cell:?}")));
        }
    })
}

/// A value of an archive as a parameter for a column of the target.
pub fn param(value: &Json, column: &Stored) -> Result<Param> {
    let wrong =
        || Error::Corrupt(format!("{}: {value} does not fit {}", column.name, column.stored));
    Ok(match (value, column.stored.as_str()) {
        (Json::Null, _) => Param::Null,
        (Json::Number(number), "boolean") => Param::Bool(number.as_i64().ok_or_else(wrong)? != 0),
        (Json::Number(number), "integer" | "bigint" | "smallint") => {
            Param::Int(number.as_i64().ok_or_else(wrong)?)
        }
        (Json::String(text), "text") => Param::Text(text.clone()),
        (Json::String(text), "jsonb") => {
            Param::Json(serde_json::from_str(text).map_err(|_| wrong())?)
        }
        (Json::String(text), "text[]") => {
            Param::List(serde_json::from_str(text).map_err(|_| wrong())?)
        }
        (Json::String(text), "blob" | "bytea") => Param::Bytes(unhex(text).ok_or_else(wrong)?),
        (Json::String(text), "uuid") => {
            let bytes = unhex(text).ok_or_else(wrong)?;
            Param::Uuid(uuid::Uuid::from_slice(&bytes).map_err(|_| wrong())?)
        }
        _ => return Err(wrong()),
    })
}
