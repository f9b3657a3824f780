//! A window on the input: the bytes of the record being read, and what was read ahead of it.

use std::io::{self, ErrorKind, Read};

/// How much is asked of the input at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// Bytes `start..pos` have been looked at and belong to the current record; `pos..end` are ahead.
#[derive(Debug)]
pub(crate) struct Source<R> {
    input: R,
    buffer: Vec<u8>,
    /// Offset in the file of the buffer's first byte.
    base: u64,
    pub start: usize,
    pub pos: usize,
    end: usize,
    finished: bool,
    /// The buffer never grows beyond this.
    most_bytes: usize,
}

impl<R: Read> Source<R> {
    /// `record_bytes`: how much of one record must fit into the window.
    pub fn new(input: R, base: u64, record_bytes: usize) -> Self {
        Source {
            input,
            buffer: vec![0; CHUNK_BYTES],
            base,
            start: 0,
            pos: 0,
            end: 0,
            finished: false,
            most_bytes: record_bytes.saturating_add(CHUNK_BYTES),
        }
    }

    /// Offset in the file of the next byte to look at.
    pub fn offset(&self) -> u64 {
        self.base + self.pos as u64
    }

    /// The bytes ahead.
    pub fn ahead(&self) -> &[u8] {
        &self.buffer[self.pos..self.end]
    }

    /// The bytes of the current record so far.
    pub fn record(&self) -> &[u8] {
        &self.buffer[self.start..self.pos]
    }

    /// The next byte without taking it, or `None` at the end of the input.
    pub fn peek(&mut self) -> io::Result<Option<u8>> {
        if self.pos == self.end && !self.refill()? {
            return Ok(None);
        }
        Ok(Some(self.buffer[self.pos]))
    }

    /// Reads more, keeping the current record. Returns false at the end of the input.
    pub fn refill(&mut self) -> io::Result<bool> {
        if self.finished {
            return Ok(false);
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.base += self.start as u64;
            self.pos -= self.start;
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            let grown = (self.buffer.len() * 2).min(self.most_bytes).max(self.end + 1);
            self.buffer.resize(grown, 0);
        }
        let read = loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.end += read;
        self.finished = read == 0;
        Ok(read > 0)
    }

    /// Forgets the current record up to here.
    pub fn forget(&mut self) {
        self.start = self.pos;
    }

    pub fn memory_bytes(&self) -> usize {
        self.buffer.capacity()
    }
}
