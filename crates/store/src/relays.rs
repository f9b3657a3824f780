//! Relays: the servers that a workspace's mail is handed to. There are a handful at most, so they
//! are read as a whole.

use tidings_domain::{RelayId, Timestamp};

use crate::engines::{Priority, Tx};
use crate::sql::{Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// A relay as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Relay {
    pub id: RelayId,
    pub number: i32,
    pub settings: RelaySettings,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a user decides about a relay.
#[derive(Clone, PartialEq, Eq)]
pub struct RelaySettings {
    pub name: String,
    /// Without name and password.
    pub url: String,
    pub username: Option<String>,
    /// The password, sealed; this crate cannot read it.
    pub secret: Option<Vec<u8>>,
    /// Messages a second that it is given at most.
    pub per_second: Option<i32>,
    /// Messages that may be on their way to it at once.
    pub open_max: i32,
    /// Its share of what no sender domain assigns; 0 means that it gets assigned mail only.
    pub weight: i32,
    pub enabled: bool,
}

static ADD: Sql = Sql::reference(
    "add_relay",
    "insert into {s}relays (number, id, name, url, username, secret, per_second, open_max, weight,
       enabled, created_at, updated_at)
     select coalesce(?11, max(number) + 1, 1), ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10
     from {s}relays where true",
);
static CHANGE: Sql = Sql::reference(
    "change_relay",
    "update {s}relays set name = ?2, url = ?3, username = ?4, secret = ?5, per_second = ?6,
       open_max = ?7, weight = ?8, enabled = ?9, updated_at = ?10
     where id = ?1",
);
static UNASSIGN: Sql = Sql::reference(
    "unassign_relay",
    "update {s}sender_domains set relay_number = null
     where relay_number = (select number from {s}relays where id = ?1)",
);
static DROP: Sql = Sql::reference("drop_relay", "delete from {s}relays where id = ?1");
static ALL: Sql = Sql::reference(
    "relays",
    "select id, number, name, url, username, secret, per_second, open_max, weight, enabled,
       created_at, updated_at
     from {s}relays order by number",
);

pub(crate) static SQL: &[&Sql] = &[&ADD, &CHANGE, &UNASSIGN, &DROP, &ALL];

fn relay(row: &Row) -> Result<Relay> {
    Ok(Relay {
        id: RelayId(row.uuid(0)?),
        number: row.small(1)?,
        settings: RelaySettings {
            name: row.text(2)?,
            url: row.text(3)?,
            username: row.opt_text(4)?,
            secret: if row.is_null(5) { None } else { Some(row.bytes(5)?) },
            per_second: if row.is_null(6) { None } else { Some(row.small(6)?) },
            open_max: row.small(7)?,
            weight: row.small(8)?,
            enabled: row.bool(9)?,
        },
        created_at: row.time(10)?,
        updated_at: row.time(11)?,
    })
}

impl std::fmt::Debug for RelaySettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelaySettings")
            .field("name", &self.name)
            .field("signs_in", &self.username.is_some())
            .field("weight", &self.weight)
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay")
            .field("number", &self.number)
            .field("settings", &self.settings)
            .finish()
    }
}

pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<Relay>> {
    tx.query(&ALL, &[]).await?.iter().map(relay).collect()
}

fn params(id: RelayId, settings: &RelaySettings, at: Timestamp) -> Vec<crate::sql::Param> {
    crate::params![
        id,
        &settings.name,
        &settings.url,
        settings.username.clone(),
        settings.secret.clone(),
        settings.per_second,
        settings.open_max,
        settings.weight,
        settings.enabled,
        at
    ]
    .to_vec()
}

/// Adds a relay, with a number that is known to be free or the next one.
pub(crate) async fn add(
    tx: &mut Tx,
    id: RelayId,
    number: Option<i32>,
    settings: &RelaySettings,
    at: Timestamp,
) -> Result<()> {
    let mut row = params(id, settings, at);
    row.push(number.into());
    tx.execute(&ADD, &row).await.map(drop)
}

pub(crate) async fn put(
    tx: &mut Tx,
    id: RelayId,
    settings: &RelaySettings,
    at: Timestamp,
) -> Result<bool> {
    Ok(tx.execute(&CHANGE, &params(id, settings, at)).await? > 0)
}

pub(crate) async fn remove(tx: &mut Tx, id: RelayId) -> Result<bool> {
    tx.execute(&UNASSIGN, crate::params![id]).await?;
    Ok(tx.execute(&DROP, crate::params![id]).await? > 0)
}

fn taken(name: &str) -> impl Fn(Error) -> Error + '_ {
    move |error| match error {
        Error::Conflict(_) => Error::Conflict(format!("a relay named {name} exists")),
        other => other,
    }
}

impl Workspace {
    /// Adds a relay; a taken name is a conflict.
    pub async fn add_relay(&self, settings: RelaySettings, at: Timestamp) -> Result<RelayId> {
        let id = RelayId::generate();
        let name = settings.name.clone();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { add(tx, id, None, &settings, at).await.map(|()| id) })
        })
        .await
        .map_err(taken(&name))
    }

    /// Changes a relay; false where there is none.
    pub async fn change_relay(
        &self,
        id: RelayId,
        settings: RelaySettings,
        at: Timestamp,
    ) -> Result<bool> {
        let name = settings.name.clone();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { put(tx, id, &settings, at).await })
        })
        .await
        .map_err(taken(&name))
    }

    /// Drops a relay; sender domains that were assigned to it are so no more. False where there is
    /// none.
    pub async fn drop_relay(&self, id: RelayId) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { remove(tx, id).await })
        })
        .await
    }
}
