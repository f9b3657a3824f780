//! What differs between two states of one thing, field by field and line by line.

use serde_json::Value as Json;

use super::entry::Entry;
use crate::diff::{self, Line};

/// One field or text that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    Field {
        path: String,
        /// `None` where it is new.
        old: Option<String>,
        /// `None` where it is gone.
        new: Option<String>,
    },
    Text {
        /// The end of its file's name, such as `body.html`.
        path: String,
        lines: Vec<Line>,
    },
}

pub fn differences(old: &Entry, new: &Entry) -> Vec<Difference> {
    let mut found = Vec::new();
    let (old_fields, new_fields) =
        (Json::Object(old.fields.clone()), Json::Object(new.fields.clone()));
    compare("", Some(&old_fields), Some(&new_fields), &mut found);
    let mut ends: Vec<&String> = old.texts.keys().chain(new.texts.keys()).collect();
    ends.sort();
    ends.dedup();
    for end in ends {
        let (before, after) = (old.texts.get(end), new.texts.get(end));
        if before != after {
            let text = |one: Option<&String>| one.cloned().unwrap_or_default();
            let lines = diff::lines(&text(before), &text(after));
            found.push(Difference::Text { path: end.clone(), lines });
        }
    }
    found
}

fn compare(path: &str, old: Option<&Json>, new: Option<&Json>, found: &mut Vec<Difference>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Some(Json::Object(a)), Some(Json::Object(b))) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let inside = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&inside, a.get(key), b.get(key), found);
            }
        }
        (Some(Json::Array(a)), Some(Json::Array(b))) if have_ids(a) && have_ids(b) => {
            let id = |one: &Json| one.get("id").cloned();
            let name = |one: &Json| one.get("name").and_then(Json::as_str).unwrap_or("").to_owned();
            for one in a {
                let other = b.iter().find(|other| id(other) == id(one));
                compare(&format!("{path}[{}]", name(one)), Some(one), other, found);
            }
            for one in b.iter().filter(|one| !a.iter().any(|other| id(other) == id(one))) {
                compare(&format!("{path}[{}]", name(one)), None, Some(one), found);
            }
        }
        (Some(Json::Array(a)), Some(Json::Array(b))) if a.len() == b.len() => {
            for (at, (one, other)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}[{at}]"), Some(one), Some(other), found);
            }
        }
        _ => found.push(Difference::Field {
            path: path.to_owned(),
            old: old.map(shown),
            new: new.map(shown),
        }),
    }
}

fn have_ids(items: &[Json]) -> bool {
    items.iter().all(|one| one.get("id").is_some())
}

/// A value as a person reads it: fields of a table without their ids.
fn shown(value: &Json) -> String {
    match value {
        Json::Object(fields) if fields.contains_key("id") => {
            let mut fields = fields.clone();
            fields.remove("id");
            fields.remove("number");
            Json::Object(fields).to_string()
        }
        value => value.to_string(),
    }
}
