//! The room that tables take: rows are exact where there are few, partitions are one table, and a day
//! has one sample.

use std::io::{Seek as _, SeekFrom, Write as _};

use tidings_domain::Timestamp;
use tidings_domain::change::{Change, UpsertCustomer};
use tidings_store::storage::{TableSize, day_of};
use tidings_store::{Home, health};

use crate::home::{Engine, TestStore};
use crate::on_every_engine;

on_every_engine!(tables_are_measured_and_sampled_by_day, a_look_changes_nothing);

const AT: Timestamp = Timestamp(1_700_000_000_000_000);
const DAY_SECS: i64 = 24 * 3_600;

async fn tables_are_measured_and_sampled_by_day(test: TestStore) {
    let workspace = &test.workspace;
    let changes = (0..300)
        .map(|at| {
            let external_id = Some(at.to_string());
            Change::UpsertCustomer(UpsertCustomer { external_id, ..Default::default() })
        })
        .collect();
    workspace.apply(changes, AT).await.unwrap();
    let sizes = workspace.measure_storage().await.unwrap();
    let size = |name: &str| sizes.iter().find(|one| one.name == name).expect(name);
    for (name, rows) in [("customers", 300), ("identities", 300), ("campaigns", 0)] {
        let found = size(name);
        assert_eq!((found.rows, found.is_estimate), (rows, false), "{name}");
    }
    // The index of the search is one table, and partitions are none.
    assert!(size("customers").bytes >= 8_192 && size("search_texts").bytes > 0);
    assert!(
        sizes.iter().all(|one| !one.name.contains("_p1") && !one.name.starts_with("search_texts_"))
    );
    let names: std::collections::BTreeSet<&str> =
        sizes.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names.len(), sizes.len(), "each table once");

    assert_eq!(workspace.last_storage_sample().await.unwrap(), None);
    let gone = TableSize { name: "gone".to_owned(), rows: 1, is_estimate: false, bytes: 1 };
    workspace.keep_storage_sample(vec![gone.clone()], AT).await.unwrap();
    // Measured again on the same day, only what is there now counts.
    workspace.keep_storage_sample(sizes.clone(), AT.plus_secs(1)).await.unwrap();
    let kept = workspace.storage_samples(0).await.unwrap();
    assert_eq!(kept.len(), sizes.len());
    assert!(kept.iter().all(|one| one.day == day_of(AT) && one.measured_at == AT.plus_secs(1)));
    let next = AT.plus_secs(DAY_SECS);
    workspace.keep_storage_sample(vec![gone], next).await.unwrap();
    assert_eq!(workspace.last_storage_sample().await.unwrap(), Some(day_of(next)));
    assert_eq!(workspace.storage_samples(day_of(next)).await.unwrap().len(), 1);
    // After more than a year they are let go of.
    let far = AT.plus_secs(402 * DAY_SECS);
    workspace.keep_storage_sample(Vec::new(), far).await.unwrap();
    assert_eq!(workspace.storage_samples(0).await.unwrap(), []);
}

async fn a_look_changes_nothing(test: TestStore) {
    let found = health::examine(&test.home, true).await.unwrap().expect("there is a hub");
    let names: Vec<&str> = found.databases.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["system", "w1"]);
    assert!(!found.is_unfinished);
    for one in &found.databases {
        assert!(one.missing.is_empty() && one.unknown == 0 && one.fault.is_none(), "{one:?}");
        assert!(one.migrated_at.is_some());
    }
    let empty = match &test.home {
        Home::Folder(_) => Home::Folder(test.folder.path().join("empty")),
        Home::Server { .. } => {
            assert!(found.server_version.is_some_and(|version| version >= 100_000));
            assert!(found.clock_ahead_ms.is_some_and(|ahead| ahead.abs() < 60_000));
            Home::Server { url: tidings_testkit::database::fresh().await, connections: 1 }
        }
    };
    // Twice, because the first look must not have made what the second one would find.
    for _ in 0..2 {
        assert!(health::examine(&empty, true).await.unwrap().is_none());
    }
    assert!(!test.folder.path().join("empty").exists());
    let nowhere =
        Home::Server { url: "postgres://nobody@127.0.0.1:1/x".to_owned(), connections: 1 };
    assert!(health::examine(&nowhere, false).await.is_err());
}

#[tokio::test]
async fn a_damaged_page_is_told() {
    let test = TestStore::on(Engine::Sqlite).await;
    let Home::Folder(folder) = &test.home else { panic!("it is a folder") };
    let file = folder.join("workspaces/w1.db");
    let db = rusqlite::Connection::open(&file).unwrap();
    db.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())).unwrap();
    let root = "select rootpage from sqlite_schema where name = 'events' and type = 'table'";
    let root: i64 = db.query_row(root, [], |row| row.get(0)).unwrap();
    let size: i64 = db.query_row("pragma page_size", [], |row| row.get(0)).unwrap();
    drop(db);
    let mut out = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    out.seek(SeekFrom::Start(((root - 1) * size) as u64)).unwrap();
    out.write_all(&vec![0x5a; size as usize]).unwrap();
    for (deep, is_found) in [(true, true), (false, false)] {
        let found = health::examine(&test.home, deep).await.unwrap().expect("there is a hub");
        let faults: Vec<bool> = found.databases.iter().map(|one| one.fault.is_some()).collect();
        assert_eq!(faults, [false, is_found], "{found:?}");
    }
}
