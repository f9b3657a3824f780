//! Nodes that come together on one database, and files that only one of them has.

#[expect(dead_code, reason = "nothing is sent here")]
mod common;

use std::sync::Arc;

use common::{Engine, home};
use tidings_domain::{Clock, Timestamp};
use tidings_engine::{Error, Hub, Settings, nodes};
use tidings_store::{Home, Store};

/// A node over a database, before it joins.
async fn node(home: &Home) -> Arc<Hub> {
    let settings = Settings {
        data_dir: "nowhere".into(),
        public_url: "http://127.0.0.1:9".to_owned(),
        smtp_url: None,
        smtp_open_max: 1,
        master_key: [7; 32],
        demo: false,
    };
    Hub::new(Arc::new(Store::open(home).await.unwrap()), settings, Clock::System)
}

/// Joins and lives until the end of the test.
async fn living(home: &Home, files_shared: bool) -> tokio::task::JoinHandle<()> {
    let hub = node(home).await;
    nodes::join(&hub, files_shared).await.expect("it may join");
    tokio::spawn(nodes::say_alive(hub, files_shared))
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_join_where_all_share_their_files() {
    for (first, second, may_join) in
        [(true, true, true), (false, false, false), (false, true, false), (true, false, false)]
    {
        let folder = tempfile::tempdir().unwrap();
        let home = home(Engine::Postgres, folder.path()).await;
        let living = living(&home, first).await;
        let hub = node(&home).await;
        let joined = nodes::join(&hub, second).await;
        assert_eq!(joined.is_ok(), may_join, "{first} and {second}: {joined:?}");
        if let Err(error) = joined {
            assert!(matches!(&error, Error::Conflict(text) if text.contains("--files-shared")));
            let left = hub.store.system.nodes().await.unwrap();
            assert_eq!(left.len(), 1, "who may not join leaves no trace");
        }
        living.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_stands_in_nobodys_way() {
    for engine in [Engine::Postgres, Engine::Sqlite] {
        let folder = tempfile::tempdir().unwrap();
        let home = home(engine, folder.path()).await;
        let dead = node(&home).await;
        // Its clock was ahead of all others.
        let ahead = Timestamp::now().plus_secs(3_600);
        dead.store.system.node_seen(dead.node, ahead, false, "0").await.unwrap();
        let hub = node(&home).await;
        nodes::join(&hub, false).await.expect("the other one is dead");
        if engine == Engine::Postgres {
            let left = hub.store.system.nodes().await.unwrap();
            assert_eq!(left.iter().map(|node| node.id).collect::<Vec<_>>(), [hub.node]);
        }
    }
}
