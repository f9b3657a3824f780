//! SQLite: one writer thread that commits whole groups of waiting requests at once, and readers
//! with connections of their own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::types::{ToSql, ToSqlOutput, Value as SqlValue, ValueRef};
use rusqlite::{Connection as Sqlite, ErrorCode, OpenFlags};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{Connection, Layout, Priority, Tx, Work};
use crate::sql::{Cell, Param, Row};
use crate::{Error, Result};

/// How many commands one commit may carry.
const GROUP: usize = 256;
/// How long one write turn gathers commands before it commits.
const TURN: Duration = Duration::from_millis(8);
/// Connections that read beside the writer.
const READERS: usize = 4;
/// WAL pages after which the checkpointer starts moving them into the database.
const CHECKPOINT_PAGES: i32 = 4_000;
/// WAL pages after which the writer itself finishes the checkpoint, so that the WAL stays bounded.
const WAL_LIMIT_PAGES: i32 = 32_000;

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
        Some(ErrorCode::SystemIoFailure) => Error::Unavailable(text),
        _ => Error::Database(text),
    }
}

/// Opens a file with the settings every connection must have.
pub fn connect(path: &Path, reads_only: bool, cache_kib: u32) -> Result<Sqlite> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Sqlite::open_with_flags(path, flags).map_err(fault)?;
    connection.busy_timeout(Duration::from_secs(10)).map_err(fault)?;
    connection.set_prepared_statement_cache_capacity(256);
    connection
        .execute_batch(&format!(
            "pragma journal_mode = wal; pragma synchronous = full; pragma temp_store = memory; \
             pragma cache_size = -{cache_kib}; pragma wal_autocheckpoint = 0; \
             pragma foreign_keys = off; pragma query_only = {};",
            if reads_only { "on" } else { "off" }
        ))
        .map_err(fault)?;
    Ok(connection)
}

/// One SQLite file with its writer thread and readers.
pub struct SqliteDb {
    path: PathBuf,
    interactive: mpsc::Sender<Box<dyn Command>>,
    bulk: mpsc::Sender<Box<dyn Command>>,
    readers: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Tx>>>,
}

trait Command: Send {
    /// Does the work inside a savepoint; false where it must be rolled back.
    fn run(&mut self, tx: &mut Tx) -> bool;
    /// Tells the caller, once it is known whether the group was committed.
    fn answer(self: Box<Self>, committed: Result<(), String>);
}

struct Waiting<T> {
    work: Option<Work<T>>,
    result: Option<Result<T>>,
    caller: oneshot::Sender<Result<T>>,
}

impl<T: Send> Command for Waiting<T> {
    fn run(&mut self, tx: &mut Tx) -> bool {
        let Some(work) = self.work.take() else { return false };
        let result = catch_unwind(AssertUnwindSafe(|| futures::executor::block_on(work(tx))))
            .unwrap_or_else(|_| Err(Error::Database("a write panicked".to_owned())));
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn answer(self: Box<Self>, committed: Result<(), String>) {
        let result = match (self.result, committed) {
            (Some(Ok(_)) | None, Err(text)) => Err(Error::Unavailable(text)),
            (None, Ok(())) => Err(Error::Unavailable("the write was not reached".to_owned())),
            (Some(result), _) => result,
        };
        // A caller that went away no longer wants to know.
        let _ = self.caller.send(result);
    }
}

impl SqliteDb {
    pub fn open(path: &Path, cache_kib: u32) -> Result<SqliteDb> {
        let writer = connect(path, false, cache_kib)?;
        let (interactive, interactive_queue) = mpsc::channel(4 * GROUP);
        let (bulk, bulk_queue) = mpsc::channel(8);
        let file = path.to_owned();
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("db").to_owned();
        std::thread::Builder::new()
            .name(format!("write {name}"))
            .spawn(move || write_loop(&file, writer, interactive_queue, bulk_queue))?;
        Ok(SqliteDb {
            path: path.to_owned(),
            interactive,
            bulk,
            readers: Arc::new(Semaphore::new(READERS)),
            idle: Arc::new(Mutex::new(Vec::new())),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
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

fn write_loop(
    path: &Path,
    mut writer: Sqlite,
    mut interactive: mpsc::Receiver<Box<dyn Command>>,
    mut bulk: mpsc::Receiver<Box<dyn Command>>,
) {
    let wal_pages = Arc::new(AtomicI32::new(0));
    let pages = wal_pages.clone();
    if let Err(error) = writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count| {
        pages.store(count, Ordering::Relaxed);
        Ok(())
    })) {
        tracing::error!(%error, "watch the write-ahead log");
    }
    let checkpointer = Checkpointer::start(path);
    let mut tx = transaction(writer);
    let mut group: Vec<Box<dyn Command>> = Vec::with_capacity(GROUP);
    let mut open = true;
    let mut bulk_waited = false;
    while open {
        // Interactive commands go before a bulk one, but it waits for one group of them at most.
        let first = match bulk_waited {
            true => bulk.try_recv().ok().map(|command| (command, true)),
            false => None,
        };
        let first = match first {
            Some(first) => Some(first),
            None => futures::executor::block_on(async {
                tokio::select! {
                    biased;
                    command = interactive.recv() => command.map(|command| (command, false)),
                    Some(command) = bulk.recv() => Some((command, true)),
                }
            }),
        };
        bulk_waited = matches!(first, Some((_, false)));
        let Some((first, _)) = first else {
            open = false;
            continue;
        };
        run_group(&mut tx, first, &mut interactive, &mut group);
        let waiting = wal_pages.load(Ordering::Relaxed);
        if waiting > WAL_LIMIT_PAGES {
            finish_checkpoint(&tx);
            wal_pages.store(0, Ordering::Relaxed);
        } else if waiting > CHECKPOINT_PAGES {
            checkpointer.wake();
        }
    }
    finish_checkpoint(&tx);
}

/// One write turn: a transaction around as many waiting commands as fit. The first stands on the
/// transaction itself and the others each in a savepoint: a savepoint copies every page that is
/// touched in it, which a bulk command, always first, would feel.
fn run_group(
    tx: &mut Tx,
    first: Box<dyn Command>,
    interactive: &mut mpsc::Receiver<Box<dyn Command>>,
    group: &mut Vec<Box<dyn Command>>,
) {
    let began = Instant::now();
    let mut outcome = control(tx, "begin immediate");
    let mut next = Some(first);
    while let Some(mut command) = next.take() {
        if outcome.is_ok() {
            outcome = match group.is_empty() {
                true => run_first(tx, command.as_mut()),
                false => run_one(tx, command.as_mut()),
            };
        }
        group.push(command);
        if outcome.is_err() || group.len() >= GROUP || began.elapsed() >= TURN {
            break;
        }
        next = interactive.try_recv().ok();
    }
    if outcome.is_ok() {
        outcome = control(tx, "commit");
    }
    if outcome.is_err() {
        let _ = control(tx, "rollback");
    }
    for command in group.drain(..) {
        command.answer(outcome.clone());
    }
}

/// Runs the first command of a group; where it must be rolled back, a new transaction begins.
fn run_first(tx: &mut Tx, command: &mut dyn Command) -> Result<(), String> {
    if !command.run(tx) {
        // Some faults, such as a full disk, end the whole transaction by themselves.
        let _ = control(tx, "rollback");
        control(tx, "begin immediate")?;
    }
    Ok(())
}

/// Runs one command in a savepoint. An error means that the whole group is lost.
fn run_one(tx: &mut Tx, command: &mut dyn Command) -> Result<(), String> {
    control(tx, "savepoint command")?;
    if !command.run(tx) {
        // Some faults, such as a full disk, end the whole transaction by themselves.
        control(tx, "rollback to command")?;
    }
    control(tx, "release command")
}

fn control(tx: &Tx, text: &str) -> Result<(), String> {
    let Connection::Sqlite(connection) = &tx.connection else { return Ok(()) };
    execute(connection, text, &[]).map(|_| ()).map_err(|error| error.to_string())
}

fn finish_checkpoint(tx: &Tx) {
    let Connection::Sqlite(connection) = &tx.connection else { return };
    if let Err(error) = query(connection, "pragma wal_checkpoint(truncate)", &[]) {
        tracing::warn!(%error, "finish checkpoint");
    }
}

/// Moves pages from the write-ahead log into the database beside the writer.
struct Checkpointer {
    wake: std::sync::mpsc::SyncSender<()>,
}

impl Checkpointer {
    fn start(path: &Path) -> Checkpointer {
        let (wake, woken) = std::sync::mpsc::sync_channel::<()>(1);
        let path = path.to_owned();
        let spawned = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(move || {
            let Ok(connection) = connect(&path, false, 2_048) else { return };
            while woken.recv().is_ok() {
                if let Err(error) = query(&connection, "pragma wal_checkpoint(passive)", &[]) {
                    tracing::warn!(%error, "checkpoint");
                }
            }
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "start checkpointer");
        }
        Checkpointer { wake }
    }

    fn wake(&self) {
        // A full channel means that it is already at work.
        let _ = self.wake.try_send(());
    }
}
