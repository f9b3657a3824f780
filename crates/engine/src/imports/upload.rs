//! Taking a file in: it is on disk before its row exists, then its layout is found and its columns
//! are named.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tidings_delimited::{Item, Layout, Limits, OpenError, Reader, SAMPLE_BYTES, detect};
use tidings_domain::ImportId;
use tidings_store::imports::NewImport;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::mapping::{Sampled, suggest, suggested_mapping};
use super::{Column, Import, folder, invalid_file, json};
use crate::{Ctx, Error, Fault, Hub, Result};

/// The largest file that is taken.
pub const MAX_UPLOAD_BYTES: u64 = 10 * 1024 * 1024 * 1024;
/// Rows that kinds are judged by.
const SAMPLE_ROWS: usize = 200;
/// Bytes of rows that are looked at, so that very long rows cost no more.
const SAMPLED_BYTES: u64 = 2 * 1024 * 1024;
/// Samples shown for each column, and how many characters of each.
const SAMPLES_SHOWN: usize = 5;
const SAMPLE_CHARS: usize = 200;

/// What the sender says of a file.
#[derive(Clone, Debug, Default)]
pub struct Upload {
    pub filename: String,
    /// The table whose records the rows are; `None` means customers.
    pub table: Option<String>,
}

/// Keeps a file and makes an import of it, with a suggested mapping. A file that cannot be read at
/// all is refused with a fault on `file` and leaves nothing behind.
pub async fn create(
    ctx: &Ctx,
    upload: Upload,
    body: impl AsyncRead + Unpin + Send,
) -> Result<Import> {
    let schema = ctx.workspace.fresh_schema().await?;
    let table = match upload.table.as_deref() {
        Some(name) => Some(schema.table(name).cloned().ok_or_else(|| {
            let message = format!("unknown table {name}; add it to the schema first");
            Error::Invalid(vec![Fault::new("table", "unknown_table", message)])
        })?),
        None => None,
    };
    let id = ImportId::generate();
    crate::audit::about(id);
    let kept = keep(&folder(&ctx.hub), id, body).await?;
    let path = kept.path.clone();
    let looked = tokio::task::spawn_blocking(move || look(&path)).await;
    let looked =
        looked.map_err(|_| Error::Internal("looking at the file panicked".to_owned()))??;
    let sampled: Vec<Sampled<'_>> = looked
        .headers
        .iter()
        .zip(&looked.values)
        .map(|(header, values)| Sampled { header, values })
        .collect();
    let suggestions = suggest(&sampled, &schema, table.as_deref());
    let mapping = suggested_mapping(&looked.headers, &suggestions);
    let columns: Vec<Column> = sampled
        .iter()
        .zip(suggestions)
        .map(|(column, suggestion)| Column {
            header: column.header.to_owned(),
            samples: shown(column.values),
            suggestion,
        })
        .collect();
    let new = NewImport {
        id,
        filename: plain_filename(&upload.filename),
        table: upload.table,
        layout: json(&looked.layout)?,
        columns: json(&columns)?,
        mapping: json(&mapping)?,
        bytes_total: kept.bytes,
        at: ctx.now(),
    };
    let row = ctx.workspace.add_import(new).await?;
    kept.stays();
    Import::new(row)
}

/// Forgets the uploaded file; one that is gone already is as good.
pub async fn remove(hub: &Hub, id: ImportId) {
    let path = path_of(hub, id);
    match tokio::fs::remove_file(&path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, import = %id, "remove upload");
        }
        _ => {}
    }
}

/// Where the file of an import lies.
pub fn path_of(hub: &Hub, id: ImportId) -> PathBuf {
    folder(hub).join(id.to_string())
}

/// A file on disk that goes away again unless its row comes to stand.
struct Kept {
    path: PathBuf,
    bytes: u64,
    stays: bool,
}

impl Kept {
    fn stays(mut self) {
        self.stays = true;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if !self.stays {
            // Nobody is told: the caller already has the error that brought us here.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

async fn keep(folder: &Path, id: ImportId, body: impl AsyncRead + Unpin) -> Result<Kept> {
    tokio::fs::create_dir_all(folder).await.map_err(|error| storage_fault(&error))?;
    let path = folder.join(id.to_string());
    let file = tokio::fs::OpenOptions::new().write(true).create_new(true).open(&path).await;
    let file = file.map_err(|error| storage_fault(&error))?;
    let mut kept = Kept { path, bytes: 0, stays: false };
    kept.bytes = write_all(file, body, MAX_UPLOAD_BYTES).await?;
    // The name must be on disk too, or a crash could leave a row without a file.
    let folder = folder.to_owned();
    let synced = tokio::task::spawn_blocking(move || File::open(folder)?.sync_all()).await;
    match synced {
        Ok(Ok(())) => Ok(kept),
        Ok(Err(error)) => Err(storage_fault(&error)),
        Err(_) => Err(Error::Internal("keeping the upload panicked".to_owned())),
    }
}

/// Writes a stream to a file and syncs it; gives the bytes.
async fn write_all(
    mut file: tokio::fs::File,
    mut body: impl AsyncRead + Unpin,
    limit: u64,
) -> Result<u64> {
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes: u64 = 0;
    loop {
        let read = body.read(&mut buffer).await.map_err(|error| {
            invalid_file("incomplete", format!("the upload broke off: {error}"))
        })?;
        if read == 0 {
            break;
        }
        bytes += read as u64;
        if bytes > limit {
            let message = format!("the file is larger than {} GB; split it", limit >> 30);
            return Err(invalid_file("too_large", message));
        }
        file.write_all(&buffer[..read]).await.map_err(|error| storage_fault(&error))?;
    }
    file.flush().await.map_err(|error| storage_fault(&error))?;
    file.sync_all().await.map_err(|error| storage_fault(&error))?;
    Ok(bytes)
}

fn storage_fault(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::Unavailable("disk full: there is no room to keep the upload".to_owned())
        }
        _ => Error::Internal(format!("keep upload: {error}")),
    }
}

/// What the beginning of a file shows.
#[derive(Debug)]
struct Looked {
    layout: Layout,
    headers: Vec<String>,
    /// Values of each column.
    values: Vec<Vec<String>>,
}

fn look(path: &Path) -> Result<Looked> {
    let open = || File::open(path).map_err(|error| storage_fault(&error));
    let mut sample = Vec::with_capacity(SAMPLE_BYTES);
    io::Read::read_to_end(&mut io::Read::take(open()?, SAMPLE_BYTES as u64), &mut sample)
        .map_err(|error| storage_fault(&error))?;
    let layout = detect(&sample).map_err(|fault| file_fault(&fault))?;
    let mut reader =
        Reader::open(open()?, &layout, Limits::default()).map_err(|error| match error {
            OpenError::Fault(fault) => file_fault(&fault),
            OpenError::Io(error) => storage_fault(&error),
        })?;
    let mut values: Vec<Vec<String>> = Vec::new();
    let mut rows = 0;
    while rows < SAMPLE_ROWS && reader.position().byte < SAMPLED_BYTES {
        match reader.read().map_err(|error| storage_fault(&error))? {
            None => break,
            // Not even the number of columns is known then.
            Some(Item::Refused(refused)) if values.is_empty() && !layout.header => {
                return Err(file_fault(&refused.fault));
            }
            Some(Item::Refused(_)) => {}
            Some(Item::Row(row)) => {
                values.resize(row.columns(), Vec::new());
                for (cell, kept) in row.cells().zip(&mut values) {
                    kept.push(cell.to_owned());
                }
            }
        }
        rows += 1;
    }
    let headers = match layout.header {
        true => reader.header().to_vec(),
        false => vec![String::new(); reader.columns()],
    };
    values.resize(headers.len(), Vec::new());
    Ok(Looked { layout, headers, values })
}

/// A fault of the file as a whole, with the place if there is one.
pub fn file_fault(fault: &tidings_delimited::Fault) -> Error {
    invalid_file(fault.code(), fault.to_string())
}

fn shown(values: &[String]) -> Vec<String> {
    let given = values.iter().filter(|value| !value.trim().is_empty());
    given.take(SAMPLES_SHOWN).map(|value| value.chars().take(SAMPLE_CHARS).collect()).collect()
}

/// The name without folders and control characters, as it is shown and given back.
fn plain_filename(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = last.chars().filter(|c| !c.is_control()).take(200).collect();
    match plain.trim() {
        "" => "upload.csv".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_disk_is_said_as_such() {
        let full = tokio::fs::OpenOptions::new().write(true).open("/dev/full").await.unwrap();
        let error = write_all(full, &b"email\nann@example.com\n"[..], 1_000).await.unwrap_err();
        assert_eq!(error.to_string(), "disk full: there is no room to keep the upload");
        assert!(matches!(error, Error::Unavailable(_)));
    }

    #[tokio::test]
    async fn a_file_beyond_the_limit_is_refused_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = tokio::fs::File::create(&path).await.unwrap();
        let error = write_all(file, &b"0123456789"[..], 9).await.unwrap_err();
        let Error::Invalid(faults) = error else { panic!("{error}") };
        assert_eq!(faults[0].code, "too_large");
        let kept = Kept { path: path.clone(), bytes: 0, stays: false };
        drop(kept);
        assert!(!path.exists());
    }

    #[test]
    fn filenames_lose_their_folders() {
        for (name, expected) in [
            ("a.csv", "a.csv"),
            ("../../etc/passwd", "passwd"),
            ("C:\\x\\y.csv", "y.csv"),
            ("", "upload.csv"),
            ("a\r\nb.csv", "ab.csv"),
        ] {
            assert_eq!(plain_filename(name), expected);
        }
    }
}
