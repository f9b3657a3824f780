//! A statement in the code that no list names would escape the guard, so the source itself is
//! read for them.

use std::collections::BTreeSet;
use std::path::Path;

use super::forbidden;
use crate::statements;

/// A statement as it stands in the source.
struct Written {
    file: String,
    /// The static's own name.
    label: String,
    /// `bucket`, `identity`, `reference` or `fan_out`.
    class: String,
    name: String,
    text: String,
}

/// Reads every `static NAME: Sql = Sql::class("name", "text")` of a file.
fn written(file: &str, source: &str) -> Vec<Written> {
    let mut found = Vec::new();
    for (at, _) in source.match_indices("Sql::") {
        let tail = &source[at + 5..];
        let Some((class, rest)) = tail.split_once('(') else { continue };
        if !["bucket", "identity", "reference", "fan_out"].contains(&class) {
            continue;
        }
        let (name, rest) = quoted(file, rest);
        let (text, _) = quoted(file, rest);
        let before = &source[..at];
        let label = before.rfind("static ").map(|from| &before[from + 7..]);
        let label = label.and_then(|rest| rest.split(':').next()).unwrap_or_default();
        let label = label.trim().to_owned();
        found.push(Written { file: file.to_owned(), label, class: class.to_owned(), name, text });
    }
    found
}

/// The next string literal, and what follows it.
fn quoted<'s>(file: &str, source: &'s str) -> (String, &'s str) {
    let from = source.find('"').unwrap_or_else(|| panic!("a statement in {file} has no text"));
    let mut text = String::new();
    let mut escaped = false;
    for (at, c) in source[from + 1..].char_indices() {
        match c {
            '"' if !escaped => return (text, &source[from + at + 2..]),
            '\\' if !escaped => escaped = true,
            _ => {
                escaped = false;
                text.push(c);
            }
        }
    }
    panic!("a statement in {file} does not end");
}

/// A text with single blanks, as line ends in the source may be escaped.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("guard") {
            // The guard's own counter-tests are wrong on purpose.
        } else if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path.display().to_string(), text));
        }
    }
}

#[test]
fn no_statement_is_missing_from_the_lists() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let all: Vec<Written> = files.iter().flat_map(|(file, text)| written(file, text)).collect();
    assert!(all.len() > 40, "the statements were not found in the source");
    let listed: BTreeSet<(String, String)> =
        statements::all().iter().map(|sql| (sql.name.to_owned(), plain(sql.text))).collect();
    let names: BTreeSet<&str> = statements::all().iter().map(|sql| sql.name).collect();
    let mut faults = Vec::new();
    for one in &all {
        let place = format!("{} {} ({}, {})", one.file, one.label, one.class, one.name);
        if let Some(word) = forbidden::in_statement(&one.text) {
            faults.push(format!("{place}: {word} does not run on shards"));
        }
        // What only SQLite runs has a twin of the same name that stands in the list.
        let is_known = match one.label.ends_with("_SQLITE") {
            true => names.contains(one.name.as_str()),
            false => listed.contains(&(one.name.clone(), plain(&one.text))),
        };
        if !is_known {
            faults.push(format!("{place}: in no list; add it to its module's SQL"));
        }
    }
    let mut seen = BTreeSet::new();
    for sql in statements::all() {
        if !seen.insert(sql.name) {
            faults.push(format!("two statements are named {}", sql.name));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn statements_are_found_in_source() {
    let source = "static A: Sql =\n    Sql::bucket(\"a\", \"select \\\"x\\\" from t\");\n";
    let found = written("f", source);
    assert_eq!(found.len(), 1);
    let one = &found[0];
    assert_eq!((one.label.as_str(), one.class.as_str()), ("A", "bucket"));
    assert_eq!((one.name.as_str(), one.text.as_str()), ("a", "select \"x\" from t"));
}
