//! Fields as text: the same fields are always the same bytes.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};
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
