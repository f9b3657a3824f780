//! `/v1/customers`: create, update, find and look at customers.

use axum::Json;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json_};
use tidings_domain::{EventId, Timestamp};
use tidings_engine::customers::{self, Event, Found, Listed, Matching, Page, Profile, Record};
use tidings_engine::{Ctx, segments};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::call::{Call, ReadCustomers, WriteCustomers};
use crate::errors::{Problem, Result};
use crate::input::{Incoming, Path, Query, object, parse};
use crate::many::{OneOrMany, OneOrManyDone, as_lines, ndjson, receive};
use crate::paging::{List, checked_limit, place};
use crate::tables::ModeQuery;
use crate::translate::{Consent, CustomerInput, Done, customer, path_ref};

/// A customer in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct CustomerSummary {
    pub id: Uuid,
    pub system_id: i64,
    pub external_id: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    /// Those that are set, by name.
    #[schema(value_type = Object)]
    pub attributes: Map<String, Json_>,
    pub tags: Vec<TagMark>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct TagMark {
    pub tag: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// All that is known of a customer but the timeline and records.
#[derive(Debug, Serialize, ToSchema)]
pub struct CustomerProfile {
    #[serde(flatten)]
    pub summary: CustomerSummary,
    pub groups: Vec<String>,
    pub consents: Vec<ConsentMark>,
    pub suppressed: Option<Suppressed>,
    pub segments: Vec<SegmentMark>,
    /// Fields that came without a schema.
    #[schema(value_type = Object)]
    pub extra: Json_,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ConsentMark {
    pub channel: &'static str,
    pub topic: String,
    pub state: Consent,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub source: String,
    /// `api`, `import`, `console`, `form`, `preference_page`, `unsubscribe_link` or `earlier`.
    #[schema(example = "form")]
    pub via: &'static str,
    /// Which version of the topic's text the customer was shown.
    pub text_version: Option<i32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Suppressed {
    pub reason: String,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SegmentMark {
    pub id: Uuid,
    pub name: String,
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// One entry of a timeline.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimelineEvent {
    pub id: Uuid,
    pub name: String,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    #[schema(value_type = Object)]
    pub properties: Json_,
    pub campaign: Option<CampaignName>,
    pub delivery_id: Option<Uuid>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CampaignName {
    pub id: Uuid,
    pub name: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CustomerRecord {
    pub key: String,
    #[schema(value_type = Object)]
    pub fields: Map<String, Json_>,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

pub fn summary(listed: Listed) -> CustomerSummary {
    let Listed { customer, tags } = listed;
    CustomerSummary {
        id: customer.id.0,
        system_id: customer.system_id,
        attributes: customer.attributes(),
        tags: tags.into_iter().map(|tag| TagMark { tag: tag.tag, until: tag.until }).collect(),
        external_id: customer.external_id,
        email: customer.email,
        phone: customer.phone,
        created_at: customer.created_at,
        updated_at: customer.updated_at,
    }
}

pub(crate) fn profile(profile: Profile) -> CustomerProfile {
    let extra = match &profile.customer.extra {
        Json_::Null => Json_::Object(Map::new()),
        extra => extra.clone(),
    };
    let consents = profile.consents.into_iter().map(|consent| ConsentMark {
        channel: consent.channel.name(),
        topic: consent.topic,
        state: consent.state.into(),
        at: consent.at,
        source: consent.source,
        via: consent.via.name(),
        text_version: consent.text_version,
    });
    let segments = profile.segments.into_iter().map(|segment| SegmentMark {
        id: segment.id.0,
        name: segment.name,
        since: segment.since,
    });
    CustomerProfile {
        groups: profile.groups,
        consents: consents.collect(),
        suppressed: profile.suppressed.map(|(reason, at)| Suppressed { reason, at }),
        segments: segments.collect(),
        summary: summary(Listed { customer: profile.customer, tags: profile.tags }),
        extra,
    }
}

pub(crate) fn timeline_event(event: Event) -> TimelineEvent {
    let properties = match event.properties {
        Json_::Null => Json_::Object(Map::new()),
        properties => properties,
    };
    TimelineEvent {
        id: event.id.0,
        name: event.name,
        at: event.at,
        properties,
        campaign: event.campaign.map(|(id, name)| CampaignName { id: id.0, name }),
        delivery_id: event.delivery.map(|id| id.0),
    }
}

fn customer_record(record: Record) -> CustomerRecord {
    CustomerRecord { key: record.key, fields: record.fields, updated_at: record.updated_at }
}

/// Create or update customers: one, an array of at most 10,000, or lines of NDJSON, which are
/// answered line by line. What is refused in an array or a stream never holds the others up.
#[utoipa::path(post, path = "/v1/customers", tag = "Customers",
    security(("token" = ["customers:write"]), ("session" = ["editor"])),
    params(ModeQuery),
    request_body(content(
        (OneOrMany<CustomerInput> = "application/json"),
        (String = "application/x-ndjson"),
    )),
    responses(
        (status = 200, body = OneOrManyDone),
        (status = 201, body = Done, description = "A new customer"),
    ))]
pub async fn upsert(
    call: Call<WriteCustomers>,
    Query(query): Query<ModeQuery>,
    body: Incoming,
) -> Result<Response> {
    let mode = query.mode.into();
    let read = move |item: &[u8]| Ok(customer(object::<CustomerInput>(item)?, mode));
    receive(call.ctx, body, Box::new(read)).await
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CustomersQuery {
    /// 1 to 1000, 50 unless given.
    pub limit: Option<usize>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// A segment rule as JSON: only customers that it selects.
    pub filter: Option<String>,
    /// What somebody types to find a person: words of a name, an e-mail address, a phone number or
    /// an external id, in small or capital letters, with or without accents. Words of three
    /// characters or more are found anywhere, shorter ones at the beginning of a word.
    pub q: Option<String>,
}

/// A place in a list of customers: by system id, or among the identities of a search by the value
/// found.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Place {
    Number(i64),
    Found(String, String),
}

/// List customers in the order they came in, or find them by what somebody types. With
/// `Accept: application/x-ndjson` the whole list is streamed, one customer a line.
#[utoipa::path(get, path = "/v1/customers", tag = "Customers",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])),
    params(CustomersQuery),
    responses((status = 200, content(
        (List<CustomerSummary> = "application/json"),
        (String = "application/x-ndjson"),
    ))))]
pub async fn list(
    call: Call<ReadCustomers>,
    Query(query): Query<CustomersQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    let limit = checked_limit(query.limit)?;
    let after: Option<Place> = place(query.cursor.as_deref())?;
    let matching = match query.filter.as_deref() {
        Some(filter) => Some(matching(&call.ctx, filter).await?),
        None => None,
    };
    let search = query.q.filter(|text| !text.trim().is_empty());
    if search.is_some() && matching.is_some() {
        let message = "q and filter cannot be given together";
        return Err(Problem::field("q", "invalid_value", message));
    }
    if wants_lines(&headers) {
        return Ok(stream(call.ctx, search, matching, after));
    }
    let (items, next) = page(&call.ctx, search.as_deref(), matching, after, limit).await?;
    let items = items.into_iter().map(summary).collect();
    Ok(Json(List::page(items, next)).into_response())
}

/// The customers that a rule selects, as a condition.
async fn matching(ctx: &Ctx, filter: &str) -> Result<Matching> {
    let rule: Json_ = parse(filter.as_bytes()).map_err(|problem| {
        Problem::field("filter", "invalid_json", format!("expected a rule; {}", problem.detail))
    })?;
    Ok(segments::condition(ctx, &rule, ctx.now()).await?)
}

async fn page(
    ctx: &Ctx,
    search: Option<&str>,
    matching: Option<Matching>,
    after: Option<Place>,
    limit: usize,
) -> Result<(Vec<Listed>, Option<Place>)> {
    let strange = || Problem::field("cursor", "invalid_cursor", "expected next of a page before");
    match search {
        Some(text) => {
            let after = match after {
                None => None,
                Some(Place::Found(value, kind)) => Some(found(value, &kind).ok_or_else(strange)?),
                Some(Place::Number(number)) => Some(Found::Text(number)),
            };
            let Page { items, next } = customers::search(ctx, text, after, limit).await?;
            let next = next.map(|found| match found {
                Found::Identity(value, kind) => Place::Found(value, kind.name().to_owned()),
                Found::Text(number) => Place::Number(number),
            });
            Ok((items, next))
        }
        None => {
            let after = match after {
                None => None,
                Some(Place::Number(number)) => Some(number),
                Some(Place::Found(..)) => return Err(strange()),
            };
            let Page { items, next } = customers::page(ctx, matching, after, limit).await?;
            Ok((items, next.map(Place::Number)))
        }
    }
}

fn found(value: String, kind: &str) -> Option<Found> {
    use tidings_domain::change::IdentityKind::{Email, ExternalId, Phone};
    let kind = [ExternalId, Email, Phone].into_iter().find(|known| known.name() == kind)?;
    Some(Found::Identity(value, kind))
}

fn wants_lines(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("ndjson"))
}

/// The whole list as lines: a page is read when the one before has been taken.
fn stream(
    ctx: Ctx,
    search: Option<String>,
    matching: Option<Matching>,
    after: Option<Place>,
) -> Response {
    const PAGE: usize = 500;
    let pages = futures::stream::unfold(Some(after), move |after| {
        let (ctx, search, matching) = (ctx.clone(), search.clone(), matching.clone());
        async move {
            let after = after?;
            match page(&ctx, search.as_deref(), matching, after, PAGE).await {
                Ok((items, next)) => {
                    let items: Vec<CustomerSummary> = items.into_iter().map(summary).collect();
                    Some((Ok(as_lines(&items)), next.map(Some)))
                }
                // The answer has begun, so a fault can only break it off.
                Err(problem) => Some((Err(std::io::Error::other(problem.detail)), None)),
            }
        }
    });
    ndjson(pages.boxed())
}

/// One customer. The reference is an id, or `external_id:…`, `email:…`, `phone:…`,
/// `anonymous_id:…`, `system_id:…`. The id of somebody who was merged leads to who has it now.
#[utoipa::path(get, path = "/v1/customers/{ref}", tag = "Customers",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])),
    params(("ref" = String, Path, example = "email:ann@example.com")),
    responses((status = 200, body = CustomerProfile)))]
pub async fn show(
    call: Call<ReadCustomers>,
    Path(reference): Path<String>,
) -> Result<Json<CustomerProfile>> {
    Ok(Json(profile(customers::profile(&call.ctx, path_ref(&reference)?).await?)))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// 1 to 1000, 50 unless given.
    pub limit: Option<usize>,
    pub cursor: Option<String>,
    /// Only events of this name.
    pub name: Option<String>,
}

/// A customer's events, newest first.
#[utoipa::path(get, path = "/v1/customers/{ref}/events", tag = "Events",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])),
    params(("ref" = String, Path), EventsQuery),
    responses((status = 200, body = List<TimelineEvent>)))]
pub async fn events(
    call: Call<ReadCustomers>,
    Path(reference): Path<String>,
    Query(query): Query<EventsQuery>,
) -> Result<Json<List<TimelineEvent>>> {
    let limit = checked_limit(query.limit)?;
    let before: Option<(i64, Uuid)> = place(query.cursor.as_deref())?;
    let before = before.map(|(at, id)| (Timestamp(at), EventId(id)));
    let id = customers::find(&call.ctx, path_ref(&reference)?).await?;
    let page = customers::events(&call.ctx, id, query.name, before, limit).await?;
    let next = page.next.map(|(at, id)| (at.0, id.0));
    Ok(Json(List::page(page.items.into_iter().map(timeline_event).collect(), next)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RecordsQuery {
    #[param(example = "orders")]
    pub table: String,
    /// 1 to 1000, 50 unless given.
    pub limit: Option<usize>,
    pub cursor: Option<String>,
}

/// A customer's records of one table, by key.
#[utoipa::path(get, path = "/v1/customers/{ref}/records", tag = "Records",
    security(("token" = ["customers:read"]), ("session" = ["viewer"])),
    params(("ref" = String, Path), RecordsQuery),
    responses((status = 200, body = List<CustomerRecord>)))]
pub async fn records(
    call: Call<ReadCustomers>,
    Path(reference): Path<String>,
    Query(query): Query<RecordsQuery>,
) -> Result<Json<List<CustomerRecord>>> {
    let limit = checked_limit(query.limit)?;
    let after = place(query.cursor.as_deref())?;
    let id = customers::find(&call.ctx, path_ref(&reference)?).await?;
    let page = customers::records(&call.ctx, id, &query.table, after, limit).await?;
    Ok(Json(List::page(page.items.into_iter().map(customer_record).collect(), page.next)))
}
