//! The bare SQLite engine filling the hub's own tables: prepared statements in a loop, with the
//! hub's own settings and durable commits.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rusqlite::{Connection, OpenFlags, params};

use super::ready;
use crate::people::ATTRIBUTES;

/// Customers in one commit; larger ones are no faster.
const CUSTOMERS_A_COMMIT: u64 = 50_000;

/// Opens a file as the hub does, but with the checkpoints left to SQLite itself.
pub fn open(path: &Path) -> anyhow::Result<Connection> {
    let db = Connection::open(path).context("open the limit's file")?;
    db.execute_batch(
        "pragma journal_mode = wal; pragma synchronous = full; pragma temp_store = memory; \
         pragma cache_size = -65536; pragma wal_autocheckpoint = 4000; pragma foreign_keys = off;",
    )
    .context("set the limit's file up")?;
    Ok(db)
}

/// A new file with some of the tables of a hub's workspace, their indexes included.
pub fn like(hub: &Path, path: &Path, tables: &[&str]) -> anyhow::Result<Connection> {
    let hub = Connection::open_with_flags(hub, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .context("open the hub's file")?;
    let db = open(path)?;
    for table in tables {
        let mut made = hub.prepare(
            "select sql from sqlite_master where tbl_name = ?1 and sql is not null \
             order by type = 'index'",
        )?;
        for sql in made.query_map([table], |row| row.get::<_, String>(0))? {
            db.execute_batch(&sql?).with_context(|| format!("make {table}"))?;
        }
    }
    Ok(db)
}

/// The columns behind the attributes of the generated customers, in the order of the file.
pub fn attribute_columns(hub: &Path) -> anyhow::Result<Vec<String>> {
    let hub = Connection::open_with_flags(hub, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut wanted = hub.prepare("select column_name from attributes where name = ?1")?;
    ATTRIBUTES
        .iter()
        .map(|(name, _, _)| {
            let column = wanted.query_row([name], |row| row.get::<_, String>(0));
            column.with_context(|| format!("find the attribute {name}"))
        })
        .collect()
}

/// Fills customers and identities with customers `0..rows`; gives how long the engine took.
pub fn customers(db: &mut Connection, columns: &[String], rows: u64) -> anyhow::Result<Duration> {
    let customer = format!(
        "insert into customers (system_id, bucket, id, external_id, email, phone, created_at, \
         updated_at, {}) values (?1, ?2, ?3, ?4, ?5, null, ?6, ?6, ?7, ?8, ?9, ?10, ?11, ?12, \
         ?13, ?14)",
        columns.join(", ")
    );
    let identity = "insert into identities (ibucket, kind, value, bucket, customer_id) \
                    values (?1, ?2, ?3, ?4, ?5)";
    let mut took = Duration::ZERO;
    let mut from = 0;
    while from < rows {
        let to = rows.min(from + CUSTOMERS_A_COMMIT);
        let ready = ready(from, to);
        let started = Instant::now();
        let turn = db.transaction()?;
        {
            let mut customer = turn.prepare_cached(&customer)?;
            let mut identity = turn.prepare_cached(identity)?;
            for one in &ready {
                let id = one.id.0.as_bytes();
                let p = &one.person;
                customer.execute(params![
                    one.number,
                    one.bucket,
                    id,
                    p.external_id,
                    p.email,
                    1_700_000_000_000_000_i64,
                    p.first_name,
                    p.last_name,
                    p.country,
                    p.city,
                    p.birthday,
                    p.score,
                    p.revenue,
                    p.newsletter
                ])?;
                identity.execute(params![one.external_bucket, 1, p.external_id, one.bucket, id])?;
                identity.execute(params![one.email_bucket, 2, p.email, one.bucket, id])?;
            }
        }
        turn.commit()?;
        took += started.elapsed();
        from = to;
    }
    Ok(took)
}

/// One event as the hub would write it.
pub struct ReadyEvent {
    pub bucket: i64,
    pub customer: [u8; 16],
    pub at: i64,
    pub id: [u8; 16],
    pub name: i64,
    pub properties: String,
}

/// Inserts events, so many a durable commit; gives how long the engine took.
pub fn events(
    db: &mut Connection,
    events: &[ReadyEvent],
    a_commit: usize,
) -> anyhow::Result<Duration> {
    let started = Instant::now();
    for batch in events.chunks(a_commit) {
        let turn = db.transaction()?;
        {
            let mut event = turn.prepare_cached(
                "insert into events (bucket, customer_id, at, id, name, properties) \
                 values (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for one in batch {
                event.execute(params![
                    one.bucket,
                    one.customer,
                    one.at,
                    one.id,
                    one.name,
                    one.properties
                ])?;
            }
        }
        turn.commit()?;
    }
    Ok(started.elapsed())
}
