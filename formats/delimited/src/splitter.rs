//! The tokenizer: `csv-core` with one output buffer, so that a record is split into cells without
//! an allocation per record.

use csv_core::ReadRecordResult;

use crate::Layout;

/// Splits bytes into the cells of one record at a time.
#[derive(Debug)]
pub(crate) struct Splitter {
    core: Box<csv_core::Reader>,
    text: Vec<u8>,
    ends: Vec<usize>,
    text_bytes: usize,
    cells: usize,
    /// Cells of this record that were split off and let go.
    dropped: usize,
    /// Text is thrown away: only where the record ends matters any more.
    skipping: bool,
}

/// What came of feeding bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fed {
    /// All bytes are taken and the record goes on.
    NeedsMore,
    /// The record is complete; the bytes behind it are not taken.
    Record,
}

impl Splitter {
    /// Keeps at most `columns` cells and a few more; of wider records only the count is known.
    pub fn new(layout: &Layout, columns: usize) -> Self {
        let mut core = csv_core::ReaderBuilder::new()
            .delimiter(layout.delimiter)
            .quote(layout.quote.unwrap_or(b'"'))
            .quoting(layout.quote.is_some())
            .build();
        // A byte order mark is the reader's business. csv-core would drop one from the first
        // bytes it sees, which after a resume are those of any row, so it gets to see a blank line.
        core.read_record(b"\n", &mut [0], &mut [0]);
        Splitter {
            core: Box::new(core),
            text: vec![0; 16 * 1024],
            ends: vec![0; columns.saturating_add(2)],
            text_bytes: 0,
            cells: 0,
            dropped: 0,
            skipping: false,
        }
    }

    /// Starts a new record.
    pub fn begin(&mut self) {
        self.text_bytes = 0;
        self.cells = 0;
        self.dropped = 0;
        self.skipping = false;
    }

    /// From here to the end of the record nothing is kept.
    pub fn skip(&mut self) {
        self.skipping = true;
    }

    /// Takes bytes up to the end of the record. Returns how many were taken.
    pub fn feed(&mut self, bytes: &[u8]) -> (Fed, usize) {
        let mut taken = 0;
        // csv-core takes no bytes as the end of the input, which only `finish` may say.
        while taken < bytes.len() {
            let (result, read, written, ended) = self.core.read_record(
                &bytes[taken..],
                &mut self.text[self.text_bytes..],
                &mut self.ends[self.cells..],
            );
            taken += read;
            self.text_bytes += written;
            self.cells += ended;
            match result {
                ReadRecordResult::Record => return (Fed::Record, taken),
                ReadRecordResult::InputEmpty | ReadRecordResult::End => {
                    return (Fed::NeedsMore, taken);
                }
                ReadRecordResult::OutputFull if self.skipping => self.text_bytes = 0,
                ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => {
                    self.dropped += self.cells;
                    self.cells = 0;
                }
            }
        }
        (Fed::NeedsMore, taken)
    }

    /// Ends the record at the end of the input. Returns false when a quote is still open.
    pub fn finish(&mut self) -> bool {
        // Outside quotes a line feed ends the record; inside it is text, and the record goes on.
        if self.feed(b"\n").0 == Fed::Record {
            return true;
        }
        self.core.reset();
        self.core.read_record(b"\n", &mut [0], &mut [0]);
        false
    }

    /// The number of cells of the record, kept or not.
    pub fn columns(&self) -> usize {
        self.dropped + self.cells
    }

    /// The cells' text one behind the other, and where each ends. Not for skipped or too wide
    /// records.
    pub fn cells(&self) -> (&[u8], &[usize]) {
        (&self.text[..self.text_bytes], &self.ends[..self.cells])
    }

    /// The text holds a NUL, a line ending or another control character. One pass without a
    /// branch, which the compiler turns into vector code; the usual row needs no further look.
    pub fn has_control(&self) -> bool {
        self.text[..self.text_bytes].iter().fold(false, |found, &byte| found | (byte < b' '))
    }

    pub fn memory_bytes(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}
