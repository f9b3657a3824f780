//! The rows of an import that were refused, and the counts of the others.

use tidings_domain::ImportId;
use tidings_domain::change::Outcome;

use super::{Chunk, Counts, signed};
use crate::Result;
use crate::bulk::{ColumnType, OnConflict, column, insert_many};
use crate::customers::Page;
use crate::engines::Tx;
use crate::sql::{Param, Row, Sql};
use crate::workspace::Workspace;

/// A refused row, as the report shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRow {
    /// From 1; the header is not counted.
    pub row: u64,
    pub line: u64,
    /// The column's name in the file, or empty where the row as a whole is meant.
    pub column: String,
    pub code: String,
    pub message: String,
    /// The row as it stands in the file, without its line ending.
    pub raw: Vec<u8>,
}

static REFUSALS: Sql = Sql::reference(
    "import_refusals",
    "select row_number, line, column_name, code, message, substr(raw, 1, cast(?4 as integer))
     from {s}import_refusals
     where import_number = (select number from {s}imports where id = ?1) and row_number > ?2
     order by row_number limit ?3",
);

pub(super) static SQL: &[&Sql] = &[&REFUSALS];

impl Workspace {
    /// A page of refused rows in the order of the file; the cursor is a row. Of each row's text at
    /// most `raw_bytes` are read.
    pub async fn import_refusals(
        &self,
        id: ImportId,
        after: Option<u64>,
        limit: usize,
        raw_bytes: u32,
    ) -> Result<Page<RefusedRow, u64>> {
        let items = self
            .read(move |tx| {
                Box::pin(async move {
                    let after = after.map_or(-1, signed);
                    let limit = signed(limit as u64 + 1);
                    let params = crate::params![id, after, limit, raw_bytes];
                    let rows = tx.query(&REFUSALS, params).await?;
                    rows.iter().map(refused_row).collect::<Result<Vec<_>>>()
                })
            })
            .await?;
        Ok(Page::cut(items, limit, |refused| refused.row))
    }
}

fn refused_row(row: &Row) -> Result<RefusedRow> {
    Ok(RefusedRow {
        row: row.small(0)?,
        line: row.small(1)?,
        column: row.text(2)?,
        code: row.text(3)?,
        message: row.text(4)?,
        raw: row.bytes(5)?,
    })
}

/// Counts the outcomes of a chunk and keeps its refused rows.
pub(super) async fn record_refusals(
    tx: &mut Tx,
    number: i64,
    chunk: &Chunk,
    outcomes: &[Outcome],
) -> Result<Counts> {
    let mut counts = Counts::default();
    let mut rows: Vec<Vec<Param>> = Vec::new();
    for refused in &chunk.refused {
        rows.push(vec![
            number.into(),
            signed(refused.row).into(),
            signed(refused.line).into(),
            refused.column.as_str().into(),
            refused.code.as_str().into(),
            refused.message.as_str().into(),
            refused.raw.clone().into(),
        ]);
    }
    let mut start = 0;
    for (outcome, source) in outcomes.iter().zip(&chunk.sources) {
        match outcome {
            Outcome::Created { .. } => counts.created += 1,
            Outcome::Updated { .. } => counts.updated += 1,
            Outcome::Unchanged { .. } => counts.unchanged += 1,
            Outcome::Refused(refusal) => {
                let column = chunk.columns.iter().find(|(path, _)| *path == refusal.path);
                rows.push(vec![
                    number.into(),
                    signed(source.row).into(),
                    signed(source.line).into(),
                    column.map_or("", |(_, name)| name).into(),
                    refusal.code.as_ref().into(),
                    refusal.message.as_str().into(),
                    chunk.raw[start..source.end].to_vec().into(),
                ]);
            }
        }
        start = source.end;
    }
    counts.refused = rows.len() as u64;
    counts.read = counts.created + counts.updated + counts.unchanged + counts.refused;
    let columns = [
        column("import_number", ColumnType::BigInt),
        column("row_number", ColumnType::BigInt),
        column("line", ColumnType::BigInt),
        column("column_name", ColumnType::Text),
        column("code", ColumnType::Text),
        column("message", ColumnType::Text),
        column("raw", ColumnType::Bytes),
    ];
    // Cells may hold anything; only their text is kept as it came.
    for row in &mut rows {
        for cell in &mut row[3..6] {
            if let Param::Text(text) = cell
                && text.contains('\0')
            {
                *text = text.replace('\0', "\u{fffd}");
            }
        }
    }
    insert_many(tx, "import_refusals", &columns, &rows, OnConflict::Fail, "").await?;
    Ok(counts)
}
