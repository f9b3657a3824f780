//! Recording events: append-only, the same event once.

use std::collections::{HashMap, HashSet};

use serde_json::Value as Json;
use tidings_domain::change::{Change, CustomerRef, Outcome, RecordEvent, Refusal};
use tidings_domain::json::{canonical, within_limits};
use tidings_domain::schema::checked_name;
use tidings_domain::{CustomerId, EventId, bucket_of};

use super::{Applying, Dirty, find_customers, sort_rows, unknown_customer};
use crate::bulk::{ColumnType, OnConflict, column, insert_many};
use crate::engines::Tx;
use crate::sql::{Param, Sql};
use crate::{Error, Result};

/// The most bytes that an event's properties may take as JSON.
pub const MAX_PROPERTIES_BYTES: usize = 64 * 1024;
/// An event's time may lie at most so far ahead of the clock, in seconds.
const MAX_AHEAD_SECS: i64 = 24 * 3_600;

pub(super) async fn apply(
    tx: &mut Tx,
    how: &mut Applying,
    changes: &[Change],
    dirty: &mut Dirty,
) -> Result<Vec<Outcome>> {
    let events: Vec<&RecordEvent> = changes
        .iter()
        .filter_map(|change| match change {
            Change::RecordEvent(event) => Some(event),
            _ => None,
        })
        .collect();
    let wanted: Vec<&CustomerRef> = events.iter().map(|event| &event.customer).collect();
    let customers = find_customers(tx, &wanted).await?;
    let names = event_names(tx, events.iter().map(|event| event.name.as_str())).await?;
    let mut rows: Vec<Vec<Param>> = Vec::with_capacity(events.len());
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(events.len());
    let mut given_ids: Vec<(usize, EventId)> = Vec::new();
    for (event, customer) in events.iter().zip(customers) {
        if let Some(refusal) = refused(event, how) {
            outcomes.push(Outcome::Refused(refusal));
            continue;
        }
        let (Some(customer), Some(name)) = (customer, names.get(event.name.as_str())) else {
            outcomes.push(unknown_customer());
            continue;
        };
        let id = event.id.unwrap_or_else(EventId::generate);
        if event.id.is_some() {
            given_ids.push((outcomes.len(), id));
        }
        rows.push(vec![
            bucket_of(customer).into(),
            customer.into(),
            event.at.unwrap_or(how.at).into(),
            id.into(),
            (*name).into(),
            properties(&event.properties),
        ]);
        dirty.mark(customer, format!("e{name}"));
        outcomes.push(Outcome::Created { customer: Some(customer), system_id: None });
    }
    sort_rows(&mut rows);
    let returning = if given_ids.is_empty() { "" } else { "id" };
    let written = insert_many(tx, "events", &COLUMNS, &rows, OnConflict::Keep, returning).await?;
    let written: HashSet<uuid::Uuid> =
        written.iter().map(|row| row.uuid(0)).collect::<Result<_>>()?;
    let mut seen = HashSet::new();
    for (at, id) in given_ids {
        if !written.contains(&id.0) || !seen.insert(id) {
            let customer = match &outcomes[at] {
                Outcome::Created { customer, .. } => *customer,
                _ => None,
            };
            outcomes[at] = Outcome::Unchanged { customer, system_id: None };
        }
    }
    Ok(outcomes)
}

const COLUMNS: [crate::bulk::Column<'static>; 6] = [
    column("bucket", ColumnType::SmallInt),
    column("customer_id", ColumnType::Uuid),
    column("at", ColumnType::BigInt),
    column("id", ColumnType::Uuid),
    column("name", ColumnType::Int),
    column("properties", ColumnType::Json),
];

fn properties(json: &Json) -> Param {
    match json {
        Json::Null => Param::Null,
        Json::Object(fields) if fields.is_empty() => Param::Null,
        other => Param::Json(canonical(other.clone())),
    }
}

fn refused(event: &RecordEvent, how: &Applying) -> Option<Refusal> {
    if let Err(expected) = checked_name(&event.name) {
        return Some(Refusal::new("invalid_name", "name", expected));
    }
    if !matches!(event.properties, Json::Null | Json::Object(_)) {
        return Some(Refusal::new("invalid_value", "properties", "expected an object"));
    }
    if !within_limits(&event.properties, 16)
        || event.properties.to_string().len() > MAX_PROPERTIES_BYTES
    {
        let limit = "properties take at most 64 KB and 16 levels";
        return Some(Refusal::new("too_large", "properties", limit));
    }
    if event.at.is_some_and(|at| at > how.at.plus_secs(MAX_AHEAD_SECS)) {
        return Some(Refusal::new("invalid_value", "at", "expected a time that is not ahead"));
    }
    None
}

/// One event that the hub itself records of a delivery.
pub struct DeliveryEvent {
    pub customer: CustomerId,
    pub name: &'static str,
    pub at: tidings_domain::Timestamp,
    pub id: EventId,
    pub properties: Json,
    pub campaign: tidings_domain::CampaignId,
    pub delivery: tidings_domain::DeliveryId,
}

/// Records events of deliveries, and says what must be judged.
pub async fn record_delivery_events(tx: &mut Tx, events: &[DeliveryEvent]) -> Result<()> {
    let names = event_names(tx, events.iter().map(|event| event.name)).await?;
    // A message keeps the id that it was sent to; what comes of it is the kept customer's.
    let customers: Vec<CustomerId> = events.iter().map(|event| event.customer).collect();
    let moved = crate::merges::resolve(tx, &customers).await?;
    let mut rows: Vec<Vec<Param>> = Vec::with_capacity(events.len());
    let mut dirty = Dirty::default();
    for event in events {
        let Some(name) = names.get(event.name) else { continue };
        let customer = moved.get(&event.customer).copied().unwrap_or(event.customer);
        dirty.mark(customer, format!("e{name}"));
        rows.push(vec![
            bucket_of(customer).into(),
            customer.into(),
            event.at.into(),
            event.id.into(),
            (*name).into(),
            properties(&event.properties),
            event.campaign.into(),
            event.delivery.into(),
        ]);
    }
    sort_rows(&mut rows);
    let [bucket, customer, at, id, name, properties] = COLUMNS;
    let columns = [
        bucket,
        customer,
        at,
        id,
        name,
        properties,
        column("campaign_id", ColumnType::Uuid),
        column("delivery_id", ColumnType::Uuid),
    ];
    insert_many(tx, "events", &columns, &rows, OnConflict::Keep, "").await?;
    let Some(at) = events.iter().map(|event| event.at).max() else { return Ok(()) };
    dirty.write(tx, at).await
}

/// Writes events that the hub itself records, each row in the order bucket, customer, time, id,
/// number of the name, properties. What must be judged for them is the caller's affair.
pub(crate) async fn insert_own_events(tx: &mut Tx, mut rows: Vec<Vec<Param>>) -> Result<()> {
    sort_rows(&mut rows);
    insert_many(tx, "events", &COLUMNS, &rows, OnConflict::Keep, "").await.map(|_| ())
}

static ALL_NAMES: Sql = Sql::reference("event_names", "select name, number from {s}event_names");
static ADD_NAME: Sql = Sql::reference(
    "add_event_name",
    "insert into {s}event_names (number, name)
     select coalesce(max(number), 0) + 1, ?1 from {s}event_names where true
     on conflict do nothing",
);

/// The numbers of event names; new names get one.
pub async fn event_names<'n>(
    tx: &mut Tx,
    names: impl Iterator<Item = &'n str>,
) -> Result<HashMap<&'n str, i64>> {
    let wanted: HashSet<&str> = names.filter(|name| checked_name(name).is_ok()).collect();
    let mut numbers = HashMap::with_capacity(wanted.len());
    for attempt in 0..8 {
        let rows = tx.query(&ALL_NAMES, &[]).await?;
        for row in &rows {
            if let Some(name) = wanted.get(row.text(0)?.as_str()) {
                numbers.insert(*name, row.int(1)?);
            }
        }
        let mut missing: Vec<&str> =
            wanted.iter().copied().filter(|name| !numbers.contains_key(name)).collect();
        if missing.is_empty() {
            return Ok(numbers);
        }
        if rows.len() + missing.len() > MAX_EVENT_NAMES {
            return Err(Error::Invalid(format!("more than {MAX_EVENT_NAMES} event names")));
        }
        missing.sort_unstable();
        // Two nodes may pick the same number; the one that waited looks again.
        for name in missing {
            tx.execute(&ADD_NAME, crate::params![name]).await?;
        }
        debug_assert!(attempt < 7, "event names never settle");
    }
    Err(Error::Unavailable("event names keep moving".to_owned()))
}

const MAX_EVENT_NAMES: usize = 10_000;

pub(crate) static SQL: &[&Sql] = &[&ALL_NAMES, &ADD_NAME];
