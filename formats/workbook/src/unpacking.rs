//! The parts of the archive, unpacked as they are read and never beyond the limits.

use std::cell::Cell;
use std::io::{self, BufReader, Read, Seek};

use zip::ZipArchive;
use zip::result::ZipError;

use crate::{Fault, Limits};

/// Up to here a part may be packed as tightly as it likes.
const FREE_BYTES: u64 = 50 << 20;

/// The longest tag or text.
const PIECE_BYTES: u64 = 16 << 20;

pub struct Parts<R> {
    zip: ZipArchive<R>,
    limits: Limits,
    /// What may still be unpacked.
    left: u64,
}

impl<R: Read + Seek> Parts<R> {
    pub fn open(input: R, limits: &Limits) -> Result<Parts<R>, Fault> {
        let zip = ZipArchive::new(input).map_err(fault)?;
        Ok(Parts { zip, limits: *limits, left: limits.total_bytes })
    }

    /// Whether there is such a part.
    pub fn has(&self, path: &str) -> bool {
        self.zip.index_for_name(path).is_some()
    }

    /// Reads a part with what it may hold; gives what `work` makes of it.
    pub fn with<T>(
        &mut self,
        path: &str,
        work: impl FnOnce(Input<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let file = self.zip.by_name(path).map_err(fault)?;
        let packed = file.compressed_size();
        let by_ratio = packed.saturating_mul(self.limits.ratio).max(FREE_BYTES);
        let since = Cell::new(0);
        let at_most = self.left.min(by_ratio);
        let mut bounded = Bounded { input: file, left: at_most, since: &since, over: None };
        let done = work(Input { bytes: &mut BufReader::new(&mut bounded), since: &since });
        let (left, over) = (bounded.left, bounded.over);
        self.left = self.left.saturating_sub(at_most - left);
        match over {
            Some(fault) => Err(Fault::TooLarge(fault)),
            None => done,
        }
    }
}

/// A part as it is read. Who reads it sets `since` to 0 behind every piece that it has let go of.
pub struct Input<'r> {
    pub bytes: &'r mut dyn io::BufRead,
    pub since: &'r Cell<u64>,
}

/// Fails once more is read than may be, in all or in one piece.
struct Bounded<'c, R> {
    input: R,
    left: u64,
    since: &'c Cell<u64>,
    over: Option<&'static str>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.since.set(self.since.get() + read as u64);
        if read as u64 > self.left {
            self.over = Some("10 GB, or 100 times its packed size,");
        } else if self.since.get() > PIECE_BYTES {
            self.over = Some("16 MB in one piece");
        }
        if self.over.is_some() {
            return Err(io::Error::other("too large"));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

fn fault(error: ZipError) -> Fault {
    match error {
        ZipError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            Fault::Damaged(error.to_string())
        }
        ZipError::UnsupportedArchive(text) if text.contains("assword") => Fault::Encrypted,
        other => Fault::Damaged(other.to_string()),
    }
}
