//! Several programs share one PostgreSQL and one campaign, while one after the other is killed,
//! frozen beyond its lease and thawed, and told to stop.

use std::time::Duration;

use tidings_harness::database::{Engine, fenced_writes};
use tidings_harness::import::shown;
use tidings_harness::program::{LEASE_SECS, OPEN_MAX, Program, Setup};
use tidings_harness::run::{Run, kills_wanted, until};
use tidings_harness::send::{self, Campaign, Class, Strikes};
use tidings_harness::world::World;

const CUSTOMERS: u64 = 8_000;
/// Faults of one campaign; a longer count takes several.
const FAULTS_AT_ONCE: u64 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    /// Stands still beyond its lease, then goes on as if nothing had been.
    Freeze,
    /// Told to stop, and started again.
    Stop,
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_send_marketing_once() {
    survives("marketing on two nodes", 2, Class::Marketing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_lose_nothing_transactional() {
    survives("transactional on three nodes", 3, Class::Transactional).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_that_shares_no_files_is_refused() {
    let world = World::with(Engine::Postgres.fresh().await, 1, None).await;
    let first = &world.nodes[0].setup;
    let second = Program::new(Setup {
        name: "stranger".to_owned(),
        data_dir: first.data_dir.with_file_name("stranger"),
        files_shared: false,
        ..first.clone()
    });
    let said = second.refused();
    assert!(said.contains("start each node with --files-shared"), "{said}");
    assert!(!world.api().get("/v1/attributes").await.is_null(), "the first one goes on");
}

/// The counter-test: programs that write without a lease must be found out.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_not_fenced_are_noticed() {
    let mut run = Run::start("two nodes with a bug").await;
    let url = Engine::Postgres.fresh().await;
    let mut world = World::with(url, 2, Some("no-fencing")).await;
    let campaign = send::launch(&world, Class::Marketing, 5_000).await;
    let done = strike(&mut run, &mut world, &campaign, &[Fault::Freeze]).await;
    let strikes = Strikes { uncertain_max: done.len() as u64 * OPEN_MAX };
    let (found, figures) = send::violations(&world, &campaign, strikes).await;
    run.say(&format!("{done:?}: {} uncertain; {}", figures.uncertain, shown(&found)));
    assert!(!found.is_empty(), "the bug went unnoticed");
}

async fn survives(name: &str, nodes: usize, class: Class) {
    let mut run = Run::start(name).await;
    let wanted = kills_wanted();
    let (mut counted, mut fenced) = (0, 0);
    while counted < wanted {
        let url = Engine::Postgres.fresh().await;
        let mut world = World::with(url, nodes, None).await;
        let campaign = send::launch(&world, class, CUSTOMERS).await;
        let faults = planned(&mut run, FAULTS_AT_ONCE.min(wanted - counted).max(4));
        let done = strike(&mut run, &mut world, &campaign, &faults).await;
        counted += done.len() as u64;
        let hidden = done.iter().filter(|fault| **fault != Fault::Stop).count() as u64;
        let strikes = Strikes { uncertain_max: hidden * OPEN_MAX };
        let (found, figures) = send::violations(&world, &campaign, strikes).await;
        let url = world.database_url.as_deref().expect("a PostgreSQL database");
        fenced += fenced_writes(url).await;
        run.say(&format!(
            "{counted} faults: {} sent, {} uncertain, {} arrived twice, {} marked as sent again, \
             {fenced} late writes turned away; {}",
            figures.sent,
            figures.uncertain,
            figures.repeats,
            figures.marked,
            shown(&found)
        ));
        assert!(found.is_empty(), "{}", shown(&found));
    }
    assert!(fenced > 0, "no late write was turned away, so nothing was shown");
}

/// Faults in a random order, with at least one of each kind and freezes as often as kills.
fn planned(run: &mut Run, count: u64) -> Vec<Fault> {
    let kinds = [Fault::Freeze, Fault::Kill, Fault::Stop, Fault::Freeze, Fault::Kill];
    let mut faults: Vec<Fault> = kinds.into_iter().cycle().take(count as usize).collect();
    for at in (1..faults.len()).rev() {
        let other = run.below(at as u64 + 1) as usize;
        faults.swap(at, other);
    }
    faults
}

/// Strikes one node after the other until the campaign is done; gives what was done.
async fn strike(
    run: &mut Run,
    world: &mut World,
    campaign: &Campaign,
    faults: &[Fault],
) -> Vec<Fault> {
    let (api, total) = (world.api(), campaign.addressed());
    let mut done = Vec::new();
    let mut target = run.next_strike(0, total, faults.len() as u64);
    until("the campaign to come to its end", async || {
        if api.get(&campaign.path).await["state"] == "done" {
            return true;
        }
        let arrived = world.sink.count();
        let Some(fault) = faults.get(done.len()).filter(|_| arrived >= target) else {
            return false;
        };
        let node = busy_node(run, world).await;
        let arrived = world.sink.count();
        if arrived >= total {
            return false;
        }
        run.say(&format!("{fault:?} node {} at mail {arrived} of {total}", node + 1));
        commit(run, world, node, *fault).await;
        done.push(*fault);
        let left = (faults.len() - done.len()) as u64;
        target = run.next_strike(world.sink.count().min(total), total, left);
        false
    })
    .await;
    done
}

/// A node that is sending, chosen by chance; any one where none is seen to.
async fn busy_node(run: &mut Run, world: &World) -> usize {
    let mut before = Vec::new();
    for node in 0..world.nodes.len() {
        before.push(world.api_of(node).metric("tidings_messages_sent_total").await);
    }
    tokio::time::sleep(run.millis(50, 150)).await;
    let mut busy = Vec::new();
    for (node, before) in before.into_iter().enumerate() {
        if world.api_of(node).metric("tidings_messages_sent_total").await > before {
            busy.push(node);
        }
    }
    match busy.len() {
        0 => run.below(world.nodes.len() as u64) as usize,
        some => busy[run.below(some as u64) as usize],
    }
}

async fn commit(run: &mut Run, world: &mut World, node: usize, fault: Fault) {
    let program = &mut world.nodes[node];
    match fault {
        Fault::Kill => {
            program.kill();
            tokio::time::sleep(run.millis(0, 500)).await;
            program.start().await;
        }
        Fault::Freeze => {
            program.freeze();
            let lapsed = Duration::from_secs(LEASE_SECS) + run.millis(500, 1_500);
            tokio::time::sleep(lapsed).await;
            program.thaw();
        }
        Fault::Stop => {
            let (status, took) = program.terminate().await;
            assert!(status.success(), "node {} ended with {status}", node + 1);
            assert!(took < Duration::from_secs(30), "node {} took {took:?} to stop", node + 1);
            program.start().await;
        }
    }
}
