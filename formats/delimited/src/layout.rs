//! How a file is written, how much of it may be held in memory, and where in it a reader stands.

use serde::{Deserialize, Serialize};

/// How the bytes of a file stand for characters.
///
/// All of these are recognised; only [`Encoding::Utf8`] is read today, so [`crate::detect`] answers
/// the others with a fault that names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
    /// Latin-1 and its Windows superset; they cannot be told apart and the superset reads both.
    Windows1252,
}

impl Encoding {
    /// The name people know it by.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 => "UTF-8",
            Encoding::Utf16Le => "UTF-16 (little endian)",
            Encoding::Utf16Be => "UTF-16 (big endian)",
            Encoding::Windows1252 => "Latin-1 (Windows-1252)",
        }
    }
}

/// What ends most lines of the file. Reading accepts all three anywhere; writing uses this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineEnding {
    CrLf,
    Lf,
    Cr,
}

impl LineEnding {
    pub fn bytes(self) -> &'static [u8] {
        match self {
            LineEnding::CrLf => b"\r\n",
            LineEnding::Lf => b"\n",
            LineEnding::Cr => b"\r",
        }
    }
}

/// How a file is written: found by [`crate::detect`], or given by whoever knows better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    pub encoding: Encoding,
    /// The file opens with a byte order mark.
    pub bom: bool,
    /// One ASCII byte, usually `,` `;` `|` or a tab.
    pub delimiter: u8,
    /// One ASCII byte, `"` or `'`; doubled inside a quoted cell it stands for itself.
    pub quote: u8,
    /// The first record names the columns.
    pub header: bool,
    pub line_ending: LineEnding,
}

impl Default for Layout {
    /// Comma, double quote, header, LF, UTF-8 without a byte order mark.
    fn default() -> Self {
        Layout {
            encoding: Encoding::Utf8,
            bom: false,
            delimiter: b',',
            quote: b'"',
            header: true,
            line_ending: LineEnding::Lf,
        }
    }
}

/// How much a reader accepts before it refuses a row or a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest cell, in bytes, without its quotes.
    pub field_bytes: usize,
    /// Longest record, in bytes as they stand in the file.
    pub record_bytes: usize,
    /// Most columns a file may have.
    pub columns: usize,
    /// How much raw text is kept of a record that is longer than `record_bytes`, and of one that
    /// a quote keeps open to the end of the file. Counts no further than `record_bytes`.
    pub kept_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            field_bytes: 1_000_000,
            record_bytes: 4_000_000,
            columns: 1_000,
            kept_bytes: 65_536,
        }
    }
}

/// Where a record begins. Saved with the work done so far, it lets a later reader go on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Offset in the file, byte order mark included.
    pub byte: u64,
    /// Number of the row, from 1; the header is row 0.
    pub row: u64,
    /// Number of the line in the file, from 1. A quoted cell may span lines.
    pub line: u64,
}
