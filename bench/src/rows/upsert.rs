//! Single upserts over HTTP, each changing a customer that is there, each answered once it is on
//! disk; beside a handler that appends the same bodies to a log. And how long one takes while a
//! file is imported.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::search::until_indexed;
use crate::http::{Answer, Load, Loaded, request, run};
use crate::hub::{Hub, Place};
use crate::measure::{Goal, Row, median, percentile_ms};
use crate::people::{external_id, mixed, write_csv};
use crate::process::{Background, free_port};
use crate::{Options, host};

/// Customers that are there already.
const BASE: u64 = 100_000;
/// How long one load lasts.
const LASTS: Duration = Duration::from_secs(6);

pub async fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let file = host::scratch().join("base.csv");
    write_csv(&file, BASE)?;
    let place = Place::sqlite("upsert-hub")?;
    let token = place.prepare().await?;
    let hub = Hub::start(&place, &token).await?;
    hub.import(&file, BASE).await?;
    until_indexed(&hub, BASE).await?;
    let limit = Limit::start().await?;
    // Goes on from load to load, so that every upsert writes a score that was never there before.
    let numbers = Arc::new(AtomicU64::new(1));
    let mut rows = Vec::new();
    for connections in [32, 64] {
        let work = format!("single upsert over HTTP, {connections} connections");
        let mut row =
            Row::new(work, "append to a log, grouped fdatasync", "answers", Goal::AtLeast(0.35));
        let (mut middles, mut tails) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            let mut real = run(upserts(&hub, connections, LASTS), &numbers).await?;
            let bare = run(limit.appends(&token, connections), &numbers).await?;
            middles.push(percentile_ms(&mut real.times, 0.5));
            tails.push(percentile_ms(&mut real.times, 0.99));
            row.round(real.per_second(), bare.per_second());
        }
        row.figure("p50", median(middles), "ms", Goal::None);
        row.figure("p99", median(tails), "ms", Goal::AtMost(20.0));
        rows.push(row);
    }
    rows.push(during_import(options, &hub, &numbers).await?);
    hub.process.stop().await?;
    Ok(rows)
}

/// Upserts that change one of the customers that are there.
fn upserts(hub: &Hub, connections: usize, lasts: Duration) -> Load {
    let token = hub.token.clone();
    Load {
        address: hub.address.clone(),
        connections,
        lasts,
        request: Box::new(move |number| request("POST", "/v1/customers", &token, &body(number))),
        good: |answer: &Answer<'_>| {
            answer.status == 200 && contains(answer.body, b"\"outcome\":\"updated\"")
        },
    }
}

fn body(number: u64) -> String {
    let customer = external_id(mixed(number) % BASE);
    format!(
        "{{\"external_id\":\"{customer}\",\"attributes\":{{\"score\":{},\"city\":\"City {}\",\
         \"newsletter\":{}}}}}",
        1_000 + number,
        number % 500,
        number.is_multiple_of(2)
    )
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

struct Limit {
    _process: Background,
    address: String,
}

impl Limit {
    async fn start() -> anyhow::Result<Limit> {
        let folder = host::fresh("upsert-limit")?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let own = std::env::current_exe().context("find this program")?;
        let arguments = [
            "limit-http".to_owned(),
            "--listen".to_owned(),
            address.clone(),
            "--log".to_owned(),
            folder.join("log").display().to_string(),
        ];
        let mut process = Background::start(&own, &arguments, &folder.join("errors"))?;
        process.line().await.context("start the limit")?;
        Ok(Limit { _process: process, address })
    }

    /// The same requests as the hub gets.
    fn appends(&self, token: &str, connections: usize) -> Load {
        let token = token.to_owned();
        Load {
            address: self.address.clone(),
            connections,
            lasts: LASTS,
            request: Box::new(move |number| request("POST", "/append", &token, &body(number))),
            good: |answer| answer.status == 200,
        }
    }
}

/// Single upserts while a file is imported: how long the slowest hundredth takes.
async fn during_import(
    options: &Options,
    hub: &Hub,
    numbers: &Arc<AtomicU64>,
) -> anyhow::Result<Row> {
    let mut row = Row::new("single upsert while a file is imported", "", "answers", Goal::None);
    let file = host::scratch().join("during.csv");
    write_csv(&file, 1_000_000)?;
    for connections in [32, 64] {
        let (mut tails, mut rates, mut imported) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            let import = running(hub, &file).await?;
            let before = rows_read(hub, &import).await?;
            let mut loaded: Loaded = run(upserts(hub, connections, LASTS / 2), numbers).await?;
            let after = rows_read(hub, &import).await?;
            ensure!(after > before, "the import stood still while upserts came in");
            let state = state(hub, &import).await?;
            ensure!(state == "running", "the import was {state} before the load had ended");
            let mut api = hub.api().await?;
            api.post(&format!("/v1/imports/{import}/cancel"), &serde_json::json!({})).await?;
            imported.push((after - before) as f64 / loaded.took.as_secs_f64());
            rates.push(loaded.per_second());
            tails.push(percentile_ms(&mut loaded.times, 0.99));
        }
        let with = |what: &str| format!("{what}, {connections} connections");
        row.figure(&with("p99"), median(tails), "ms", Goal::AtMost(20.0));
        row.figure(&with("upserts"), median(rates), "/s", Goal::None);
        row.figure(&with("rows imported meanwhile"), median(imported), "/s", Goal::None);
    }
    Ok(row)
}

/// Starts an import and waits until it runs; gives its id.
async fn running(hub: &Hub, file: &Path) -> anyhow::Result<String> {
    let id = hub.start_import(file).await?;
    while state(hub, &id).await? == "queued" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(id)
}

async fn state(hub: &Hub, import: &str) -> anyhow::Result<String> {
    let import = hub.api().await?.get(&format!("/v1/imports/{import}")).await?;
    Ok(import["state"].as_str().unwrap_or_default().to_owned())
}

async fn rows_read(hub: &Hub, import: &str) -> anyhow::Result<u64> {
    let import = hub.api().await?.get(&format!("/v1/imports/{import}")).await?;
    Ok(import["rows"]["read"].as_u64().unwrap_or_default())
}
