//! Text as fields, with the line of each.

use serde_json::{Map, Value as Json};
use toml_edit::{ImDocument, Item, Table, Value};

use crate::definitions::entry::Lines;

/// Why a text cannot be read, and on which line.
#[derive(Debug)]
pub struct Unreadable {
    pub line: Option<u32>,
    pub message: String,
}

/// A text's fields with the lines that they stand on.
pub fn read(text: &str) -> Result<(Map<String, Json>, Lines), Unreadable> {
    let reader = Reader { starts: line_starts(text) };
    let document = ImDocument::parse(text).map_err(|error| Unreadable {
        line: error.span().map(|span| reader.line(span.start)),
        message: error.message().replace('\n', ", "),
    })?;
    let mut lines = Lines::new();
    let fields = reader.table(document.as_table(), "", &mut lines)?;
    Ok((fields, lines))
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

struct Reader {
    starts: Vec<usize>,
}

impl Reader {
    fn line(&self, at: usize) -> u32 {
        u32::try_from(self.starts.partition_point(|start| *start <= at)).unwrap_or(u32::MAX)
    }

    fn table(
        &self,
        table: &Table,
        path: &str,
        lines: &mut Lines,
    ) -> Result<Map<String, Json>, Unreadable> {
        let mut fields = Map::new();
        for (key, item) in table {
            let path = joined(path, key);
            let span = table.key(key).and_then(|key| key.span()).or_else(|| item.span());
            let line = span.map(|span| self.line(span.start));
            lines.extend(line.map(|line| (path.clone(), line)));
            fields.insert(key.to_owned(), self.item(item, &path, lines)?);
        }
        Ok(fields)
    }

    fn item(&self, item: &Item, path: &str, lines: &mut Lines) -> Result<Json, Unreadable> {
        match item {
            Item::None => Ok(Json::Null),
            Item::Value(value) => self.value(value, path, lines),
            Item::Table(table) => self.table(table, path, lines).map(Json::Object),
            Item::ArrayOfTables(tables) => {
                let mut items = Vec::new();
                for (at, table) in tables.iter().enumerate() {
                    let path = format!("{path}[{at}]");
                    let line = table.span().map(|span| self.line(span.start));
                    lines.extend(line.map(|line| (path.clone(), line)));
                    items.push(Json::Object(self.table(table, &path, lines)?));
                }
                Ok(Json::Array(items))
            }
        }
    }

    fn value(&self, value: &Value, path: &str, lines: &mut Lines) -> Result<Json, Unreadable> {
        if let Some(span) = value.span() {
            lines.entry(path.to_owned()).or_insert_with(|| self.line(span.start));
        }
        Ok(match value {
            Value::String(text) => Json::from(text.value().as_str()),
            Value::Integer(number) => Json::from(*number.value()),
            Value::Boolean(flag) => Json::from(*flag.value()),
            Value::Datetime(time) => Json::from(time.value().to_string()),
            Value::Float(number) => {
                let number = serde_json::Number::from_f64(*number.value());
                Json::Number(number.ok_or_else(|| Unreadable {
                    line: lines.get(path).copied(),
                    message: "expected a finite number".to_owned(),
                })?)
            }
            Value::Array(items) => {
                let mut found = Vec::new();
                for (at, item) in items.iter().enumerate() {
                    found.push(self.value(item, &format!("{path}[{at}]"), lines)?);
                }
                Json::Array(found)
            }
            Value::InlineTable(table) => {
                let mut fields = Map::new();
                for (key, item) in table {
                    let path = joined(path, key);
                    fields.insert(key.to_owned(), self.value(item, &path, lines)?);
                }
                Json::Object(fields)
            }
        })
    }
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
