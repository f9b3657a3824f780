//! The file: marks and rows, written aside and moved into place, and read back with every sum
//! checked on the way.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::sums::Sums;
use super::tables::{Kind, bucket_column};
use crate::hex::hex;
use crate::{Error, Result};

/// The format that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
/// No line is longer than this; the longest row holds one kept mail.
const MAX_LINE: u64 = 512 * 1024 * 1024;
/// Files are carried in pieces of this size.
pub const CHUNK: usize = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    Archive(Header),
    Database(Database),
    Table(Table),
    EndTable(Sums),
    File { path: String },
    Chunk { bytes: usize },
    EndFile { bytes: u64, sha256: String },
    Done { tables: u64, rows: u64, sha256: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    pub format: u32,
    /// Microseconds since 1970 in UTC.
    pub made_at: i64,
    /// `sqlite` or `postgres`.
    pub engine: String,
    pub program: String,
    /// The number of the one workspace that it holds; without it, it holds the whole hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Database {
    pub name: String,
    /// The last migration that ran there.
    pub migration: i64,
    pub partitioned: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub name: String,
    pub columns: Vec<(String, Kind)>,
}

/// Writes an archive beside its place; only `finish` moves it there.
pub struct Writer {
    out: GzEncoder<BufWriter<File>>,
    digest: Sha256,
    aside: PathBuf,
    target: PathBuf,
    tables: u64,
    rows: u64,
}

impl Writer {
    pub fn create(target: &Path, header: Header) -> Result<Writer> {
        if target.exists() {
            return Err(Error::Conflict(format!("{} exists", target.display())));
        }
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let aside = target.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            // It holds everything that is known of everyone.
            options.mode(0o600);
        }
        let file = BufWriter::with_capacity(256 * 1024, options.open(&aside)?);
        let mut writer = Writer {
            out: GzEncoder::new(file, Compression::fast()),
            digest: Sha256::new(),
            aside,
            target: target.to_owned(),
            tables: 0,
            rows: 0,
        };
        writer.mark(&Mark::Archive(header))?;
        Ok(writer)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.digest.update(bytes);
        self.out.write_all(bytes)?;
        Ok(())
    }

    pub fn mark(&mut self, mark: &Mark) -> Result<()> {
        let mut line = serde_json::to_vec(mark).map_err(|e| Error::Corrupt(e.to_string()))?;
        line.push(b'\n');
        if matches!(mark, Mark::Table(_)) {
            self.tables += 1;
        }
        self.bytes(&line)
    }

    /// One row's line, without its end.
    pub fn row(&mut self, line: &[u8]) -> Result<()> {
        self.rows += 1;
        self.bytes(line)?;
        self.bytes(b"\n")
    }

    pub fn file(&mut self, path: &str, mut file: File) -> Result<()> {
        self.mark(&Mark::File { path: path.to_owned() })?;
        let mut digest = Sha256::new();
        let mut total = 0;
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            digest.update(&buffer[..count]);
            total += count as u64;
            self.mark(&Mark::Chunk { bytes: count })?;
            self.bytes(&buffer[..count])?;
            self.bytes(b"\n")?;
        }
        self.mark(&Mark::EndFile { bytes: total, sha256: hex(&digest.finalize()) })
    }

    /// Ends the archive: on the disk, then in its place. Gives its tables and rows.
    pub fn finish(mut self) -> Result<(u64, u64)> {
        let sha256 = hex(&self.digest.clone().finalize());
        self.mark(&Mark::Done { tables: self.tables, rows: self.rows, sha256 })?;
        let mut file = self.out.finish()?;
        file.flush()?;
        file.get_ref().sync_all()?;
        std::fs::rename(&self.aside, &self.target)?;
        sync_folder(&self.target)?;
        Ok((self.tables, self.rows))
    }
}

/// Makes a new name in a folder outlive a power cut.
pub fn sync_folder(file: &Path) -> Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// One piece of an archive.
pub enum Item {
    Mark(Mark),
    /// A row's values, in the order of the table's columns.
    Row(Vec<serde_json::Value>),
    /// A piece of a file.
    Bytes(Vec<u8>),
}

/// Reads an archive and checks every sum as it passes.
pub struct Reader {
    from: BufReader<GzDecoder<BufReader<File>>>,
    digest: Sha256,
    line: Vec<u8>,
    sums: Sums,
    /// Where the bucket stands among the columns of the table at hand.
    bucket: Option<usize>,
    /// How many columns it has.
    width: usize,
    file: Option<(Sha256, u64)>,
    tables: u64,
    rows: u64,
    ended: bool,
}

fn broken(what: impl std::fmt::Display) -> Error {
    Error::Corrupt(format!("the archive is damaged: {what}"))
}

impl Reader {
    /// Opens an archive; the header has been checked.
    pub fn open(source: &Path) -> Result<(Reader, Header)> {
        let file = BufReader::with_capacity(256 * 1024, File::open(source)?);
        let mut reader = Reader {
            from: BufReader::with_capacity(256 * 1024, GzDecoder::new(file)),
            digest: Sha256::new(),
            line: Vec::new(),
            sums: Sums::default(),
            bucket: None,
            width: 0,
            file: None,
            tables: 0,
            rows: 0,
            ended: false,
        };
        let header = match reader.next() {
            Ok(Some(Item::Mark(Mark::Archive(header)))) => header,
            Err(Error::Io(error)) => return Err(error.into()),
            _ => return Err(Error::Invalid(format!("{} is no archive", source.display()))),
        };
        if header.format > FORMAT {
            return Err(Error::Invalid(format!(
                "the archive has format {}, made by version {}; this program reads {FORMAT}",
                header.format, header.program
            )));
        }
        Ok((reader, header))
    }

    /// Reads everything and keeps nothing; an error says what is wrong.
    pub fn check(source: &Path) -> Result<()> {
        let (mut reader, _) = Reader::open(source)?;
        while reader.next()?.is_some() {}
        Ok(())
    }

    /// The next piece; `None` after the last line, whose absence is an error.
    pub fn next(&mut self) -> Result<Option<Item>> {
        self.line.clear();
        let read = (&mut self.from).take(MAX_LINE).read_until(b'\n', &mut self.line);
        let read = read.map_err(|error| broken(format!("{error}; it may be cut short")))?;
        if read == 0 {
            return match self.ended {
                true => Ok(None),
                false => Err(broken("it is cut short")),
            };
        }
        if self.ended {
            return Err(broken("something follows its end"));
        }
        if self.line.pop() != Some(b'\n') {
            return Err(broken("a line has no end"));
        }
        if self.line.first() == Some(&b'[') {
            return self.row().map(Some);
        }
        let mark: Mark = serde_json::from_slice(&self.line).map_err(broken)?;
        let before = match mark {
            Mark::Done { .. } => hex(&self.digest.clone().finalize()),
            _ => String::new(),
        };
        self.digest.update(&self.line);
        self.digest.update(b"\n");
        self.checked(mark, &before).map(Some)
    }

    fn row(&mut self) -> Result<Item> {
        self.digest.update(&self.line);
        self.digest.update(b"\n");
        let values: Vec<serde_json::Value> = serde_json::from_slice(&self.line).map_err(broken)?;
        if values.len() != self.width {
            return Err(broken("a row has another number of columns than its table"));
        }
        let bucket = self.bucket.and_then(|at| values[at].as_i64());
        self.sums.add(&self.line, bucket);
        self.rows += 1;
        Ok(Item::Row(values))
    }

    fn checked(&mut self, mark: Mark, before: &str) -> Result<Item> {
        match &mark {
            Mark::Table(table) => {
                self.tables += 1;
                self.sums = Sums::default();
                self.bucket = bucket_column(&table.columns);
                self.width = table.columns.len();
            }
            Mark::EndTable(sums) if *sums != self.sums => {
                return Err(broken("the checksum of a table is wrong"));
            }
            Mark::File { .. } => self.file = Some((Sha256::new(), 0)),
            Mark::Chunk { bytes } => return self.chunk(*bytes),
            Mark::EndFile { bytes, sha256 } => {
                let (digest, total) = self.file.take().ok_or_else(|| broken("a file's end"))?;
                if total != *bytes || hex(&digest.finalize()) != *sha256 {
                    return Err(broken("the checksum of a file is wrong"));
                }
            }
            Mark::Done { tables, rows, sha256 } => {
                self.ended = true;
                if (*tables, *rows) != (self.tables, self.rows) || before != *sha256 {
                    return Err(broken("the checksum of the whole is wrong"));
                }
            }
            _ => {}
        }
        Ok(Item::Mark(mark))
    }

    fn chunk(&mut self, bytes: usize) -> Result<Item> {
        if bytes > CHUNK {
            return Err(broken("a piece of a file is too long"));
        }
        let mut piece = vec![0; bytes + 1];
        self.from.read_exact(&mut piece).map_err(|_| broken("it is cut short"))?;
        self.digest.update(&piece);
        if piece.pop() != Some(b'\n') {
            return Err(broken("a piece of a file has no end"));
        }
        let (digest, total) = self.file.as_mut().ok_or_else(|| broken("a piece of no file"))?;
        digest.update(&piece);
        *total += bytes as u64;
        Ok(Item::Bytes(piece))
    }
}
