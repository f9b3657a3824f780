//! Suppressions: addresses that are never written to again, known by the address itself or by the
//! SHA-256 of it alone.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tidings_domain::bucket::keyed_bucket;
use tidings_domain::campaign::SkipReason;
use tidings_domain::change::IdentityKind;
use tidings_domain::consent::{Channel, SuppressionReason};
use tidings_domain::{CustomerId, Timestamp, bucket_of, identity_bucket};

use crate::bulk::{Column, ColumnType, column, select_many};
use crate::changes::sort_rows;
use crate::engines::{Priority, Tx};
use crate::hex::hex;
use crate::sql::{Dialect, Param, Row, Sql};
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

/// An address that is not written to and not known: its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuppressedHash {
    pub channel: Channel,
    /// SHA-256 of the normalised address, in lower-case hexadecimal.
    pub hash: String,
    pub reason: String,
    pub at: Timestamp,
}

/// What an address is suppressed by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// A normalised address.
    Address(String),
    /// A hash as in [`SuppressedHash`].
    Hash(String),
}

/// How many of a list were new, and how many stood there before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    pub added: u64,
    pub known: u64,
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
static ADD_HASH: Sql = Sql::identity(
    "add_suppressed_hash",
    "insert into {s}suppressed_hashes (ibucket, channel, hash, reason, at)
     values (?1, ?2, ?3, ?4, ?5) on conflict do nothing",
);
static REMOVE_HASH: Sql = Sql::identity(
    "remove_suppressed_hash",
    "delete from {s}suppressed_hashes where ibucket = ?1 and channel = ?2 and hash = ?3",
);
static HASH_PAGE: Sql = Sql::fan_out(
    "suppressed_hashes",
    "select channel, hash, reason, at from {s}suppressed_hashes
     where channel > ?1 or (channel = ?1 and hash > ?2)
     order by channel, hash limit ?3",
);
static HAS_HASHES: Sql =
    Sql::fan_out("has_suppressed_hashes", "select channel from {s}suppressed_hashes limit 1");
static OWNER: Sql = Sql::identity(
    "owner_of_address",
    "select customer_id from {s}identities where ibucket = ?1 and kind = ?2 and value = ?3",
);
static CALL_OFF: Sql = Sql::bucket(
    "call_off_suppressed",
    "update {s}deliveries set state = 6, reason = ?3, finished_at = ?4
     where bucket = ?1 and customer_id = ?2 and state = 0",
);
pub(crate) static SQL: &[&Sql] =
    &[&ADD, &OWNER, &CALL_OFF, &REMOVE, &PAGE, &ADD_HASH, &REMOVE_HASH, &HASH_PAGE, &HAS_HASHES];

fn bucket(channel: Channel, address: &str) -> u16 {
    keyed_bucket(channel.name(), address)
}

/// The hash that a normalised address is known by.
pub fn hash_of(address: &str) -> String {
    hex(&Sha256::digest(address.as_bytes()))
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

const ADDRESS_KEY: [Column<'static>; 3] = [
    column("ibucket", ColumnType::SmallInt),
    column("channel", ColumnType::SmallInt),
    column("address", ColumnType::Text),
];
const HASH_KEY: [Column<'static>; 3] = [
    column("ibucket", ColumnType::SmallInt),
    column("channel", ColumnType::SmallInt),
    column("hash", ColumnType::Text),
];

/// Which of these mail addresses are suppressed, by themselves or by their hash, and why.
pub(crate) async fn suppressed(
    tx: &mut Tx,
    addresses: &[&String],
) -> Result<HashMap<String, String>> {
    let email = Channel::Email;
    let key = |bucket: u16, text: &str| vec![bucket.into(), email.number().into(), text.into()];
    let mut keys: Vec<Vec<Param>> = addresses
        .iter()
        .map(|address| key(identity_bucket(IdentityKind::Email, address), address))
        .collect();
    sort_rows(&mut keys);
    keys.dedup();
    let wanted = "t.address, t.reason";
    let rows = select_many(tx, "suppressions", wanted, &ADDRESS_KEY, &keys, "").await?;
    let mut found: HashMap<String, String> =
        rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?))).collect::<Result<_>>()?;
    if tx.first(&HAS_HASHES, &[]).await?.is_none() {
        return Ok(found);
    }
    let by_hash: HashMap<String, &String> =
        addresses.iter().map(|address| (hash_of(address), *address)).collect();
    let mut keys: Vec<Vec<Param>> =
        by_hash.keys().map(|hash| key(bucket(email, hash), hash)).collect();
    sort_rows(&mut keys);
    let rows = select_many(tx, "suppressed_hashes", "t.hash, t.reason", &HASH_KEY, &keys, "");
    for row in rows.await? {
        if let Some(address) = by_hash.get(&row.text(0)?) {
            found.entry((*address).clone()).or_insert(row.text(1)?);
        }
    }
    Ok(found)
}

/// Never writes to an address again, and calls off what is planned for it.
pub(crate) async fn suppress(
    tx: &mut Tx,
    address: &str,
    reason: SuppressionReason,
    detail: &str,
    at: Timestamp,
) -> Result<bool> {
    let bucket = identity_bucket(IdentityKind::Email, address);
    let number = Channel::Email.number();
    let params = crate::params![bucket, number, address, reason.name(), detail, at];
    let added = tx.execute(&ADD, params).await? > 0;
    let params = crate::params![bucket, IdentityKind::Email.number(), address];
    if let Some(row) = tx.first(&OWNER, params).await? {
        let owner = CustomerId(row.uuid(0)?);
        let skip = skip_reason(reason.name());
        tx.execute(&CALL_OFF, crate::params![bucket_of(owner), owner, skip.name(), at]).await?;
    }
    Ok(added)
}

/// What a suppression of this reason means for a message.
pub(crate) fn skip_reason(reason: &str) -> SkipReason {
    if reason == SuppressionReason::HardBounce.name() {
        SkipReason::HardBounced
    } else {
        SkipReason::Suppressed
    }
}

/// For a query over customers `c` that joins suppressions `s`: the reason, and the join that finds
/// those that are known by their hash alone.
pub(crate) async fn hash_join(tx: &mut Tx) -> Result<(&'static str, &'static str)> {
    if tx.first(&HAS_HASHES, &[]).await?.is_none() {
        return Ok(("s.reason", ""));
    }
    let join = match tx.dialect() {
        Dialect::Sqlite => {
            "left join {s}suppressed_hashes h on h.channel = 1 and h.hash = sha256_hex(c.email)"
        }
        Dialect::Postgres => {
            "left join {s}suppressed_hashes h on h.channel = 1 \
               and h.hash = encode(sha256(convert_to(c.email, 'UTF8')), 'hex')"
        }
    };
    Ok(("coalesce(s.reason, h.reason)", join))
}

async fn add(
    tx: &mut Tx,
    channel: Channel,
    named: &Named,
    reason: SuppressionReason,
    at: Timestamp,
) -> Result<bool> {
    let number = channel.number();
    match (named, channel) {
        (Named::Address(address), Channel::Email) => suppress(tx, address, reason, "", at).await,
        (Named::Address(address), Channel::Sms) => {
            let bucket = bucket(channel, address);
            let row = crate::params![bucket, number, address, reason.name(), "", at];
            Ok(tx.execute(&ADD, row).await? > 0)
        }
        // Whose hash it is shows when a message is about to go, and it is stopped there.
        (Named::Hash(hash), _) => {
            let row = crate::params![bucket(channel, hash), number, hash, reason.name(), at];
            Ok(tx.execute(&ADD_HASH, row).await? > 0)
        }
    }
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
        let named = Named::Address(address.to_owned());
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { add(tx, channel, &named, reason, at).await })
        })
        .await
    }

    /// The same for a list, in one transaction.
    pub async fn suppress_many(
        &self,
        channel: Channel,
        mut list: Vec<Named>,
        reason: SuppressionReason,
        at: Timestamp,
    ) -> Result<Added> {
        // In one order everywhere, so that two lists never wait for each other in a circle.
        list.sort_unstable();
        self.write_kept(Priority::Bulk, move |tx| {
            Box::pin(async move {
                let mut sum = Added::default();
                for named in &list {
                    let is_new = add(tx, channel, named, reason, at).await?;
                    sum.added += u64::from(is_new);
                    sum.known += u64::from(!is_new);
                }
                Ok(sum)
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

    /// Lifts the suppression of a hash; false where there was none.
    pub async fn unsuppress_hash(&self, channel: Channel, hash: &str) -> Result<bool> {
        let params = crate::params![bucket(channel, hash), channel.number(), hash].to_vec();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { Ok(tx.execute(&REMOVE_HASH, &params).await? > 0) })
        })
        .await
    }

    /// Why a mail address is suppressed, by itself or by its hash.
    pub async fn suppression_of(&self, address: &str) -> Result<Option<String>> {
        let address = address.to_owned();
        self.read(move |tx| {
            Box::pin(async move { Ok(suppressed(tx, &[&address]).await?.remove(&address)) })
        })
        .await
    }

    /// A page of suppressed hashes by channel and hash.
    pub async fn suppressed_hashes(
        &self,
        after: Option<(Channel, String)>,
        limit: usize,
    ) -> Result<Page<SuppressedHash, (Channel, String)>> {
        let (channel, hash) = match after {
            Some((channel, hash)) => (channel.number(), hash),
            None => (0, String::new()),
        };
        let hashed = |row: &Row| {
            Ok(SuppressedHash {
                channel: Channel::from_number(row.small(0)?),
                hash: row.text(1)?,
                reason: row.text(2)?,
                at: row.time(3)?,
            })
        };
        let params = crate::params![channel, hash];
        let cursor = |one: &SuppressedHash| (one.channel, one.hash.clone());
        self.find_page(&HASH_PAGE, params, limit, hashed, cursor).await
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
        self.find_page(&PAGE, crate::params![channel, address], limit, suppression, |one| {
            (one.channel, one.address.clone())
        })
        .await
    }
}
