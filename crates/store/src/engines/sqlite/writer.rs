//! The writer's thread: turns that carry as many waiting commands as fit into one commit. The first
//! stands on the transaction itself and the others each in a savepoint, which copies every page
//! that is touched in it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use rusqlite::Connection as Sqlite;
use tokio::sync::{mpsc, oneshot, watch};

use super::log::Log;
use super::{execute, transaction};
use crate::engines::commits::Commits;
use crate::engines::touched::Touched;
use crate::engines::{Connection, Priority, Tx, Work};
use crate::{Error, Result};

/// How many commands one commit may carry.
pub(super) const GROUP: usize = 256;
/// How long one write turn gathers commands before it commits.
const TURN: Duration = Duration::from_millis(8);
/// How long a turn of bulk commands goes on while interactive ones come now and then.
const BULK_TURN: Duration = Duration::from_millis(12);
/// The same where none has come for `QUIET`: the more chunks of an import share a commit, the more
/// often one write of a page does for several of them.
const QUIET_BULK_TURN: Duration = Duration::from_millis(150);
const QUIET: Duration = Duration::from_millis(250);
/// How often interactive commands are looked for while bulk ones rest.
const LOOK: Duration = Duration::from_micros(300);
/// A bulk command waits about this long for its turn, however many interactive ones come.
const BULK_WAIT: Duration = Duration::from_millis(50);

pub(super) trait Command: Send {
    /// Does the work inside a savepoint; on an error it must be rolled back.
    fn run(&mut self, tx: &mut Tx) -> Result<()>;
    /// Tells the caller, once it is known whether the group was committed.
    fn answer(self: Box<Self>, committed: &Result<()>);
}

pub(super) struct Waiting<T> {
    pub(super) work: Option<Work<T>>,
    pub(super) result: Option<Result<T>>,
    pub(super) caller: oneshot::Sender<Result<T>>,
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

/// The commands that wait for the writer.
pub(super) struct Queues {
    pub(super) interactive: mpsc::Receiver<Box<dyn Command>>,
    pub(super) bulk: mpsc::Receiver<Box<dyn Command>>,
    /// When an interactive command was last taken.
    pub(super) asked_at: Instant,
    /// Until when bulk commands rest, if interactive ones come at all.
    pub(super) rest_until: Instant,
}

impl Queues {
    /// Waits for a command, interactive ones first. `None` when nobody can send any more.
    fn wait(&mut self) -> Option<(Box<dyn Command>, Priority)> {
        while !self.is_quiet() && Instant::now() < self.rest_until {
            if let Ok(command) = self.interactive.try_recv() {
                self.asked_at = Instant::now();
                return Some((command, Priority::Interactive));
            }
            std::thread::sleep(LOOK);
        }
        let taken = futures::executor::block_on(async {
            tokio::select! {
                biased;
                Some(command) = self.interactive.recv() => Some((command, Priority::Interactive)),
                Some(command) = self.bulk.recv() => Some((command, Priority::Bulk)),
                else => None,
            }
        });
        if let Some((_, Priority::Interactive)) = taken {
            self.asked_at = Instant::now();
        }
        taken
    }

    /// Whether nobody waits for single answers at present.
    fn is_quiet(&self) -> bool {
        self.asked_at.elapsed() >= QUIET
    }

    /// Lets bulk commands rest for as long as they have worked: while people wait for answers, they
    /// get half of the writer's time at most, and of the processor's.
    fn rest(&mut self, worked: Duration) {
        self.rest_until = Instant::now() + worked.min(BULK_WAIT / 2);
    }

    /// The next command of a turn that has gone on for some time. Bulk ones follow only bulk ones,
    /// and a turn that somebody waits for is a short one.
    fn next(&mut self, turn: &mut Priority, took: Duration) -> Option<Box<dyn Command>> {
        if (took < TURN || *turn == Priority::Bulk)
            && let Ok(command) = self.interactive.try_recv()
        {
            *turn = Priority::Interactive;
            self.asked_at = Instant::now();
            return Some(command);
        }
        match turn {
            Priority::Bulk if took < if self.is_quiet() { QUIET_BULK_TURN } else { BULK_TURN } => {
                self.bulk.try_recv().ok()
            }
            _ => None,
        }
    }
}

/// Set when a commit has failed by an input or output error.
static DISK_FAILED: LazyLock<watch::Sender<Option<String>>> =
    LazyLock::new(|| watch::channel(None).0);

/// Waits until a commit of this process fails because the disk does; gives what happened. The
/// system may then have thrown away what it could not write, and would report the next commit as a
/// success all the same: only a process that opens the file anew knows what is in it. The writer has
/// stopped, and so must the process.
pub async fn disk_failed() -> String {
    let mut failed = DISK_FAILED.subscribe();
    let text = failed.wait_for(Option::is_some).await.map(|text| text.clone().unwrap_or_default());
    match text {
        Ok(text) => text,
        Err(_) => std::future::pending().await,
    }
}

/// How a turn is committed.
pub(super) type Commit = fn(&Tx) -> Result<()>;

/// How a turn is committed, and to whom it is said what was.
pub(super) struct Ending {
    pub(super) commit: Commit,
    pub(super) said: Arc<Commits>,
}

pub(in crate::engines) fn commit(tx: &Tx) -> Result<()> {
    control(tx, "commit")
}

/// Whether the writer must not go on after this end of a commit.
fn is_for_good(committed: &Result<()>) -> bool {
    matches!(committed, Err(Error::DiskFailed(_)))
}

pub(super) fn write_loop(writer: Sqlite, mut queues: Queues, mut log: Log, ending: Ending) {
    let mut tx = transaction(writer);
    let mut group: Vec<Box<dyn Command>> = Vec::with_capacity(GROUP);
    let mut bulk_at = Instant::now();
    loop {
        // Bulk commands run when no interactive one waits; so that they are never starved, one
        // goes first from time to time.
        let overdue = bulk_at.elapsed() >= BULK_WAIT;
        let first = match overdue {
            true => queues.bulk.try_recv().ok().map(|command| (command, Priority::Bulk)),
            false => None,
        };
        if overdue {
            bulk_at = Instant::now();
        }
        let Some(first) = first.or_else(|| queues.wait()) else { break };
        let (began, is_bulk) = (Instant::now(), matches!(first.1, Priority::Bulk));
        let committed = run_group(&mut tx, first, &mut queues, &mut group, &ending);
        if is_bulk {
            queues.rest(began.elapsed());
        }
        if let Err(error) = &committed
            && is_for_good(&committed)
        {
            tracing::error!(%error, "a commit failed; nothing more is written");
            DISK_FAILED.send_replace(Some(error.to_string()));
            // To close the file would write to it.
            std::mem::forget((tx, log));
            return;
        }
        log.after_turn(&mut tx);
    }
    log.finish(&tx);
}

/// One write turn: a transaction around as many waiting commands as fit; gives how its commit ended.
fn run_group(
    tx: &mut Tx,
    (first, mut turn): (Box<dyn Command>, Priority),
    queues: &mut Queues,
    group: &mut Vec<Box<dyn Command>>,
    ending: &Ending,
) -> Result<()> {
    let began = Instant::now();
    tx.touched = Touched::default();
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
        if outcome.is_err() || group.len() >= GROUP {
            break;
        }
        next = queues.next(&mut turn, began.elapsed());
    }
    let mut committed = Ok(());
    if outcome.is_ok() {
        let open = ending.said.open(std::mem::take(&mut tx.touched));
        committed = (ending.commit)(tx);
        open.finish();
        outcome = committed.as_ref().copied().map_err(shared);
    }
    if outcome.is_err() && !is_over(tx) && !is_for_good(&committed) {
        let _ = control(tx, "rollback");
    }
    for command in group.drain(..) {
        command.answer(&outcome);
    }
    committed
}

/// Runs the first command of a group; where it must be rolled back, a new transaction begins.
fn run_first(tx: &mut Tx, command: &mut dyn Command) -> Result<()> {
    if command.run(tx).is_err() {
        // Some faults, such as a full disk, end the whole transaction by themselves.
        if !is_over(tx) {
            control(tx, "rollback")?;
        }
        control(tx, "begin immediate")?;
    }
    Ok(())
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
