//! Blocks: named snippets that templates include, and their versions. A version never changes once
//! it is written, so a campaign sends the text that stood when it began.

use tidings_domain::{BlockId, Timestamp};

use crate::customers::Page;
use crate::engines::{Priority, Tx};
use crate::sql::{Row, Sql};
use crate::templates::{Version, version};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// A block at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub id: BlockId,
    pub number: i32,
    pub name: String,
    pub version: i32,
    pub body: String,
    pub updated_at: Timestamp,
}

static ADD: Sql = Sql::reference(
    "add_block",
    "insert into {s}blocks (number, id, name, version, created_at, updated_at)
     select coalesce(?4, max(number) + 1, 1), ?1, ?2, 1, ?3, ?3 from {s}blocks where true
     returning number",
);
static ADD_VERSION: Sql = Sql::reference(
    "add_block_version",
    "insert into {s}block_versions (block_number, version, body, created_at)
     values (?1, ?2, ?3, ?4)",
);
static NEW_VERSION: Sql = Sql::reference(
    "new_block_version",
    "update {s}blocks set version = version + 1, updated_at = ?2 where id = ?1
     returning number, version",
);
static GET: Sql = Sql::reference(
    "block",
    "select b.id, b.number, b.name, v.version, v.body, b.updated_at
     from {s}blocks b join {s}block_versions v on v.block_number = b.number and v.version = b.version
     where b.id = ?1",
);
static GET_VERSION: Sql = Sql::reference(
    "block_at_version",
    "select b.id, b.number, b.name, v.version, v.body, b.updated_at
     from {s}blocks b join {s}block_versions v on v.block_number = b.number
     where b.id = ?1 and v.version = ?2",
);
/// The newest version that stood at a time; the first one where the block is younger.
static NAMED: Sql = Sql::reference(
    "block_named",
    "select b.id, b.number, b.name, v.version, v.body, b.updated_at
     from {s}blocks b join {s}block_versions v on v.block_number = b.number
     where b.name = ?1 and v.version = coalesce(
       (select max(w.version) from {s}block_versions w
        where w.block_number = b.number and w.created_at <= ?2), 1)",
);
static LIST: Sql = Sql::reference(
    "blocks",
    "select b.id, b.number, b.name, v.version, v.body, b.updated_at
     from {s}blocks b join {s}block_versions v on v.block_number = b.number and v.version = b.version
     where b.number > ?1 order by b.number limit ?2",
);
static VERSIONS: Sql = Sql::reference(
    "block_versions",
    "select v.version, v.created_at
     from {s}block_versions v join {s}blocks b on b.number = v.block_number
     where b.id = ?1 and v.version < ?2 order by v.version desc limit ?3",
);
static DROP_VERSIONS: Sql = Sql::reference(
    "drop_block_versions",
    "delete from {s}block_versions where block_number = (select number from {s}blocks where id = ?1)",
);
static DROP: Sql = Sql::reference("drop_block", "delete from {s}blocks where id = ?1");

pub(crate) static SQL: &[&Sql] = &[
    &ADD,
    &ADD_VERSION,
    &NEW_VERSION,
    &GET,
    &GET_VERSION,
    &NAMED,
    &LIST,
    &VERSIONS,
    &DROP_VERSIONS,
    &DROP,
];

fn block(row: &Row) -> Result<Block> {
    Ok(Block {
        id: BlockId(row.uuid(0)?),
        number: row.small(1)?,
        name: row.text(2)?,
        version: row.small(3)?,
        body: row.text(4)?,
        updated_at: row.time(5)?,
    })
}

/// Every block at its newest version.
pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<Block>> {
    tx.query(&LIST, crate::params![0, i64::MAX]).await?.iter().map(block).collect()
}

/// Adds a block at version 1, with a number that is known to be free or the next one.
pub(crate) async fn add(
    tx: &mut Tx,
    id: BlockId,
    number: Option<i32>,
    (name, body): (&str, &str),
    at: Timestamp,
) -> Result<()> {
    let row = tx.first(&ADD, crate::params![id, name, at, number]).await?;
    let row = row.ok_or_else(|| Error::Corrupt("no number for a block".into()))?;
    tx.execute(&ADD_VERSION, crate::params![row.int(0)?, 1_i32, body, at]).await.map(drop)
}

/// Writes a new version; `None` where there is no such block.
pub(crate) async fn put(
    tx: &mut Tx,
    id: BlockId,
    body: &str,
    at: Timestamp,
) -> Result<Option<i32>> {
    let row = tx.first(&NEW_VERSION, crate::params![id, at]).await?;
    let Some(row) = row else { return Ok(None) };
    let version: i32 = row.small(1)?;
    tx.execute(&ADD_VERSION, crate::params![row.int(0)?, version, body, at]).await?;
    Ok(Some(version))
}

/// Drops a block; false where there is none.
pub(crate) async fn remove(tx: &mut Tx, id: BlockId) -> Result<bool> {
    tx.execute(&DROP_VERSIONS, crate::params![id]).await?;
    Ok(tx.execute(&DROP, crate::params![id]).await? > 0)
}

impl Workspace {
    /// Adds a block at version 1; a taken name is a conflict.
    pub async fn add_block(&self, name: &str, body: &str, at: Timestamp) -> Result<BlockId> {
        let id = BlockId::generate();
        let (name, body) = (name.to_owned(), body.to_owned());
        let taken = format!("a block named {name} exists");
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { add(tx, id, None, (&name, &body), at).await.map(|()| id) })
        })
        .await
        .map_err(|error| match error {
            Error::Conflict(_) => Error::Conflict(taken),
            other => other,
        })
    }

    /// Writes a new version of a block; `None` where there is no such block. Its name stays, because
    /// templates call it by that.
    pub async fn put_block(&self, id: BlockId, body: &str, at: Timestamp) -> Result<Option<i32>> {
        let body = body.to_owned();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { put(tx, id, &body, at).await })
        })
        .await
    }

    pub async fn block(&self, id: BlockId) -> Result<Option<Block>> {
        self.find(&GET, crate::params![id], block).await
    }

    pub async fn block_at(&self, id: BlockId, version: i32) -> Result<Option<Block>> {
        self.find(&GET_VERSION, crate::params![id, version], block).await
    }

    /// A block by its name, as it stood at a time.
    pub async fn block_named(&self, name: &str, at: Timestamp) -> Result<Option<Block>> {
        let name = name.to_owned();
        self.find(&NAMED, crate::params![&name, at], block).await
    }

    /// A page of blocks at their newest versions.
    pub async fn blocks(&self, after: i32, limit: usize) -> Result<Page<Block, i32>> {
        self.find_page(&LIST, crate::params![after], limit, block, |one| one.number).await
    }

    /// The versions of a block, newest first; `before` is the last one of the page before.
    pub async fn block_versions(
        &self,
        id: BlockId,
        before: i32,
        limit: usize,
    ) -> Result<Page<Version, i32>> {
        self.find_page(&VERSIONS, crate::params![id, before], limit, version, |one| one.version)
            .await
    }

    /// Drops a block; false where there is none. That nothing includes it is for the caller to see.
    pub async fn drop_block(&self, id: BlockId) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { remove(tx, id).await })
        })
        .await
    }
}
