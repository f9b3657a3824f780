//! Backup and restore: the same data on whatever engine, whole or not at all.

mod damage;
mod moves;
mod sample;

use std::path::PathBuf;
use std::sync::Arc;

use tidings_store::archive::{Checksums, Restoring, Summary, backup, checksums, restore};
use tidings_store::{Home, Result, Store, Workspace};

use crate::home::{Engine, TestStore};

/// Backs a store up into a file of its folder.
async fn archived(test: &TestStore) -> PathBuf {
    let target = test.folder.path().join("backup.tidings");
    backup(&test.store, &target, None, |_| {}).await.unwrap();
    target
}

/// A home that an archive was restored into.
struct Restored {
    store: Arc<Store>,
    workspace: Arc<Workspace>,
    _folder: tempfile::TempDir,
}

async fn restored(source: &std::path::Path, engine: Engine) -> Restored {
    let folder = tempfile::tempdir().unwrap();
    let home = engine.home(&folder).await;
    restore_into(&home, source, engine).await.unwrap();
    let store = Arc::new(Store::open(&home).await.unwrap());
    let workspace = store.workspace_by_slug("test").await.unwrap();
    Restored { store, workspace, _folder: folder }
}

async fn restore_into(home: &Home, source: &std::path::Path, engine: Engine) -> Result<Summary> {
    let partitioned = Some(engine == Engine::Partitioned);
    restore(home, source, Restoring { files: None, partitioned }, |_| {}).await
}

async fn sums(store: &Store) -> Checksums {
    checksums(store, |_| {}).await.unwrap()
}
