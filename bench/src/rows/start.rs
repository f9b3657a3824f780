//! Cold start: from the start of the process until it says that it is ready.

use anyhow::Context as _;

use crate::hub::{Hub, Place, program};
use crate::measure::{Goal, Row, median};
use crate::people::write_csv;
use crate::{Options, host};

pub async fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let mut row = Row::new("cold start, SQLite", "", "starts", Goal::None);
    let place = Place::sqlite("start-hub")?;
    let token = place.prepare().await?;
    let empty = starts(options, &place, &token).await?;
    row.figure("ready, no customers", empty, "ms", Goal::AtMost(100.0));
    let file = host::scratch().join(format!("customers-{}.csv", options.rows));
    write_csv(&file, options.rows)?;
    let hub = Hub::start(&place, &token).await?;
    hub.import(&file, options.rows).await?;
    hub.process.stop().await?;
    let full = starts(options, &place, &token).await?;
    let what = format!("ready, {} customers", options.rows);
    row.figure(&what, full, "ms", Goal::AtMost(500.0));
    let size = std::fs::metadata(program()).context("look at the program")?.len();
    row.figure("program with console", size as f64 / 1e6, "MB", Goal::AtMost(40.0));
    Ok(vec![row])
}

async fn starts(options: &Options, place: &Place, token: &str) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..options.rounds {
        let hub = Hub::start(place, token).await?;
        times.push(hub.ready_after.as_secs_f64() * 1e3);
        hub.process.stop().await?;
    }
    Ok(median(times))
}
