//! `/v1/segments`: rules that select customers.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_domain::{SegmentId, Timestamp};
use tidings_engine::segments::{self, Segment as Stored};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::call::{Call, ReadSegments, WriteSegments};
use crate::customers::{CustomerSummary, summary};
use crate::errors::{Problem, Result};
use crate::groups::{Group, group};
use crate::input::{Input, Path, Query};
use crate::paging::{List, Paging};
use crate::translate::path_ref;

#[derive(Debug, Serialize, ToSchema)]
pub struct Segment {
    pub id: Uuid,
    pub number: i32,
    #[schema(example = "Big spenders")]
    pub name: String,
    /// The rule; see the reference of rules.
    #[schema(value_type = Object)]
    pub rule: Value,
    /// How many customers are in it; null until it was evaluated once.
    pub size: Option<i64>,
    /// Whether a new rule is still being evaluated over the base.
    pub evaluating: bool,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentInput {
    pub name: String,
    #[schema(value_type = Object, example = json!({"attribute": "country", "op": "eq", "value": "NL"}))]
    pub rule: Value,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentChange {
    pub name: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub rule: Option<Value>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleInput {
    #[schema(value_type = Object)]
    pub rule: Value,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Count {
    /// How many customers meet the rule.
    pub count: i64,
    /// How many customers there are.
    pub of: i64,
    pub took_ms: u64,
}

/// What a rule may use.
#[derive(Debug, Serialize, ToSchema)]
pub struct RuleFields {
    pub attributes: Vec<RuleField>,
    pub tags: Vec<String>,
    pub groups: Vec<String>,
    pub segments: Vec<String>,
    pub events: Vec<RuleEvent>,
    pub tables: Vec<RuleTable>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RuleField {
    pub name: String,
    pub kind: String,
    /// The operators that fit.
    pub ops: Vec<&'static str>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RuleEvent {
    pub name: String,
    /// Properties seen on recent ones.
    pub properties: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RuleTable {
    pub name: String,
    pub fields: Vec<RuleField>,
}

fn segment(stored: Stored, size: Option<i64>) -> Segment {
    Segment {
        id: stored.id.0,
        number: stored.number,
        size: (stored.evaluated_version > 0).then_some(size.unwrap_or(0)),
        evaluating: stored.is_evaluating(),
        name: stored.name,
        rule: stored.rule,
        updated_at: stored.updated_at,
    }
}

async fn one(ctx: &tidings_engine::Ctx, id: SegmentId) -> Result<Json<Segment>> {
    let stored = segments::get(ctx, id).await?;
    let size = segments::sizes(ctx).await?.get(&stored.number).copied();
    Ok(Json(segment(stored, size)))
}

/// All segments, oldest first.
#[utoipa::path(get, path = "/v1/segments", tag = "Segments",
    security(("token" = ["segments:read"]), ("session" = ["viewer"])),
    responses((status = 200, body = List<Segment>)))]
pub async fn list(call: Call<ReadSegments>) -> Result<Json<List<Segment>>> {
    let sizes = segments::sizes(&call.ctx).await?;
    let items = segments::list(&call.ctx).await?;
    let items = items
        .into_iter()
        .map(|stored| {
            let size = sizes.get(&stored.number).copied();
            segment(stored, size)
        })
        .collect();
    Ok(Json(List::whole(items)))
}

/// Make a segment; its customers are found in the background.
#[utoipa::path(post, path = "/v1/segments", tag = "Segments", request_body = SegmentInput,
    security(("token" = ["segments"]), ("session" = ["editor"])),
    responses((status = 201, body = Segment)))]
pub async fn create(
    call: Call<WriteSegments>,
    Input(body): Input<SegmentInput>,
) -> Result<(StatusCode, Json<Segment>)> {
    let id = segments::create(&call.ctx, &body.name, &body.rule).await?;
    Ok((StatusCode::CREATED, one(&call.ctx, id).await?))
}

/// One segment.
#[utoipa::path(get, path = "/v1/segments/{id}", tag = "Segments",
    security(("token" = ["segments:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Segment)))]
pub async fn show(call: Call<ReadSegments>, Path(id): Path<Uuid>) -> Result<Json<Segment>> {
    one(&call.ctx, SegmentId(id)).await
}

/// Change a segment's name or rule.
#[utoipa::path(patch, path = "/v1/segments/{id}", tag = "Segments", request_body = SegmentChange,
    security(("token" = ["segments"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Segment)))]
pub async fn change(
    call: Call<WriteSegments>,
    Path(id): Path<Uuid>,
    Input(body): Input<SegmentChange>,
) -> Result<Json<Segment>> {
    let stored = segments::get(&call.ctx, SegmentId(id)).await?;
    let name = body.name.unwrap_or(stored.name);
    let rule = body.rule.unwrap_or(stored.rule);
    segments::change(&call.ctx, SegmentId(id), &name, &rule).await?;
    one(&call.ctx, SegmentId(id)).await
}

/// Remove a segment that nothing uses.
#[utoipa::path(delete, path = "/v1/segments/{id}", tag = "Segments",
    security(("token" = ["segments"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 204)))]
pub async fn remove(call: Call<WriteSegments>, Path(id): Path<Uuid>) -> Result<StatusCode> {
    segments::drop(&call.ctx, SegmentId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The customers of a segment.
#[utoipa::path(get, path = "/v1/segments/{id}/customers", tag = "Segments",
    security(("token" = ["segments:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path), Paging),
    responses((status = 200, body = List<CustomerSummary>)))]
pub async fn customers(
    call: Call<ReadSegments>,
    Path(id): Path<Uuid>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<CustomerSummary>>> {
    let (place, limit) = (paging.place()?, paging.limit()?);
    let page = segments::customers(&call.ctx, SegmentId(id), place, limit).await?;
    Ok(Json(List::page(page.items.into_iter().map(summary).collect(), page.next)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExplainQuery {
    /// An id, or `external_id:…`, `email:…`, `phone:…`, `system_id:…`.
    #[param(example = "email:ann@example.com")]
    pub customer: String,
}

/// Why a customer is in a segment or not.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explanation {
    pub customer: Uuid,
    /// Whether the rule holds of the customer now.
    pub holds: bool,
    /// Whether the segment lists the customer; it may be a moment behind the rule.
    pub member: bool,
    pub rule: ExplainedPart,
}

/// One part of the rule, with what decided it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExplainedPart {
    /// `all`, `any`, `not`, or the condition's first word such as `attribute` or `event`.
    pub kind: String,
    /// The condition as it is written; null for `all`, `any` and `not`.
    #[schema(value_type = Option<Object>)]
    pub condition: Value,
    pub holds: bool,
    /// The value that decided: of an attribute its value, of a tag `{"until"}`, of a group and a
    /// segment true or false, of a consent its state, of an event `{"count", "last_at"}`, of a
    /// table `{"records"}` and what they come to. Null where nothing is known.
    #[schema(value_type = Option<Object>)]
    pub found: Value,
    /// When the clock alone could first change whether it holds.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub changes_at: Option<Timestamp>,
    /// Of `all`, `any` and `not` their parts; of a segment its rule.
    #[schema(no_recursion)]
    pub parts: Vec<ExplainedPart>,
}

fn explained(part: segments::ExplainedPart) -> ExplainedPart {
    ExplainedPart {
        kind: part.kind,
        condition: part.condition,
        holds: part.holds,
        found: part.found,
        changes_at: part.changes_at,
        parts: part.parts.into_iter().map(explained).collect(),
    }
}

/// Explain why a customer is in a segment or not: every condition of its rule, whether it holds, the
/// value that decided, and when the clock next changes it.
#[utoipa::path(get, path = "/v1/segments/{id}/explain", tag = "Segments",
    security(("token" = ["segments:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path), ExplainQuery),
    responses((status = 200, body = Explanation)))]
pub async fn explain(
    call: Call<ReadSegments>,
    Path(id): Path<Uuid>,
    Query(query): Query<ExplainQuery>,
) -> Result<Json<Explanation>> {
    let customer = path_ref(&query.customer)?;
    let found = segments::explain(&call.ctx, SegmentId(id), customer).await?;
    Ok(Json(Explanation {
        customer: found.customer.0,
        holds: found.rule.holds,
        member: found.listed,
        rule: explained(found.rule),
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SizesQuery {
    /// So many days up to today, 1 to 1000; 90 unless given.
    pub days: Option<usize>,
}

/// What a day came to, in the workspace's time zone.
#[derive(Debug, Serialize, ToSchema)]
pub struct SegmentDay {
    #[schema(example = "2026-11-23")]
    pub day: String,
    /// How many customers were in it at the end of the day, or are now.
    pub size: i64,
    /// How many came and went that day. Who a new or edited rule found is in the size alone.
    pub entered: i64,
    pub left: i64,
}

/// The size of a segment day by day, the oldest first, from the day it was first evaluated.
#[utoipa::path(get, path = "/v1/segments/{id}/sizes", tag = "Segments",
    security(("token" = ["segments:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path), SizesQuery),
    responses((status = 200, body = List<SegmentDay>)))]
pub async fn sizes(
    call: Call<ReadSegments>,
    Path(id): Path<Uuid>,
    Query(query): Query<SizesQuery>,
) -> Result<Json<List<SegmentDay>>> {
    let count = query.days.unwrap_or(90);
    if !(1..=1000).contains(&count) {
        return Err(Problem::field("days", "invalid_value", "expected 1 to 1000"));
    }
    let days = segments::days(&call.ctx, SegmentId(id), count).await?;
    let items = days.into_iter().map(|one| SegmentDay {
        day: one.day,
        size: one.size,
        entered: one.entered,
        left: one.left,
    });
    Ok(Json(List::whole(items.collect())))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FreezeInput {
    /// The name of the group to make.
    #[schema(example = "Loyal in November")]
    pub group: String,
}

/// Freeze a segment: keep the members it has now as a group, which no rule changes. The group is made
/// at once and filled in the background.
#[utoipa::path(post, path = "/v1/segments/{id}/freeze", tag = "Segments",
    request_body = FreezeInput,
    security(("token" = ["segments"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 202, body = Group)))]
pub async fn freeze(
    call: Call<WriteSegments>,
    Path(id): Path<Uuid>,
    Input(body): Input<FreezeInput>,
) -> Result<(StatusCode, Json<Group>)> {
    let frozen = segments::freeze(&call.ctx, SegmentId(id), &body.group).await?;
    Ok((StatusCode::ACCEPTED, Json(group(frozen))))
}

/// Count the customers who meet a rule.
#[utoipa::path(post, path = "/v1/segments/count", tag = "Segments", request_body = RuleInput,
    security(("token" = ["segments:read"]), ("session" = ["viewer"])),
    responses((status = 200, body = Count)))]
pub async fn count(call: Call<ReadSegments>, Input(body): Input<RuleInput>) -> Result<Json<Count>> {
    let began = std::time::Instant::now();
    let counted = segments::count(&call.ctx, &body.rule).await?;
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Json(Count { count: counted.count, of: counted.of, took_ms }))
}

/// What a rule may use: attributes with the operators that fit, tags, groups, events, tables.
#[utoipa::path(get, path = "/v1/segments/fields", tag = "Segments",
    security(("token" = ["segments:read"]), ("session" = ["viewer"])),
    responses((status = 200, body = RuleFields)))]
pub async fn fields(call: Call<ReadSegments>) -> Result<Json<RuleFields>> {
    let found = segments::fields(&call.ctx).await?;
    let field = |one: segments::RuleField| RuleField {
        name: one.name,
        kind: one.kind.name().to_owned(),
        ops: one.operators.into_iter().map(|operator| operator.name()).collect(),
    };
    Ok(Json(RuleFields {
        attributes: found.attributes.into_iter().map(field).collect(),
        tags: found.tags,
        groups: found.groups,
        segments: found.segments,
        events: found
            .events
            .into_iter()
            .map(|(name, properties)| RuleEvent { name, properties })
            .collect(),
        tables: found
            .tables
            .into_iter()
            .map(|(name, fields)| RuleTable {
                name,
                fields: fields.into_iter().map(field).collect(),
            })
            .collect(),
    }))
}
