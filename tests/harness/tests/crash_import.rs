//! An import is killed while its batches are open, again and again, and every row is compared with
//! the truth at the end.

use std::time::Duration;

use tidings_harness::database::Engine;
use tidings_harness::import::{self, Standing, Truth, shown};
use tidings_harness::run::{Run, kills_wanted};
use tidings_harness::world::World;

const ROWS: u64 = 100_000;
/// Kills of one import; a longer count takes several.
const KILLS_AT_ONCE: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn an_import_survives_kills_on_sqlite() {
    survives("import on SQLite", Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_survives_kills_on_postgres() {
    survives("import on PostgreSQL", Engine::Postgres).await;
}

/// The counter-test: a program that moves on before its rows are on disk must be found out.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_moves_on_too_early_is_noticed() {
    let mut run = Run::start("import with a bug").await;
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let (file, truth) = import::generate(&mut run.random, ROWS / 2);
        let mut world = World::new(engine, Some("advance-before-apply")).await;
        let path = import::start(&world, file).await;
        let (counted, _) = strike(&mut run, &mut world, &path, &truth, 5).await;
        let found = import::violations(&world.api(), &path, &truth).await;
        run.say(&format!("{engine:?}: {counted} kills; {}", shown(&found)));
        assert!(!found.is_empty(), "the bug went unnoticed on {engine:?}");
    }
}

async fn survives(name: &str, engine: Engine) {
    let mut run = Run::start(name).await;
    let wanted = kills_wanted();
    let mut counted = 0;
    while counted < wanted {
        let (file, truth) = import::generate(&mut run.random, ROWS);
        let mut world = World::new(engine, None).await;
        let path = import::start(&world, file).await;
        let kills = KILLS_AT_ONCE.min(wanted - counted);
        let (more, mut found) = strike(&mut run, &mut world, &path, &truth, kills).await;
        counted += more;
        found.extend(import::violations(&world.api(), &path, &truth).await);
        run.say(&format!(
            "{} rows: {} created, {} updated, {} unchanged, {} refused after {counted} kills; {}",
            truth.rows(),
            truth.created,
            truth.updated,
            truth.unchanged,
            truth.refused.len(),
            shown(&found)
        ));
        assert!(found.is_empty(), "{}", shown(&found));
    }
}

/// Kills until the import is over; gives how many kills hit it half-way, and what was wrong between
/// them.
async fn strike(
    run: &mut Run,
    world: &mut World,
    path: &str,
    truth: &Truth,
    kills: u64,
) -> (u64, Vec<String>) {
    let (api, total) = (world.api(), truth.rows());
    let mut found = Vec::new();
    let mut counted = 0;
    let mut target = run.next_strike(0, total, kills);
    loop {
        let before = Standing::of(&api, path).await;
        if before.is_over() {
            return (counted, found);
        }
        if counted == kills || before.state != "running" || before.rows < target {
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        }
        tokio::time::sleep(run.millis(0, 30)).await;
        world.crash().await;
        let after = Standing::of(&api, path).await;
        if after.rows < before.rows {
            found.push(format!("{} rows were shown, {} are on disk", before.rows, after.rows));
        }
        if after.is_over() {
            run.say("a kill came after the end and does not count");
            return (counted, found);
        }
        counted += 1;
        let on_disk = after.rows;
        run.say(&format!(
            "kill {counted} behind row {} of {total}, {on_disk} on disk",
            before.rows
        ));
        target = run.next_strike(after.rows, total, kills - counted);
    }
}
