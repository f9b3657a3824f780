//! SQLite: one writer thread that commits whole groups of waiting requests at once, and readers
//! with connections of their own.

mod log;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::types::{ToSql, ToSqlOutput, Value as SqlValue, ValueRef};
use rusqlite::{Connection as Sqlite, ErrorCode, OpenFlags};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::commits::Commits;
use super::{Connection, Layout, Priority, Tx, Work};
use crate::sql::{Cell, Param, Row};
use crate::{Error, Result};

pub use log::Checkpoints;
use log::Log;
#[cfg(test)]
pub(in crate::engines) use writer::commit;
pub use writer::disk_failed;
use writer::{Command, Ending, GROUP, Queues, Waiting, write_loop};

/// Connections that read beside the writer.
const READERS: usize = 4;
/// How long a statement waits for another process.
const BUSY_WAIT: Duration = Duration::from_secs(10);

impl ToSql for Param {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Param::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Param::Int(value) => ToSqlOutput::Borrowed(ValueRef::Integer(*value)),
            Param::Real(value) => ToSqlOutput::Borrowed(ValueRef::Real(*value)),
            Param::Bool(value) => ToSqlOutput::Borrowed(ValueRef::Integer(i64::from(*value))),
            Param::Text(value) => ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes())),
            Param::Uuid(value) => ToSqlOutput::Borrowed(ValueRef::Blob(value.as_bytes())),
            Param::Bytes(value) => ToSqlOutput::Borrowed(ValueRef::Blob(value)),
            Param::List(items) => {
                let json = serde_json::Value::from(items.as_slice());
                ToSqlOutput::Owned(SqlValue::Text(json.to_string()))
            }
            Param::Json(json) => ToSqlOutput::Owned(SqlValue::Text(json.to_string())),
        })
    }
}

fn row(source: &rusqlite::Row<'_>, columns: usize) -> rusqlite::Result<Row> {
    let mut cells = Vec::with_capacity(columns);
    for at in 0..columns {
        cells.push(match source.get_ref(at)? {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(value) => Cell::Int(value),
            ValueRef::Real(value) => Cell::Real(value),
            ValueRef::Text(bytes) => Cell::Text(String::from_utf8_lossy(bytes).into_owned()),
            ValueRef::Blob(bytes) => match uuid::Uuid::from_slice(bytes) {
                Ok(id) => Cell::Uuid(id),
                Err(_) => Cell::Bytes(bytes.to_vec()),
            },
        });
    }
    Ok(Row(cells))
}

pub(super) fn query(connection: &Sqlite, text: &str, params: &[Param]) -> Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(text).map_err(fault)?;
    rows(&mut statement, params)
}

pub(super) fn query_once(connection: &Sqlite, text: &str, params: &[Param]) -> Result<Vec<Row>> {
    rows(&mut connection.prepare(text).map_err(fault)?, params)
}

pub(super) fn execute_once(connection: &Sqlite, text: &str, params: &[Param]) -> Result<u64> {
    let mut statement = connection.prepare(text).map_err(fault)?;
    let touched = statement.execute(rusqlite::params_from_iter(params)).map_err(fault)?;
    Ok(touched as u64)
}

fn rows(statement: &mut rusqlite::Statement<'_>, params: &[Param]) -> Result<Vec<Row>> {
    let columns = statement.column_count();
    let found = statement
        .query_map(rusqlite::params_from_iter(params), |source| row(source, columns))
        .map_err(fault)?;
    found.collect::<rusqlite::Result<Vec<Row>>>().map_err(fault)
}

pub(super) fn execute(connection: &Sqlite, text: &str, params: &[Param]) -> Result<u64> {
    let mut statement = connection.prepare_cached(text).map_err(fault)?;
    let touched = statement.execute(rusqlite::params_from_iter(params)).map_err(fault)?;
    Ok(touched as u64)
}

pub(super) fn each(
    connection: &Sqlite,
    text: &str,
    params: &[Param],
    mut take: impl FnMut(Row) -> Result<()>,
) -> Result<()> {
    let mut statement = connection.prepare(text).map_err(fault)?;
    let columns = statement.column_count();
    let mut found = statement.query(rusqlite::params_from_iter(params)).map_err(fault)?;
    while let Some(source) = found.next().map_err(fault)? {
        take(row(source, columns).map_err(fault)?)?;
    }
    Ok(())
}

/// Runs one statement for each set of parameters.
pub(crate) fn execute_each(
    connection: &Sqlite,
    text: &str,
    sets: impl Iterator<Item = impl AsRef<[Param]>>,
) -> Result<u64> {
    let mut statement = connection.prepare_cached(text).map_err(fault)?;
    let mut touched = 0;
    for params in sets {
        touched +=
            statement.execute(rusqlite::params_from_iter(params.as_ref())).map_err(fault)? as u64;
    }
    Ok(touched)
}

/// The rows of one statement for each set of parameters, in the order of the sets.
pub(crate) fn query_each(
    connection: &Sqlite,
    text: &str,
    sets: impl Iterator<Item = impl AsRef<[Param]>>,
) -> Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(text).map_err(fault)?;
    let mut all = Vec::new();
    for params in sets {
        all.append(&mut rows(&mut statement, params.as_ref())?);
    }
    Ok(all)
}

pub(super) fn fault(error: rusqlite::Error) -> Error {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Error::DiskFull(text),
        Some(ErrorCode::ConstraintViolation) => Error::Conflict(text),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::CannotOpen) => {
            Error::Unavailable(text)
        }
        Some(ErrorCode::SystemIoFailure) => Error::DiskFailed(text),
        // SQLite has no code of its own for this.
        _ if ["no such column", "no such table", "has no column named"]
            .iter()
            .any(|missing| text.contains(missing)) =>
        {
            Error::SchemaMoved(text)
        }
        _ => Error::Database(text),
    }
}

/// Opens a file with the settings every connection must have. What is deleted or replaced is
/// overwritten at once, and not only when somebody is erased: an older value of theirs may lie in
/// the free room of any page.
pub fn connect(path: &Path, reads_only: bool, cache_kib: u32) -> Result<Sqlite> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Sqlite::open_with_flags(path, flags).map_err(fault)?;
    connection.busy_timeout(BUSY_WAIT).map_err(fault)?;
    connection.set_prepared_statement_cache_capacity(256);
    connection
        .execute_batch(&format!(
            "pragma journal_mode = wal; pragma synchronous = full; pragma temp_store = memory; \
             pragma cache_size = -{cache_kib}; pragma wal_autocheckpoint = 0; \
             pragma secure_delete = on; pragma foreign_keys = off; pragma query_only = {};",
            if reads_only { "on" } else { "off" }
        ))
        .map_err(fault)?;
    add_functions(&connection)?;
    Ok(connection)
}

/// `sha256_hex(text)`, which PostgreSQL can say with what it has.
fn add_functions(connection: &Sqlite) -> Result<()> {
    use rusqlite::functions::FunctionFlags;
    use sha2::Digest;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection
        .create_scalar_function("sha256_hex", 1, flags, |context| {
            let text: Option<String> = context.get(0)?;
            Ok(text.map(|text| crate::hex::hex(&sha2::Sha256::digest(text.as_bytes()))))
        })
        .map_err(fault)
}

/// One SQLite file with its writer thread and readers.
pub struct SqliteDb {
    path: PathBuf,
    interactive: mpsc::Sender<Box<dyn Command>>,
    bulk: mpsc::Sender<Box<dyn Command>>,
    readers: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Tx>>>,
    commits: Arc<AtomicU64>,
    pub(super) committed: Arc<Commits>,
}

impl SqliteDb {
    pub fn open(path: &Path, cache_kib: u32) -> Result<SqliteDb> {
        SqliteDb::open_with(path, cache_kib, Checkpoints::default())
    }

    pub fn open_with(path: &Path, cache_kib: u32, checkpoints: Checkpoints) -> Result<SqliteDb> {
        SqliteDb::open_committing(path, cache_kib, checkpoints, writer::commit)
    }

    /// The same with another commit, so that a test can make it fail.
    pub(super) fn open_committing(
        path: &Path,
        cache_kib: u32,
        checkpoints: Checkpoints,
        commit: writer::Commit,
    ) -> Result<SqliteDb> {
        let mut writer = connect(path, false, cache_kib)?;
        let (interactive, interactive_queue) = mpsc::channel(4 * GROUP);
        let (bulk, bulk_queue) = mpsc::channel(8);
        let commits = Arc::new(AtomicU64::new(0));
        let now = Instant::now();
        let queues = Queues {
            interactive: interactive_queue,
            bulk: bulk_queue,
            asked_at: now,
            rest_until: now,
        };
        let log = Log::watch(path, &mut writer, checkpoints, commits.clone())?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("db").to_owned();
        let committed = Arc::new(Commits::default());
        let said = committed.clone();
        std::thread::Builder::new()
            .name(format!("write {name}"))
            .spawn(move || write_loop(writer, queues, log, Ending { commit, said }))?;
        Ok(SqliteDb {
            path: path.to_owned(),
            interactive,
            bulk,
            readers: Arc::new(Semaphore::new(READERS)),
            idle: Arc::new(Mutex::new(Vec::new())),
            commits,
            committed,
        })
    }

    /// Which state the file is in as far as others write it: the writer sees in its turn whether
    /// another process has, or another connection of this one.
    pub(super) async fn alone(&self) -> Result<i64> {
        let work: Work<i64> = Box::new(|tx| {
            Box::pin(async move {
                let rows = tx.query_text("pragma data_version", &[]).await?;
                rows.first().map_or(Ok(0), |row| row.int(0))
            })
        });
        self.write(Priority::Interactive, work).await
    }

    /// How many times the writer has committed since it was opened.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    pub async fn write<T: Send + 'static>(&self, priority: Priority, work: Work<T>) -> Result<T> {
        let (caller, answer) = oneshot::channel();
        let command = Box::new(Waiting { work: Some(work), result: None, caller });
        let queue = match priority {
            Priority::Interactive => &self.interactive,
            Priority::Bulk => &self.bulk,
        };
        let gone = || Error::Unavailable("the writer has stopped".to_owned());
        queue.send(command).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    pub async fn read<T: Send + 'static>(&self, work: Work<T>) -> Result<T> {
        let permit = self.readers.clone().acquire_owned().await;
        let permit = permit.map_err(|_| Error::Unavailable("the readers are closed".to_owned()))?;
        let idle = self.idle.clone();
        let path = self.path.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let kept = idle.lock().pop();
            let mut tx = match kept {
                Some(tx) => tx,
                None => transaction(connect(&path, true, 16_384)?),
            };
            let result = futures::executor::block_on(work(&mut tx));
            idle.lock().push(tx);
            result
        });
        task.await.map_err(|_| Error::Database("a read panicked".to_owned()))?
    }
}

fn transaction(connection: Sqlite) -> Tx {
    Tx::new(Connection::Sqlite(connection), Layout::Plain, "main.".into())
}
