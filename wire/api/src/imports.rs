//! `/v1/imports`: files that become customers or records.

mod shapes;

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::TryStreamExt;
use tidings_domain::ImportId;
use tidings_engine::Error;
use tidings_engine::imports::{self, Mapping, Upload, named, trial, undo};
use uuid::Uuid;

pub use self::shapes::*;
use crate::call::{Call, ReadImports, WriteImports};
use crate::errors::{Problem, Result};
use crate::input::{Input, Path, Query};
use crate::paging::{List, Paging};

/// Upload a file of at most 10 GB as the body. It waits as a draft with a suggested mapping,
/// unless `start` is true.
#[utoipa::path(post, path = "/v1/imports", tag = "Imports",
    security(("token" = ["imports"]), ("session" = ["editor"])),
    params(UploadQuery),
    request_body(content((String = "text/csv"), (String = "application/x-ndjson"),
        (String = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        (String = "application/octet-stream"))),
    responses((status = 201, body = Import)))]
pub async fn upload(
    call: Call<WriteImports>,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> Result<(StatusCode, Json<Import>)> {
    let body = request.into_body().into_data_stream().map_err(std::io::Error::other);
    let body = tokio_util::io::StreamReader::new(body);
    let filename = query.filename.unwrap_or_else(|| "upload.csv".to_owned());
    let written = LayoutChange {
        encoding: query.encoding,
        delimiter: query.delimiter,
        quote: query.quote,
        header: query.header,
    };
    let upload = Upload {
        filename,
        table: query.table,
        adjust: written.adjust("")?,
        mapping: query.mapping_name,
    };
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

/// Say what the columns of a draft become, or how its file is written.
#[utoipa::path(patch, path = "/v1/imports/{id}", tag = "Imports", request_body = ImportChange,
    security(("token" = ["imports"]), ("session" = ["editor"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = Import)))]
pub async fn change(
    call: Call<WriteImports>,
    Path(id): Path<Uuid>,
    Input(body): Input<ImportChange>,
) -> Result<Json<Import>> {
    let id = ImportId(id);
    if let Some(layout) = &body.layout {
        imports::set_layout(&call.ctx, id, layout.adjust("layout.")?).await?;
    }
    let changed = match (&body.mapping, &body.mapping_name) {
        (Some(mapping), None) => imports::set_mapping(&call.ctx, id, mapping).await?,
        (None, Some(name)) => named::take(&call.ctx, id, name).await?,
        (None, None) => imports::get(&call.ctx, id).await?,
        (Some(_), Some(_)) => {
            let message = "expected either a mapping or the name of one";
            return Err(Error::invalid("mapping_name", message).into());
        }
    };
    Ok(Json(import(changed, call.ctx.now())))
}

/// The first rows of a draft as they are read, and what the mapping makes of them.
#[utoipa::path(post, path = "/v1/imports/{id}/preview", tag = "Imports",
    request_body = ImportPreviewInput,
    security(("token" = ["imports"]), ("session" = ["editor"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = List<PreviewRow>)))]
pub async fn preview(
    call: Call<WriteImports>,
    Path(id): Path<Uuid>,
    Input(body): Input<ImportPreviewInput>,
) -> Result<Json<List<PreviewRow>>> {
    let rows = imports::preview(&call.ctx, ImportId(id), body.mapping.as_ref()).await?;
    let rows = rows.into_iter().map(|one| PreviewRow {
        row: one.row,
        line: one.line,
        cells: one.cells,
        becomes: one.becomes,
        fault: one.fault,
    });
    Ok(Json(List::whole(rows.collect())))
}

/// Try a draft: what would become of each row, with nothing of it kept. An earlier trial is forgotten.
#[utoipa::path(post, path = "/v1/imports/{id}/try", tag = "Imports",
    security(("token" = ["imports"]), ("session" = ["editor"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = Import)))]
pub async fn attempt(call: Call<WriteImports>, Path(id): Path<Uuid>) -> Result<Json<Import>> {
    Ok(Json(import(trial::start(&call.ctx, ImportId(id)).await?, call.ctx.now())))
}

/// What a trial says of each row, in the order of the file. A page that looks for few among many may
/// be short although there is more.
#[utoipa::path(get, path = "/v1/imports/{id}/verdicts", tag = "Imports",
    security(("token" = ["imports:read"]), ("session" = ["viewer"])),
    params(("id" = Uuid, Path), VerdictQuery),
    responses((status = 200, body = List<RowVerdict>)))]
pub async fn verdicts(
    call: Call<ReadImports>,
    Path(id): Path<Uuid>,
    Query(query): Query<VerdictQuery>,
) -> Result<Json<List<RowVerdict>>> {
    let paging = Paging { limit: query.limit, cursor: query.cursor };
    let (after, limit) = (paging.place()?, paging.limit()?);
    let (items, next) =
        trial::verdicts(&call.ctx, ImportId(id), after, limit, query.verdict).await?;
    let said = |text: String| Some(text).filter(|text| !text.is_empty());
    let items = items.into_iter().map(|one| RowVerdict {
        row: one.row,
        line: one.line,
        verdict: one.verdict,
        column: said(one.column),
        code: said(one.code),
        message: said(one.message),
    });
    Ok(Json(List::page(items.collect(), next)))
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

/// Undo an import, up to 30 days after its end: fields that still hold what it wrote go back, and
/// customers that it made and nothing else has touched go away. What was sent stays sent.
#[utoipa::path(post, path = "/v1/imports/{id}/undo", tag = "Imports",
    security(("token" = ["imports"]), ("session" = ["editor"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = Import)))]
pub async fn revert(call: Call<WriteImports>, Path(id): Path<Uuid>) -> Result<Json<Import>> {
    Ok(Json(import(undo::start(&call.ctx, ImportId(id)).await?, call.ctx.now())))
}

/// What an undo left as it is, and why.
#[utoipa::path(get, path = "/v1/imports/{id}/undo/kept", tag = "Imports",
    security(("token" = ["imports:read"]), ("session" = ["viewer"])),
    params(("id" = Uuid, Path), Paging),
    responses((status = 200, body = List<KeptField>)))]
pub async fn kept(
    call: Call<ReadImports>,
    Path(id): Path<Uuid>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<KeptField>>> {
    let (after, limit) = (paging.place()?, paging.limit()?);
    let (items, next) = undo::kept(&call.ctx, ImportId(id), after, limit).await?;
    let said = |text: String| Some(text).filter(|text| !text.is_empty());
    let items = items.into_iter().map(|one| KeptField {
        customer: one.customer.map(|id| id.0),
        key: said(one.key),
        field: said(one.field),
        reason: one.reason,
        imported: one.imported,
        current: one.current,
    });
    Ok(Json(List::page(items.collect(), next)))
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
