//! Every secret that is kept sealed, wherever it is kept, so that all of them can be sealed under
//! another key. This crate cannot open any.

use tidings_domain::{RelayId, UserId};

use crate::Result;
use crate::engines::Priority;
use crate::sql::{Row, Sql};
use crate::system::System;
use crate::workspace::Workspace;

/// Where a sealed secret is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// What the hub signs links with.
    Root,
    /// Somebody's second factor.
    Totp(UserId),
    /// One that is not confirmed yet.
    PendingTotp(UserId),
    /// A relay's password.
    Relay(RelayId),
    /// The private half of a key that signs mail.
    Dkim { domain: String, selector: String },
}

/// A secret as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    pub kept: Kept,
    pub bytes: Vec<u8>,
}

static ROOT: Sql = Sql::reference("root", "select value from {s}settings where key = 'root'");
/// Two nodes that start at once agree on one.
static ADD_ROOT: Sql = Sql::reference(
    "add_root",
    "insert into {s}settings (key, value) values ('root', ?1) on conflict (key) do nothing",
);
static DROP_ROOT: Sql = Sql::reference("drop_root", "delete from {s}settings where key = 'root'");
static CHANGE_ROOT: Sql = Sql::reference(
    "change_root",
    "update {s}settings set value = ?2 where key = 'root' and value = ?1",
);
static SEALED_TOTP: Sql = Sql::reference(
    "sealed_totp",
    "select id, totp_secret, totp_pending from {s}users
     where totp_secret is not null or totp_pending is not null order by id",
);
static CHANGE_TOTP: Sql = Sql::reference(
    "change_sealed_totp",
    "update {s}users set totp_secret = ?3 where id = ?1 and totp_secret = ?2",
);
static CHANGE_PENDING: Sql = Sql::reference(
    "change_pending_totp",
    "update {s}users set totp_pending = ?3 where id = ?1 and totp_pending = ?2",
);
static CHANGE_RELAY: Sql = Sql::reference(
    "change_sealed_relay",
    "update {s}relays set secret = ?3 where id = ?1 and secret = ?2",
);
static CHANGE_DKIM: Sql = Sql::reference(
    "change_sealed_dkim",
    "update {s}dkim_keys set secret = ?4 where domain = ?1 and selector = ?2 and secret = ?3",
);

/// Those over the system database.
pub(crate) static SYSTEM_SQL: &[&Sql] =
    &[&ROOT, &ADD_ROOT, &DROP_ROOT, &CHANGE_ROOT, &SEALED_TOTP, &CHANGE_TOTP, &CHANGE_PENDING];
pub(crate) static SQL: &[&Sql] = &[&CHANGE_RELAY, &CHANGE_DKIM];

fn root(row: &Row) -> Result<Vec<u8>> {
    let text = row.text(0)?;
    let bytes = crate::hex::unhex(&text);
    bytes.ok_or_else(|| crate::Error::Corrupt("the setting root is no hexadecimal text".to_owned()))
}

impl System {
    /// What the hub signs links with, sealed; `None` before its first start.
    pub async fn root(&self) -> Result<Option<Vec<u8>>> {
        self.rows(&ROOT, Vec::new()).await?.first().map(root).transpose()
    }

    /// Keeps it unless one is kept already.
    pub async fn add_root(&self, sealed: &[u8]) -> Result<()> {
        self.change(&ADD_ROOT, vec![crate::hex::hex(sealed).into()]).await.map(|_| ())
    }

    /// Forgets it, because nobody can open it.
    pub async fn drop_root(&self) -> Result<()> {
        self.change(&DROP_ROOT, Vec::new()).await.map(|_| ())
    }

    /// The secrets of the hub and of its people.
    pub async fn sealed(&self) -> Result<Vec<Sealed>> {
        let mut found = Vec::new();
        if let Some(bytes) = self.root().await? {
            found.push(Sealed { kept: Kept::Root, bytes });
        }
        for row in self.rows(&SEALED_TOTP, Vec::new()).await? {
            let user = UserId(row.uuid(0)?);
            if let Some(bytes) = row.opt_bytes(1)? {
                found.push(Sealed { kept: Kept::Totp(user), bytes });
            }
            if let Some(bytes) = row.opt_bytes(2)? {
                found.push(Sealed { kept: Kept::PendingTotp(user), bytes });
            }
        }
        Ok(found)
    }

    /// Keeps a secret as it is sealed now; false where it is another one by now.
    pub async fn reseal(&self, old: &Sealed, new: Vec<u8>) -> Result<bool> {
        let before = old.bytes.clone();
        let changed = match &old.kept {
            Kept::Root => {
                let (before, new) = (crate::hex::hex(&before), crate::hex::hex(&new));
                self.change(&CHANGE_ROOT, vec![before.into(), new.into()]).await?
            }
            Kept::Totp(user) => {
                let params = vec![(*user).into(), before.into(), new.into()];
                self.change(&CHANGE_TOTP, params).await?
            }
            Kept::PendingTotp(user) => {
                let params = vec![(*user).into(), before.into(), new.into()];
                self.change(&CHANGE_PENDING, params).await?
            }
            Kept::Relay(_) | Kept::Dkim { .. } => 0,
        };
        Ok(changed > 0)
    }
}

impl Workspace {
    /// The secrets of a workspace.
    pub async fn sealed(&self) -> Result<Vec<Sealed>> {
        let setup = self.mail_setup().await?;
        let mut found = Vec::new();
        for relay in setup.relays {
            if let Some(bytes) = relay.settings.secret {
                found.push(Sealed { kept: Kept::Relay(relay.id), bytes });
            }
        }
        for key in setup.keys {
            let kept = Kept::Dkim { domain: key.domain, selector: key.selector };
            found.push(Sealed { kept, bytes: key.secret });
        }
        Ok(found)
    }

    /// Keeps a secret as it is sealed now; false where it is another one by now.
    pub async fn reseal(&self, old: &Sealed, new: Vec<u8>) -> Result<bool> {
        let before = old.bytes.clone();
        let (sql, params) = match &old.kept {
            Kept::Relay(id) => (&CHANGE_RELAY, crate::params![*id, before, new].to_vec()),
            Kept::Dkim { domain, selector } => {
                (&CHANGE_DKIM, crate::params![domain, selector, before, new].to_vec())
            }
            Kept::Root | Kept::Totp(_) | Kept::PendingTotp(_) => return Ok(false),
        };
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move { Ok(tx.execute(sql, &params).await? > 0) })
        })
        .await
    }
}
