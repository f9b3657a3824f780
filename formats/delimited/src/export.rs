//! Writing delimited text, safe to open in a spreadsheet unless told otherwise.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::Layout;

/// Gathered before anything is written, so that a row does not cost a system call.
const BUFFER_BYTES: usize = 64 * 1024;

/// A cell that begins with one of these may be run as a formula by a spreadsheet.
const FORMULA_STARTS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// How an export is written.
#[derive(Clone, Copy, Debug)]
pub struct ExportOptions {
    /// Delimiter, quote, line ending and byte order mark; whether there is a header is up to the
    /// rows written.
    pub layout: Layout,
    /// Puts `'` before cells that a spreadsheet would run as a formula. Switch it off only for
    /// files that no person opens; [`restore`] takes the mark away again on the way in.
    pub defuse_formulas: bool,
}

impl Default for ExportOptions {
    /// Comma, double quotes, CRLF as RFC 4180 has it, no byte order mark, formulas defused.
    fn default() -> Self {
        let layout = Layout { line_ending: crate::LineEnding::CrLf, ..Layout::default() };
        ExportOptions { layout, defuse_formulas: true }
    }
}

/// Writes rows of cells. Call [`ExportWriter::finish`] at the end: what is buffered is lost
/// without it.
#[derive(Debug)]
pub struct ExportWriter<W> {
    out: W,
    options: ExportOptions,
    buffer: Vec<u8>,
}

impl<W: Write> ExportWriter<W> {
    /// Starts a file; a byte order mark is written when the layout has one.
    pub fn new(out: W, options: ExportOptions) -> Self {
        let mut buffer = Vec::new();
        if options.layout.bom {
            buffer.extend_from_slice(b"\xef\xbb\xbf");
        }
        ExportWriter { out, options, buffer }
    }

    /// Writes one row, quoting cells where they need it.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn write_row<I>(&mut self, cells: I) -> io::Result<()>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let begin = self.buffer.len();
        let mut first = true;
        for cell in cells {
            if !first {
                self.buffer.push(self.options.layout.delimiter);
            }
            first = false;
            let cell = cell.as_ref();
            let cell =
                if self.options.defuse_formulas { defuse(cell) } else { Cow::Borrowed(cell) };
            push_cell(&mut self.buffer, &cell, &self.options.layout);
        }
        end_row(&mut self.buffer, begin, &self.options.layout);
        if self.buffer.len() >= BUFFER_BYTES {
            self.write_buffer()?;
        }
        Ok(())
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is buffered and hands the output back.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.write_buffer()?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// The cell with `'` before it when a spreadsheet would run it as a formula.
///
/// Also when that mark stands there already, so that [`restore`] always gives back what was.
pub fn defuse(cell: &str) -> Cow<'_, str> {
    if cell.trim_start_matches('\'').starts_with(FORMULA_STARTS) {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

/// The cell as it was before [`defuse`].
pub fn restore(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(rest) if rest.trim_start_matches('\'').starts_with(FORMULA_STARTS) => rest,
        _ => cell,
    }
}

/// Appends a cell, in quotes when it would be read otherwise without them.
pub(crate) fn push_cell(buffer: &mut Vec<u8>, cell: &str, layout: &Layout) {
    let Some(quote) = layout.quote else {
        // Nothing can hold them together, so what would split the cell becomes a blank.
        let splits = |byte: u8| byte == layout.delimiter || byte == b'\n' || byte == b'\r';
        buffer.extend(cell.bytes().map(|byte| if splits(byte) { b' ' } else { byte }));
        return;
    };
    let special =
        |byte: u8| byte == layout.delimiter || byte == quote || byte == b'\n' || byte == b'\r';
    // Some readers trim what is not quoted, and a first cell could pass for a byte order mark.
    let padded = cell.starts_with([' ', '\t', '\u{feff}']) || cell.ends_with([' ', '\t']);
    if !padded && !cell.bytes().any(special) {
        buffer.extend_from_slice(cell.as_bytes());
        return;
    }
    buffer.push(quote);
    for byte in cell.bytes() {
        if byte == quote {
            buffer.push(byte);
        }
        buffer.push(byte);
    }
    buffer.push(quote);
}

/// Ends the row that began at `begin` in the buffer. A row of one empty cell gets quotes, because
/// a blank line is no row.
pub(crate) fn end_row(buffer: &mut Vec<u8>, begin: usize, layout: &Layout) {
    if buffer.len() == begin {
        match layout.quote {
            Some(quote) => buffer.extend_from_slice(&[quote, quote]),
            None => buffer.push(b' '),
        }
    }
    buffer.extend_from_slice(layout.line_ending.bytes());
}
