//! Reading columns from the store, and what has changed of them since.

use std::collections::{BTreeSet, HashMap};

use tidings_domain::CustomerId;
use tidings_domain::value::Storage;
use uuid::Uuid;

use super::column::Column;
use super::held::{Held, Key};
use crate::bulk::select_many;
use crate::changes::{CUSTOMER_KEY, OWNER_KEY, customer_key, sort_rows};
use crate::engines::Tx;
use crate::engines::commits::Commits;
use crate::engines::touched::{CUSTOMERS, TABLES, Touched};
use crate::sql::{Dialect, Param, Row, quoted};
use crate::{Error, Result};

/// How many changed customers are read at once.
const AT_ONCE: usize = 5_000;
/// System ids with more gaps than this many a customer would waste memory.
const MOST_GAPS: u64 = 4;

/// A column that is to be read; attributes with how they are kept.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) key: Key,
    pub(super) storage: Option<Storage>,
}

/// Brings what is held to one state of the store, with these columns more. On an error, or where
/// too much has changed, nothing is held afterwards.
pub(super) async fn bring(
    tx: &mut Tx,
    held: &mut Held,
    committed: &Commits,
    wanted: &[Wanted],
) -> Result<()> {
    held.whole = false;
    let mark = committed.mark();
    let done = in_snapshot(tx, held, committed, mark, wanted).await;
    if let Err(error) = done {
        held.clear();
        let _ = tx.script("rollback").await;
        return Err(error);
    }
    held.whole = true;
    held.changed();
    Ok(())
}

async fn in_snapshot(
    tx: &mut Tx,
    held: &mut Held,
    committed: &Commits,
    mark: u64,
    wanted: &[Wanted],
) -> Result<()> {
    tx.script(match tx.dialect() {
        Dialect::Sqlite => "begin",
        Dialect::Postgres => "begin isolation level repeatable read read only",
    })
    .await?;
    // The snapshot is taken by the first statement that reads; only then is it asked what may be in it.
    tx.query_text("select 1 from {s}customers limit 1", &[]).await?;
    let touched = committed.take(mark);
    let followed = follow(tx, held, &touched).await?;
    if followed && !wanted.is_empty() {
        read(tx, held, wanted).await?;
    }
    tx.script("commit").await
}

/// Takes over what was written since; false where that was too much and nothing is held any more.
async fn follow(tx: &mut Tx, held: &mut Held, touched: &Touched) -> Result<bool> {
    if touched.is_empty() || held.keys().next().is_none() {
        return Ok(true);
    }
    if touched.tables[CUSTOMERS].all || touched.removed.all {
        held.give_up();
        return Ok(false);
    }
    for table in 0..TABLES.len() {
        if touched.tables[table].all {
            held.forget(|key| key.table() == table);
        }
    }
    if held.keys().next().is_none() {
        return Ok(true);
    }
    held.take_away(&touched.removed.ids.iter().copied().collect());
    let ids: BTreeSet<Uuid> =
        touched.tables.iter().flat_map(|rows| rows.ids.iter().copied()).collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    for some in ids.chunks(AT_ONCE) {
        read_customers(tx, held, some).await?;
    }
    Ok(true)
}

/// Reads all that is held of some customers.
async fn read_customers(tx: &mut Tx, held: &mut Held, ids: &[Uuid]) -> Result<()> {
    let mut columns: Vec<(Key, Storage)> = Vec::new();
    let mut wanted = "t.id, t.system_id".to_owned();
    for (key, column) in held.columns_mut() {
        if let (Key::Column(name), Some(storage)) = (key, column.storage()) {
            wanted.push_str(&format!(", t.{}", quoted(name)));
            columns.push((key.clone(), storage));
        }
    }
    let mut keys: Vec<Vec<Param>> = ids.iter().map(|id| customer_key(CustomerId(*id))).collect();
    sort_rows(&mut keys);
    let mut places: HashMap<Uuid, u32> = HashMap::with_capacity(ids.len());
    for row in select_many(tx, "customers", &wanted, &CUSTOMER_KEY, &keys, "").await? {
        let (id, at) = (row.uuid(0)?, position(&row, 1)?);
        held.place(at, id);
        places.insert(id, at);
        let values = columns.iter().enumerate();
        let mut values = values.map(|(n, (_, storage))| row.value(2 + n, *storage));
        for (key, column) in held.columns_mut() {
            if matches!(key, Key::Column(_)) {
                column.put(at, values.next().transpose()?.flatten());
            }
        }
    }
    read_marks(tx, held, &keys, &places).await
}

/// Reads which of the held marks some customers carry.
async fn read_marks(
    tx: &mut Tx,
    held: &mut Held,
    keys: &[Vec<Param>],
    places: &HashMap<Uuid, u32>,
) -> Result<()> {
    let tables: BTreeSet<usize> =
        held.keys().map(Key::table).filter(|table| *table != CUSTOMERS).collect();
    for table in tables {
        let of_table = |key: &Key| key.table() == table;
        for (_, column) in held.columns_mut().filter(|(key, _)| of_table(key)) {
            places.values().for_each(|at| column.put_mark(*at, None));
        }
        let wanted = marks_of(table);
        for row in select_many(tx, TABLES[table], wanted, &OWNER_KEY, keys, "").await? {
            let Some(at) = places.get(&row.uuid(0)?) else { continue };
            for (key, column) in held.columns_mut().filter(|(key, _)| of_table(key)) {
                if let Some(until) = mark(key, &row)? {
                    column.put_mark(*at, Some(until));
                }
            }
        }
    }
    Ok(())
}

/// What tells the marks in a table apart, the customer first.
fn marks_of(table: usize) -> &'static str {
    match TABLES[table] {
        "tags" => "t.customer_id, t.tag, t.until",
        "group_members" => "t.customer_id, t.group_number",
        "segment_members" => "t.customer_id, t.segment_number",
        _ => "t.customer_id, t.channel, t.topic, t.state",
    }
}

/// Whether a row is this mark, and if so when it ends.
fn mark(key: &Key, row: &Row) -> Result<Option<Option<i64>>> {
    Ok(match key {
        Key::Column(_) => None,
        Key::Tag(tag) => match row.text(1)? == *tag {
            true => Some(row.opt_int(2)?),
            false => None,
        },
        Key::Group(number) | Key::Segment(number) => {
            (row.int(1)? == i64::from(*number)).then_some(None)
        }
        Key::Consent(channel, topic, state) => {
            let same = row.int(1)? == i64::from(*channel)
                && row.text(2)? == *topic
                && row.text(3)? == *state;
            same.then_some(None)
        }
    })
}

/// The position of a customer: their system id.
fn position(row: &Row, at: usize) -> Result<u32> {
    row.small(at)
}

/// Reads whole columns, those of the customers table in one pass.
async fn read(tx: &mut Tx, held: &mut Held, wanted: &[Wanted]) -> Result<()> {
    let is_new = held.length() == 0;
    if is_new {
        let size = "select count(*), coalesce(max(system_id), 0) from {s}customers";
        let rows = tx.query_text(size, &[]).await?;
        let row = rows.first().ok_or_else(|| Error::Corrupt("no count of customers".into()))?;
        let (customers, last) = (row.small::<u64>(0)?, row.small::<u64>(1)?);
        if last > customers * MOST_GAPS + 1_000_000 || last >= u64::from(u32::MAX) {
            return Err(Error::Unavailable("system ids have too many gaps for columns".into()));
        }
        held.resize(last as usize + 1);
    }
    let mut columns: Vec<(&Key, Column, Storage)> = Vec::new();
    let mut text = "select t.system_id, t.id".to_owned();
    for Wanted { key, storage } in wanted {
        if let (Key::Column(name), Some(storage)) = (key, storage) {
            text.push_str(&format!(", t.{}", quoted(name)));
            columns.push((key, Column::of(*storage, held.length()), *storage));
        }
    }
    text.push_str(" from {s}customers t");
    if is_new || !columns.is_empty() {
        tx.each(&text, &[], |row| {
            let at = position(&row, 0)?;
            if is_new {
                held.place(at, row.uuid(1)?);
            }
            for (n, (_, column, storage)) in columns.iter_mut().enumerate() {
                let value = row.value(2 + n, *storage)?;
                if value.is_some() {
                    column.put(at, value);
                }
            }
            Ok(())
        })
        .await?;
    }
    for (key, column, _) in columns {
        held.keep(key.clone(), column);
    }
    for one in wanted.iter().filter(|one| one.key.table() != CUSTOMERS) {
        let column = read_mark(tx, &one.key, held.length()).await?;
        held.keep(one.key.clone(), column);
    }
    Ok(())
}

async fn read_mark(tx: &mut Tx, key: &Key, length: usize) -> Result<Column> {
    let (until, condition, params): (_, _, Vec<Param>) = match key {
        Key::Tag(tag) => ("g.until", "g.tag = ?1", vec![tag.into()]),
        Key::Group(number) => ("0", "g.group_number = ?1", vec![(*number).into()]),
        Key::Segment(number) => ("0", "g.segment_number = ?1", vec![(*number).into()]),
        Key::Consent(channel, topic, state) => (
            "0",
            "g.channel = ?1 and g.topic = ?2 and g.state = ?3",
            vec![(*channel).into(), topic.into(), (*state).into()],
        ),
        Key::Column(_) => return Err(Error::Corrupt("an attribute is no mark".into())),
    };
    let text = format!(
        "select c.system_id, {until} from {{s}}{} g
         join {{s}}customers c on c.bucket = g.bucket and c.id = g.customer_id where {condition}",
        TABLES[key.table()]
    );
    let ends = matches!(key, Key::Tag(_));
    let mut column = Column::marks(length);
    tx.each(&text, &params, |row| {
        let until = if ends { row.opt_int(1)? } else { None };
        column.put_mark(position(&row, 0)?, Some(until));
        Ok(())
    })
    .await?;
    Ok(column)
}
