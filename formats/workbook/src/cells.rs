//! The cells of a sheet, row by row, as text.

use std::io::{self, Read, Seek};

use jiff::ToSpan;
use jiff::civil::{Date, DateTime};
use quick_xml::events::{BytesStart, Event};

use crate::texts::Texts;
use crate::unpacking::Parts;
use crate::xml::{attribute, next, reader, reference, text_of};
use crate::{Fault, Limits};

const LONG_CELL: &str = "1 MB in one cell";

/// What the meaning of cells depends on.
pub struct Reading {
    pub dates: Vec<bool>,
    pub texts: Texts,
    pub since_1904: bool,
    pub limits: Limits,
}

/// A cell while it is read.
#[derive(Default)]
struct Cell {
    column: usize,
    kind: String,
    is_date: bool,
    text: String,
}

pub fn read<R: Read + Seek>(
    parts: &mut Parts<R>,
    path: &str,
    how: &Reading,
    take: &mut dyn FnMut(&[String]) -> io::Result<()>,
) -> Result<(), Fault> {
    let (mut rows, mut given, mut row_bytes) = (0_u64, 0_u64, 0);
    parts.with(path, |input| {
        let (mut xml, mut buffer) = (reader(input), Vec::new());
        let mut row: Vec<String> = Vec::new();
        let mut cell: Option<Cell> = None;
        let mut wanted = false;
        loop {
            match next(&mut xml, &mut buffer)? {
                Event::Eof => return Ok(()),
                Event::Start(element) => match element.local_name().as_ref() {
                    b"row" => {
                        row.clear();
                        row_bytes = 0;
                    }
                    b"c" => cell = Some(begin(&element, row.len(), how)?),
                    // `v` is the value, `t` stands inside an inline text.
                    b"v" | b"t" => wanted = cell.is_some(),
                    b"rPh" => wanted = false,
                    _ => {}
                },
                Event::Text(text) if wanted => add(&mut cell, &text_of(&text)?, how)?,
                Event::CData(text) if wanted => {
                    add(&mut cell, &String::from_utf8_lossy(&text), how)?;
                }
                Event::GeneralRef(name) if wanted => add(&mut cell, &reference(&name)?, how)?,
                Event::End(element) => match element.local_name().as_ref() {
                    b"v" | b"t" => wanted = false,
                    b"c" => {
                        if let Some(cell) = cell.take() {
                            row_bytes += end(cell, &mut row, how)?;
                            if row_bytes > how.limits.row_bytes {
                                return Err(Fault::TooLarge("4 MB in one row"));
                            }
                        }
                    }
                    b"row" => {
                        while row.last().is_some_and(String::is_empty) {
                            row.pop();
                        }
                        if !row.is_empty() {
                            rows += 1;
                            // A long text that many cells share grows here, and not in the archive.
                            given += row.iter().map(|cell| cell.len() as u64 + 1).sum::<u64>();
                            if given > how.limits.total_bytes {
                                return Err(Fault::TooLarge("10 GB of cells"));
                            }
                            take(&row)?;
                        }
                    }
                    b"sheetData" => return Ok(()),
                    _ => {}
                },
                _ => {}
            }
        }
    })?;
    if rows == 0 { Err(Fault::NoSheet) } else { Ok(()) }
}

fn begin(element: &BytesStart<'_>, next: usize, how: &Reading) -> Result<Cell, Fault> {
    let column = attribute(element, "r")?.and_then(|place| column_of(&place)).unwrap_or(next);
    let style = attribute(element, "s")?.and_then(|style| style.parse::<usize>().ok());
    let is_date = style.and_then(|style| how.dates.get(style)).copied().unwrap_or_default();
    let kind = attribute(element, "t")?.unwrap_or_default();
    Ok(Cell { column, kind, is_date, text: String::new() })
}

/// `B7` is column 1.
fn column_of(place: &str) -> Option<usize> {
    let mut column = 0_usize;
    for byte in place.bytes().take_while(u8::is_ascii_alphabetic).take(4) {
        column = column * 26 + usize::from(byte.to_ascii_uppercase() - b'A') + 1;
    }
    column.checked_sub(1)
}

fn add(cell: &mut Option<Cell>, text: &str, how: &Reading) -> Result<(), Fault> {
    if let Some(cell) = cell {
        cell.text.push_str(text);
        if cell.text.len() > how.limits.cell_bytes {
            return Err(Fault::TooLarge(LONG_CELL));
        }
    }
    Ok(())
}

/// Puts a cell into its row; gives how long it is.
fn end(cell: Cell, row: &mut Vec<String>, how: &Reading) -> Result<usize, Fault> {
    let text = shown(&cell, how);
    if text.is_empty() {
        return Ok(0);
    }
    // A text that cells share comes from elsewhere and was not counted above.
    if text.len() > how.limits.cell_bytes {
        return Err(Fault::TooLarge(LONG_CELL));
    }
    if cell.column >= how.limits.columns {
        return Err(Fault::TooManyColumns(how.limits.columns));
    }
    if row.len() <= cell.column {
        row.resize(cell.column + 1, String::new());
    }
    let bytes = text.len();
    row[cell.column] = text;
    Ok(bytes)
}

fn shown(cell: &Cell, how: &Reading) -> String {
    let text = cell.text.as_str();
    match cell.kind.as_str() {
        "s" => {
            let index = text.trim().parse().ok();
            index.and_then(|index| how.texts.get(index)).unwrap_or_default().to_owned()
        }
        "b" if text.trim() == "1" => "true".to_owned(),
        "b" if text.trim() == "0" => "false".to_owned(),
        "str" | "inlineStr" | "e" | "d" => text.to_owned(),
        _ => match text.trim().parse::<f64>() {
            Ok(number) if cell.is_date => {
                moment(number, how.since_1904).unwrap_or_else(|| number.to_string())
            }
            Ok(number) if number.is_finite() => number.to_string(),
            _ => text.to_owned(),
        },
    }
}

/// A day number with its fraction as a date, a time of day, or both.
fn moment(number: f64, since_1904: bool) -> Option<String> {
    if !(0.0..2_958_466.0).contains(&number) {
        return None;
    }
    let days = number.trunc() as i64;
    let seconds = ((number - number.trunc()) * 86_400.0).round() as i64;
    let (epoch, days) = match since_1904 {
        true => (Date::new(1904, 1, 1).ok()?, days),
        // Day 60 is a 29 February 1900 that never was.
        false if days < 60 => (Date::new(1899, 12, 31).ok()?, days),
        false => (Date::new(1899, 12, 30).ok()?, days),
    };
    let at: DateTime = epoch.to_datetime(jiff::civil::Time::midnight());
    let at = at.checked_add(days.days()).ok()?.checked_add(seconds.seconds()).ok()?;
    Some(match (number < 1.0 && !since_1904, seconds) {
        (true, _) => at.time().to_string(),
        (false, 0) => at.date().to_string(),
        (false, _) => at.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_numbers_are_dates() {
        for (number, since_1904, expected) in [
            (1.0, false, "1900-01-01"),
            (59.0, false, "1900-02-28"),
            (61.0, false, "1900-03-01"),
            (46_349.0, false, "2026-11-23"),
            (46_349.354_166_666_664, false, "2026-11-23T08:30:00"),
            (0.5, false, "12:00:00"),
            (0.0, true, "1904-01-01"),
            (44_887.0, true, "2026-11-23"),
        ] {
            assert_eq!(moment(number, since_1904).as_deref(), Some(expected), "{number}");
        }
        assert_eq!(moment(-1.0, false), None);
        assert_eq!(moment(1e9, false), None);
    }

    #[test]
    fn places_name_columns() {
        for (place, expected) in
            [("A1", Some(0)), ("Z9", Some(25)), ("AA10", Some(26)), ("7", None)]
        {
            assert_eq!(column_of(place), expected, "{place}");
        }
    }
}
