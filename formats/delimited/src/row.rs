//! What a reader hands over: a row with its cells, or a refused record with its raw text. Both
//! borrow the reader's buffers, so a row costs no allocation.

use crate::{Fault, Position};

/// The next record of the file.
#[derive(Clone, Debug)]
pub enum Item<'a> {
    Row(Row<'a>),
    Refused(Refused<'a>),
}

/// A row with as many cells as the file has columns, all of them UTF-8 without NUL.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The cells' text, unquoted, one behind the other.
    pub(crate) text: &'a str,
    pub(crate) ends: &'a [usize],
    pub(crate) raw: &'a [u8],
    pub(crate) at: Position,
}

impl<'a> Row<'a> {
    /// Where the row begins.
    pub fn position(&self) -> Position {
        self.at
    }

    /// The number of cells.
    pub fn columns(&self) -> usize {
        self.ends.len()
    }

    /// One cell, counted from 0.
    pub fn cell(&self, index: usize) -> Option<&'a str> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(&self.text[start..end])
    }

    /// All cells in the order of the file.
    pub fn cells(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let text = self.text;
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let cell = &text[start..end];
            start = end;
            cell
        })
    }

    /// The row as it stands in the file, without its line ending; what
    /// [`crate::ErrorFileWriter::write`] takes when the row is refused later on.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}

/// A record that could not be read as a row.
#[derive(Clone, Debug)]
pub struct Refused<'a> {
    pub fault: Fault,
    /// The record as it stands in the file, without its line ending; of an overlong record, and of
    /// one with an open quote, only the beginning ([`crate::Limits::kept_bytes`]).
    pub raw: &'a [u8],
    /// Where the record begins.
    pub position: Position,
}
