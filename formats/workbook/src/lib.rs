//! Reading Excel workbooks: the first visible sheet, row by row, as text in bounded memory.
//!
//! This crate knows the file's parts and what its cells mean. It does not know what a column is for,
//! and it opens no file.

mod cells;
mod sheet;
mod styles;
mod texts;
mod unpacking;
mod xml;

use std::io::{self, Read, Seek};

use thiserror::Error;

use crate::sheet::Sheet;
use crate::unpacking::Parts;

/// How much of a workbook is taken before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All parts together, unpacked; and all cells together, as texts that cells share count anew
    /// for each of them.
    pub total_bytes: u64,
    /// How many times its packed size a part may grow to, beyond the first 50 MB.
    pub ratio: u64,
    /// Texts that cells share; they are held in memory.
    pub shared_bytes: usize,
    /// Longest cell.
    pub cell_bytes: usize,
    /// Longest row, all its cells together.
    pub row_bytes: usize,
    pub columns: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            total_bytes: 10 << 30,
            ratio: 100,
            shared_bytes: 128 << 20,
            cell_bytes: 1_000_000,
            row_bytes: 4_000_000,
            columns: 1_000,
        }
    }
}

/// Why a workbook cannot be read. Each text says what to do.
#[derive(Debug, Error)]
pub enum Fault {
    #[error(
        "the workbook is damaged or no workbook ({0}): save it again, or save it as CSV (UTF-8)"
    )]
    Damaged(String),
    #[error("the workbook is protected by a password: save it without one")]
    Encrypted,
    #[error("the workbook has no sheet with cells")]
    NoSheet,
    #[error("the workbook grows beyond {0} when it is unpacked: save it as CSV (UTF-8)")]
    TooLarge(&'static str),
    #[error("the sheet has more than {0} columns: leave out columns")]
    TooManyColumns(usize),
    /// The input or the taker of rows failed.
    #[error("read workbook")]
    Io(#[from] io::Error),
}

impl Fault {
    /// A code that stays the same when the sentence is improved.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::Damaged(_) => "damaged_workbook",
            Fault::Encrypted => "encrypted",
            Fault::NoSheet => "empty_file",
            Fault::TooLarge(_) => "too_large_unpacked",
            Fault::TooManyColumns(_) => "too_many_file_columns",
            Fault::Io(_) => "unreadable",
        }
    }
}

/// Whether an archive is a workbook.
pub fn is_workbook(input: impl Read + Seek) -> bool {
    zip::ZipArchive::new(input).is_ok_and(|zip| zip.index_for_name("xl/workbook.xml").is_some())
}

/// Reads the first visible sheet, and gives the cells of each row that has any.
///
/// # Errors
/// A [`Fault`] where the workbook cannot be read or goes beyond a limit, also in the middle; `Io`
/// where `take` fails.
pub fn read(
    input: impl Read + Seek,
    limits: &Limits,
    take: &mut dyn FnMut(&[String]) -> io::Result<()>,
) -> Result<(), Fault> {
    let mut parts = Parts::open(input, limits)?;
    let Sheet { path, since_1904 } = Sheet::find(&mut parts)?;
    let dates = styles::date_styles(&mut parts)?;
    let texts = texts::shared(&mut parts, limits)?;
    cells::read(
        &mut parts,
        &path,
        &cells::Reading { dates, texts, since_1904, limits: *limits },
        take,
    )
}
