//! What the system database knows of people beyond their names: roles of a workspace's own, who may
//! let others in, and the second factor of a sign-in.

use tidings_domain::{Timestamp, UserId, WorkspaceId};

use crate::engines::{Priority, Tx};
use crate::sql::{Row, Sql};
use crate::system::System;
use crate::{Error, Result};

/// A role of a workspace's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRole {
    pub name: String,
    pub scopes: Vec<String>,
    pub created_at: Timestamp,
    /// How many people have it.
    pub people: i64,
}

/// Somebody's second factor as it is kept: secrets are sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totp {
    pub secret: Option<Vec<u8>>,
    /// A secret that was shown and is not confirmed yet.
    pub pending: Option<Vec<u8>>,
    /// Recovery codes that are left.
    pub codes: i64,
}

static OWN_ROLES: Sql = Sql::reference(
    "own_roles",
    "select o.name, o.scopes, o.created_at,
       (select count(*) from {s}roles r where r.workspace_id = o.workspace_id and r.role = o.name)
     from {s}own_roles o where o.workspace_id = ?1 order by o.name",
);
static PUT_OWN_ROLE: Sql = Sql::reference(
    "put_own_role",
    "insert into {s}own_roles (workspace_id, name, scopes, created_at) values (?1, ?2, ?3, ?4)
     on conflict (workspace_id, name) do update set scopes = excluded.scopes",
);
static DROP_OWN_ROLE: Sql = Sql::reference(
    "drop_own_role",
    "delete from {s}own_roles where workspace_id = ?1 and name = ?2",
);
static USERS_WITH_ROLE: Sql = Sql::reference(
    "users_with_role",
    "select count(*) from {s}roles where workspace_id = ?1 and role = ?2",
);
/// Two who take each other's role away come one after the other.
static LOCK_ROLES: Sql = Sql::reference(
    "lock_roles",
    "update {s}workspaces set totp_required = totp_required where id = ?1",
);
static ROLES_HERE: Sql = Sql::reference(
    "roles_here",
    "select r.role, o.scopes from {s}roles r
     left join {s}own_roles o on o.workspace_id = r.workspace_id and o.name = r.role
     where r.workspace_id = ?1",
);
static PUT_ROLE: Sql = Sql::reference(
    "change_role",
    "update {s}roles set role = ?3 where user_id = ?1 and workspace_id = ?2",
);
static DROP_ROLE: Sql =
    Sql::reference("drop_role", "delete from {s}roles where user_id = ?1 and workspace_id = ?2");
static REQUIRE_TOTP: Sql =
    Sql::reference("require_totp", "update {s}workspaces set totp_required = ?2 where id = ?1");
static TOTP: Sql = Sql::reference(
    "totp_of",
    "select totp_secret, totp_pending,
       (select count(*) from {s}recovery_codes c where c.user_id = u.id)
     from {s}users u where u.id = ?1",
);
static PROPOSE_TOTP: Sql =
    Sql::reference("propose_totp", "update {s}users set totp_pending = ?2 where id = ?1");
static CONFIRM_TOTP: Sql = Sql::reference(
    "confirm_totp",
    "update {s}users set totp_secret = totp_pending, totp_pending = null, totp_step = ?3
     where id = ?1 and totp_pending = ?2",
);
static DROP_TOTP: Sql = Sql::reference(
    "drop_totp",
    "update {s}users set totp_secret = null, totp_pending = null, totp_step = 0 where id = ?1",
);
static TAKE_STEP: Sql = Sql::reference(
    "take_totp_step",
    "update {s}users set totp_step = ?2 where id = ?1 and totp_step < ?2",
);
static ADD_CODE: Sql = Sql::reference(
    "add_recovery_code",
    "insert into {s}recovery_codes (user_id, hash) values (?1, ?2)",
);
static TAKE_CODE: Sql = Sql::reference(
    "take_recovery_code",
    "delete from {s}recovery_codes where user_id = ?1 and hash = ?2",
);
static DROP_CODES: Sql =
    Sql::reference("drop_recovery_codes", "delete from {s}recovery_codes where user_id = ?1");
static DROP_SESSIONS: Sql =
    Sql::reference("drop_sessions_of", "delete from {s}sessions where user_id = ?1");

pub(crate) static SQL: &[&Sql] = &[
    &OWN_ROLES,
    &PUT_OWN_ROLE,
    &DROP_OWN_ROLE,
    &USERS_WITH_ROLE,
    &LOCK_ROLES,
    &ROLES_HERE,
    &PUT_ROLE,
    &DROP_ROLE,
    &REQUIRE_TOTP,
    &TOTP,
    &PROPOSE_TOTP,
    &CONFIRM_TOTP,
    &DROP_TOTP,
    &TAKE_STEP,
    &ADD_CODE,
    &TAKE_CODE,
    &DROP_CODES,
    &DROP_SESSIONS,
];

/// The scopes of a role as they are kept.
pub(crate) fn scopes(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn own_role(row: &Row) -> Result<OwnRole> {
    Ok(OwnRole {
        name: row.text(0)?,
        scopes: scopes(&row.text(1)?),
        created_at: row.time(2)?,
        people: row.int(3)?,
    })
}

/// How many people may let others in: by their role, or by one of the workspace's own.
async fn admins(tx: &mut Tx, workspace: WorkspaceId) -> Result<usize> {
    let mut count = 0;
    for row in tx.query(&ROLES_HERE, crate::params![workspace]).await? {
        let own = row.opt_text(1)?.unwrap_or_default();
        count +=
            usize::from(row.text(0)? == "admin" || scopes(&own).iter().any(|one| one == "admin"));
    }
    Ok(count)
}

/// Refuses what leaves nobody who may let others in, where there was somebody.
async fn keep_an_admin(tx: &mut Tx, workspace: WorkspaceId, before: usize) -> Result<()> {
    if before > 0 && admins(tx, workspace).await? == 0 {
        let text = "nobody would be left who may administer this workspace; its last admin stays";
        return Err(Error::Conflict(text.to_owned()));
    }
    Ok(())
}

impl System {
    /// The roles of a workspace's own, by name.
    pub async fn own_roles(&self, workspace: WorkspaceId) -> Result<Vec<OwnRole>> {
        self.rows(&OWN_ROLES, vec![workspace.into()]).await?.iter().map(own_role).collect()
    }

    /// Makes or changes a role of a workspace's own; a conflict where nobody could administer the
    /// workspace any more.
    pub async fn put_own_role(
        &self,
        workspace: WorkspaceId,
        name: &str,
        scopes: &[String],
        at: Timestamp,
    ) -> Result<()> {
        let params = crate::params![workspace, name, scopes.join(" "), at].to_vec();
        self.db
            .write(Priority::Interactive, move |tx: &mut Tx| {
                Box::pin(async move {
                    tx.execute(&LOCK_ROLES, crate::params![workspace]).await?;
                    let before = admins(tx, workspace).await?;
                    tx.execute(&PUT_OWN_ROLE, &params).await?;
                    keep_an_admin(tx, workspace, before).await
                })
            })
            .await
    }

    /// Drops a role that nobody has; false where there is no such role.
    pub async fn drop_own_role(&self, workspace: WorkspaceId, name: &str) -> Result<bool> {
        let name = name.to_owned();
        self.db
            .write(Priority::Interactive, move |tx: &mut Tx| {
                Box::pin(async move {
                    tx.execute(&LOCK_ROLES, crate::params![workspace]).await?;
                    let used = tx.first(&USERS_WITH_ROLE, crate::params![workspace, &name]).await?;
                    if used.map_or(Ok(0), |row| row.int(0))? > 0 {
                        return Err(Error::Conflict(format!("somebody has the role {name}")));
                    }
                    Ok(tx.execute(&DROP_OWN_ROLE, crate::params![workspace, &name]).await? > 0)
                })
            })
            .await
    }

    /// Changes somebody's role, or takes it away; false where they had none. A conflict where
    /// nobody could administer the workspace any more.
    pub async fn change_role(
        &self,
        user: UserId,
        workspace: WorkspaceId,
        role: Option<&str>,
    ) -> Result<bool> {
        let role = role.map(str::to_owned);
        self.db
            .write(Priority::Interactive, move |tx: &mut Tx| {
                Box::pin(async move {
                    tx.execute(&LOCK_ROLES, crate::params![workspace]).await?;
                    let before = admins(tx, workspace).await?;
                    let touched = match &role {
                        Some(role) => {
                            tx.execute(&PUT_ROLE, crate::params![user, workspace, role]).await?
                        }
                        None => tx.execute(&DROP_ROLE, crate::params![user, workspace]).await?,
                    };
                    keep_an_admin(tx, workspace, before).await?;
                    Ok(touched > 0)
                })
            })
            .await
    }

    /// Says whether people need a second factor in a workspace.
    pub async fn require_totp(&self, workspace: WorkspaceId, required: bool) -> Result<()> {
        self.change(&REQUIRE_TOTP, vec![workspace.into(), required.into()]).await.map(|_| ())
    }

    /// Somebody's second factor.
    pub async fn totp(&self, user: UserId) -> Result<Totp> {
        let rows = self.rows(&TOTP, vec![user.into()]).await?;
        let Some(row) = rows.first() else { return Ok(Totp::default()) };
        Ok(Totp { secret: row.opt_bytes(0)?, pending: row.opt_bytes(1)?, codes: row.int(2)? })
    }

    /// Keeps a sealed secret that is to be confirmed.
    pub async fn propose_totp(&self, user: UserId, sealed: Vec<u8>) -> Result<()> {
        self.change(&PROPOSE_TOTP, vec![user.into(), sealed.into()]).await.map(|_| ())
    }

    /// Puts a proposed secret to use, with the step of the code that confirmed it and new recovery
    /// codes; false where another secret was proposed meanwhile.
    pub async fn confirm_totp(
        &self,
        user: UserId,
        sealed: Vec<u8>,
        step: i64,
        codes: Vec<Vec<u8>>,
    ) -> Result<bool> {
        self.db
            .write(Priority::Interactive, move |tx: &mut Tx| {
                Box::pin(async move {
                    if tx.execute(&CONFIRM_TOTP, crate::params![user, sealed, step]).await? == 0 {
                        return Ok(false);
                    }
                    tx.execute(&DROP_CODES, crate::params![user]).await?;
                    for code in codes {
                        tx.execute(&ADD_CODE, crate::params![user, code]).await?;
                    }
                    Ok(true)
                })
            })
            .await
    }

    /// Forgets somebody's second factor and signs them out everywhere.
    pub async fn drop_totp(&self, user: UserId, keep_sessions: bool) -> Result<()> {
        self.db
            .write(Priority::Interactive, move |tx: &mut Tx| {
                Box::pin(async move {
                    tx.execute(&DROP_TOTP, crate::params![user]).await?;
                    tx.execute(&DROP_CODES, crate::params![user]).await?;
                    if !keep_sessions {
                        tx.execute(&DROP_SESSIONS, crate::params![user]).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Uses a time step up; false where it, or a later one, was used before.
    pub async fn take_totp_step(&self, user: UserId, step: i64) -> Result<bool> {
        Ok(self.change(&TAKE_STEP, vec![user.into(), step.into()]).await? > 0)
    }

    /// Uses a recovery code up; false where there is no such code.
    pub async fn take_recovery_code(&self, user: UserId, hash: Vec<u8>) -> Result<bool> {
        Ok(self.change(&TAKE_CODE, vec![user.into(), hash.into()]).await? > 0)
    }
}
