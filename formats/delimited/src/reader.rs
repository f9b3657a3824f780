//! Reading rows from a stream, one at a time, in bounded memory.

use std::io::{self, Read};

use crate::header;
use crate::line_ends::{LineCount, trim_line_end};
use crate::source::Source;
use crate::splitter::{Fed, Splitter};
use crate::{Fault, Item, Layout, Limits, OpenError, Position, Reason, Refused, Row};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Reads a file row by row. Blank lines are passed over and are not rows.
///
/// Memory stays below three times [`Limits::record_bytes`] and a half MB, however long a line is.
#[derive(Debug)]
pub struct Reader<R> {
    source: Source<R>,
    splitter: Splitter,
    limits: Limits,
    header: Vec<String>,
    /// 0 as long as no record could tell.
    columns: usize,
    /// Where the next record begins.
    next: Position,
    /// The first record of a file without a header, read to learn its width and not yet given out.
    pending: Option<Record>,
    /// The beginning of a record too long to hold.
    kept: Vec<u8>,
}

/// A record that was taken from the source; its bytes and cells are still in the buffers.
#[derive(Clone, Copy, Debug)]
struct Record {
    at: Position,
    shape: Shape,
    /// The text holds control characters: a line ending, a tab, a NUL.
    control: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Whole,
    /// Longer than the limit: that many bytes, of which the first are in `kept`.
    TooLong {
        bytes: u64,
    },
    OpenQuote {
        lines: u64,
    },
}

impl<R: Read> Reader<R> {
    /// Starts at the beginning of a file and reads its header, when the layout has one. The input
    /// is UTF-8 whatever the layout's encoding is: [`crate::Decoder`] makes it so.
    ///
    /// # Errors
    /// [`OpenError::Fault`] for an empty file, more columns than the limit, a header that names a
    /// column twice or that cannot be read as a row (then with row 0); [`OpenError::Io`] when the
    /// input fails. A header without rows is no fault.
    pub fn open(input: R, layout: &Layout, limits: Limits) -> Result<Self, OpenError> {
        let start = Position { byte: 0, row: u64::from(!layout.header), line: 1 };
        let mut reader = Reader::at(input, layout, limits, 0, start);
        reader.skip_bom()?;
        let record = reader.take_record()?.ok_or(Fault::of_file(Reason::EmptyFile))?;
        if record.shape == Shape::Whole {
            let found = reader.splitter.columns();
            if found > limits.columns {
                let reason = Reason::TooManyFileColumns { found, limit: limits.columns };
                return Err(Fault::of_file(reason).into());
            }
            reader.columns = found;
        }
        if !layout.header {
            reader.pending = Some(record);
            return Ok(reader);
        }
        let names = match reader.judge(record) {
            Item::Row(row) => header::names(row)?,
            Item::Refused(refused) => return Err(refused.fault.into()),
        };
        reader.header = names;
        Ok(reader)
    }

    /// Goes on where an earlier reader of the same file stood.
    ///
    /// `input` is already at `position.byte`, and `position` came from [`Reader::position`] or
    /// [`Row::position`]; `columns` is what [`Reader::columns`] said. No header is read.
    pub fn resume(
        input: R,
        layout: &Layout,
        limits: Limits,
        columns: usize,
        position: Position,
    ) -> Self {
        Reader::at(input, layout, limits, columns, position)
    }

    fn at(input: R, layout: &Layout, limits: Limits, columns: usize, next: Position) -> Self {
        Reader {
            source: Source::new(input, next.byte, limits.record_bytes),
            splitter: Splitter::new(layout, limits.columns),
            limits,
            header: Vec::new(),
            columns,
            next,
            pending: None,
            kept: Vec::new(),
        }
    }

    /// The column names, trimmed; empty without a header and after [`Reader::resume`].
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// How many cells each row has. 0 only in a file without a header whose first record could
    /// not be split.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Where the next record begins; saved with the work done, it is where to resume.
    pub fn position(&self) -> Position {
        self.pending.map_or(self.next, |record| record.at)
    }

    /// Bytes held in buffers, for watching that memory stays flat.
    pub fn memory_bytes(&self) -> usize {
        self.source.memory_bytes() + self.splitter.memory_bytes() + self.kept.capacity()
    }

    /// The next row or refused record, or `None` at the end of the file.
    ///
    /// # Errors
    /// Only when the input fails; the reader is then of no further use, and a new one can resume
    /// at the last saved position.
    pub fn read(&mut self) -> io::Result<Option<Item<'_>>> {
        let record = match self.pending.take() {
            Some(record) => record,
            None => match self.take_record()? {
                Some(record) => record,
                None => return Ok(None),
            },
        };
        if self.columns == 0 && record.shape == Shape::Whole {
            self.columns = self.splitter.columns().min(self.limits.columns);
        }
        Ok(Some(self.judge(record)))
    }

    fn skip_bom(&mut self) -> io::Result<()> {
        while self.source.ahead().len() < BOM.len() && self.source.refill()? {}
        if self.source.ahead().starts_with(BOM) {
            self.source.pos += BOM.len();
            self.source.forget();
        }
        Ok(())
    }

    /// Passes over blank lines and moves `next` to the record behind them, if there is one.
    fn skip_blank_lines(&mut self) -> io::Result<bool> {
        let mut count = LineCount::default();
        let found = loop {
            self.source.forget();
            match self.source.peek()? {
                Some(byte @ (b'\n' | b'\r')) => {
                    count.feed(&[byte]);
                    self.source.pos += 1;
                }
                other => break other.is_some(),
            }
        };
        self.next.line += count.lines;
        self.next.byte = self.source.offset();
        Ok(found)
    }

    /// Takes one record from the source into the buffers, and moves `next` behind it.
    fn take_record(&mut self) -> io::Result<Option<Record>> {
        if !self.skip_blank_lines()? {
            return Ok(None);
        }
        let at = self.next;
        self.splitter.begin();
        // Lines of the part of an overlong record that was let go.
        let mut count = LineCount::default();
        let mut overlong = false;
        let closed = loop {
            let (fed, taken) = self.splitter.feed(self.source.ahead());
            self.source.pos += taken;
            if fed == Fed::Record {
                self.take_line_feed()?;
                break true;
            }
            if overlong || self.source.record().len() > self.limits.record_bytes {
                if !overlong {
                    self.keep_beginning();
                    self.splitter.skip();
                    overlong = true;
                }
                count.feed(self.source.record());
                self.source.forget();
            }
            if !self.source.refill()? {
                break self.splitter.finish();
            }
        };
        if !overlong && self.source.record().len() > self.limits.record_bytes {
            self.keep_beginning();
            overlong = true;
        }
        let control = self.splitter.has_control();
        // Without control characters in the text the only line ending is the record's own.
        if overlong || control || !closed {
            count.feed(self.source.record());
        } else {
            count.lines += 1;
        }
        self.next =
            Position { byte: self.source.offset(), row: at.row + 1, line: at.line + count.lines };
        let shape = if !closed {
            if !overlong {
                self.keep_beginning();
            }
            Shape::OpenQuote { lines: count.lines.max(1) }
        } else if overlong {
            Shape::TooLong { bytes: self.next.byte - at.byte }
        } else {
            Shape::Whole
        };
        Ok(Some(Record { at, shape, control }))
    }

    /// The record ended at a CR; an LF right behind it belongs to it.
    fn take_line_feed(&mut self) -> io::Result<()> {
        if self.source.record().last() == Some(&b'\r') && self.source.peek()? == Some(b'\n') {
            self.source.pos += 1;
        }
        Ok(())
    }

    fn keep_beginning(&mut self) {
        let record = self.source.record();
        // Never more than the record limit, so that it does not depend on how much was read ahead.
        let most = self.limits.kept_bytes.min(self.limits.record_bytes);
        self.kept.clear();
        self.kept.extend_from_slice(&record[..record.len().min(most)]);
    }

    /// Decides whether the record in the buffers is a row.
    fn judge(&self, record: Record) -> Item<'_> {
        let raw = match record.shape {
            Shape::Whole => trim_line_end(self.source.record()),
            Shape::TooLong { .. } | Shape::OpenQuote { .. } => trim_line_end(&self.kept),
        };
        match self.check(record) {
            Ok(text) => Item::Row(Row { text, ends: self.splitter.cells().1, raw, at: record.at }),
            Err((column, reason)) => {
                let (row, line) = (Some(record.at.row), Some(record.at.line));
                let fault = Fault { row, line, column, reason };
                Item::Refused(Refused { fault, raw, position: record.at })
            }
        }
    }

    /// The text of a good row, or what is wrong and in which column, counted from 1.
    fn check(&self, record: Record) -> Result<&str, (Option<usize>, Reason)> {
        let found = self.splitter.columns();
        match record.shape {
            Shape::Whole => {}
            Shape::TooLong { bytes } => {
                let limit = self.limits.record_bytes;
                return Err((None, Reason::RecordTooLong { found: bytes, limit }));
            }
            // The open cell is the one behind those that were completed.
            Shape::OpenQuote { lines } => {
                return Err((Some(found + 1), Reason::UnclosedQuote { lines }));
            }
        }
        if found > self.columns {
            return Err((None, Reason::TooManyColumns { expected: self.columns, found }));
        }
        let text = self.check_cells(record.control)?;
        if found < self.columns {
            return Err((None, Reason::TooFewColumns { expected: self.columns, found }));
        }
        Ok(text)
    }

    fn check_cells(&self, control: bool) -> Result<&str, (Option<usize>, Reason)> {
        let (bytes, ends) = self.splitter.cells();
        if control && let Some(at) = bytes.iter().position(|&byte| byte == 0) {
            return Err((Some(column_of(at, ends)), Reason::NulByte));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| (Some(column_of(error.valid_up_to(), ends)), Reason::InvalidUtf8))?;
        // Halves of a character in two neighbouring cells look whole side by side.
        if let Some(cut) = ends.iter().position(|&end| !text.is_char_boundary(end)) {
            return Err((Some(cut + 1), Reason::InvalidUtf8));
        }
        // And so do halves with a quote between them, once the quote is taken out.
        let raw = trim_line_end(self.source.record());
        let has_quotes = raw.len() + 1 > bytes.len() + ends.len();
        if has_quotes && std::str::from_utf8(raw).is_err() {
            return Err((None, Reason::InvalidUtf8));
        }
        let limit = self.limits.field_bytes;
        if bytes.len() > limit {
            let mut start = 0;
            for (index, &end) in ends.iter().enumerate() {
                if end - start > limit {
                    let found = end - start;
                    return Err((Some(index + 1), Reason::FieldTooLong { found, limit }));
                }
                start = end;
            }
        }
        Ok(text)
    }
}

/// The column, from 1, of the cell that holds the text's byte `at`.
fn column_of(at: usize, ends: &[usize]) -> usize {
    ends.partition_point(|&end| end <= at) + 1
}
