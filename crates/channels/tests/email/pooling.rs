//! Connections are kept, counted, renewed and never more than allowed.

use std::time::Duration;

use tidings_channels::email::{ConnectError, Limits, Outcome, PoolState};
use tidings_testkit::mail_sink::{Action, At, MailSink, Script};

use super::{MESSAGE, pool, rude_server, to};

fn assert_sent(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_connection_is_kept_and_renewed_after_its_messages() {
    let sink = MailSink::start(Script::accept_all()).await;
    let pool = pool(&format!("{}?per_connection=10", sink.url()), Limits::default());
    for _ in 0..5 {
        let mut lease = pool.connection().await.expect("the sink is there");
        for _ in 0..5 {
            assert_sent(&lease.send(&to("a@b.example"), MESSAGE).await);
        }
    }
    let connections: Vec<u64> = sink.mails().iter().map(|mail| mail.connection).collect();
    let expected = [[1; 10].as_slice(), &[2; 10], &[3; 5]].concat();
    assert_eq!(connections, expected);
    assert_eq!(pool.state(), PoolState { leased: 0, idle: 1, opened: 3 });
}

#[tokio::test]
async fn there_are_never_more_connections_than_allowed() {
    let sink = MailSink::start(Script::accept_all()).await;
    let pool = pool(&format!("{}?max=2", sink.url()), Limits::default());
    let workers: Vec<_> = (0..6)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for _ in 0..5 {
                    let mut lease = pool.connection().await.expect("the sink is there");
                    assert_sent(&lease.send(&to("a@b.example"), MESSAGE).await);
                    assert!(pool.state().leased <= 2);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("the worker is content");
    }
    assert_eq!(sink.count(), 30);
    assert!(sink.connections() <= 2, "{}", sink.connections());
}

#[tokio::test]
async fn a_connection_the_server_left_is_replaced_within_the_send() {
    for manner in [rude_server::Manner::LeavesAfterOne, rude_server::Manner::TiredAfterOne] {
        let url = rude_server::start(manner).await;
        let pool = pool(&url, Limits::default());
        let mut lease = pool.connection().await.expect("the server is there");
        for _ in 0..3 {
            assert_sent(&lease.send(&to("a@b.example"), MESSAGE).await);
        }
        assert_eq!(pool.state().opened, 3);
    }
}

#[tokio::test]
async fn a_connection_unused_for_long_is_asked_before_it_is_used() {
    let url = rude_server::start(rude_server::Manner::LeavesAfterOne).await;
    let pool = pool(&url, Limits { noop_after: Duration::ZERO, ..Limits::default() });
    for opened in 1..=3 {
        let mut lease = pool.connection().await.expect("the server is there");
        assert_eq!(pool.state(), PoolState { leased: 1, idle: 0, opened });
        assert_sent(&lease.send(&to("a@b.example"), MESSAGE).await);
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let sink = MailSink::start(Script::accept_all()).await;
    let pool = pool(&sink.url(), Limits { idle: Duration::from_millis(20), ..Limits::default() });
    drop(pool.connection().await.expect("the sink is there"));
    while pool.state().idle > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(pool.connection().await.expect("the sink is there"));
    assert_eq!(pool.state().opened, 2);
}

#[tokio::test]
async fn a_broken_connection_is_not_kept() {
    let script = Script::accept_all().to("bad", Action::Close(At::Dot));
    let sink = MailSink::start(script).await;
    let pool = pool(&sink.url(), Limits::default());
    let mut lease = pool.connection().await.expect("the sink is there");
    let outcome = lease.send(&to("bad@b.example"), MESSAGE).await;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    assert_eq!(sink.count(), 1, "it was taken, and must not be sent again by the pool");
    assert_sent(&lease.send(&to("good@b.example"), MESSAGE).await);
    drop(lease);
    assert_eq!(pool.state(), PoolState { leased: 0, idle: 1, opened: 2 });
}

#[tokio::test]
async fn an_abandoned_send_drops_its_connection() {
    let script = Script::accept_all().to("slow", Action::Hang(At::Dot));
    let sink = MailSink::start(script).await;
    let pool = pool(&sink.url(), Limits::default());
    let mut lease = pool.connection().await.expect("the sink is there");
    {
        let (slow, sink) = (to("slow@b.example"), &sink);
        tokio::select! {
            outcome = lease.send(&slow, MESSAGE) => panic!("{outcome:?}"),
            _ = sink.wait_for(1) => {}
        }
    }
    assert_sent(&lease.send(&to("good@b.example"), MESSAGE).await);
    assert_eq!(pool.state().opened, 2);
}

#[tokio::test]
async fn a_closed_pool_gives_no_lease() {
    let sink = MailSink::start(Script::accept_all()).await;
    let pool = pool(&sink.url(), Limits::default());
    let mut lease = pool.connection().await.expect("the sink is there");
    pool.close().await;
    assert!(matches!(pool.connection().await, Err(ConnectError::PoolClosed)));
    assert_sent(&lease.send(&to("a@b.example"), MESSAGE).await);
    drop(lease);
    assert_eq!(pool.state().idle, 0);
}
