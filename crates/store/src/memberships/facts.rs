//! Reading what rules need to know of customers, in as few statements as there are kinds of things.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tidings_domain::change::CustomerRef;
use tidings_domain::consent::{Channel, ConsentState};
use tidings_domain::judge::{EventFact, Facts};
use tidings_domain::rule::Reads;
use tidings_domain::schema::Schema;
use tidings_domain::value::Value;
use tidings_domain::{CampaignId, CustomerId, bucket_of};

use crate::bulk::select_many;
use crate::changes::{OWNER_KEY, find_customers, sort_rows};
use crate::customers::load_customers;
use crate::engines::Tx;
use crate::sql::{Param, Row, quoted};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// What several rules together read, so that facts are loaded once.
#[derive(Default)]
pub(crate) struct Needs {
    tags: bool,
    groups: bool,
    segments: bool,
    consents: bool,
    events: HashSet<i32>,
    tables: HashSet<i32>,
}

impl Needs {
    pub(crate) fn add(&mut self, reads: &Reads) {
        self.tags |= !reads.tags.is_empty();
        self.groups |= !reads.groups.is_empty();
        self.segments |= !reads.segments.is_empty();
        self.consents |= reads.consents;
        self.events.extend(&reads.events);
        self.tables.extend(&reads.tables);
    }
}

pub(super) fn owner_rows(ids: &[CustomerId]) -> Vec<Vec<Param>> {
    let mut rows: Vec<Vec<Param>> =
        ids.iter().map(|id| vec![bucket_of(*id).into(), (*id).into()]).collect();
    sort_rows(&mut rows);
    rows
}

/// Everything that the rules in question read of these customers.
pub(crate) async fn load_facts(
    tx: &mut Tx,
    schema: &Arc<Schema>,
    ids: &[CustomerId],
    needs: &Needs,
) -> Result<HashMap<CustomerId, Facts>> {
    let mut facts: HashMap<CustomerId, Facts> = load_customers(tx, schema, ids)
        .await?
        .into_iter()
        .map(|customer| {
            let facts = Facts {
                external_id: customer.external_id,
                email: customer.email,
                phone: customer.phone,
                created_at: customer.created_at,
                attributes: customer.values,
                ..Facts::default()
            };
            (customer.id, facts)
        })
        .collect();
    let keys = owner_rows(ids);
    if needs.tags {
        for row in hanging(tx, "tags", "t.tag, t.until", &keys, "").await? {
            let Some(facts) = facts.get_mut(&CustomerId(row.uuid(0)?)) else { continue };
            facts.tags.insert(row.text(1)?, row.opt_time(2)?);
        }
    }
    if needs.groups {
        for row in hanging(tx, "group_members", "t.group_number", &keys, "").await? {
            let Some(facts) = facts.get_mut(&CustomerId(row.uuid(0)?)) else { continue };
            facts.groups.insert(row.small(1)?);
        }
    }
    if needs.segments {
        for row in hanging(tx, "segment_members", "t.segment_number", &keys, "").await? {
            let Some(facts) = facts.get_mut(&CustomerId(row.uuid(0)?)) else { continue };
            facts.segments.insert(row.small(1)?);
        }
    }
    if needs.consents {
        for row in hanging(tx, "consents", "t.channel, t.topic, t.state", &keys, "").await? {
            let Some(facts) = facts.get_mut(&CustomerId(row.uuid(0)?)) else { continue };
            let state = ConsentState::parse(&row.text(3)?)
                .ok_or_else(|| Error::Corrupt("a consent's state is unknown".into()))?;
            facts.consents.insert((Channel::from_number(row.small(1)?), row.text(2)?), state);
        }
    }
    load_events(tx, &keys, needs, &mut facts).await?;
    load_records(tx, schema, &keys, needs, &mut facts).await?;
    Ok(facts)
}

/// Rows of a table that hang on these customers, the customer first.
async fn hanging(
    tx: &mut Tx,
    table: &str,
    wanted: &str,
    keys: &[Vec<Param>],
    condition: &str,
) -> Result<Vec<Row>> {
    let wanted = format!("t.customer_id, {wanted}");
    select_many(tx, table, &wanted, &OWNER_KEY, keys, condition).await
}

impl Workspace {
    /// What a rule with these reads needs to know of one customer, with the segments they are in;
    /// `schema` is the one that the rule was bound to.
    pub async fn facts(
        &self,
        reference: CustomerRef,
        schema: Arc<Schema>,
        reads: &Reads,
    ) -> Result<Option<(CustomerId, Facts)>> {
        let mut needs = Needs { segments: true, ..Needs::default() };
        needs.add(reads);
        self.read(move |tx| {
            Box::pin(async move {
                let found = find_customers(tx, &[&reference]).await?;
                let Some(Some(id)) = found.first().copied() else { return Ok(None) };
                let mut facts = load_facts(tx, &schema, &[id], &needs).await?;
                Ok(facts.remove(&id).map(|facts| (id, facts)))
            })
        })
        .await
    }
}

async fn load_events(
    tx: &mut Tx,
    keys: &[Vec<Param>],
    needs: &Needs,
    facts: &mut HashMap<CustomerId, Facts>,
) -> Result<()> {
    if needs.events.is_empty() {
        return Ok(());
    }
    let numbers: Vec<String> = needs.events.iter().map(i32::to_string).collect();
    let condition = format!("t.name in ({})", numbers.join(", "));
    let wanted = "t.name, t.at, t.properties, t.campaign_id";
    for row in hanging(tx, "events", wanted, keys, &condition).await? {
        let Some(facts) = facts.get_mut(&CustomerId(row.uuid(0)?)) else { continue };
        facts.events.entry(row.small(1)?).or_default().push(EventFact {
            at: row.time(2)?,
            properties: row.json(3)?,
            campaign: row.opt_uuid(4)?.map(CampaignId),
        });
    }
    Ok(())
}

async fn load_records(
    tx: &mut Tx,
    schema: &Arc<Schema>,
    keys: &[Vec<Param>],
    needs: &Needs,
    facts: &mut HashMap<CustomerId, Facts>,
) -> Result<()> {
    for table in schema.tables.iter().filter(|table| needs.tables.contains(&table.number)) {
        let columns: Vec<String> =
            table.fields.iter().map(|field| format!("t.{}", quoted(&field.column))).collect();
        let wanted =
            if columns.is_empty() { "t.record_key".to_owned() } else { columns.join(", ") };
        for row in hanging(tx, &table.physical, &wanted, keys, "").await? {
            let Some(facts) = facts.get_mut(&CustomerId(row.uuid(0)?)) else { continue };
            let values = table
                .fields
                .iter()
                .enumerate()
                .map(|(at, field)| row.value(1 + at, field.kind.storage()))
                .collect::<Result<Vec<Option<Value>>>>()?;
            facts.records.entry(table.number).or_default().push(values);
        }
    }
    Ok(())
}
