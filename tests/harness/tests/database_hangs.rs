//! The way to PostgreSQL hangs, breaks and trickles while the server itself is well.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings_harness::api::Api;
use tidings_harness::database::Engine;
use tidings_harness::proxy::{Proxy, Way};
use tidings_harness::run::{Run, until};
use tidings_harness::world::World;

fn person(number: u64, score: i64) -> Value {
    json!({
        "external_id": format!("h{number}"),
        "email": format!("h{number}@mail.example"),
        "attributes": {"name": format!("Call {number}"), "score": score},
    })
}

/// The status of a call, and how long it took.
async fn timed(api: &Api, method: &str, path: &str, body: Option<&Value>) -> (u16, Duration) {
    let began = Instant::now();
    let answer = api.call(method, path, body).await.expect("the program answers");
    (answer.status, began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_10_a_database_that_hangs_is_said_and_waited_for() {
    let run = Run::start("database hangs").await;
    let url = Engine::Postgres.fresh().await.expect("a database");
    let proxy = Proxy::before(&url).await;
    let mut world = World::with(Some(proxy.url.clone()), 1, None).await;
    let api = world.api();
    let pid = world.program().pid();
    api.post("/v1/customers", person(0, 1)).await;

    // Given a way that takes everything and passes nothing on, with calls in hand.
    proxy.set(Way::Silent);
    let calls: Vec<_> = (1..=20)
        .map(|number| {
            let api = api.clone();
            tokio::spawn(async move {
                api.call("POST", "/v1/customers", Some(&person(number, 1))).await
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;

    // Then the program says so soon, and stays.
    let (ready, took) = timed(&api, "GET", "/readyz", None).await;
    run.say(&format!("not ready was said after {took:.1?}"));
    assert_eq!(ready, 503);
    assert!(took < Duration::from_secs(10), "a probe is answered while the database hangs");
    assert_eq!(Api::probe(&world.nodes[0].base_url(), "/healthz").await, Some(200));

    // When the way breaks, every call in hand is told to try again.
    proxy.set(Way::Cut);
    for call in calls {
        let answer = call.await.expect("a call").expect("an answer");
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.retry_after.is_some(), "{answer:?}");
    }

    // When it is open again, the program goes on by itself; a repeated call has one effect.
    proxy.set(Way::Open);
    until("the program to be ready again", async || {
        timed(&api, "GET", "/readyz", None).await.0 == 200
    })
    .await;
    for number in 1..=20 {
        let (status, _) = timed(&api, "POST", "/v1/customers", Some(&person(number, 2))).await;
        assert!(status < 300, "customer {number}: {status}");
    }
    let all = api.all("/v1/customers").await;
    assert_eq!(all.len(), 21);

    // Slow is not dead: answers that come in pieces are waited for.
    proxy.set(Way::Trickle);
    let (status, took) = timed(&api, "POST", "/v1/customers", Some(&person(3, 3))).await;
    run.say(&format!("by a way of a few bytes at a time a call took {took:.1?}"));
    assert_eq!(status, 200);
    proxy.set(Way::Open);
    assert_eq!(world.program().pid(), pid);
    assert!(world.program().ended().is_none(), "the program has ended");
}
