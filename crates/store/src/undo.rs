//! Undoing an import: what its journal holds is taken back slice by slice. A field goes back only
//! where it still holds what the import wrote, a customer that it made goes only where nothing else
//! has touched it, and what stays is listed.
//!
//! A slice's journal rows are deleted in the transaction that takes them back, so a crash goes on
//! behind the last committed slice.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value as Json;
use tidings_domain::change::{Identity, IdentityKind};
use tidings_domain::schema::{Schema, Table};
use tidings_domain::value::{Kind, Storage};
use tidings_domain::{CustomerId, ImportId, Timestamp, identity_bucket};
use uuid::Uuid;

use crate::bulk::{
    Column, ColumnType, OnConflict, column, delete_many, insert_many, lock_many, select_many,
    update_many,
};
use crate::changes::journal::{
    NAMES, Subject, consent_field, consents, field, json_value, value_json,
};
use crate::changes::{
    CUSTOMER_KEY, OWNER_KEY, RECORD_KEY, customer_key, find_identities, sort_identities, sort_rows,
};
use crate::customers::Page;
use crate::engines::{Priority, Tx};
use crate::jobs::{self, Job};
use crate::memberships::REFRESH_SEGMENTS;
use crate::sql::{Param, Row, Sql, quoted};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// The job that undoes an import; its subject is the import's id.
pub const UNDO_IMPORT: &str = "undo_import";

/// Journal rows of a slice.
const SLICE: i64 = 400;
/// Buckets whose journal is forgotten in one write.
const CLEANED: i64 = 32;

static START: Sql = Sql::reference(
    "start_undo",
    "update {s}imports set undo = ?2
     where id = ?1 and undo is null and state in ('done', 'failed', 'cancelled')",
);
static KEEP: Sql = Sql::reference("keep_undo", "update {s}imports set undo = ?2 where id = ?1");
static COUNT: Sql = Sql::reference(
    "count_journal",
    "select count(*) from {s}import_journal
     where import_number = (select number from {s}imports where id = ?1)",
);
static SLICE_OF: Sql = Sql::reference(
    "journal_slice",
    "select bucket, customer_id, table_number, record_key, part, at, created, changes
     from {s}import_journal where import_number = ?1
     order by bucket, customer_id, table_number, record_key, part limit ?2",
);
static OF_SUBJECT: Sql = Sql::reference(
    "journal_of_subject",
    "select bucket, customer_id, table_number, record_key, part, at, created, changes
     from {s}import_journal where import_number = ?1 and bucket = ?2 and customer_id = ?3
       and table_number = ?4 and record_key = ?5 order by part",
);
static KEPT: Sql = Sql::reference(
    "import_kept",
    "select customer_id, table_number, record_key, field, reason, imported, current, place
     from {s}import_kept
     where import_number = (select number from {s}imports where id = ?1) and place > ?2
     order by place limit ?3",
);
static LAST_KEPT: Sql = Sql::reference(
    "last_import_kept",
    "select coalesce(max(place), 0) from {s}import_kept where import_number = ?1",
);
static FORGET_SLICE: Sql = Sql::reference(
    "forget_journal_slice",
    "delete from {s}import_journal where import_number = ?1
       and (bucket, customer_id, table_number, record_key, part) <= (?2, ?3, ?4, ?5, ?6)",
);
static OLD: Sql = Sql::reference(
    "old_journals",
    "select i.number from {s}imports i where i.finished_at < ?1
       and (exists (select 1 from {s}import_journal j where j.import_number = i.number)
         or exists (select 1 from {s}import_kept k where k.import_number = i.number))
     order by i.number limit 1",
);
static FORGET: Sql = Sql::reference(
    "forget_journal",
    "delete from {s}import_journal where import_number = ?1 and bucket >= ?2 and bucket < ?3",
);
static FORGET_KEPT: Sql =
    Sql::reference("forget_kept", "delete from {s}import_kept where import_number = ?1");

pub(crate) static SQL: &[&Sql] = &[
    &START,
    &KEEP,
    &COUNT,
    &SLICE_OF,
    &OF_SUBJECT,
    &KEPT,
    &LAST_KEPT,
    &FORGET_SLICE,
    &OLD,
    &FORGET,
    &FORGET_KEPT,
];

/// What a slice did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// Journal rows that are done with.
    pub rows: u64,
    /// Customers or records that got at least one field back.
    pub restored: u64,
    /// Customers or records that the import made and that are gone again.
    pub deleted: u64,
    /// Fields, customers and records that stay as they are.
    pub kept: u64,
    /// The journal is empty now.
    pub ended: bool,
}

/// What an undo left as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// `None` for a record of nobody.
    pub customer: Option<CustomerId>,
    /// The record's key; blank for the customer itself.
    pub key: String,
    /// The field's name; blank where a made customer or record stays.
    pub field: String,
    /// `changed`, `touched`, `taken` or `gone`.
    pub reason: String,
    pub imported: Option<String>,
    pub current: Option<String>,
    /// Where it stands in the list.
    pub place: i64,
}

/// The journal of one customer or record, all its parts together.
struct Story {
    subject: Subject,
    created: bool,
    /// When the import touched it last.
    at: i64,
    /// By field: what was before the import and what it made of it.
    changes: BTreeMap<String, (Json, Json)>,
    rows: u64,
    last_part: i64,
}

/// A customer or record with the fields that go back to what they were.
type Back<'s> = (&'s Story, Vec<(&'s String, &'s Json)>);

/// What is written at the end of a slice.
#[derive(Default)]
struct Outcome {
    undone: Undone,
    kept: Vec<Vec<Param>>,
}

impl Workspace {
    /// Starts to undo a finished import; its job is written in the same transaction. Gives how many
    /// journal rows there are.
    pub async fn start_undo(&self, id: ImportId, undo: String, at: Timestamp) -> Result<bool> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let started = tx.execute(&START, crate::params![id, undo]).await? > 0;
                if started {
                    jobs::add(tx, UNDO_IMPORT, &id.to_string(), "", at).await?;
                }
                Ok(started)
            })
        })
        .await
    }

    /// How many journal rows an import has.
    pub async fn journal_rows(&self, id: ImportId) -> Result<u64> {
        self.read(move |tx| {
            Box::pin(async move {
                let row = tx.first(&COUNT, crate::params![id]).await?;
                row.map_or(Ok(0), |row| row.small(0))
            })
        })
        .await
    }

    /// Takes back the next slice of an import's journal; `report` makes the import's new undo text of
    /// what the slice did.
    pub async fn undo_slice(
        &self,
        job: &Job,
        id: ImportId,
        number: i64,
        at: Timestamp,
        report: impl FnOnce(&Undone) -> Result<String> + Send + 'static,
    ) -> Result<Undone> {
        let schema = self.fresh_schema().await?;
        let job = job.clone();
        self.write(Priority::Bulk, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                let undone = undo_slice(tx, &schema, number, at).await?;
                let text = report(&undone)?;
                tx.execute(&KEEP, crate::params![id, text]).await?;
                if undone.ended {
                    jobs::add(tx, REFRESH_SEGMENTS, "all", "", at).await?;
                }
                Ok(undone)
            })
        })
        .await
    }

    /// A page of what an undo left as it is; the cursor is a place.
    pub async fn import_kept(
        &self,
        id: ImportId,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Page<Kept, i64>> {
        let schema = self.schema().await?;
        let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let rows = self
            .read(move |tx| {
                Box::pin(async move {
                    tx.query(&KEPT, crate::params![id, after.unwrap_or(0), most]).await
                })
            })
            .await?;
        let items = rows.iter().map(|row| kept(&schema, row)).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(items, limit, |kept| kept.place))
    }

    /// Forgets the journals of imports that ended before a time, and what undoing them left.
    pub async fn forget_journals(&self, before: Timestamp) -> Result<()> {
        loop {
            let old = self.read(move |tx| {
                Box::pin(async move { tx.first(&OLD, crate::params![before]).await })
            });
            let Some(row) = old.await? else { return Ok(()) };
            let number = row.int(0)?;
            let mut from = 0;
            while from < i64::from(tidings_domain::bucket::BUCKETS) {
                self.write(Priority::Bulk, move |tx| {
                    Box::pin(async move {
                        let params = crate::params![number, from, from + CLEANED];
                        tx.execute(&FORGET, params).await?;
                        tx.execute(&FORGET_KEPT, crate::params![number]).await
                    })
                })
                .await?;
                from += CLEANED;
            }
        }
    }
}

fn kept(schema: &Schema, row: &Row) -> Result<Kept> {
    let owner = row.uuid(0)?;
    let (table, name) = (row.int(1)?, row.text(3)?);
    let known = fields(schema, table).iter().find(|one| field(one.number) == name);
    let kind = known.map(|one| &one.kind);
    Ok(Kept {
        customer: (!owner.is_nil()).then_some(CustomerId(owner)),
        key: row.text(2)?,
        field: known.map_or_else(|| shown_field(&name), |one| one.name.clone()),
        reason: row.text(4)?,
        imported: row.opt_text(5)?.map(|text| shown_value(kind, &text)),
        current: row.opt_text(6)?.map(|text| shown_value(kind, &text)),
        place: row.int(7)?,
    })
}

fn fields(schema: &Schema, table: i64) -> &[tidings_domain::schema::Attribute] {
    match table {
        0 => &schema.attributes,
        number => match schema.tables.iter().find(|one| i64::from(one.number) == number) {
            Some(table) => &table.fields,
            None => &[],
        },
    }
}

/// The name of what is no attribute, as mappings say it.
fn shown_field(name: &str) -> String {
    let Some(consent) = name.strip_prefix("consent:") else { return name.to_owned() };
    let (channel, topic) = consent.split_once(':').unwrap_or((consent, ""));
    let channel = if channel == "2" { "sms" } else { "email" };
    match topic {
        "" => format!("consent.{channel}"),
        topic => format!("consent.{channel}.{topic}"),
    }
}

/// A value of the journal as people read it.
fn shown_value(kind: Option<&Kind>, text: &str) -> String {
    let json: Json = serde_json::from_str(text).unwrap_or_default();
    let value = kind.and_then(|kind| json_value(&json, kind.storage()).flatten());
    let json = match (kind, value) {
        (Some(kind), Some(value)) => kind.to_json(&value),
        _ if json["state"].is_string() => json["state"].clone(),
        _ => json,
    };
    match json {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

async fn undo_slice(tx: &mut Tx, schema: &Schema, number: i64, at: Timestamp) -> Result<Undone> {
    let rows = tx.query(&SLICE_OF, crate::params![number, SLICE]).await?;
    let whole = rows.len() < SLICE as usize;
    let mut stories = stories(&rows)?;
    if !whole && stories.len() > 1 {
        // The last one may have been cut; the next slice has all of it.
        stories.pop();
    } else if let (false, [story]) = (whole, stories.as_slice()) {
        let Subject { bucket, customer, table, key } = story.subject.clone();
        let params = crate::params![number, bucket, customer, i64::from(table), key];
        stories = self::stories(&tx.query(&OF_SUBJECT, params).await?)?;
    }
    let mut out = Outcome::default();
    out.undone.rows = stories.iter().map(|story| story.rows).sum();
    out.undone.ended = whole;
    let (customers, records): (Vec<&Story>, Vec<&Story>) =
        stories.iter().partition(|story| story.subject.table == 0);
    undo_customers(tx, schema, &customers, at, &mut out).await?;
    let tables: BTreeSet<i32> = records.iter().map(|story| story.subject.table).collect();
    for table in tables {
        let of_table: Vec<&Story> =
            records.iter().copied().filter(|story| story.subject.table == table).collect();
        match schema.tables.iter().find(|one| one.number == table) {
            Some(known) => undo_records(tx, known, &of_table, at, &mut out).await?,
            None => of_table.iter().for_each(|story| out.keep_whole(story, "gone")),
        }
    }
    out.write(tx, number).await?;
    if let Some(Story { subject, last_part, .. }) = stories.last() {
        let Subject { bucket, customer, table, key } = subject.clone();
        let table = i64::from(table);
        let params = crate::params![number, bucket, customer, table, key, *last_part];
        tx.execute(&FORGET_SLICE, params).await?;
    }
    Ok(out.undone)
}

fn stories(rows: &[Row]) -> Result<Vec<Story>> {
    let mut stories: Vec<Story> = Vec::new();
    for row in rows {
        let subject = Subject {
            bucket: row.small(0)?,
            customer: row.uuid(1)?,
            table: row.small(2)?,
            key: row.text(3)?,
        };
        let (part, at, created) = (row.int(4)?, row.int(5)?, row.int(6)? != 0);
        let changes: BTreeMap<String, (Json, Json)> = serde_json::from_str(&row.text(7)?)
            .map_err(|error| Error::Corrupt(format!("read journal: {error}")))?;
        if stories.last().is_none_or(|last| last.subject != subject) {
            stories.push(Story {
                subject,
                created: false,
                at,
                changes: BTreeMap::new(),
                rows: 0,
                last_part: part,
            });
        }
        let Some(story) = stories.last_mut() else { continue };
        story.created |= created;
        story.at = story.at.max(at);
        story.rows += 1;
        story.last_part = part;
        for (name, (before, after)) in changes {
            // What was first before, and what was last made of it.
            let known = story.changes.entry(name).or_insert((before, Json::Null));
            known.1 = after;
        }
    }
    Ok(stories)
}

impl Outcome {
    fn keep(
        &mut self,
        story: &Story,
        name: &str,
        reason: &str,
        (imported, current): (Option<&Json>, Option<&Json>),
    ) {
        let shown =
            |json: Option<&Json>| json.filter(|json| !json.is_null()).map(|json| json.to_string());
        self.undone.kept += 1;
        self.kept.push(vec![
            story.subject.customer.into(),
            i64::from(story.subject.table).into(),
            story.subject.key.as_str().into(),
            name.into(),
            reason.into(),
            shown(imported).into(),
            shown(current).into(),
        ]);
    }

    fn keep_whole(&mut self, story: &Story, reason: &str) {
        self.keep(story, "", reason, (None, None));
    }

    async fn write(&mut self, tx: &mut Tx, import: i64) -> Result<()> {
        if self.kept.is_empty() {
            return Ok(());
        }
        let last = tx.first(&LAST_KEPT, crate::params![import]).await?;
        let mut place = last.map_or(Ok(0), |row| row.int(0))?;
        let mut rows: Vec<Vec<Param>> = Vec::with_capacity(self.kept.len());
        for kept in self.kept.drain(..) {
            place += 1;
            let mut row: Vec<Param> = vec![import.into(), place.into()];
            row.extend(kept);
            rows.push(row);
        }
        let columns = [
            column("import_number", ColumnType::BigInt),
            column("place", ColumnType::BigInt),
            column("customer_id", ColumnType::Uuid),
            column("table_number", ColumnType::BigInt),
            column("record_key", ColumnType::Text),
            column("field", ColumnType::Text),
            column("reason", ColumnType::Text),
            column("imported", ColumnType::Text),
            column("current", ColumnType::Text),
        ];
        insert_many(tx, "import_kept", &columns, &rows, OnConflict::Fail, "").await?;
        Ok(())
    }
}

/// A customer as it stands, as far as the journal speaks of it.
struct Standing {
    updated_at: i64,
    /// By field, as the journal holds values.
    values: HashMap<String, Json>,
}

/// The columns that a journal's fields stand for: the journal's name, the column and how it is kept.
fn attribute_columns<'s>(
    fields: &'s [tidings_domain::schema::Attribute],
    stories: &[&Story],
) -> Vec<(String, &'s str, Storage)> {
    let touched: HashSet<&String> = stories.iter().flat_map(|story| story.changes.keys()).collect();
    let columns = fields.iter().map(|one| (field(one.number), one));
    columns
        .filter(|(name, _)| touched.contains(name))
        .map(|(name, one)| (name, one.column.as_str(), one.kind.storage()))
        .collect()
}

async fn undo_customers(
    tx: &mut Tx,
    schema: &Schema,
    stories: &[&Story],
    at: Timestamp,
    out: &mut Outcome,
) -> Result<()> {
    if stories.is_empty() {
        return Ok(());
    }
    let columns = attribute_columns(&schema.attributes, stories);
    let mut wanted = "t.id, t.updated_at, t.external_id, t.email, t.phone".to_owned();
    for (_, column, _) in &columns {
        wanted.push_str(", t.");
        wanted.push_str(&quoted(column));
    }
    let ids = || stories.iter().map(|story| CustomerId(story.subject.customer));
    let mut keys: Vec<Vec<Param>> = ids().map(customer_key).collect();
    sort_rows(&mut keys);
    let mut standing: HashMap<Uuid, Standing> = HashMap::new();
    for row in lock_many(tx, "customers", &wanted, &CUSTOMER_KEY, &keys).await? {
        let mut values = HashMap::new();
        for (offset, kind) in NAMES.iter().enumerate() {
            let name = row.opt_text(2 + offset)?.map_or(Json::Null, Json::from);
            values.insert(kind.name().to_owned(), name);
        }
        for (offset, (name, _, storage)) in columns.iter().enumerate() {
            let value = row.value(5 + offset, *storage)?;
            values.insert(name.clone(), value_json(value.as_ref()));
        }
        standing.insert(row.uuid(0)?, Standing { updated_at: row.int(1)?, values });
    }
    for ((customer, name), consent) in consents(tx, ids()).await? {
        if let Some(one) = standing.get_mut(&customer.0) {
            one.values.insert(name, consent);
        }
    }
    let touched = touched_customers(tx, schema, stories).await?;
    let mut gone: Vec<&Story> = Vec::new();
    let mut back: Vec<Back<'_>> = Vec::new();
    // Names that go back must be free, and no two may go back to the same one.
    let mut taken = taken_names(tx, stories).await?;
    for story in stories {
        let Some(now) = standing.get(&story.subject.customer) else {
            out.keep_whole(story, "gone");
            continue;
        };
        if story.created {
            let consents_are_ours = now.values.iter().all(|(name, json)| {
                !name.starts_with("consent:")
                    || story.changes.get(name).is_some_and(|(_, after)| after == json)
            });
            let untouched = now.updated_at == story.at
                && !touched.contains(&story.subject.customer)
                && consents_are_ours;
            match untouched {
                true => gone.push(story),
                false => out.keep_whole(story, "touched"),
            }
            continue;
        }
        let mut fields = Vec::new();
        for (name, (before, after)) in &story.changes {
            let current = now.values.get(name);
            let is_known = current.is_some() || name.starts_with("consent:");
            let said = (Some(after), current);
            if !is_known {
                out.keep(story, name, "gone", said);
            } else if current.unwrap_or(&Json::Null) != after {
                out.keep(story, name, "changed", said);
            } else if let Some(identity) = identity(name, before)
                && !taken.insert(identity)
            {
                out.keep(story, name, "taken", said);
            } else {
                fields.push((name, before));
            }
        }
        if !fields.is_empty() {
            out.undone.restored += 1;
            back.push((story, fields));
        }
    }
    delete_customers(tx, &gone, &standing).await?;
    out.undone.deleted += gone.len() as u64;
    restore_names(tx, &back, &standing).await?;
    restore_consents(tx, &back).await?;
    restore_values(tx, "customers", &CUSTOMER_KEY, &columns, &back, at, |story| {
        customer_key(CustomerId(story.subject.customer))
    })
    .await
}

/// The identity that a field holds.
fn identity(name: &str, value: &Json) -> Option<Identity> {
    let kind = NAMES.into_iter().find(|kind| kind.name() == name)?;
    Some(Identity { kind, value: value.as_str()?.to_owned() })
}

/// Names that the journal would give back and that belong to somebody by now.
async fn taken_names(tx: &mut Tx, stories: &[&Story]) -> Result<HashSet<Identity>> {
    let mut wanted: Vec<Identity> = Vec::new();
    let mut owners: HashMap<Identity, Uuid> = HashMap::new();
    for story in stories.iter().filter(|story| !story.created) {
        for (name, (before, _)) in &story.changes {
            if let Some(identity) = identity(name, before) {
                owners.insert(identity.clone(), story.subject.customer);
                wanted.push(identity);
            }
        }
    }
    let found = find_identities(tx, &wanted).await?;
    let others = found.into_iter().filter(|(name, id)| owners.get(name) != Some(&id.0));
    Ok(others.map(|(name, _)| name).collect())
}

/// Made customers that something else has touched: there are events, records, marks or deliveries.
async fn touched_customers(
    tx: &mut Tx,
    schema: &Schema,
    stories: &[&Story],
) -> Result<HashSet<Uuid>> {
    let made = stories.iter().filter(|story| story.created);
    let mut keys: Vec<Vec<Param>> =
        made.map(|story| customer_key(CustomerId(story.subject.customer))).collect();
    sort_rows(&mut keys);
    let owned = schema.tables.iter().map(|table| table.physical.as_str());
    let mut touched = HashSet::new();
    for table in ["events", "tags", "group_members", "deliveries"].into_iter().chain(owned) {
        let found = select_many(tx, table, "distinct t.customer_id", &OWNER_KEY, &keys, "").await?;
        for row in found {
            touched.insert(row.uuid(0)?);
        }
    }
    Ok(touched)
}

async fn delete_customers(
    tx: &mut Tx,
    stories: &[&Story],
    standing: &HashMap<Uuid, Standing>,
) -> Result<()> {
    if stories.is_empty() {
        return Ok(());
    }
    let mut keys: Vec<Vec<Param>> =
        stories.iter().map(|story| customer_key(CustomerId(story.subject.customer))).collect();
    sort_rows(&mut keys);
    let mut names: Vec<Vec<Param>> = Vec::new();
    for story in stories {
        let Some(now) = standing.get(&story.subject.customer) else { continue };
        for kind in NAMES {
            if let Some(Json::String(value)) = now.values.get(kind.name()) {
                names.push(identity_row(kind, value, story.subject.customer));
            }
        }
    }
    sort_identities(tx, &mut names);
    delete_many(tx, "identities", &IDENTITY_OF, &names).await?;
    for table in ["consents", "segment_members", "dirty_customers"] {
        delete_many(tx, table, &OWNER_KEY, &keys).await?;
    }
    delete_many(tx, "customers", &CUSTOMER_KEY, &keys).await?;
    Ok(())
}

const IDENTITY_OF: [Column<'static>; 4] = [
    column("ibucket", ColumnType::SmallInt),
    column("kind", ColumnType::SmallInt),
    column("value", ColumnType::Text),
    column("customer_id", ColumnType::Uuid),
];

fn identity_row(kind: IdentityKind, value: &str, customer: Uuid) -> Vec<Param> {
    let bucket = identity_bucket(kind, value);
    vec![bucket.into(), kind.number().into(), value.into(), customer.into()]
}

/// The rows by which customers are found: the imported names go, the earlier ones come back.
async fn restore_names(
    tx: &mut Tx,
    back: &[Back<'_>],
    standing: &HashMap<Uuid, Standing>,
) -> Result<()> {
    let (mut drop, mut add): (Vec<Vec<Param>>, Vec<Vec<Param>>) = Default::default();
    for (story, fields) in back {
        let customer = story.subject.customer;
        for (name, before) in fields {
            let Some(kind) = NAMES.into_iter().find(|kind| kind.name() == *name) else { continue };
            let now = standing.get(&customer).and_then(|now| now.values.get(*name));
            if let Some(Json::String(imported)) = now {
                drop.push(identity_row(kind, imported, customer));
            }
            if let Json::String(value) = before {
                let mut row = identity_row(kind, value, customer);
                row.push(story.subject.bucket.into());
                add.push(row);
            }
        }
    }
    sort_identities(tx, &mut drop);
    sort_identities(tx, &mut add);
    delete_many(tx, "identities", &IDENTITY_OF, &drop).await?;
    let [ibucket, kind, value, customer] = IDENTITY_OF;
    let columns = [ibucket, kind, value, customer, column("bucket", ColumnType::SmallInt)];
    insert_many(tx, "identities", &columns, &add, OnConflict::Keep, "").await?;
    Ok(())
}

const CONSENT_KEY: [Column<'static>; 4] = [
    column("bucket", ColumnType::SmallInt),
    column("customer_id", ColumnType::Uuid),
    column("channel", ColumnType::SmallInt),
    column("topic", ColumnType::Text),
];

async fn restore_consents(tx: &mut Tx, back: &[Back<'_>]) -> Result<()> {
    let (mut drop, mut set): (Vec<Vec<Param>>, Vec<Vec<Param>>) = Default::default();
    for (story, fields) in back {
        for (name, before) in fields {
            let Some(consent) = name.strip_prefix("consent:") else { continue };
            let Some((channel, topic)) = consent.split_once(':') else { continue };
            let channel: i64 = channel.parse().unwrap_or(1);
            debug_assert_eq!(**name, consent_field(channel, topic));
            let mut row = customer_key(CustomerId(story.subject.customer));
            row.extend([channel.into(), topic.into()]);
            match (before["state"].as_str(), before["at"].as_i64(), before["source"].as_str()) {
                (Some(state), Some(at), Some(source)) => {
                    row.extend([state.into(), at.into(), source.into()]);
                    set.push(row);
                }
                _ => drop.push(row),
            }
        }
    }
    sort_rows(&mut drop);
    sort_rows(&mut set);
    delete_many(tx, "consents", &CONSENT_KEY, &drop).await?;
    let values = [
        column("state", ColumnType::Text),
        column("at", ColumnType::BigInt),
        column("source", ColumnType::Text),
    ];
    update_many(tx, "consents", &CONSENT_KEY, &values, &set, "", "").await?;
    Ok(())
}

/// Writes the columns back, those with the same fields together.
async fn restore_values(
    tx: &mut Tx,
    table: &str,
    keys: &[Column<'_>],
    columns: &[(String, &str, Storage)],
    back: &[Back<'_>],
    at: Timestamp,
    key: impl Fn(&Story) -> Vec<Param>,
) -> Result<()> {
    let mut groups: BTreeMap<Vec<(&str, ColumnType)>, Vec<Vec<Param>>> = BTreeMap::new();
    for (story, fields) in back {
        let mut set = Vec::new();
        let mut row = key(story);
        row.push(at.into());
        for (name, before) in fields {
            if let Some((_, column, storage)) = columns.iter().find(|(one, ..)| one == *name) {
                let Some(value) = json_value(before, *storage) else { continue };
                set.push((*column, ColumnType::from(*storage)));
                row.push(value.into());
            } else if let Some(kind) = NAMES.iter().find(|kind| kind.name() == *name) {
                set.push((kind.name(), ColumnType::Text));
                row.push(before.as_str().map(str::to_owned).into());
            }
        }
        groups.entry(set).or_default().push(row);
    }
    for (fields, mut rows) in groups {
        let mut set = vec![column("updated_at", ColumnType::BigInt)];
        set.extend(fields.iter().map(|(name, kind)| column(name, *kind)));
        sort_rows(&mut rows);
        update_many(tx, table, keys, &set, &rows, "", "").await?;
    }
    Ok(())
}

async fn undo_records(
    tx: &mut Tx,
    table: &Table,
    stories: &[&Story],
    at: Timestamp,
    out: &mut Outcome,
) -> Result<()> {
    let columns = attribute_columns(&table.fields, stories);
    let mut wanted = "t.customer_id, t.record_key, t.updated_at".to_owned();
    for (_, column, _) in &columns {
        wanted.push_str(", t.");
        wanted.push_str(&quoted(column));
    }
    let key = |story: &Story| -> Vec<Param> {
        let subject = &story.subject;
        vec![subject.bucket.into(), subject.customer.into(), subject.key.as_str().into()]
    };
    let mut keys: Vec<Vec<Param>> = stories.iter().map(|story| key(story)).collect();
    sort_rows(&mut keys);
    let mut standing: HashMap<(Uuid, String), Standing> = HashMap::new();
    for row in lock_many(tx, &table.physical, &wanted, &RECORD_KEY, &keys).await? {
        let mut values = HashMap::new();
        for (offset, (name, _, storage)) in columns.iter().enumerate() {
            let value = row.value(3 + offset, *storage)?;
            values.insert(name.clone(), value_json(value.as_ref()));
        }
        let one = Standing { updated_at: row.int(2)?, values };
        standing.insert((row.uuid(0)?, row.text(1)?), one);
    }
    let mut gone: Vec<Vec<Param>> = Vec::new();
    let mut back: Vec<Back<'_>> = Vec::new();
    for story in stories {
        let subject = (story.subject.customer, story.subject.key.clone());
        let Some(now) = standing.get(&subject) else {
            out.keep_whole(story, "gone");
            continue;
        };
        if story.created {
            match now.updated_at == story.at {
                true => gone.push(key(story)),
                false => out.keep_whole(story, "touched"),
            }
            continue;
        }
        let mut fields = Vec::new();
        for (name, (before, after)) in &story.changes {
            match now.values.get(name) {
                Some(current) if current == after => fields.push((name, before)),
                Some(current) => {
                    out.keep(story, name, "changed", (Some(after), Some(current)));
                }
                None => out.keep(story, name, "gone", (Some(after), None)),
            }
        }
        if !fields.is_empty() {
            out.undone.restored += 1;
            back.push((story, fields));
        }
    }
    sort_rows(&mut gone);
    out.undone.deleted += gone.len() as u64;
    delete_many(tx, &table.physical, &RECORD_KEY, &gone).await?;
    restore_values(tx, &table.physical, &RECORD_KEY, &columns, &back, at, key).await
}
