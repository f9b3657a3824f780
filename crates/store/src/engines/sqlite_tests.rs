//! SQLite's writer and readers: what is promised of groups, turns, the log and a full disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;

use super::sqlite::{Checkpoints, SqliteDb};
use super::{Db, Priority, Tx};
use crate::{Error, Result};

struct Opened {
    db: Arc<Db>,
    folder: tempfile::TempDir,
}

impl Opened {
    async fn new() -> Opened {
        Opened::with(Checkpoints::default()).await
    }

    async fn with(checkpoints: Checkpoints) -> Opened {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.db");
        let db = SqliteDb::open_with(&file, 2_048, checkpoints).unwrap();
        let opened = Opened { db: Arc::new(Db::Sqlite(db)), folder };
        let text = "create table t (n integer primary key, payload blob)";
        opened.script(text).await.unwrap();
        opened
    }

    async fn script(&self, text: &'static str) -> Result<()> {
        self.db
            .write(Priority::Interactive, move |tx| Box::pin(async move { tx.script(text).await }))
            .await
    }

    /// The numbers that are stored.
    async fn numbers(&self) -> Vec<i64> {
        let rows = self
            .db
            .read(|tx| {
                Box::pin(async move { tx.query_text("select n from t order by n", &[]).await })
            })
            .await
            .unwrap();
        rows.iter().map(|row| row.int(0).unwrap()).collect()
    }

    fn log_bytes(&self) -> u64 {
        std::fs::metadata(self.folder.path().join("t.db-wal")).map_or(0, |file| file.len())
    }

    /// Holds the writer until the sender is used, so that commands gather behind it.
    fn hold(&self) -> (std::sync::mpsc::Sender<()>, tokio::task::JoinHandle<Result<()>>) {
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let db = self.db.clone();
        let (began, has_begun) = std::sync::mpsc::channel::<()>();
        let task = tokio::spawn(async move {
            db.write(Priority::Interactive, move |_| {
                Box::pin(async move {
                    began.send(()).ok();
                    wait.recv().ok();
                    Ok(())
                })
            })
            .await
        });
        tokio::task::block_in_place(|| has_begun.recv().unwrap());
        (release, task)
    }
}

/// A disk that fails at the next commit once this is set, and works again afterwards, as one does
/// whose failed pages the system has thrown away.
static FAILS: AtomicBool = AtomicBool::new(false);

#[tokio::test(flavor = "multi_thread")]
async fn after_a_commit_that_the_disk_failed_nothing_more_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.db");
    let checkpoints = Checkpoints::default();
    let db = SqliteDb::open_committing(&file, 2_048, checkpoints, |tx| {
        match FAILS.swap(false, Ordering::SeqCst) {
            true => Err(super::sqlite::fault(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC),
                None,
            ))),
            false => super::sqlite::commit(tx),
        }
    });
    let opened = Opened { db: Arc::new(Db::Sqlite(db.unwrap())), folder };
    opened.script("create table t (n integer primary key, payload blob)").await.unwrap();
    put(&opened.db, Priority::Interactive, 1, 10).await.unwrap();

    FAILS.store(true, Ordering::SeqCst);
    for number in 2..5 {
        let refused = put(&opened.db, Priority::Interactive, number, 10).await;
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{number}: {refused:?}");
    }
    let why = super::sqlite::disk_failed().await;
    assert!(why.starts_with("disk failed"), "{why}");
    assert!(!FAILS.load(Ordering::SeqCst), "the disk would have worked again");
    assert_eq!(opened.numbers().await, [1], "reading goes on until the end");
    // The process ends here; the next one begins from the file.
    drop(opened.db);
    let again = SqliteDb::open(&opened.folder.path().join("t.db"), 2_048);
    let again = again.map(|db| Opened { db: Arc::new(Db::Sqlite(db)), folder: opened.folder });
    assert_eq!(again.unwrap().numbers().await, [1]);
}

async fn put(db: &Db, priority: Priority, number: i64, bytes: usize) -> Result<()> {
    db.write(priority, move |tx| Box::pin(async move { insert(tx, number, bytes).await })).await
}

async fn insert(tx: &mut Tx, number: i64, bytes: usize) -> Result<()> {
    let text = "insert into t (n, payload) values (?1, ?2)";
    tx.execute_text(text, crate::params![number, vec![7_u8; bytes]]).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_has_the_settings_it_must_have() {
    let opened = Opened::new().await;
    let wanted = |query_only: i64| {
        [
            ("journal_mode", "wal".to_owned()),
            ("synchronous", "2".to_owned()),
            ("busy_timeout", "10000".to_owned()),
            ("wal_autocheckpoint", "0".to_owned()),
            ("foreign_keys", "0".to_owned()),
            ("temp_store", "2".to_owned()),
            ("secure_delete", "1".to_owned()),
            ("query_only", query_only.to_string()),
        ]
    };
    async fn setting(tx: &mut Tx, name: &str) -> Result<String> {
        let rows = tx.query_text(&format!("pragma {name}"), &[]).await?;
        rows[0].text(0).or_else(|_| rows[0].int(0).map(|number| number.to_string()))
    }
    for (name, value) in wanted(0) {
        let found = opened
            .db
            .write(Priority::Bulk, move |tx| Box::pin(async move { setting(tx, name).await }))
            .await;
        assert_eq!(found.unwrap(), value, "{name} of the writer");
    }
    for (name, value) in wanted(1) {
        let found = opened.db.read(move |tx| Box::pin(async move { setting(tx, name).await }));
        assert_eq!(found.await.unwrap(), value, "{name} of a reader");
    }
    let written = opened.db.read(|tx| Box::pin(async move { insert(tx, 1, 1).await })).await;
    assert!(written.is_err(), "a reader wrote");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_writes_share_a_commit_and_no_fault() {
    let opened = Opened::new().await;
    let (release, held) = opened.hold();
    let before = opened.db.commits().unwrap();
    let mut tasks = Vec::new();
    for number in 0..200_i64 {
        let db = opened.db.clone();
        tasks.push(tokio::spawn(async move {
            db.write(Priority::Interactive, move |tx| {
                Box::pin(async move {
                    insert(tx, number, 10).await?;
                    match number % 10 {
                        // Half of its work is done when it fails.
                        3 => Err(Error::Invalid("no".to_owned())),
                        5 => std::panic::resume_unwind(Box::new("on purpose")),
                        7 => insert(tx, number, 10).await,
                        _ => Ok(()),
                    }
                })
            })
            .await
        }));
        tokio::task::yield_now().await;
    }
    release.send(()).unwrap();
    held.await.unwrap().unwrap();
    let mut kept = Vec::new();
    for (number, task) in join_all(tasks).await.into_iter().enumerate() {
        match (number % 10, task.unwrap()) {
            (3, Err(Error::Invalid(_))) | (7, Err(Error::Conflict(_))) => {}
            (5, Err(Error::Database(text))) if text.contains("panicked") => {}
            (3 | 5 | 7, other) => panic!("{number}: {other:?}"),
            (_, other) => {
                other.unwrap();
                kept.push(number as i64);
            }
        }
    }
    assert_eq!(opened.numbers().await, kept);
    let commits = opened.db.commits().unwrap() - before;
    assert!(commits < 40, "200 writes took {commits} commits");
}

/// Commands note the order in which they ran.
async fn noting(
    db: &Db,
    priority: Priority,
    name: &'static str,
    order: Arc<Mutex<Vec<&'static str>>>,
    takes: Duration,
) -> Result<()> {
    db.write(priority, move |_| {
        Box::pin(async move {
            std::thread::sleep(takes);
            order.lock().push(name);
            Ok(())
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interactive_write_goes_before_waiting_bulk_ones() {
    let opened = Opened::new().await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let (release, held) = opened.hold();
    let mut tasks = Vec::new();
    let mut send = |priority, name| {
        let (db, order) = (opened.db.clone(), order.clone());
        let takes = Duration::from_millis(1);
        tasks.push(tokio::spawn(async move { noting(&db, priority, name, order, takes).await }));
    };
    (0..8).for_each(|_| send(Priority::Bulk, "bulk"));
    send(Priority::Interactive, "interactive");
    // Let every one of them reach its queue.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    release.send(()).unwrap();
    held.await.unwrap().unwrap();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let order = order.lock();
    let place = order.iter().position(|name| *name == "interactive").unwrap();
    assert!(place <= 1, "{order:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_writes_are_not_starved() {
    let opened = Opened::new().await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let (release, held) = opened.hold();
    let mut tasks = Vec::new();
    let takes = Duration::from_millis(1);
    let (db, noted) = (opened.db.clone(), order.clone());
    tasks
        .push(tokio::spawn(async move { noting(&db, Priority::Bulk, "bulk", noted, takes).await }));
    // Together they take far longer than a bulk command may wait, and the queue is never empty.
    for _ in 0..600 {
        let (db, noted) = (opened.db.clone(), order.clone());
        tasks.push(tokio::spawn(async move {
            noting(&db, Priority::Interactive, "interactive", noted, takes).await
        }));
    }
    for _ in 0..2_000 {
        tokio::task::yield_now().await;
    }
    release.send(()).unwrap();
    held.await.unwrap().unwrap();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let place = order.lock().iter().position(|name| *name == "bulk").unwrap();
    assert!(place < 400, "the bulk command came after {place} interactive ones");
}

const PAGE: u64 = 4_096 + 24;

#[tokio::test(flavor = "multi_thread")]
async fn the_log_stays_bounded_during_a_long_load() {
    let opened = Opened::with(Checkpoints { start: 50, limit: 400 }).await;
    let mut longest = 0;
    for number in 0..300_i64 {
        put(&opened.db, Priority::Bulk, number, 40_000).await.unwrap();
        longest = longest.max(opened.log_bytes());
    }
    // More than 3,000 pages pass through it. While the checkpointer is at work the writer cannot
    // empty the log, so it may go past the limit by what is written meanwhile.
    assert!(longest < 1_000 * PAGE, "the log grew to {longest} bytes");
    assert!(longest > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_read_holds_up_no_write() {
    let opened = Opened::with(Checkpoints { start: 50, limit: 400 }).await;
    put(&opened.db, Priority::Bulk, -1, 10).await.unwrap();
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let (began, has_begun) = tokio::sync::oneshot::channel::<()>();
    let db = opened.db.clone();
    let finished = Arc::new(AtomicUsize::new(0));
    let written = finished.clone();
    let reader = tokio::spawn(async move {
        db.read(move |tx| {
            Box::pin(async move {
                tx.script("begin").await?;
                let before = tx.query_text("select count(*) from t", &[]).await?[0].int(0)?;
                began.send(()).ok();
                wait.recv().ok();
                let after = tx.query_text("select count(*) from t", &[]).await?[0].int(0)?;
                tx.script("commit").await?;
                Ok((before, after, written.load(Ordering::Relaxed)))
            })
        })
        .await
    });
    has_begun.await.unwrap();
    // Five times the limit: each of these would wait ten seconds if the writer waited for readers.
    for number in 0..200_i64 {
        put(&opened.db, Priority::Bulk, number, 40_000).await.unwrap();
        finished.fetch_add(1, Ordering::Relaxed);
    }
    assert!(opened.log_bytes() > 1_000 * PAGE, "the reader does not hold the log");
    release.send(()).unwrap();
    assert_eq!(reader.await.unwrap().unwrap(), (1, 1, 200));
    // Once the reader has gone the log is emptied and begun again.
    for number in 200..300_i64 {
        put(&opened.db, Priority::Bulk, number, 40_000).await.unwrap();
    }
    assert!(opened.log_bytes() < 1_000 * PAGE, "the log is still {} bytes", opened.log_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_writers_only_and_passes() {
    let opened = Opened::new().await;
    put(&opened.db, Priority::Interactive, 0, 100_000).await.unwrap();
    opened.script("pragma max_page_count = 100").await.unwrap();
    let mut stored = vec![0];
    let mut refused = 0;
    for number in 1..40_i64 {
        match put(&opened.db, Priority::Interactive, number, 30_000).await {
            Ok(()) => stored.push(number),
            Err(Error::DiskFull(_)) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(refused > 10 && stored.len() > 2, "{refused} refused, {} stored", stored.len());
    assert_eq!(opened.numbers().await, stored);

    // In one group with others: whoever is told that it is stored is stored, nobody else is.
    let (release, held) = opened.hold();
    let mut tasks = Vec::new();
    for number in 100..120_i64 {
        let db = opened.db.clone();
        let bytes = if number % 5 == 4 { 3_000_000 } else { 1 };
        tasks.push(tokio::spawn(async move {
            put(&db, Priority::Interactive, number, bytes).await.map(|()| number)
        }));
        tokio::task::yield_now().await;
    }
    release.send(()).unwrap();
    // The one that held them was in the same group, so it may have been lost with it.
    let _ = held.await.unwrap();
    for task in join_all(tasks).await {
        match task.unwrap() {
            Ok(number) => stored.push(number),
            Err(Error::DiskFull(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(opened.numbers().await, stored);

    opened.script("pragma max_page_count = 1000000").await.unwrap();
    put(&opened.db, Priority::Bulk, 1_000, 3_000_000).await.unwrap();
    let whole = opened.db.read(|tx| {
        Box::pin(async move { tx.query_text("pragma integrity_check", &[]).await?[0].text(0) })
    });
    assert_eq!(whole.await.unwrap(), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_follow_the_schema_and_survive_a_panic() {
    let opened = Opened::new().await;
    put(&opened.db, Priority::Bulk, 1, 10).await.unwrap();
    let column = async |name: &str| {
        let text = format!("select {name} from t");
        let read = opened.db.read(move |tx| {
            Box::pin(async move { Ok(tx.query_text(&text, &[]).await?.remove(0)) })
        });
        read.await
    };
    // Each reader has the first statement prepared before the schema moves.
    for _ in 0..8 {
        assert_eq!(column("n").await.unwrap().int(0).unwrap(), 1);
    }
    opened.script("alter table t add column later integer default 5").await.unwrap();
    for _ in 0..8 {
        assert_eq!(column("later").await.unwrap().int(0).unwrap(), 5);
        assert_eq!(column("n").await.unwrap().int(0).unwrap(), 1);
    }
    opened.script("alter table t drop column later").await.unwrap();
    for _ in 0..8 {
        assert!(column("later").await.is_err());
        let panicked: Result<()> = opened
            .db
            .read(|_| Box::pin(async move { std::panic::resume_unwind(Box::new("on purpose")) }))
            .await;
        assert!(matches!(panicked, Err(Error::Database(_))));
    }
    assert_eq!(column("n").await.unwrap().int(0).unwrap(), 1);
}
