//! Judging customers one by one: those who changed, by the segments that read what changed, and
//! those whom the clock may have moved, by the segments it concerns.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use tidings_domain::judge::judge;
use tidings_domain::rule::Reads;
use tidings_domain::rule::calendar::Zone;
use tidings_domain::{CustomerId, Timestamp, bucket_of};

use super::differences::{Differences, Standing};
use super::facts::{Needs, load_facts};
use super::{LOCK_SHARED, LiveSegment, LiveSegments, lock, stamp};
use crate::Result;
use crate::bulk::{ColumnType, column, delete_many};
use crate::changes::{OWNER_KEY, sort_rows};
use crate::engines::{Priority, Tx};
use crate::jobs::{self, Job};
use crate::sql::{Param, Sql};
use crate::workspace::Workspace;

/// How many changed customers one transaction judges.
pub const JUDGED_AT_ONCE: usize = 100;

static DIRTY: Sql = Sql::fan_out(
    "dirty_customers",
    "select customer_id, seq, changed from {s}dirty_customers order by seq limit ?1",
);
static DUE_MEMBERS: Sql = Sql::fan_out(
    "members_to_check",
    "select customer_id, segment_number from {s}segment_members
     where next_check_at is not null and next_check_at <= ?1 order by next_check_at limit ?2",
);
static DUE_OTHERS: Sql = Sql::fan_out(
    "others_to_check",
    "select customer_id, segment_number from {s}segment_checks
     where check_at <= ?1 order by check_at limit ?2",
);

pub(super) static SQL: &[&Sql] = &[&DIRTY, &DUE_MEMBERS, &DUE_OTHERS];

/// What one turn of judging came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// So many customers; zero means that nobody waits.
    Customers(usize),
    /// None, because segments, the schema or names of events have moved since the rules were bound.
    Stale,
}

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
                    (Some(b's'), Some(number)) => reads.segments.contains(&number),
                    (Some(b't'), Some(number)) => reads.tables.contains(&number),
                    _ => true,
                }
            }
        })
    }
}

impl Workspace {
    /// Judges customers who have changed, those that changed first first, by the segments that read
    /// what changed; and those whose next check is due.
    pub async fn judge_customers(
        &self,
        job: &Job,
        live: Arc<LiveSegments>,
        now: Timestamp,
    ) -> Result<Judged> {
        let zone = Zone::named(&self.row.time_zone);
        let job = job.clone();
        self.write(Priority::Bulk, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                let waiting = waiting(tx).await?;
                let due = due(tx, now).await?;
                // After the changes were read: what they name is bound, or the stamp has moved.
                if stamp(tx).await? != live.stamp {
                    return Ok(Judged::Stale);
                }
                let customers: HashSet<CustomerId> = waiting
                    .iter()
                    .map(|one| one.customer)
                    .chain(due.iter().map(|(customer, _)| *customer))
                    .collect();
                judge_all(tx, &zone, &live, &waiting, &due, now).await?;
                forget(tx, &waiting).await?;
                Ok(Judged::Customers(customers.len()))
            })
        })
        .await
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

/// Customers with the segment for which their time has come.
async fn due(tx: &mut Tx, now: Timestamp) -> Result<Vec<(CustomerId, i32)>> {
    let mut found = Vec::new();
    for sql in [&DUE_MEMBERS, &DUE_OTHERS] {
        for row in tx.query(sql, crate::params![now, JUDGED_AT_ONCE as i64]).await? {
            found.push((CustomerId(row.uuid(0)?), row.small(1)?));
        }
    }
    Ok(found)
}

/// Those who were judged wait no longer, unless they changed again meanwhile.
async fn forget(tx: &mut Tx, waiting: &[Dirty]) -> Result<()> {
    let mut done: Vec<Vec<Param>> = waiting
        .iter()
        .map(|one| vec![bucket_of(one.customer).into(), one.customer.into(), one.seq.into()])
        .collect();
    sort_rows(&mut done);
    let [bucket, customer] = OWNER_KEY;
    let keys = [bucket, customer, column("seq", ColumnType::BigInt)];
    delete_many(tx, "dirty_customers", &keys, &done).await.map(|_| ())
}

async fn judge_all(
    tx: &mut Tx,
    zone: &Zone,
    live: &LiveSegments,
    waiting: &[Dirty],
    due: &[(CustomerId, i32)],
    now: Timestamp,
) -> Result<()> {
    let by_number: HashMap<i32, &LiveSegment> =
        live.segments.iter().map(|segment| (segment.number, segment)).collect();
    // The segment's number, and whether the clock asks.
    let mut tasks: BTreeMap<CustomerId, BTreeMap<i32, bool>> = BTreeMap::new();
    for one in waiting {
        for segment in live.segments.iter().filter(|s| one.touches(s.rule.reads())) {
            tasks.entry(one.customer).or_default().insert(segment.number, false);
        }
    }
    for (customer, number) in due {
        tasks.entry(*customer).or_default().insert(*number, true);
    }
    let numbers: BTreeSet<i32> = tasks.values().flat_map(BTreeMap::keys).copied().collect();
    lock(tx, &LOCK_SHARED, &numbers).await?;
    let mut needs = Needs::default();
    for segment in numbers.iter().filter_map(|number| by_number.get(number)) {
        needs.add(segment.rule.reads());
    }
    let ids: Vec<CustomerId> = tasks.keys().copied().collect();
    let mut facts = load_facts(tx, &live.schema, &ids, &needs).await?;
    let current = Standing::load(tx, &ids).await?;
    let mut write = Differences::at(now, zone);
    for (id, segments) in tasks {
        let facts = facts.remove(&id);
        for (number, fired) in segments {
            let key = (id, number);
            match (&facts, by_number.get(&number)) {
                (Some(facts), Some(segment)) => {
                    let verdict = judge(&segment.rule, facts, now);
                    write.note(id, segment, verdict, &current, fired);
                }
                // Nobody to judge or nothing to judge by: the clock need not ask again.
                _ if fired => write.disarm(key, &current),
                _ => {}
            }
        }
    }
    write.apply(tx, zone, live).await
}
