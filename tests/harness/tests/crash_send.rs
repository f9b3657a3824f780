//! A campaign is killed while its mails are on their way, again and again, and every mail is
//! compared with what the program says of it.

use std::time::Duration;

use tidings_harness::database::Engine;
use tidings_harness::import::shown;
use tidings_harness::program::OPEN_MAX;
use tidings_harness::run::{Run, kills_wanted, until};
use tidings_harness::send::{self, Campaign, Class, Strikes};
use tidings_harness::world::World;

const CUSTOMERS: u64 = 3_000;
/// Kills of one campaign; a longer count takes several.
const KILLS_AT_ONCE: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn marketing_is_never_doubled_on_sqlite() {
    survives("marketing on SQLite", Engine::Sqlite, Class::Marketing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn marketing_is_never_doubled_on_postgres() {
    survives("marketing on PostgreSQL", Engine::Postgres, Class::Marketing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactional_is_never_lost_on_sqlite() {
    survives("transactional on SQLite", Engine::Sqlite, Class::Transactional).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactional_is_never_lost_on_postgres() {
    survives("transactional on PostgreSQL", Engine::Postgres, Class::Transactional).await;
}

/// The counter-test: a program that commits a start after the mail has left must be found out.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_after_the_send_is_noticed() {
    let mut run = Run::start("marketing with a bug").await;
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let mut world = World::new(engine, Some("commit-after-send")).await;
        let campaign = send::launch(&world, Class::Marketing, CUSTOMERS).await;
        let counted = strike(&mut run, &mut world, &campaign, 3).await;
        let strikes = Strikes { uncertain_max: counted * OPEN_MAX };
        let (found, _) = send::violations(&world, &campaign, strikes).await;
        run.say(&format!("{engine:?}: {counted} kills; {}", shown(&found)));
        assert!(found.iter().any(|line| line.ends_with("got 2 mails")), "{}", shown(&found));
    }
}

async fn survives(name: &str, engine: Engine, class: Class) {
    let mut run = Run::start(name).await;
    let wanted = kills_wanted();
    let mut counted = 0;
    while counted < wanted {
        let mut world = World::new(engine, None).await;
        let campaign = send::launch(&world, class, CUSTOMERS).await;
        let kills = KILLS_AT_ONCE.min(wanted - counted);
        let more = strike(&mut run, &mut world, &campaign, kills).await;
        counted += more;
        let strikes = Strikes { uncertain_max: more * OPEN_MAX };
        let (found, figures) = send::violations(&world, &campaign, strikes).await;
        run.say(&format!(
            "{counted} kills: {} sent, {} uncertain, {} arrived twice, {} marked as sent again; {}",
            figures.sent,
            figures.uncertain,
            figures.repeats,
            figures.marked,
            shown(&found)
        ));
        assert!(found.is_empty(), "{}", shown(&found));
    }
}

/// Kills until the campaign is done; gives how many kills hit it with mails on their way.
async fn strike(run: &mut Run, world: &mut World, campaign: &Campaign, kills: u64) -> u64 {
    let (api, total) = (world.api(), campaign.addressed());
    let mut counted = 0;
    let mut target = run.next_strike(0, total, kills);
    until("the campaign to come to its end", async || {
        let before = api.get(&campaign.path).await;
        if before["state"] == "done" {
            return true;
        }
        let on_their_way = before["counts"]["in_flight"].as_u64().unwrap_or_default();
        let arrived = world.sink.count();
        if counted == kills || arrived < target || arrived >= total || on_their_way == 0 {
            return false;
        }
        tokio::time::sleep(run.millis(0, 40)).await;
        let arrived = world.sink.count();
        world.crash().await;
        let after = api.get(&campaign.path).await;
        if after["state"] == "done" {
            run.say("a kill came after the end and does not count");
            return true;
        }
        counted += 1;
        run.say(&format!(
            "kill {counted} at mail {arrived} of {total}, {on_their_way} on their way"
        ));
        target = run.next_strike(arrived, total, kills - counted);
        tokio::time::sleep(Duration::from_millis(5)).await;
        false
    })
    .await;
    counted
}
