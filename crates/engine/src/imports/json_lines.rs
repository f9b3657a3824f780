//! JSON lines as rows: an object a line, its names the columns in the order in which they first come.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufWriter, Read};
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value as Json;
use serde_json::value::RawValue;
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
        if let Ok(object) = serde_json::from_slice(line) {
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
            Ok(object) => {
                cells.iter_mut().for_each(String::clear);
                for (name, value) in flat(object) {
                    if let Some(place) = places.get(&name) {
                        cells[*place] = value;
                    }
                }
                rows.write_row(&cells)
            }
            Err(_) => {
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

/// An object with its names in the order of the file, and their values as they stand there.
struct Object<'l>(Vec<(String, &'l RawValue)>);

impl<'de: 'l, 'l> Deserialize<'de> for Object<'l> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Object<'l>, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Object<'de>;

            fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
                text.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }
        input.deserialize_map(Names)
    }
}

/// The values of an object by name, as cells.
fn flat(object: Object<'_>) -> Vec<(String, String)> {
    let mut cells = Vec::new();
    flatten("", object, 1, &mut cells);
    cells
}

fn flatten(within: &str, object: Object<'_>, depth: usize, cells: &mut Vec<(String, String)>) {
    for (name, value) in object.0 {
        // A name of the file becomes a name of a column, which has no blanks around it.
        let name = match within {
            "" => name.trim().to_owned(),
            within => format!("{within}.{}", name.trim()),
        };
        let text = value.get();
        match text.as_bytes().first() {
            Some(b'n') => cells.push((name, String::new())),
            Some(b'"') => cells.push((name, serde_json::from_str(text).unwrap_or_default())),
            Some(b'{') if depth < DEPTH => {
                // What is written as an object was read as one already.
                if let Ok(inner) = serde_json::from_str(text) {
                    flatten(&name, inner, depth + 1, cells);
                }
            }
            _ => cells.push((name, text.to_owned())),
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
    let mut fields: Vec<(&str, Json)> = Vec::new();
    match cells {
        Ok(cells) => {
            for (name, cell) in headers.iter().zip(cells) {
                let json = match cell.as_bytes().first() {
                    None => continue,
                    Some(b'[' | b'{') => serde_json::from_str(&cell).unwrap_or(Json::from(cell)),
                    Some(_) => Json::from(cell),
                };
                fields.push((name, json));
            }
        }
        Err(line) => fields.push(("line", Json::from(line))),
    }
    fields.push(("reason", Json::from(reason)));
    let fields = fields.into_iter().map(|(name, json)| format!("{}:{json}", Json::from(name)));
    format!("{{{}}}\n", fields.collect::<Vec<_>>().join(",")).into_bytes()
}
