//! Who is in which segment: judged customer by customer after a change and when the clock says so,
//! and over the whole base by SQL for a new rule, after a bulk import and at midnight.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidings_domain::rule::BoundRule;
use tidings_domain::schema::Schema;
use tidings_domain::{CustomerId, SegmentId, Timestamp};

use crate::Result;
use crate::bulk::{Column, ColumnType, column};
use crate::engines::Tx;
use crate::sql::{Dialect, Param, Sql};
use crate::workspace::Workspace;

mod clock;
mod days;
mod differences;
mod evaluate;
mod facts;
mod freeze;
mod judge;
mod transitions;

pub use clock::ClockDue;
pub use days::SegmentDay;
pub(crate) use days::{drop_days, forget_members};
pub use evaluate::Evaluation;
#[cfg(test)]
pub(crate) use facts::{Needs, load_facts};
pub use freeze::{Copied, FREEZE_SEGMENT};
pub use judge::{JUDGED_AT_ONCE, Judged};
pub use transitions::{SEGMENT_ENTERED, SEGMENT_LEFT};

/// The kind of the job that judges customers who have changed or whom the clock may have moved.
pub const JUDGE_CUSTOMERS: &str = "judge_customers";
/// The kind of the job that evaluates every segment anew, as after an import.
pub const REFRESH_SEGMENTS: &str = "refresh_segments";

/// A segment's rule, ready to judge by.
#[derive(Clone, Debug)]
pub struct LiveSegment {
    pub number: i32,
    pub id: SegmentId,
    pub name: String,
    pub version: i32,
    /// Whether its rule has been evaluated over the base. Until then nobody is said to enter or
    /// leave: they were there before it was.
    pub evaluated: bool,
    pub rule: BoundRule,
}

/// Every segment that can be judged, with what its rules were bound to.
#[derive(Clone, Debug)]
pub struct LiveSegments {
    pub segments: Vec<LiveSegment>,
    pub schema: Arc<Schema>,
    pub stamp: Stamp,
}

/// How the segments, the schema and the names of events stand. Rules that were bound before it
/// moved may miss what changed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp(String);

static STAMP: Sql = Sql::reference(
    "segments_stamp",
    "select (select value from {s}meta where key = 'schema_version') || ' ' ||
       (select cast(coalesce(max(number), 0) as text) from {s}event_names) || ' ' ||
       (select cast(count(*) as text) || ' ' || cast(coalesce(sum(version), 0) as text) || ' ' ||
          cast(coalesce(sum(evaluated_version), 0) as text) || ' ' ||
          cast(coalesce(max(updated_at), 0) as text) from {s}segments)",
);
static CUSTOMERS_WAIT: Sql = Sql::fan_out(
    "customers_wait",
    "select 1 where exists (select 1 from {s}dirty_customers)
       or exists (select 1 from {s}segment_members where next_check_at <= ?1)
       or exists (select 1 from {s}segment_checks where check_at <= ?1)",
);
/// Asked so that it costs the same however many wait.
static WANT_JUDGING: Sql = Sql::fan_out(
    "want_judging",
    "select 1 where exists (select 1 from {s}dirty_customers) and not exists
       (select 1 from {s}jobs where kind = ?1 and state in ('due', 'running'))",
);
pub(crate) static MEMBERS: Sql = Sql::fan_out(
    "segment_customers",
    "select customer_id, since from {s}segment_members
     where segment_number = ?1 and customer_id > ?2 order by customer_id limit ?3",
);
/// Who judges single customers shares these, who evaluates a segment has its own alone: neither may
/// write what it decided by facts from before a change that the other has already seen.
static LOCK: Sql = Sql::reference(
    "lock_segments",
    "select cast(pg_advisory_xact_lock(hashtext(?1), cast(n as integer)) as text)
     from unnest(cast(?2 as text[])) n",
);
static LOCK_SHARED: Sql = Sql::reference(
    "lock_segments_shared",
    "select cast(pg_advisory_xact_lock_shared(hashtext(?1), cast(n as integer)) as text)
     from unnest(cast(?2 as text[])) n",
);

static OWN: &[&Sql] = &[&STAMP, &CUSTOMERS_WAIT, &WANT_JUDGING, &MEMBERS, &LOCK, &LOCK_SHARED];

/// The statements of this folder, one list a file.
pub(crate) static SQLS: &[&[&Sql]] =
    &[OWN, clock::SQL, days::SQL, evaluate::SQL, freeze::SQL, judge::SQL];

const MEMBER_KEY: [Column<'static>; 3] = [
    column("bucket", ColumnType::SmallInt),
    column("customer_id", ColumnType::Uuid),
    column("segment_number", ColumnType::Int),
];

async fn stamp(tx: &mut Tx) -> Result<Stamp> {
    let row = tx.first(&STAMP, &[]).await?;
    row.map_or_else(|| Ok(String::new()), |row| row.text(0)).map(Stamp)
}

impl Workspace {
    /// How the segments and what they are bound to stand; read it before them.
    pub async fn segments_stamp(&self) -> Result<Stamp> {
        self.read(|tx| Box::pin(async move { stamp(tx).await })).await
    }

    /// Whether customers wait to be judged at this time.
    pub async fn customers_wait(&self, now: Timestamp) -> Result<bool> {
        self.read(move |tx| {
            Box::pin(
                async move { Ok(tx.first(&CUSTOMERS_WAIT, crate::params![now]).await?.is_some()) },
            )
        })
        .await
    }

    /// Whether customers have changed, wait to be judged, and no job is at it.
    pub async fn customers_want_judging(&self) -> Result<bool> {
        self.read(|tx| {
            Box::pin(async move {
                let params = crate::params![JUDGE_CUSTOMERS];
                Ok(tx.first(&WANT_JUDGING, params).await?.is_some())
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
        self.members_page(&MEMBERS, segment, after, limit).await
    }
}

/// Takes one of the locks on segments until this transaction ends. SQLite has one writer anyway.
async fn lock(tx: &mut Tx, how: &'static Sql, segments: &BTreeSet<i32>) -> Result<()> {
    if tx.dialect() == Dialect::Sqlite || segments.is_empty() {
        return Ok(());
    }
    let place = format!("{}segments", tx.schema());
    let numbers = segments.iter().map(i32::to_string).collect();
    tx.query(how, &[place.into(), Param::List(numbers)]).await.map(|_| ())
}

/// The bucket, customer and segment of a membership.
fn member_key(customer: CustomerId, segment: i32) -> Vec<Param> {
    vec![tidings_domain::bucket_of(customer).into(), customer.into(), segment.into()]
}
