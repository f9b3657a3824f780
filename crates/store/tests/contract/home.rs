//! A fresh workspace on each engine.

use std::sync::Arc;

use tidings_store::{Home, Store, Workspace};

/// Where a test runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
    Partitioned,
}

/// A store of its own with one workspace; what it made is removed when it is dropped.
pub struct TestStore {
    pub store: Arc<Store>,
    pub workspace: Arc<Workspace>,
    pub home: Home,
    pub folder: tempfile::TempDir,
}

impl Engine {
    /// An empty home on this engine; SQLite's is inside the folder.
    pub async fn home(self, folder: &tempfile::TempDir) -> Home {
        match self {
            Engine::Sqlite => Home::Folder(folder.path().join("data")),
            _ => Home::Server { url: tidings_testkit::database::fresh().await, connections: 8 },
        }
    }
}

impl TestStore {
    pub async fn on(engine: Engine) -> TestStore {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = engine.home(&folder).await;
        let store = Arc::new(Store::open(&home).await.expect("open the store"));
        let workspace = store
            .create_workspace("Test", "UTC", engine == Engine::Partitioned)
            .await
            .expect("create a workspace");
        TestStore { store, workspace, home, folder }
    }
}

/// Runs each test of a file on every engine: `on_every_engine!(name_of_test, …);` where each is an
/// `async fn(TestStore)`.
#[macro_export]
macro_rules! on_every_engine {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                use $crate::home::{Engine, TestStore};
                super::$test(TestStore::on(Engine::Sqlite).await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                use $crate::home::{Engine, TestStore};
                super::$test(TestStore::on(Engine::Postgres).await).await;
            })+
        }
        mod partitioned {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                use $crate::home::{Engine, TestStore};
                super::$test(TestStore::on(Engine::Partitioned).await).await;
            })+
        }
    };
}
