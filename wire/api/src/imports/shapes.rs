//! Imports as the outside sees them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidings_domain::Timestamp;
use tidings_engine::imports::trial::{self, TrialState, Verdict};
use tidings_engine::imports::undo::{self, UndoState};
use tidings_engine::imports::{self, Adjust, Column, Encoding, ImportMode, Mapping, Suggestion};
use tidings_engine::{Error, Fault};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::errors::Result;

/// A file and what becomes of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Import {
    pub id: Uuid,
    pub number: i64,
    pub filename: String,
    /// `draft`, `queued`, `running`, `done`, `failed` or `cancelled`.
    pub state: &'static str,
    pub bytes_total: u64,
    pub bytes_done: u64,
    pub rows: Rows,
    /// Customers who were not in the file and were marked so.
    pub absent: u64,
    /// What the upload is: `csv`, `json_lines` (an object a line) or `workbook` (Excel).
    pub kind: &'static str,
    /// What it was packed by: `gzip` or `zip`.
    pub packing: Option<&'static str>,
    pub layout: Layout,
    pub columns: Vec<FileColumn>,
    #[schema(value_type = MappingShape)]
    pub mapping: Mapping,
    /// The number of the earlier import with the same columns that the mapping was taken from.
    pub mapped_as: Option<i64>,
    /// The name of the kept mapping that the mapping was taken from.
    pub mapped_by: Option<String>,
    /// What a trial of the draft has found out so far.
    pub trial: Option<Trial>,
    /// How undoing it stands; null where nobody has undone it.
    pub undo: Option<Undo>,
    /// Until when it can be undone; null where it cannot.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub undoable_until: Option<Timestamp>,
    /// Whose records the rows are; null for customers.
    pub table: Option<String>,
    pub error: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    pub rows_per_second: u64,
}

/// Rows by what became of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rows {
    pub read: u64,
    pub created: u64,
    pub updated: u64,
    pub unchanged: u64,
    pub refused: u64,
}

/// How an undo stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct Undo {
    /// `running` or `done`.
    #[schema(value_type = String)]
    pub state: UndoState,
    /// Entries of the journal in all, and those that are done with.
    pub total: u64,
    pub done: u64,
    /// Customers or records that got fields back.
    pub restored: u64,
    /// Customers or records that the import made and that are gone again.
    pub deleted: u64,
    /// What stays as it is; `undo/kept` lists it.
    pub kept: u64,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

impl From<undo::Undo> for Undo {
    fn from(undo: undo::Undo) -> Undo {
        Undo {
            state: undo.state,
            total: undo.total,
            done: undo.done,
            restored: undo.restored,
            deleted: undo.deleted,
            kept: undo.kept,
            started_at: undo.started_at,
            finished_at: undo.finished_at,
        }
    }
}

/// What an undo left as it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeptField {
    /// The customer, or the record's owner; null for a record of nobody.
    pub customer: Option<Uuid>,
    /// The record's key; null for the customer itself.
    pub key: Option<String>,
    /// Null where a made customer or record stays as a whole.
    pub field: Option<String>,
    /// `changed` since, `touched` by something else, `taken` by another customer, or `gone`.
    pub reason: String,
    pub imported: Option<String>,
    pub current: Option<String>,
}

/// A trial: what the rows of a draft would do, with nothing of it kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct Trial {
    /// `queued`, `running`, `done` or `failed`.
    #[schema(value_type = String)]
    pub state: TrialState,
    pub rows: TrialRows,
    pub bytes_done: u64,
    pub error: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

/// Rows by what would become of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct TrialRows {
    pub read: u64,
    pub create: u64,
    pub update: u64,
    pub unchanged: u64,
    pub refuse: u64,
}

impl From<trial::Trial> for Trial {
    fn from(trial: trial::Trial) -> Trial {
        let trial::Rows { read, create, update, unchanged, refuse } = trial.rows;
        Trial {
            state: trial.state,
            rows: TrialRows { read, create, update, unchanged, refuse },
            bytes_done: trial.bytes_done,
            error: trial.error,
            started_at: trial.started_at,
            finished_at: trial.finished_at,
        }
    }
}

/// A row of a draft and what would become of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RowVerdict {
    /// From 1, without the header.
    pub row: u64,
    pub line: u64,
    /// `create`, `update`, `unchanged` or `refuse`.
    #[schema(value_type = String)]
    pub verdict: Verdict,
    /// Of a refused row: the column that is to blame, a code and a sentence.
    pub column: Option<String>,
    pub code: Option<String>,
    pub message: Option<String>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VerdictQuery {
    pub limit: Option<usize>,
    pub cursor: Option<String>,
    /// Only these: `create`, `update`, `unchanged` or `refuse`.
    #[param(value_type = Option<String>)]
    pub verdict: Option<Verdict>,
}

/// How the file is written, as it was found out or said.
#[derive(Debug, Serialize, ToSchema)]
pub struct Layout {
    /// `utf-8`, `utf-16le`, `utf-16be`, `windows-1252` or `iso-8859-1`.
    pub encoding: &'static str,
    pub bom: bool,
    #[schema(example = ";")]
    pub delimiter: String,
    /// Null where quotes are plain text.
    #[schema(example = "\"")]
    pub quote: Option<String>,
    /// Whether the first line names the columns.
    pub header: bool,
    #[schema(example = "lf")]
    pub line_ending: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct FileColumn {
    /// From 0.
    pub index: usize,
    pub header: String,
    /// Values of the first rows, at most five.
    pub samples: Vec<String>,
    #[schema(value_type = Option<SuggestionShape>)]
    pub suggestion: Option<Suggestion>,
}

/// What a column looks like.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the engine's own type to readers of the API")]
pub struct SuggestionShape {
    to: String,
    create: Option<NewKindShape>,
    /// `comma` or `point`, where numbers are not written plainly.
    decimal: Option<String>,
    /// `dmy`, `mdy` or `ymd`, where dates are not written year first.
    date: Option<String>,
    /// The values could be read in another form too.
    ambiguous: Option<bool>,
}

/// How columns become changes.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the engine's own type to readers of the API")]
pub struct MappingShape {
    columns: Vec<MappedColumnShape>,
    /// `upsert` (or `both`), `update` to refuse who is not known, `add` to refuse who is, `replace`
    /// to add and update and to empty what the file has no value for.
    mode: Option<String>,
    /// The identity that alone names the customer: `external_id`, `email` or `phone`.
    r#match: Option<String>,
    /// With `replace`: the yes-or-no attribute that says who was in the file. Every row sets it to
    /// yes, and customers who are not in the file get no. Where a row was refused nobody does.
    present: Option<String>,
}

/// A column, several joined ones or a constant, and what it becomes: exactly one of `column`, `join`
/// and `constant` is given.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the engine's own type to readers of the API")]
pub struct MappedColumnShape {
    /// Its header, or its place counted from 0.
    #[schema(value_type = Option<String>, example = "E-mail")]
    column: Option<String>,
    join: Option<JoinShape>,
    /// The same text for every row.
    constant: Option<String>,
    /// An attribute or field, an identity, `ignore`, or for tables `key` and `customer.email` and
    /// its like.
    #[schema(example = "email")]
    to: String,
    /// What is done to each value, in this order: `"trim"`, `"lower"`, `"upper"`, `"capitalise"`,
    /// `{"split": {"by": " ", "part": 1}}` (without `part`, a list; -1 is the last),
    /// `{"default": "x"}`, `{"lookup": {"map": {"M": "male"}, "otherwise": "keep|blank|refuse"}}`,
    /// `{"pattern": {"find": "^(\\d+)", "take": 1, "otherwise": "blank"}}`.
    #[schema(value_type = Option<Vec<serde_json::Value>>, example = json!(["trim", "lower"]))]
    transforms: Option<Vec<serde_json::Value>>,
    /// `comma` for 1.234,50 and `point` for 1,234.50.
    decimal: Option<String>,
    /// `dmy`, `mdy` or `ymd`, with `.`, `/`, `-` or a blank between.
    date: Option<String>,
    create: Option<NewKindShape>,
}

/// Columns that become one value; blank ones are left out.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the engine's own type to readers of the API")]
pub struct JoinShape {
    /// Headers or places, 2 to 20.
    #[schema(value_type = Vec<String>)]
    columns: Vec<String>,
    /// What stands between them; a blank unless said.
    with: Option<String>,
}

/// The kind of an attribute or field to be made.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the engine's own type to readers of the API")]
pub struct NewKindShape {
    #[schema(example = "date")]
    kind: String,
    scale: Option<u8>,
    currency: Option<String>,
}

/// What of a draft is changed; the layout first, which may bring other columns.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportChange {
    #[schema(value_type = Option<MappingShape>)]
    pub mapping: Option<Mapping>,
    /// The name of a kept mapping, in place of a mapping.
    pub mapping_name: Option<String>,
    pub layout: Option<LayoutChange>,
}

/// A mapping to look through.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportPreviewInput {
    /// The draft's own unless given.
    #[schema(value_type = Option<MappingShape>)]
    pub mapping: Option<Mapping>,
}

/// A row as it is read.
#[derive(Debug, Serialize, ToSchema)]
pub struct PreviewRow {
    /// From 1, without the header.
    pub row: u64,
    pub line: u64,
    /// As they stand in the file, each cut to 200 characters.
    pub cells: Vec<String>,
    /// What each target of the mapping gets; null where the row has nothing for it.
    pub becomes: BTreeMap<String, Option<String>>,
    /// Why the row cannot be read, or a transform refuses it.
    pub fault: Option<String>,
}

/// How the file is written, where it was found out wrongly. What is not said stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LayoutChange {
    /// `utf-8`, `utf-16le`, `utf-16be`, `windows-1252` or `iso-8859-1`.
    pub encoding: Option<String>,
    /// One character, or `tab`, `comma`, `semicolon`, `pipe`, `space`.
    pub delimiter: Option<String>,
    /// One character, or `none`.
    pub quote: Option<String>,
    pub header: Option<bool>,
}

impl LayoutChange {
    /// `within` stands before the names of fields in faults.
    pub fn adjust(&self, within: &str) -> Result<Adjust> {
        let mut faults = Vec::new();
        let mut fault = |field: &str, message: String| {
            faults.push(Fault::new(format!("{within}{field}"), "invalid", message));
        };
        let encoding = self.encoding.as_deref().and_then(|text| {
            let found = Encoding::parse(text);
            if found.is_none() {
                let known = Encoding::ALL.map(Encoding::name).join(", ");
                fault("encoding", format!("expected one of {known}"));
            }
            found
        });
        let delimiter = self.delimiter.as_deref().map(imports::parse_delimiter).transpose();
        let delimiter = delimiter.unwrap_or_else(|message| {
            fault("delimiter", message);
            None
        });
        let quote = self.quote.as_deref().map(imports::parse_quote).transpose();
        let quote = quote.unwrap_or_else(|message| {
            fault("quote", message);
            None
        });
        match faults.is_empty() {
            true => Ok(Adjust { encoding, delimiter, quote, header: self.header }),
            false => Err(Error::Invalid(faults).into()),
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UploadQuery {
    #[param(example = "customers.csv")]
    pub filename: Option<String>,
    /// The table whose records the rows are; customers unless given.
    pub table: Option<String>,
    /// Start at once with the suggested mapping.
    #[serde(default)]
    pub start: bool,
    /// `upsert` (or `both`), `update` to refuse who is not known, `add` to refuse who is, `replace`
    /// to add and update and to empty what the file has no value for.
    #[param(value_type = Option<String>)]
    pub mode: Option<ImportMode>,
    /// The name of a kept mapping. Without one, a file with the columns of a kept mapping or of an
    /// earlier import is mapped as there.
    pub mapping_name: Option<String>,
    /// `utf-8`, `utf-16le`, `utf-16be`, `windows-1252` or `iso-8859-1`; found out unless given.
    pub encoding: Option<String>,
    /// One character, or `tab`, `comma`, `semicolon`, `pipe`, `space`; found out unless given.
    pub delimiter: Option<String>,
    /// One character, or `none`; found out unless given.
    pub quote: Option<String>,
    /// Whether the first line names the columns; found out unless given.
    pub header: Option<bool>,
}

/// A row that was refused.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefusedRow {
    /// From 1, without the header.
    pub row: u64,
    pub line: u64,
    pub column: String,
    pub code: String,
    pub message: String,
    /// As it stands in the file, cut to 4 KB.
    pub text: String,
}

pub fn import(stored: imports::Import, now: Timestamp) -> Import {
    let rows_per_second = stored.rows_per_second(now);
    let undoable_until = stored.undoable_until(now);
    let (layout, row) = (stored.layout, stored.row);
    let column = |(index, column): (usize, Column)| FileColumn {
        index,
        header: column.header,
        samples: column.samples,
        suggestion: column.suggestion,
    };
    Import {
        id: row.id.0,
        number: row.number,
        filename: row.filename,
        state: row.state.name(),
        bytes_total: row.bytes_total,
        bytes_done: row.bytes_done,
        rows: Rows {
            read: row.counts.read,
            created: row.counts.created,
            updated: row.counts.updated,
            unchanged: row.counts.unchanged,
            refused: row.counts.refused,
        },
        absent: row.absent,
        kind: stored.source.kind.name(),
        mapped_as: stored.source.mapped_as,
        mapped_by: stored.source.mapped_by,
        packing: stored.source.packing.map(imports::Packing::name),
        layout: Layout {
            encoding: layout.encoding.name(),
            bom: layout.bom,
            delimiter: char::from(layout.delimiter).to_string(),
            quote: layout.quote.map(|quote| char::from(quote).to_string()),
            header: layout.header,
            line_ending: layout.line_ending.name(),
        },
        columns: stored.columns.into_iter().enumerate().map(column).collect(),
        mapping: stored.mapping,
        trial: stored.trial.map(Trial::from),
        undo: stored.undo.map(Undo::from),
        undoable_until,
        table: row.table,
        error: row.error,
        created_at: row.created_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
        rows_per_second,
    }
}
