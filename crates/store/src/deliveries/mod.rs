//! Deliveries: one message a customer a campaign, and the list of who got it, who not and why.
//!
//! A delivery goes due → in flight → sent, failed or bounced. *In flight* is committed before the
//! message's last byte leaves; whoever takes over after a crash finds those and holds them as
//! uncertain. Every write of a sender renews its job's lease or is refused whole.

mod freeze;
mod reactions;
mod review;
mod send;

use std::collections::HashMap;

use tidings_domain::campaign::{Arm, DeliveryState};
use tidings_domain::{CustomerId, DeliveryId, Timestamp, bucket_of};

pub use self::freeze::Audience;
pub use self::reactions::{LinkClicks, Reaction};
pub use self::review::Review;
pub use self::send::{
    Attempt, Due, DueDelivery, Finished, RESENT_AFTER_CRASH, RESENT_UNANSWERED, Starting,
};
use crate::bulk::{Column, ColumnType, column, select_many};
use crate::campaigns::Shard;
use crate::changes::{CUSTOMER_KEY, customer_key, sort_rows};
use crate::customers::Page;
use crate::engines::Tx;
use crate::sql::{Dialect, Param, Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// The key of a delivery: one message a customer a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryKey {
    pub campaign: i32,
    pub customer: CustomerId,
}

/// One row of the list of who got a message, who not and why.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: DeliveryId,
    pub customer: CustomerId,
    pub external_id: Option<String>,
    pub address: Option<String>,
    pub state: DeliveryState,
    pub reason: Option<String>,
    pub reply: Option<String>,
    pub attempts: i32,
    pub due_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub opened_at: Option<Timestamp>,
    pub clicked_at: Option<Timestamp>,
    /// The part of the campaign that the customer is in; `None` where nobody could send to them.
    pub arm: Option<Arm>,
    pub variant: Option<i16>,
}

const KEY: [Column<'static>; 3] = [
    column("bucket", ColumnType::SmallInt),
    column("customer_id", ColumnType::Uuid),
    column("campaign_number", ColumnType::Int),
];

fn key(campaign: i32, customer: CustomerId) -> Vec<Param> {
    vec![bucket_of(customer).into(), customer.into(), campaign.into()]
}

/// The buckets of a shard: all of them on SQLite, where the shard is a range of system ids.
fn buckets(dialect: Dialect, shard: &Shard) -> (i64, i64) {
    match dialect {
        Dialect::Sqlite => (0, i64::from(tidings_domain::bucket::BUCKETS)),
        Dialect::Postgres => (shard.low, shard.high),
    }
}

static ONE: Sql = Sql::bucket(
    "delivery",
    "select id from {s}deliveries
     where bucket = ?1 and customer_id = ?2 and campaign_number = ?3",
);

pub(crate) static SQLS: &[&[&Sql]] = &[&[&ONE], freeze::SQL, reactions::SQL, send::SQL];

/// A page of a campaign's deliveries by customer, with what else they must meet.
pub(crate) fn page_text(condition: &str) -> String {
    format!(
        "select d.id, d.customer_id, d.address, d.state, d.reason, d.reply, d.attempts, d.due_at, \
         d.finished_at, d.opened_at, d.clicked_at, d.arm, d.variant from {{s}}deliveries d \
         where d.campaign_number = ?1 and d.customer_id > ?2{condition} \
         order by d.customer_id limit ?3"
    )
}

fn delivery(row: &Row) -> Result<Delivery> {
    Ok(Delivery {
        id: DeliveryId(row.uuid(0)?),
        customer: CustomerId(row.uuid(1)?),
        external_id: None,
        address: row.opt_text(2)?,
        state: DeliveryState::from_number(row.small(3)?)
            .ok_or_else(|| Error::Corrupt("a delivery's state is unknown".into()))?,
        reason: row.opt_text(4)?,
        reply: row.opt_text(5)?,
        attempts: row.small(6)?,
        due_at: row.time(7)?,
        finished_at: row.opt_time(8)?,
        opened_at: row.opt_time(9)?,
        clicked_at: row.opt_time(10)?,
        arm: row.opt_int(11)?.and_then(|at| i16::try_from(at).ok()).and_then(Arm::from_number),
        variant: row.opt_int(12)?.and_then(|at| i16::try_from(at).ok()),
    })
}

/// Adds what is known of the customers: their external ids, and the addresses of those who have not
/// been written to yet.
async fn name_customers(tx: &mut Tx, deliveries: &mut [Delivery]) -> Result<()> {
    let mut keys: Vec<Vec<Param>> =
        deliveries.iter().map(|one| customer_key(one.customer)).collect();
    sort_rows(&mut keys);
    let wanted = "t.id, t.external_id, t.email";
    let mut known = HashMap::with_capacity(keys.len());
    for row in select_many(tx, "customers", wanted, &CUSTOMER_KEY, &keys, "").await? {
        known.insert(CustomerId(row.uuid(0)?), (row.opt_text(1)?, row.opt_text(2)?));
    }
    for one in deliveries {
        let (external_id, email) = known.remove(&one.customer).unwrap_or_default();
        one.external_id = external_id;
        one.address = one.address.take().or(email);
    }
    Ok(())
}

impl Workspace {
    /// Whether a message of this campaign was made for this customer.
    pub async fn has_delivery(&self, key: DeliveryKey) -> Result<bool> {
        self.read(move |tx| {
            Box::pin(async move {
                let params = crate::params![bucket_of(key.customer), key.customer, key.campaign];
                Ok(tx.first(&ONE, params).await?.is_some())
            })
        })
        .await
    }

    /// Who got a message, who not and why, in the order of customers.
    pub async fn deliveries(
        &self,
        campaign: i32,
        state: Option<DeliveryState>,
        reason: Option<String>,
        after: Option<CustomerId>,
        limit: usize,
    ) -> Result<Page<Delivery, CustomerId>> {
        let mut params: Vec<Param> = vec![
            campaign.into(),
            after.map_or(uuid::Uuid::nil(), |id| id.0).into(),
            (limit as i64 + 1).into(),
        ];
        let mut condition = String::new();
        if let Some(state) = state {
            params.push(state.number().into());
            condition.push_str(&format!(" and d.state = ?{}", params.len()));
        }
        if let Some(reason) = reason {
            params.push(reason.into());
            condition.push_str(&format!(" and d.reason = ?{}", params.len()));
        }
        let text = page_text(&condition);
        let items = self
            .read(move |tx| {
                Box::pin(async move {
                    let rows = tx.query_text(&text, &params).await?;
                    let mut items = rows.iter().map(delivery).collect::<Result<Vec<_>>>()?;
                    name_customers(tx, &mut items).await?;
                    Ok(items)
                })
            })
            .await?;
        Ok(Page::cut(items, limit, |one| one.customer))
    }
}
