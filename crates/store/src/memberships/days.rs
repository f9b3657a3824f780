//! The size of a segment day by day: the figure at the end of each day on which it changed.

use std::collections::BTreeMap;

use tidings_domain::Timestamp;
use tidings_domain::rule::calendar::Zone;

use crate::Result;
use crate::bulk::{delete_many, select_many};
use crate::changes::OWNER_KEY;
use crate::engines::Tx;
use crate::sql::{Param, Sql};
use crate::workspace::Workspace;

static LAST: Sql = Sql::reference(
    "segment_size_before",
    "select size from {s}segment_days where segment_number = ?1 and day <= ?2
     order by day desc limit 1",
);
static PUT: Sql = Sql::reference(
    "put_segment_day",
    "insert into {s}segment_days as d (segment_number, day, size, entered, left_out)
     values (?1, ?2, ?3, ?4, ?5)
     on conflict (segment_number, day) do update
       set size = excluded.size, entered = d.entered + excluded.entered,
           left_out = d.left_out + excluded.left_out",
);
static COUNT: Sql = Sql::fan_out(
    "count_members",
    "select count(*) from {s}segment_members where segment_number = ?1",
);
static DAYS: Sql = Sql::reference(
    "segment_days",
    "select day, size, entered, left_out from {s}segment_days
     where segment_number = ?1 order by day desc limit ?2",
);
static DROP: Sql =
    Sql::reference("drop_segment_days", "delete from {s}segment_days where segment_number = ?1");

pub(super) static SQL: &[&Sql] = &[&LAST, &PUT, &COUNT, &DAYS, &DROP];

/// What one day came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentDay {
    /// `YYYY-MM-DD` in the workspace's zone.
    pub day: String,
    /// How many customers were in it at the end of the day, or now.
    pub size: i64,
    /// How many came and went on that day, the evaluation of a new rule aside.
    pub entered: i64,
    pub left: i64,
}

impl Workspace {
    /// The days on which a segment changed, the newest first.
    pub async fn segment_days(&self, segment: i32, limit: usize) -> Result<Vec<SegmentDay>> {
        self.read(move |tx| {
            Box::pin(async move {
                let rows = tx.query(&DAYS, crate::params![segment, limit as i64]).await?;
                rows.iter()
                    .map(|row| {
                        Ok(SegmentDay {
                            day: row.text(0)?,
                            size: row.int(1)?,
                            entered: row.int(2)?,
                            left: row.int(3)?,
                        })
                    })
                    .collect()
            })
        })
        .await
    }
}

/// Who came and went, by segment: changes of its size, and those of them that count as entries and
/// exits.
#[derive(Default)]
pub(super) struct Moves {
    by_segment: BTreeMap<i32, Move>,
}

#[derive(Clone, Copy, Default)]
struct Move {
    more: i64,
    entered: i64,
    left: i64,
}

impl Moves {
    /// `told` says whether they are entries and exits, or a new rule finding its members.
    pub(super) fn note(&mut self, segment: i32, entered: usize, left: usize, told: bool) {
        let (entered, left) = (entered as i64, left as i64);
        if entered == 0 && left == 0 {
            return;
        }
        let one = self.by_segment.entry(segment).or_default();
        one.more += entered - left;
        if told {
            one.entered += entered;
            one.left += left;
        }
    }

    /// Adds them to the figures of today.
    pub(super) async fn write(self, tx: &mut Tx, zone: &Zone, now: Timestamp) -> Result<()> {
        let today = zone.today(now).to_string();
        for (segment, one) in self.by_segment {
            let size = match tx.first(&LAST, crate::params![segment, &today]).await? {
                Some(row) => row.int(0)? + one.more,
                None => counted(tx, segment).await?,
            };
            let params = crate::params![segment, &today, size, one.entered, one.left];
            tx.execute(&PUT, params).await?;
        }
        Ok(())
    }
}

/// Takes customers who are no more out of their segments, which counts as leaving.
pub(crate) async fn forget_members(
    tx: &mut Tx,
    zone: &Zone,
    customers: &[Vec<Param>],
    now: Timestamp,
) -> Result<()> {
    let mut moves = Moves::default();
    let wanted = "t.segment_number";
    let members = select_many(tx, "segment_members", wanted, &OWNER_KEY, customers, "").await?;
    delete_many(tx, "segment_members", &OWNER_KEY, customers).await?;
    for row in members {
        moves.note(row.small(0)?, 0, 1, true);
    }
    moves.write(tx, zone, now).await
}

async fn counted(tx: &mut Tx, segment: i32) -> Result<i64> {
    tx.first(&COUNT, crate::params![segment]).await?.map_or(Ok(0), |row| row.int(0))
}

/// Begins the figures of a segment that has none yet, as where nobody was found.
pub(super) async fn begin(tx: &mut Tx, segment: i32, zone: &Zone, now: Timestamp) -> Result<()> {
    let today = zone.today(now).to_string();
    if tx.first(&LAST, crate::params![segment, &today]).await?.is_some() {
        return Ok(());
    }
    let size = counted(tx, segment).await?;
    let params = crate::params![segment, &today, size, 0_i64, 0_i64];
    tx.execute(&PUT, params).await.map(|_| ())
}

/// Forgets a segment that is dropped.
pub(crate) async fn drop_days(tx: &mut Tx, segment: i32) -> Result<()> {
    tx.execute(&DROP, crate::params![segment]).await.map(|_| ())
}
