//! The write-ahead log: kept short beside the writer, and by the writer itself where that is not
//! enough.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection as Sqlite;

use super::{BUSY_WAIT, connect, fault, query};
use crate::Result;
use crate::engines::{Connection, Tx};

/// How long the writer waits for readers to let go of the write-ahead log.
const CHECKPOINT_WAIT: Duration = Duration::from_millis(20);

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
        Ok(Log { pages, checkpoints, next_try: checkpoints.limit, checkpointer })
    }

    pub(super) fn after_turn(&mut self, tx: &Tx) {
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
