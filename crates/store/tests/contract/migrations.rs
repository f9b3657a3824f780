//! Migrations: the same facts on both engines, whole or not at all, once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures::future::join_all;
use tidings_store::migrate::{Migration, SYSTEM, WORKSPACE};
use tidings_store::{Error, Home, Store};

use crate::home::{Engine, TestStore};
use crate::on_every_engine;

on_every_engine!(a_migration_that_is_not_the_one_that_ran_is_refused, many_nodes_migrate_at_once);

/// What is true of a table whichever engine it is on.
#[derive(Debug, Default, PartialEq, Eq)]
struct Facts {
    /// Kind and whether it may be null, by name.
    columns: BTreeMap<String, (String, bool)>,
    /// Unique keys without the bucket, which only PostgreSQL's have.
    unique: BTreeSet<BTreeSet<String>>,
}

type Tables = BTreeMap<String, Facts>;

fn kind(stored: &str) -> String {
    match stored.to_lowercase().as_str() {
        "integer" | "bigint" | "smallint" | "boolean" => "integer",
        "text" | "jsonb" | "text[]" => "text",
        "blob" | "bytea" | "uuid" => "blob",
        other => panic!("the unexpected type {other}"),
    }
    .to_owned()
}

fn without_bucket(columns: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    columns.into_iter().filter(|name| name != "bucket" && name != "ibucket").collect()
}

fn strings(db: &rusqlite::Connection, text: &str, param: &str) -> Vec<Vec<String>> {
    let mut statement = db.prepare(text).unwrap();
    let width = statement.column_count();
    let rows = statement.query_map([param], |row| {
        (0..width).map(|at| row.get::<_, rusqlite::types::Value>(at)).collect::<Result<Vec<_>, _>>()
    });
    let plain = |value| match value {
        rusqlite::types::Value::Text(text) => text,
        rusqlite::types::Value::Integer(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    rows.unwrap().map(|row| row.unwrap().into_iter().map(plain).collect()).collect()
}

fn sqlite_facts(file: &Path) -> Tables {
    let db = rusqlite::Connection::open(file).unwrap();
    let tables = "select name from pragma_table_list
                  where schema = ?1 and type = 'table' and name not like 'sqlite%'";
    let mut all = Tables::new();
    for table in strings(&db, tables, "main").into_iter().flatten() {
        let mut facts = Facts::default();
        let mut key = Vec::new();
        let columns = "select name, type, \"notnull\", pk from pragma_table_info(?1)";
        for column in strings(&db, columns, &table) {
            let nullable = column[2] == "0";
            facts.columns.insert(column[0].clone(), (kind(&column[1]), nullable));
            if column[3] != "0" {
                key.push(column[0].clone());
            }
        }
        facts.unique.insert(without_bucket(key));
        let indexes = "select name from pragma_index_list(?1) where \"unique\" = 1";
        for index in strings(&db, indexes, &table).into_iter().flatten() {
            let names = strings(&db, "select name from pragma_index_info(?1)", &index);
            facts.unique.insert(without_bucket(names.into_iter().flatten()));
        }
        all.insert(table, facts);
    }
    all
}

async fn client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// But what each engine has in its own way: the index of searched texts.
async fn postgres_facts(url: &str, schema: &str) -> Tables {
    let client = client(url).await;
    let of_schema = "join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = $1 and c.relkind in ('r', 'p') and not c.relispartition
           and c.relname <> 'search_texts'";
    let columns = format!(
        "select c.relname::text, a.attname::text, format_type(a.atttypid, null), a.attnotnull
         from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
           and not a.attisdropped {of_schema}"
    );
    let mut all = Tables::new();
    for row in client.query(&columns, &[&schema]).await.unwrap() {
        let facts: &mut Facts = all.entry(row.get(0)).or_default();
        let stored: String = row.get(2);
        facts.columns.insert(row.get(1), (kind(&stored), !row.get::<_, bool>(3)));
    }
    let keys = format!(
        "select c.relname::text, array(select a.attname::text from unnest(i.indkey) as k
           join pg_attribute a on a.attrelid = c.oid and a.attnum = k)
         from pg_class c join pg_index i on i.indrelid = c.oid and i.indisunique {of_schema}"
    );
    for row in client.query(&keys, &[&schema]).await.unwrap() {
        let names: Vec<String> = row.get(1);
        let facts = all.entry(row.get(0)).or_default();
        facts.unique.insert(without_bucket(names));
    }
    all
}

fn file(home: &Home, name: &str) -> PathBuf {
    match home {
        Home::Folder(folder) => folder.join(name),
        Home::Server { .. } => panic!("not a folder"),
    }
}

fn url(home: &Home) -> &str {
    match home {
        Home::Server { url, .. } => url,
        Home::Folder(_) => panic!("not a server"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_engines_have_the_same_tables_columns_and_keys() {
    let here = TestStore::on(Engine::Sqlite).await;
    for engine in [Engine::Postgres, Engine::Partitioned] {
        let there = TestStore::on(engine).await;
        let system = sqlite_facts(&file(&here.home, "system.db"));
        assert!(system.len() >= 7);
        assert_eq!(system, postgres_facts(url(&there.home), "tidings").await);
        let mut workspace = sqlite_facts(&file(&here.home, "workspaces/w1.db"));
        assert!(workspace.len() >= 20);
        // On PostgreSQL the number is unique because it is leased, as shards cannot see it.
        let number = BTreeSet::from(["system_id".to_owned()]);
        assert!(workspace.get_mut("customers").unwrap().unique.remove(&number));
        let found = postgres_facts(url(&there.home), "tidings_w1").await;
        for (table, facts) in &workspace {
            assert_eq!(found.get(table), Some(facts), "{table}");
        }
        assert_eq!(workspace.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    }
}

#[test]
fn migrations_are_numbered_in_order_from_one() {
    for list in [SYSTEM, WORKSPACE] {
        let numbers: Vec<i64> = list.iter().map(|one| one.number).collect();
        assert_eq!(numbers, (1..=list.len() as i64).collect::<Vec<_>>());
    }
}

/// The statements of a script, without what follows the last one.
fn statements(migration: &Migration) -> Vec<&str> {
    let all: Vec<&str> = migration.sqlite.split_inclusive(";\n").collect();
    assert!(all.len() > 5, "{}", migration.name);
    all
}

/// What a kill leaves on the disk after so many statements of a migration: the database and its
/// log as they stand while the transaction is open.
fn killed_after(count: usize, migration: &Migration, target: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("x.db");
    let db = rusqlite::Connection::open(&place).unwrap();
    // A cache this small makes SQLite write pages before the commit.
    db.execute_batch("pragma journal_mode = wal; pragma cache_size = 1; begin").unwrap();
    for statement in statements(migration).into_iter().take(count) {
        db.execute_batch(&statement.replace("{s}", "main.")).unwrap();
    }
    for suffix in ["", "-wal"] {
        let from = folder.path().join(format!("x.db{suffix}"));
        if from.exists() {
            std::fs::copy(from, format!("{}{suffix}", target.display())).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_killed_at_any_statement_starts_again_on_sqlite() {
    let whole = TestStore::on(Engine::Sqlite).await;
    let system = sqlite_facts(&file(&whole.home, "system.db"));
    let workspace = sqlite_facts(&file(&whole.home, "workspaces/w1.db"));
    for count in 1..=statements(&SYSTEM[0]).len() {
        let folder = tempfile::tempdir().unwrap();
        killed_after(count, &SYSTEM[0], &folder.path().join("system.db"));
        let store = Store::open(&Home::Folder(folder.path().to_owned())).await.unwrap();
        store.create_workspace("After", "UTC", false).await.unwrap();
        assert_eq!(sqlite_facts(&folder.path().join("system.db")), system, "{count}");
    }
    let known = rusqlite::Connection::open(file(&whole.home, "system.db")).unwrap();
    let all = statements(&WORKSPACE[0]).len();
    for count in (1..all).step_by(5).chain([all]) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("workspaces")).unwrap();
        let copy = folder.path().join("system.db");
        known.execute("vacuum into ?1", [copy.to_str().unwrap()]).unwrap();
        let half = folder.path().join("workspaces/w1.db");
        killed_after(count, &WORKSPACE[0], &half);
        let store = Store::open(&Home::Folder(folder.path().to_owned())).await.unwrap();
        store.workspace_by_slug("test").await.unwrap();
        assert_eq!(sqlite_facts(&half), workspace, "{count}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_whose_connection_dies_starts_again_on_postgres() {
    let folder = tempfile::tempdir().unwrap();
    let home = Engine::Postgres.home(&folder).await;
    let beside = client(url(&home)).await;
    // The migration gets as far as this table and then waits for us.
    beside.batch_execute("create schema tidings").await.unwrap();
    beside.batch_execute("begin; create table tidings.settings (x integer)").await.unwrap();
    let opening = tokio::spawn({
        let home = home.clone();
        async move { Store::open(&home).await.map(|_| ()) }
    });
    let looking = client(url(&home)).await;
    let end_waiting = "with found as materialized (
           select pid from pg_stat_activity where datname = current_database()
             and application_name = 'tidings' and wait_event_type = 'Lock')
         select count(*) from found where pg_terminate_backend(pid)";
    loop {
        let ended: i64 = looking.query_one(end_waiting, &[]).await.unwrap().get(0);
        if ended > 0 {
            break;
        }
        assert!(!opening.is_finished(), "the migration did not wait");
        tokio::task::yield_now().await;
    }
    let died = opening.await.unwrap();
    assert!(matches!(died, Err(Error::Unavailable(_))), "{died:?}");
    beside.batch_execute("rollback").await.unwrap();
    let left = "select count(*) from pg_tables where schemaname = 'tidings'";
    assert_eq!(looking.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
    let store = Store::open(&home).await.unwrap();
    store.create_workspace("After", "UTC", true).await.unwrap();
    let whole = TestStore::on(Engine::Partitioned).await;
    for schema in ["tidings", "tidings_w1"] {
        let wanted = postgres_facts(url(&whole.home), schema).await;
        assert_eq!(postgres_facts(url(&home), schema).await, wanted);
    }
}

/// Runs a statement on a database of a home, from outside.
async fn outside(home: &Home, workspace: bool, text: &str) {
    match home {
        Home::Folder(folder) => {
            let name = if workspace { "workspaces/w1.db" } else { "system.db" };
            let db = rusqlite::Connection::open(folder.join(name)).unwrap();
            db.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
            db.execute_batch(&text.replace("{s}", "")).unwrap();
        }
        Home::Server { url, .. } => {
            let schema = if workspace { "tidings_w1." } else { "tidings." };
            client(url).await.batch_execute(&text.replace("{s}", schema)).await.unwrap();
        }
    }
}

async fn a_migration_that_is_not_the_one_that_ran_is_refused(test: TestStore) {
    let wrong = "update {s}migrations set checksum = 'x' where number = 1";
    outside(&test.home, true, wrong).await;
    let store = Store::open(&test.home).await.unwrap();
    let refused = store.workspace(test.workspace.row.id).await.map(|_| ());
    let Err(Error::Corrupt(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("migration 1 workspace is not the one that ran here"), "{text}");
    outside(&test.home, false, wrong).await;
    let refused = Store::open(&test.home).await.map(|_| ());
    assert!(matches!(refused, Err(Error::Corrupt(_))), "{refused:?}");
}

async fn many_nodes_migrate_at_once(test: TestStore) {
    let folder = tempfile::tempdir().unwrap();
    let engine = match (&test.home, test.workspace.row.partitioned) {
        (Home::Folder(_), _) => Engine::Sqlite,
        (_, true) => Engine::Partitioned,
        _ => Engine::Postgres,
    };
    let home = engine.home(&folder).await;
    let nodes = (0..4).map(|_| tokio::spawn(open(home.clone())));
    let stores = join_all(nodes).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
    let partitioned = engine == Engine::Partitioned;
    // One of them makes the workspace; all open it at once while its tables are not there yet.
    let row = stores[0]
        .system
        .add_workspace("both", "Both", "UTC", partitioned, tidings_domain::Timestamp(1))
        .await
        .unwrap();
    let opened = join_all(stores.iter().map(|store| store.workspace(row.id))).await;
    for workspace in opened {
        let workspace = workspace.unwrap();
        assert_eq!(workspace.customers(None, None, 1).await.unwrap().items.len(), 0);
    }
}

async fn open(home: Home) -> Store {
    Store::open(&home).await.unwrap()
}
