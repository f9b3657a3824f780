//! Lists are read a page at a time, and a page must cost what it holds: with many rows in place,
//! the plans of the middle pages are run, and the rows that they look at are counted.

use serde_json::Value as Json;
use tokio_postgres::SimpleQueryMessage;

use super::Guarded;
use crate::customers::page_text;
use crate::sql::{Dialect, Param, spell};
use crate::{Home, Store};

const CUSTOMERS: i64 = 20_000;
const LIMIT: i64 = 51;
/// Partitions each look for a whole page, as none knows what the others have.
const MOST_READ: i64 = 16 * (LIMIT + 1);

/// Fills a workspace: everybody is in segment 1 and has a delivery of campaign 1, and every
/// hundredth is in segment 2 and has one of campaign 2.
fn filling(prefix: &str) -> String {
    let key =
        "(n % 1024)::smallint, ('01931f2e-7a3b-7c4d-9e5f-' || lpad(to_hex(n), 12, '0'))::uuid";
    let numbers = format!("generate_series(1, {CUSTOMERS}) n");
    let rare = format!("generate_series(1, {CUSTOMERS}, 100) n");
    let members = "segment_members (bucket, customer_id, segment_number, since, version)";
    let deliveries =
        "deliveries (bucket, customer_id, id, campaign_number, state, attempts, due_at)";
    format!(
        "insert into {prefix}customers (bucket, id, system_id, created_at, updated_at)
         select {key}, n, 1, 1 from {numbers};
         insert into {prefix}{members} select {key}, 1, 1, 1 from {numbers};
         insert into {prefix}{members} select {key}, 2, 1, 1 from {rare};
         insert into {prefix}{deliveries}
         select {key}, gen_random_uuid(), 1, 0, 0, 1 from {numbers};
         insert into {prefix}{deliveries}
         select {key}, gen_random_uuid(), 2, 0, 0, 1 from {rare};
         analyze {prefix}customers; analyze {prefix}segment_members; analyze {prefix}deliveries;"
    )
}

/// How many rows the leaves of a plan that was run have looked at.
fn rows_read(node: &Json) -> i64 {
    let children = node.get("Plans").and_then(Json::as_array);
    if let Some(children) = children {
        return children.iter().map(rows_read).sum();
    }
    let figure = |name: &str| node.get(name).and_then(Json::as_f64).unwrap_or(0.0);
    let rows = figure("Actual Rows") + figure("Rows Removed by Filter");
    (rows * figure("Actual Loops")) as i64
}

async fn read_by(guarded: &Guarded, prefix: &str, text: &str, values: &str) -> i64 {
    let text = spell(text, Dialect::Postgres, prefix);
    guarded.client.batch_execute(&format!("prepare page as {text}")).await.unwrap();
    let run = format!("explain (analyze, format json) execute page({values})");
    let answer = guarded.client.simple_query(&run).await.unwrap();
    guarded.client.batch_execute("deallocate page").await.unwrap();
    let text = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let plan: Json = serde_json::from_str(text.unwrap()).unwrap();
    rows_read(&plan[0]["Plan"])
}

#[tokio::test]
async fn a_page_reads_no_more_than_a_page() {
    let guarded = Guarded::new().await;
    let plain = guarded._store.create_workspace("Plain", "UTC", false).await.unwrap();
    let mut faults = Vec::new();
    for number in [guarded.workspace.row.number, plain.row.number] {
        let prefix = format!("\"tidings_w{number}\".");
        guarded.client.batch_execute(&filling(&prefix)).await.unwrap();
        let middle = format!("'01931f2e-7a3b-7c4d-9e5f-{:012x}'", CUSTOMERS / 2);
        let members = crate::memberships::MEMBERS.text;
        let deliveries = crate::deliveries::page_text("");
        let customers = page_text("c.id, c.email", "true", 0);
        let half = CUSTOMERS / 2;
        for (what, text, values) in [
            ("customers", customers.as_str(), format!("{half}, {LIMIT}")),
            ("a large segment", members, format!("1, {middle}, {LIMIT}")),
            ("a small segment", members, format!("2, {middle}, {LIMIT}")),
            ("a large campaign", &deliveries, format!("1, {middle}, {LIMIT}")),
            ("a small campaign", &deliveries, format!("2, {middle}, {LIMIT}")),
        ] {
            let read = read_by(&guarded, &prefix, text, &values).await;
            if read > MOST_READ {
                faults.push(format!("{what} in {prefix}: {read} rows read for a page"));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[tokio::test]
async fn a_page_on_sqlite_is_read_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Home::Folder(folder.path().to_owned())).await.unwrap();
    let workspace = store.create_workspace("Pages", "UTC", false).await.unwrap();
    for (text, params) in [
        (page_text("c.id, c.email", "true", 0), 2),
        (crate::memberships::MEMBERS.text.to_owned(), 3),
        (crate::deliveries::page_text(""), 3),
    ] {
        let explain = format!("explain query plan {text}");
        let rows = workspace
            .read(move |tx| {
                let values = vec![Param::Null; params];
                Box::pin(async move { tx.query_text(&explain, &values).await })
            })
            .await
            .unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.text(3).unwrap()).collect();
        let is_scan = |step: &String| step.starts_with("SCAN") || step.contains("TEMP B-TREE");
        assert!(!steps.iter().any(is_scan), "{text}\n{steps:#?}");
    }
}
