//! Search as you type: what every keystroke takes over all customers, on both engines. People type
//! names, addresses, numbers and pieces from inside of them, also of nobody.

use std::time::{Duration, Instant};

use anyhow::ensure;

use super::import::database;
use crate::hub::{Api, Hub, Place};
use crate::measure::{Goal, Row, percentile_ms};
use crate::people::{mixed, person, write_csv};
use crate::{Options, host};

/// The slowest keystroke.
const GOAL: Goal = Goal::AtMost(100.0);
/// How many people are looked for in a round.
const SOUGHT: u64 = 8;

pub async fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let mut rows = vec![on(options, "SQLite", Place::sqlite("search-hub")?).await?];
    // Where there is no server, the row of the other engine still counts.
    match database().await {
        Ok((url, _client)) => {
            let place = Place { database: Some(url), ..Place::sqlite("search-hub-postgres")? };
            rows.push(on(options, "PostgreSQL", place).await?);
        }
        Err(error) => eprintln!("search on PostgreSQL is left out: {error:#}"),
    }
    Ok(rows)
}

async fn on(options: &Options, engine: &str, place: Place) -> anyhow::Result<Row> {
    let work = format!("search as you type, {} customers, {engine}", options.rows);
    let mut row = Row::new(work, "", "keystrokes", Goal::None);
    let file = host::scratch().join(format!("customers-{}.csv", options.rows));
    write_csv(&file, options.rows)?;
    let token = place.prepare().await?;
    let hub = Hub::start(&place, &token).await?;
    hub.import(&file, options.rows).await?;
    let indexed = until_indexed(&hub, options.rows).await?;
    let mut api = hub.api().await?;
    let mut times = Vec::new();
    for round in 0..options.rounds as u64 {
        for one in 0..SOUGHT {
            let sought = mixed(round * SOUGHT + one) % options.rows;
            for text in typed(sought) {
                for end in text.char_indices().map(|(at, c)| at + c.len_utf8()) {
                    times.push(keystroke(&mut api, &text[..end]).await?.0);
                }
            }
        }
    }
    hub.process.stop().await?;
    row.figure("keystrokes", times.len() as f64, "", Goal::None);
    row.figure("p50", percentile_ms(&mut times, 0.5), "ms", Goal::None);
    row.figure("p99", percentile_ms(&mut times, 0.99), "ms", Goal::None);
    row.figure("slowest", percentile_ms(&mut times, 1.0), "ms", GOAL);
    row.figure("indexed after the import", indexed.as_secs_f64(), "s", Goal::None);
    Ok(row)
}

/// What people type who look for a customer.
fn typed(number: u64) -> [String; 7] {
    let one = person(number);
    [
        one.external_id.clone(),
        one.email.clone(),
        format!("{} {}", one.first_name, one.last_name),
        one.last_name.to_lowercase(),
        // From inside the number and the address.
        one.external_id[4..].to_owned(),
        format!(".{number}@mail"),
        format!("{} nobody", one.first_name),
    ]
}

/// One search, and whom it found.
async fn keystroke(api: &mut Api, text: &str) -> anyhow::Result<(Duration, Vec<String>)> {
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let started = Instant::now();
    let found = api.get(&format!("/v1/customers?limit=50&q={encoded}")).await?;
    let took = started.elapsed();
    let items = found["items"].as_array().cloned().unwrap_or_default();
    let ids = items.iter().filter_map(|item| item["external_id"].as_str().map(str::to_owned));
    Ok((took, ids.collect()))
}

/// Waits until the index knows everybody: those in the middle of the file, the first and the last.
/// Rows that measure something else wait for it too, so that it does not share their clock.
pub async fn until_indexed(hub: &Hub, rows: u64) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let mut api = hub.api().await?;
    let wanted: Vec<u64> = (0..=20).map(|part| part * (rows - 1) / 20).collect();
    loop {
        let mut missing = 0;
        for number in &wanted {
            let one = person(*number);
            // Not the beginning of anything, so that only the index finds it.
            let inside = &one.email[1..];
            let (_, found) = keystroke(&mut api, inside).await?;
            missing += u64::from(!found.contains(&one.external_id));
        }
        if missing == 0 {
            return Ok(started.elapsed());
        }
        ensure!(started.elapsed() < Duration::from_secs(900), "{missing} are not indexed");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
