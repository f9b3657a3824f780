//! Taking a file in: it is on disk before its row exists, then its layout is found and its columns
//! are named.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tidings_delimited::{
    Adjust, Decoder, Encoding, Item, Layout, Limits, OpenError, Reader, SAMPLE_BYTES, detect_as,
    detect_encoding, detect_forms,
};
use tidings_domain::ImportId;
use tidings_domain::schema::{Schema, Table};
use tidings_store::imports::{ImportState, NewImport, NewLayout};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::mapping::{Mapping, Sampled, Suggestion, suggest, suggested_mapping};
use super::unpack::{self, FileKind, Source};
use super::{Column, Import, Plan, folder, invalid_file, json, named};
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
    /// How the file is written, where the sender knows.
    pub adjust: Adjust,
    /// The name of a kept mapping; without one it is looked for.
    pub mapping: Option<String>,
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
    let looked = look_at(&ctx.hub, id, upload.adjust).await?;
    let shape = looked.shape(&schema, table.as_deref());
    let known = known(ctx, &looked.headers, &schema, &upload).await?;
    let source = Source { mapped_by: known.by, mapped_as: known.like, ..looked.source };
    let mapping = known.mapping.unwrap_or(shape.mapping);
    let new = NewImport {
        id,
        filename: plain_filename(&upload.filename),
        table: upload.table,
        layout: stored(&looked.layout, &source)?,
        columns: json(&shape.columns)?,
        mapping: json(&mapping)?,
        bytes_total: looked.bytes,
        at: ctx.now(),
    };
    let row = ctx.workspace.add_import(new).await?;
    kept.stays();
    Import::new(row)
}

/// A mapping that is known for a file, and where it is from.
#[derive(Default)]
struct Known {
    mapping: Option<Mapping>,
    /// The name that it is kept under.
    by: Option<String>,
    /// The number of an earlier import.
    like: Option<i64>,
}

/// The mapping that the sender names; else the kept one for the same columns; else that of the
/// latest import that ended well and had them.
async fn known(ctx: &Ctx, headers: &[String], schema: &Schema, upload: &Upload) -> Result<Known> {
    let table = upload.table.as_deref();
    if let Some(name) = &upload.mapping {
        let mapping = named::fitting(ctx, name, headers, schema, table).await?;
        return Ok(Known { mapping: Some(mapping), by: Some(name.clone()), like: None });
    }
    if let Some((name, mapping)) = named::default_for(ctx, headers, schema, table).await? {
        return Ok(Known { mapping: Some(mapping), by: Some(name), like: None });
    }
    Ok(match remembered(ctx, headers, schema, upload).await? {
        Some((number, mapping)) => Known { mapping: Some(mapping), by: None, like: Some(number) },
        None => Known::default(),
    })
}

/// Layout and source as an import keeps them.
pub(super) fn stored(layout: &Layout, source: &Source) -> Result<String> {
    #[derive(serde::Serialize)]
    struct Stored<'a> {
        #[serde(flatten)]
        layout: &'a Layout,
        #[serde(flatten)]
        source: &'a Source,
    }
    json(&Stored { layout, source })
}

/// Earlier imports among which one with the same columns is looked for.
const REMEMBERED: usize = 100;

/// The mapping of the latest import that ended well and had the very same columns, so that the file of
/// next month maps itself; `None` where there is none, or where it no longer fits the schema.
async fn remembered(
    ctx: &Ctx,
    headers: &[String],
    schema: &Schema,
    upload: &Upload,
) -> Result<Option<(i64, Mapping)>> {
    // Places alone say nothing of what a column is.
    if headers.iter().all(String::is_empty) {
        return Ok(None);
    }
    let (earlier, _) = super::list(ctx, None, REMEMBERED).await?;
    let same = earlier.into_iter().find(|import| {
        import.row.state == ImportState::Done
            && import.row.table == upload.table
            && import.headers() == headers
    });
    let Some(import) = same else { return Ok(None) };
    let fits = Plan::new(&import.mapping, headers, schema, upload.table.as_deref()).is_ok();
    Ok(fits.then_some((import.row.number, import.mapping)))
}

/// Looks at the file of a draft again, with what somebody knows better of how it is written. What is
/// not said stays as it stands, unless another encoding makes another text of the file. A mapping is
/// kept where the columns are still the same.
pub async fn set_layout(ctx: &Ctx, id: ImportId, adjust: Adjust) -> Result<Import> {
    let import = super::get(ctx, id).await?;
    if import.row.state != ImportState::Draft {
        let state = import.row.state.name();
        return Err(Error::Conflict(format!("the import is {state}: its file is read by now")));
    }
    let now = import.layout;
    if import.source.kind != FileKind::Csv
        && adjust != (Adjust { header: adjust.header, ..Adjust::default() })
    {
        let message = "this file has neither delimiters nor an encoding to correct";
        return Err(Error::Invalid(vec![Fault::new("layout", "invalid", message)]));
    }
    let other_text = adjust.encoding.is_some_and(|encoding| encoding != now.encoding);
    let stays = !other_text;
    let adjust = Adjust {
        encoding: adjust.encoding.or(Some(now.encoding)),
        delimiter: adjust.delimiter.or(stays.then_some(now.delimiter)),
        quote: adjust.quote.or(stays.then_some(now.quote)),
        header: adjust.header.or(stays.then_some(now.header)),
    };
    let schema = ctx.workspace.fresh_schema().await?;
    let table = import.row.table.as_deref().and_then(|name| schema.table(name)).cloned();
    let looked = look_at(&ctx.hub, id, adjust).await?;
    let shape = looked.shape(&schema, table.as_deref());
    let mapping = match looked.headers == import.headers() {
        true => import.mapping,
        false => shape.mapping,
    };
    let set = NewLayout {
        layout: stored(&looked.layout, &looked.source)?,
        columns: json(&shape.columns)?,
        mapping: json(&mapping)?,
        bytes_total: looked.bytes,
    };
    Import::new(ctx.workspace.set_import_layout(id, set).await?)
}

/// Everything that may lie on disk of an import: the file as it came, what was made of it, and the
/// verdicts of a trial.
pub fn files_of(hub: &Hub, id: ImportId) -> [PathBuf; 5] {
    let text = text_path(hub, id);
    let part = text.with_extension("part");
    let verdicts = super::trial::verdicts_path(hub, id);
    [upload_path(hub, id), unpacked_path(hub, id), text, part, verdicts]
}

/// Forgets the files of an import; those that are gone already are as good.
pub async fn remove_files(hub: &Hub, id: ImportId) -> io::Result<()> {
    for path in files_of(hub, id) {
        match tokio::fs::remove_file(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Forgets the files of an import whose work is done; where that fails, the log says so.
pub async fn remove(hub: &Hub, id: ImportId) {
    if let Err(error) = remove_files(hub, id).await {
        tracing::warn!(%error, import = %id, "remove upload");
    }
}

/// Where the rows of an import are read: the file as it came, or the text that was made of it.
pub fn path_of(hub: &Hub, import: &Import) -> PathBuf {
    let id = import.row.id;
    match (import.source.kind, import.layout.encoding, import.source.packing) {
        (FileKind::Csv, Encoding::Utf8, None) => upload_path(hub, id),
        (FileKind::Csv, Encoding::Utf8, Some(_)) => unpacked_path(hub, id),
        _ => text_path(hub, id),
    }
}

fn unpacked_path(hub: &Hub, id: ImportId) -> PathBuf {
    folder(hub).join(format!("{id}.unpacked"))
}

fn upload_path(hub: &Hub, id: ImportId) -> PathBuf {
    folder(hub).join(id.to_string())
}

fn text_path(hub: &Hub, id: ImportId) -> PathBuf {
    folder(hub).join(format!("{id}.text"))
}

/// Looks at an upload on a thread of its own, and makes the text that its rows are read from.
async fn look_at(hub: &Hub, id: ImportId, adjust: Adjust) -> Result<Looked> {
    let (from, text) = (upload_path(hub, id), text_path(hub, id));
    let unpacked = unpacked_path(hub, id);
    let looked = tokio::task::spawn_blocking(move || {
        let looked = look_into(&from, &unpacked, &text, adjust);
        if looked.is_err() {
            for path in [unpacked, text.with_extension("part"), text] {
                let _ = std::fs::remove_file(path);
            }
        }
        looked
    });
    looked.await.map_err(|_| Error::Internal("looking at the file panicked".to_owned()))?
}

/// A file on disk as an import reads it: how it is written, what it is, and its rows. What must be made
/// of it first is made in `folder`.
pub fn read_file(
    from: &Path,
    folder: &Path,
    adjust: Adjust,
) -> Result<(Layout, Source, Reader<File>)> {
    let (unpacked, text) = (folder.join("unpacked"), folder.join("text"));
    let looked = look_into(from, &unpacked, &text, adjust)?;
    let path = match (looked.source.kind, looked.layout.encoding, looked.source.packing) {
        (FileKind::Csv, Encoding::Utf8, None) => from,
        (FileKind::Csv, Encoding::Utf8, Some(_)) => &unpacked,
        _ => &text,
    };
    let file = File::open(path).map_err(|error| storage_fault(&error))?;
    let reader = Reader::open(file, &looked.layout, Limits::default());
    let reader = reader.map_err(|error| match error {
        OpenError::Fault(fault) => file_fault(&fault),
        OpenError::Io(error) => storage_fault(&error),
    })?;
    Ok((looked.layout, looked.source, reader))
}

fn look_into(from: &Path, unpacked: &Path, text: &Path, adjust: Adjust) -> Result<Looked> {
    let source = unpack::unpack(from, unpacked)?;
    let inner = if source.packing.is_some() { unpacked } else { from };
    let looked = if source.kind != FileKind::Csv {
        unpack::write_rows(source.kind, inner, text)?;
        let made = unpack::MADE;
        let header = match source.kind {
            // Names are names, however they look.
            FileKind::JsonLines => Some(true),
            _ => adjust.header,
        };
        let adjust = Adjust {
            encoding: Some(made.encoding),
            delimiter: Some(made.delimiter),
            quote: Some(made.quote),
            header,
        };
        look(text, layout_of(text, adjust)?)?
    } else {
        let layout = layout_of(inner, adjust)?;
        match layout.encoding {
            Encoding::Utf8 => look(inner, layout)?,
            encoding => {
                write_text(inner, text, encoding)?;
                look(text, layout)?
            }
        }
    };
    Ok(Looked { source, ..looked })
}

fn layout_of(path: &Path, mut adjust: Adjust) -> Result<Layout> {
    let fault = |error| storage_fault(&error);
    let open = || File::open(path).map_err(fault);
    let mut sample = Vec::with_capacity(SAMPLE_BYTES);
    open()?.take(SAMPLE_BYTES as u64).read_to_end(&mut sample).map_err(fault)?;
    if adjust.encoding.is_none() {
        adjust.encoding = Some(detect_encoding(open()?).map_err(fault)?.0);
    }
    detect_as(&sample, &adjust).map_err(|fault| file_fault(&fault))
}

/// Writes the text of a file in another encoding as UTF-8, whole or not at all.
fn write_text(from: &Path, text: &Path, encoding: Encoding) -> Result<()> {
    let write = || -> io::Result<()> {
        let part = text.with_extension("part");
        let mut file = File::create(&part)?;
        io::copy(&mut Decoder::new(File::open(from)?, encoding), &mut file)?;
        file.sync_all()?;
        std::fs::rename(&part, text)
    };
    write().map_err(|error| storage_fault(&error))
}

/// A file on disk that goes away again, with the text that was made of it, unless its row comes to
/// stand.
struct Kept {
    path: PathBuf,
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
            for made in ["unpacked", "text"] {
                let _ = std::fs::remove_file(self.path.with_extension(made));
            }
        }
    }
}

async fn keep(folder: &Path, id: ImportId, body: impl AsyncRead + Unpin) -> Result<Kept> {
    tokio::fs::create_dir_all(folder).await.map_err(|error| storage_fault(&error))?;
    let path = folder.join(id.to_string());
    let file = tokio::fs::OpenOptions::new().write(true).create_new(true).open(&path).await;
    let file = file.map_err(|error| storage_fault(&error))?;
    let kept = Kept { path, stays: false };
    write_all(file, body, MAX_UPLOAD_BYTES).await?;
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

pub fn storage_fault(error: &io::Error) -> Error {
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
    source: Source,
    headers: Vec<String>,
    /// Values of each column.
    values: Vec<Vec<String>>,
    /// Length of the text that rows are read from.
    bytes: u64,
}

/// The columns of a file and what they could become.
struct Shape {
    columns: Vec<Column>,
    mapping: Mapping,
}

impl Looked {
    fn shape(&self, schema: &Schema, table: Option<&Table>) -> Shape {
        let forms = detect_forms(&self.values, self.layout.delimiter);
        let named = self.headers.iter().zip(&self.values).zip(forms);
        let sampled: Vec<Sampled<'_>> =
            named.map(|((header, values), form)| Sampled { header, values, form }).collect();
        let suggestions = suggest(&sampled, schema, table);
        let mapping = suggested_mapping(&self.headers, &suggestions);
        let column = |(column, suggestion): (&Sampled<'_>, Option<Suggestion>)| Column {
            header: column.header.to_owned(),
            samples: shown(column.values),
            suggestion,
        };
        let columns = sampled.iter().zip(suggestions).map(column).collect();
        Shape { columns, mapping }
    }
}

/// Reads the header and the first rows of a text.
fn look(path: &Path, layout: Layout) -> Result<Looked> {
    let file = File::open(path).map_err(|error| storage_fault(&error))?;
    let bytes = file.metadata().map_err(|error| storage_fault(&error))?.len();
    let mut reader =
        Reader::open(file, &layout, Limits::default()).map_err(|error| match error {
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
    Ok(Looked { layout, source: Source::default(), headers, values, bytes })
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
        let kept = Kept { path: path.clone(), stays: false };
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
