//! SIGTERM under load: the program finishes what is on its way, ends well, and goes on where it
//! stopped when it is started again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tidings_harness::api::Api;
use tidings_harness::database::Engine;
use tidings_harness::import::{self, Standing, shown};
use tidings_harness::run::{Run, until};
use tidings_harness::send::{self, Class, Strikes};
use tidings_harness::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_leaves_nothing_uncertain_on_sqlite() {
    stops("stop on SQLite", Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_leaves_nothing_uncertain_on_postgres() {
    stops("stop on PostgreSQL", Engine::Postgres).await;
}

async fn stops(name: &str, engine: Engine) {
    let mut run = Run::start(name).await;
    let mut world = World::new(engine, None).await;
    let campaign = send::launch(&world, Class::Marketing, 2_000).await;
    let (file, truth) = import::generate(&mut run.random, 40_000);
    let import = import::start(&world, file).await;
    let api = world.api();
    let calls = Calls::start(&api);
    let target = 100 + run.below(500);
    until("the campaign to be in the middle", async || world.sink.count() >= target).await;

    let (status, took) = world.program().terminate().await;

    let arrived = world.sink.count();
    run.say(&format!("stopped at mail {arrived} with {status} in {took:?}"));
    assert!(status.success(), "it ended with {status}\n{}", world.program().log_tail());
    assert!(took < Duration::from_secs(30), "it took {took:?}");
    let answered = calls.stop().await;
    world.program().start().await;
    let counts = api.get(&campaign.path).await["counts"].clone();
    assert_eq!(counts["uncertain"], 0, "{counts}");
    assert!(counts["sent"].as_u64() >= Some(arrived), "{arrived} arrived: {counts}");
    world.wait_for(&campaign.path, |shown| shown["state"] == "done").await;
    until("the import to end", async || Standing::of(&api, &import).await.is_over()).await;
    let (mut found, figures) = send::violations(&world, &campaign, Strikes::default()).await;
    let mut imported = import::violations(&api, &import, &truth).await;
    // The customers of the campaign and of the single calls are here too.
    imported.retain(|line| !line.starts_with("customer s") && !line.starts_with("customer g"));
    found.extend(imported);
    for at in 0..answered {
        let customer = api.call("GET", &format!("/v1/customers/external_id:g{at}"), None).await;
        if customer.is_ok_and(|answer| answer.status != 200) {
            found.push(format!("customer g{at} was answered for, but is not there"));
        }
    }
    run.say(&format!("{} sent, {answered} single calls; {}", figures.sent, shown(&found)));
    assert!(found.is_empty(), "{}", shown(&found));
}

/// A caller who makes one customer after the other until told to stop.
struct Calls {
    answered: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Calls {
    fn start(api: &Api) -> Calls {
        let (api, answered) = (api.clone(), Arc::new(AtomicU64::new(0)));
        let stop = Arc::new(AtomicBool::new(false));
        let (count, ended) = (answered.clone(), stop.clone());
        let task = tokio::spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                let at = count.load(Ordering::Relaxed);
                let body = json!({"external_id": format!("g{at}")});
                let answer = api.call("POST", "/v1/customers", Some(&body)).await;
                match answer {
                    Ok(answer) if answer.status < 300 => {
                        count.store(at + 1, Ordering::Relaxed);
                    }
                    Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
                    // The program has stopped listening.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        Calls { answered, stop, task }
    }

    /// How many customers were answered for.
    async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("every answer was good or said try again");
        self.answered.load(Ordering::Relaxed)
    }
}
