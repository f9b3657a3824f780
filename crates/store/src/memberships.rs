//! Who is in which segment: judged customer by customer after a change, and over the whole base by
//! SQL for a new rule or after a bulk import.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tidings_domain::consent::{Channel, ConsentState};
use tidings_domain::judge::{EventFact, Facts, Verdict, judge};
use tidings_domain::rule::{BoundRule, Reads};
use tidings_domain::schema::Schema;
use tidings_domain::value::Value;
use tidings_domain::{CampaignId, CustomerId, Timestamp, bucket_of};

use crate::bulk::{
    Column, ColumnType, OnConflict, column, delete_many, insert_many, select_many, update_many,
};
use crate::changes::{OWNER_KEY, sort_rows};
use crate::customers::load_customers;
use crate::engines::{Priority, Tx};
use crate::jobs::{self, Job};
use crate::sql::{Dialect, Param, Row, Sql, quoted};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// The kind of the job that judges customers who have changed.
pub const JUDGE_CUSTOMERS: &str = "judge_customers";
/// The kind of the job that evaluates every segment anew, as after an import.
pub const REFRESH_SEGMENTS: &str = "refresh_segments";
/// How many changed customers one transaction judges.
pub const JUDGED_AT_ONCE: usize = 100;
/// Width of one slice of an evaluation: system ids on SQLite, buckets on PostgreSQL.
const SLICE_SYSTEM_IDS: i64 = 2_000;
const SLICE_BUCKETS: i64 = 32;

/// A segment's rule, ready to judge by.
#[derive(Clone, Debug)]
pub struct LiveSegment {
    pub number: i32,
    pub version: i32,
    pub rule: BoundRule,
}

static CUSTOMERS_WAIT: Sql =
    Sql::fan_out("customers_wait", "select 1 from {s}dirty_customers limit 1");
static WANT_JUDGING: Sql = Sql::fan_out(
    "want_judging",
    "select 1 from {s}dirty_customers where not exists
       (select 1 from {s}jobs where kind = ?1 and state in ('due', 'running')) limit 1",
);
static DIRTY: Sql = Sql::fan_out(
    "dirty_customers",
    "select customer_id, seq, changed from {s}dirty_customers order by seq limit ?1",
);
static PROGRESS: Sql = Sql::reference(
    "segment_progress",
    "select version, evaluated_version, next_slice from {s}segments where number = ?1",
);
static MOVE: Sql = Sql::reference(
    "move_segment_slice",
    "update {s}segments set next_slice = ?4
     where number = ?1 and version = ?2 and next_slice = ?3",
);
static EVALUATED: Sql = Sql::reference(
    "segment_evaluated",
    "update {s}segments set evaluated_version = ?2, next_slice = 0
     where number = ?1 and version = ?2",
);
pub(crate) static MEMBERS: Sql = Sql::fan_out(
    "segment_customers",
    "select customer_id from {s}segment_members
     where segment_number = ?1 and customer_id > ?2 order by customer_id limit ?3",
);

pub(crate) static SQL: &[&Sql] =
    &[&CUSTOMERS_WAIT, &WANT_JUDGING, &DIRTY, &PROGRESS, &MOVE, &EVALUATED, &MEMBERS];

const MEMBER_KEY: [Column<'static>; 3] = [
    column("bucket", ColumnType::SmallInt),
    column("customer_id", ColumnType::Uuid),
    column("segment_number", ColumnType::Int),
];

/// A customer whose memberships must be judged again.
struct Dirty {
    customer: CustomerId,
    seq: i64,
    changed: HashSet<String>,
}

impl Dirty {
    /// Whether a rule with these reads may judge this customer differently now.
    fn touches(&self, reads: &Reads) -> bool {
        self.changed.iter().any(|what| match what.as_str() {
            "new" => true,
            "name" => !reads.own.is_empty(),
            "tag" => !reads.tags.is_empty(),
            "group" => !reads.groups.is_empty(),
            "consent" => reads.consents,
            other => {
                let number = other.get(1..).and_then(|text| text.parse::<i32>().ok());
                match (other.as_bytes().first(), number) {
                    (Some(b'a'), Some(number)) => reads.attributes.contains(&number),
                    (Some(b'e'), Some(number)) => reads.events.contains(&number),
                    (Some(b't'), Some(number)) => reads.tables.contains(&number),
                    _ => true,
                }
            }
        })
    }
}

impl Workspace {
    /// Whether customers wait to be judged.
    pub async fn customers_wait(&self) -> Result<bool> {
        self.read(|tx| Box::pin(async move { Ok(tx.first(&CUSTOMERS_WAIT, &[]).await?.is_some()) }))
            .await
    }

    /// Whether customers wait to be judged and no job is at it.
    pub async fn customers_want_judging(&self) -> Result<bool> {
        self.read(|tx| {
            Box::pin(async move {
                let params = crate::params![JUDGE_CUSTOMERS];
                Ok(tx.first(&WANT_JUDGING, params).await?.is_some())
            })
        })
        .await
    }

    /// Judges customers who have changed, those that changed first first, by the segments that read
    /// what changed. Gives how many there were; zero means that nobody waits.
    pub async fn judge_customers(
        &self,
        job: &Job,
        segments: Arc<Vec<LiveSegment>>,
        now: Timestamp,
    ) -> Result<usize> {
        let schema = self.schema().await?;
        let job = job.clone();
        self.write(Priority::Bulk, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                let waiting = waiting(tx).await?;
                judge_all(tx, &schema, &segments, &waiting, now).await?;
                let mut done: Vec<Vec<Param>> = waiting
                    .iter()
                    .map(|one| {
                        vec![bucket_of(one.customer).into(), one.customer.into(), one.seq.into()]
                    })
                    .collect();
                sort_rows(&mut done);
                let [bucket, customer] = OWNER_KEY;
                let keys = [bucket, customer, column("seq", ColumnType::BigInt)];
                delete_many(tx, "dirty_customers", &keys, &done).await?;
                Ok(waiting.len())
            })
        })
        .await
    }

    /// Evaluates the next slice of a segment over the base by SQL; true when it was the last.
    pub async fn evaluate_segment(
        &self,
        job: &Job,
        segment: i32,
        version: i32,
        condition: (String, Vec<Param>),
        now: Timestamp,
    ) -> Result<bool> {
        let job = job.clone();
        self.write(Priority::Bulk, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                let Some(row) = tx.first(&PROGRESS, crate::params![segment]).await? else {
                    return Ok(true);
                };
                if row.int(0)? != i64::from(version) {
                    // The rule changed; a newer job evaluates that one.
                    return Ok(true);
                }
                let from = row.int(2)?;
                let (width, end) = match tx.dialect() {
                    Dialect::Sqlite => {
                        let text = "select coalesce(max(system_id), 0) from {s}customers";
                        let last = tx.query_text(text, &[]).await?;
                        (SLICE_SYSTEM_IDS, last.first().map_or(Ok(0), |row| row.int(0))? + 1)
                    }
                    Dialect::Postgres => {
                        (SLICE_BUCKETS, i64::from(tidings_domain::bucket::BUCKETS))
                    }
                };
                let to = (from + width).min(end);
                difference(tx, segment, version, (from, to), &condition, now).await?;
                if to >= end {
                    tx.execute(&EVALUATED, crate::params![segment, version]).await?;
                    return Ok(true);
                }
                tx.execute(&MOVE, crate::params![segment, version, from, to]).await?;
                Ok(false)
            })
        })
        .await
    }

    /// A page of a segment's customers.
    pub async fn segment_customers(
        &self,
        segment: i32,
        after: Option<CustomerId>,
        limit: usize,
    ) -> Result<crate::Page<crate::customers::Customer, CustomerId>> {
        let after = after.map_or(uuid::Uuid::nil(), |id| id.0);
        let members = |schema: Arc<Schema>| {
            self.read(move |tx| {
                Box::pin(async move {
                    let params = crate::params![segment, after, limit as i64 + 1];
                    let rows = tx.query(&MEMBERS, params).await?;
                    let ids = rows
                        .iter()
                        .map(|row| row.uuid(0).map(CustomerId))
                        .collect::<Result<Vec<_>>>()?;
                    load_customers(tx, &schema, &ids).await
                })
            })
        };
        let mut items = self.by_schema(members).await?;
        items.sort_by_key(|customer| customer.id);
        Ok(crate::Page::cut(items, limit, |customer| customer.id))
    }
}

async fn waiting(tx: &mut Tx) -> Result<Vec<Dirty>> {
    let rows = tx.query(&DIRTY, crate::params![JUDGED_AT_ONCE as i64]).await?;
    rows.iter()
        .map(|row| {
            Ok(Dirty {
                customer: CustomerId(row.uuid(0)?),
                seq: row.int(1)?,
                changed: row.text(2)?.split(' ').map(str::to_owned).collect(),
            })
        })
        .collect()
}

/// Brings a slice's memberships in line with a condition over customers `c`.
async fn difference(
    tx: &mut Tx,
    segment: i32,
    version: i32,
    slice: (i64, i64),
    condition: &(String, Vec<Param>),
    now: Timestamp,
) -> Result<()> {
    let by = match tx.dialect() {
        Dialect::Sqlite => "c.system_id",
        Dialect::Postgres => "c.bucket",
    };
    let mut params = condition.1.clone();
    let at = params.len();
    params.extend([
        Param::from(slice.0),
        Param::from(slice.1),
        Param::from(segment),
        Param::from(version),
        Param::from(now),
    ]);
    let (low, high, number, version_at, now_at) = (at + 1, at + 2, at + 3, at + 4, at + 5);
    let members = format!(
        "select c.bucket, c.id from {{s}}customers c \
         where {by} >= ?{low} and {by} < ?{high} and ({})",
        condition.0
    );
    let add = format!(
        "insert into {{s}}segment_members \
           (bucket, customer_id, segment_number, since, next_check_at, version) \
         select m.bucket, m.id, cast(?{number} as integer), cast(?{now_at} as bigint), null, \
           cast(?{version_at} as integer) \
         from ({members}) m where true on conflict do nothing"
    );
    tx.execute_once(&add, &params).await?;
    // The same parameters in the same places, though this statement does not read them all.
    let drop = format!(
        "delete from {{s}}segment_members where segment_number = ?{number} \
           and cast(?{version_at} as integer) is not null and cast(?{now_at} as bigint) is not null \
           and (bucket, customer_id) in (select c.bucket, c.id from {{s}}customers c \
                where {by} >= ?{low} and {by} < ?{high}) \
           and (bucket, customer_id) not in ({members})"
    );
    tx.execute_once(&drop, &params).await?;
    Ok(())
}

/// What all touched rules together read, so that facts are loaded once.
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

async fn judge_all(
    tx: &mut Tx,
    schema: &Arc<Schema>,
    segments: &[LiveSegment],
    waiting: &[Dirty],
    now: Timestamp,
) -> Result<()> {
    let mut needs = Needs::default();
    let mut tasks: Vec<(CustomerId, Vec<&LiveSegment>)> = Vec::new();
    for one in waiting {
        let touched: Vec<&LiveSegment> =
            segments.iter().filter(|segment| one.touches(segment.rule.reads())).collect();
        if !touched.is_empty() {
            touched.iter().for_each(|segment| needs.add(segment.rule.reads()));
            tasks.push((one.customer, touched));
        }
    }
    let ids: Vec<CustomerId> = tasks.iter().map(|(id, _)| *id).collect();
    let mut facts = load_facts(tx, schema, &ids, &needs).await?;
    let current = memberships(tx, &ids).await?;
    let mut write = Differences::default();
    for (id, touched) in tasks {
        let Some(facts) = facts.remove(&id) else { continue };
        for segment in touched {
            let verdict = judge(&segment.rule, &facts, now);
            write.note(id, segment, verdict, current.get(&(id, segment.number)), now);
        }
    }
    write.apply(tx).await
}

/// Changes of membership that a batch of judgements comes to.
#[derive(Default)]
struct Differences {
    enter: Vec<Vec<Param>>,
    leave: Vec<Vec<Param>>,
    recheck: Vec<Vec<Param>>,
}

impl Differences {
    fn note(
        &mut self,
        id: CustomerId,
        segment: &LiveSegment,
        verdict: Verdict,
        current: Option<&Option<Timestamp>>,
        now: Timestamp,
    ) {
        let key = || vec![bucket_of(id).into(), id.into(), segment.number.into()];
        match (current, verdict.member) {
            (None, true) => {
                let mut row = key();
                row.push(now.into());
                row.push(verdict.next_check_at.into());
                row.push(segment.version.into());
                self.enter.push(row);
            }
            (Some(_), false) => self.leave.push(key()),
            (Some(known), true) if *known != verdict.next_check_at => {
                let mut row = key();
                row.push(verdict.next_check_at.into());
                self.recheck.push(row);
            }
            _ => {}
        }
    }

    async fn apply(mut self, tx: &mut Tx) -> Result<()> {
        let [bucket, customer, segment] = MEMBER_KEY;
        let check = column("next_check_at", ColumnType::BigInt);
        let columns = [
            bucket,
            customer,
            segment,
            column("since", ColumnType::BigInt),
            check,
            column("version", ColumnType::Int),
        ];
        sort_rows(&mut self.enter);
        sort_rows(&mut self.leave);
        sort_rows(&mut self.recheck);
        insert_many(tx, "segment_members", &columns, &self.enter, OnConflict::Keep, "").await?;
        delete_many(tx, "segment_members", &MEMBER_KEY, &self.leave).await?;
        let set = [check];
        update_many(tx, "segment_members", &MEMBER_KEY, &set, &self.recheck, "", "").await?;
        Ok(())
    }
}

fn owner_rows(ids: &[CustomerId]) -> Vec<Vec<Param>> {
    let mut rows: Vec<Vec<Param>> =
        ids.iter().map(|id| vec![bucket_of(*id).into(), (*id).into()]).collect();
    sort_rows(&mut rows);
    rows
}

async fn memberships(
    tx: &mut Tx,
    ids: &[CustomerId],
) -> Result<HashMap<(CustomerId, i32), Option<Timestamp>>> {
    let wanted = "t.customer_id, t.segment_number, t.next_check_at";
    let rows = owner_rows(ids);
    let found = select_many(tx, "segment_members", wanted, &OWNER_KEY, &rows, "").await?;
    found
        .iter()
        .map(|row| Ok(((CustomerId(row.uuid(0)?), row.small(1)?), row.opt_time(2)?)))
        .collect()
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
