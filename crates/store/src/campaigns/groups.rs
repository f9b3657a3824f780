//! The figures of each arm and variant of a campaign, and when customers of a test reacted.

use tidings_domain::Timestamp;
use tidings_domain::campaign::{Arm, Metric};

use crate::sql::Sql;
use crate::workspace::Workspace;
use crate::{Error, Result};

/// The customers of one arm with one variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    pub arm: Arm,
    /// `None` where nothing is sent, or the variant is not known yet.
    pub variant: Option<i16>,
    pub customers: i64,
    pub sent: i64,
    pub failed: i64,
    pub bounced: i64,
    pub skipped: i64,
    pub opened: i64,
    pub clicked: i64,
    pub unsubscribed: i64,
}

/// How many customers of a variant reacted for the first time within a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minute {
    pub minute: i64,
    pub variant: i16,
    pub customers: i64,
}

static GROUPS: Sql = Sql::fan_out(
    "campaign_groups",
    "select arm, variant, count(*), count(case when state = 3 then 1 end),
            count(case when state = 4 then 1 end), count(case when state = 5 then 1 end),
            count(case when state = 6 then 1 end), count(opened_at), count(clicked_at),
            count(unsubscribed_at)
     from {s}deliveries where campaign_number = ?1 and arm is not null
     group by arm, variant order by arm, variant",
);

static OPENED_BY_MINUTE: Sql = Sql::fan_out(
    "test_opens_by_minute",
    "select opened_at / 60000000, variant, count(*) from {s}deliveries
     where campaign_number = ?1 and arm = 2 and opened_at is not null
     group by opened_at / 60000000, variant order by opened_at / 60000000",
);

static CLICKED_BY_MINUTE: Sql = Sql::fan_out(
    "test_clicks_by_minute",
    "select clicked_at / 60000000, variant, count(*) from {s}deliveries
     where campaign_number = ?1 and arm = 2 and opened_at is not null and clicked_at is not null
     group by clicked_at / 60000000, variant order by clicked_at / 60000000",
);

static FROZEN: Sql = Sql::reference(
    "campaign_is_frozen",
    "select count(*), count(case when next < high then 1 end) from {s}campaign_shards
     where campaign_number = ?1",
);

/// When the last message of a campaign is due, or would have been, or went.
static LAST_DUE: Sql = Sql::fan_out(
    "last_due_delivery",
    "select max(case when arm in (4, 5) or finished_at is null then due_at else finished_at end),
            count(case when state in (0, 2) then 1 end)
     from {s}deliveries where campaign_number = ?1 and arm is not null",
);

pub(crate) static SQL: &[&Sql] =
    &[&GROUPS, &OPENED_BY_MINUTE, &CLICKED_BY_MINUTE, &FROZEN, &LAST_DUE];

impl Workspace {
    /// The figures of each arm and variant, in their order.
    pub async fn campaign_groups(&self, number: i32) -> Result<Vec<Group>> {
        self.read(move |tx| {
            Box::pin(async move {
                let rows = tx.query(&GROUPS, crate::params![number]).await?;
                let unknown = || Error::Corrupt("a delivery's arm is unknown".into());
                rows.iter()
                    .map(|row| {
                        Ok(Group {
                            arm: Arm::from_number(row.small(0)?).ok_or_else(unknown)?,
                            variant: row.opt_int(1)?.and_then(|at| i16::try_from(at).ok()),
                            customers: row.int(2)?,
                            sent: row.int(3)?,
                            failed: row.int(4)?,
                            bounced: row.int(5)?,
                            skipped: row.int(6)?,
                            opened: row.int(7)?,
                            clicked: row.int(8)?,
                            unsubscribed: row.int(9)?,
                        })
                    })
                    .collect()
            })
        })
        .await
    }

    /// When the customers of a test first opened or clicked, in the order of time.
    pub async fn test_reactions(&self, number: i32, metric: Metric) -> Result<Vec<Minute>> {
        let sql = match metric {
            Metric::Clicks => &CLICKED_BY_MINUTE,
            Metric::Opens | Metric::Conversions => &OPENED_BY_MINUTE,
        };
        self.read(move |tx| {
            Box::pin(async move {
                let rows = tx.query(sql, crate::params![number]).await?;
                rows.iter()
                    .map(|row| {
                        Ok(Minute {
                            minute: row.int(0)?,
                            variant: row.small(1)?,
                            customers: row.int(2)?,
                        })
                    })
                    .collect()
            })
        })
        .await
    }

    /// Whether a campaign's whole audience is known.
    pub async fn audience_is_frozen(&self, number: i32) -> Result<bool> {
        self.read(move |tx| {
            Box::pin(async move {
                let row = tx.first(&FROZEN, crate::params![number]).await?;
                row.map_or(Ok(false), |row| Ok(row.int(0)? > 0 && row.int(1)? == 0))
            })
        })
        .await
    }

    /// When the last message of a campaign went, or is due, and whether any is still to go.
    pub async fn last_due(&self, number: i32) -> Result<Option<(Timestamp, bool)>> {
        self.read(move |tx| {
            Box::pin(async move {
                let Some(row) = tx.first(&LAST_DUE, crate::params![number]).await? else {
                    return Ok(None);
                };
                let waiting = row.int(1)? > 0;
                Ok(row.opt_time(0)?.map(|at| (at, waiting)))
            })
        })
        .await
    }
}
