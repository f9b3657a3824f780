//! SQLite: one writer thread that commits whole groups of waiting requests at once, and readers
//! with connections of their own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
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
/// A bulk command waits about this long for its turn, however many interactive ones come.
const BULK_WAIT: Duration = Duration::from_millis(50);
/// How long the writer waits for readers to let go of the write-ahead log.
const CHECKPOINT_WAIT: Duration = Duration::from_millis(20);
/// How long a statement waits for another process.
const BUSY_WAIT: Duration = Duration::from_secs(10);

/// When the write-ahead log is moved into the database, in pages of the log.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoints {
    /// The checkpointer begins, beside the writer.
    pub start: i32,
    /// The writer itself finishes the job, so that the log stays bounded. While a long read stands
    /// in the way the log grows on, and the writer tries again every `start` pages.
    pub limit: i32,
}

impl Default for Checkpoints {
    fn default() -> Checkpoints {
        Checkpoints { start: 4_000, limit: 32_000 }
    }
}

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

pub(super) fn each(
    connection: &Sqlite,
    text: &str,
    mut take: impl FnMut(Row) -> Result<()>,
) -> Result<()> {
    let mut statement = connection.prepare(text).map_err(fault)?;
    let columns = statement.column_count();
    let mut found = statement.query([]).map_err(fault)?;
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
    connection.busy_timeout(BUSY_WAIT).map_err(fault)?;
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
    commits: Arc<AtomicU64>,
}

trait Command: Send {
    /// Does the work inside a savepoint; on an error it must be rolled back.
    fn run(&mut self, tx: &mut Tx) -> Result<()>;
    /// Tells the caller, once it is known whether the group was committed.
    fn answer(self: Box<Self>, committed: &Result<()>);
}

struct Waiting<T> {
    work: Option<Work<T>>,
    result: Option<Result<T>>,
    caller: oneshot::Sender<Result<T>>,
}

/// What a fault of the whole group means to each command in it.
fn shared(error: &Error) -> Error {
    match error {
        Error::DiskFull(text) => Error::DiskFull(text.clone()),
        other => Error::Unavailable(other.to_string()),
    }
}

impl<T: Send> Command for Waiting<T> {
    fn run(&mut self, tx: &mut Tx) -> Result<()> {
        let Some(work) = self.work.take() else { return Ok(()) };
        let result = catch_unwind(AssertUnwindSafe(|| futures::executor::block_on(work(tx))))
            .unwrap_or_else(|_| Err(Error::Database("a write panicked".to_owned())));
        let done = result.as_ref().map(|_| ()).map_err(shared);
        self.result = Some(result);
        done
    }

    fn answer(self: Box<Self>, committed: &Result<()>) {
        let result = match (self.result, committed) {
            (Some(Ok(_)) | None, Err(error)) => Err(shared(error)),
            (None, Ok(())) => Err(Error::Unavailable("the write was not reached".to_owned())),
            (Some(result), _) => result,
        };
        // A caller that went away no longer wants to know.
        let _ = self.caller.send(result);
    }
}

impl SqliteDb {
    pub fn open(path: &Path, cache_kib: u32) -> Result<SqliteDb> {
        SqliteDb::open_with(path, cache_kib, Checkpoints::default())
    }

    pub fn open_with(path: &Path, cache_kib: u32, checkpoints: Checkpoints) -> Result<SqliteDb> {
        let mut writer = connect(path, false, cache_kib)?;
        let (interactive, interactive_queue) = mpsc::channel(4 * GROUP);
        let (bulk, bulk_queue) = mpsc::channel(8);
        let commits = Arc::new(AtomicU64::new(0));
        let queues = Queues { interactive: interactive_queue, bulk: bulk_queue };
        let log = Log::watch(path, &mut writer, checkpoints, commits.clone())?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("db").to_owned();
        std::thread::Builder::new()
            .name(format!("write {name}"))
            .spawn(move || write_loop(writer, queues, log))?;
        Ok(SqliteDb {
            path: path.to_owned(),
            interactive,
            bulk,
            readers: Arc::new(Semaphore::new(READERS)),
            idle: Arc::new(Mutex::new(Vec::new())),
            commits,
        })
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

/// The commands that wait for the writer.
struct Queues {
    interactive: mpsc::Receiver<Box<dyn Command>>,
    bulk: mpsc::Receiver<Box<dyn Command>>,
}

impl Queues {
    /// Waits for a command, interactive ones first. `None` when nobody can send any more.
    fn wait(&mut self) -> Option<Box<dyn Command>> {
        futures::executor::block_on(async {
            tokio::select! {
                biased;
                Some(command) = self.interactive.recv() => Some(command),
                Some(command) = self.bulk.recv() => Some(command),
                else => None,
            }
        })
    }

    /// The next command of a turn that has begun.
    fn next(&mut self) -> Option<Box<dyn Command>> {
        self.interactive.try_recv().or_else(|_| self.bulk.try_recv()).ok()
    }
}

fn write_loop(writer: Sqlite, mut queues: Queues, mut log: Log) {
    let mut tx = transaction(writer);
    let mut group: Vec<Box<dyn Command>> = Vec::with_capacity(GROUP);
    let mut bulk_at = Instant::now();
    loop {
        // Bulk commands run when no interactive one waits; so that they are never starved, one
        // goes first from time to time.
        let overdue = bulk_at.elapsed() >= BULK_WAIT;
        let first = if overdue { queues.bulk.try_recv().ok() } else { None };
        if overdue {
            bulk_at = Instant::now();
        }
        let Some(first) = first.or_else(|| queues.wait()) else { break };
        run_group(&mut tx, first, &mut queues, &mut group);
        log.after_turn(&tx);
    }
    log.finish(&tx);
}

/// One write turn: a transaction around as many waiting commands as fit, each in a savepoint.
fn run_group(
    tx: &mut Tx,
    first: Box<dyn Command>,
    queues: &mut Queues,
    group: &mut Vec<Box<dyn Command>>,
) {
    let began = Instant::now();
    let mut outcome = control(tx, "begin immediate");
    let mut next = Some(first);
    while let Some(mut command) = next.take() {
        if outcome.is_ok() {
            outcome = run_one(tx, command.as_mut());
        }
        group.push(command);
        if outcome.is_err() || group.len() >= GROUP || began.elapsed() >= TURN {
            break;
        }
        next = queues.next();
    }
    if outcome.is_ok() {
        outcome = control(tx, "commit");
    }
    if outcome.is_err() && !is_over(tx) {
        let _ = control(tx, "rollback");
    }
    for command in group.drain(..) {
        command.answer(&outcome);
    }
}

/// Runs one command in a savepoint. An error means that the whole group is lost.
fn run_one(tx: &mut Tx, command: &mut dyn Command) -> Result<()> {
    control(tx, "savepoint command")?;
    let done = command.run(tx);
    // Some faults, such as a full disk, end the whole transaction by themselves.
    if is_over(tx) {
        let ended = || Error::Unavailable("the transaction ended in the middle".to_owned());
        return Err(done.err().unwrap_or_else(ended));
    }
    if done.is_err() {
        control(tx, "rollback to command")?;
    }
    control(tx, "release command")
}

/// Whether no transaction is open.
fn is_over(tx: &Tx) -> bool {
    match &tx.connection {
        Connection::Sqlite(connection) => connection.is_autocommit(),
        Connection::Postgres(_) => false,
    }
}

fn control(tx: &Tx, text: &str) -> Result<()> {
    let Connection::Sqlite(connection) = &tx.connection else { return Ok(()) };
    execute(connection, text, &[]).map(|_| ())
}

/// The write-ahead log: how long it is, and who shortens it when.
struct Log {
    pages: Arc<AtomicI32>,
    checkpoints: Checkpoints,
    /// The length at which the writer next shortens it itself.
    next_try: i32,
    checkpointer: Checkpointer,
}

impl Log {
    fn watch(
        path: &Path,
        writer: &mut Sqlite,
        checkpoints: Checkpoints,
        commits: Arc<AtomicU64>,
    ) -> Result<Log> {
        let pages = Arc::new(AtomicI32::new(0));
        let length = pages.clone();
        writer
            .wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count| {
                length.store(count, Ordering::Relaxed);
                commits.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }))
            .map_err(fault)?;
        let checkpointer = Checkpointer::start(path);
        Ok(Log { pages, checkpoints, next_try: checkpoints.limit, checkpointer })
    }

    fn after_turn(&mut self, tx: &Tx) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.checkpoints.start {
            self.next_try = self.checkpoints.limit;
        } else if pages < self.checkpoints.limit {
            self.checkpointer.wake();
        } else if pages < self.next_try {
            // The checkpointer is left asleep: while it works, the writer cannot empty the log.
        } else if self.finish(tx) {
            self.pages.store(0, Ordering::Relaxed);
            self.next_try = self.checkpoints.limit;
        } else {
            self.next_try = pages.saturating_add(self.checkpoints.start);
        }
    }

    /// Empties the log; false where a reader still needs it.
    fn finish(&self, tx: &Tx) -> bool {
        let Connection::Sqlite(connection) = &tx.connection else { return true };
        // A long read must not hold up every writer for as long as a busy database may.
        let emptied = connection.busy_timeout(CHECKPOINT_WAIT).map_err(fault).and_then(|()| {
            let rows = query(connection, "pragma wal_checkpoint(truncate)", &[])?;
            rows.first().map_or(Ok(true), |row| Ok(row.int(0)? == 0))
        });
        if let Err(error) = connection.busy_timeout(BUSY_WAIT) {
            tracing::warn!(%error, "wait for other processes again");
        }
        emptied.unwrap_or_else(|error| {
            tracing::warn!(%error, "finish checkpoint");
            false
        })
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
