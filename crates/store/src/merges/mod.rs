//! Two customers become one, and two again.
//!
//! The kept one's values win and gaps are filled; names, events, records, tags and groups move;
//! where both have a row of the same key the kept one's stays; of two consents the stricter wins.
//! Messages stay in their campaigns under the id that they were sent to; what was planned for the
//! merged one is called off. Every row that moved is written down, so that undoing puts it back;
//! what came later stays with the kept one, and so does a *no*.
//!
//! The merged one's id and number lead to the kept one from then on. All of it is one transaction.

mod moved;
mod rows;
mod undo;

use std::collections::HashSet;

use serde_json::{Map, Value as Json};
use tidings_domain::change::{Outcome, Refusal};
use tidings_domain::consent::{Channel, ConsentState};
use tidings_domain::{CustomerId, Timestamp, bucket_of};
use uuid::Uuid;

use crate::archive::tables::{Stored, columns, param, select, value};
use crate::bulk::lock_many;
use crate::changes::{CUSTOMER_KEY, Dirty, customer_key, withdraw_for_merge};
use crate::engines::Tx;
use crate::retention::APPLY_RETENTION;
use crate::sql::{Param, Row, Sql, quoted};
use crate::workspace::Workspace;
use crate::{Error, Page, Result, jobs, search};

pub(crate) use moved::{resolve, resolve_system_id};
use rows::Line;

/// For how long a merge can be undone.
pub const UNDO_DAYS: i64 = 30;
/// A customer with more rows than this is not merged into another in one transaction.
pub const MOST_ROWS: usize = 20_000;

static PUT: Sql = Sql::bucket(
    "put_merge",
    "insert into {s}merges
       (bucket, customer_id, id, lost_id, lost_system_id, at, undo_until, undone_at, lost, filled,
        names)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, null, ?8, ?9, ?10)",
);
static PAGE: Sql = Sql::bucket(
    "merges_of",
    "select id, lost_id, lost_system_id, at, undo_until, undone_at from {s}merges
     where bucket = ?1 and customer_id = ?2 and (at < ?3 or (at = ?3 and id < ?4))
     order by at desc, id desc limit ?5",
);
static LOST_INTO: Sql = Sql::bucket(
    "merged_into",
    "select lost_id from {s}merges
     where bucket = ?1 and customer_id = ?2 and undone_at is null",
);
static NAMES: Sql =
    Sql::fan_out("names_to_move", "select kind, value from {s}identities where customer_id = ?1");
static MOVE_NAME: Sql = Sql::identity(
    "move_name",
    "update {s}identities set bucket = ?4, customer_id = ?5
     where ibucket = ?1 and kind = ?2 and value = ?3 and customer_id = ?6",
);
static CONSENTS: Sql = Sql::bucket(
    "consents_to_merge",
    "select channel, topic, state from {s}consents where bucket = ?1 and customer_id = ?2",
);
static CALL_OFF: Sql = Sql::bucket(
    "call_off_merged",
    "update {s}deliveries set state = 6, reason = 'merged', finished_at = ?3
     where bucket = ?1 and customer_id = ?2 and state = 0",
);
static DROP_MEMBERSHIPS: [Sql; 3] = [
    Sql::bucket(
        "drop_memberships",
        "delete from {s}segment_members where bucket = ?1 and customer_id = ?2",
    ),
    Sql::bucket(
        "drop_checks",
        "delete from {s}segment_checks where bucket = ?1 and customer_id = ?2",
    ),
    Sql::bucket(
        "drop_dirty",
        "delete from {s}dirty_customers where bucket = ?1 and customer_id = ?2",
    ),
];
static DROP_CUSTOMER: Sql =
    Sql::bucket("drop_merged", "delete from {s}customers where bucket = ?1 and id = ?2");

static OWN: &[&Sql] = &[
    &PUT,
    &PAGE,
    &LOST_INTO,
    &NAMES,
    &MOVE_NAME,
    &CONSENTS,
    &CALL_OFF,
    &DROP_MEMBERSHIPS[0],
    &DROP_MEMBERSHIPS[1],
    &DROP_MEMBERSHIPS[2],
    &DROP_CUSTOMER,
];

/// The statements of this folder, one list a file.
pub(crate) static SQLS: &[&[&Sql]] = &[OWN, moved::SQL, undo::SQL];

/// One merge, as the kept customer shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    pub id: Uuid,
    /// Who was merged; the id and number lead to the kept customer until the merge is undone.
    pub lost: CustomerId,
    pub lost_system_id: i64,
    pub at: Timestamp,
    /// Until when it can be undone.
    pub undo_until: Timestamp,
    pub undone_at: Option<Timestamp>,
}

/// What a customer is known by; not among the values that fill gaps one by one.
const NOT_FILLED: &[&str] = &["bucket", "id", "system_id", "created_at", "updated_at", "extra"];

/// Merges `lost` into `kept`, both of which exist and differ. `undoable` is false where the lost one
/// was nobody that anybody knew: nothing is written down then.
pub(crate) async fn merge(
    tx: &mut Tx,
    kept: CustomerId,
    lost: CustomerId,
    undoable: bool,
    at: Timestamp,
    dirty: &mut Dirty,
) -> Result<Outcome> {
    let mut keys = vec![customer_key(kept), customer_key(lost)];
    crate::changes::sort_rows(&mut keys);
    lock_many(tx, "customers", "t.id", &CUSTOMER_KEY, &keys).await?;
    let stored = columns(tx, "customers").await?;
    let (Some(ours), Some(theirs)) =
        (customer_row(tx, &stored, kept).await?, customer_row(tx, &stored, lost).await?)
    else {
        return Err(Error::Unavailable("a customer moved under this merge".to_owned()));
    };
    let id = Uuid::now_v7();
    let mover = rows::Mover { kept, lost, merge: undoable.then_some(id) };
    let Some(moved) = mover.run(tx).await? else {
        let message = format!("the merged customer has more than {MOST_ROWS} rows");
        return Ok(Outcome::Refused(Refusal::new("too_large", "other", message)));
    };
    merge_consents(tx, kept, at, &moved).await?;
    let names = move_names(tx, kept, lost).await?;
    let whose = crate::params![bucket_of(lost), lost];
    tx.execute(&CALL_OFF, crate::params![bucket_of(lost), lost, at]).await?;
    for sql in &DROP_MEMBERSHIPS {
        tx.execute(sql, whose).await?;
    }
    search::forget(tx, lost).await?;
    tx.execute(&DROP_CUSTOMER, whose).await?;
    let filled = fill(tx, &stored, kept, (&ours, &theirs), at).await?;
    let number = |row: &Line| row.get("system_id").and_then(Json::as_i64).unwrap_or_default();
    moved::remember(tx, lost, number(&theirs), kept).await?;
    if undoable {
        let until = at.plus_secs(UNDO_DAYS * 24 * 3_600);
        let row = crate::params![
            bucket_of(kept),
            kept,
            id,
            lost,
            number(&theirs),
            at,
            until,
            Json::Object(theirs.clone()).to_string(),
            Json::from(filled).to_string(),
            names.to_string()
        ];
        tx.execute(&PUT, row).await?;
        // What undoing needs is let go of in time.
        jobs::add(tx, APPLY_RETENTION, "all", "", until).await?;
    }
    search::touched(tx, &[(number(&ours), kept)].into(), false).await?;
    dirty.forget(lost);
    dirty.mark(kept, "new".to_owned());
    Ok(Outcome::Updated { customer: Some(kept), system_id: Some(number(&ours)) })
}

/// A customer's row, by column.
async fn customer_row(tx: &mut Tx, stored: &[Stored], id: CustomerId) -> Result<Option<Line>> {
    let text = format!("{} where bucket = ?1 and id = ?2", select("customers", stored, ""));
    let rows = tx.query_text(&text, crate::params![bucket_of(id), id]).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let mut object = Map::new();
    for (cell, column) in row.0.into_iter().zip(stored) {
        object.insert(column.name.clone(), value(cell, column)?);
    }
    Ok(Some(object))
}

/// Fills the gaps of the kept customer; gives which columns were filled, and keys of `extra` as
/// `extra.<key>`.
async fn fill(
    tx: &mut Tx,
    stored: &[Stored],
    kept: CustomerId,
    (ours, theirs): (&Line, &Line),
    at: Timestamp,
) -> Result<Vec<String>> {
    let mut filled = Vec::new();
    let mut set = vec!["updated_at = ?3".to_owned()];
    let mut params: Vec<Param> = vec![bucket_of(kept).into(), kept.into(), at.into()];
    for column in stored.iter().filter(|one| !NOT_FILLED.contains(&one.name.as_str())) {
        let gap = ours.get(&column.name).is_none_or(Json::is_null);
        let given = theirs.get(&column.name).filter(|given| !given.is_null());
        if let Some(given) = given.filter(|_| gap) {
            params.push(param(given, column)?);
            set.push(format!("{} = ?{}", quoted(&column.name), params.len()));
            filled.push(column.name.clone());
        }
    }
    let (mut extra, more) = (object_of(ours.get("extra")), object_of(theirs.get("extra")));
    let before = extra.len();
    for (key, given) in more {
        if !extra.contains_key(&key) {
            filled.push(format!("extra.{key}"));
            extra.insert(key, given);
        }
    }
    if extra.len() > before {
        params.push(Param::Json(Json::Object(extra)));
        set.push(format!("extra = ?{}", params.len()));
    }
    let text =
        format!("update {{s}}customers set {} where bucket = ?1 and id = ?2", set.join(", "));
    tx.execute_once(&text, &params).await?;
    Ok(filled)
}

/// An object that archives write as text.
fn object_of(json: Option<&Json>) -> Map<String, Json> {
    let parsed = json.and_then(Json::as_str).and_then(|text| serde_json::from_str(text).ok());
    match parsed {
        Some(Json::Object(object)) => object,
        _ => Map::new(),
    }
}

/// Gives every name of the lost one to the kept one; they find the kept one from then on.
async fn move_names(tx: &mut Tx, kept: CustomerId, lost: CustomerId) -> Result<Json> {
    let mut names = Vec::new();
    for row in tx.query(&NAMES, crate::params![lost]).await? {
        names.push((row.int(0)?, row.text(1)?));
    }
    hand_over(tx, &names, lost, kept).await?;
    let pairs = names.iter().map(|(kind, value)| serde_json::json!([kind, value]));
    Ok(Json::from(pairs.collect::<Vec<Json>>()))
}

/// Turns identities of one customer to another.
async fn hand_over(
    tx: &mut Tx,
    names: &[(i64, String)],
    from: CustomerId,
    to: CustomerId,
) -> Result<()> {
    for (kind, value) in names {
        let Some(known) = crate::changes::identity_kind(*kind) else { continue };
        let bucket = tidings_domain::identity_bucket(known, value);
        let params = crate::params![bucket, *kind, value, bucket_of(to), to, from];
        tx.execute(&MOVE_NAME, params).await?;
    }
    Ok(())
}

/// Where the lost one said *no*, the kept one says no as well, and what is planned for them is called
/// off. What only the lost one had said was moved before, as every other row.
async fn merge_consents(
    tx: &mut Tx,
    kept: CustomerId,
    at: Timestamp,
    moved: &rows::Moved,
) -> Result<()> {
    let withdrawn = ConsentState::Withdrawn.name();
    for (channel, topic) in &moved.withdrawn {
        withdraw(tx, kept, *channel, topic, at).await?;
    }
    // A *no* of the kept one stands above a topic that only the lost one had granted.
    let rows = tx.query(&CONSENTS, crate::params![bucket_of(kept), kept]).await?;
    let mut closed: HashSet<i16> = HashSet::new();
    for row in &rows {
        if row.text(1)?.is_empty() && row.text(2)? == withdrawn {
            closed.insert(row.small(0)?);
        }
    }
    for row in &rows {
        let (channel, topic): (i16, String) = (row.small(0)?, row.text(1)?);
        if closed.contains(&channel) && !topic.is_empty() && row.text(2)? != withdrawn {
            withdraw(tx, kept, channel, &topic, at).await?;
        }
    }
    Ok(())
}

/// Takes consent back because of a merge.
async fn withdraw(
    tx: &mut Tx,
    customer: CustomerId,
    channel: i16,
    topic: &str,
    at: Timestamp,
) -> Result<()> {
    let channel = Channel::from_number(channel);
    withdraw_for_merge(tx, customer, channel, topic, at).await
}

/// Everybody who was merged into a customer, also by way of others.
pub(crate) async fn merged_into(tx: &mut Tx, kept: CustomerId) -> Result<Vec<CustomerId>> {
    let mut all: Vec<CustomerId> = Vec::new();
    let mut next = vec![kept];
    while let Some(one) = next.pop() {
        for row in tx.query(&LOST_INTO, crate::params![bucket_of(one), one]).await? {
            let lost = CustomerId(row.uuid(0)?);
            if !all.contains(&lost) {
                all.push(lost);
                next.push(lost);
            }
        }
    }
    Ok(all)
}

impl Workspace {
    /// The merges into a customer, newest first.
    pub async fn merges(
        &self,
        customer: CustomerId,
        before: Option<(Timestamp, Uuid)>,
        limit: usize,
    ) -> Result<Page<Merge, (Timestamp, Uuid)>> {
        let (at, id) = before.unwrap_or((Timestamp(i64::MAX), Uuid::max()));
        let merge = |row: &Row| {
            Ok(Merge {
                id: row.uuid(0)?,
                lost: CustomerId(row.uuid(1)?),
                lost_system_id: row.int(2)?,
                at: row.time(3)?,
                undo_until: row.time(4)?,
                undone_at: row.opt_time(5)?,
            })
        };
        let params = crate::params![bucket_of(customer), customer, at, id];
        self.find_page(&PAGE, params, limit, merge, |merge| (merge.at, merge.id)).await
    }
}
