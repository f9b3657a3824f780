//! PostgreSQL goes away for seconds, and once for longer, under single calls, an import and a campaign, and comes back.
//! Callers are told to try again, the program stays, and in the end nothing is lost or doubled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tidings_harness::api::Api;
use tidings_harness::database::Cluster;
use tidings_harness::import::{self, Standing, shown};
use tidings_harness::program::OPEN_MAX;
use tidings_harness::run::{Run, until};
use tidings_harness::send::{self, Class, Strikes};
use tidings_harness::world::World;

const OUTAGES: u64 = 3;
const CALLERS: u64 = 4;

/// How long the last outage lasts: a minute in the long counts.
fn last_outage() -> Duration {
    let given = std::env::var("TIDINGS_OUTAGE_SECS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(given.unwrap_or(4))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_loses_and_doubles_nothing() {
    let mut run = Run::start("database gone").await;
    let cluster = Cluster::start_new();
    let mut world = World::with(Some(cluster.fresh().await), 1, None).await;
    let api = world.api();
    let campaign = send::launch(&world, Class::Marketing, 4_000).await;
    let (file, truth) = import::generate(&mut run.random, 100_000);
    let import = import::start(&world, file).await;
    let ended = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> =
        (0..CALLERS).map(|caller| tokio::spawn(call(api.clone(), caller, ended.clone()))).collect();
    let pid = world.program().pid();

    for outage in 1..=OUTAGES {
        tokio::time::sleep(run.millis(500, 1_500)).await;
        let (mails, immediate) = (world.sink.count(), run.below(2) == 1);
        let rows = Standing::of(&api, &import).await.rows;
        cluster.stop(immediate);
        let away = if outage == OUTAGES { last_outage() } else { run.millis(2_000, 4_000) };
        run.say(&format!(
            "outage {outage} at mail {mails} and row {rows}: {away:?}, {}",
            if immediate { "as if the power had failed" } else { "an orderly stop" }
        ));
        let while_away = Api::probe(&world.nodes[0].base_url(), "/healthz").await;
        assert_eq!(while_away, Some(200), "the program must stay alive");
        tokio::time::sleep(away).await;
        let ready = Api::probe(&world.nodes[0].base_url(), "/readyz").await;
        assert_eq!(ready, Some(503), "a program without its database is not ready");
        cluster.start();
        let (back, mails) = (Instant::now(), world.sink.count());
        until("mails to arrive again", async || world.sink.count() > mails).await;
        run.say(&format!("the first mail came {:.1?} after the database", back.elapsed()));
    }
    until("the import to end", async || match api.call("GET", &import, None).await {
        Ok(answer) => ["done", "failed"].iter().any(|state| answer.body["state"] == *state),
        Err(_) => false,
    })
    .await;
    world.wait_for(&campaign.path, |shown| shown["state"] == "done").await;
    ended.store(true, Ordering::Relaxed);
    let mut heard = Heard::default();
    for caller in callers {
        heard.add(caller.await.expect("every answer was good or said try again"));
    }

    assert_eq!(world.program().pid(), pid);
    assert!(world.program().ended().is_none(), "the program has ended");
    let strikes = Strikes { uncertain_max: OUTAGES * OPEN_MAX };
    let (mut found, figures) = send::violations(&world, &campaign, strikes).await;
    found.extend(imported(&api, &import, truth, &heard).await);
    run.say(&format!(
        "{} sent, {} uncertain, {} rows, {} single calls, {} told to try again; {}",
        figures.sent,
        figures.uncertain,
        api.get(&import).await["rows"]["read"],
        heard.good.len(),
        heard.try_again,
        shown(&found)
    ));
    assert!(found.is_empty(), "{}", shown(&found));
    assert!(heard.try_again > 0, "no caller met an outage, so nothing was shown");
}

/// What is wrong with the import and with the customers of the single calls.
async fn imported(api: &Api, import: &str, mut truth: import::Truth, heard: &Heard) -> Vec<String> {
    for (id, score) in &heard.good {
        let person = import::Person {
            email: format!("{id}@mail.example"),
            name: format!("Call {id}"),
            score: *score,
            joined: "2026-01-31".to_owned(),
        };
        truth.people.insert(id.clone(), person);
    }
    let mut found = import::violations(api, import, &truth).await;
    // The campaign's own customers are here too.
    found.retain(|line| !line.starts_with("customer s"));
    found
}

/// What the callers were told.
#[derive(Default)]
struct Heard {
    /// Customers that were answered for, with the score of the last call.
    good: Vec<(String, i64)>,
    try_again: u64,
}

impl Heard {
    fn add(&mut self, other: Heard) {
        self.good.extend(other.good);
        self.try_again += other.try_again;
    }
}

/// Makes customers, each with two calls, until told to stop. A call that is answered by *try again*
/// is made again until it is good.
async fn call(api: Api, caller: u64, ended: Arc<AtomicBool>) -> Heard {
    let mut heard = Heard::default();
    let mut at = 0;
    while !ended.load(Ordering::Relaxed) {
        let id = format!("d{caller}-{at}");
        for score in [1, 2] {
            let body = json!({
                "external_id": id,
                "email": format!("{id}@mail.example"),
                "attributes": {"name": format!("Call {id}"), "score": score, "joined": "2026-01-31"},
            });
            loop {
                let answer = api.call("POST", "/v1/customers", Some(&body)).await;
                let answer = answer.expect("the program answers while its database is away");
                if answer.status < 300 {
                    break;
                }
                assert_eq!(answer.status, 503, "{answer:?}");
                assert!(answer.retry_after.is_some(), "a 503 says when to try again: {answer:?}");
                heard.try_again += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        heard.good.push((id, 2));
        at += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    heard
}
