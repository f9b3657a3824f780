//! What can be wrong with a file or a row, as a stable code and a sentence for the person who has
//! to put it right.

use std::fmt;

use thiserror::Error;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Number of the row, from 1; 0 is the header. `None` where the file as a whole is meant.
    pub row: Option<u64>,
    /// The line on which that row begins, from 1.
    pub line: Option<u64>,
    /// Number of the column, from 1, where one column is to blame.
    pub column: Option<usize>,
    pub reason: Reason,
}

impl Fault {
    pub(crate) fn of_file(reason: Reason) -> Self {
        Fault { row: None, line: None, column: None, reason }
    }

    /// The stable code of the reason, for programs and for counting.
    pub fn code(&self) -> &'static str {
        self.reason.code()
    }
}

impl fmt::Display for Fault {
    /// The place, then the sentence: `row 3, line 4, column 2: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row {
            Some(0) => write!(f, "header")?,
            Some(row) => write!(f, "row {row}")?,
            None => return write!(f, "{}", self.reason),
        }
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(column) = self.column {
            write!(f, ", column {column}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for Fault {}

/// Why a file or a row is refused. Its text says what was expected and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    // The whole file.
    #[error("the file is empty: expected a header and rows; check that the export wrote its data")]
    EmptyFile,
    #[error("the file is {found}, not delimited text: save it as CSV (UTF-8) and send that")]
    NotDelimitedText { found: &'static str },
    #[error(
        "the file has {found} columns and at most {limit} are read: leave out columns, or check the delimiter and the quotes"
    )]
    TooManyFileColumns { found: usize, limit: usize },
    #[error(
        "the header has the same name more than once: {names}; give every column a name of its own"
    )]
    DuplicateHeaders {
        /// Each name with its columns, as in `"email" (columns 1 and 3)`.
        names: String,
    },

    // One row, or the header when it is row 0.
    #[error("the cell holds a NUL byte: remove it, or export the file again as plain text")]
    NulByte,
    #[error(
        "the cell holds bytes that are not UTF-8: save the file as \"CSV UTF-8\", or correct the cell"
    )]
    InvalidUtf8,
    #[error("the cell is {found} bytes long and at most {limit} are read: shorten it")]
    FieldTooLong { found: usize, limit: usize },
    #[error(
        "the row is {found} bytes long and at most {limit} are read: shorten it, or look for a quote that is not closed"
    )]
    RecordTooLong { found: u64, limit: usize },
    #[error("expected {expected} columns, found {found}: add the missing cells")]
    TooFewColumns { expected: usize, found: usize },
    #[error(
        "expected {expected} columns, found {found}: put cells that contain the delimiter in quotes"
    )]
    TooManyColumns { expected: usize, found: usize },
    #[error(
        "a quote is opened and never closed, so the rest of the file ({lines} lines) was taken as one cell: close the quote, or double it if it is part of the text"
    )]
    UnclosedQuote {
        /// Lines from the one where the record begins to the end of the file.
        lines: u64,
    },
}

impl Reason {
    /// A code that stays the same when the sentence is improved.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::EmptyFile => "empty_file",
            Reason::NotDelimitedText { .. } => "not_delimited_text",
            Reason::TooManyFileColumns { .. } => "too_many_file_columns",
            Reason::DuplicateHeaders { .. } => "duplicate_headers",
            Reason::NulByte => "nul_byte",
            Reason::InvalidUtf8 => "invalid_utf8",
            Reason::FieldTooLong { .. } => "field_too_long",
            Reason::RecordTooLong { .. } => "record_too_long",
            Reason::TooFewColumns { .. } => "too_few_columns",
            Reason::TooManyColumns { .. } => "too_many_columns",
            Reason::UnclosedQuote { .. } => "unclosed_quote",
        }
    }
}

/// Why a file could not be opened for reading.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The file itself is not usable.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The bytes could not be fetched.
    #[error("read delimited file")]
    Io(#[from] std::io::Error),
}
