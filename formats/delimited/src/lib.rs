//! Delimited text (CSV and its relatives): find out how a file is written, read it row by row in
//! bounded memory, and write exports and error files.
//!
//! This crate knows bytes, rows and cells. It does not know what a column means, who the customers
//! are, where the bytes come from or what becomes of a row; it opens no file and reads no clock.
//!
//! A row that cannot be read is handed over as [`Refused`], with the reason and its raw text, and
//! reading goes on behind it. Only what makes the whole file unusable (no text, a header with the same name twice) ends the reading, before the first row.

mod detect;
mod encoding;
mod error_file;
mod export;
mod fault;
mod header;
mod layout;
mod line_ends;
mod reader;
mod row;
mod source;
mod splitter;
mod values;

pub use detect::{SAMPLE_BYTES, detect, detect_as};
pub use encoding::{Decoder, detect_encoding};
pub use error_file::ErrorFileWriter;
pub use export::{ExportOptions, ExportWriter, defuse, restore};
pub use fault::{Fault, OpenError, Reason};
pub use layout::{Adjust, Encoding, Layout, Limits, LineEnding, Position};
pub use reader::Reader;
pub use row::{Item, Refused, Row};
pub use values::{DateOrder, DecimalMark, Form, date, detect_forms, number};
