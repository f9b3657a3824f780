//! The guard over statements: what their classes promise is held against PostgreSQL's own plans
//! in a workspace whose hot tables are partitioned by bucket, and what shards cannot run is
//! refused by its text. Tests only.

mod batches;
mod forbidden;
mod pages;
mod plan;
mod source;

use std::sync::Arc;

use crate::sql::{Class, Dialect, Sql, spell};
use crate::{Home, Store, Workspace, statements};
use plan::{Hot, explain};

/// A partitioned workspace, and a connection beside the store's only one.
struct Guarded {
    _store: Store,
    workspace: Arc<Workspace>,
    client: tokio_postgres::Client,
    prefix: String,
}

impl Guarded {
    async fn new() -> Guarded {
        let url = tidings_testkit::database::fresh().await;
        let home = Home::Server { url: url.clone(), connections: 1 };
        let store = Store::open(&home).await.unwrap();
        let workspace = store.create_workspace("Guard", "UTC", true).await.unwrap();
        let (client, connection) =
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("set plan_cache_mode = force_custom_plan").await.unwrap();
        let prefix = format!("tidings_w{}", workspace.row.number);
        Guarded { _store: store, workspace, client, prefix }
    }

    async fn hot(&self) -> Hot {
        Hot::of(&self.client, &self.prefix).await
    }

    /// What is wrong with a statement over the workspace's tables, if anything.
    async fn fault(&self, hot: &Hot, class: Class, text: &str) -> Option<String> {
        if let Some(word) = forbidden::in_statement(text) {
            return Some(format!("{word} does not run on shards"));
        }
        let text = spell(text, Dialect::Postgres, &format!("\"{}\".", self.prefix));
        match explain(&self.client, &text).await {
            Ok(plan) => hot.fault(class, &plan),
            Err(error) => Some(error),
        }
    }
}

#[tokio::test]
async fn every_statement_keeps_the_promise_of_its_class() {
    let guarded = Guarded::new().await;
    let hot = guarded.hot().await;
    let mut faults = Vec::new();
    for sql in statements::workspace() {
        if let Some(fault) = guarded.fault(&hot, sql.class, sql.text).await {
            faults.push(format!("{}: {fault}", sql.name));
        }
    }
    for sql in statements::system() {
        let text = spell(sql.text, Dialect::Postgres, "\"tidings\".");
        if let Err(error) = explain(&guarded.client, &text).await {
            faults.push(format!("{}: {error}", sql.name));
        }
        if let Some(word) = forbidden::in_statement(sql.text) {
            faults.push(format!("{}: {word} does not run on shards", sql.name));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The guard itself is held to its word: each of these is wrong, and it must say why.
#[tokio::test]
async fn wrong_statements_are_caught() {
    let guarded = Guarded::new().await;
    let hot = guarded.hot().await;
    for (sql, expected) in [
        (Sql::bucket("", "select tag from {s}tags where customer_id = ?1"), "16 partitions"),
        (Sql::bucket("", "select tag from {s}tags where bucket >= ?1"), "16 partitions"),
        (Sql::bucket("", "delete from {s}tags where bucket = any(?1::smallint[])"), "partitions"),
        (Sql::bucket("", "update {s}tags set until = ?1 where customer_id = ?2"), "16 partitions"),
        (
            Sql::bucket(
                "",
                "select t.tag from {s}tags t join {s}customers c on c.id = t.customer_id
                 where t.bucket = ?1",
            ),
            "partitions",
        ),
        (
            Sql::identity(
                "",
                "select c.id from {s}identities i join {s}customers c on c.id = i.customer_id
                 where i.ibucket = ?1 and c.bucket = ?2",
            ),
            "2 partitions",
        ),
        (
            Sql::bucket(
                "",
                "insert into {s}tags (bucket, customer_id, tag, put_at)
                 select c.bucket, c.id, ?2, ?3 from {s}customers c where c.bucket = ?1",
            ),
            "no constant",
        ),
        (Sql::bucket("", "select name from {s}groups where number = ?1"), "no hot table"),
        (Sql::reference("", "select count(*) from {s}tags where bucket = ?1"), "hot table"),
        (
            Sql::bucket("", "delete from {s}tags where bucket = ?1 and put_at < now()"),
            "does not run on shards",
        ),
        (Sql::reference("", "select name from {s}groups limit 5 offset ?1"), "offset"),
        (Sql::reference("", "select nextval('numbers')"), "nextval"),
        (Sql::bucket("", "select nothing from {s}tags where bucket = ?1"), "does not exist"),
    ] {
        let fault = guarded.fault(&hot, sql.class, sql.text).await;
        let fault = fault.unwrap_or_else(|| panic!("not caught: {}", sql.text));
        assert!(fault.contains(expected), "{}\n{fault}", sql.text);
    }
    let right = "select t.tag from {s}tags t
                 join {s}customers c on c.bucket = ?1 and c.id = t.customer_id
                 where t.bucket = ?1";
    assert_eq!(guarded.fault(&hot, Class::Bucket, right).await, None);
}
