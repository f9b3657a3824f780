//! The write-ahead log: kept short beside the writer, and by the writer itself where that is not
//! enough.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection as Sqlite;

use super::{BUSY_WAIT, connect, fault, query};
use crate::Result;
use crate::engines::{Connection, Tx};

/// Once only so many pages are left to move, the writer moves them itself between two turns: then
/// the log is whole and begins anew, which the checkpointer alone never reaches under a steady load.
const REST_PAGES: i32 = 500;
/// How long the writer waits for readers to let go of the write-ahead log.
const CHECKPOINT_WAIT: Duration = Duration::from_millis(20);
/// How long after a failure the writer tries again to empty a log that must not keep what it holds.
const SCRUB_EVERY: Duration = Duration::from_millis(500);

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

/// The write-ahead log: how long it is, and who shortens it when.
pub(super) struct Log {
    pages: Arc<AtomicI32>,
    checkpoints: Checkpoints,
    /// The length at which the writer next shortens it itself.
    next_try: i32,
    /// The length at which the writer next moves the rest.
    next_rest: i32,
    /// When the writer last failed to empty a log that must not keep what it holds.
    scrub_failed: Option<Instant>,
    checkpointer: Checkpointer,
}

impl Log {
    pub(super) fn watch(
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
        let next_try = checkpoints.limit;
        Ok(Log { pages, checkpoints, next_try, next_rest: 0, scrub_failed: None, checkpointer })
    }

    pub(super) fn after_turn(&mut self, tx: &mut Tx) {
        let pages = self.pages.load(Ordering::Relaxed);
        // A reader may stand in the way; then this is not tried at every turn.
        let waits = self.scrub_failed.is_some_and(|at| at.elapsed() < SCRUB_EVERY);
        if tx.scrubs_log && !waits {
            tx.scrubs_log = !self.finish(tx);
            self.scrub_failed = tx.scrubs_log.then(Instant::now);
            if !tx.scrubs_log {
                self.pages.store(0, Ordering::Relaxed);
                return;
            }
        }
        if pages < self.checkpoints.start {
            self.next_try = self.checkpoints.limit;
            self.next_rest = 0;
            self.checkpointer.moved.store(0, Ordering::Relaxed);
        } else if pages < self.checkpoints.limit {
            self.shorten(tx, pages);
        } else if pages < self.next_try {
            // The checkpointer is left asleep: while it works, the writer cannot empty the log.
        } else if self.finish(tx) {
            self.pages.store(0, Ordering::Relaxed);
            self.next_try = self.checkpoints.limit;
        } else {
            self.next_try = pages.saturating_add(self.checkpoints.start);
        }
    }

    /// Has the log moved into the database: its bulk by the checkpointer, the last pages here.
    fn shorten(&mut self, tx: &Tx, pages: i32) {
        if self.checkpointer.works.load(Ordering::Acquire) {
            return;
        }
        let moved = self.checkpointer.moved.load(Ordering::Relaxed);
        if moved == 0 || pages - moved > REST_PAGES {
            self.checkpointer.wake();
        } else if pages >= self.next_rest {
            // A reader may keep the log from beginning anew; then this is not tried at every turn.
            self.next_rest = pages + REST_PAGES / 2;
            let Connection::Sqlite(connection) = &tx.connection else { return };
            self.checkpointer.moved.store(move_pages(connection), Ordering::Relaxed);
        }
    }

    /// Empties the log; false where a reader still needs it.
    pub(super) fn finish(&self, tx: &Tx) -> bool {
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

/// Moves what can be moved without waiting for anybody; gives how many pages of the log the
/// database then holds.
fn move_pages(connection: &Sqlite) -> i32 {
    let moved = query(connection, "pragma wal_checkpoint(passive)", &[])
        .and_then(|rows| rows.first().map_or(Ok(0), |row| row.int(2)));
    match moved {
        Ok(pages) => i32::try_from(pages).unwrap_or(i32::MAX).max(0),
        Err(error) => {
            tracing::warn!(%error, "checkpoint");
            0
        }
    }
}

/// Moves pages from the write-ahead log into the database beside the writer.
struct Checkpointer {
    wake: std::sync::mpsc::SyncSender<()>,
    works: Arc<AtomicBool>,
    /// How many pages of the log the last pass found moved, itself included.
    moved: Arc<AtomicI32>,
}

impl Checkpointer {
    fn start(path: &Path) -> Checkpointer {
        let (wake, woken) = std::sync::mpsc::sync_channel::<()>(1);
        let (works, moved) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI32::new(0)));
        let path = path.to_owned();
        let (working, result) = (works.clone(), moved.clone());
        let spawned = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(move || {
            let Ok(connection) = connect(&path, false, 2_048) else { return };
            while woken.recv().is_ok() {
                result.store(move_pages(&connection), Ordering::Relaxed);
                working.store(false, Ordering::Release);
            }
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "start checkpointer");
        }
        Checkpointer { wake, works, moved }
    }

    fn wake(&self) {
        self.works.store(true, Ordering::Release);
        if self.wake.try_send(()).is_err() {
            // It has ended; the writer shortens the log by itself at its limit.
            self.works.store(false, Ordering::Release);
        }
    }
}
