//! Reading customers: one, a page, the profile and the timeline.

use std::sync::Arc;

use serde_json::Value as Json;
use tidings_domain::change::CustomerRef;
use tidings_domain::consent::{Channel, ConsentState, Via};
use tidings_domain::schema::Schema;
use tidings_domain::value::Value;
use tidings_domain::{
    CampaignId, CustomerId, DeliveryId, EventId, SegmentId, Timestamp, bucket_of,
};

use crate::Result;
use crate::bulk::select_many;
use crate::changes::{CUSTOMER_KEY, customer_key, find_customers};
use crate::engines::Tx;
use crate::sql::{Param, Row, Sql, quoted};
use crate::workspace::Workspace;

/// A page of a list, and where the next one starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T, C> {
    pub items: Vec<T>,
    pub next: Option<C>,
}

impl<T, C> Page<T, C> {
    /// Cuts a list that was read one longer than asked, to know whether there is more.
    pub(crate) fn cut(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> C) -> Page<T, C> {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(cursor) } else { None };
        Page { items, next }
    }
}

/// A customer as stored, with the attributes in the schema's order.
#[derive(Clone, Debug)]
pub struct Customer {
    pub id: CustomerId,
    pub system_id: i64,
    pub external_id: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub extra: Json,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub values: Vec<Option<Value>>,
    pub schema: Arc<Schema>,
}

impl Customer {
    /// An attribute as JSON; `None` where it is unknown or missing.
    pub fn attribute(&self, name: &str) -> Option<Json> {
        let position = self.schema.position(name)?;
        let value = self.values.get(position)?.as_ref()?;
        Some(self.schema.attributes[position].kind.to_json(value))
    }

    /// All attributes that are set, by name.
    pub fn attributes(&self) -> serde_json::Map<String, Json> {
        let mut map = serde_json::Map::new();
        for (attribute, value) in self.schema.attributes.iter().zip(&self.values) {
            if let Some(value) = value {
                map.insert(attribute.name.clone(), attribute.kind.to_json(value));
            }
        }
        map
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Tag {
    pub tag: String,
    pub until: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Consent {
    pub channel: Channel,
    pub topic: String,
    pub state: ConsentState,
    pub at: Timestamp,
    pub source: String,
    pub via: Via,
    /// Which version of the topic's text the customer was shown.
    pub text_version: Option<i32>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Membership {
    pub id: SegmentId,
    pub name: String,
    pub since: Timestamp,
}

/// Everything the profile shows of a customer but the timeline and records.
#[derive(Clone, Debug)]
pub struct Profile {
    pub customer: Customer,
    pub tags: Vec<Tag>,
    pub groups: Vec<String>,
    pub consents: Vec<Consent>,
    pub segments: Vec<Membership>,
    /// Why the customer's address is never written to, and since when.
    pub suppressed: Option<(String, Timestamp)>,
}

/// One entry of the timeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: EventId,
    pub name: String,
    pub at: Timestamp,
    pub properties: Json,
    pub campaign: Option<(CampaignId, String)>,
    pub delivery: Option<DeliveryId>,
}

/// One record of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub key: String,
    pub fields: serde_json::Map<String, Json>,
    pub updated_at: Timestamp,
}

/// The columns of `Customer`, of a table named `t`.
pub(crate) fn customer_columns(schema: &Schema) -> String {
    let mut columns =
        "t.id, t.system_id, t.external_id, t.email, t.phone, t.extra, t.created_at, t.updated_at"
            .to_owned();
    for attribute in &schema.attributes {
        columns.push_str(", t.");
        columns.push_str(&quoted(&attribute.column));
    }
    columns
}

/// How many columns `customer_columns` has before the attributes.
const FIXED: usize = 8;

pub(crate) fn customer(row: &Row, offset: usize, schema: &Arc<Schema>) -> Result<Customer> {
    let mut values = Vec::with_capacity(schema.attributes.len());
    for (at, attribute) in schema.attributes.iter().enumerate() {
        values.push(row.value(offset + FIXED + at, attribute.kind.storage())?);
    }
    Ok(Customer {
        id: CustomerId(row.uuid(offset)?),
        system_id: row.int(offset + 1)?,
        external_id: row.opt_text(offset + 2)?,
        email: row.opt_text(offset + 3)?,
        phone: row.opt_text(offset + 4)?,
        extra: row.json(offset + 5)?,
        created_at: row.time(offset + 6)?,
        updated_at: row.time(offset + 7)?,
        values,
        schema: schema.clone(),
    })
}

/// Customers by id, in no order; those that do not exist are left out.
pub(crate) async fn load_customers(
    tx: &mut Tx,
    schema: &Arc<Schema>,
    ids: &[CustomerId],
) -> Result<Vec<Customer>> {
    let mut keys: Vec<Vec<Param>> = ids.iter().map(|id| customer_key(*id)).collect();
    crate::changes::sort_rows(&mut keys);
    keys.dedup();
    let columns = customer_columns(schema);
    let rows = select_many(tx, "customers", &columns, &CUSTOMER_KEY, &keys, "").await?;
    rows.iter().map(|row| customer(row, 0, schema)).collect()
}

static TAGS: Sql = Sql::bucket(
    "tags_of",
    "select tag, until from {s}tags where bucket = ?1 and customer_id = ?2 order by tag",
);
static GROUPS: Sql = Sql::bucket(
    "groups_of",
    "select g.name from {s}group_members m join {s}groups g on g.number = m.group_number
     where m.bucket = ?1 and m.customer_id = ?2 order by g.name",
);
static CONSENTS: Sql = Sql::bucket(
    "consents_of",
    "select channel, topic, state, at, source, via, text_version from {s}consents
     where bucket = ?1 and customer_id = ?2 order by channel, topic",
);
static SEGMENTS: Sql = Sql::bucket(
    "segments_of",
    "select s.id, s.name, m.since from {s}segment_members m
     join {s}segments s on s.number = m.segment_number
     where m.bucket = ?1 and m.customer_id = ?2 order by s.name",
);
static SUPPRESSION: Sql = Sql::identity(
    "suppression_of",
    "select reason, at from {s}suppressions
     where ibucket = ?1 and channel = ?2 and address = ?3",
);
static SUPPRESSED_HASH: Sql = Sql::identity(
    "suppressed_hash_of",
    "select reason, at from {s}suppressed_hashes
     where ibucket = ?1 and channel = ?2 and hash = ?3",
);
static EVENTS: Sql = Sql::bucket(
    "events_of",
    "select e.id, n.name, e.at, e.properties, c.id, c.name, e.delivery_id
     from {s}events e join {s}event_names n on n.number = e.name
     left join {s}campaigns c on c.id = e.campaign_id
     where e.bucket = ?1 and e.customer_id = ?2
       and (e.at < ?3 or (e.at = ?3 and e.id < ?4))
       and (cast(?5 as text) is null or n.name = ?5)
     order by e.at desc, e.id desc limit ?6",
);

pub(crate) static SQL: &[&Sql] =
    &[&TAGS, &GROUPS, &CONSENTS, &SEGMENTS, &SUPPRESSION, &SUPPRESSED_HASH, &EVENTS];

/// A page of the customers `c` who meet a condition with so many parameters; two follow, the system
/// id that the page starts after and its length. System ids are the one order that all layouts have
/// an index for: on PostgreSQL the primary key starts with the bucket.
pub(crate) fn page_text(columns: &str, condition: &str, params: usize) -> String {
    let (after, limit) = (params + 1, params + 2);
    format!(
        "select {columns} from {{s}}customers c where ({condition}) and c.system_id > ?{after} \
         order by c.system_id limit ?{limit}"
    )
}

impl Workspace {
    /// One customer, or `None`.
    pub async fn customer(&self, reference: CustomerRef) -> Result<Option<Customer>> {
        self.by_schema(|schema| {
            let reference = reference.clone();
            self.read(move |tx| {
                Box::pin(async move {
                    let found = find_customers(tx, &[&reference]).await?;
                    let Some(Some(id)) = found.first() else { return Ok(None) };
                    Ok(load_customers(tx, &schema, &[*id]).await?.pop())
                })
            })
        })
        .await
    }

    /// A page of customers in the order of their system ids, which is the order they came in.
    /// `matching` is a condition over customers `c` with its parameters, as segments make it.
    pub async fn customers(
        &self,
        matching: Option<(String, Vec<Param>)>,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Page<Customer, i64>> {
        self.by_schema(|schema| self.customers_by(schema, matching.clone(), after, limit)).await
    }

    async fn customers_by(
        &self,
        schema: Arc<Schema>,
        matching: Option<(String, Vec<Param>)>,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Page<Customer, i64>> {
        let columns = customer_columns(&schema).replace("t.", "c.");
        let is_rule = matching.is_some();
        let (condition, mut params) = matching.unwrap_or_else(|| ("true".to_owned(), Vec::new()));
        let text = page_text(&columns, &condition, params.len());
        params.push(after.unwrap_or(0).into());
        params.push(Param::Int(limit as i64 + 1));
        let items = self
            .read(move |tx| {
                Box::pin(async move {
                    let rows = match is_rule {
                        true => tx.query_once(&text, &params).await?,
                        false => tx.query_text(&text, &params).await?,
                    };
                    rows.iter().map(|row| customer(row, 0, &schema)).collect::<Result<Vec<_>>>()
                })
            })
            .await?;
        Ok(Page::cut(items, limit, |customer| customer.system_id))
    }

    /// A customer with tags, groups, consents, segments and suppression.
    pub async fn profile(&self, reference: CustomerRef) -> Result<Option<Profile>> {
        let Some(customer) = self.customer(reference).await? else { return Ok(None) };
        self.read(move |tx| {
            Box::pin(async move {
                let key = crate::params![bucket_of(customer.id), customer.id];
                let tags = tx.query(&TAGS, key).await?;
                let groups = tx.query(&GROUPS, key).await?;
                let consents = tx.query(&CONSENTS, key).await?;
                let segments = tx.query(&SEGMENTS, key).await?;
                let suppressed = match &customer.email {
                    Some(email) => suppression(tx, email).await?,
                    None => None,
                };
                Ok(Some(Profile {
                    tags: tags
                        .iter()
                        .map(|row| Ok(Tag { tag: row.text(0)?, until: row.opt_time(1)? }))
                        .collect::<Result<_>>()?,
                    groups: groups.iter().map(|row| row.text(0)).collect::<Result<_>>()?,
                    consents: consents.iter().map(consent).collect::<Result<_>>()?,
                    segments: segments
                        .iter()
                        .map(|row| {
                            Ok(Membership {
                                id: SegmentId(row.uuid(0)?),
                                name: row.text(1)?,
                                since: row.time(2)?,
                            })
                        })
                        .collect::<Result<_>>()?,
                    suppressed,
                    customer,
                }))
            })
        })
        .await
    }

    /// The timeline of a customer, newest first; `before` is the last event of the page before.
    pub async fn events(
        &self,
        customer: CustomerId,
        name: Option<String>,
        before: Option<(Timestamp, EventId)>,
        limit: usize,
    ) -> Result<Page<Event, (Timestamp, EventId)>> {
        let (at, id) = before.unwrap_or((Timestamp(i64::MAX), EventId(uuid::Uuid::max())));
        self.find_page(
            &EVENTS,
            crate::params![bucket_of(customer), customer, at, id, name],
            limit,
            event,
            |event| (event.at, event.id),
        )
        .await
    }

    /// Records of a customer in one table, by key.
    pub async fn records(
        &self,
        customer: CustomerId,
        table: &str,
        after: Option<String>,
        limit: usize,
    ) -> Result<Option<Page<Record, String>>> {
        let schema = self.schema().await?;
        let Some(table) = schema.table(table).cloned() else { return Ok(None) };
        let mut columns = "record_key, updated_at".to_owned();
        for field in &table.fields {
            columns.push_str(", ");
            columns.push_str(&quoted(&field.column));
        }
        let text = format!(
            "select {columns} from {{s}}{} where bucket = ?1 and customer_id = ?2 \
             and record_key > ?3 order by record_key limit ?4",
            quoted(&table.physical)
        );
        let after = after.unwrap_or_default();
        let params =
            crate::params![bucket_of(customer), customer, after, limit as i64 + 1].to_vec();
        let items = self
            .read(move |tx| {
                Box::pin(async move {
                    let rows = tx.query_text(&text, &params).await?;
                    rows.iter()
                        .map(|row| {
                            let mut fields = serde_json::Map::new();
                            for (at, field) in table.fields.iter().enumerate() {
                                let storage = field.kind.storage();
                                if let Some(value) = row.value(2 + at, storage)? {
                                    fields.insert(field.name.clone(), field.kind.to_json(&value));
                                }
                            }
                            Ok(Record { key: row.text(0)?, fields, updated_at: row.time(1)? })
                        })
                        .collect::<Result<Vec<_>>>()
                })
            })
            .await?;
        Ok(Some(Page::cut(items, limit, |record| record.key.clone())))
    }
}

fn consent(row: &Row) -> Result<Consent> {
    let corrupt = || crate::Error::Corrupt("a consent's state is unknown".to_owned());
    Ok(Consent {
        channel: Channel::from_number(row.small(0)?),
        topic: row.text(1)?,
        state: ConsentState::parse(&row.text(2)?).ok_or_else(corrupt)?,
        at: row.time(3)?,
        source: row.text(4)?,
        via: Via::parse(&row.text(5)?).unwrap_or(Via::Earlier),
        text_version: if row.is_null(6) { None } else { Some(row.small(6)?) },
    })
}

fn event(row: &Row) -> Result<Event> {
    let campaign = match row.opt_uuid(4)? {
        Some(id) => Some((CampaignId(id), row.text(5)?)),
        None => None,
    };
    Ok(Event {
        id: EventId(row.uuid(0)?),
        name: row.text(1)?,
        at: row.time(2)?,
        properties: row.json(3)?,
        campaign,
        delivery: row.opt_uuid(6)?.map(DeliveryId),
    })
}

async fn suppression(tx: &mut Tx, email: &str) -> Result<Option<(String, Timestamp)>> {
    use tidings_domain::change::IdentityKind;
    let bucket = tidings_domain::identity_bucket(IdentityKind::Email, email);
    let params = crate::params![bucket, Channel::Email.number(), email];
    let mut row = tx.first(&SUPPRESSION, params).await?;
    if row.is_none() {
        let hash = crate::suppressions::hash_of(email);
        let bucket = tidings_domain::bucket::keyed_bucket(Channel::Email.name(), &hash);
        let params = crate::params![bucket, Channel::Email.number(), hash];
        row = tx.first(&SUPPRESSED_HASH, params).await?;
    }
    row.map(|row| Ok((row.text(0)?, row.time(1)?))).transpose()
}
