//! What a campaign's customers did afterwards: records of a table of the workspace within a window
//! from their message, or from when it would have come.

use tidings_domain::Timestamp;
use tidings_domain::campaign::Arm;

use super::Minute;
use crate::sql::{Param, quoted};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// What counts, in the names of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoalQuery {
    pub campaign: i32,
    /// The physical table and columns.
    pub table: String,
    pub time: String,
    pub amount: Option<String>,
    pub window_secs: i64,
    pub now: Timestamp,
}

/// What the customers of one arm with one variant did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GoalFigures {
    pub arm: Arm,
    pub variant: Option<i16>,
    /// Customers whose window has begun.
    pub customers: i64,
    /// Of those, who has at least one record within it.
    pub converted: i64,
    /// How many records there are.
    pub conversions: i64,
    /// Their sum, in units of the amount's smallest digit.
    pub amount: i128,
    /// The sum over customers of their squared sums.
    pub squares: f64,
}

/// When a customer's window begins. Who was held out has it from when their message would have come.
/// Customers who were called off later still count, as nobody can call off the others.
const FROM: &str = "case when d.arm in (4, 5) then d.due_at \
                    when d.state in (0, 2, 8) then null \
                    else coalesce(d.started_at, d.finished_at) end";

impl GoalQuery {
    /// Deliveries beside the records that count for them.
    fn joined(&self, columns: &str, more: &str) -> String {
        let (table, time) = (quoted(&self.table), quoted(&self.time));
        format!(
            "select {columns} from {{s}}deliveries d \
             join {{s}}{table} r on r.bucket = d.bucket and r.customer_id = d.customer_id \
             where d.campaign_number = ?1 and d.arm is not null{more} \
               and r.{time} >= {FROM} and r.{time} < {FROM} + ?2 and r.{time} <= ?3 \
             group by d.arm, d.variant, d.bucket, d.customer_id"
        )
    }

    fn params(&self) -> Vec<Param> {
        let window = self.window_secs.saturating_mul(1_000_000);
        vec![self.campaign.into(), window.into(), self.now.into()]
    }

    fn sums(&self) -> String {
        let amount = match &self.amount {
            Some(amount) => format!("r.{}", quoted(amount)),
            None => "cast(0 as bigint)".to_owned(),
        };
        // A sum may be larger than 64 bits, so its halves are summed on their own.
        let columns = format!(
            "d.arm as arm, d.variant as variant, count(*) as records, \
             coalesce(sum({amount} >> 32), 0) as upper_half, \
             coalesce(sum({amount} & 4294967295), 0) as lower_half, \
             coalesce(sum(cast({amount} as double precision)), 0) as total"
        );
        format!(
            "select t.arm, t.variant, count(*), cast(sum(t.records) as bigint), \
             cast(sum(t.upper_half) as bigint), cast(sum(t.lower_half) as bigint), \
             sum(t.total * t.total) from ({}) t group by t.arm, t.variant",
            self.joined(&columns, "")
        )
    }

    fn begun(&self) -> String {
        format!(
            "select d.arm, d.variant, count(*) from {{s}}deliveries d \
             where d.campaign_number = ?1 and d.arm is not null and {FROM} <= ?2 \
             group by d.arm, d.variant order by d.arm, d.variant"
        )
    }

    fn first_by_minute(&self) -> String {
        let columns =
            format!("min(r.{}) / 60000000 as at, d.variant as variant", quoted(&self.time));
        format!(
            "select t.at, t.variant, count(*) from ({}) t group by t.at, t.variant order by t.at",
            self.joined(&columns, " and d.arm = 2")
        )
    }
}

fn arm(number: i16) -> Result<Arm> {
    Arm::from_number(number).ok_or_else(|| Error::Corrupt("a delivery's arm is unknown".into()))
}

impl Workspace {
    /// What the customers of each arm and variant did within their window, as far as it has come.
    pub async fn goal_figures(&self, query: GoalQuery) -> Result<Vec<GoalFigures>> {
        self.read(move |tx| {
            Box::pin(async move {
                let mut all = Vec::new();
                let params = crate::params![query.campaign, query.now];
                for row in tx.query_once(&query.begun(), params).await? {
                    all.push(GoalFigures {
                        arm: arm(row.small(0)?)?,
                        variant: row.opt_int(1)?.and_then(|at| i16::try_from(at).ok()),
                        customers: row.int(2)?,
                        converted: 0,
                        conversions: 0,
                        amount: 0,
                        squares: 0.0,
                    });
                }
                for row in tx.query_once(&query.sums(), &query.params()).await? {
                    let key = (arm(row.small(0)?)?, row.opt_int(1)?);
                    let found =
                        all.iter_mut().find(|one| (one.arm, one.variant.map(i64::from)) == key);
                    let Some(found) = found else { continue };
                    found.converted = row.int(2)?;
                    found.conversions = row.int(3)?;
                    found.amount = (i128::from(row.int(4)?) << 32) + i128::from(row.int(5)?);
                    found.squares = row.real(6)?;
                }
                Ok(all)
            })
        })
        .await
    }

    /// When the customers of a test had their first record within the window, in the order of time.
    pub async fn goal_reactions(&self, query: GoalQuery) -> Result<Vec<Minute>> {
        self.read(move |tx| {
            Box::pin(async move {
                let rows = tx.query_once(&query.first_by_minute(), &query.params()).await?;
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
}
