//! The figures of a campaign: how many deliveries stand where, why, and how fast they went.

use tidings_domain::Timestamp;
use tidings_domain::campaign::DeliveryState;

use crate::sql::Sql;
use crate::workspace::Workspace;
use crate::{Error, Result};

/// How many deliveries stand where. `audience()` is always the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub due: i64,
    pub in_flight: i64,
    pub sent: i64,
    pub failed: i64,
    pub bounced: i64,
    pub skipped: i64,
    pub uncertain: i64,
    pub cancelled: i64,
    /// Of those sent: opened, clicked and unsubscribed at least once.
    pub opened: i64,
    pub clicked: i64,
    pub unsubscribed: i64,
}

impl Counts {
    pub fn audience(&self) -> i64 {
        self.due
            + self.in_flight
            + self.sent
            + self.failed
            + self.bounced
            + self.skipped
            + self.uncertain
            + self.cancelled
    }
}

static COUNTS: Sql = Sql::fan_out(
    "campaign_counts",
    "select state, count(*) from {s}deliveries where campaign_number = ?1 group by state",
);

static REACTIONS: Sql = Sql::fan_out(
    "campaign_reactions",
    "select count(opened_at), count(clicked_at), count(unsubscribed_at) from {s}deliveries
     where campaign_number = ?1 and (opened_at is not null or unsubscribed_at is not null)",
);

static REASONS: Sql = Sql::fan_out(
    "campaign_reasons",
    "select state, coalesce(reason, ''), count(*) from {s}deliveries
     where campaign_number = ?1 and state in (4, 5, 6) group by state, coalesce(reason, '')
     order by count(*) desc",
);

static PER_MINUTE: Sql = Sql::fan_out(
    "campaign_per_minute",
    "select finished_at / 60000000, count(*) from {s}deliveries
     where campaign_number = ?1 and state = 3 group by finished_at / 60000000
     order by finished_at / 60000000",
);

pub(crate) static SQL: &[&Sql] = &[&COUNTS, &REACTIONS, &REASONS, &PER_MINUTE];

impl Workspace {
    pub async fn campaign_counts(&self, number: i32) -> Result<Counts> {
        self.read(move |tx| {
            Box::pin(async move {
                let mut counts = Counts::default();
                for row in tx.query(&COUNTS, crate::params![number]).await? {
                    let count = row.int(1)?;
                    match DeliveryState::from_number(row.small(0)?) {
                        Some(DeliveryState::Due) => counts.due = count,
                        Some(DeliveryState::Started) => counts.in_flight = count,
                        Some(DeliveryState::Sent) => counts.sent = count,
                        Some(DeliveryState::Failed) => counts.failed = count,
                        Some(DeliveryState::Bounced) => counts.bounced = count,
                        Some(DeliveryState::Skipped) => counts.skipped = count,
                        Some(DeliveryState::Uncertain) => counts.uncertain = count,
                        Some(DeliveryState::Cancelled) => counts.cancelled = count,
                        None => return Err(Error::Corrupt("a delivery's state".into())),
                    }
                }
                if let Some(row) = tx.first(&REACTIONS, crate::params![number]).await? {
                    counts.opened = row.int(0)?;
                    counts.clicked = row.int(1)?;
                    counts.unsubscribed = row.int(2)?;
                }
                Ok(counts)
            })
        })
        .await
    }

    /// Why deliveries were skipped, failed or bounced, and how many of each.
    pub async fn campaign_reasons(&self, number: i32) -> Result<Vec<(DeliveryState, String, i64)>> {
        self.read(move |tx| {
            Box::pin(async move {
                let rows = tx.query(&REASONS, crate::params![number]).await?;
                rows.iter()
                    .map(|row| {
                        let state = DeliveryState::from_number(row.small(0)?)
                            .ok_or_else(|| Error::Corrupt("a delivery's state".into()))?;
                        Ok((state, row.text(1)?, row.int(2)?))
                    })
                    .collect()
            })
        })
        .await
    }

    /// How many were sent in each minute.
    pub async fn campaign_per_minute(&self, number: i32) -> Result<Vec<(Timestamp, i64)>> {
        self.read(move |tx| {
            Box::pin(async move {
                let rows = tx.query(&PER_MINUTE, crate::params![number]).await?;
                rows.iter()
                    .map(|row| Ok((Timestamp(row.int(0)? * 60_000_000), row.int(1)?)))
                    .collect()
            })
        })
        .await
    }
}
