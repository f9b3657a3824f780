//! The file of refused rows: in the input's own shape with a column for the reason, so that it can
//! be corrected in place and sent again.

use std::io::{self, Write};

use crate::encoding::{encode, mark};
use crate::export::push_cell;
use crate::splitter::{Fed, Splitter};
use crate::{Encoding, Layout, Limits};

/// Writes refused rows. Every row written has the input's columns and one more.
///
/// Cells are written as they came, formulas included: the file is meant to be read again, and a
/// changed cell would be imported changed.
#[derive(Debug)]
pub struct ErrorFileWriter<W> {
    out: W,
    layout: Layout,
    columns: usize,
    splitter: Splitter,
    line: Vec<u8>,
}

impl<W: Write> ErrorFileWriter<W> {
    /// Starts a file, with a header when the input has one. `header` are the input's names, or
    /// empty; `columns` is how many cells its rows have.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn create(out: W, layout: &Layout, header: &[String], columns: usize) -> io::Result<Self> {
        let mut writer = ErrorFileWriter::append(out, layout, columns);
        if layout.bom {
            writer.line.extend_from_slice(mark(Encoding::Utf8));
        }
        if layout.header {
            for name in header {
                push_cell(&mut writer.line, name, layout);
                writer.line.push(layout.delimiter);
            }
            push_cell(&mut writer.line, &reason_name(header), layout);
            writer.line.extend_from_slice(layout.line_ending.bytes());
        }
        writer.write_line()?;
        Ok(writer)
    }

    /// Goes on at the end of a file that was started before.
    pub fn append(out: W, layout: &Layout, columns: usize) -> Self {
        let splitter = Splitter::new(layout, Limits::default().columns.max(columns));
        ErrorFileWriter {
            out,
            layout: *layout,
            columns: columns.max(1),
            splitter,
            line: Vec::new(),
        }
    }

    /// Writes a refused row: `raw` as [`crate::Row::raw`] or [`crate::Refused`] gave it, in UTF-8;
    /// the file itself is in the layout's encoding.
    ///
    /// A row that cannot be split again (an open quote, bytes that are not text) stands as one
    /// quoted cell in the first column. Missing cells are left empty; surplus ones are joined in
    /// the last column, nothing is lost. The output is not flushed.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn write(&mut self, raw: &[u8], reason: &str) -> io::Result<()> {
        let found = self.split(raw);
        match (found, std::str::from_utf8(raw)) {
            (Some(found), Ok(_)) if found == self.columns => self.line.extend_from_slice(raw),
            (Some(found), Ok(_)) if found < self.columns => {
                self.line.extend_from_slice(raw);
                self.push_empty(self.columns - found);
            }
            (Some(_), Ok(_)) => self.push_joined(),
            _ => {
                let text = String::from_utf8_lossy(raw).replace('\0', "\u{fffd}");
                push_cell(&mut self.line, &text, &self.layout);
                self.push_empty(self.columns - 1);
            }
        }
        self.line.push(self.layout.delimiter);
        push_cell(&mut self.line, reason, &self.layout);
        self.line.extend_from_slice(self.layout.line_ending.bytes());
        self.write_line()
    }

    /// # Errors
    /// When the output cannot be flushed.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Flushes and hands the output back.
    ///
    /// # Errors
    /// When the output cannot be flushed.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    /// The number of cells in `raw`, or `None` when it is not one complete record of text, or
    /// one with more cells than can be held.
    fn split(&mut self, raw: &[u8]) -> Option<usize> {
        self.splitter.begin();
        let (fed, _) = self.splitter.feed(raw);
        // A line ending outside quotes would make two rows of one.
        let single = fed == Fed::NeedsMore;
        let closed = single && self.splitter.finish();
        let columns = self.splitter.columns();
        let all_kept = columns == self.splitter.cells().1.len();
        (closed && all_kept && !raw.contains(&0)).then_some(columns)
    }

    fn push_empty(&mut self, cells: usize) {
        self.line.extend(std::iter::repeat_n(self.layout.delimiter, cells));
    }

    /// The split cells, with the last column holding all that are left over.
    fn push_joined(&mut self) {
        let (text, ends) = self.splitter.cells();
        let mut surplus = String::new();
        let mut start = 0;
        for (index, &end) in ends.iter().enumerate() {
            let cell = String::from_utf8_lossy(&text[start..end]);
            start = end;
            if index + 1 < self.columns {
                push_cell(&mut self.line, &cell, &self.layout);
                self.line.push(self.layout.delimiter);
                continue;
            }
            if index + 1 > self.columns {
                surplus.push(char::from(self.layout.delimiter));
            }
            surplus.push_str(&cell);
        }
        push_cell(&mut self.line, &surplus, &self.layout);
    }

    fn write_line(&mut self) -> io::Result<()> {
        if self.layout.encoding == Encoding::Utf8 {
            self.out.write_all(&self.line)?;
        } else {
            let mut encoded = Vec::with_capacity(self.line.len() * 2);
            encode(&self.line, self.layout.encoding, &mut encoded);
            self.out.write_all(&encoded)?;
        }
        self.line.clear();
        Ok(())
    }
}

/// `reason`, or `reason 2` and so on when the input has that column, as a corrected error file does.
fn reason_name(header: &[String]) -> String {
    let mut name = "reason".to_owned();
    let mut number = 2;
    while header.contains(&name) {
        name = format!("reason {number}");
        number += 1;
    }
    name
}
