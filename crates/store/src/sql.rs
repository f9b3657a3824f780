//! Statements, parameters and rows in the form both engines share.
//!
//! Statements are written once, with `?1`, `?2` … for parameters and `{s}` before every table of
//! the workspace; `engines` turns that into each engine's own spelling.

use std::collections::HashMap;

use tidings_domain::Timestamp;
use tidings_domain::value::{Storage, Value};
use uuid::Uuid;

use crate::{Error, Result};

/// Which engine a generated statement is for, where the two differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

/// What a statement touches; the guard test holds one-bucket statements to their word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Names one customer's bucket and touches one partition.
    Bucket,
    /// Names one identity's or key's bucket and touches one partition.
    Identity,
    /// Small tables of definitions, or the workspace's own bookkeeping.
    Reference,
    /// Reads or writes over all buckets, on purpose.
    FanOut,
}

/// One statement with its name and class.
#[derive(Debug)]
pub struct Sql {
    pub name: &'static str,
    pub class: Class,
    pub text: &'static str,
}

impl Sql {
    pub const fn bucket(name: &'static str, text: &'static str) -> Sql {
        Sql { name, class: Class::Bucket, text }
    }

    pub const fn identity(name: &'static str, text: &'static str) -> Sql {
        Sql { name, class: Class::Identity, text }
    }

    pub const fn reference(name: &'static str, text: &'static str) -> Sql {
        Sql { name, class: Class::Reference, text }
    }

    pub const fn fan_out(name: &'static str, text: &'static str) -> Sql {
        Sql { name, class: Class::FanOut, text }
    }
}

/// A parameter of a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Param {
    Null,
    Int(i64),
    Real(f64),
    Bool(bool),
    Text(String),
    Uuid(Uuid),
    Bytes(Vec<u8>),
    /// A list of texts: a JSON array on SQLite, `text[]` on PostgreSQL.
    List(Vec<String>),
    /// JSON: text on SQLite, `jsonb` on PostgreSQL.
    Json(serde_json::Value),
}

macro_rules! params {
    ($($from:ty => |$value:ident| $make:expr;)*) => {$(
        impl From<$from> for Param {
            fn from($value: $from) -> Param {
                $make
            }
        }
    )*};
}

params! {
    i64 => |v| Param::Int(v);
    i32 => |v| Param::Int(i64::from(v));
    i16 => |v| Param::Int(i64::from(v));
    u16 => |v| Param::Int(i64::from(v));
    u32 => |v| Param::Int(i64::from(v));
    bool => |v| Param::Bool(v);
    f64 => |v| Param::Real(v);
    &str => |v| Param::Text(v.to_owned());
    String => |v| Param::Text(v);
    &String => |v| Param::Text(v.clone());
    Uuid => |v| Param::Uuid(v);
    Timestamp => |v| Param::Int(v.0);
    Vec<u8> => |v| Param::Bytes(v);
    Value => |v| match v {
        Value::Text(text) => Param::Text(text),
        Value::Integer(number) => Param::Int(number),
        Value::Boolean(flag) => Param::Bool(flag),
        Value::List(items) => Param::List(items),
    };
}

impl<T: Into<Param>> From<Option<T>> for Param {
    fn from(value: Option<T>) -> Param {
        value.map_or(Param::Null, Into::into)
    }
}

macro_rules! id_params {
    ($($id:ident),*) => {$(
        impl From<tidings_domain::$id> for Param {
            fn from(id: tidings_domain::$id) -> Param {
                Param::Uuid(id.0)
            }
        }
    )*};
}
id_params!(
    WorkspaceId,
    CustomerId,
    EventId,
    GroupId,
    SegmentId,
    TemplateId,
    BlockId,
    ImageId,
    CampaignId,
    AlertId,
    DeliveryId,
    ImportId,
    JobId,
    NodeId,
    UserId,
    TokenId,
    TopicId,
    FormId,
    SignUpId,
    RelayId
);

/// Builds a parameter list from values of different types.
#[macro_export]
macro_rules! params {
    () => { &[] as &[$crate::sql::Param] };
    ($($value:expr),+ $(,)?) => { &[$($crate::sql::Param::from($value)),+] as &[$crate::sql::Param] };
}

/// One value of a row, as the engine gave it.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    Int(i64),
    Real(f64),
    Bool(bool),
    Text(String),
    Uuid(Uuid),
    Bytes(Vec<u8>),
    List(Vec<String>),
    Json(serde_json::Value),
}

/// One row of an answer; values are taken by position.
#[derive(Clone, Debug, PartialEq)]
pub struct Row(pub Vec<Cell>);

impl Row {
    fn wrong(&self, at: usize, wanted: &str) -> Error {
        Error::Corrupt(format!("column {at}: expected {wanted}, found {:?}", self.0.get(at)))
    }

    pub fn is_null(&self, at: usize) -> bool {
        matches!(self.0.get(at), Some(Cell::Null))
    }

    pub fn int(&self, at: usize) -> Result<i64> {
        match self.0.get(at) {
            Some(Cell::Int(value)) => Ok(*value),
            _ => Err(self.wrong(at, "an integer")),
        }
    }

    /// An integer that is known to fit a smaller type.
    pub fn small<T: TryFrom<i64>>(&self, at: usize) -> Result<T> {
        T::try_from(self.int(at)?).map_err(|_| self.wrong(at, "a small integer"))
    }

    pub fn opt_int(&self, at: usize) -> Result<Option<i64>> {
        if self.is_null(at) { Ok(None) } else { self.int(at).map(Some) }
    }

    pub fn real(&self, at: usize) -> Result<f64> {
        match self.0.get(at) {
            Some(Cell::Real(value)) => Ok(*value),
            Some(Cell::Int(value)) => Ok(*value as f64),
            _ => Err(self.wrong(at, "a number")),
        }
    }

    pub fn bool(&self, at: usize) -> Result<bool> {
        match self.0.get(at) {
            Some(Cell::Bool(value)) => Ok(*value),
            Some(Cell::Int(value)) => Ok(*value != 0),
            _ => Err(self.wrong(at, "a boolean")),
        }
    }

    pub fn text(&self, at: usize) -> Result<String> {
        match self.0.get(at) {
            Some(Cell::Text(value)) => Ok(value.clone()),
            _ => Err(self.wrong(at, "a text")),
        }
    }

    pub fn opt_text(&self, at: usize) -> Result<Option<String>> {
        if self.is_null(at) { Ok(None) } else { self.text(at).map(Some) }
    }

    pub fn uuid(&self, at: usize) -> Result<Uuid> {
        match self.0.get(at) {
            Some(Cell::Uuid(value)) => Ok(*value),
            Some(Cell::Bytes(bytes)) => {
                Uuid::from_slice(bytes).map_err(|_| self.wrong(at, "an id"))
            }
            _ => Err(self.wrong(at, "an id")),
        }
    }

    pub fn opt_uuid(&self, at: usize) -> Result<Option<Uuid>> {
        if self.is_null(at) { Ok(None) } else { self.uuid(at).map(Some) }
    }

    pub fn bytes(&self, at: usize) -> Result<Vec<u8>> {
        match self.0.get(at) {
            Some(Cell::Bytes(value)) => Ok(value.clone()),
            Some(Cell::Uuid(value)) => Ok(value.as_bytes().to_vec()),
            _ => Err(self.wrong(at, "bytes")),
        }
    }

    pub fn opt_bytes(&self, at: usize) -> Result<Option<Vec<u8>>> {
        if self.is_null(at) { Ok(None) } else { self.bytes(at).map(Some) }
    }

    pub fn json(&self, at: usize) -> Result<serde_json::Value> {
        match self.0.get(at) {
            Some(Cell::Json(value)) => Ok(value.clone()),
            Some(Cell::Text(text)) => {
                serde_json::from_str(text).map_err(|_| self.wrong(at, "JSON"))
            }
            Some(Cell::Null) => Ok(serde_json::Value::Null),
            _ => Err(self.wrong(at, "JSON")),
        }
    }

    pub fn time(&self, at: usize) -> Result<Timestamp> {
        self.int(at).map(Timestamp)
    }

    pub fn opt_time(&self, at: usize) -> Result<Option<Timestamp>> {
        Ok(self.opt_int(at)?.map(Timestamp))
    }

    /// The value of an attribute or field of this storage; `None` where it is missing.
    pub fn value(&self, at: usize, storage: Storage) -> Result<Option<Value>> {
        if self.is_null(at) {
            return Ok(None);
        }
        let value = match storage {
            Storage::Text => Value::Text(self.text(at)?),
            Storage::Integer => Value::Integer(self.int(at)?),
            Storage::Boolean => Value::Boolean(self.bool(at)?),
            Storage::List => match self.0.get(at) {
                Some(Cell::List(items)) => Value::List(items.clone()),
                Some(Cell::Text(text)) => Value::List(
                    serde_json::from_str(text).map_err(|_| self.wrong(at, "a list of texts"))?,
                ),
                _ => return Err(self.wrong(at, "a list of texts")),
            },
        };
        Ok(Some(value))
    }
}

/// Quotes a name for use in a statement; both engines take standard quotes.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Spells a shared statement for one engine: fills in the schema, and for PostgreSQL turns `?1`
/// into `$1`. Question marks inside quotes are left alone.
pub fn spell(text: &str, dialect: Dialect, schema: &str) -> String {
    let mut spelled = String::with_capacity(text.len() + 64);
    let mut rest = text;
    let mut in_quotes = false;
    while let Some(at) = rest.find(['{', '?', '\'']) {
        spelled.push_str(&rest[..at]);
        let tail = &rest[at..];
        if tail.starts_with("{s}") && !in_quotes {
            spelled.push_str(schema);
            rest = &tail[3..];
            continue;
        }
        match tail.as_bytes()[0] {
            b'\'' => {
                in_quotes = !in_quotes;
                spelled.push('\'');
            }
            b'?' if !in_quotes && dialect == Dialect::Postgres => spelled.push('$'),
            other => spelled.push(char::from(other)),
        }
        rest = &tail[1..];
    }
    spelled.push_str(rest);
    spelled
}

/// Spelled statements by the address of their shared text, so that a hot statement is spelled once.
#[derive(Default)]
pub struct Spelled {
    by_address: HashMap<usize, std::sync::Arc<str>>,
}

impl Spelled {
    pub fn get(
        &mut self,
        sql: &'static Sql,
        dialect: Dialect,
        schema: &str,
    ) -> std::sync::Arc<str> {
        self.by_address
            .entry(sql.text.as_ptr() as usize)
            .or_insert_with(|| spell(sql.text, dialect, schema).into())
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_spelled_for_each_engine() {
        let text = "select '?1 {s}' from {s}customers where id = ?1 and x = ?12";
        assert_eq!(
            spell(text, Dialect::Sqlite, "main."),
            "select '?1 {s}' from main.customers where id = ?1 and x = ?12"
        );
        assert_eq!(
            spell(text, Dialect::Postgres, "\"w_1\"."),
            "select '?1 {s}' from \"w_1\".customers where id = $1 and x = $12"
        );
    }
}
