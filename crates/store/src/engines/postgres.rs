//! PostgreSQL: a pool of connections, statements prepared once each.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime,
};
use futures::TryStreamExt;
use futures::future::BoxFuture;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Config, NoTls, Statement};

use super::commits::Commits;
use super::{Connection, Layout, Tx, Work};
use crate::sql::{Cell, Param, Row};
use crate::{Error, Result};

/// The first half of the advisory locks that tell the programs on one database apart.
const PROGRAMS: i32 = 0x71d1;
/// How often the database was opened, and whether another program is connected to it. The own number
/// is read off this connection's lock; one that has none takes everybody for another.
const OTHERS: &str = "
    with programs as (
      select l.pid, l.objid from pg_locks l join pg_database d on d.oid = l.database
      where d.datname = current_database() and l.locktype = 'advisory' and l.objsubid = 2
        and l.classid::bigint = ?1)
    select value::bigint, exists (
      select 1 from programs where objid is distinct from
        (select max(objid::bigint)::oid from programs where pid = pg_backend_pid()))
    from \"tidings\".settings where key = 'opened'";

/// How long a connection may be without a sign of the server's machine.
const GIVEN_UP: Duration = Duration::from_secs(30);

/// Opens the pool that all workspaces of a server share. Each connection holds a lock with a number
/// that the pool has to itself, for as long as it can write.
pub fn pool(url: &str, size: usize) -> Result<Pool> {
    let mut config: Config =
        url.parse().map_err(|error| Error::Invalid(format!("database url: {error}")))?;
    config.application_name("tidings");
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(Duration::from_secs(5));
    }
    // A server that is out of reach is given up after half a minute, not after the quarter of an hour
    // that the system would wait.
    config.keepalives_idle(GIVEN_UP / 2);
    config.keepalives_interval(GIVEN_UP / 6);
    config.keepalives_retries(3);
    config.tcp_user_timeout(GIVEN_UP);
    let options = "-c synchronous_commit=on -c lock_timeout=30s -c statement_timeout=600s \
                   -c idle_in_transaction_session_timeout=60s -c timezone=UTC -c jit=off \
                   -c client_min_messages=warning";
    let options = match config.get_options() {
        Some(given) => format!("{options} {given}"),
        None => options.to_owned(),
    };
    config.options(options);
    let manager = Manager::from_config(
        config,
        NoTls,
        ManagerConfig { recycling_method: RecyclingMethod::Fast },
    );
    let number = i32::try_from(uuid::Uuid::new_v4().as_u128() & 0x7fff_ffff).unwrap_or_default();
    let sign_on = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
        Box::pin(async move {
            let lock = format!("select pg_advisory_lock_shared({PROGRAMS}, {number})");
            client.batch_execute(&lock).await.map_err(HookError::Backend)
        })
    });
    Pool::builder(manager)
        .post_create(sign_on)
        .max_size(size)
        .wait_timeout(Some(Duration::from_secs(10)))
        .create_timeout(Some(Duration::from_secs(10)))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| Error::Unavailable(error.to_string()))
}

/// One schema of a PostgreSQL database.
pub struct PostgresDb {
    pub pool: Pool,
    schema: Arc<str>,
    layout: Layout,
    growth: Growth,
    pub(super) committed: Arc<Commits>,
}

impl PostgresDb {
    /// `schema` is the bare name; it is quoted here.
    pub fn new(pool: Pool, schema: &str, layout: Layout) -> PostgresDb {
        let schema = format!("{}.", crate::sql::quoted(schema)).into();
        let committed = Arc::new(Commits::default());
        PostgresDb { pool, schema, layout, growth: Growth::default(), committed }
    }

    // Boxed, like what follows and others that many await: an async function is compiled anew in
    // every place that awaits it, a boxed one once.
    fn connection(&self) -> BoxFuture<'_, Result<Tx>> {
        Box::pin(async move {
            let client = self.pool.get().await.map_err(|e| Error::Unavailable(e.to_string()))?;
            Ok(Tx::new(Connection::Postgres(client), self.layout, self.schema.clone()))
        })
    }

    pub async fn write<T: Send + 'static>(&self, work: Work<T>) -> Result<T> {
        // A caller that is dropped half-way must not leave its transaction to the next one.
        let mut guard = OpenTransaction { tx: Some(self.connection().await?) };
        let tx = guard.tx.as_mut().ok_or_else(|| Error::Unavailable("no connection".into()))?;
        tx.script("begin").await?;
        let result = work(tx).await;
        match result {
            Ok(value) => {
                let open = self.committed.open(std::mem::take(&mut tx.touched));
                // After a failed statement `commit` alone would roll back and report success; the
                // `select` fails then, in the same round trip.
                let committed = tx.script("select 1; commit").await;
                // A connection that broke says nothing about what became of its commit.
                if !matches!(committed, Err(Error::Unavailable(_))) {
                    open.finish();
                }
                committed?;
                let grown = self.growth.note(tx.written);
                if let (Some(tx), true) = (guard.done(), grown) {
                    tokio::spawn(count_anew(tx));
                }
                Ok(value)
            }
            Err(error) => {
                if tx.script("rollback").await.is_ok() {
                    drop(guard.done());
                }
                Err(error)
            }
        }
    }

    pub async fn read<T: Send + 'static>(&self, work: Work<T>) -> Result<T> {
        let mut tx = self.connection().await?;
        let result = work(&mut tx).await;
        if !tx.touched.is_empty() {
            self.committed.unknown();
        }
        result
    }

    /// How many hubs and commands have opened this database so far; `None` while another one is
    /// connected to it.
    pub(super) async fn alone(&self) -> Result<Option<i64>> {
        let mut tx = self.connection().await?;
        let rows = tx.query_text(OTHERS, crate::params![i64::from(PROGRAMS)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(if row.bool(1)? { None } else { Some(row.int(0)?) })
    }
}

/// How much this process has written, and when the planner's figures are next looked after. A table
/// that was empty a moment ago is taken for empty until the server's own housekeeping comes by, a
/// minute later, and joins on it are planned so.
#[derive(Default)]
struct Growth {
    rows: AtomicU64,
    next: AtomicU64,
}

impl Growth {
    /// The first rows after which the figures are looked at; from then on when they have doubled.
    const FIRST: u64 = 1_000;

    /// True for one caller each time the rows have doubled.
    fn note(&self, written: u64) -> bool {
        let rows = self.rows.fetch_add(written, Ordering::Relaxed) + written;
        let next = self.next.load(Ordering::Relaxed);
        rows >= next.max(Self::FIRST)
            && self
                .next
                .compare_exchange(next, rows * 2, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

/// Has the planner's figures counted anew for tables that are half as large again as they say.
async fn count_anew(mut tx: Tx) {
    let counted = async {
        let grown = "select r.relname from (
               select coalesce(pg_partition_root(c.oid), c.oid) as root,
                 sum(pg_relation_size(c.oid)) / current_setting('block_size')::int as pages,
                 sum(greatest(c.relpages, 0)) as known
               from pg_class c where c.relkind = 'r' and c.relnamespace = (?1::text)::regnamespace
               group by 1) t
             join pg_class r on r.oid = t.root where t.pages > t.known * 1.5 + 4";
        let schema = tx.schema().trim_end_matches('.').to_owned();
        for table in tx.query_text(grown, crate::params![schema]).await? {
            let table = crate::sql::quoted(&table.text(0)?);
            tx.script(&format!("analyze (skip_locked) {}{table}", tx.schema())).await?;
        }
        Ok::<(), Error>(())
    };
    if let Err(error) = counted.await {
        tracing::warn!(%error, "analyze tables");
    }
}

struct OpenTransaction {
    tx: Option<Tx>,
}

impl OpenTransaction {
    /// The transaction has ended; its connection may go back to the pool.
    fn done(mut self) -> Option<Tx> {
        self.tx.take()
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        if let Some(Tx { connection: Connection::Postgres(client), .. }) = self.tx.take() {
            // Closing the connection rolls back whatever was open on it.
            drop(Object::take(client));
        }
    }
}

/// Statements that a connection keeps prepared. Each workspace has its own of them, because the
/// schema stands in the text, and both ends would keep each for good.
pub(super) const PREPARED: usize = 1_000;

async fn prepared(client: &Object, text: &str) -> Result<Statement> {
    if client.statement_cache.size() >= PREPARED {
        client.statement_cache.clear();
    }
    client.prepare_cached(text).await.map_err(fault)
}

pub(super) fn query<'a>(
    client: &'a Object,
    text: &'a str,
    params: &'a [Param],
) -> BoxFuture<'a, Result<Vec<Row>>> {
    Box::pin(async move {
        let statement = prepared(client, text).await?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|p| p as _).collect();
        let found = client.query(&statement, &params).await.map_err(fault)?;
        found.iter().map(row).collect()
    })
}

pub(super) fn execute<'a>(
    client: &'a Object,
    text: &'a str,
    params: &'a [Param],
) -> BoxFuture<'a, Result<u64>> {
    Box::pin(async move {
        let statement = prepared(client, text).await?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|p| p as _).collect();
        client.execute(&statement, &params).await.map_err(fault)
    })
}

pub(super) async fn query_once(client: &Object, text: &str, params: &[Param]) -> Result<Vec<Row>> {
    let statement = client.prepare(text).await.map_err(fault)?;
    let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|p| p as _).collect();
    let found = client.query(&statement, &params).await.map_err(fault)?;
    found.iter().map(row).collect()
}

pub(super) async fn execute_once(client: &Object, text: &str, params: &[Param]) -> Result<u64> {
    let statement = client.prepare(text).await.map_err(fault)?;
    let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|p| p as _).collect();
    client.execute(&statement, &params).await.map_err(fault)
}

pub(super) async fn each(
    client: &Object,
    text: &str,
    params: &[Param],
    mut take: impl FnMut(Row) -> Result<()>,
) -> Result<()> {
    let statement = client.prepare(text).await.map_err(fault)?;
    let found = client.query_raw(&statement, params).await.map_err(fault)?;
    let mut found = std::pin::pin!(found);
    while let Some(source) = found.try_next().await.map_err(fault)? {
        take(row(&source)?)?;
    }
    Ok(())
}

/// Rows of a statement whose parameters are whole columns.
pub(crate) async fn query_columns(
    client: &Object,
    text: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>> {
    let statement = prepared(client, text).await?;
    let found = client.query(&statement, params).await.map_err(fault)?;
    found.iter().map(row).collect()
}

/// Runs a statement whose parameters are whole columns.
pub(crate) async fn execute_columns(
    client: &Object,
    text: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<u64> {
    let statement = prepared(client, text).await?;
    client.execute(&statement, params).await.map_err(fault)
}

fn row(source: &tokio_postgres::Row) -> Result<Row> {
    let mut cells = Vec::with_capacity(source.len());
    for (at, column) in source.columns().iter().enumerate() {
        cells.push(cell(source, at, column.type_())?);
    }
    Ok(Row(cells))
}

fn cell(source: &tokio_postgres::Row, at: usize, kind: &Type) -> Result<Cell> {
    fn of<'a, T: tokio_postgres::types::FromSql<'a>>(
        source: &'a tokio_postgres::Row,
        at: usize,
        make: impl FnOnce(T) -> Cell,
    ) -> Result<Cell> {
        let value: Option<T> = source.try_get(at).map_err(|e| Error::Corrupt(e.to_string()))?;
        Ok(value.map_or(Cell::Null, make))
    }
    match *kind {
        Type::INT2 => of::<i16>(source, at, |v| Cell::Int(i64::from(v))),
        Type::INT4 => of::<i32>(source, at, |v| Cell::Int(i64::from(v))),
        Type::INT8 => of::<i64>(source, at, Cell::Int),
        Type::FLOAT4 => of::<f32>(source, at, |v| Cell::Real(f64::from(v))),
        Type::FLOAT8 => of::<f64>(source, at, Cell::Real),
        Type::BOOL => of::<bool>(source, at, Cell::Bool),
        Type::TEXT | Type::VARCHAR | Type::NAME | Type::BPCHAR => {
            of::<String>(source, at, Cell::Text)
        }
        Type::UUID => of::<uuid::Uuid>(source, at, Cell::Uuid),
        Type::BYTEA => of::<Vec<u8>>(source, at, Cell::Bytes),
        Type::TEXT_ARRAY => of::<Vec<String>>(source, at, Cell::List),
        Type::JSONB | Type::JSON => of::<serde_json::Value>(source, at, Cell::Json),
        ref other => Err(Error::Corrupt(format!("column {at} has the unexpected type {other}"))),
    }
}

type Fault = Box<dyn StdError + Sync + Send>;

impl ToSql for Param {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Fault> {
        match self {
            Param::Null => Ok(IsNull::Yes),
            Param::Int(value) => match *kind {
                Type::INT2 => i16::try_from(*value)?.to_sql(kind, out),
                Type::INT4 => i32::try_from(*value)?.to_sql(kind, out),
                Type::INT8 => value.to_sql(kind, out),
                Type::FLOAT8 => (*value as f64).to_sql(kind, out),
                Type::BOOL => (*value != 0).to_sql(kind, out),
                ref other => Err(format!("an integer for {other}").into()),
            },
            Param::Real(value) => value.to_sql(kind, out),
            Param::Bool(value) => match *kind {
                Type::BOOL => value.to_sql(kind, out),
                Type::INT2 => i16::from(*value).to_sql(kind, out),
                Type::INT8 => i64::from(*value).to_sql(kind, out),
                ref other => Err(format!("a boolean for {other}").into()),
            },
            Param::Text(value) => match *kind {
                Type::JSONB | Type::JSON => {
                    serde_json::from_str::<serde_json::Value>(value)?.to_sql(kind, out)
                }
                _ => value.to_sql(kind, out),
            },
            Param::Uuid(value) => value.to_sql(kind, out),
            Param::Bytes(value) => value.to_sql(kind, out),
            Param::List(items) => items.to_sql(kind, out),
            Param::Json(json) => match *kind {
                Type::TEXT => json.to_string().to_sql(kind, out),
                _ => json.to_sql(kind, out),
            },
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

pub(crate) fn fault(error: tokio_postgres::Error) -> Error {
    let Some(detail) = error.as_db_error() else {
        return if error.is_closed() || error.source().is_some_and(|s| s.is::<std::io::Error>()) {
            Error::Unavailable(error.to_string())
        } else {
            Error::Database(full(&error))
        };
    };
    let text = format!("{}: {}", detail.code().code(), detail.message());
    match *detail.code() {
        SqlState::UNIQUE_VIOLATION => Error::Conflict(text),
        SqlState::DISK_FULL => Error::DiskFull(text),
        SqlState::UNDEFINED_COLUMN | SqlState::UNDEFINED_TABLE => Error::SchemaMoved(text),
        SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::LOCK_NOT_AVAILABLE
        | SqlState::QUERY_CANCELED
        | SqlState::ADMIN_SHUTDOWN
        | SqlState::CRASH_SHUTDOWN
        | SqlState::CANNOT_CONNECT_NOW
        | SqlState::TOO_MANY_CONNECTIONS
        | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => Error::Unavailable(text),
        _ => Error::Database(text),
    }
}

fn full(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
