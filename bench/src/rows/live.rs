//! From the answer to a change until its membership can be seen: 200 segments that are kept up to
//! date, a thousand changes a second that come whether the hub keeps up or not, each read by at most
//! twenty segments. Every twentieth change is of somebody new to it, who is looked at until they are
//! in the segments that the change brings them into.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value as Json, json};

use super::search::until_indexed;
use crate::http::{Connection, request};
use crate::hub::{Api, Hub, Place};
use crate::measure::{Goal, Row, median, percentile_ms};
use crate::people::{external_id, mixed, write_csv};
use crate::{Options, host};

/// Changes a second, and how long they come in a round.
const A_SECOND: u64 = 1_000;
const LASTS: Duration = Duration::from_secs(8);
/// One change in so many is looked at.
const LOOKED_AT: u64 = 20;
const CONNECTIONS: usize = 64;
/// Ten attributes of fifteen segments each, three events and two tables of ten.
const ATTRIBUTES: u64 = 10;
const EVENTS: u64 = 3;
const TABLES: u64 = 2;
/// Nobody looked at once is looked at again; these are for one round.
const PROBES: u64 = A_SECOND * LASTS.as_secs() / LOOKED_AT + 1;

/// Everything that a caller needs.
struct Run {
    address: String,
    token: String,
    /// Customers of whom nobody is looked at.
    base: u64,
    began: Instant,
    changes: u64,
    /// The first customer to look at in this round.
    first_probe: u64,
    /// The number of the next change.
    next: AtomicU64,
}

/// One change: where it is posted, what, and which segment it brings its customer into.
struct Change {
    path: String,
    body: Json,
    enters: String,
}

pub async fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let base = (options.rows / 10).max(100);
    let all = base + PROBES * options.rounds as u64;
    let work = format!("change answered until seen in its segments, {base} customers");
    let mut row = Row::new(work, "", "changes", Goal::None);
    let file = host::scratch().join("live.csv");
    write_csv(&file, all)?;
    let place = Place::sqlite("live-hub")?;
    let token = place.prepare().await?;
    let hub = Hub::start(&place, &token).await?;
    hub.import(&file, all).await?;
    until_indexed(&hub, all).await?;
    let mut api = hub.api().await?;
    let segments = prepare(&mut api).await?;
    until_evaluated(&mut api, segments).await?;
    let (mut middles, mut tails, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds as u64 {
        let run = Arc::new(Run {
            address: hub.address.clone(),
            token: token.clone(),
            base,
            began: Instant::now(),
            changes: A_SECOND * LASTS.as_secs(),
            first_probe: base + round * PROBES,
            next: AtomicU64::new(0),
        });
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..CONNECTIONS {
            callers.spawn(caller(run.clone()));
        }
        let (mut times, mut last) = (Vec::new(), Duration::ZERO);
        while let Some(done) = callers.join_next().await {
            let (mut seen, ended) = done.context("a caller panicked")??;
            times.append(&mut seen);
            last = last.max(ended);
        }
        rates.push(run.changes as f64 / last.as_secs_f64());
        middles.push(percentile_ms(&mut times, 0.5));
        tails.push(percentile_ms(&mut times, 0.99));
        eprintln!(
            "round {}: {} looked at, p99 {:.1} ms",
            round + 1,
            times.len(),
            tails[round as usize]
        );
    }
    hub.process.stop().await?;
    row.figure("segments", segments as f64, "", Goal::None);
    row.figure("changes answered", median(rates), "/s", Goal::AtLeast(0.98 * A_SECOND as f64));
    row.figure("p50", median(middles), "ms", Goal::None);
    row.figure("p99", median(tails), "ms", Goal::AtMost(100.0));
    Ok(vec![row])
}

/// Makes the attributes, events, tables and segments; gives how many segments there are.
async fn prepare(api: &mut Api) -> anyhow::Result<usize> {
    let mut rules: Vec<(String, Json)> = Vec::new();
    for at in 0..ATTRIBUTES {
        let name = format!("points_{at}");
        api.post("/v1/attributes", &json!({"name": name, "kind": "integer"})).await?;
        for level in 1..=15 {
            let rule = json!({"attribute": name, "op": "gte", "value": level * 10});
            rules.push((format!("{name} {level}"), rule));
        }
    }
    for at in 0..EVENTS {
        let name = format!("event_{at}");
        let event = json!({"customer": {"external_id": external_id(0)}, "name": name});
        api.post("/v1/events", &event).await?;
        for days in 1..=10 {
            let rule = json!({"event": name, "within": format!("{days}d"), "count": {"gte": 1}});
            rules.push((format!("{name} {days}"), rule));
        }
    }
    for at in 0..TABLES {
        let name = format!("table_{at}");
        let fields = json!([{"name": "total", "kind": "integer"}]);
        let table = json!({"name": name, "owner": "customer", "fields": fields});
        api.post("/v1/tables", &table).await?;
        for level in 1..=10 {
            let filter = json!([{"field": "total", "op": "gte", "value": level}]);
            let rule = json!({"table": name, "where": filter, "count": {"gte": 1}});
            rules.push((format!("{name} {level}"), rule));
        }
    }
    for (name, rule) in &rules {
        api.post("/v1/segments", &json!({"name": name, "rule": rule})).await?;
    }
    Ok(rules.len())
}

async fn until_evaluated(api: &mut Api, segments: usize) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let list = api.get("/v1/segments").await?;
        let items = list["items"].as_array().context("segments are a list")?;
        ensure!(items.len() == segments, "{} segments instead of {segments}", items.len());
        if items.iter().all(|one| one["evaluating"] == false) {
            return Ok(());
        }
        ensure!(started.elapsed() < Duration::from_secs(600), "segments are never evaluated");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The change of this number: seven in ten are of attributes, two of events, one of records.
fn change(run: &Run, number: u64) -> (u64, Change) {
    let bits = mixed(number ^ (run.first_probe << 20));
    let looked_at = number.is_multiple_of(LOOKED_AT);
    let whom = match looked_at {
        true => run.first_probe + number / LOOKED_AT,
        false => bits % run.base,
    };
    let customer = json!({"external_id": external_id(whom)});
    let kind = if looked_at { number / LOOKED_AT } else { bits >> 40 };
    let change = match kind % 10 {
        0..=6 => {
            let name = format!("points_{}", (bits >> 16) % ATTRIBUTES);
            let points = if looked_at { 1_000 } else { (bits >> 24) % 200 };
            Change {
                path: "/v1/customers".to_owned(),
                body: json!({"external_id": external_id(whom), "attributes": {&name: points}}),
                enters: format!("{name} 15"),
            }
        }
        7 | 8 => {
            let name = format!("event_{}", (bits >> 16) % EVENTS);
            Change {
                path: "/v1/events".to_owned(),
                body: json!({"customer": customer, "name": name}),
                enters: format!("{name} 1"),
            }
        }
        _ => {
            let name = format!("table_{}", (bits >> 16) % TABLES);
            Change {
                path: format!("/v1/tables/{name}/records"),
                body: json!({"key": format!("{whom}-{}", bits % 50), "customer": customer,
                             "fields": {"total": 10}}),
                enters: format!("{name} 10"),
            }
        }
    };
    (whom, change)
}

/// Makes changes when they are due; gives how long those that were looked at took to be seen, and
/// when the last was answered.
async fn caller(run: Arc<Run>) -> anyhow::Result<(Vec<Duration>, Duration)> {
    let mut connection = Connection::open(&run.address).await?;
    let (mut times, mut last) = (Vec::new(), Duration::ZERO);
    loop {
        let number = run.next.fetch_add(1, Ordering::Relaxed);
        if number >= run.changes {
            return Ok((times, last));
        }
        let due = run.began + Duration::from_micros(number * 1_000_000 / A_SECOND);
        tokio::time::sleep_until(due.into()).await;
        let (whom, change) = change(&run, number);
        let body = change.body.to_string();
        let answer = connection.call(&request("POST", &change.path, &run.token, &body)).await?;
        let answered = Instant::now();
        if !(200..300).contains(&answer.status) {
            let text = String::from_utf8_lossy(answer.body).into_owned();
            bail!("{} {body}: {} {text}", change.path, answer.status);
        }
        last = run.began.elapsed();
        if number.is_multiple_of(LOOKED_AT) {
            times.push(until_seen(&mut connection, &run, whom, &change.enters, answered).await?);
        }
    }
}

/// Looks at a customer until they are in a segment.
async fn until_seen(
    connection: &mut Connection,
    run: &Run,
    whom: u64,
    segment: &str,
    since: Instant,
) -> anyhow::Result<Duration> {
    let path = format!("/v1/customers/external_id:{}", external_id(whom));
    let look = request("GET", &path, &run.token, "");
    loop {
        let answer = connection.call(&look).await?;
        ensure!(answer.status == 200, "{path}: {}", answer.status);
        let profile: Json = serde_json::from_slice(answer.body).context("read the customer")?;
        let segments = profile["segments"].as_array().context("a customer has segments")?;
        if segments.iter().any(|one| one["name"] == segment) {
            return Ok(since.elapsed());
        }
        ensure!(since.elapsed() < Duration::from_secs(30), "{whom} never came into {segment}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
