//! `/v1/segments`: rules that select customers.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_domain::{SegmentId, Timestamp};
use tidings_engine::segments::{self, Segment as Stored};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::call::{Call, ReadSegments, WriteSegments};
use crate::customers::{CustomerSummary, summary};
use crate::errors::Result;
use crate::input::{Input, Path, Query};
use crate::paging::{List, Paging};

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
