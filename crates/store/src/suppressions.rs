//! Suppressions: addresses that are never written to again.

use tidings_domain::Timestamp;
use tidings_domain::bucket::keyed_bucket;
use tidings_domain::consent::{Channel, SuppressionReason};

use crate::engines::Priority;
use crate::sql::{Row, Sql};
use crate::workspace::Workspace;
use crate::{Page, Result};

/// An address that is not written to, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    pub channel: Channel,
    /// Normalised: the form it is looked up by.
    pub address: String,
    pub reason: String,
    /// Such as the answer of the receiver's server; may be empty.
    pub detail: String,
    pub at: Timestamp,
}

static ADD: Sql = Sql::identity(
    "add_suppression",
    "insert into {s}suppressions (ibucket, channel, address, reason, detail, at)
     values (?1, ?2, ?3, ?4, ?5, ?6) on conflict do nothing",
);
static REMOVE: Sql = Sql::identity(
    "remove_suppression",
    "delete from {s}suppressions where ibucket = ?1 and channel = ?2 and address = ?3",
);
static PAGE: Sql = Sql::fan_out(
    "suppressions",
    "select channel, address, reason, detail, at from {s}suppressions
     where channel > ?1 or (channel = ?1 and address > ?2)
     order by channel, address limit ?3",
);
pub(crate) static SQL: &[&Sql] = &[&ADD, &REMOVE, &PAGE];

fn bucket(channel: Channel, address: &str) -> u16 {
    keyed_bucket(channel.name(), address)
}

fn suppression(row: &Row) -> Result<Suppression> {
    Ok(Suppression {
        channel: Channel::from_number(row.small(0)?),
        address: row.text(1)?,
        reason: row.text(2)?,
        detail: row.text(3)?,
        at: row.time(4)?,
    })
}

impl Workspace {
    /// Suppresses an address and calls off what is planned for it; false where it was suppressed
    /// before, and then the first reason stays.
    pub async fn suppress(
        &self,
        channel: Channel,
        address: &str,
        reason: SuppressionReason,
        at: Timestamp,
    ) -> Result<bool> {
        let address = address.to_owned();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                match channel {
                    Channel::Email => {
                        crate::deliveries::suppress(tx, &address, reason, "", at).await
                    }
                    Channel::Sms => {
                        let bucket = bucket(channel, &address);
                        let number = channel.number();
                        let row = crate::params![bucket, number, &address, reason.name(), "", at];
                        Ok(tx.execute(&ADD, row).await? > 0)
                    }
                }
            })
        })
        .await
    }

    /// Lifts a suppression; false where there was none.
    pub async fn unsuppress(&self, channel: Channel, address: &str) -> Result<bool> {
        let params = crate::params![bucket(channel, address), channel.number(), address].to_vec();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { Ok(tx.execute(&REMOVE, &params).await? > 0) })
        })
        .await
    }

    /// A page of suppressions by channel and address.
    pub async fn suppressions(
        &self,
        after: Option<(Channel, String)>,
        limit: usize,
    ) -> Result<Page<Suppression, (Channel, String)>> {
        let (channel, address) = match after {
            Some((channel, address)) => (channel.number(), address),
            None => (0, String::new()),
        };
        let params = crate::params![channel, address, limit as i64 + 1].to_vec();
        let items = self
            .read(move |tx| {
                Box::pin(async move {
                    let rows = tx.query(&PAGE, &params).await?;
                    rows.iter().map(suppression).collect::<Result<Vec<_>>>()
                })
            })
            .await?;
        Ok(Page::cut(items, limit, |one| (one.channel, one.address.clone())))
    }
}
