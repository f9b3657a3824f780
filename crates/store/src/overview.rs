//! Figures of a whole workspace. They read whole tables, so whoever asks keeps them for a while.

use tidings_domain::Timestamp;

use crate::sql::Sql;
use crate::workspace::Workspace;
use crate::{Error, Result};

/// Figures of a workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub customers: i64,
    /// Those with an e-mail address that is not suppressed.
    pub reachable_by_email: i64,
    pub events: i64,
    /// Oldest first; days on which nothing was sent are left out.
    pub days: Vec<Day>,
}

/// What was sent on one day, in UTC, and what has become of it since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Day {
    /// `YYYY-MM-DD`.
    pub day: String,
    pub sent: i64,
    pub opened: i64,
    pub clicked: i64,
}

static COUNTS: Sql = Sql::fan_out(
    "counts",
    "select (select count(*) from {s}customers),
       (select count(*) from {s}customers c where c.email is not null
          and not exists (select 1 from {s}suppressions s
                          where s.channel = 1 and s.address = c.email)),
       (select count(*) from {s}event_names n
          join {s}events e on e.name = n.number and e.at >= ?1)",
);
static DAYS: Sql = Sql::fan_out(
    "sent_by_day",
    "select finished_at / 86400000000, count(*), count(opened_at), count(clicked_at)
     from {s}deliveries where state = 3 and finished_at >= ?1
     group by finished_at / 86400000000 order by finished_at / 86400000000",
);

pub(crate) static SQL: &[&Sql] = &[&COUNTS, &DAYS];

const DAY_US: i64 = 86_400_000_000;

impl Workspace {
    /// Figures: events since one time, days since another.
    pub async fn figures(&self, events_since: Timestamp, days_since: Timestamp) -> Result<Figures> {
        self.read(move |tx| {
            Box::pin(async move {
                let row = tx.first(&COUNTS, crate::params![events_since]).await?;
                let row = row.ok_or_else(|| Error::Corrupt("counts gave no row".to_owned()))?;
                let days = tx.query(&DAYS, crate::params![days_since]).await?;
                let day = |row: &crate::sql::Row| {
                    Ok(Day {
                        day: Timestamp(row.int(0)? * DAY_US).date(),
                        sent: row.int(1)?,
                        opened: row.int(2)?,
                        clicked: row.int(3)?,
                    })
                };
                Ok(Figures {
                    customers: row.int(0)?,
                    reachable_by_email: row.int(1)?,
                    events: row.int(2)?,
                    days: days.iter().map(day).collect::<Result<_>>()?,
                })
            })
        })
        .await
    }
}
