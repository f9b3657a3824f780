//! The one text form of fields: TOML, written so that the same fields are always the same bytes, and
//! read with the line of every field.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};
use toml_edit::{ImDocument, Item, Table, Value};

use super::entry::Lines;

/// Lines are broken where an array would be longer.
const WIDTH: usize = 100;

/// What comes first in a table; the rest follows by its letters.
const ORDER: &[&str] = &[
    "format",
    "id",
    "number",
    "name",
    "kind",
    "scale",
    "currency",
    "owner",
    "channel",
    "title",
    "subject",
    "language",
    "segment",
    "template",
    "class",
    "topic",
    "send_at",
    "launch",
    "attribute",
    "event",
    "table",
    "field",
    "tag",
    "group",
    "property",
    "op",
    "value",
    "where",
    "to",
    "label",
];

fn ordered(fields: &Map<String, Json>) -> Vec<(&String, &Json)> {
    let mut all: Vec<(&String, &Json)> = fields.iter().collect();
    let rank = |key: &str| ORDER.iter().position(|one| *one == key).unwrap_or(ORDER.len());
    all.sort_by_key(|(key, _)| (rank(key), key.as_str()));
    all
}

/// Whether TOML has a form for a value: it knows no null, and no integer past 64 bits.
pub fn can_hold(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Number(number) => number.is_i64() || !number.is_u64(),
        Json::Array(items) => items.iter().all(can_hold),
        Json::Object(fields) => fields.values().all(can_hold),
        Json::Bool(_) | Json::String(_) => true,
    }
}

/// Fields as a whole file.
pub fn write(fields: &Map<String, Json>) -> String {
    let mut out = String::new();
    section(&mut out, "", fields);
    out
}

/// Whether a value stands under a heading of its own. Rules are one tree and never cut up.
fn has_heading(path: &str, value: &Json) -> bool {
    match value {
        Json::Object(_) => path != "rule",
        Json::Array(items) => {
            path.is_empty() && !items.is_empty() && items.iter().all(Json::is_object)
        }
        _ => false,
    }
}

fn section(out: &mut String, path: &str, fields: &Map<String, Json>) {
    let fields = ordered(fields);
    for (key, one) in fields.iter().filter(|(_, one)| !has_heading(path, one)) {
        out.push_str(&quoted_key(key));
        out.push_str(" = ");
        match one {
            Json::String(text) if text.contains('\n') => long_text(out, text),
            one => value(out, one, 0),
        }
        out.push('\n');
    }
    for (key, one) in fields.iter().filter(|(_, one)| has_heading(path, one)) {
        let path = match path {
            "" => quoted_key(key),
            path => format!("{path}.{}", quoted_key(key)),
        };
        let gap = if out.is_empty() { "" } else { "\n" };
        match one {
            Json::Object(fields) => {
                let _ = writeln!(out, "{gap}[{path}]");
                section(out, &path, fields);
            }
            Json::Array(items) => {
                for (at, item) in items.iter().filter_map(Json::as_object).enumerate() {
                    let gap = if at > 0 { "\n" } else { gap };
                    let _ = writeln!(out, "{gap}[[{path}]]");
                    for (key, one) in ordered(item) {
                        out.push_str(&quoted_key(key));
                        out.push_str(" = ");
                        value(out, one, 0);
                        out.push('\n');
                    }
                }
            }
            _ => {}
        }
    }
}

fn value(out: &mut String, one: &Json, indent: usize) {
    match one {
        Json::String(text) => short_text(out, text),
        Json::Number(number) => match number.as_i64() {
            Some(number) => {
                let _ = write!(out, "{number}");
            }
            None => {
                let _ = write!(out, "{:?}", number.as_f64().unwrap_or_default());
            }
        },
        Json::Bool(flag) => {
            let _ = write!(out, "{flag}");
        }
        Json::Array(items) => array(out, items, indent),
        Json::Object(fields) => {
            if fields.is_empty() {
                out.push_str("{}");
                return;
            }
            for (at, (key, one)) in ordered(fields).into_iter().enumerate() {
                out.push_str(if at == 0 { "{ " } else { ", " });
                out.push_str(&quoted_key(key));
                out.push_str(" = ");
                value(out, one, indent);
            }
            out.push_str(" }");
        }
        // `can_hold` is asked before.
        Json::Null => out.push_str("\"\""),
    }
}

fn array(out: &mut String, items: &[Json], indent: usize) {
    let mut line = String::from("[");
    for (at, item) in items.iter().enumerate() {
        line.push_str(if at == 0 { "" } else { ", " });
        value(&mut line, item, indent);
    }
    line.push(']');
    let is_flat = !items.iter().any(|item| item.is_object() || item.is_array());
    if is_flat && indent + line.len() <= WIDTH {
        out.push_str(&line);
        return;
    }
    out.push_str("[\n");
    for item in items {
        let _ = write!(out, "{:indent$}", "", indent = indent + 2);
        value(out, item, indent + 2);
        out.push_str(",\n");
    }
    let _ = write!(out, "{:indent$}]", "");
}

fn quoted_key(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(is_bare) {
        return key.to_owned();
    }
    let mut out = String::new();
    short_text(&mut out, key);
    out
}

fn short_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c => escaped(out, c),
        }
    }
    out.push('"');
}

fn long_text(out: &mut String, text: &str) {
    out.push_str("\"\"\"\n");
    let mut quotes = 0;
    for c in text.chars() {
        quotes = if c == '"' { quotes + 1 } else { 0 };
        match c {
            // Three in a row would end the text.
            '"' if quotes == 3 => {
                out.push_str("\\\"");
                quotes = 0;
            }
            '"' | '\n' | '\t' => out.push(c),
            c => escaped(out, c),
        }
    }
    // A quote before the end would be taken for one of the three.
    if out.ends_with('"') && quotes > 0 {
        out.pop();
        out.push_str("\\\"");
    }
    out.push_str("\"\"\"");
}

/// Control characters, and those that make a line look other than it is, are spelt out.
fn escaped(out: &mut String, c: char) {
    let misleads = matches!(
        c,
        '\u{85}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{200e}' | '\u{200f}'
    );
    match c {
        '\\' => out.push_str("\\\\"),
        c if c.is_control() || misleads => {
            let _ = write!(out, "\\u{:04X}", u32::from(c));
        }
        c => out.push(c),
    }
}

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Json) -> Map<String, Json> {
        value.as_object().expect("an object").clone()
    }

    #[track_caller]
    fn check(value: Json, text: &str) {
        let value = fields(value);
        assert_eq!(write(&value), text);
        assert_eq!(read(text).expect("what was written can be read").0, value);
    }

    #[test]
    fn fields_have_one_text() {
        check(
            json!({"name": "A \"b\"", "number": 3, "id": "x", "text": "one\ntwo"}),
            "id = \"x\"\nnumber = 3\nname = \"A \\\"b\\\"\"\ntext = \"\"\"\none\ntwo\"\"\"\n",
        );
        check(
            json!({"rule": {"all": [{"op": "eq", "value": 1.0, "attribute": "x"}], "z": {"gte": 1}}}),
            "[rule]\nall = [\n  { attribute = \"x\", op = \"eq\", value = 1.0 },\n]\nz = { gte = 1 }\n",
        );
        check(
            json!({"name": "t", "fields": [{"name": "a"}, {"name": "b", "list": ["x", "y"]}]}),
            "name = \"t\"\n\n[[fields]]\nname = \"a\"\n\n[[fields]]\nname = \"b\"\nlist = [\"x\", \"y\"]\n",
        );
        check(
            json!({"texts": {"en": {"title": "T"}, "a b": {}}, "empty": []}),
            "empty = []\n\n[texts]\n\n[texts.\"a b\"]\n\n[texts.en]\ntitle = \"T\"\n",
        );
    }

    #[test]
    fn every_text_comes_back() {
        for text in [
            "",
            "\n",
            "\"",
            "\"\"\"",
            "a\n\"\"\"\"\"\"\"",
            "\n\"",
            "\\",
            "\\\n\\",
            "\r\n",
            "\u{0}\u{7f}\u{85}\u{feff}\u{202e}x",
            "tab\tend\n\ttab",
            "日本 🙂 \u{301}",
            "  blanks  \n  ",
            "a\\\n   b",
        ] {
            for value in [json!({"x": text}), json!({"x": [{"y": {"z": text}}]}), json!({text: 1})] {
                let value = fields(value);
                let written = write(&value);
                assert_eq!(read(&written).expect(&written).0, value, "{written}");
            }
        }
    }

    #[test]
    fn numbers_come_back_as_they_were() {
        let all = json!({"x": [i64::MIN, i64::MAX, 0, -0.0, 1.0, 1e300, 1e-7, 0.1, 1e15, 1e16, 123456.5]});
        let written = write(&fields(all.clone()));
        assert_eq!(Json::Object(read(&written).expect("numbers").0).to_string(), all.to_string());
        assert!(!can_hold(&json!({"a": [u64::MAX]})));
        assert!(!can_hold(&json!([null])));
    }

    #[test]
    fn faults_and_fields_have_lines() {
        let text = "name = \"x\"\n\n[rule]\nall = [\n  { attribute = \"a\",\n op = \"eq\" },\n]\n";
        let lines = read(text).expect("fine").1;
        assert_eq!(lines.get("name"), Some(&1));
        assert_eq!(lines.get("rule"), Some(&3));
        assert_eq!(lines.get("rule.all[0].attribute"), Some(&5));
        for (text, line) in [("a = 1\nb = \n", 2), ("a = 1\na = 2\n", 2), ("a = nan", 1)] {
            assert_eq!(read(text).expect_err(text).line, Some(line), "{text}");
        }
    }
}
