//! What an upload really is: text as it stands, or packed by gzip or ZIP, a workbook, or JSON lines.
//! Whatever is not delimited text is made such text once, in a file beside the upload, so that the
//! import itself knows rows and cells alone.
//!
//! Nothing is unpacked without a limit, and an archive holds exactly one file.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use tidings_delimited::{Decoder, Encoding, ExportOptions, ExportWriter, Layout, LineEnding};
use zip::ZipArchive;
use zip::result::ZipError;

use super::upload::{MAX_UPLOAD_BYTES, storage_fault};
use super::{invalid_file, json_lines};
use crate::{Error, Result};

/// How many times its packed size a file may grow to, beyond the first 50 MB.
const RATIO: u64 = 100;
const FREE_BYTES: u64 = 50 << 20;

/// How Microsoft's compound files begin: old workbooks, and new ones that are encrypted.
const OLE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// What an upload is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    #[serde(default)]
    pub kind: FileKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packing: Option<Packing>,
    /// The number of the earlier import that its mapping was taken from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapped_as: Option<i64>,
    /// The name of the kept mapping that its mapping was taken from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapped_by: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// Delimited text.
    #[default]
    Csv,
    /// A JSON object a line.
    JsonLines,
    /// An Excel workbook.
    Workbook,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    Gzip,
    Zip,
}

impl FileKind {
    pub fn name(self) -> &'static str {
        match self {
            FileKind::Csv => "csv",
            FileKind::JsonLines => "json_lines",
            FileKind::Workbook => "workbook",
        }
    }
}

impl Packing {
    pub fn name(self) -> &'static str {
        match self {
            Packing::Gzip => "gzip",
            Packing::Zip => "zip",
        }
    }
}

/// How text that we make ourselves is written.
pub const MADE: Layout = Layout {
    encoding: Encoding::Utf8,
    bom: false,
    delimiter: b',',
    quote: Some(b'"'),
    header: true,
    line_ending: LineEnding::Lf,
};

/// Finds out what an upload is; where it is packed, writes the one file in it to `unpacked`.
pub fn unpack(from: &Path, unpacked: &Path) -> Result<Source> {
    let packing = packing_of(from)?;
    let inner = match packing {
        None => from,
        Some(Packing::Gzip) => {
            let file = File::open(from).map_err(|error| storage_fault(&error))?;
            let packed = file.metadata().map_err(|error| storage_fault(&error))?.len();
            write(MultiGzDecoder::new(BufReader::new(file)), packed, unpacked)?;
            unpacked
        }
        Some(Packing::Zip) => {
            unzip(from, unpacked)?;
            unpacked
        }
    };
    if packing.is_some() && packing_of(inner)?.is_some() {
        let message = "the archive holds another archive: unpack it and send the file itself";
        return Err(invalid_file("nested_archive", message));
    }
    if head(inner)?.starts_with(OLE) {
        let message = "this is a workbook with a password, or of an old Excel (.xls): save it as \
                       .xlsx without a password and send that";
        return Err(invalid_file("unreadable_workbook", message));
    }
    Ok(Source { kind: kind_of(inner)?, packing, ..Source::default() })
}

fn head(path: &Path) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    let file = File::open(path).map_err(|error| storage_fault(&error))?;
    file.take(4_096).read_to_end(&mut head).map_err(|error| storage_fault(&error))?;
    Ok(head)
}

/// A workbook is an archive too, but one that is read as it is.
fn packing_of(path: &Path) -> Result<Option<Packing>> {
    let head = head(path)?;
    if head.starts_with(b"\x1f\x8b") {
        return Ok(Some(Packing::Gzip));
    }
    let is_zip = head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06");
    let open = || File::open(path).map_err(|error| storage_fault(&error));
    Ok((is_zip && !tidings_workbook::is_workbook(open()?)).then_some(Packing::Zip))
}

fn kind_of(path: &Path) -> Result<FileKind> {
    let head = head(path)?;
    if head.starts_with(b"PK\x03\x04") {
        return Ok(FileKind::Workbook);
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head);
    let begins = text.trim_ascii_start();
    // A CSV may begin with a brace too; a JSON object goes on with a name or ends.
    let inside = begins.strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    let is_json = inside.is_some_and(|rest| rest.starts_with(b"\"") || rest.starts_with(b"}"));
    Ok(if is_json { FileKind::JsonLines } else { FileKind::Csv })
}

fn unzip(from: &Path, unpacked: &Path) -> Result<()> {
    let file = File::open(from).map_err(|error| storage_fault(&error))?;
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    let mut found = None;
    for index in 0..zip.len() {
        let name = zip.name_for_index(index).transpose().map_err(damaged)?.unwrap_or_default();
        // What some systems put beside every file.
        if name.ends_with('/') || name.starts_with("__MACOSX/") || name.ends_with(".DS_Store") {
            continue;
        }
        if found.replace(index).is_some() {
            let message = "the archive holds more than one file: send them one by one";
            return Err(invalid_file("archive_files", message));
        }
    }
    let Some(index) = found else {
        return Err(invalid_file("empty_file", "the archive holds no file"));
    };
    let entry = zip.by_index(index).map_err(damaged)?;
    let packed = entry.compressed_size();
    write(entry, packed, unpacked)
}

fn damaged(error: ZipError) -> Error {
    match error {
        ZipError::UnsupportedArchive(text) if text.to_lowercase().contains("password") => {
            let message = "the archive is protected by a password: send it without one";
            invalid_file("encrypted", message)
        }
        other => invalid_file("damaged_archive", format!("the archive cannot be read: {other}")),
    }
}

/// Writes what comes out of an archive, as far as the limits allow.
fn write(mut input: impl Read, packed: u64, unpacked: &Path) -> Result<()> {
    let by_ratio = packed.saturating_mul(RATIO).max(FREE_BYTES);
    let mut file = File::create(unpacked).map_err(|error| storage_fault(&error))?;
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0_u64;
    loop {
        let read = match input.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let message = format!("the archive is damaged: {error}");
                return Err(invalid_file("damaged_archive", message));
            }
            Ok(0) => break,
            Ok(read) => read,
        };
        bytes += read as u64;
        if bytes > MAX_UPLOAD_BYTES {
            let message = "the file is larger than 10 GB once it is unpacked; split it";
            return Err(invalid_file("too_large", message));
        }
        if bytes > by_ratio {
            let message = "the file grows beyond 100 times its packed size; send it unpacked";
            return Err(invalid_file("archive_ratio", message));
        }
        file.write_all(&buffer[..read]).map_err(|error| storage_fault(&error))?;
    }
    file.sync_all().map_err(|error| storage_fault(&error))
}

/// Writes the rows of a workbook or of JSON lines as delimited text.
pub fn write_rows(kind: FileKind, from: &Path, text: &Path) -> Result<()> {
    let part = text.with_extension("part");
    let file = File::create(&part).map_err(|error| storage_fault(&error))?;
    // Formulas are defused as in any export, which the reading of cells takes back.
    let options = ExportOptions { layout: MADE, defuse_formulas: true };
    let mut rows = ExportWriter::new(BufWriter::new(file), options);
    match kind {
        FileKind::Workbook => workbook(from, &mut rows)?,
        _ => json_lines::write(from, &mut rows)?,
    }
    let file = rows.finish().map_err(|error| storage_fault(&error))?;
    let file = file.into_inner().map_err(|error| storage_fault(error.error()))?;
    file.sync_all().map_err(|error| storage_fault(&error))?;
    std::fs::rename(&part, text).map_err(|error| storage_fault(&error))
}

/// Rows are as wide as the first one, or wider where they have more.
fn workbook(from: &Path, rows: &mut ExportWriter<BufWriter<File>>) -> Result<()> {
    let file = File::open(from).map_err(|error| storage_fault(&error))?;
    let mut width = 0;
    let mut take = |cells: &[String]| {
        width = if width == 0 { cells.len() } else { width };
        let missing = width.saturating_sub(cells.len());
        let blank = std::iter::repeat_n("", missing);
        rows.write_row(cells.iter().map(String::as_str).chain(blank))
    };
    let limits = tidings_workbook::Limits::default();
    match tidings_workbook::read(BufReader::new(file), &limits, &mut take) {
        Ok(()) => Ok(()),
        Err(tidings_workbook::Fault::Io(error)) => Err(storage_fault(&error)),
        Err(fault) => Err(invalid_file(fault.code(), fault.to_string())),
    }
}

/// The lines of a file in any encoding, read twice by who needs to.
pub fn decoded(path: &Path) -> Result<BufReader<Decoder<File>>> {
    let mut file = File::open(path).map_err(|error| storage_fault(&error))?;
    let found = tidings_delimited::detect_encoding(&file).map_err(|error| storage_fault(&error))?;
    file.seek(SeekFrom::Start(0)).map_err(|error| storage_fault(&error))?;
    Ok(BufReader::with_capacity(256 * 1024, Decoder::new(file, found.0)))
}
