//! Out as files, into an empty workspace, and out again: the same bytes, on both engines and from one
//! to the other.

use tidings_engine::Ctx;
use tidings_engine::definitions::{self, Agreed, Folder, disk};
use tidings_testkit::hub::{Engine, TestHub};

use crate::world::World;

const WORLDS: u64 = 12;

/// A hub that could send, so that campaigns can be scheduled; nothing is due in these tests.
async fn hub(engine: Engine) -> TestHub {
    TestHub::with(engine, |settings| settings.smtp_url = Some("smtp://127.0.0.1:9".to_owned()))
        .await
}

async fn empty(test: &TestHub, name: &str) -> Ctx {
    let made = test.hub.store.create_workspace(name, "UTC", false).await.expect("a workspace");
    test.hub.ctx(made.row.id).await.expect("a context")
}

/// Files as texts, so that a difference can be read.
fn readable(folder: &Folder) -> Vec<(String, String)> {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    folder.iter().map(|(path, bytes)| (path.clone(), text(bytes))).collect()
}

async fn round_trip(from: Engine, to: Engine) {
    let (here, there) = (hub(from).await, hub(to).await);
    for seed in 0..WORLDS {
        let source = empty(&here, &format!("Source {seed}")).await;
        World::new(seed).fill(&source).await;
        let files = definitions::export(&source).await.expect("export");
        // By way of a disk, whose letters may not be all that names have.
        let disk = tempfile::tempdir().expect("a folder");
        disk::write(disk.path(), &files).expect("write");
        assert_eq!(disk::read(disk.path()).expect("read"), files, "seed {seed}");

        let target = empty(&there, &format!("Target {seed}")).await;
        let agreed = Agreed { launch: true, ..Agreed::default() };
        let applied = definitions::apply(&target, &files, &agreed).await;
        applied.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{:#?}", readable(&files)));
        let again = definitions::export(&target).await.expect("export again");
        assert_eq!(readable(&again), readable(&files), "seed {seed}");
        assert!(again == files, "seed {seed}: a picture differs");

        // A second apply does nothing, there and here.
        for ctx in [&target, &source] {
            let plan = definitions::plan(ctx, &files).await.expect("a plan");
            assert!(plan.changes.is_empty(), "seed {seed}: {:?}", plan.changes);
            assert!(plan.problems.is_empty(), "seed {seed}: {:?}", plan.problems);
            assert!(plan.launches.is_empty(), "seed {seed}: {:?}", plan.launches);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_sqlite_to_sqlite() {
    round_trip(Engine::Sqlite, Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_sqlite_to_postgres() {
    round_trip(Engine::Sqlite, Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_postgres_to_sqlite() {
    round_trip(Engine::Postgres, Engine::Sqlite).await;
}
