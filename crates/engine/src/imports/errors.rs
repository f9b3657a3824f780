//! The refused rows as a file: in the input's own shape with the reason behind, so that it can be
//! corrected in place and sent again.

use bytes::Bytes;
use futures::Stream;
use tidings_delimited::ErrorFileWriter;
use tidings_domain::ImportId;
use tidings_store::imports::RefusedRow;

use super::{Import, get};
use crate::{Ctx, Error, Result};

/// Bytes of rows that are held at once.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// The name of the error file, and its bytes as they are read.
pub async fn error_file(
    ctx: &Ctx,
    id: ImportId,
) -> Result<(String, impl Stream<Item = Result<Bytes>> + Send + 'static)> {
    let import = get(ctx, id).await?;
    let name = match import.row.filename.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => format!("{stem} errors.{ending}"),
        _ => format!("{} errors.csv", import.row.filename),
    };
    let state = Writing { ctx: ctx.clone(), import, after: None, rows: 50, at: At::Beginning };
    let stream = futures::stream::try_unfold(state, |mut state| async move {
        let bytes = state.next().await?;
        Ok(bytes.map(|bytes| (bytes, state)))
    });
    Ok((name, stream))
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
        let id = self.import.row.id;
        let page =
            self.ctx.workspace.import_refusals(id, self.after, self.rows, u32::MAX >> 1).await?;
        for refused in &page.items {
            writer.write(&refused.raw, &reason(refused)).map_err(fault)?;
        }
        let bytes: usize = page.items.iter().map(|refused| refused.raw.len()).sum();
        self.rows = (PAGE_BYTES * page.items.len() / bytes.max(1)).clamp(1, 1_000);
        self.after = page.next;
        self.at = if page.next.is_some() { At::Rows } else { At::End };
        Ok(Some(writer.finish().map_err(fault)?.into()))
    }
}

/// One sentence with the column it is about.
fn reason(refused: &RefusedRow) -> String {
    match refused.column.as_str() {
        "" => refused.message.clone(),
        column => format!("{column}: {}", refused.message),
    }
}
