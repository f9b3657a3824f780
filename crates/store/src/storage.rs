//! How much room each table of a workspace takes, and how that grew: one sample a day.

use std::collections::BTreeMap;

use tidings_domain::Timestamp;

use crate::Result;
use crate::engines::{Priority, Tx};
use crate::sql::{Dialect, Sql, quoted};
use crate::workspace::Workspace;

/// Samples are kept for so many days.
const KEEP_DAYS: i32 = 400;
/// PostgreSQL's own estimate is taken for tables with more rows than this; others are counted.
const COUNTED: i64 = 100_000;
/// The search index is one table on PostgreSQL, and a virtual one with parts on SQLite.
const SEARCH: &str = "search_texts";
const SEARCH_PARTS: &str = "search_texts_";

/// The room that a table takes with its indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSize {
    pub name: String,
    pub rows: i64,
    /// Whether `rows` is PostgreSQL's estimate.
    pub is_estimate: bool,
    pub bytes: i64,
}

/// A table on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Days since 1970 in UTC.
    pub day: i32,
    pub size: TableSize,
    pub measured_at: Timestamp,
}

static PUT: Sql = Sql::reference(
    "put_storage_sample",
    "insert into {s}storage_samples (day, name, row_count, is_estimate, bytes, measured_at)
     values (?1, ?2, ?3, ?4, ?5, ?6) on conflict (day, name) do nothing",
);
/// Old ones, and those of a day that is measured again: a table may be gone since.
static DROP: Sql = Sql::reference(
    "drop_storage_samples",
    "delete from {s}storage_samples where day < ?1 or day = ?2",
);
static SINCE: Sql = Sql::reference(
    "storage_samples",
    "select day, name, row_count, is_estimate, bytes, measured_at
     from {s}storage_samples where day >= ?1 order by day, name",
);
static LAST_DAY: Sql =
    Sql::reference("last_storage_sample", "select max(day) from {s}storage_samples");

pub(crate) static SQL: &[&Sql] = &[&PUT, &DROP, &SINCE, &LAST_DAY];

impl Workspace {
    /// Measures every table now. On SQLite this reads the whole file once; on PostgreSQL it asks for
    /// sizes, and counts the rows of small tables.
    pub async fn measure_storage(&self) -> Result<Vec<TableSize>> {
        self.read(|tx| {
            Box::pin(async move {
                match tx.dialect() {
                    Dialect::Sqlite => measure_sqlite(tx).await,
                    Dialect::Postgres => measure_postgres(tx).await,
                }
            })
        })
        .await
    }

    /// Keeps what was measured as the sample of its day, in place of one that is there.
    pub async fn keep_storage_sample(&self, sizes: Vec<TableSize>, at: Timestamp) -> Result<()> {
        self.write_kept(Priority::Bulk, move |tx| {
            Box::pin(async move {
                let day = day_of(at);
                tx.execute(&DROP, crate::params![day - KEEP_DAYS, day]).await?;
                for size in sizes {
                    let TableSize { name, rows, is_estimate, bytes } = size;
                    tx.execute(&PUT, crate::params![day, name, rows, is_estimate, bytes, at])
                        .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// The samples from a day on, by day and name.
    pub async fn storage_samples(&self, since: i32) -> Result<Vec<Sample>> {
        self.read(move |tx| {
            Box::pin(async move {
                let rows = tx.query(&SINCE, crate::params![since]).await?;
                rows.iter()
                    .map(|row| {
                        let size = TableSize {
                            name: row.text(1)?,
                            rows: row.int(2)?,
                            is_estimate: row.bool(3)?,
                            bytes: row.int(4)?,
                        };
                        Ok(Sample { day: row.small(0)?, size, measured_at: row.time(5)? })
                    })
                    .collect()
            })
        })
        .await
    }

    /// The day of the newest sample.
    pub async fn last_storage_sample(&self) -> Result<Option<i32>> {
        self.read(|tx| {
            Box::pin(async move {
                let row = tx.first(&LAST_DAY, &[]).await?;
                match row {
                    Some(row) if !row.is_null(0) => row.small(0).map(Some),
                    _ => Ok(None),
                }
            })
        })
        .await
    }
}

/// Days since 1970 in UTC.
pub fn day_of(at: Timestamp) -> i32 {
    i32::try_from(at.0.div_euclid(24 * 3_600 * 1_000_000)).unwrap_or(i32::MAX)
}

/// One walk over all pages: an index belongs to its table. A row is a cell on a leaf of its table,
/// and in tables without row ids on any page.
async fn measure_sqlite(tx: &mut Tx) -> Result<Vec<TableSize>> {
    let text = "select coalesce(s.tbl_name, d.name), sum(d.pgsize),
                  sum(case when coalesce(s.tbl_name, d.name) <> d.name then 0
                           when d.pagetype = 'leaf' or l.wr then d.ncell else 0 end)
                from dbstat d left join sqlite_schema s on s.name = d.name
                left join pragma_table_list l on l.name = d.name and l.schema = 'main'
                where d.pagetype <> 'overflow'
                group by 1";
    let overflow = "select coalesce(s.tbl_name, d.name), sum(d.pgsize)
                    from dbstat d left join sqlite_schema s on s.name = d.name
                    where d.pagetype = 'overflow' group by 1";
    let mut sizes: BTreeMap<String, TableSize> = BTreeMap::new();
    for row in tx.query_text(text, &[]).await? {
        let name = row.text(0)?;
        let size = TableSize {
            name: name.clone(),
            rows: row.int(2)?,
            is_estimate: false,
            bytes: row.int(1)?,
        };
        sizes.insert(name, size);
    }
    for row in tx.query_text(overflow, &[]).await? {
        if let Some(size) = sizes.get_mut(&row.text(0)?) {
            size.bytes += row.int(1)?;
        }
    }
    // The engine's own tables are no news to anybody, and the parts of the search index are one.
    sizes.retain(|name, _| !name.starts_with("sqlite_"));
    let parts: Vec<String> =
        sizes.keys().filter(|name| name.starts_with(SEARCH_PARTS)).cloned().collect();
    let mut search = TableSize { name: SEARCH.to_owned(), rows: 0, is_estimate: false, bytes: 0 };
    for part in parts.iter().filter_map(|name| sizes.remove(name)) {
        search.bytes += part.bytes;
        // One row for each text that is indexed.
        if part.name.ends_with("_docsize") {
            search.rows = part.rows;
        }
    }
    sizes.insert(search.name.clone(), search);
    Ok(sizes.into_values().collect())
}

/// A partitioned table is the sum of its partitions.
async fn measure_postgres(tx: &mut Tx) -> Result<Vec<TableSize>> {
    let schema = tx.schema().trim_end_matches('.').trim_matches('"').to_owned();
    let text = "select coalesce(p.relname, c.relname)::text,
                  sum(pg_total_relation_size(c.oid))::bigint,
                  sum(greatest(c.reltuples, pg_stat_get_live_tuples(c.oid), 0))::bigint
                from pg_class c join pg_namespace n on n.oid = c.relnamespace
                left join pg_inherits i on i.inhrelid = c.oid
                left join pg_class p on p.oid = i.inhparent
                where n.nspname = ?1::text and c.relkind = 'r' group by 1 order by 1";
    let mut sizes = Vec::new();
    for row in tx.query_text(text, crate::params![schema]).await? {
        let (name, bytes, estimate) = (row.text(0)?, row.int(1)?, row.int(2)?);
        let is_estimate = estimate > COUNTED;
        let rows = match is_estimate {
            true => estimate,
            false => {
                let text = format!("select count(*) from {{s}}{}", quoted(&name));
                tx.query_text(&text, &[]).await?.first().map_or(Ok(0), |row| row.int(0))?
            }
        };
        sizes.push(TableSize { name, rows, is_estimate, bytes });
    }
    Ok(sizes)
}
