//! One workspace: its database, its schema, and the way in for changes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tidings_domain::change::{Change, Outcome};
use tidings_domain::schema::Schema;
use tidings_domain::{CustomerId, Timestamp};

use crate::changes::{self, Applying};
use crate::columns::{ColumnCache, Columns};
use crate::customers::{Customer, Page, load_customers};
use crate::engines::{Db, Priority, Tx};
use crate::sql::{Dialect, Param, Row, Sql};
use crate::system::WorkspaceRow;
use crate::{Error, Result};

/// How long a schema that another node may have changed is trusted.
const SCHEMA_TRUST: Duration = Duration::from_secs(1);
/// How many system ids a node leases at once.
const SYSTEM_ID_BLOCK: usize = 1_000;

pub struct Workspace {
    pub row: WorkspaceRow,
    pub(crate) db: Db,
    schema: Mutex<Option<(Instant, Arc<Schema>)>>,
    system_ids: Mutex<VecDeque<i64>>,
    pub(crate) columns: Columns,
}

impl Workspace {
    pub(crate) async fn open(
        row: WorkspaceRow,
        db: Db,
        cache: Arc<ColumnCache>,
    ) -> Result<Workspace> {
        let workspace = Workspace {
            row,
            columns: Columns::new(cache, &db),
            db,
            schema: Mutex::new(None),
            system_ids: Mutex::new(VecDeque::new()),
        };
        workspace
            .write(Priority::Interactive, |tx| {
                Box::pin(async move {
                    crate::migrate::migrate(tx, crate::migrate::WORKSPACE).await?;
                    for (key, value) in [
                        ("schema_version", "1"),
                        ("next_system_id", "1"),
                        ("next_schema_number", "0"),
                    ] {
                        tx.execute_text(
                            "insert into {s}meta (key, value) values (?1, ?2) \
                             on conflict (key) do nothing",
                            crate::params![key, value],
                        )
                        .await?;
                    }
                    Ok(())
                })
            })
            .await?;
        Ok(workspace)
    }

    /// Whether this process alone writes here, with one writer.
    pub fn is_embedded(&self) -> bool {
        self.dialect() == Dialect::Sqlite
    }

    /// Which engine generated conditions are for.
    pub fn dialect(&self) -> Dialect {
        self.db.dialect()
    }

    /// How many commits this process has made here: far fewer than writes, since waiting ones are
    /// committed together. `None` on PostgreSQL.
    pub fn commits(&self) -> Option<u64> {
        self.db.commits()
    }

    /// Runs work in a transaction; for the operations of this crate.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        priority: Priority,
        work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.db.write(priority, work).await
    }

    /// Runs work that only reads; for the operations of this crate.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.db.read(work).await
    }

    /// The first row that a statement finds.
    pub(crate) async fn find<T: Send + 'static>(
        &self,
        sql: &'static Sql,
        params: &[Param],
        item: fn(&Row) -> Result<T>,
    ) -> Result<Option<T>> {
        let params = params.to_vec();
        self.read(move |tx| {
            Box::pin(async move { tx.first(sql, &params).await?.as_ref().map(item).transpose() })
        })
        .await
    }

    /// A page of the rows that a statement finds. Its last parameter is added here: how many rows it
    /// may give.
    pub(crate) async fn find_page<T: Send + 'static, C>(
        &self,
        sql: &'static Sql,
        params: &[Param],
        limit: usize,
        item: fn(&Row) -> Result<T>,
        cursor: fn(&T) -> C,
    ) -> Result<Page<T, C>> {
        let mut params = params.to_vec();
        params.push((limit as i64 + 1).into());
        let items = self
            .read(move |tx| {
                Box::pin(async move {
                    tx.query(sql, &params).await?.iter().map(item).collect::<Result<Vec<_>>>()
                })
            })
            .await?;
        Ok(Page::cut(items, limit, cursor))
    }

    /// A page of the customers whose ids a statement finds behind an id: by the number of the group or
    /// segment, that id, and how many it may give.
    pub(crate) async fn members_page(
        &self,
        sql: &'static Sql,
        of: i32,
        after: Option<CustomerId>,
        limit: usize,
    ) -> Result<Page<Customer, CustomerId>> {
        let after = after.unwrap_or(CustomerId(uuid::Uuid::nil()));
        let members = |schema: Arc<Schema>| {
            self.read(move |tx| {
                Box::pin(async move {
                    let params = crate::params![of, after, limit as i64 + 1];
                    let rows = tx.query(sql, params).await?;
                    let ids = rows.iter().map(|row| row.uuid(0).map(CustomerId));
                    load_customers(tx, &schema, &ids.collect::<Result<Vec<_>>>()?).await
                })
            })
        };
        let mut items = self.by_schema(members).await?;
        items.sort_by_key(|customer| customer.id);
        Ok(Page::cut(items, limit, |customer| customer.id))
    }

    /// The schema, at most a second old where another process may change it.
    pub fn schema(&self) -> BoxFuture<'_, Result<Arc<Schema>>> {
        Box::pin(async move {
            let cached = self.schema.lock().clone();
            if let Some((read_at, schema)) = cached {
                if read_at.elapsed() < SCHEMA_TRUST {
                    return Ok(schema);
                }
                let version = self
                    .read(|tx| Box::pin(async move { crate::schema::version(tx).await }))
                    .await?;
                if version == schema.version {
                    *self.schema.lock() = Some((Instant::now(), schema.clone()));
                    return Ok(schema);
                }
            }
            self.fresh_schema().await
        })
    }

    /// The schema as it stands now.
    pub fn fresh_schema(&self) -> BoxFuture<'_, Result<Arc<Schema>>> {
        Box::pin(async move {
            let schema =
                self.read(|tx| Box::pin(async move { crate::schema::load(tx).await })).await?;
            let schema = Arc::new(schema);
            *self.schema.lock() = Some((Instant::now(), schema.clone()));
            Ok(schema)
        })
    }

    /// Does what reads or writes by the schema; where another node has dropped a column that it
    /// reads, it is done again by the schema as it stands now.
    pub(crate) async fn by_schema<T, F>(&self, work: impl Fn(Arc<Schema>) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        match work(self.schema().await?).await {
            Err(Error::SchemaMoved(_)) => work(self.fresh_schema().await?).await,
            done => done,
        }
    }

    /// System ids for up to `count` new customers. SQLite counts inside the transaction instead.
    pub(crate) async fn system_ids(&self, count: usize) -> Result<Vec<i64>> {
        if self.dialect() == Dialect::Sqlite {
            return Ok(Vec::new());
        }
        loop {
            {
                let mut kept = self.system_ids.lock();
                if kept.len() >= count {
                    let mut taken: Vec<i64> = kept.drain(..count).collect();
                    // They are taken from the end, so that numbers follow the order of rows.
                    taken.reverse();
                    return Ok(taken);
                }
            }
            let block = SYSTEM_ID_BLOCK.max(count);
            let leased = self
                .write(Priority::Interactive, move |tx| {
                    Box::pin(async move { changes::lease_system_ids(tx, block).await })
                })
                .await?;
            self.system_ids.lock().extend(leased);
        }
    }

    /// Gives back system ids that a batch did not need.
    pub(crate) fn return_system_ids(&self, mut unused: Vec<i64>) {
        unused.reverse();
        let mut kept = self.system_ids.lock();
        for number in unused.into_iter().rev() {
            kept.push_front(number);
        }
    }

    /// Applies a batch of changes in one transaction and answers after the commit: one outcome
    /// each, in order.
    pub async fn apply(&self, changes: Vec<Change>, at: Timestamp) -> Result<Vec<Outcome>> {
        let changes = Arc::new(changes);
        self.by_schema(|schema| self.apply_by(schema, changes.clone(), at)).await
    }

    async fn apply_by(
        &self,
        schema: Arc<Schema>,
        changes: Arc<Vec<Change>>,
        at: Timestamp,
    ) -> Result<Vec<Outcome>> {
        let upserts =
            changes.iter().filter(|change| matches!(change, Change::UpsertCustomer(_))).count();
        let system_ids = self.system_ids(upserts).await?;
        let mut how = Applying { schema, at, judge: true, system_ids: Vec::new(), journal: None };
        let count = changes.len();
        // They are no part of the result, because a result that was kept used those of its time.
        let system_ids = Arc::new(Mutex::new(system_ids));
        let unused = system_ids.clone();
        let outcomes: Vec<Outcome> = self
            .write_kept(Priority::Interactive, move |tx| {
                Box::pin(async move {
                    how.system_ids = std::mem::take(&mut system_ids.lock());
                    let outcomes = changes::apply(tx, &mut how, &changes).await?;
                    *system_ids.lock() = how.system_ids;
                    Ok(outcomes)
                })
            })
            .await?;
        if outcomes.len() != count {
            return Err(Error::Corrupt("kept outcomes are of other changes".to_owned()));
        }
        let unused = std::mem::take(&mut *unused.lock());
        self.return_system_ids(unused);
        Ok(outcomes)
    }
}
