//! What makes a campaign pause itself: the share of its mails that bounce.

use tidings_domain::{CampaignId, Timestamp};

use crate::alerts::{self, AlertKind, Raised};
use crate::engines::{Priority, Tx};
use crate::sql::Sql;
use crate::workspace::Workspace;
use crate::{Error, Result};

/// Why a campaign pauses itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseCause {
    /// Too many addresses do not exist.
    Bounces,
}

impl PauseCause {
    pub fn name(self) -> &'static str {
        match self {
            PauseCause::Bounces => "bounces",
        }
    }
}

static PAUSE_BY_ITSELF: Sql = Sql::reference(
    "pause_campaign_by_itself",
    "update {s}campaigns set paused_from = state, state = 4, paused_because = ?2
     where number = ?1 and state in (2, 3) returning id",
);

static PAUSED_BECAUSE: Sql = Sql::reference(
    "campaign_paused_because",
    "select number, paused_because from {s}campaigns where id = ?1 and state = 4",
);

/// What bounced before a person let the campaign go on is not held against it again.
static GUARD_FROM: Sql = Sql::reference(
    "guard_campaign_from",
    "update {s}campaigns set guard_ended = ?2, guard_bounced = ?3 where number = ?1",
);

static GUARDED_FROM: Sql = Sql::reference(
    "campaign_guarded_from",
    "select guard_ended, guard_bounced from {s}campaigns where number = ?1",
);

static ENDED: Sql = Sql::fan_out(
    "ended_deliveries",
    "select count(*), count(case when state = 5 then 1 end) from {s}deliveries
     where campaign_number = ?1 and state in (3, 4, 5)",
);

pub(crate) static SQL: &[&Sql] =
    &[&PAUSE_BY_ITSELF, &PAUSED_BECAUSE, &GUARD_FROM, &GUARDED_FROM, &ENDED];

async fn ended(tx: &mut Tx, number: i32) -> Result<(i64, i64)> {
    let row = tx.first(&ENDED, crate::params![number]).await?;
    row.map_or(Ok((0, 0)), |row| Ok((row.int(0)?, row.int(1)?)))
}

/// A person who lets a campaign go on that had paused by itself has seen why.
pub(super) async fn accept_bounces(tx: &mut Tx, id: CampaignId, at: Timestamp) -> Result<()> {
    let Some(row) = tx.first(&PAUSED_BECAUSE, crate::params![id]).await? else { return Ok(()) };
    if row.opt_text(1)?.is_none() {
        return Ok(());
    }
    let number: i32 = row.small(0)?;
    let (ended, bounced) = ended(tx, number).await?;
    tx.execute(&GUARD_FROM, crate::params![number, ended, bounced]).await?;
    alerts::end(tx, AlertKind::CampaignPaused, &number.to_string(), at).await
}

impl Workspace {
    /// How many messages have ended, and how many of them bounced, since the campaign began or a
    /// person let it go on.
    pub async fn bounces(&self, number: i32) -> Result<(i64, i64)> {
        self.read(move |tx| {
            Box::pin(async move {
                let (ended, bounced) = ended(tx, number).await?;
                let from = tx.first(&GUARDED_FROM, crate::params![number]).await?;
                let (before, before_bounced) =
                    from.map_or(Ok((0, 0)), |row| Ok::<_, Error>((row.int(0)?, row.int(1)?)))?;
                Ok((ended - before, bounced - before_bounced))
            })
        })
        .await
    }

    /// Pauses a campaign by itself and tells the operators so; false where it does not send.
    pub async fn pause_by_itself(
        &self,
        number: i32,
        cause: PauseCause,
        message: &str,
        at: Timestamp,
    ) -> Result<bool> {
        let message = message.to_owned();
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let params = crate::params![number, cause.name()];
                let Some(row) = tx.first(&PAUSE_BY_ITSELF, params).await? else {
                    return Ok(false);
                };
                let id = CampaignId(row.uuid(0)?);
                let raised = Raised {
                    kind: AlertKind::CampaignPaused,
                    subject: number.to_string(),
                    message,
                    campaign: Some(id),
                };
                alerts::raise(tx, &raised, at).await?;
                Ok(true)
            })
        })
        .await
    }
}
