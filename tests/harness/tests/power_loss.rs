//! The power fails under an import and single calls, again and again: whatever had not been brought to
//! the disk is lost, half lost or there. What was answered for is there, and the import goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tidings_harness::api::Api;
use tidings_harness::import::{self, Standing, shown};
use tidings_harness::power::Power;
use tidings_harness::run::{Run, kills_wanted};
use tidings_harness::world::World;

const ROWS: u64 = 15_000;
/// Failures of one import; a longer count takes several.
const AT_ONCE: u64 = 5;
/// How often a lying disk may go unnoticed.
const TRIES: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn row_6_what_was_answered_for_outlives_a_loss_of_power() {
    let mut run = Run::start("power loss").await;
    let mut counted = 0;
    while counted < kills_wanted() {
        let (more, found) = strike(&mut run, false).await;
        counted += more;
        assert!(found.is_empty(), "{}", shown(&found));
    }
    run.say(&format!("{counted} losses of power, 0 violations"));
}

/// The counter-test: a disk that brings nothing to its plates must be found out.
#[tokio::test(flavor = "multi_thread")]
async fn row_6_a_disk_that_ignores_syncs_is_noticed() {
    let mut run = Run::start("power loss with a lying disk").await;
    for _ in 0..TRIES {
        // A hub whose files are in pieces may not start at all, which is noticed too.
        let strike = async move {
            let (_, found) = strike(&mut run, true).await;
            (run, found)
        };
        let struck = tokio::task::LocalSet::new()
            .run_until(async { tokio::task::spawn_local(strike).await })
            .await;
        run = match struck {
            // An import may end before the power fails, and then nothing was shown.
            Ok((run, found)) if found.is_empty() => run,
            _ => return,
        };
    }
    panic!("a disk that lies went unnoticed {TRIES} times");
}

/// Imports a file and makes customers one by one while the power fails; gives how often it did, and
/// what is wrong at the end.
async fn strike(run: &mut Run, ignores_sync: bool) -> (u64, Vec<String>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let power = Power::new(folder.path(), ignores_sync);
    let mut world = World::on_sqlite_with(power.environment()).await;
    let data = world.folder().join("node-1");
    let api = world.api();
    let (file, truth) = import::generate(&mut run.random, ROWS);
    let import = import::start(&world, file).await;
    let ended = Arc::new(AtomicBool::new(false));
    let calls = tokio::spawn(call(api.clone(), ended.clone()));
    let mut counted = 0;
    while counted < AT_ONCE {
        tokio::time::sleep(run.millis(50, 350)).await;
        let before = Standing::of(&api, &import).await;
        if before.is_over() {
            break;
        }
        world.program().kill();
        let lost = power.lose(&data, &mut run.random);
        world.program().start().await;
        counted += 1;
        let after = Standing::of(&api, &import).await;
        run.say(&format!(
            "failure {counted} behind row {}: {} writes were not on the disk, {} sectors went back; \
             {} rows on disk",
            before.rows, lost.writes, lost.sectors, after.rows
        ));
        if after.rows < before.rows {
            let text = format!("{} rows were shown, {} are on disk", before.rows, after.rows);
            return (counted, vec![text]);
        }
    }
    world.wait_for(&import, |shown| ["done", "failed"].iter().any(|s| shown["state"] == *s)).await;
    ended.store(true, Ordering::Relaxed);
    let answered = calls.await.expect("the caller ends");
    let mut found = import::violations(&api, &import, &truth).await;
    found.retain(|line| !line.starts_with("customer call-"));
    for id in &answered {
        let customer = api.call("GET", &format!("/v1/customers/external_id:{id}"), None).await;
        if !customer.is_ok_and(|answer| answer.status == 200) {
            found.push(format!("{id} was answered for and is not there"));
        }
    }
    run.say(&format!("{} single calls were answered; {}", answered.len(), shown(&found)));
    if counted > 0 && answered.is_empty() {
        found.push("no single call was answered, so nothing was shown".to_owned());
    }
    (counted, found)
}

/// Makes one customer after the other; gives those that were answered for.
async fn call(api: Api, ended: Arc<AtomicBool>) -> Vec<String> {
    let mut answered = Vec::new();
    let mut at = 0;
    while !ended.load(Ordering::Relaxed) {
        let id = format!("call-{at}");
        at += 1;
        let body = json!({"external_id": id});
        // While the program is away nobody answers.
        if let Ok(answer) = api.call("POST", "/v1/customers", Some(&body)).await
            && answer.status < 300
        {
            answered.push(id);
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    answered
}
