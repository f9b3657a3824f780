//! The count of a rule with three attribute conditions while somebody builds it, beside one pass over
//! the same columns as plain arrays in memory.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value as Json, json};

use crate::hub::{Api, Hub, Place};
use crate::limits::columns::Plain;
use crate::measure::{Goal, Row, median, percentile_ms};
use crate::people::write_csv;
use crate::{Options, host};

/// Questions a round; none is asked twice.
const QUESTIONS: i64 = 20;
const HITS: &str = "tidings_column_cache_hits_total";

pub async fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let work = format!("segment count, {} customers, three attribute conditions", options.rows);
    let mut row = Row::new(work, "", "counts", Goal::None);
    let file = host::scratch().join(format!("customers-{}.csv", options.rows));
    write_csv(&file, options.rows)?;
    let place = Place::sqlite("count-hub")?;
    let token = place.prepare().await?;
    let hub = Hub::start(&place, &token).await?;
    hub.import(&file, options.rows).await?;
    let plain = Plain::of(options.rows);
    let mut api = hub.api().await?;
    let (first, _) = ask(&mut api, -1).await?;
    row.figure("the first, by SQL", first.as_secs_f64() * 1e3, "ms", Goal::None);
    until_held(&hub, &mut api).await?;
    let (mut counts, mut passes, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds as i64 {
        let before = hub.metric(HITS).await?;
        let (mut real, mut limit) = (Vec::new(), Vec::new());
        for question in 0..QUESTIONS {
            let score = (round * QUESTIONS + question) % 900;
            let (took, found) = ask(&mut api, score).await?;
            real.push(took);
            let started = Instant::now();
            let expected = plain.count(*b"DE", score);
            limit.push(started.elapsed());
            ensure!(found == expected, "the hub counted {found}, there are {expected}");
        }
        let answered = hub.metric(HITS).await? - before;
        ensure!(answered as i64 == QUESTIONS, "columns answered {answered} of {QUESTIONS}");
        let (real, limit) = (percentile_ms(&mut real, 0.5), percentile_ms(&mut limit, 0.5));
        counts.push(real);
        passes.push(limit);
        ratios.push(real / limit);
    }
    row.figure(
        "memory of the columns",
        hub.metric("tidings_column_cache_bytes").await? / 1e6,
        "MB",
        Goal::None,
    );
    hub.process.stop().await?;
    row.figure("a count", median(counts), "ms", Goal::AtMost(15.0));
    row.figure("a pass over plain columns", median(passes), "ms", Goal::None);
    row.figure("a count against a pass", median(ratios), "×", Goal::AtMost(30.0));
    Ok(vec![row])
}

fn rule(score: i64) -> Json {
    json!({"rule": {"all": [
        {"attribute": "country", "op": "eq", "value": "DE"},
        {"attribute": "score", "op": "gt", "value": score},
        {"attribute": "newsletter", "op": "eq", "value": true},
    ]}})
}

/// One count, and how long it took from the request to the answer.
async fn ask(api: &mut Api, score: i64) -> anyhow::Result<(Duration, u64)> {
    let rule = rule(score);
    let started = Instant::now();
    let counted = api.post("/v1/segments/count", &rule).await?;
    Ok((started.elapsed(), counted["count"].as_u64().unwrap_or_default()))
}

/// Asks until columns answer: the first count has them read in the background.
async fn until_held(hub: &Hub, api: &mut Api) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let before = hub.metric(HITS).await?;
        ask(api, -1).await?;
        if hub.metric(HITS).await? > before {
            return Ok(());
        }
        ensure!(started.elapsed() < Duration::from_secs(60), "columns never answer");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
