//! Reading a whole input into plain values, and inputs that come in pieces.

use std::io::{self, ErrorKind, Read};

use tidings_delimited::{Fault, Item, Layout, Limits, OpenError, Position, Reader};

/// One record as a plain value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Row(Vec<String>),
    Refused(Fault),
}

/// A record, where it began, its raw text, and where the reader stood after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub seen: Seen,
    pub at: Position,
    pub raw: Vec<u8>,
    pub after: Position,
}

pub fn drain<R: Read>(reader: &mut Reader<R>) -> Vec<Step> {
    let mut steps = Vec::new();
    loop {
        let (seen, at, raw) = match reader.read().expect("the input does not fail") {
            None => return steps,
            Some(Item::Row(row)) => {
                let cells: Vec<String> = row.cells().map(str::to_owned).collect();
                for (index, cell) in cells.iter().enumerate() {
                    assert_eq!(row.cell(index), Some(cell.as_str()));
                }
                assert_eq!(row.columns(), cells.len());
                (Seen::Row(cells), row.position(), row.raw().to_vec())
            }
            Some(Item::Refused(refused)) => {
                (Seen::Refused(refused.fault), refused.position, refused.raw.to_vec())
            }
        };
        let after = reader.position();
        steps.push(Step { seen, at, raw, after });
    }
}

pub fn open<'a>(
    bytes: &'a [u8],
    layout: &Layout,
    limits: Limits,
) -> Result<Reader<&'a [u8]>, Fault> {
    Reader::open(bytes, layout, limits).map_err(|error| match error {
        OpenError::Fault(fault) => fault,
        OpenError::Io(error) => panic!("a slice does not fail: {error}"),
    })
}

/// Hands out the bytes a few at a time, with an interruption before each piece.
pub struct Pieces<'a> {
    pub bytes: &'a [u8],
    pub most: usize,
    pub interrupted: bool,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(ErrorKind::Interrupted.into());
        }
        let count = self.most.min(buffer.len()).min(self.bytes.len());
        let (piece, rest) = self.bytes.split_at(count);
        buffer[..count].copy_from_slice(piece);
        self.bytes = rest;
        Ok(count)
    }
}
