//! `/v1/customers/{ref}/merge` and `/v1/customers/alias`: customers who are one.

use axum::Json;
use serde::{Deserialize, Serialize};
use tidings_domain::Timestamp;
use tidings_domain::change::{Change, Identity, IdentityKind, Mode, Outcome};
use tidings_engine::{changes, merges};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::call::{Call, ReadCustomers, WriteCustomers};
use crate::errors::{Problem, Result};
use crate::input::{Input, Path, Query};
use crate::paging::{List, Paging};
use crate::translate::{CustomerInput, CustomerRefInput, Done, customer_ref, path_ref, upsert};

/// Who is merged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeInput {
    /// The one who is merged into the customer of the path, and is gone after it.
    pub other: CustomerRefInput,
}

/// A merge into a customer.
#[derive(Debug, Serialize, ToSchema)]
pub struct MergeEntry {
    pub id: Uuid,
    /// Who was merged; this id and number lead to the kept customer until the merge is undone.
    pub merged_id: Uuid,
    pub merged_system_id: i64,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Until when it can be undone.
    #[schema(value_type = String, format = DateTime)]
    pub undo_until: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub undone_at: Option<Timestamp>,
}

/// Who is there again.
#[derive(Debug, Serialize, ToSchema)]
pub struct Unmerged {
    pub id: Uuid,
}

/// An anonymous visitor who is known now.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AliasInput {
    /// The visitor's or device's id.
    #[schema(example = "device-7f3a")]
    pub anonymous_id: String,
    /// Who it is: made or updated as by `POST /v1/customers`.
    pub customer: CustomerInput,
}

fn done(outcome: Outcome) -> Result<Json<Done>> {
    match outcome {
        Outcome::Refused(refusal) if refusal.code == "unknown_customer" => {
            let who = if refusal.path == "other" { "the other customer" } else { "the customer" };
            Err(Problem::not_found(who))
        }
        Outcome::Refused(refusal) => Err(Problem::invalid(vec![refusal.into()])),
        outcome => Ok(Json(outcome.into())),
    }
}

/// Merge another customer into this one. This one's values win and gaps are filled; names, events,
/// records, tags and groups move; of two consents the stricter wins. It can be undone for 30 days.
/// Where both are one already, nothing is done.
#[utoipa::path(post, path = "/v1/customers/{ref}/merge", tag = "Customers",
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    params(("ref" = String, Path, example = "email:ann@example.com")),
    request_body = MergeInput,
    responses((status = 200, body = Done)))]
pub async fn merge(
    call: Call<WriteCustomers>,
    Path(reference): Path<String>,
    Input(body): Input<MergeInput>,
) -> Result<Json<Done>> {
    let other = customer_ref(body.other)?;
    done(merges::merge(&call.ctx, path_ref(&reference)?, other).await?)
}

/// The merges into a customer, newest first.
#[utoipa::path(get, path = "/v1/customers/{ref}/merges", tag = "Customers",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])),
    params(("ref" = String, Path), Paging),
    responses((status = 200, body = List<MergeEntry>)))]
pub async fn list(
    call: Call<ReadCustomers>,
    Path(reference): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<MergeEntry>>> {
    let before: Option<(i64, Uuid)> = paging.place()?;
    let before = before.map(|(at, id)| (Timestamp(at), id));
    let page = merges::page(&call.ctx, path_ref(&reference)?, before, paging.limit()?).await?;
    let next = page.next.map(|(at, id)| (at.0, id));
    let entry = |merge: merges::Merge| MergeEntry {
        id: merge.id,
        merged_id: merge.lost.0,
        merged_system_id: merge.lost_system_id,
        at: merge.at,
        undo_until: merge.undo_until,
        undone_at: merge.undone_at,
    };
    Ok(Json(List::page(page.items.into_iter().map(entry).collect(), next)))
}

/// Undo a merge: both are as they were. What came since stays with the kept one, and a consent that
/// was taken back stays so.
#[utoipa::path(post, path = "/v1/customers/{ref}/merges/{merge}/undo", tag = "Customers",
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    params(("ref" = String, Path), ("merge" = Uuid, Path)),
    responses((status = 200, body = Unmerged)))]
pub async fn undo(
    call: Call<WriteCustomers>,
    Path((reference, merge)): Path<(String, Uuid)>,
) -> Result<Json<Unmerged>> {
    let back = merges::undo(&call.ctx, path_ref(&reference)?, merge).await?;
    Ok(Json(Unmerged { id: back.0 }))
}

/// Say who an anonymous visitor is. What the visitor did comes to the customer; an id that is
/// another known customer's is refused (`alias_taken`).
#[utoipa::path(post, path = "/v1/customers/alias", tag = "Customers",
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    request_body = AliasInput,
    responses((status = 200, body = Done)))]
pub async fn alias(
    call: Call<WriteCustomers>,
    Input(body): Input<AliasInput>,
) -> Result<Json<Done>> {
    let kind = IdentityKind::AnonymousId;
    let value = kind
        .normalise(&body.anonymous_id)
        .map_err(|expected| Problem::field("anonymous_id", "invalid_anonymous_id", expected))?;
    let customer = upsert(body.customer, Mode::Upsert);
    let change = Change::Alias { anonymous_id: Identity { kind, value }, customer };
    done(changes::apply_one(&call.ctx, change).await?)
}
