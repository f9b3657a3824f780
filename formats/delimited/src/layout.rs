//! How a file is written, how much of it may be held in memory, and where in it a reader stands.

use serde::{Deserialize, Serialize};

/// How the bytes of a file stand for characters.
///
/// [`crate::detect`] tells all of them apart but the last two, and then answers Windows-1252, which
/// reads both. A [`crate::Reader`] reads UTF-8; [`crate::Decoder`] makes it of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    #[serde(rename = "utf-8", alias = "utf8")]
    Utf8,
    #[serde(rename = "utf-16le", alias = "utf16-le", alias = "utf-16-le")]
    Utf16Le,
    #[serde(rename = "utf-16be", alias = "utf16-be", alias = "utf-16-be")]
    Utf16Be,
    #[serde(rename = "windows-1252", alias = "windows1252")]
    Windows1252,
    #[serde(rename = "iso-8859-1", alias = "latin1")]
    Iso88591,
}

impl Encoding {
    pub const ALL: [Encoding; 5] = [
        Encoding::Utf8,
        Encoding::Utf16Le,
        Encoding::Utf16Be,
        Encoding::Windows1252,
        Encoding::Iso88591,
    ];

    /// The name it goes by in settings and answers.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 => "utf-8",
            Encoding::Utf16Le => "utf-16le",
            Encoding::Utf16Be => "utf-16be",
            Encoding::Windows1252 => "windows-1252",
            Encoding::Iso88591 => "iso-8859-1",
        }
    }

    /// An encoding by its name, or by another that is common for it. `utf-16` alone means little
    /// endian.
    pub fn parse(text: &str) -> Option<Encoding> {
        let plain: String =
            text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
        Some(match plain.as_str() {
            "utf8" | "utf8bom" | "utf8sig" | "ascii" | "usascii" => Encoding::Utf8,
            "utf16le" | "utf16" | "ucs2" => Encoding::Utf16Le,
            "utf16be" => Encoding::Utf16Be,
            "windows1252" | "cp1252" | "ansi" => Encoding::Windows1252,
            "iso88591" | "latin1" => Encoding::Iso88591,
            _ => return None,
        })
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
    pub fn name(self) -> &'static str {
        match self {
            LineEnding::CrLf => "crlf",
            LineEnding::Lf => "lf",
            LineEnding::Cr => "cr",
        }
    }

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
    /// One ASCII byte, `"` or `'`; doubled inside a quoted cell it stands for itself. `None` where
    /// quotes are plain text.
    pub quote: Option<u8>,
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
            quote: Some(b'"'),
            header: true,
            line_ending: LineEnding::Lf,
        }
    }
}

/// What somebody knows better than [`crate::detect`]; the rest is found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adjust {
    pub encoding: Option<Encoding>,
    pub delimiter: Option<u8>,
    /// `Some(None)` for no quotes at all.
    pub quote: Option<Option<u8>>,
    pub header: Option<bool>,
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
