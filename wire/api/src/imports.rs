//! `/v1/imports`: files that become customers or records.

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use tidings_domain::{ImportId, Timestamp};
use tidings_engine::imports::{self, Column, ImportMode, Mapping, Suggestion, Upload};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::call::{Call, ReadImports, WriteImports};
use crate::errors::{Problem, Result};
use crate::input::{Input, Path, Query};
use crate::paging::{List, Paging};

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
    pub layout: Layout,
    pub columns: Vec<FileColumn>,
    #[schema(value_type = MappingShape)]
    pub mapping: Mapping,
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

/// How the file is written, as it was found out.
#[derive(Debug, Serialize, ToSchema)]
pub struct Layout {
    pub encoding: &'static str,
    pub bom: bool,
    #[schema(example = ";")]
    pub delimiter: String,
    #[schema(example = "\"")]
    pub quote: String,
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
}

/// How columns become changes.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the engine's own type to readers of the API")]
pub struct MappingShape {
    columns: Vec<MappedColumnShape>,
    /// `upsert`, or `update` to leave out who is not known.
    mode: Option<String>,
    /// The identity that alone names the customer: `external_id`, `email` or `phone`.
    r#match: Option<String>,
}

/// A column and what it becomes.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the engine's own type to readers of the API")]
pub struct MappedColumnShape {
    /// Its header, or its place counted from 0.
    #[schema(value_type = String, example = "E-mail")]
    column: String,
    /// An attribute or field, an identity, `ignore`, or for tables `key` and `customer.email` and
    /// its like.
    #[schema(example = "email")]
    to: String,
    create: Option<NewKindShape>,
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportChange {
    #[schema(value_type = MappingShape)]
    pub mapping: Mapping,
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
    /// `upsert`, or `update` to leave out who is not known.
    #[param(value_type = Option<String>)]
    pub mode: Option<ImportMode>,
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
    use tidings_engine::imports::{Encoding, LineEnding};
    let rows_per_second = stored.rows_per_second(now);
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
        layout: Layout {
            encoding: match layout.encoding {
                Encoding::Utf8 => "utf-8",
                Encoding::Utf16Le => "utf-16-le",
                Encoding::Utf16Be => "utf-16-be",
                Encoding::Windows1252 => "windows-1252",
            },
            bom: layout.bom,
            delimiter: char::from(layout.delimiter).to_string(),
            quote: char::from(layout.quote).to_string(),
            header: layout.header,
            line_ending: match layout.line_ending {
                LineEnding::CrLf => "crlf",
                LineEnding::Lf => "lf",
                LineEnding::Cr => "cr",
            },
        },
        columns: stored.columns.into_iter().enumerate().map(column).collect(),
        mapping: stored.mapping,
        table: row.table,
        error: row.error,
        created_at: row.created_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
        rows_per_second,
    }
}

/// Upload a file of at most 10 GB as the body. It waits as a draft with a suggested mapping,
/// unless `start` is true.
#[utoipa::path(post, path = "/v1/imports", tag = "Imports",
    security(("token" = ["imports"]), ("session" = ["editor"])),
    params(UploadQuery),
    request_body(content((String = "text/csv"), (String = "application/octet-stream"))),
    responses((status = 201, body = Import)))]
pub async fn upload(
    call: Call<WriteImports>,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> Result<(StatusCode, Json<Import>)> {
    let body = request.into_body().into_data_stream().map_err(std::io::Error::other);
    let body = tokio_util::io::StreamReader::new(body);
    let filename = query.filename.unwrap_or_else(|| "upload.csv".to_owned());
    let upload = Upload { filename, table: query.table };
    let mut stored = imports::create(&call.ctx, upload, std::pin::pin!(body)).await?;
    if let Some(mode) = query.mode.filter(|mode| *mode != stored.mapping.mode) {
        let mapping = Mapping { mode, ..stored.mapping.clone() };
        stored = imports::set_mapping(&call.ctx, stored.row.id, &mapping).await?;
    }
    if query.start {
        stored = imports::start(&call.ctx, stored.row.id).await?;
    }
    Ok((StatusCode::CREATED, Json(import(stored, call.ctx.now()))))
}

/// Imports, newest first.
#[utoipa::path(get, path = "/v1/imports", tag = "Imports",
    security(("token" = ["imports:read"]), ("session" = ["viewer"])),
    params(Paging),
    responses((status = 200, body = List<Import>)))]
pub async fn list(
    call: Call<ReadImports>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<Import>>> {
    let (items, next) = imports::list(&call.ctx, paging.place()?, paging.limit()?).await?;
    let now = call.ctx.now();
    Ok(Json(List::page(items.into_iter().map(|one| import(one, now)).collect(), next)))
}

/// One import, with its progress.
#[utoipa::path(get, path = "/v1/imports/{id}", tag = "Imports",
    security(("token" = ["imports:read"]), ("session" = ["viewer"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = Import)))]
pub async fn show(call: Call<ReadImports>, Path(id): Path<Uuid>) -> Result<Json<Import>> {
    Ok(Json(import(imports::get(&call.ctx, ImportId(id)).await?, call.ctx.now())))
}

/// Say what the columns of a draft become.
#[utoipa::path(patch, path = "/v1/imports/{id}", tag = "Imports", request_body = ImportChange,
    security(("token" = ["imports"]), ("session" = ["editor"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = Import)))]
pub async fn change(
    call: Call<WriteImports>,
    Path(id): Path<Uuid>,
    Input(body): Input<ImportChange>,
) -> Result<Json<Import>> {
    let changed = imports::set_mapping(&call.ctx, ImportId(id), &body.mapping).await?;
    Ok(Json(import(changed, call.ctx.now())))
}

/// Start a draft.
#[utoipa::path(post, path = "/v1/imports/{id}/start", tag = "Imports",
    security(("token" = ["imports"]), ("session" = ["editor"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = Import)))]
pub async fn start(call: Call<WriteImports>, Path(id): Path<Uuid>) -> Result<Json<Import>> {
    Ok(Json(import(imports::start(&call.ctx, ImportId(id)).await?, call.ctx.now())))
}

/// Stop an import. Rows that were applied stay.
#[utoipa::path(post, path = "/v1/imports/{id}/cancel", tag = "Imports",
    security(("token" = ["imports"]), ("session" = ["editor"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = Import)))]
pub async fn cancel(call: Call<WriteImports>, Path(id): Path<Uuid>) -> Result<Json<Import>> {
    Ok(Json(import(imports::cancel(&call.ctx, ImportId(id)).await?, call.ctx.now())))
}

/// Rows that were refused, in the order of the file.
#[utoipa::path(get, path = "/v1/imports/{id}/refusals", tag = "Imports",
    security(("token" = ["imports:read"]), ("session" = ["viewer"])),
    params(("id" = Uuid, Path), Paging),
    responses((status = 200, body = List<RefusedRow>)))]
pub async fn refusals(
    call: Call<ReadImports>,
    Path(id): Path<Uuid>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<RefusedRow>>> {
    let (after, limit) = (paging.place()?, paging.limit()?);
    let (items, next) = imports::refusals(&call.ctx, ImportId(id), after, limit).await?;
    let items = items.into_iter().map(|refused| RefusedRow {
        row: refused.row,
        line: refused.line,
        column: refused.column,
        code: refused.code,
        message: refused.message,
        text: String::from_utf8_lossy(&refused.raw).into_owned(),
    });
    Ok(Json(List::page(items.collect(), next)))
}

/// The refused rows as a file in the shape of the upload, with the reason behind each.
#[utoipa::path(get, path = "/v1/imports/{id}/errors.csv", tag = "Imports",
    security(("token" = ["imports:read"]), ("session" = ["viewer"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, content_type = "text/csv", body = String)))]
pub async fn errors(call: Call<ReadImports>, Path(id): Path<Uuid>) -> Result<Response> {
    let (name, lines) = imports::error_file(&call.ctx, ImportId(id)).await?;
    let body = Body::from_stream(lines.map_err(std::io::Error::other));
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, attachment(&name)?)], body)
        .into_response())
}

/// A file to be saved under a name; what a header cannot hold is written in RFC 8187's way.
fn attachment(name: &str) -> Result<HeaderValue> {
    let mut plain = String::new();
    let mut encoded = String::new();
    for c in name.chars() {
        plain.push(if c.is_ascii_alphanumeric() || " ._-".contains(c) { c } else { '_' });
        let mut buffer = [0; 4];
        for byte in c.encode_utf8(&mut buffer).bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => {
                    encoded.push(char::from(byte));
                }
                _ => encoded.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    let value = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}");
    HeaderValue::from_str(&value).map_err(|_| Problem::not_found("the file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_go_into_a_header_safely() {
        for (name, expected) in [
            ("a b.csv", "attachment; filename=\"a b.csv\"; filename*=UTF-8''a%20b.csv"),
            (
                "ü\"\r\n.csv",
                "attachment; filename=\"____.csv\"; filename*=UTF-8''%C3%BC%22%0D%0A.csv",
            ),
        ] {
            assert_eq!(attachment(name).unwrap(), expected);
        }
    }
}
