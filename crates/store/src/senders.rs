//! What belongs to a sender's domain (its relay, its tracking address, its DKIM keys), and how many
//! messages may be on their way to a receiver's domain.

use serde::{Deserialize, Serialize};
use tidings_domain::Timestamp;

use crate::engines::{Priority, Tx};
use crate::relays::{self, Relay};
use crate::sql::{Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// A domain that mail is sent from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderDomain {
    /// In ASCII and lower case.
    pub domain: String,
    /// The number of the relay that all its mail goes to.
    pub relay: Option<i32>,
    /// `https://host` that links and pixels of its mail point to.
    pub tracking_url: Option<String>,
    pub created_at: Timestamp,
}

/// A key that signs a domain's mail. `Debug` shows nothing of its private half.
#[derive(Clone, PartialEq, Eq)]
pub struct DkimKey {
    pub domain: String,
    pub selector: String,
    pub algorithm: String,
    pub public: Vec<u8>,
    /// The private half, sealed; this crate cannot read it.
    pub secret: Vec<u8>,
    /// Whether it signs.
    pub active: bool,
    pub created_at: Timestamp,
}

/// How many messages may be on their way to the addresses of a domain at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientLimit {
    /// In ASCII and lower case; `*` stands for each domain that has no limit of its own.
    pub domain: String,
    pub open_max: i32,
}

/// Everything that decides how a workspace's mail leaves, as it stood at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailSetup {
    pub relays: Vec<Relay>,
    pub domains: Vec<SenderDomain>,
    pub keys: Vec<DkimKey>,
    pub limits: Vec<RecipientLimit>,
}

static PUT_DOMAIN: Sql = Sql::reference(
    "put_sender_domain",
    "insert into {s}sender_domains (domain, relay_number, tracking_url, created_at)
     values (?1, ?2, ?3, ?4)
     on conflict (domain) do update
     set relay_number = excluded.relay_number, tracking_url = excluded.tracking_url",
);
static NAME_DOMAIN: Sql = Sql::reference(
    "name_sender_domain",
    "insert into {s}sender_domains (domain, created_at) values (?1, ?2) on conflict do nothing",
);
static DROP_DOMAIN: Sql =
    Sql::reference("drop_sender_domain", "delete from {s}sender_domains where domain = ?1");
static DROP_KEYS: Sql =
    Sql::reference("drop_dkim_keys", "delete from {s}dkim_keys where domain = ?1");
static DOMAINS: Sql = Sql::reference(
    "sender_domains",
    "select domain, relay_number, tracking_url, created_at from {s}sender_domains order by domain",
);
static ADD_KEY: Sql = Sql::reference(
    "add_dkim_key",
    "insert into {s}dkim_keys (domain, selector, algorithm, public, secret, active, created_at)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
);
static SWITCH_KEY: Sql = Sql::reference(
    "switch_dkim_key",
    "update {s}dkim_keys set active = ?3 where domain = ?1 and selector = ?2",
);
static DROP_KEY: Sql =
    Sql::reference("drop_dkim_key", "delete from {s}dkim_keys where domain = ?1 and selector = ?2");
static KEYS: Sql = Sql::reference(
    "dkim_keys",
    "select domain, selector, algorithm, public, secret, active, created_at
     from {s}dkim_keys order by domain, created_at, selector",
);
static DROP_LIMITS: Sql =
    Sql::reference("drop_recipient_limits", "delete from {s}recipient_limits");
static ADD_LIMIT: Sql = Sql::reference(
    "add_recipient_limit",
    "insert into {s}recipient_limits (domain, open_max) values (?1, ?2)",
);
static LIMITS: Sql = Sql::reference(
    "recipient_limits",
    "select domain, open_max from {s}recipient_limits order by domain",
);

pub(crate) static SQL: &[&Sql] = &[
    &PUT_DOMAIN,
    &NAME_DOMAIN,
    &DROP_DOMAIN,
    &DROP_KEYS,
    &DOMAINS,
    &ADD_KEY,
    &SWITCH_KEY,
    &DROP_KEY,
    &KEYS,
    &DROP_LIMITS,
    &ADD_LIMIT,
    &LIMITS,
];

fn domain(row: &Row) -> Result<SenderDomain> {
    Ok(SenderDomain {
        domain: row.text(0)?,
        relay: if row.is_null(1) { None } else { Some(row.small(1)?) },
        tracking_url: row.opt_text(2)?,
        created_at: row.time(3)?,
    })
}

fn key(row: &Row) -> Result<DkimKey> {
    Ok(DkimKey {
        domain: row.text(0)?,
        selector: row.text(1)?,
        algorithm: row.text(2)?,
        public: row.bytes(3)?,
        secret: row.bytes(4)?,
        active: row.bool(5)?,
        created_at: row.time(6)?,
    })
}

fn limit(row: &Row) -> Result<RecipientLimit> {
    Ok(RecipientLimit { domain: row.text(0)?, open_max: row.small(1)? })
}

impl std::fmt::Debug for DkimKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DkimKey")
            .field("domain", &self.domain)
            .field("selector", &self.selector)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}

pub(crate) async fn setup(tx: &mut Tx) -> Result<MailSetup> {
    let relays = relays::all(tx).await?;
    let rows = tx.query(&DOMAINS, &[]).await?;
    let domains = rows.iter().map(domain).collect::<Result<_>>()?;
    let keys = tx.query(&KEYS, &[]).await?.iter().map(key).collect::<Result<_>>()?;
    let limits = tx.query(&LIMITS, &[]).await?.iter().map(limit).collect::<Result<_>>()?;
    Ok(MailSetup { relays, domains, keys, limits })
}

pub(crate) async fn put(
    tx: &mut Tx,
    domain: &str,
    relay: Option<i32>,
    tracking_url: Option<&str>,
    at: Timestamp,
) -> Result<()> {
    tx.execute(&PUT_DOMAIN, crate::params![domain, relay, tracking_url, at]).await.map(drop)
}

/// Drops a sender's domain with its keys.
pub(crate) async fn remove(tx: &mut Tx, domain: &str) -> Result<bool> {
    tx.execute(&DROP_KEYS, crate::params![domain]).await?;
    Ok(tx.execute(&DROP_DOMAIN, crate::params![domain]).await? > 0)
}

pub(crate) async fn replace_limits(tx: &mut Tx, limits: &[RecipientLimit]) -> Result<()> {
    tx.execute(&DROP_LIMITS, &[]).await?;
    for limit in limits {
        tx.execute(&ADD_LIMIT, crate::params![&limit.domain, limit.open_max]).await?;
    }
    Ok(())
}

impl Workspace {
    /// Everything that decides how mail leaves.
    pub async fn mail_setup(&self) -> Result<MailSetup> {
        self.read(|tx| Box::pin(async move { setup(tx).await })).await
    }

    /// Sets what belongs to a sender's domain, which it makes if need be.
    pub async fn put_sender_domain(
        &self,
        domain: &str,
        relay: Option<i32>,
        tracking_url: Option<String>,
        at: Timestamp,
    ) -> Result<()> {
        let params = crate::params![domain, relay, tracking_url, at].to_vec();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { tx.execute(&PUT_DOMAIN, &params).await.map(|_| ()) })
        })
        .await
    }

    /// Drops a sender's domain with its keys; false where there is none.
    pub async fn drop_sender_domain(&self, domain: &str) -> Result<bool> {
        let domain = domain.to_owned();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { remove(tx, &domain).await })
        })
        .await
    }

    /// Keeps a key, and its domain if need be; a taken selector is a conflict. Gives the selector.
    pub async fn add_dkim_key(&self, key: DkimKey) -> Result<String> {
        let DkimKey { domain, selector, algorithm, public, secret, active, created_at } = key;
        let named = crate::params![&domain, created_at].to_vec();
        let taken = format!("{domain} has a key with the selector {selector}");
        let row = crate::params![domain, &selector, algorithm, public, secret, active, created_at];
        let row = row.to_vec();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                tx.execute(&NAME_DOMAIN, &named).await?;
                tx.execute(&ADD_KEY, &row).await.map(|_| selector)
            })
        })
        .await
        .map_err(|error| match error {
            Error::Conflict(_) => Error::Conflict(taken),
            other => other,
        })
    }

    /// Lets a key sign, or not; false where there is none.
    pub async fn switch_dkim_key(
        &self,
        domain: &str,
        selector: &str,
        active: bool,
    ) -> Result<bool> {
        let params = crate::params![domain, selector, active].to_vec();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { Ok(tx.execute(&SWITCH_KEY, &params).await? > 0) })
        })
        .await
    }

    /// Drops a key; false where there is none.
    pub async fn drop_dkim_key(&self, domain: &str, selector: &str) -> Result<bool> {
        let params = crate::params![domain, selector].to_vec();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { Ok(tx.execute(&DROP_KEY, &params).await? > 0) })
        })
        .await
    }

    /// Puts these limits in the place of all others.
    pub async fn put_recipient_limits(&self, limits: Vec<RecipientLimit>) -> Result<()> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { replace_limits(tx, &limits).await })
        })
        .await
    }
}
