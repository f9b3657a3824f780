//! `/v1/customers/{ref}/export` and `DELETE /v1/customers/{ref}`: everything on one person.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value as Json_;
use tidings_domain::change::CustomerRef;
use tidings_engine::{Ctx, Error, consents, customers, personal};
use utoipa::ToSchema;

use crate::call::{Call, ReadCustomers, WriteCustomers};
use crate::consents::{ConsentEntry, entry};
use crate::customers::{CustomerProfile, TimelineEvent, profile, timeline_event};
use crate::errors::{Problem, Result};
use crate::input::Path;
use crate::translate::path_ref;

/// How many events are read at once.
const PAGE: usize = 1_000;

/// Everything that is known of one person.
#[derive(Debug, Serialize, ToSchema)]
pub struct PersonalData {
    pub customer: CustomerProfile,
    /// What they said about being written to, newest first.
    pub consent_history: Vec<ConsentEntry>,
    /// What happened, newest first.
    pub events: Vec<TimelineEvent>,
    /// Their rows in every table, as they are kept: records, deliveries and all else, also sign-ups
    /// and suppressions of their addresses.
    #[schema(value_type = Object)]
    pub rows: BTreeMap<String, Vec<Json_>>,
}

/// Gathers everything on one person.
pub async fn gather(ctx: &Ctx, reference: CustomerRef) -> Result<PersonalData, Error> {
    let found = customers::profile(ctx, reference).await?;
    let id = found.customer.id;
    let mut consent_history = Vec::new();
    let mut before = None;
    loop {
        let page = consents::history(ctx, id, before, PAGE).await?;
        consent_history.extend(page.items.into_iter().map(entry));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let mut events = Vec::new();
    let mut before = None;
    loop {
        let page = customers::events(ctx, id, None, before, PAGE).await?;
        events.extend(page.items.into_iter().map(timeline_event));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let mut rows = personal::rows(ctx, id).await?;
    // These are told above, in words.
    rows.remove("events");
    rows.remove("consent_history");
    Ok(PersonalData { customer: profile(found), consent_history, events, rows })
}

/// Everything that is known of one person, as one JSON document.
#[utoipa::path(get, path = "/v1/customers/{ref}/export", tag = "Customers",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])),
    params(("ref" = String, Path, example = "email:ann@example.com")),
    responses((status = 200, body = PersonalData)))]
pub async fn export(call: Call<ReadCustomers>, Path(reference): Path<String>) -> Result<Response> {
    let data = gather(&call.ctx, path_ref(&reference)?).await?;
    let name = HeaderValue::from_static("attachment; filename=\"customer.json\"");
    Ok(([(header::CONTENT_DISPOSITION, name)], Json(data)).into_response())
}

/// Erase a person from everything that is kept. This cannot be taken back. Imports and calls that
/// name them afterwards are refused (`erased`); a sign-up that they confirm themselves is not.
#[utoipa::path(delete, path = "/v1/customers/{ref}", tag = "Customers",
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    params(("ref" = String, Path, example = "email:ann@example.com")),
    responses((status = 204)))]
pub async fn erase(
    call: Call<WriteCustomers>,
    Path(reference): Path<String>,
) -> Result<StatusCode> {
    personal::erase(&call.ctx, path_ref(&reference)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Let somebody be known again by a name that was erased: `external_id:…`, `email:…` or `phone:…`.
#[utoipa::path(delete, path = "/v1/erasures/{ref}", tag = "Customers",
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    params(("ref" = String, Path, example = "email:ann@example.com")),
    responses((status = 204)))]
pub async fn readmit(
    call: Call<WriteCustomers>,
    Path(reference): Path<String>,
) -> Result<StatusCode> {
    let CustomerRef::Identity(name) = path_ref(&reference)? else {
        return Err(Problem::not_found("an erasure of this name"));
    };
    personal::readmit(&call.ctx, name).await?;
    Ok(StatusCode::NO_CONTENT)
}
