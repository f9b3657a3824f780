//! The index of searched texts, and what it does not know yet.
//!
//! Whoever changes what a customer is found by writes a range of system ids to `search_pending` in
//! the same transaction: one row for all the new customers of a batch, whose ids follow each other.
//! A job makes the texts of these ranges, slice by slice; until then a search looks through the
//! customers of the ranges themselves. So an import pays for one row a batch, and nobody is missed.
//!
//! The texts are SQLite's full-text index of trigrams, and on PostgreSQL a table with an inverted
//! index over the numbers of grams. Both hold what `customers` holds already, so archives leave
//! them out, and a restored hub makes them anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use tidings_domain::schema::Schema;
use tidings_domain::search::{grams, is_name, searched_attributes, searched_text};
use tidings_domain::value::Value;
use tidings_domain::{CustomerId, bucket_of};
use uuid::Uuid;

use crate::Result;
use crate::bulk::{ColumnType, OnConflict, column, delete_many, insert_many};
use crate::changes::sort_rows;
use crate::customers::{Customer, customer, customer_columns};
use crate::engines::{Priority, Tx};
use crate::jobs::{self, Job};
use crate::sql::{Dialect, Param, Sql};
use crate::workspace::Workspace;

/// The kind of the job that makes the index know what is pending.
pub const INDEX_SEARCH: &str = "index_search";
/// How many customers one transaction makes the texts of.
const SLICE: usize = 250;
/// How many ranges one transaction looks at.
const RANGES: i64 = 100;
/// How many customers that the index does not know yet are looked through for a page.
const MOST_UNKNOWN: usize = 2_000;

static PENDING: Sql = Sql::fan_out(
    "search_pending",
    "select bucket, id, low, high from {s}search_pending
     where bulk = 0 or not exists (select 1 from {s}imports where state = 'running')
     order by bulk, id limit ?1",
);
/// The newest of single changes first: who changed somebody looks for them now.
static UNKNOWN: Sql = Sql::fan_out(
    "search_unknown",
    "select low, high from {s}search_pending order by bulk, id desc limit ?1",
);
static WANTS_INDEX: Sql = Sql::fan_out(
    "search_wants_index",
    "select 1 where exists (select 1 from {s}search_pending
         where bulk = 0 or not exists (select 1 from {s}imports where state = 'running'))
       and not exists
         (select 1 from {s}jobs where kind = ?1 and state in ('due', 'running'))",
);
static DONE: Sql =
    Sql::bucket("search_range_done", "delete from {s}search_pending where bucket = ?1 and id = ?2");
static MOVE: Sql = Sql::bucket(
    "move_search_range",
    "update {s}search_pending set low = ?3 where bucket = ?1 and id = ?2",
);
static PUT_ALL: Sql = Sql::fan_out(
    "index_everybody",
    "insert into {s}search_pending (bucket, id, low, high, bulk)
     select ?1, ?2, 1, 9223372036854775807, 1
     where exists (select 1 from {s}customers)",
);
static DROP_TEXT: Sql = Sql::bucket(
    "drop_search_text",
    "delete from {s}search_texts where bucket = ?1 and customer_id = ?2",
);
static DROP_TEXT_SQLITE: Sql = Sql::bucket(
    "drop_search_text",
    "delete from {s}search_texts where rowid =
       (select system_id from {s}customers where bucket = ?1 and id = ?2)",
);
static HAS_INDEX: Sql = Sql::reference(
    "has_search_index",
    "select 1 from {s}migrations where name = 'customers_found'",
);

pub(super) static SQL: &[&Sql] =
    &[&PENDING, &UNKNOWN, &WANTS_INDEX, &DONE, &MOVE, &PUT_ALL, &DROP_TEXT, &HAS_INDEX];

/// Customers whose searched text may have changed, by system id.
pub(crate) type Touched = BTreeMap<i64, CustomerId>;

/// Says that the index must look at customers again. `bulk` is for imports, which come last.
pub(crate) async fn touched(tx: &mut Tx, touched: &Touched, bulk: bool) -> Result<()> {
    let mut ranges: Vec<(CustomerId, i64, i64)> = Vec::new();
    for (number, customer) in touched {
        match ranges.last_mut() {
            Some((_, _, high)) if *high + 1 == *number => *high = *number,
            _ => ranges.push((*customer, *number, *number)),
        }
    }
    let columns = [
        column("bucket", ColumnType::SmallInt),
        column("id", ColumnType::Uuid),
        column("low", ColumnType::BigInt),
        column("high", ColumnType::BigInt),
        column("bulk", ColumnType::SmallInt),
    ];
    let mut rows: Vec<Vec<Param>> = ranges
        .into_iter()
        .map(|(customer, low, high)| {
            let bucket = bucket_of(customer);
            vec![
                bucket.into(),
                Uuid::now_v7().into(),
                low.into(),
                high.into(),
                i64::from(bulk).into(),
            ]
        })
        .collect();
    sort_rows(&mut rows);
    insert_many(tx, "search_pending", &columns, &rows, OnConflict::Fail, "").await.map(|_| ())
}

/// Takes a customer out of the index; on SQLite their row must still be there.
pub(crate) async fn forget(tx: &mut Tx, customer: CustomerId) -> Result<()> {
    let sql = match tx.dialect() {
        Dialect::Sqlite => &DROP_TEXT_SQLITE,
        Dialect::Postgres => &DROP_TEXT,
    };
    tx.execute(sql, crate::params![bucket_of(customer), customer]).await.map(|_| ())
}

/// Says that the index must look at everybody again, where there is one already.
pub(crate) async fn index_all(tx: &mut Tx) -> Result<()> {
    if tx.first(&HAS_INDEX, &[]).await?.is_some() {
        tx.execute(&PUT_ALL, crate::params![0_i64, Uuid::now_v7()]).await?;
    }
    Ok(())
}

/// Whether what customers are found by depends on attributes of these names.
pub(crate) fn schema_matters(names: &[&str]) -> bool {
    names.iter().any(|name| is_name(name))
}

/// What a customer is found by.
pub(super) fn text_of(customer: &Customer) -> String {
    let names = searched_attributes(&customer.schema);
    let names = names.iter().filter_map(|at| match customer.values[*at].as_ref() {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    });
    let identities = [&customer.email, &customer.phone, &customer.external_id];
    searched_text(names.chain(identities.into_iter().filter_map(|one| one.as_deref())))
}

/// The number of a gram in PostgreSQL's index. Two grams may share one: what is found is held
/// against the text. Whoever changes this must have everybody indexed anew.
pub(super) fn gram_number(gram: [char; 3]) -> i32 {
    let mixed = gram.iter().fold(0x811c_9dc5_u32, |hash, c| {
        (hash ^ u32::from(*c)).wrapping_mul(0x0100_0193).rotate_left(7)
    });
    mixed as i32
}

/// Customers whom the index does not know as they stand, as many as a search may look through.
pub(super) async fn not_indexed(tx: &mut Tx, schema: &Arc<Schema>) -> Result<Vec<Customer>> {
    let ranges = tx.query(&UNKNOWN, crate::params![RANGES]).await?;
    let mut all = Vec::new();
    for row in &ranges {
        let room = MOST_UNKNOWN - all.len();
        if room == 0 {
            break;
        }
        all.append(&mut in_range(tx, schema, row.int(0)?, row.int(1)?, room, "").await?);
    }
    Ok(all)
}

async fn in_range(
    tx: &mut Tx,
    schema: &Arc<Schema>,
    low: i64,
    high: i64,
    limit: usize,
    lock: &str,
) -> Result<Vec<Customer>> {
    let text = format!(
        "select {} from {{s}}customers t where t.system_id >= ?1 and t.system_id <= ?2 \
         order by t.system_id limit ?3{lock}",
        customer_columns(schema)
    );
    let rows = tx.query_text(&text, crate::params![low, high, limit as i64]).await?;
    rows.iter().map(|row| customer(row, 0, schema)).collect()
}

impl Workspace {
    /// Whether there is something for the job to do that is not yet a job.
    pub async fn search_wants_index(&self) -> Result<bool> {
        self.read(|tx| {
            Box::pin(async move {
                let found = tx.first(&WANTS_INDEX, crate::params![INDEX_SEARCH]).await?;
                Ok(found.is_some())
            })
        })
        .await
    }

    /// Makes the index know the next slice; gives whether there is more.
    pub async fn index_search(&self, job: &Job) -> Result<bool> {
        self.by_schema(|schema| {
            let job = job.clone();
            self.write(Priority::Bulk, move |tx| {
                Box::pin(async move {
                    jobs::hold(tx, &job).await?;
                    slice(tx, &schema).await
                })
            })
        })
        .await
    }
}

async fn slice(tx: &mut Tx, schema: &Arc<Schema>) -> Result<bool> {
    // Who is locked here is neither changed nor erased before the text stands.
    let lock = match tx.dialect() {
        Dialect::Sqlite => "",
        Dialect::Postgres => " for no key update",
    };
    let ranges = tx.query(&PENDING, crate::params![RANGES]).await?;
    let mut room = SLICE;
    let mut texts: BTreeMap<i64, (CustomerId, String)> = BTreeMap::new();
    for row in &ranges {
        let (bucket, id) = (row.int(0)?, row.uuid(1)?);
        let customers = in_range(tx, schema, row.int(2)?, row.int(3)?, room, lock).await?;
        match customers.last() {
            Some(last) if customers.len() == room => {
                tx.execute(&MOVE, crate::params![bucket, id, last.system_id + 1]).await?;
            }
            _ => {
                tx.execute(&DONE, crate::params![bucket, id]).await?;
            }
        }
        room -= customers.len();
        texts.extend(customers.iter().map(|one| (one.system_id, (one.id, text_of(one)))));
        if room == 0 {
            break;
        }
    }
    put(tx, texts).await?;
    Ok(!ranges.is_empty())
}

async fn put(tx: &mut Tx, texts: BTreeMap<i64, (CustomerId, String)>) -> Result<()> {
    if tx.dialect() == Dialect::Sqlite {
        return put_sqlite(tx, texts).await;
    }
    let columns = [
        column("bucket", ColumnType::SmallInt),
        column("customer_id", ColumnType::Uuid),
        column("system_id", ColumnType::BigInt),
        column("text", ColumnType::Text),
        column("grams", ColumnType::Numbers),
    ];
    let mut rows: Vec<Vec<Param>> = texts
        .into_iter()
        .map(|(number, (customer, text))| {
            let numbers = numbers_of(&text);
            vec![
                bucket_of(customer).into(),
                customer.into(),
                number.into(),
                text.into(),
                numbers.into(),
            ]
        })
        .collect();
    sort_rows(&mut rows);
    let clause = "(bucket, customer_id) do update set system_id = excluded.system_id, \
                  text = excluded.text, grams = excluded.grams \
                  where t.text <> excluded.text or t.system_id <> excluded.system_id";
    insert_many(tx, "search_texts", &columns, &rows, OnConflict::Clause(clause), "")
        .await
        .map(|_| ())
}

async fn put_sqlite(tx: &mut Tx, texts: BTreeMap<i64, (CustomerId, String)>) -> Result<()> {
    // A full-text index knows no upsert; a row that is not there is not missed.
    let number = column("rowid", ColumnType::BigInt);
    let old: Vec<Vec<Param>> =
        texts.keys().map(|number| vec![Param::Null, (*number).into()]).collect();
    delete_many(tx, "search_texts", &[column("bucket", ColumnType::SmallInt), number], &old)
        .await?;
    let columns =
        [number, column("text", ColumnType::Text), column("customer_id", ColumnType::Uuid)];
    let rows: Vec<Vec<Param>> = texts
        .into_iter()
        .map(|(number, (customer, text))| vec![number.into(), text.into(), customer.into()])
        .collect();
    insert_many(tx, "search_texts", &columns, &rows, OnConflict::Fail, "").await.map(|_| ())
}

/// The numbers of a text's grams as an array of PostgreSQL.
fn numbers_of(text: &str) -> String {
    let mut numbers = String::from("{");
    for (at, gram) in grams(text).into_iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let _ = write!(numbers, "{comma}{}", gram_number(gram));
    }
    numbers.push('}');
    numbers
}
