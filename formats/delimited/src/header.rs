//! The names in a header: which first row is one, and whether its names can be told apart.

use std::collections::HashMap;

use crate::{Fault, Reason, Row};

/// Most names, and most characters of each, that a fault lists.
const NAMES_SHOWN: usize = 5;
const CHARS_SHOWN: usize = 60;

/// The trimmed names of a header row. Empty names are allowed, however many: no one can ask for
/// such a column, and spreadsheets add them behind the last one.
pub(crate) fn names(row: Row<'_>) -> Result<Vec<String>, Fault> {
    let names: Vec<String> = row.cells().map(|cell| cell.trim().to_owned()).collect();
    let repeated = repeated(&names);
    if repeated.is_empty() {
        return Ok(names);
    }
    let mut shown: Vec<String> =
        repeated.iter().take(NAMES_SHOWN).map(|(name, columns)| describe(name, columns)).collect();
    if repeated.len() > NAMES_SHOWN {
        shown.push(format!("and {} more", repeated.len() - NAMES_SHOWN));
    }
    Err(Fault {
        row: Some(row.position().row),
        line: Some(row.position().line),
        column: repeated.first().and_then(|(_, columns)| columns.get(1).copied()),
        reason: Reason::DuplicateHeaders { names: shown.join(", ") },
    })
}

/// Names that stand more than once with their columns from 1, in the order of the header.
fn repeated(names: &[String]) -> Vec<(&str, Vec<usize>)> {
    let mut columns: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        columns.entry(name).or_default().push(index + 1);
    }
    let mut repeated: Vec<_> = columns.into_iter().filter(|(_, at)| at.len() > 1).collect();
    repeated.sort_by_key(|(_, at)| at[0]);
    repeated
}

fn describe(name: &str, columns: &[usize]) -> String {
    let name: String = name.chars().take(CHARS_SHOWN).collect();
    let (last, others) = columns.split_last().map_or((0, &[][..]), |(last, rest)| (*last, rest));
    let others: Vec<String> = others.iter().take(NAMES_SHOWN).map(usize::to_string).collect();
    format!("\"{name}\" (columns {} and {last})", others.join(", "))
}

/// Whether the first record of a file names its columns. `rows` are records that follow.
///
/// A name is no number, date, address or truth value, and does not come back as a value in its own
/// column. Names may be missing or double; the reader says so better than a guess can.
pub(crate) fn is_header(first: &[String], rows: &[Vec<String>]) -> bool {
    let named = first.iter().filter(|cell| !cell.trim().is_empty()).count();
    if named * 2 < first.len() || named == 0 || first.iter().any(|cell| is_value(cell)) {
        return false;
    }
    // A header may stand in the middle too, where files were joined.
    !rows.iter().filter(|row| row.as_slice() != first).any(|row| {
        row.iter().zip(first).any(|(value, name)| !name.trim().is_empty() && value == name)
    })
}

fn is_value(cell: &str) -> bool {
    let cell = cell.trim();
    let words = ["true", "false", "null"];
    is_number_or_date(cell)
        || is_uuid(cell)
        || cell.contains('@')
        || words.iter().any(|word| cell.eq_ignore_ascii_case(word))
}

/// Digits with what stands between them in numbers, amounts, dates, times and phone numbers.
fn is_number_or_date(cell: &str) -> bool {
    cell.starts_with(|c: char| !c.is_alphabetic())
        && cell.contains(|c: char| c.is_ascii_digit())
        && cell.chars().all(|c| c.is_ascii_digit() || " \u{a0}+-.,:/()'TZ%€$£".contains(c))
}

fn is_uuid(cell: &str) -> bool {
    cell.len() == 36 && cell.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}
