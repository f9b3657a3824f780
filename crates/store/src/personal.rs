//! Everything on one person: all of it shown, or all of it gone.
//!
//! Which tables hold rows of customers is asked of the database itself, so that a new table is not
//! forgotten. What is known by an address instead of a customer is named here, one by one.

use std::collections::{BTreeMap, HashSet};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value as Json};
use sha2::Sha256;
use tidings_domain::bucket::keyed_bucket;
use tidings_domain::change::{Identity, IdentityKind, Refusal};
use tidings_domain::consent::Channel;
use tidings_domain::upsert::Prepared;
use tidings_domain::{CustomerId, Timestamp, bucket_of, identity_bucket};
use uuid::Uuid;

use crate::archive::tables::{columns, select, tables, value};
use crate::bulk::{Column, ColumnType, column, lock_many, select_many};
use crate::changes::{CUSTOMER_KEY, customer_key, sort_rows};
use crate::engines::{Priority, Tx};
use crate::erasures::{Erasure, Grave};
use crate::hex::{hex, unhex};
use crate::sql::{Cell, Dialect, Param, Sql, quoted};
use crate::suppressions::hash_of;
use crate::workspace::Workspace;
use crate::{Error, Result, erasures};

static NAMES: Sql = Sql::fan_out(
    "names_of",
    "select kind, value from {s}identities where customer_id = ?1 order by kind, value",
);
static ADDRESSES: Sql = Sql::bucket(
    "addresses_of",
    "select external_id, email, phone from {s}customers where bucket = ?1 and id = ?2",
);
static ERASE_CUSTOMER: Sql =
    Sql::bucket("erase_customer", "delete from {s}customers where bucket = ?1 and id = ?2");
/// Deliveries stay without the person, so that what a campaign did still adds up; what is planned
/// does not go.
static ERASE_DELIVERIES: Sql = Sql::bucket(
    "erase_deliveries",
    "update {s}deliveries set address = null, reply = null,
       finished_at = case when state = 0 then ?3 else finished_at end,
       reason = case when state = 0 then 'erased' else reason end,
       state = case when state = 0 then 6 else state end
     where bucket = ?1 and customer_id = ?2",
);
static HEARD_SINCE: Sql = Sql::bucket(
    "heard_since",
    "select 1 from {s}events where bucket = ?1 and customer_id = ?2 and at >= ?3 limit 1",
);
static ERASE_SIGN_UPS: Sql =
    Sql::identity("erase_sign_ups", "delete from {s}sign_ups where ibucket = ?1 and email = ?2");
static ERASE_MAILBOX: Sql =
    Sql::reference("erase_mailbox", "delete from {s}mailbox where recipient = ?1");
static SUPPRESSED: Sql = Sql::identity(
    "suppressed_row",
    "select reason, at from {s}suppressions
     where ibucket = ?1 and channel = ?2 and address = ?3",
);
static HASH_SUPPRESSION: Sql = Sql::identity(
    "hash_suppression",
    "insert into {s}suppressed_hashes (ibucket, channel, hash, reason, at)
     values (?1, ?2, ?3, ?4, ?5) on conflict do nothing",
);
static DROP_SUPPRESSION: Sql = Sql::identity(
    "drop_suppression",
    "delete from {s}suppressions where ibucket = ?1 and channel = ?2 and address = ?3",
);
static BURY: Sql = Sql::identity(
    "bury",
    "insert into {s}tombstones (ibucket, kind, hash, at) values (?1, ?2, ?3, ?4)
     on conflict do nothing",
);
static DIG_UP: Sql = Sql::identity(
    "dig_up",
    "delete from {s}tombstones where ibucket = ?1 and kind = ?2 and hash = ?3",
);
static ANYBODY_ERASED: Sql =
    Sql::fan_out("anybody_erased", "select kind from {s}tombstones limit 1");
static KEY: Sql =
    Sql::reference("tombstone_key", "select value from {s}meta where key = 'tombstone_key'");
static MAKE_KEY: Sql = Sql::reference(
    "make_tombstone_key",
    "insert into {s}meta (key, value) values ('tombstone_key', ?1) on conflict (key) do nothing",
);

pub(crate) static SQL: &[&Sql] = &[
    &NAMES,
    &ADDRESSES,
    &ERASE_CUSTOMER,
    &ERASE_DELIVERIES,
    &HEARD_SINCE,
    &ERASE_SIGN_UPS,
    &ERASE_MAILBOX,
    &SUPPRESSED,
    &HASH_SUPPRESSION,
    &DROP_SUPPRESSION,
    &BURY,
    &DIG_UP,
    &ANYBODY_ERASED,
    &KEY,
    &MAKE_KEY,
];

const TOMBSTONE_KEY: [Column<'static>; 3] = [
    column("ibucket", ColumnType::SmallInt),
    column("kind", ColumnType::SmallInt),
    column("hash", ColumnType::Text),
];

/// The names that a customer is or was known by.
async fn names(tx: &mut Tx, id: CustomerId) -> Result<Vec<Identity>> {
    let kinds = [IdentityKind::ExternalId, IdentityKind::Email, IdentityKind::Phone];
    let mut found: HashSet<Identity> = HashSet::new();
    for row in tx.query(&NAMES, crate::params![id]).await? {
        let number: i16 = row.small(0)?;
        let kinds = kinds.into_iter().chain([IdentityKind::AnonymousId]);
        for kind in kinds.filter(|kind| kind.number() == number) {
            found.insert(Identity { kind, value: row.text(1)? });
        }
    }
    if let Some(row) = tx.first(&ADDRESSES, crate::params![bucket_of(id), id]).await? {
        for (at, kind) in kinds.into_iter().enumerate() {
            if let Some(value) = row.opt_text(at)? {
                found.insert(Identity { kind, value });
            }
        }
    }
    let mut names: Vec<Identity> = found.into_iter().collect();
    names.sort();
    Ok(names)
}

/// The tables with rows of customers, which say whose they are in `customer_id`.
pub(crate) async fn owned(tx: &mut Tx) -> Result<Vec<String>> {
    let mut owned = Vec::new();
    for table in tables(tx).await? {
        if columns(tx, &table).await?.iter().any(|one| one.name == "customer_id") {
            owned.push(table);
        }
    }
    Ok(owned)
}

/// A customer, and everybody who was merged into them: messages stay under the id that they were
/// sent to.
async fn all_ids(tx: &mut Tx, id: CustomerId) -> Result<Vec<CustomerId>> {
    let mut all = vec![id];
    all.append(&mut crate::merges::merged_into(tx, id).await?);
    Ok(all)
}

/// Drops every row of a customer; messages stay without the person.
async fn drop_rows(tx: &mut Tx, id: CustomerId, at: Timestamp) -> Result<()> {
    tx.scrubs_log = true;
    crate::search::forget(tx, id).await?;
    let tables = owned(tx).await?;
    for one in all_ids(tx, id).await? {
        let whose = crate::params![bucket_of(one), one];
        for table in tables.iter().filter(|table| *table != "deliveries") {
            let text = format!("delete from {{s}}{}{}", quoted(table), theirs(table));
            tx.execute_text(&text, whose).await?;
        }
        tx.execute(&ERASE_DELIVERIES, crate::params![bucket_of(one), one, at]).await?;
        tx.execute(&ERASE_CUSTOMER, whose).await?;
    }
    Ok(())
}

/// Drops a customer of whom nothing was heard since a time, if that is still so. No trace of their
/// names stays, so they may be known again.
pub(crate) async fn drop_unchanged(
    tx: &mut Tx,
    id: CustomerId,
    before: Timestamp,
    at: Timestamp,
) -> Result<()> {
    let key = [customer_key(id)];
    let locked = lock_many(tx, "customers", "t.updated_at", &CUSTOMER_KEY, &key).await?;
    let Some(row) = locked.first() else { return Ok(()) };
    if row.time(0)? >= before {
        return Ok(());
    }
    let since = crate::params![bucket_of(id), id, before];
    if tx.first(&HEARD_SINCE, since).await?.is_some() {
        return Ok(());
    }
    drop_rows(tx, id, at).await
}

/// Which rows of a table are a customer's; the parameters are their bucket and their id.
fn theirs(table: &str) -> &'static str {
    match table {
        // Its key starts with the import, so that every import is looked up by its own.
        "import_journal" | "import_seen" => {
            " where import_number in (select number from {s}imports)
               and bucket = ?1 and customer_id = ?2"
        }
        _ => " where bucket = ?1 and customer_id = ?2",
    }
}

/// The key of the keyed hashes, made when the first person is erased.
async fn key(tx: &mut Tx) -> Result<Vec<u8>> {
    let made = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    tx.execute(&MAKE_KEY, crate::params![made]).await?;
    let text = known_key(tx).await?.unwrap_or_default();
    unhex(&text).ok_or_else(|| Error::Corrupt("the key of tombstones is none".to_owned()))
}

/// The same in hexadecimal digits; `None` where nobody was ever erased.
pub(crate) async fn known_key(tx: &mut Tx) -> Result<Option<String>> {
    tx.first(&KEY, &[]).await?.map(|row| row.text(0)).transpose()
}

/// Erases a customer; `graves` are hashes of names beside those that are known here.
async fn erase(tx: &mut Tx, id: CustomerId, at: Timestamp, graves: &[Grave]) -> Result<()> {
    // Held, so that nothing is written for them while they go.
    lock_many(tx, "customers", "t.id", &CUSTOMER_KEY, &[customer_key(id)]).await?;
    let names = names(tx, id).await?;
    let key = key(tx).await?;
    let mut buried: Vec<Grave> = names.iter().map(|name| grave(&key, name)).collect();
    buried.extend(graves.iter().filter(|one| !buried.contains(one)).cloned().collect::<Vec<_>>());
    let mut rows: Vec<Vec<Param>> = buried.iter().map(tombstone).collect();
    sort_rows(&mut rows);
    for mut row in rows {
        row.push(at.into());
        tx.execute(&BURY, &row).await?;
    }
    for one in all_ids(tx, id).await? {
        erasures::note(tx, one, at, &buried).await?;
    }
    drop_rows(tx, id, at).await?;
    erase_mentions(tx, &names).await?;
    for name in &names {
        match name.kind {
            IdentityKind::Email => {
                hide_suppression(tx, Channel::Email, &name.value).await?;
                let bucket = identity_bucket(IdentityKind::Email, &name.value);
                let key = crate::params![bucket, &name.value];
                tx.execute(&ERASE_SIGN_UPS, key).await?;
                tx.execute(&ERASE_MAILBOX, crate::params![&name.value]).await?;
            }
            IdentityKind::Phone => hide_suppression(tx, Channel::Sms, &name.value).await?,
            IdentityKind::ExternalId | IdentityKind::AnonymousId => {}
        }
    }
    Ok(())
}

/// What is kept of a name that was erased.
fn grave(key: &[u8], name: &Identity) -> Grave {
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(name.kind.name().as_bytes());
    mac.update(b":");
    mac.update(name.value.as_bytes());
    Grave { kind: name.kind.number(), hash: hex(&mac.finalize().into_bytes()) }
}

fn tombstone(grave: &Grave) -> Vec<Param> {
    let bucket = keyed_bucket("tombstone", &grave.hash);
    vec![bucket.into(), grave.kind.into(), grave.hash.as_str().into()]
}

/// The upserts with those refused that name somebody who was erased; `None` where nobody was.
pub(crate) async fn refuse_erased(
    tx: &mut Tx,
    prepared: &[Result<Prepared, Refusal>],
) -> Result<Option<Vec<Result<Prepared, Refusal>>>> {
    if tx.first(&ANYBODY_ERASED, &[]).await?.is_none() {
        return Ok(None);
    }
    let key = key(tx).await?;
    let mut rows: Vec<Vec<Param>> = prepared
        .iter()
        .flatten()
        .flat_map(|one| one.identities.iter().map(|name| tombstone(&grave(&key, name))))
        .collect();
    sort_rows(&mut rows);
    rows.dedup();
    let found = select_many(tx, "tombstones", "t.hash", &TOMBSTONE_KEY, &rows, "").await?;
    let erased: HashSet<String> = found.iter().map(|row| row.text(0)).collect::<Result<_>>()?;
    if erased.is_empty() {
        return Ok(None);
    }
    let mut checked = prepared.to_vec();
    for one in &mut checked {
        let Ok(upsert) = one else { continue };
        let name = upsert.identities.iter().find(|name| erased.contains(&grave(&key, name).hash));
        if let Some(name) = name {
            let message = "this person was erased; only they themselves come back, by a form";
            *one = Err(Refusal::new("erased", name.kind.name(), message));
        }
    }
    Ok(Some(checked))
}

/// Where the texts of others may name somebody: rows that were refused, samples of a file, kept
/// answers. What names them is blanked, on SQLite and on PostgreSQL.
const MENTIONS: [[&str; 2]; 5] = [
    [
        "update {s}import_refusals set raw = ?2, message = 'erased'
         where instr(lower(cast(raw as text)), ?1) > 0 or instr(lower(message), ?1) > 0",
        "update {s}import_refusals set raw = ?2::bytea, message = 'erased'
         where position(?1::text in lower(encode(raw, 'escape'))) > 0
            or position(?1::text in lower(message)) > 0",
    ],
    [
        "update {s}imports set columns = '[]' where instr(lower(columns), ?1) > 0",
        "update {s}imports set columns = '[]' where position(?1::text in lower(columns)) > 0",
    ],
    // A mapping holds texts of its own: constants, and what lookups look for.
    [
        "update {s}imports set mapping = '{}'
         where state not in ('queued', 'running') and instr(lower(mapping), ?1) > 0",
        "update {s}imports set mapping = '{}'
         where state not in ('queued', 'running') and position(?1::text in lower(mapping)) > 0",
    ],
    [
        "delete from {s}import_mappings where instr(lower(mapping), ?1) > 0",
        "delete from {s}import_mappings where position(?1::text in lower(mapping)) > 0",
    ],
    [
        "delete from {s}idempotency where instr(lower(answer), ?1) > 0",
        "delete from {s}idempotency where position(?1::text in lower(answer)) > 0",
    ],
];

async fn erase_mentions(tx: &mut Tx, names: &[Identity]) -> Result<()> {
    for [sqlite, postgres] in MENTIONS {
        let text = match tx.dialect() {
            Dialect::Sqlite => sqlite,
            Dialect::Postgres => postgres,
        };
        // A short number would be found in the rows of everybody.
        for name in names.iter().filter(|name| name.value.len() >= 6) {
            let mut params: Vec<Param> = vec![name.value.to_lowercase().into()];
            if text.contains("?2") {
                params.push(Vec::<u8>::new().into());
            }
            tx.execute_text(text, &params).await?;
        }
    }
    Ok(())
}

/// A suppression outlives the person as a hash.
async fn hide_suppression(tx: &mut Tx, channel: Channel, address: &str) -> Result<()> {
    let bucket = match channel {
        Channel::Email => identity_bucket(IdentityKind::Email, address),
        Channel::Sms => keyed_bucket(channel.name(), address),
    };
    let place = crate::params![bucket, channel.number(), address];
    if let Some(row) = tx.first(&SUPPRESSED, place).await? {
        let hash = hash_of(address);
        let bucket = keyed_bucket(channel.name(), &hash);
        let row = crate::params![bucket, channel.number(), hash, row.text(0)?, row.time(1)?];
        tx.execute(&HASH_SUPPRESSION, row).await?;
        tx.execute(&DROP_SUPPRESSION, place).await?;
    }
    Ok(())
}

/// Adds what is kept by an address and not by a customer: forms that were filled in, and that nothing
/// is to be sent.
async fn known_by_name(
    tx: &mut Tx,
    id: CustomerId,
    all: &mut BTreeMap<String, Vec<Json>>,
) -> Result<()> {
    for name in names(tx, id).await? {
        let (channel, bucket) = match name.kind {
            IdentityKind::Email => {
                (Channel::Email, identity_bucket(IdentityKind::Email, &name.value))
            }
            IdentityKind::Phone => (Channel::Sms, keyed_bucket(Channel::Sms.name(), &name.value)),
            IdentityKind::ExternalId | IdentityKind::AnonymousId => continue,
        };
        let place = crate::params![bucket, &name.value, channel.number()].to_vec();
        let mut asked = vec![(
            "suppressions",
            " where ibucket = ?1 and address = ?2 and channel = ?3",
            &place[..],
        )];
        if channel == Channel::Email {
            asked.push(("sign_ups", " where ibucket = ?1 and email = ?2", &place[..2]));
        }
        for (table, whose, params) in asked {
            let columns = columns(tx, table).await?;
            for row in tx.query_text(&select(table, &columns, whose), params).await? {
                let mut object = Map::new();
                for (cell, column) in row.0.into_iter().zip(&columns) {
                    object.insert(column.name.clone(), value(cell, column)?);
                }
                all.entry(table.to_owned()).or_default().push(Json::Object(object));
            }
        }
    }
    Ok(())
}

impl Workspace {
    /// The rows of a customer in every table, as they are kept, by table.
    pub async fn personal_rows(&self, id: CustomerId) -> Result<BTreeMap<String, Vec<Json>>> {
        self.read(move |tx| {
            Box::pin(async move {
                let mut all = BTreeMap::new();
                let ids = all_ids(tx, id).await?;
                for table in owned(tx).await? {
                    let columns = columns(tx, &table).await?;
                    let text = select(&table, &columns, theirs(&table));
                    let mut rows = Vec::new();
                    for one in &ids {
                        let whose = crate::params![bucket_of(*one), *one];
                        for row in tx.query_text(&text, whose).await? {
                            let mut object = Map::new();
                            for (cell, column) in row.0.into_iter().zip(&columns) {
                                object.insert(column.name.clone(), value(cell, column)?);
                            }
                            rows.push(Json::Object(object));
                        }
                    }
                    if !rows.is_empty() {
                        all.insert(table, rows);
                    }
                }
                known_by_name(tx, id, &mut all).await?;
                Ok(all)
            })
        })
        .await
    }

    /// The names that a customer is known by, for what is not kept in tables.
    pub async fn names_of(&self, id: CustomerId) -> Result<Vec<Identity>> {
        self.read(move |tx| Box::pin(async move { names(tx, id).await })).await
    }

    /// Erases a customer from every table, and leaves a keyed hash of each name they had.
    pub async fn erase(&self, id: CustomerId, at: Timestamp) -> Result<()> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { erase(tx, id, at, &[]).await })
        })
        .await
    }

    /// Erases somebody again who was erased after this workspace's archive was made. `key` is that of
    /// the hashes of their names.
    pub async fn erase_again(&self, key: String, erasure: Erasure) -> Result<()> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                if unhex(&key).is_some_and(|key| !key.is_empty()) {
                    tx.execute(&MAKE_KEY, crate::params![&key]).await?;
                }
                // By another key the hashes would never be found again.
                let is_ours = known_key(tx).await?.is_some_and(|known| known == key);
                let graves = if is_ours { erasure.names.as_slice() } else { &[] };
                erase(tx, erasure.customer, erasure.at, graves).await
            })
        })
        .await
    }

    /// Lets somebody be known again by a name that was erased; false where it was not.
    pub async fn readmit(&self, name: Identity) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                if tx.first(&ANYBODY_ERASED, &[]).await?.is_none() {
                    return Ok(false);
                }
                let key = key(tx).await?;
                Ok(tx.execute(&DIG_UP, &tombstone(&grave(&key, &name))).await? > 0)
            })
        })
        .await
    }

    /// Every row of every table as text, a line each, with what the search was made to know: for
    /// tests that search for what must not be there.
    pub async fn all_rows(&self) -> Result<String> {
        self.read(|tx| {
            Box::pin(async move {
                let mut text = String::new();
                for table in tables(tx).await? {
                    let columns = columns(tx, &table).await?;
                    for row in tx.query_text(&select(&table, &columns, ""), &[]).await? {
                        text.push_str(&table);
                        for cell in &row.0 {
                            match cell {
                                Cell::Bytes(bytes) => {
                                    text.push_str(&format!(" {}", String::from_utf8_lossy(bytes)));
                                }
                                other => text.push_str(&format!(" {other:?}")),
                            }
                        }
                        text.push('\n');
                    }
                }
                for row in tx.query_text("select text from {s}search_texts", &[]).await? {
                    text.push_str(&format!("search_texts {}\n", row.text(0)?));
                }
                Ok(text)
            })
        })
        .await
    }
}
