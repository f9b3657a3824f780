//! A segment over the whole base by SQL, slice by slice: one difference a slice, whoever the
//! customers are. A kill between two slices goes on at the next; until a slice is reached, its
//! customers stay as the rule before had them.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidings_domain::rule::calendar::Zone;
use tidings_domain::{CustomerId, Timestamp};

use super::days::{self, Moves};
use super::transitions::{SEGMENT_ENTERED, SEGMENT_LEFT, Transitions};
use super::{LOCK, LiveSegment, LiveSegments, lock, stamp};
use crate::Result;
use crate::audience::{self, Slice};
use crate::engines::{Priority, Tx};
use crate::jobs::{self, Job};
use crate::sql::{Dialect, Param, Row, Sql};
use crate::workspace::Workspace;

/// Width of one slice: system ids on SQLite, buckets on PostgreSQL.
const SLICE_SYSTEM_IDS: i64 = 2_000;
const SLICE_BUCKETS: i64 = 32;

static PROGRESS: Sql = Sql::reference(
    "segment_progress",
    "select version, evaluated_version, next_slice from {s}segments where number = ?1",
);
static BOUNDARY: Sql = Sql::reference(
    "set_segment_boundary",
    "update {s}segments set next_boundary_at = ?2 where number = ?1",
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

pub(super) static SQL: &[&Sql] = &[&PROGRESS, &BOUNDARY, &MOVE, &EVALUATED];

/// How far an evaluation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluation {
    More,
    Done,
    /// Nothing was done, because the rules have moved since they were bound.
    Stale,
}

impl Workspace {
    /// Evaluates the next slice of a segment.
    pub async fn evaluate_segment(
        &self,
        job: &Job,
        segment: i32,
        live: Arc<LiveSegments>,
        now: Timestamp,
    ) -> Result<Evaluation> {
        let zone = Zone::named(&self.row.time_zone);
        let job = job.clone();
        self.write(Priority::Bulk, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                if stamp(tx).await? != live.stamp {
                    return Ok(Evaluation::Stale);
                }
                let Some(segment) = live.segments.iter().find(|one| one.number == segment) else {
                    return Ok(Evaluation::Done);
                };
                evaluate(tx, &zone, &live, segment, now).await
            })
        })
        .await
    }
}

async fn evaluate(
    tx: &mut Tx,
    zone: &Zone,
    live: &LiveSegments,
    segment: &LiveSegment,
    now: Timestamp,
) -> Result<Evaluation> {
    let (number, version) = (segment.number, segment.version);
    lock(tx, &LOCK, &BTreeSet::from([number])).await?;
    let Some(row) = tx.first(&PROGRESS, crate::params![number]).await? else {
        return Ok(Evaluation::Done);
    };
    let low = row.int(2)?;
    if low == 0 {
        // Counted from the first slice: should a midnight pass before the last, all is done again.
        let boundary = segment.rule.reads().calendar.then(|| zone.next_midnight(now));
        tx.execute(&BOUNDARY, crate::params![number, boundary]).await?;
    }
    let (width, end) = base(tx).await?;
    let slice = Slice { low, high: (low + width).min(end) };
    let (entered, left) = difference(tx, segment, slice, now).await?;
    arm(tx, segment, slice, zone, now).await?;
    tell(tx, zone, live, segment, (entered, left), now).await?;
    if slice.high >= end {
        days::begin(tx, number, zone, now).await?;
        tx.execute(&EVALUATED, crate::params![number, version]).await?;
        return Ok(Evaluation::Done);
    }
    tx.execute(&MOVE, crate::params![number, version, low, slice.high]).await?;
    Ok(Evaluation::More)
}

/// The width of a slice, and where the base ends.
async fn base(tx: &mut Tx) -> Result<(i64, i64)> {
    Ok(match tx.dialect() {
        Dialect::Sqlite => {
            let text = "select coalesce(max(system_id), 0) from {s}customers";
            let last = tx.query_text(text, &[]).await?;
            (SLICE_SYSTEM_IDS, last.first().map_or(Ok(0), |row| row.int(0))? + 1)
        }
        Dialect::Postgres => (SLICE_BUCKETS, i64::from(tidings_domain::bucket::BUCKETS)),
    })
}

/// Brings a slice's memberships in line with the rule; gives who came and who went.
async fn difference(
    tx: &mut Tx,
    segment: &LiveSegment,
    slice: Slice,
    now: Timestamp,
) -> Result<(Vec<CustomerId>, Vec<CustomerId>)> {
    let dialect = tx.dialect();
    let mut params = Vec::new();
    let condition = audience::condition(&segment.rule, dialect, "{s}", now, &mut params);
    let in_slice = slice.of_customers("c", dialect, &mut params);
    let at = params.len();
    params.extend([Param::from(segment.number), Param::from(segment.version), Param::from(now)]);
    let (number, version, since) = (at + 1, at + 2, at + 3);
    let members =
        format!("select c.bucket, c.id from {{s}}customers c where {in_slice} and ({condition})");
    let add = format!(
        "insert into {{s}}segment_members \
           (bucket, customer_id, segment_number, since, next_check_at, version) \
         select m.bucket, m.id, cast(?{number} as integer), cast(?{since} as bigint), null, \
           cast(?{version} as integer) \
         from ({members}) m where true on conflict do nothing returning customer_id"
    );
    let entered = ids(&tx.query_once(&add, &params).await?)?;
    // The same parameters in the same places, though this statement does not read them all.
    let drop = format!(
        "delete from {{s}}segment_members where segment_number = ?{number} \
           and cast(?{version} as integer) is not null and cast(?{since} as bigint) is not null \
           and (bucket, customer_id) in \
             (select c.bucket, c.id from {{s}}customers c where {in_slice}) \
           and (bucket, customer_id) not in ({members}) returning customer_id"
    );
    let left = ids(&tx.query_once(&drop, &params).await?)?;
    Ok((entered, left))
}

fn ids(rows: &[Row]) -> Result<Vec<CustomerId>> {
    rows.iter().map(|row| row.uuid(0).map(CustomerId)).collect()
}

/// Writes when the clock next asks for the customers of a slice.
async fn arm(
    tx: &mut Tx,
    segment: &LiveSegment,
    slice: Slice,
    zone: &Zone,
    now: Timestamp,
) -> Result<()> {
    let dialect = tx.dialect();
    let mut params = vec![Param::from(segment.number)];
    let owned = slice.of_owned("segment_checks", dialect, &mut params);
    let clear = format!("delete from {{s}}segment_checks where segment_number = ?1 and {owned}");
    tx.execute_text(&clear, &params).await?;

    // A segment with dates is evaluated as a whole at midnight, and everybody armed anew.
    let before = match segment.rule.reads().calendar {
        true => zone.next_midnight(now),
        false => Timestamp(i64::MAX),
    };
    let first = [Param::from(segment.number), Param::from(before)];
    for (turns, params) in audience::turns(&segment.rule, dialect, now, slice, &first) {
        arm_by(tx, &turns, &params).await?;
    }
    Ok(())
}

/// Moves the next checks of a segment to where these turns come earlier; the first parameters are
/// the segment, and when turns come too late to be of interest.
async fn arm_by(tx: &mut Tx, turns: &str, params: &[Param]) -> Result<()> {
    let first = format!(
        "(select u.bucket, u.customer_id, min(u.at) as at from ({turns}) u where u.at < ?2 \
          group by u.bucket, u.customer_id) t"
    );
    let members = format!(
        "update {{s}}segment_members as m set next_check_at = t.at from {first} \
         where m.bucket = t.bucket and m.customer_id = t.customer_id and m.segment_number = ?1 \
           and (m.next_check_at is null or m.next_check_at > t.at)"
    );
    tx.execute_once(&members, params).await?;
    let key = match tx.dialect() {
        Dialect::Sqlite => "segment_number, customer_id",
        Dialect::Postgres => "bucket, customer_id, segment_number",
    };
    let others = format!(
        "insert into {{s}}segment_checks as k (bucket, customer_id, segment_number, check_at) \
         select t.bucket, t.customer_id, cast(?1 as integer), t.at from {first} \
         where not exists (select 1 from {{s}}segment_members m where m.bucket = t.bucket \
           and m.customer_id = t.customer_id and m.segment_number = cast(?1 as integer)) \
         on conflict ({key}) do update set check_at = excluded.check_at \
           where excluded.check_at < k.check_at"
    );
    tx.execute_once(&others, params).await.map(|_| ())
}

/// Writes the events and figures that follow, and marks who must be judged because of them.
async fn tell(
    tx: &mut Tx,
    zone: &Zone,
    live: &LiveSegments,
    segment: &LiveSegment,
    (entered, left): (Vec<CustomerId>, Vec<CustomerId>),
    now: Timestamp,
) -> Result<()> {
    let mut moves = Moves::default();
    moves.note(segment.number, entered.len(), left.len(), segment.evaluated);
    moves.write(tx, zone, now).await?;
    let mut dirty = crate::changes::Dirty::default();
    if live.segments.iter().any(|one| one.rule.references().contains(&segment.number)) {
        for customer in entered.iter().chain(&left) {
            dirty.mark(*customer, format!("s{}", segment.number));
        }
    }
    if segment.evaluated {
        let mut transitions = Transitions::default();
        for (customers, name) in [(&entered, SEGMENT_ENTERED), (&left, SEGMENT_LEFT)] {
            for customer in customers {
                transitions.note(*customer, name, segment.id, &segment.name);
            }
        }
        transitions.write(tx, now, &mut dirty, live).await?;
    }
    dirty.write(tx, now).await
}
