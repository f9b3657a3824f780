//! How a campaign runs: launched, cut into shards, paused, resumed, cancelled, settled.

use tidings_domain::campaign::CampaignState;
use tidings_domain::{CampaignId, Timestamp};

use super::guard::accept_bounces;
use crate::alerts::{self, AlertKind};
use crate::engines::{Priority, Tx};
use crate::jobs;
use crate::sql::{Dialect, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// The kind of the job that freezes an audience and sends to it.
pub const SEND_CAMPAIGN: &str = "send_campaign";

/// How many shards a campaign has where several nodes may send.
const SHARDS: i64 = 4;

/// The part of a campaign that one holder sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub shard: i32,
    pub low: i64,
    pub high: i64,
    /// How far the audience has been frozen; `high` when all of it is.
    pub next: i64,
}

static LAUNCH: Sql = Sql::reference(
    "launch_campaign",
    "update {s}campaigns set state = 1, scheduled_at = ?2,
       template_version = (select t.version from {s}templates t
                           where t.number = template_number)
     where id = ?1 and state in (0, 1) returning number",
);

static BEGIN: Sql = Sql::reference(
    "begin_campaign",
    "update {s}campaigns set state = 2, started_at = ?2 where number = ?1 and state = 1",
);

static STATE: Sql =
    Sql::reference("campaign_state", "select state from {s}campaigns where number = ?1");

static PAUSE: Sql = Sql::reference(
    "pause_campaign",
    "update {s}campaigns set paused_from = state, state = 4
     where id = ?1 and state in (1, 2, 3) returning number",
);

static RESUME: Sql = Sql::reference(
    "resume_campaign",
    "update {s}campaigns set state = coalesce(paused_from, 3), paused_from = null,
       paused_because = null
     where id = ?1 and state = 4 returning number",
);

static CANCEL: Sql = Sql::reference(
    "cancel_campaign",
    "update {s}campaigns set state = 6, finished_at = ?2, paused_because = null
     where id = ?1 and state in (1, 2, 3, 4) returning number",
);

/// A slice that is being frozen holds its shard's row: it is waited for here, and the next one
/// finds that nothing is left.
static CLOSE_SHARDS: Sql = Sql::reference(
    "close_campaign_shards",
    "update {s}campaign_shards set next = high where campaign_number = ?1",
);

static CANCEL_DUE: Sql = Sql::fan_out(
    "cancel_due_deliveries",
    "update {s}deliveries set state = 8, finished_at = ?2 where campaign_number = ?1 and state = 0",
);

static SHARDS_OF: Sql = Sql::reference(
    "campaign_shards",
    "select shard, low, high, next from {s}campaign_shards where campaign_number = ?1
     order by shard",
);

static ADD_SHARD: Sql = Sql::reference(
    "add_campaign_shard",
    "insert into {s}campaign_shards (campaign_number, shard, low, high, next)
     values (?1, ?2, ?3, ?4, ?3)",
);

static FINISH: Sql = Sql::fan_out(
    "finish_campaign",
    "update {s}campaigns set state = 5, finished_at = ?2
     where number = ?1 and state in (2, 3)
       and not exists (select 1 from {s}campaign_shards
                       where campaign_number = ?1 and next < high)
       and not exists (select 1 from {s}deliveries
                       where campaign_number = ?1 and state in (0, 2))",
);

static SENDING: Sql = Sql::reference(
    "campaign_is_sending",
    "update {s}campaigns set state = 3 where number = ?1 and state = 2
       and not exists (select 1 from {s}campaign_shards
                       where campaign_number = ?1 and next < high)",
);

pub(crate) static SQL: &[&Sql] = &[
    &LAUNCH,
    &BEGIN,
    &STATE,
    &PAUSE,
    &RESUME,
    &CANCEL,
    &CLOSE_SHARDS,
    &CANCEL_DUE,
    &SHARDS_OF,
    &ADD_SHARD,
    &FINISH,
    &SENDING,
];

pub(crate) async fn state_of(tx: &mut Tx, number: i32) -> Result<CampaignState> {
    let row = tx.first(&STATE, crate::params![number]).await?;
    let row = row.ok_or_else(|| Error::NotFound(format!("campaign {number}")))?;
    CampaignState::from_number(row.small(0)?)
        .ok_or_else(|| Error::Corrupt("a campaign's state is unknown".into()))
}

/// The name under which a shard's job is kept.
fn subject(campaign: i32, shard: i64) -> String {
    format!("{campaign}:{shard}")
}

/// Makes a campaign's jobs due: one for the first launch, one a shard afterwards.
pub(crate) async fn wake_shards(tx: &mut Tx, number: i32, at: Timestamp) -> Result<()> {
    let shards = tx.query(&SHARDS_OF, crate::params![number]).await?;
    if shards.is_empty() {
        return jobs::add(tx, SEND_CAMPAIGN, &subject(number, 0), "", at).await;
    }
    for row in shards {
        jobs::add(tx, SEND_CAMPAIGN, &subject(number, row.int(0)?), "", at).await?;
    }
    Ok(())
}

/// The shards of a campaign on this engine: number, first and one past the last.
pub(crate) async fn shard_ranges(tx: &mut Tx) -> Result<Vec<(i64, i64, i64)>> {
    Ok(match tx.dialect() {
        Dialect::Sqlite => {
            let last =
                tx.query_text("select coalesce(max(system_id), 0) from {s}customers", &[]).await?;
            let last = last.first().map_or(Ok(0), |row| row.int(0))?;
            vec![(0, 0, last + 1)]
        }
        Dialect::Postgres => {
            let width = i64::from(tidings_domain::bucket::BUCKETS) / SHARDS;
            (0..SHARDS).map(|shard| (shard, shard * width, (shard + 1) * width)).collect()
        }
    })
}

/// Cuts a campaign into shards when it begins.
async fn cut(tx: &mut Tx, number: i32, job: &jobs::Job, at: Timestamp) -> Result<()> {
    let ranges = shard_ranges(tx).await?;
    for (shard, low, high) in ranges {
        tx.execute(&ADD_SHARD, crate::params![number, shard, low, high]).await?;
        let subject = subject(number, shard);
        if subject != job.subject {
            jobs::add(tx, SEND_CAMPAIGN, &subject, "", at).await?;
        }
    }
    Ok(())
}

impl Workspace {
    /// Plans a campaign for a time and fixes the template's version; the job is written with it.
    /// False where the campaign is not a draft or scheduled.
    pub async fn launch_campaign(&self, id: CampaignId, at: Timestamp) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let Some(row) = tx.first(&LAUNCH, crate::params![id, at]).await? else {
                    return Ok(false);
                };
                let number: i32 = row.small(0)?;
                super::contest::fix_versions(tx, number).await?;
                wake_shards(tx, number, at).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Begins a scheduled campaign: cuts it into shards. Does nothing if it has begun.
    pub async fn begin_campaign(&self, number: i32, job: &jobs::Job, at: Timestamp) -> Result<()> {
        let job = job.clone();
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                if tx.execute(&BEGIN, crate::params![number, at]).await? > 0 {
                    cut(tx, number, &job, at).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Stops handing over; what is on its way is finished.
    pub async fn pause_campaign(&self, id: CampaignId) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { Ok(tx.first(&PAUSE, crate::params![id]).await?.is_some()) })
        })
        .await
    }

    pub async fn resume_campaign(&self, id: CampaignId, at: Timestamp) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                accept_bounces(tx, id, at).await?;
                let Some(row) = tx.first(&RESUME, crate::params![id]).await? else {
                    return Ok(false);
                };
                wake_shards(tx, row.small(0)?, at).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Ends a campaign; what is not on its way stays unsent.
    pub async fn cancel_campaign(&self, id: CampaignId, at: Timestamp) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let Some(row) = tx.first(&CANCEL, crate::params![id, at]).await? else {
                    return Ok(false);
                };
                let number: i32 = row.small(0)?;
                alerts::end(tx, AlertKind::CampaignPaused, &number.to_string(), at).await?;
                tx.execute(&CLOSE_SHARDS, crate::params![number]).await?;
                tx.execute(&CANCEL_DUE, crate::params![number, at]).await?;
                Ok(true)
            })
        })
        .await
    }

    pub async fn campaign_shards(&self, number: i32) -> Result<Vec<Shard>> {
        self.read(move |tx| {
            Box::pin(async move {
                let rows = tx.query(&SHARDS_OF, crate::params![number]).await?;
                rows.iter()
                    .map(|row| {
                        Ok(Shard {
                            shard: row.small(0)?,
                            low: row.int(1)?,
                            high: row.int(2)?,
                            next: row.int(3)?,
                        })
                    })
                    .collect()
            })
        })
        .await
    }

    /// Marks a campaign as sending once its whole audience is frozen, and as done once nothing is
    /// due or on its way. Gives the state it then has.
    pub async fn settle_campaign(&self, number: i32, at: Timestamp) -> Result<CampaignState> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                tx.execute(&SENDING, crate::params![number]).await?;
                tx.execute(&FINISH, crate::params![number, at]).await?;
                state_of(tx, number).await
            })
        })
        .await
    }
}
