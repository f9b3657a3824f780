//! What must be refused: damaged archives, homes that are not empty, work that was cut short.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidings_store::archive::{Restoring, backup, restore};
use tidings_store::{Error, Home, Store};

use super::sample::fill;
use super::{archived, restore_into, sums};
use crate::home::{Engine, TestStore};

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_archive_is_refused_before_anything_is_written() {
    let test = TestStore::on(Engine::Sqlite).await;
    fill(&test).await;
    let source = archived(&test).await;
    let whole = std::fs::read(&source).unwrap();
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(whole.as_slice()).read_to_end(&mut plain).unwrap();
    let lines: Vec<&[u8]> = plain.split_inclusive(|byte| *byte == b'\n').collect();
    let zipped = |parts: &[&[u8]]| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        parts.iter().for_each(|part| out.write_all(part).unwrap());
        out.finish().unwrap()
    };
    let row = lines.iter().position(|line| line.starts_with(b"[1")).unwrap();
    let changed = [lines[row], b""].concat().replace_once(b"[1", b"[2");
    let mut one_row_changed = lines.clone();
    one_row_changed[row] = &changed;
    let mut one_row_less = lines.clone();
    one_row_less.remove(row);
    let mut newer = lines.clone();
    let header = [newer[0], b""].concat().replace_once(b"\"format\":1", b"\"format\":9");
    newer[0] = &header;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "no archive"),
        ("not gzip", b"id,name\n1,Ann\n".to_vec(), "no archive"),
        ("another gzip", zipped(&[b"hello\n"]), "no archive"),
        ("cut in the middle", whole[..whole.len() / 2].to_vec(), "cut short"),
        ("cut at the end", whole[..whole.len() - 1].to_vec(), "cut short"),
        ("without its last line", zipped(&lines[..lines.len() - 1]), "cut short"),
        ("a row changed", zipped(&one_row_changed), "checksum of a table"),
        ("a row less", zipped(&one_row_less), "checksum of a table"),
        ("something after it", zipped(&[plain.as_slice(), b"{}\n"]), "follows its end"),
        ("a newer format", zipped(&newer), "format 9"),
    ];
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let folder = tempfile::tempdir().unwrap();
        let home = engine.home(&folder).await;
        for (name, bytes, expected) in &cases {
            let damaged = folder.path().join("damaged.tidings");
            std::fs::write(&damaged, bytes).unwrap();
            let error = restore_into(&home, &damaged, engine).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
        // Nothing was written, so the whole one goes in.
        restore_into(&home, &source, engine).await.unwrap();
    }
}

trait ReplaceOnce {
    fn replace_once(self, from: &[u8], to: &[u8]) -> Vec<u8>;
}

impl ReplaceOnce for Vec<u8> {
    fn replace_once(mut self, from: &[u8], to: &[u8]) -> Vec<u8> {
        let at = self.windows(from.len()).position(|window| window == from).unwrap();
        self.splice(at..at + from.len(), to.iter().copied());
        self
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_with_a_hub_is_left_alone() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let test = TestStore::on(engine).await;
        fill(&test).await;
        let source = archived(&test).await;
        let before = sums(&test.store).await;
        let refused = restore_into(&test.home, &source, engine).await;
        assert!(matches!(&refused, Err(Error::Conflict(text)) if text.contains("empty home")));
        assert_eq!(sums(&test.store).await, before);
        let again = backup(&test.store, &source, None, |_| {}).await;
        assert!(matches!(again, Err(Error::Conflict(_))), "an archive is never overwritten");
    }
}

/// Empties a home as the sentence of the error says.
async fn empty(home: &Home) {
    match home {
        Home::Folder(folder) => {
            for name in ["system.db", "system.db-wal", "system.db-shm"] {
                std::fs::remove_file(folder.join(name)).ok();
            }
            std::fs::remove_dir_all(folder.join("workspaces")).unwrap();
        }
        Home::Server { url, .. } => {
            let (client, connection) =
                tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            let drop = "drop schema if exists tidings, tidings_w1, tidings_w2 cascade";
            client.batch_execute(drop).await.unwrap();
        }
    }
}

/// Stops the work as a kill does: in the middle, with nothing tidied up.
fn stop_at(
    step: &'static str,
    table: &'static str,
) -> impl FnMut(&tidings_store::archive::Progress) {
    move |progress| {
        if progress.step == step && progress.table == table {
            std::panic::resume_unwind(Box::new("stopped"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_cut_short_is_recognised() {
    let test = TestStore::on(Engine::Sqlite).await;
    fill(&test).await;
    let source = archived(&test).await;
    for engine in [Engine::Sqlite, Engine::Postgres, Engine::Partitioned] {
        let folder = tempfile::tempdir().unwrap();
        let home = engine.home(&folder).await;
        let partitioned = Some(engine == Engine::Partitioned);
        for (step, table) in [("loading", "users"), ("loading", "customers"), ("comparing", "tags")]
        {
            let how = Restoring { files: None, partitioned };
            restore(&home, &source, how, stop_at(step, table)).await.unwrap_err();
            let opened = Store::open(&home).await.map(|_| ());
            let again = restore_into(&home, &source, engine).await.map(|_| ());
            for refused in [opened, again] {
                let Err(Error::Conflict(text)) = refused else { panic!("{table}: {refused:?}") };
                assert!(text.contains("did not finish"), "{text}");
            }
            empty(&home).await;
        }
        restore_into(&home, &source, engine).await.unwrap();
        Store::open(&home).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_cut_short_leaves_no_archive() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let test = TestStore::on(engine).await;
        fill(&test).await;
        let target = test.folder.path().join("cut.tidings");
        let stopped = backup(&test.store, &target, None, stop_at("writing", "events")).await;
        stopped.unwrap_err();
        assert!(!target.exists());
        // The store goes on, on every connection it has, and the next backup succeeds.
        for _ in 0..10 {
            test.store.system.put_setting("still", "here").await.unwrap();
        }
        backup(&test.store, &target, None, |_| {}).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        restore_into(&engine.home(&folder).await, &target, engine).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_restores_into_one_home_cannot_both_begin() {
    let test = TestStore::on(Engine::Sqlite).await;
    fill(&test).await;
    let source = archived(&test).await;
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let folder = tempfile::tempdir().unwrap();
        let home = engine.home(&folder).await;
        let began = Arc::new(AtomicBool::new(false));
        let seen = began.clone();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let (home, source) = (home.clone(), source.clone());
            let how = Restoring { files: None, partitioned: Some(false) };
            async move {
                let report = move |_: &_| {
                    if !seen.swap(true, Ordering::Relaxed) {
                        wait.recv().ok();
                    }
                };
                restore(&home, &source, how, report).await
            }
        });
        while !began.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        let second = restore_into(&home, &source, engine).await;
        assert!(matches!(second, Err(Error::Conflict(_))), "{second:?}");
        release.send(()).unwrap();
        first.await.unwrap().unwrap();
        Store::open(&home).await.unwrap();
    }
}
