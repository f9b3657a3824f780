//! The refused rows as a file: in the input's own shape with the reason behind, so that it can be
//! corrected in place and sent again.

use bytes::Bytes;
use futures::Stream;
use tidings_delimited::{ErrorFileWriter, Item, Limits, Position, Reader, restore};
use tidings_domain::ImportId;
use tidings_store::imports::RefusedRow;

use super::unpack::{FileKind, Source};
use super::{Import, get, json_lines};
use crate::{Ctx, Error, Result};

/// Bytes of rows that are held at once.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// The name of the error file, and its bytes as they are read.
pub async fn error_file(
    ctx: &Ctx,
    id: ImportId,
) -> Result<(String, impl Stream<Item = Result<Bytes>> + Send + 'static)> {
    let import = get(ctx, id).await?;
    let name = error_name(&import.row.filename, &import.source);
    let state = Writing { ctx: ctx.clone(), import, after: None, rows: 50, at: At::Beginning };
    let stream = futures::stream::try_unfold(state, |mut state| async move {
        let bytes = state.next().await?;
        Ok(bytes.map(|bytes| (bytes, state)))
    });
    Ok((name, stream))
}

/// `people.csv.gz` gives `people errors.csv`: the rows come back unpacked, and those of a workbook as
/// delimited text.
fn error_name(filename: &str, source: &Source) -> String {
    let name = match source.packing {
        None => filename,
        Some(_) => filename.rsplit_once('.').map_or(filename, |(stem, _)| stem),
    };
    let other = match source.kind {
        FileKind::Csv => "csv",
        FileKind::JsonLines => "ndjson",
        FileKind::Workbook => return format!("{} errors.csv", stem_of(name)),
    };
    match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => format!("{stem} errors.{ending}"),
        _ => format!("{name} errors.{other}"),
    }
}

fn stem_of(name: &str) -> &str {
    name.rsplit_once('.').map(|(stem, _)| stem).filter(|stem| !stem.is_empty()).unwrap_or(name)
}

struct Writing {
    ctx: Ctx,
    import: Import,
    after: Option<u64>,
    /// Rows of the next page, so that its bytes stay bounded.
    rows: usize,
    at: At,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Beginning,
    Rows,
    End,
}

impl Writing {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.import.source.kind == FileKind::JsonLines {
            return self.next_lines().await;
        }
        let columns = self.import.columns.len();
        let layout = self.import.layout;
        let fault = |error: std::io::Error| Error::Internal(format!("write error file: {error}"));
        let mut writer = match self.at {
            At::End => return Ok(None),
            At::Beginning => {
                let headers = self.import.headers();
                ErrorFileWriter::create(Vec::new(), &layout, &headers, columns).map_err(fault)?
            }
            At::Rows => ErrorFileWriter::append(Vec::new(), &layout, columns),
        };
        for refused in self.page().await? {
            writer.write(&refused.raw, &reason(&refused)).map_err(fault)?;
        }
        Ok(Some(writer.finish().map_err(fault)?.into()))
    }

    /// The same as JSON lines.
    async fn next_lines(&mut self) -> Result<Option<Bytes>> {
        if self.at == At::End {
            return Ok(None);
        }
        let headers = self.import.headers();
        let mut lines = Vec::new();
        for refused in self.page().await? {
            let as_text = || String::from_utf8_lossy(&refused.raw).into_owned();
            let cells = if refused.code == json_lines::REFUSAL.0 {
                // The line stands in the first cell of a row that was made too wide.
                let cells = cells_of(&refused.raw, &self.import, headers.len() + 1);
                Err(cells.and_then(|cells| cells.into_iter().next()).unwrap_or_else(as_text))
            } else {
                cells_of(&refused.raw, &self.import, headers.len()).ok_or_else(as_text)
            };
            lines.extend(json_lines::error_line(cells, &headers, &refused));
        }
        Ok(Some(lines.into()))
    }

    async fn page(&mut self) -> Result<Vec<RefusedRow>> {
        let id = self.import.row.id;
        let page =
            self.ctx.workspace.import_refusals(id, self.after, self.rows, u32::MAX >> 1).await?;
        let bytes: usize = page.items.iter().map(|refused| refused.raw.len()).sum();
        self.rows = (PAGE_BYTES * page.items.len() / bytes.max(1)).clamp(1, 1_000);
        self.after = page.next;
        self.at = if page.next.is_some() { At::Rows } else { At::End };
        Ok(page.items)
    }
}

/// The cells of a row as it stands in the text; `None` where it is no row.
fn cells_of(raw: &[u8], import: &Import, columns: usize) -> Option<Vec<String>> {
    let start = Position { byte: 0, row: 1, line: 1 };
    let mut reader = Reader::resume(raw, &import.layout, Limits::default(), columns, start);
    match reader.read() {
        Ok(Some(Item::Row(row))) => Some(row.cells().map(|c| restore(c).to_owned()).collect()),
        _ => None,
    }
}

/// One sentence with the column it is about.
pub(super) fn reason(refused: &RefusedRow) -> String {
    match refused.column.as_str() {
        "" => refused.message.clone(),
        column => format!("{column}: {}", refused.message),
    }
}
