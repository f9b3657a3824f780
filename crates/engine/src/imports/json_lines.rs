//! JSON lines as rows: an object a line, its names the columns in the order in which they first come.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufWriter, Read};
use std::path::Path;

use serde_json::{Map, Value as Json};
use tidings_delimited::ExportWriter;
use tidings_store::imports::RefusedRow;

use super::invalid_file;
use super::unpack::decoded;
use super::upload::storage_fault;

/// The longest line, and the most columns; as for delimited text.
const LINE_BYTES: u64 = 4_000_000;
const COLUMNS: usize = 1_000;
/// Objects within objects become columns of their own down to here, `address.city`; below they stay
/// JSON.
const DEPTH: usize = 3;

/// What a line that is no object is refused with.
pub const REFUSAL: (&str, &str) = (
    "invalid_json",
    "expected a JSON object on this line, such as {\"email\": \"ann@example.com\"}",
);

/// Writes a header and a row for each line. A line that is no object becomes a row that is too wide,
/// so that the import refuses it.
pub fn write(from: &Path, rows: &mut ExportWriter<BufWriter<File>>) -> crate::Result<()> {
    let mut names: Vec<String> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    each_line(from, |line| {
        if let Ok(Json::Object(object)) = serde_json::from_slice(line) {
            for (name, _) in flat(object) {
                if !places.contains_key(&name) {
                    places.insert(name.clone(), names.len());
                    names.push(name);
                }
            }
        }
        match names.len() > COLUMNS {
            true => {
                let message = format!("the objects have more than {COLUMNS} different names");
                Err(invalid_file("too_many_file_columns", message))
            }
            false => Ok(()),
        }
    })?;
    if names.is_empty() {
        return Err(invalid_file("empty_file", "the file holds no JSON object with a name in it"));
    }
    rows.write_row(&names).map_err(|error| storage_fault(&error))?;
    let mut cells = vec![String::new(); names.len()];
    each_line(from, |line| {
        let written = match serde_json::from_slice(line) {
            Ok(Json::Object(object)) => {
                cells.iter_mut().for_each(String::clear);
                for (name, value) in flat(object) {
                    if let Some(place) = places.get(&name) {
                        cells[*place] = value;
                    }
                }
                rows.write_row(&cells)
            }
            _ => {
                let text = String::from_utf8_lossy(line).replace('\0', "\u{fffd}");
                let blank = std::iter::repeat_n("", names.len());
                rows.write_row(std::iter::once(text.as_str()).chain(blank))
            }
        };
        written.map_err(|error| storage_fault(&error))
    })
}

/// Gives each line that is not blank; of one that is too long the beginning, which is no JSON.
fn each_line(from: &Path, mut take: impl FnMut(&[u8]) -> crate::Result<()>) -> crate::Result<()> {
    let mut input = decoded(from)?;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut input).take(LINE_BYTES).read_until(b'\n', &mut line);
        if read.map_err(|error| storage_fault(&error))? == 0 {
            return Ok(());
        }
        if line.len() as u64 == LINE_BYTES && line.last() != Some(&b'\n') {
            line.truncate(65_536);
            input.skip_until(b'\n').map_err(|error| storage_fault(&error))?;
        }
        let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line).trim_ascii();
        if !text.is_empty() {
            take(text)?;
        }
    }
}

/// The values of an object by name, as cells.
fn flat(object: Map<String, Json>) -> Vec<(String, String)> {
    let mut cells = Vec::new();
    flatten("", object, 1, &mut cells);
    cells
}

fn flatten(
    within: &str,
    object: Map<String, Json>,
    depth: usize,
    cells: &mut Vec<(String, String)>,
) {
    for (name, value) in object {
        // A name of the file becomes a name of a column, which has no blanks around it.
        let name = match within {
            "" => name.trim().to_owned(),
            within => format!("{within}.{}", name.trim()),
        };
        match value {
            Json::Null => cells.push((name, String::new())),
            Json::String(text) => cells.push((name, text)),
            Json::Object(inner) if depth < DEPTH => flatten(&name, inner, depth + 1, cells),
            other => cells.push((name, other.to_string())),
        }
    }
}

/// A refused row as a line: its object with the reason in it, or the line that was none.
pub fn error_line(
    cells: Result<Vec<String>, String>,
    headers: &[String],
    refused: &RefusedRow,
) -> Vec<u8> {
    let reason = super::errors::reason(refused);
    let mut object = Map::new();
    match cells {
        Ok(cells) => {
            for (name, cell) in headers.iter().zip(cells) {
                let json = match cell.as_bytes().first() {
                    None => continue,
                    Some(b'[' | b'{') => serde_json::from_str(&cell).unwrap_or(Json::from(cell)),
                    Some(_) => Json::from(cell),
                };
                object.insert(name.clone(), json);
            }
        }
        Err(line) => {
            object.insert("line".to_owned(), Json::from(line));
        }
    }
    object.insert("reason".to_owned(), Json::from(reason));
    let mut line = Json::Object(object).to_string().into_bytes();
    line.push(b'\n');
    line
}
