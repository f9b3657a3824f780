//! Upserting records of the workspace's own tables.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tidings_domain::change::{Change, CustomerRef, Mode, Outcome, Refusal, UpsertRecord};
use tidings_domain::schema::{Owner, Table};
use tidings_domain::upsert::{Edit, edited, prepare_field};
use tidings_domain::value::Value;
use tidings_domain::{CustomerId, bucket_of};
use uuid::Uuid;

use super::journal::{self, Journal, Subject};
use super::{Applying, Dirty, find_customers, sort_rows, unknown_customer};
use crate::bulk::{Column, ColumnType, OnConflict, column, insert_many, lock_many, update_many};
use crate::engines::Tx;
use crate::sql::{Param, quoted};
use crate::{Error, Result};

/// The key columns of every user table.
pub(crate) const RECORD_KEY: [Column<'static>; 3] = [
    column("bucket", ColumnType::SmallInt),
    column("customer_id", ColumnType::Uuid),
    column("record_key", ColumnType::Text),
];

/// A record while a batch works on it.
struct Working {
    bucket: u16,
    is_new: bool,
    values: HashMap<usize, Option<Value>>,
    changed: HashSet<usize>,
    /// What the changed fields were, where the record was there before.
    before: HashMap<usize, Option<Value>>,
}

struct Prepared {
    owner: Option<CustomerId>,
    bucket: u16,
    edits: Vec<(usize, Edit)>,
}

type Key = (Uuid, String);

pub(super) async fn apply(
    tx: &mut Tx,
    how: &mut Applying,
    changes: &[Change],
    dirty: &mut Dirty,
) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::with_capacity(changes.len());
    let mut rest: Vec<&UpsertRecord> = changes
        .iter()
        .filter_map(|change| match change {
            Change::UpsertRecord(record) => Some(record),
            _ => None,
        })
        .collect();
    while let Some(first) = rest.first().copied() {
        let run = rest.iter().take_while(|record| record.table == first.table).count();
        let later = rest.split_off(run);
        match how.schema.table(&first.table).cloned() {
            Some(table) => outcomes.append(&mut one_table(tx, how, &table, &rest, dirty).await?),
            None => outcomes.extend(rest.iter().map(|record| {
                let message = format!("unknown table {}; add it to the schema first", record.table);
                Outcome::Refused(Refusal::new("unknown_table", "table", message))
            })),
        }
        rest = later;
    }
    Ok(outcomes)
}

async fn one_table(
    tx: &mut Tx,
    how: &mut Applying,
    table: &Arc<Table>,
    records: &[&UpsertRecord],
    dirty: &mut Dirty,
) -> Result<Vec<Outcome>> {
    let wanted: Vec<&CustomerRef> =
        records.iter().filter_map(|record| record.customer.as_ref()).collect();
    let mut owners = find_customers(tx, &wanted).await?.into_iter();
    let prepared: Vec<Result<Prepared, Outcome>> = records
        .iter()
        .map(|record| {
            let owner = record.customer.as_ref().and_then(|_| owners.next()).flatten();
            prepare(table, record, owner)
        })
        .collect();
    let mut positions: Vec<usize> = prepared
        .iter()
        .flatten()
        .flat_map(|one| one.edits.iter().map(|(position, _)| *position))
        .collect::<HashSet<usize>>()
        .into_iter()
        .collect();
    positions.sort_unstable();
    let mut rows: Vec<Vec<Param>> = prepared
        .iter()
        .zip(records)
        .filter_map(|(one, record)| one.as_ref().ok().map(|one| key_row(one, &record.key)))
        .collect();
    sort_rows(&mut rows);
    rows.dedup();
    let mut working = load(tx, table, &positions, &rows).await?;
    let mut outcomes = Vec::with_capacity(records.len());
    for (one, record) in prepared.into_iter().zip(records) {
        let one = match one {
            Ok(one) => one,
            Err(refused) => {
                outcomes.push(refused);
                continue;
            }
        };
        outcomes.push(work_one(table, &one, record, &mut working));
        if let Some(owner) = one.owner {
            dirty.mark(owner, format!("t{}", table.number));
        }
    }
    if let Some(journal) = &mut how.journal {
        note(table, &working, journal);
    }
    write(tx, how, table, &working).await?;
    Ok(outcomes)
}

fn prepare(
    table: &Table,
    record: &UpsertRecord,
    owner: Option<CustomerId>,
) -> Result<Prepared, Outcome> {
    let refuse =
        |code, path: &str, message: &str| Outcome::Refused(Refusal::new(code, path, message));
    let key = record.key.as_str();
    if key.is_empty() || key.len() > 256 || key.chars().any(char::is_control) {
        return Err(refuse("invalid_key", "key", "expected a key of 1 to 256 characters"));
    }
    let bucket = match (table.owner, owner, &record.customer) {
        (Owner::Customer, Some(owner), _) => bucket_of(owner),
        (Owner::Customer, None, Some(_)) => return Err(unknown_customer()),
        (Owner::Customer, None, None) => {
            let message = "records of this table belong to a customer";
            return Err(refuse("no_customer", "customer", message));
        }
        (Owner::Nobody, _, Some(_)) => {
            let message = "records of this table belong to nobody";
            return Err(refuse("unexpected_customer", "customer", message));
        }
        (Owner::Nobody, _, None) => tidings_domain::bucket::keyed_bucket("record", key),
    };
    let mut edits = Vec::with_capacity(record.fields.len());
    for (name, change) in &record.fields {
        let Some(position) = table.fields.iter().position(|field| field.name == *name) else {
            let message = format!("unknown field {name} of table {}", table.name);
            let path = format!("fields.{name}");
            return Err(Outcome::Refused(Refusal::new("unknown_field", path, message)));
        };
        match prepare_field(&table.fields[position], change, "fields") {
            Ok(Some(edit)) => edits.push((position, edit)),
            Ok(None) => {}
            Err(refusal) => return Err(Outcome::Refused(refusal)),
        }
    }
    Ok(Prepared { owner, bucket, edits })
}

/// Notes what is made and changed.
fn note(table: &Table, working: &HashMap<Key, Working>, journal: &mut Journal) {
    for ((customer, key), one) in working {
        let subject = Subject {
            bucket: one.bucket,
            customer: *customer,
            table: table.number,
            key: key.clone(),
        };
        if one.is_new {
            journal.created(subject);
            continue;
        }
        for (position, was) in &one.before {
            let name = journal::field(table.fields[*position].number);
            let is = one.values.get(position).and_then(Option::as_ref);
            let (was, is) = (journal::value_json(was.as_ref()), journal::value_json(is));
            journal.changed(&subject, name, was, is);
        }
    }
}

fn key_row(one: &Prepared, key: &str) -> Vec<Param> {
    vec![one.bucket.into(), owner_uuid(one.owner).into(), key.into()]
}

/// Records of nobody carry the nil id, so that one key shape serves both.
fn owner_uuid(owner: Option<CustomerId>) -> Uuid {
    owner.map_or(Uuid::nil(), |owner| owner.0)
}

fn work_one(
    table: &Table,
    one: &Prepared,
    record: &UpsertRecord,
    working: &mut HashMap<Key, Working>,
) -> Outcome {
    let key = (owner_uuid(one.owner), record.key.clone());
    let known = working.get(&key);
    match (known.is_some(), record.mode) {
        (false, Mode::Update) => {
            let message = "no record has this key";
            return Outcome::Refused(Refusal::new("unknown_record", "key", message));
        }
        (true, Mode::Create) => {
            let message = "a record with this key exists";
            return Outcome::Refused(Refusal::new("exists", "key", message));
        }
        _ => {}
    }
    let mut edits: Vec<(usize, Option<Value>)> = Vec::with_capacity(one.edits.len());
    for (position, edit) in &one.edits {
        let old = known.and_then(|known| known.values.get(position)).and_then(Option::as_ref);
        match edited(old, edit) {
            Ok(value) => edits.push((*position, value)),
            Err(expected) => {
                let path = format!("fields.{}", table.fields[*position].name);
                return Outcome::Refused(Refusal::new("invalid_value", path, expected));
            }
        }
    }
    let created = known.is_none();
    let slot = working.entry(key).or_insert_with(|| Working {
        bucket: one.bucket,
        is_new: true,
        values: HashMap::new(),
        changed: HashSet::new(),
        before: HashMap::new(),
    });
    let mut touched = false;
    for (position, value) in edits {
        let old = slot.values.entry(position).or_insert(None);
        if *old != value {
            let was = std::mem::replace(old, value);
            slot.before.entry(position).or_insert(was);
            slot.changed.insert(position);
            touched = true;
        }
    }
    let customer = one.owner;
    match (created, touched) {
        (true, _) => Outcome::Created { customer, system_id: None },
        (false, true) => Outcome::Updated { customer, system_id: None },
        (false, false) => Outcome::Unchanged { customer, system_id: None },
    }
}

async fn load(
    tx: &mut Tx,
    table: &Table,
    positions: &[usize],
    keys: &[Vec<Param>],
) -> Result<HashMap<Key, Working>> {
    let mut wanted = "t.bucket, t.customer_id, t.record_key".to_owned();
    for at in positions {
        wanted.push_str(", t.");
        wanted.push_str(&quoted(&table.fields[*at].column));
    }
    let mut working = HashMap::new();
    for row in lock_many(tx, &table.physical, &wanted, &RECORD_KEY, keys).await? {
        let mut values = HashMap::with_capacity(positions.len());
        for (offset, at) in positions.iter().enumerate() {
            let storage = table.fields[*at].kind.storage();
            values.insert(*at, row.value(3 + offset, storage)?);
        }
        let one = Working {
            bucket: row.small(0)?,
            is_new: false,
            values,
            changed: HashSet::new(),
            before: HashMap::new(),
        };
        working.insert((row.uuid(1)?, row.text(2)?), one);
    }
    Ok(working)
}

async fn write(
    tx: &mut Tx,
    how: &Applying,
    table: &Table,
    working: &HashMap<Key, Working>,
) -> Result<()> {
    type Group<'a> = Vec<(&'a Key, &'a Working)>;
    let mut groups: BTreeMap<(bool, Vec<usize>), Group<'_>> = BTreeMap::new();
    for (key, one) in working {
        if one.is_new || !one.changed.is_empty() {
            let mut positions: Vec<usize> = one.changed.iter().copied().collect();
            positions.sort_unstable();
            groups.entry((one.is_new, positions)).or_default().push((key, one));
        }
    }
    for ((is_new, positions), group) in groups {
        let fields: Vec<Column<'_>> = positions
            .iter()
            .map(|at| column(&table.fields[*at].column, table.fields[*at].kind.storage().into()))
            .collect();
        let mut set = vec![column("updated_at", ColumnType::BigInt)];
        if is_new {
            set.push(column("created_at", ColumnType::BigInt));
        }
        set.extend(&fields);
        let mut rows: Vec<Vec<Param>> = group
            .iter()
            .map(|((owner, key), one)| {
                let mut row: Vec<Param> =
                    vec![one.bucket.into(), (*owner).into(), key.as_str().into()];
                row.push(how.at.into());
                if is_new {
                    row.push(how.at.into());
                }
                row.extend(positions.iter().map(|at| one.values[at].clone().into()));
                row
            })
            .collect();
        sort_rows(&mut rows);
        if is_new {
            let columns: Vec<Column<'_>> = RECORD_KEY.iter().chain(&set).copied().collect();
            let written =
                insert_many(tx, &table.physical, &columns, &rows, OnConflict::Keep, "record_key")
                    .await?;
            if written.len() < rows.len() {
                // Another node made one of them since we looked; the caller tries again.
                return Err(Error::Unavailable("a record moved under this batch".to_owned()));
            }
        } else {
            update_many(tx, &table.physical, &RECORD_KEY, &set, &rows, "", "").await?;
        }
    }
    Ok(())
}
