//! The small system database: workspaces, people, tokens, sessions, nodes.

use futures::future::BoxFuture;
use tidings_domain::{NodeId, Timestamp, TokenId, UserId, WorkspaceId};

use crate::engines::{Db, Priority, Tx};
use crate::sql::{Dialect, Row, Sql};
use crate::{Error, Result};

/// A workspace's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspaceRow {
    pub number: i32,
    pub id: WorkspaceId,
    pub slug: String,
    pub name: String,
    pub time_zone: String,
    pub partitioned: bool,
    /// Whether people need a code beside their password here.
    pub totp_required: bool,
}

/// Someone who signs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    pub id: UserId,
    pub mail: String,
    pub name: String,
    pub password_hash: String,
    /// Whether they sign in with a code beside the password.
    pub totp: bool,
}

/// Somebody's role in a workspace as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRow {
    pub name: String,
    /// Of a role of the workspace's own.
    pub scopes: Option<Vec<String>>,
}

/// A token as it is kept: never the token itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    pub id: TokenId,
    pub workspace: WorkspaceId,
    pub name: String,
    pub scopes: Vec<String>,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
}

/// A signed-in browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    pub user: UserId,
    pub csrf: String,
    pub seen_at: Timestamp,
    pub expires_at: Timestamp,
}

pub struct System {
    pub(crate) db: Db,
}

static WORKSPACES: Sql = Sql::reference(
    "workspaces",
    "select number, id, slug, name, time_zone, partitioned, totp_required
     from {s}workspaces order by number",
);
/// A program at work on this database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub id: NodeId,
    /// When it last said that it is alive, by its own clock.
    pub seen_at: Timestamp,
    /// Whether other nodes can read the files that it keeps.
    pub files_shared: bool,
    /// The master key that it seals with.
    pub key_id: Option<String>,
}

static ADD_WORKSPACE: Sql = Sql::reference(
    "add_workspace",
    "insert into {s}workspaces (number, id, slug, name, time_zone, partitioned, created_at)
     select coalesce(max(number), 0) + 1, ?1, ?2, ?3, ?4, ?5, ?6 from {s}workspaces where true
     returning number",
);
static USER_BY_MAIL: Sql = Sql::reference(
    "user_by_mail",
    "select id, mail, name, password_hash, totp_secret is not null from {s}users where mail = ?1",
);
static USER_BY_ID: Sql = Sql::reference(
    "user_by_id",
    "select id, mail, name, password_hash, totp_secret is not null from {s}users where id = ?1",
);
static ADD_USER: Sql = Sql::reference(
    "add_user",
    "insert into {s}users (id, mail, name, password_hash, created_at)
     values (?1, ?2, ?3, ?4, ?5)",
);
static PUT_ROLE: Sql = Sql::reference(
    "put_role",
    "insert into {s}roles (user_id, workspace_id, role) values (?1, ?2, ?3)
     on conflict (user_id, workspace_id) do update set role = excluded.role",
);
static ROLES_OF: Sql = Sql::reference(
    "roles_of",
    "select w.number, w.id, w.slug, w.name, w.time_zone, w.partitioned, w.totp_required,
       r.role, o.scopes
     from {s}roles r join {s}workspaces w on w.id = r.workspace_id
     left join {s}own_roles o on o.workspace_id = r.workspace_id and o.name = r.role
     where r.user_id = ?1 order by w.number",
);
static USERS_OF: Sql = Sql::reference(
    "users_of",
    "select u.id, u.mail, u.name, u.password_hash, u.totp_secret is not null, r.role, o.scopes
     from {s}roles r join {s}users u on u.id = r.user_id
     left join {s}own_roles o on o.workspace_id = r.workspace_id and o.name = r.role
     where r.workspace_id = ?1 order by u.mail",
);
static ADD_TOKEN: Sql = Sql::reference(
    "add_token",
    "insert into {s}tokens (id, workspace_id, name, hash, scopes, created_at)
     values (?1, ?2, ?3, ?4, ?5, ?6)",
);
static TOKEN_BY_HASH: Sql = Sql::reference(
    "token_by_hash",
    "select id, workspace_id, name, scopes, created_at, last_used_at
     from {s}tokens where hash = ?1",
);
static TOKENS_OF: Sql = Sql::reference(
    "tokens_of",
    "select id, workspace_id, name, scopes, created_at, last_used_at
     from {s}tokens where workspace_id = ?1 order by created_at",
);
static TOUCH_TOKEN: Sql =
    Sql::reference("touch_token", "update {s}tokens set last_used_at = ?2 where id = ?1");
static DROP_TOKEN: Sql =
    Sql::reference("drop_token", "delete from {s}tokens where id = ?1 and workspace_id = ?2");
static ADD_SESSION: Sql = Sql::reference(
    "add_session",
    "insert into {s}sessions (hash, user_id, csrf, created_at, seen_at, expires_at)
     values (?1, ?2, ?3, ?4, ?4, ?5)",
);
static SESSION_BY_HASH: Sql = Sql::reference(
    "session_by_hash",
    "select user_id, csrf, seen_at, expires_at from {s}sessions where hash = ?1",
);
static TOUCH_SESSION: Sql =
    Sql::reference("touch_session", "update {s}sessions set seen_at = ?2 where hash = ?1");
static DROP_SESSION: Sql =
    Sql::reference("drop_session", "delete from {s}sessions where hash = ?1");
static DROP_OLD_SESSIONS: Sql =
    Sql::reference("drop_old_sessions", "delete from {s}sessions where expires_at <= ?1");
static NODE_SEEN: Sql = Sql::reference(
    "node_seen",
    "insert into {s}nodes (id, started_at, seen_at, files_shared, key_id)
     values (?1, ?2, ?2, ?3, ?4)
     on conflict (id) do update set seen_at = excluded.seen_at, key_id = excluded.key_id",
);
static NODES: Sql = Sql::reference(
    "nodes",
    "select id, seen_at, files_shared, key_id from {s}nodes order by started_at",
);
/// Everybody who may write counts themselves first.
static OPENED: Sql = Sql::reference(
    "opened",
    "insert into {s}settings as t (key, value) values ('opened', '1')
     on conflict (key) do update set value = cast(cast(t.value as bigint) + 1 as text)",
);
static NODE_GONE: Sql = Sql::reference("node_gone", "delete from {s}nodes where id = ?1");
static SETTING: Sql = Sql::reference("setting", "select value from {s}settings where key = ?1");
pub(crate) static PUT_SETTING: Sql = Sql::reference(
    "put_setting",
    "insert into {s}settings (key, value) values (?1, ?2)
     on conflict (key) do update set value = excluded.value",
);

pub(crate) static SQL: &[&Sql] = &[
    &WORKSPACES,
    &ADD_WORKSPACE,
    &USER_BY_MAIL,
    &USER_BY_ID,
    &ADD_USER,
    &PUT_ROLE,
    &ROLES_OF,
    &USERS_OF,
    &ADD_TOKEN,
    &TOKEN_BY_HASH,
    &TOKENS_OF,
    &TOUCH_TOKEN,
    &DROP_TOKEN,
    &ADD_SESSION,
    &SESSION_BY_HASH,
    &TOUCH_SESSION,
    &DROP_SESSION,
    &DROP_OLD_SESSIONS,
    &NODE_SEEN,
    &NODES,
    &NODE_GONE,
    &OPENED,
    &SETTING,
    &PUT_SETTING,
];

fn workspace(row: &Row) -> Result<WorkspaceRow> {
    Ok(WorkspaceRow {
        number: row.small(0)?,
        id: WorkspaceId(row.uuid(1)?),
        slug: row.text(2)?,
        name: row.text(3)?,
        time_zone: row.text(4)?,
        partitioned: row.bool(5)?,
        totp_required: row.bool(6)?,
    })
}

fn role(row: &Row, at: usize) -> Result<RoleRow> {
    let scopes = row.opt_text(at + 1)?;
    Ok(RoleRow { name: row.text(at)?, scopes: scopes.as_deref().map(crate::people::scopes) })
}

fn user(row: &Row) -> Result<UserRow> {
    Ok(UserRow {
        id: UserId(row.uuid(0)?),
        mail: row.text(1)?,
        name: row.text(2)?,
        password_hash: row.text(3)?,
        totp: row.bool(4)?,
    })
}

fn token(row: &Row) -> Result<TokenRow> {
    Ok(TokenRow {
        id: TokenId(row.uuid(0)?),
        workspace: WorkspaceId(row.uuid(1)?),
        name: row.text(2)?,
        scopes: crate::people::scopes(&row.text(3)?),
        created_at: row.time(4)?,
        last_used_at: row.opt_time(5)?,
    })
}

impl System {
    pub(crate) async fn open(db: Db) -> Result<System> {
        db.write(Priority::Interactive, |tx| {
            Box::pin(async move {
                crate::migrate::migrate(tx, crate::migrate::SYSTEM).await?;
                // SQLite tells by itself whether another program has written a file.
                if tx.dialect() == Dialect::Postgres {
                    tx.execute(&OPENED, &[]).await?;
                }
                Ok(())
            })
        })
        .await?;
        Ok(System { db })
    }

    pub(crate) fn rows(
        &self,
        sql: &'static Sql,
        params: Vec<crate::sql::Param>,
    ) -> BoxFuture<'_, Result<Vec<Row>>> {
        Box::pin(async move {
            self.db.read(move |tx| Box::pin(async move { tx.query(sql, &params).await })).await
        })
    }

    pub(crate) fn change(
        &self,
        sql: &'static Sql,
        params: Vec<crate::sql::Param>,
    ) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            self.db
                .write(Priority::Interactive, move |tx: &mut Tx| {
                    Box::pin(async move { tx.execute(sql, &params).await })
                })
                .await
        })
    }

    pub async fn workspaces(&self) -> Result<Vec<WorkspaceRow>> {
        self.rows(&WORKSPACES, vec![]).await?.iter().map(workspace).collect()
    }

    /// Adds a workspace's entry; a taken slug is a conflict.
    pub async fn add_workspace(
        &self,
        slug: &str,
        name: &str,
        time_zone: &str,
        partitioned: bool,
        at: Timestamp,
    ) -> Result<WorkspaceRow> {
        let id = WorkspaceId::generate();
        let params = crate::params![id, slug, name, time_zone, partitioned, at].to_vec();
        let row = self
            .db
            .write(Priority::Interactive, move |tx: &mut Tx| {
                Box::pin(async move { tx.first(&ADD_WORKSPACE, &params).await })
            })
            .await?
            .ok_or_else(|| Error::Corrupt("no number for a workspace".into()))?;
        Ok(WorkspaceRow {
            number: row.small(0)?,
            id,
            slug: slug.to_owned(),
            name: name.to_owned(),
            time_zone: time_zone.to_owned(),
            partitioned,
            totp_required: false,
        })
    }

    pub async fn user_by_mail(&self, mail: &str) -> Result<Option<UserRow>> {
        self.rows(&USER_BY_MAIL, vec![mail.into()]).await?.first().map(user).transpose()
    }

    pub async fn user(&self, id: UserId) -> Result<Option<UserRow>> {
        self.rows(&USER_BY_ID, vec![id.into()]).await?.first().map(user).transpose()
    }

    pub async fn add_user(&self, user: &UserRow, at: Timestamp) -> Result<()> {
        let params = crate::params![user.id, &user.mail, &user.name, &user.password_hash, at];
        self.change(&ADD_USER, params.to_vec()).await.map(|_| ())
    }

    pub async fn put_role(&self, user: UserId, workspace: WorkspaceId, role: &str) -> Result<()> {
        let params = crate::params![user, workspace, role].to_vec();
        self.change(&PUT_ROLE, params).await.map(|_| ())
    }

    /// The workspaces of a user, with the role in each.
    pub async fn roles_of(&self, user: UserId) -> Result<Vec<(WorkspaceRow, RoleRow)>> {
        let rows = self.rows(&ROLES_OF, vec![user.into()]).await?;
        rows.iter().map(|row| Ok((workspace(row)?, role(row, 7)?))).collect()
    }

    /// The users of a workspace, with their roles.
    pub async fn users_of(&self, workspace: WorkspaceId) -> Result<Vec<(UserRow, RoleRow)>> {
        let rows = self.rows(&USERS_OF, vec![workspace.into()]).await?;
        rows.iter().map(|row| Ok((user(row)?, role(row, 5)?))).collect()
    }

    pub async fn add_token(&self, token: &TokenRow, hash: Vec<u8>) -> Result<()> {
        let params = crate::params![
            token.id,
            token.workspace,
            &token.name,
            hash,
            token.scopes.join(" "),
            token.created_at
        ];
        self.change(&ADD_TOKEN, params.to_vec()).await.map(|_| ())
    }

    pub async fn token_by_hash(&self, hash: Vec<u8>) -> Result<Option<TokenRow>> {
        self.rows(&TOKEN_BY_HASH, vec![hash.into()]).await?.first().map(token).transpose()
    }

    pub async fn tokens_of(&self, workspace: WorkspaceId) -> Result<Vec<TokenRow>> {
        self.rows(&TOKENS_OF, vec![workspace.into()]).await?.iter().map(token).collect()
    }

    pub async fn touch_token(&self, id: TokenId, at: Timestamp) -> Result<()> {
        self.change(&TOUCH_TOKEN, vec![id.into(), at.into()]).await.map(|_| ())
    }

    pub async fn drop_token(&self, id: TokenId, workspace: WorkspaceId) -> Result<bool> {
        Ok(self.change(&DROP_TOKEN, vec![id.into(), workspace.into()]).await? > 0)
    }

    pub async fn add_session(
        &self,
        hash: Vec<u8>,
        user: UserId,
        csrf: &str,
        at: Timestamp,
        expires_at: Timestamp,
    ) -> Result<()> {
        self.change(&DROP_OLD_SESSIONS, vec![at.into()]).await?;
        let params = crate::params![hash, user, csrf, at, expires_at].to_vec();
        self.change(&ADD_SESSION, params).await.map(|_| ())
    }

    pub async fn session_by_hash(&self, hash: Vec<u8>) -> Result<Option<SessionRow>> {
        let rows = self.rows(&SESSION_BY_HASH, vec![hash.into()]).await?;
        let session = |row: &Row| {
            Ok(SessionRow {
                user: UserId(row.uuid(0)?),
                csrf: row.text(1)?,
                seen_at: row.time(2)?,
                expires_at: row.time(3)?,
            })
        };
        rows.first().map(session).transpose()
    }

    pub async fn touch_session(&self, hash: Vec<u8>, at: Timestamp) -> Result<()> {
        self.change(&TOUCH_SESSION, vec![hash.into(), at.into()]).await.map(|_| ())
    }

    pub async fn drop_session(&self, hash: Vec<u8>) -> Result<()> {
        self.change(&DROP_SESSION, vec![hash.into()]).await.map(|_| ())
    }

    /// Says that a node is alive and which master key it seals with, and at first also whether it
    /// shares its files.
    pub async fn node_seen(
        &self,
        node: NodeId,
        at: Timestamp,
        files_shared: bool,
        key_id: &str,
    ) -> Result<()> {
        let params = vec![node.into(), at.into(), files_shared.into(), key_id.into()];
        self.change(&NODE_SEEN, params).await.map(|_| ())
    }

    pub async fn node_gone(&self, node: NodeId) -> Result<()> {
        self.change(&NODE_GONE, vec![node.into()]).await.map(|_| ())
    }

    /// The nodes that have signed on and not off, living or not, the oldest first.
    pub async fn nodes(&self) -> Result<Vec<Node>> {
        let rows = self.rows(&NODES, Vec::new()).await?;
        rows.iter()
            .map(|row| {
                Ok(Node {
                    id: NodeId(row.uuid(0)?),
                    seen_at: row.time(1)?,
                    files_shared: row.bool(2)?,
                    key_id: row.opt_text(3)?,
                })
            })
            .collect()
    }

    pub async fn setting(&self, key: &str) -> Result<Option<String>> {
        self.rows(&SETTING, vec![key.into()]).await?.first().map(|row| row.text(0)).transpose()
    }

    pub async fn put_setting(&self, key: &str, value: &str) -> Result<()> {
        self.change(&PUT_SETTING, vec![key.into(), value.into()]).await.map(|_| ())
    }
}
