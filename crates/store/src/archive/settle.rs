//! What a restored workspace needs before a hub may open it: nothing is held by a node that is
//! gone, and progress that is counted in one engine's own terms is counted in the other's.

use tidings_domain::Timestamp;
use tidings_domain::campaign::CampaignState;

use crate::Result;
use crate::campaigns::{SEND_CAMPAIGN, shard_ranges, wake_shards};
use crate::engines::Tx;
use crate::sql::Sql;

/// Messages that were on their way are found by the job's next holder, who holds them as uncertain.
static RELEASE_ALL: Sql = Sql::reference(
    "release_restored_jobs",
    "update {s}jobs set state = 'due', owner = null, lease_until = null, due_at = ?1
     where state = 'running'",
);
static ALL_SHARDS: Sql = Sql::reference(
    "all_campaign_shards",
    "select s.campaign_number, c.state,
            sum(case when s.next < s.high then 1 else 0 end)
     from {s}campaign_shards s join {s}campaigns c on c.number = s.campaign_number
     group by s.campaign_number, c.state order by s.campaign_number",
);
static DROP_SHARDS: Sql = Sql::reference("drop_campaign_shards", "delete from {s}campaign_shards");
static PUT_SHARD: Sql = Sql::reference(
    "put_campaign_shard",
    "insert into {s}campaign_shards (campaign_number, shard, low, high, next)
     values (?1, ?2, ?3, ?4, ?5)",
);
/// A shard's job is named `campaign:shard`; a semicolon comes right after a colon.
static DROP_SHARD_JOBS: Sql = Sql::reference(
    "drop_shard_jobs",
    "delete from {s}jobs where kind = ?1 and subject >= ?2 and subject < ?3",
);
static RESTART_SLICES: Sql =
    Sql::reference("restart_segment_slices", "update {s}segments set next_slice = 0");

static PAUSE_ALL: Sql = Sql::reference(
    "pause_restored_campaigns",
    "update {s}campaigns set paused_from = state, state = 4 where state in (1, 2, 3)",
);

pub(crate) static SQL: &[&Sql] = &[
    &PAUSE_ALL,
    &RELEASE_ALL,
    &ALL_SHARDS,
    &DROP_SHARDS,
    &PUT_SHARD,
    &DROP_SHARD_JOBS,
    &RESTART_SLICES,
];

/// Makes jobs that were running due.
pub async fn release(tx: &mut Tx, at: Timestamp) -> Result<()> {
    tx.execute(&RELEASE_ALL, crate::params![at]).await.map(|_| ())
}

/// Pauses every campaign that would send.
pub async fn pause(tx: &mut Tx) -> Result<()> {
    tx.execute(&PAUSE_ALL, &[]).await.map(|_| ())
}

/// Counts slices and shards in this engine's terms: ranges of buckets on PostgreSQL, of system ids
/// on SQLite. What was half-way begins again, which does no harm: a delivery that is there stays.
pub async fn recount(tx: &mut Tx, at: Timestamp) -> Result<()> {
    tx.execute(&RESTART_SLICES, &[]).await?;
    let campaigns = tx.query(&ALL_SHARDS, &[]).await?;
    tx.execute(&DROP_SHARDS, &[]).await?;
    let ranges = shard_ranges(tx).await?;
    for row in &campaigns {
        let number: i32 = row.small(0)?;
        let is_frozen = row.int(2)? == 0;
        for (shard, low, high) in &ranges {
            let next = if is_frozen { *high } else { *low };
            tx.execute(&PUT_SHARD, crate::params![number, *shard, *low, *high, next]).await?;
        }
    }
    for row in &campaigns {
        let number: i32 = row.small(0)?;
        let (from, to) = (format!("{number}:"), format!("{number};"));
        tx.execute(&DROP_SHARD_JOBS, crate::params![SEND_CAMPAIGN, from, to]).await?;
        let state = CampaignState::from_number(row.small(1)?);
        if matches!(state, Some(CampaignState::Preparing | CampaignState::Sending)) {
            wake_shards(tx, number, at).await?;
        }
    }
    Ok(())
}
