//! PostgreSQL's connections: what becomes of a transaction when its server, its caller or one of
//! its statements goes away.

use std::sync::Arc;

use super::postgres::{PREPARED, PostgresDb, pool};
use super::{Db, Layout, Priority, Tx};
use crate::{Error, Result};

struct Opened {
    db: Arc<Db>,
    /// A connection of the test's own, to look from outside.
    beside: tokio_postgres::Client,
}

impl Opened {
    async fn new(connections: usize) -> Opened {
        let url = tidings_testkit::database::fresh().await;
        let pool = pool(&url, connections).unwrap();
        let db = Arc::new(Db::Postgres(PostgresDb::new(pool, "s", Layout::Plain)));
        let (beside, connection) =
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        beside.batch_execute("create schema s; create table s.t (n bigint unique)").await.unwrap();
        Opened { db, beside }
    }

    async fn numbers(&self) -> Vec<i64> {
        let rows = self.beside.query("select n from s.t order by n", &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The states of the store's connections.
    async fn states(&self) -> Vec<String> {
        let text = "select coalesce(state, '') from pg_stat_activity
                    where datname = current_database() and application_name = 'tidings'";
        let rows = self.beside.query(text, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Ends all of the store's connections from the server's side.
    async fn end_all(&self) {
        let text = "with found as materialized (
                      select pid from pg_stat_activity
                      where datname = current_database() and application_name = 'tidings')
                    select count(*) from found where pg_terminate_backend(pid)";
        let ended: i64 = self.beside.query_one(text, &[]).await.unwrap().get(0);
        assert!(ended > 0, "nobody was connected");
        while !self.states().await.is_empty() {
            tokio::task::yield_now().await;
        }
    }
}

async fn insert(tx: &mut Tx, number: i64) -> Result<()> {
    tx.execute_text("insert into {s}t (n) values (?1)", crate::params![number]).await.map(|_| ())
}

async fn put(db: &Db, number: i64) -> Result<()> {
    db.write(Priority::Bulk, move |tx| Box::pin(async move { insert(tx, number).await })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_for_a_moment_is_unavailable_and_comes_back() {
    let opened = Opened::new(3).await;
    // In the middle of a transaction.
    let (inside, is_inside) = tokio::sync::oneshot::channel::<()>();
    let (go_on, wait) = tokio::sync::oneshot::channel::<()>();
    let db = opened.db.clone();
    let writer = tokio::spawn(async move {
        db.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                insert(tx, 1).await?;
                inside.send(()).ok();
                wait.await.ok();
                insert(tx, 2).await
            })
        })
        .await
    });
    is_inside.await.unwrap();
    opened.end_all().await;
    go_on.send(()).unwrap();
    let lost = writer.await.unwrap();
    assert!(matches!(lost, Err(Error::Unavailable(_))), "{lost:?}");
    assert_eq!(opened.numbers().await, [0_i64; 0]);

    // While every connection is idle in the pool.
    let (first, second, third) =
        tokio::join!(put(&opened.db, 1), put(&opened.db, 2), put(&opened.db, 3));
    for done in [first, second, third] {
        done.unwrap();
    }
    opened.end_all().await;
    let mut failures = 0;
    for number in 4..10 {
        while let Err(error) = put(&opened.db, number).await {
            assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
            failures += 1;
            assert!(failures <= 3, "more failures than connections were lost");
        }
    }
    assert_eq!(opened.numbers().await, (1..10).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_no_open_transaction() {
    let opened = Opened::new(1).await;
    for number in 1..4 {
        let (inside, is_inside) = tokio::sync::oneshot::channel::<()>();
        let db = opened.db.clone();
        let writer = tokio::spawn(async move {
            db.write(Priority::Interactive, move |tx| {
                Box::pin(async move {
                    insert(tx, number).await?;
                    inside.send(()).ok();
                    std::future::pending::<()>().await;
                    Ok(())
                })
            })
            .await
        });
        is_inside.await.unwrap();
        writer.abort();
        assert!(writer.await.unwrap_err().is_cancelled());
        // The pool's only place is free for the next one, whose commit is its own.
        put(&opened.db, 10 + number).await.unwrap();
    }
    assert_eq!(opened.numbers().await, [11, 12, 13]);
    while opened.states().await.iter().any(|state| state.starts_with("idle in transaction")) {
        tokio::task::yield_now().await;
    }
}

/// Dropped before its first answer, at every point that can be hit by polling once more each time.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_may_go_away_at_any_point() {
    let opened = Opened::new(1).await;
    let mut done = 0;
    for polls in 1..40 {
        let mut write = Box::pin(put(&opened.db, polls));
        let mut finished = false;
        for _ in 0..polls {
            let once = std::future::poll_fn(|context| {
                std::task::Poll::Ready(write.as_mut().poll(context).is_ready())
            });
            finished = once.await;
            if finished {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(write);
        done += usize::from(finished);
        // The pool's only connection, as the next caller gets it.
        let next = opened.db.read(|tx| {
            Box::pin(async move { tx.query_text("select pg_backend_pid()", &[]).await?[0].int(0) })
        });
        let next = i32::try_from(next.await.unwrap()).unwrap();
        let text = "select state from pg_stat_activity where pid = $1";
        let state: String = opened.beside.query_one(text, &[&next]).await.unwrap().get(0);
        assert_eq!(state, "idle", "a transaction was left open after {polls} polls");
    }
    let stored = opened.numbers().await.len();
    assert!(stored >= done, "{stored} stored, {done} told so");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_the_work_hides_is_not_taken_for_a_commit() {
    let opened = Opened::new(1).await;
    put(&opened.db, 1).await.unwrap();
    let hidden = opened
        .db
        .write(Priority::Interactive, |tx| {
            Box::pin(async move {
                insert(tx, 2).await?;
                // The conflict ends the transaction, whatever the caller makes of it.
                let refused = insert(tx, 1).await;
                assert!(matches!(refused, Err(Error::Conflict(_))));
                Ok(())
            })
        })
        .await;
    assert!(hidden.is_err(), "nothing was stored, and the caller was told that it was");
    assert_eq!(opened.numbers().await, [1]);
    put(&opened.db, 3).await.unwrap();
    assert_eq!(opened.numbers().await, [1, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_for_once_is_not_kept_and_pushes_nothing_out() {
    let opened = Opened::new(1).await;
    let kept = opened.db.read(|tx| {
        Box::pin(async move {
            tx.query_text("select 0::bigint", &[]).await?;
            for number in 1..PREPARED + 50 {
                let rows = tx.query_once(&format!("select {number}::bigint"), &[]).await?;
                assert_eq!(rows[0].int(0)?, number as i64);
            }
            tx.execute_once("insert into {s}t (n) values (?1)", crate::params![7]).await?;
            let kept = "select count(*), count(*) filter (where statement = 'select 0::bigint')
                        from pg_prepared_statements";
            let row = tx.query_text(kept, &[]).await?.remove(0);
            Ok((row.int(0)?, row.int(1)?))
        })
    });
    // The one at the beginning and the one that counts.
    let (all, first) = kept.await.unwrap();
    assert!(all <= 3 && first == 1, "{all} are kept, {first} of them the first");
    assert_eq!(opened.numbers().await, [7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_keeps_a_bounded_number_of_statements() {
    let opened = Opened::new(1).await;
    let kept = opened.db.read(|tx| {
        Box::pin(async move {
            for number in 0..PREPARED + 50 {
                tx.query_text(&format!("select {number}::bigint"), &[]).await?;
            }
            tx.query_text("select count(*) from pg_prepared_statements", &[]).await?[0].int(0)
        })
    });
    let kept = kept.await.unwrap();
    assert!((1..=PREPARED as i64).contains(&kept), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_grew_is_no_longer_taken_for_empty() {
    let opened = Opened::new(2).await;
    // A table in pieces, too, whose figures as a whole are what joins are planned by.
    let pieces = "create table s.p (n bigint) partition by hash (n);
                  create table s.p_0 partition of s.p for values with (modulus 1, remainder 0)";
    opened.beside.batch_execute(pieces).await.unwrap();
    for table in ["t", "p"] {
        opened
            .db
            .write(Priority::Bulk, move |tx| {
                Box::pin(async move {
                    let text = format!("insert into {{s}}{table} select generate_series(1, 5000)");
                    tx.execute_text(&text, &[]).await
                })
            })
            .await
            .unwrap();
        let counted = format!("select reltuples from pg_class where oid = 's.{table}'::regclass");
        let mut rows = 0.0;
        while rows < 5_000.0 {
            rows = opened.beside.query_one(&counted, &[]).await.unwrap().get::<_, f32>(0);
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}
