//! Events in batches of 75 over HTTP, each batch answered once it is on disk; beside the bare
//! engine inserting the same rows.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rusqlite::{Connection, OpenFlags};

use super::search::until_indexed;
use crate::http::{Answer, Load, request, run};
use crate::hub::{Hub, Place};
use crate::limits::sqlite_fill::{self, ReadyEvent};
use crate::measure::{Goal, Row};
use crate::people::{external_id, mixed, write_csv};
use crate::{Options, host};

/// Customers that the events are of.
const BASE: u64 = 100_000;
const BATCH: u64 = 75;
const CONNECTIONS: usize = 8;
const LASTS: Duration = Duration::from_secs(6);
/// Rows that the limit inserts in a round, and how many rounds find rows at all.
const LIMIT_ROWS: i64 = 150_000;

pub async fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let file = host::scratch().join("base.csv");
    write_csv(&file, BASE)?;
    let place = Place::sqlite("events-hub")?;
    let token = place.prepare().await?;
    let hub = Hub::start(&place, &token).await?;
    hub.import(&file, BASE).await?;
    until_indexed(&hub, BASE).await?;
    let numbers = Arc::new(AtomicU64::new(1));
    let goals = [(BATCH as usize, Goal::AtLeast(0.3)), (10_000, Goal::None)];
    let mut rows = goals.map(|(a_commit, goal)| {
        let limit = format!("bare engine, {a_commit} a commit");
        Row::new("events in batches of 75, SQLite", &limit, "events", goal)
    });
    for round in 0..options.rounds {
        let loaded = run(batches(&hub), &numbers).await?;
        let real = loaded.per_second() * BATCH as f64;
        let ready = ready(&place)?;
        for (row, (a_commit, _)) in rows.iter_mut().zip(goals) {
            let path = host::fresh("events-limit")?.join(format!("limit-{round}.db"));
            let mut db = sqlite_fill::like(&place.file(), &path, &["events"])?;
            let took = sqlite_fill::events(&mut db, &ready, a_commit)?;
            row.round(real, ready.len() as f64 / took.as_secs_f64());
        }
    }
    let sent = (numbers.load(std::sync::atomic::Ordering::Relaxed) - 1) * BATCH;
    hub.process.stop().await?;
    let db = Connection::open_with_flags(place.file(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let kept: i64 = db.query_row("select count(*) from events", [], |row| row.get(0))?;
    ensure!(kept.unsigned_abs() == sent, "{sent} events were answered, {kept} are there");
    Ok(rows.into())
}

fn batches(hub: &Hub) -> Load {
    let token = hub.token.clone();
    Load {
        address: hub.address.clone(),
        connections: CONNECTIONS,
        lasts: LASTS,
        request: Box::new(move |number| request("POST", "/v1/events", &token, &body(number))),
        good: |answer: &Answer<'_>| {
            answer.status == 200
                && serde_json::from_slice::<serde_json::Value>(answer.body)
                    .is_ok_and(|body| body["counts"]["created"].as_u64() == Some(BATCH))
        },
    }
}

fn body(number: u64) -> String {
    let mut body = "[".to_owned();
    for at in number * BATCH..(number + 1) * BATCH {
        if body.len() > 1 {
            body.push(',');
        }
        let bits = mixed(at);
        body.push_str(&format!(
            "{{\"customer\":{{\"external_id\":\"{}\"}},\"name\":\"{}\",\"properties\":\
             {{\"product\":\"P{}\",\"price\":{}.5,\"page\":\"/shop/{}\"}}}}",
            external_id(bits % BASE),
            ["product_viewed", "cart_changed", "order_placed"][(bits >> 32) as usize % 3],
            bits >> 50,
            (bits >> 40) % 100,
            at % 1_000
        ));
    }
    body.push(']');
    body
}

/// The newest rows that the hub has written, as they stand.
fn ready(place: &Place) -> anyhow::Result<Vec<ReadyEvent>> {
    let db = Connection::open_with_flags(place.file(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut rows = db.prepare(
        "select bucket, customer_id, at, id, name, properties from events \
         order by at desc limit ?1",
    )?;
    let found = rows.query_map([LIMIT_ROWS], |row| {
        Ok(ReadyEvent {
            bucket: row.get(0)?,
            customer: row.get(1)?,
            at: row.get(2)?,
            id: row.get(3)?,
            name: row.get(4)?,
            properties: row.get(5)?,
        })
    })?;
    let mut events: Vec<ReadyEvent> = found.collect::<Result<_, _>>().context("read events")?;
    // In the order in which they came.
    events.reverse();
    Ok(events)
}
