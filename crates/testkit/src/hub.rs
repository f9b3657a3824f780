//! A hub of a test's own: a fresh database on either engine, a fixed clock, and its jobs run when the
//! test says so.

use std::path::Path;
use std::sync::Arc;

use tidings_domain::{Clock, Timestamp};
use tidings_engine::jobs;
use tidings_engine::{Ctx, Hub, Settings};
use tidings_store::jobs::Job;
use tidings_store::{Home, Store};
use tokio::sync::watch;

use crate::database;

/// Where a test runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// What the fixed clock says at the start: 15 January 2026, 10:00 UTC. It lies before the real
/// time, by which leases and due jobs are measured, so that what is planned by it is due at once.
pub const START: Timestamp = Timestamp(1_768_471_200_000_000);

/// How many jobs `run_due_jobs` runs before it says that they never end.
const MOST_JOBS: usize = 10_000;

/// A hub with one workspace, named Test; its folder goes away with it.
pub struct TestHub {
    pub hub: Arc<Hub>,
    pub ctx: Ctx,
    /// Moves by `advance_ms` only.
    pub clock: Clock,
    pub folder: tempfile::TempDir,
    home: Home,
    settings: Settings,
}

/// An empty home on an engine; SQLite's is the folder.
pub async fn home(engine: Engine, folder: &Path) -> Home {
    match engine {
        Engine::Sqlite => Home::Folder(folder.to_owned()),
        Engine::Postgres => Home::Server { url: database::fresh().await, connections: 12 },
    }
}

impl TestHub {
    /// A hub with nothing to send by.
    pub async fn on(engine: Engine) -> TestHub {
        TestHub::with(engine, |_| {}).await
    }

    /// A hub whose settings a test changes first, such as its relay.
    pub async fn with(engine: Engine, change: impl FnOnce(&mut Settings)) -> TestHub {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = home(engine, folder.path()).await;
        let mut settings = Settings {
            data_dir: folder.path().to_owned(),
            public_url: "http://127.0.0.1:8080".to_owned(),
            smtp_url: None,
            smtp_open_max: 8,
            master_key: [7; 32],
            demo: false,
        };
        change(&mut settings);
        let clock = Clock::fixed(START);
        let store = Arc::new(Store::open(&home).await.expect("open the store"));
        store.create_workspace("Test", "UTC", false).await.expect("create a workspace");
        let hub = Hub::new(store, settings.clone(), clock.clone());
        let ctx = hub.ctx_by_slug("test").await.expect("open the workspace");
        TestHub { hub, ctx, clock, folder, home, settings }
    }

    /// Another node on the same data, where the engine takes more than one (PostgreSQL).
    pub async fn second_node(&self) -> Ctx {
        let store = Arc::new(Store::open(&self.home).await.expect("open the store again"));
        let hub = Hub::new(store, self.settings.clone(), self.clock.clone());
        hub.ctx_by_slug("test").await.expect("open the workspace")
    }

    /// Runs due jobs until none is left, also those that follow from them; gives how many. A job
    /// that is given up fails the test.
    pub async fn run_due_jobs(&self) -> usize {
        let (_keep, stop) = watch::channel(false);
        for count in 0..MOST_JOBS {
            let ran = jobs::run_next(&self.ctx, &stop).await.expect("run a job");
            let given_up = self.ctx.workspace.failed_jobs().await.expect("list jobs given up");
            assert!(given_up.is_empty(), "jobs given up: {given_up:?}");
            if ran.is_none() {
                return count;
            }
        }
        panic!("more than {MOST_JOBS} jobs; one of them never ends");
    }

    /// Claims the job that is due, without running it; for tests of what a holder may do.
    pub async fn claim_job(&self) -> Option<Job> {
        self.ctx.workspace.claim_job(self.hub.node).await.expect("claim a job")
    }

    /// What a crash leaves behind after its leases have run out: the jobs of this node are free.
    pub async fn free_jobs(&self) {
        self.ctx.workspace.release_jobs(self.hub.node).await.expect("free the jobs");
    }
}

/// Runs each test of a file on both engines: `on_both_engines!(name_of_test, …);` where each is an
/// `async fn(TestHub)`.
#[macro_export]
macro_rules! on_both_engines {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                use $crate::hub::{Engine, TestHub};
                super::$test(TestHub::on(Engine::Sqlite).await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                use $crate::hub::{Engine, TestHub};
                super::$test(TestHub::on(Engine::Postgres).await).await;
            })+
        }
    };
}
