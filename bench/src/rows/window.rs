//! A count with an event window over many events, beside the same question as SQL that a person
//! would write, asked of the same file.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rusqlite::{Connection, OpenFlags, params};
use serde_json::json;
use tidings_domain::{EventId, Timestamp};

use crate::hub::{Api, Hub, Place};
use crate::limits::sqlite_fill;
use crate::measure::{Goal, Row, median, percentile_ms};
use crate::people::{external_id, mixed, write_csv};
use crate::{Options, host};

/// Events for each row of the option, and how many each customer has.
const EVENTS: u64 = 5;
const EACH: u64 = 25;
const NAMES: [&str; 3] = ["product_viewed", "cart_changed", "order_placed"];
/// Questions a round.
const QUESTIONS: usize = 7;
const HOUR: i64 = 3_600_000_000;
/// How old the oldest event is, in hours.
const OLDEST: u64 = 90 * 24;

const PLAIN: &str = "select count(*) from customers c where c.id in
  (select customer_id from events where name = ?1 and at > ?2 and at <= ?3
   group by customer_id having count(*) >= 2)";

pub async fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let events = options.rows * EVENTS;
    let customers = (events / EACH).max(1);
    let work = format!("count with an event window over {events} events");
    let mut row = Row::new(work, "", "counts", Goal::None);
    let file = host::scratch().join(format!("customers-{customers}.csv"));
    write_csv(&file, customers)?;
    let place = Place::sqlite("window-hub")?;
    let token = place.prepare().await?;
    let hub = Hub::start(&place, &token).await?;
    hub.import(&file, customers).await?;
    let mut api = hub.api().await?;
    for name in NAMES {
        // The names get their numbers; these events lie before the window.
        let event = json!({"customer": {"external_id": external_id(0)}, "name": name,
                           "at": "2020-01-01T00:00:00Z"});
        api.post("/v1/events", &event).await?;
    }
    hub.process.stop().await?;
    fill(&place, Timestamp::now())?;

    let hub = Hub::start(&place, &token).await?;
    let mut api = hub.api().await?;
    let plain = Connection::open_with_flags(place.file(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    plain.execute_batch("pragma cache_size = -16384; pragma temp_store = memory")?;
    let name: i64 = plain.query_row(
        "select number from event_names where name = 'order_placed'",
        [],
        |row| row.get(0),
    )?;
    let (mut counts, mut plains, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=options.rounds {
        let (mut real, mut limit) = (Vec::new(), Vec::new());
        for _ in 0..QUESTIONS {
            let (took, found) = ask(&mut api).await?;
            real.push(took);
            let started = Instant::now();
            let now = Timestamp::now().0;
            let expected: i64 = plain
                .prepare_cached(PLAIN)?
                .query_row([name, now - 7 * 24 * HOUR, now], |row| row.get(0))?;
            limit.push(started.elapsed());
            ensure!(found == expected.unsigned_abs(), "the hub counted {found} of {expected}");
        }
        // The first round has both sides read the file.
        if round > 0 {
            let (real, limit) = (percentile_ms(&mut real, 0.5), percentile_ms(&mut limit, 0.5));
            counts.push(real);
            plains.push(limit);
            ratios.push(real / limit);
        }
    }
    hub.process.stop().await?;
    row.figure("a count", median(counts), "ms", Goal::AtMost(400.0));
    row.figure("plain SQL", median(plains), "ms", Goal::None);
    row.figure("a count against plain SQL", median(ratios), "×", Goal::AtMost(1.2));
    Ok(vec![row])
}

async fn ask(api: &mut Api) -> anyhow::Result<(Duration, u64)> {
    let rule = json!({"rule": {"event": "order_placed", "within": "7d", "count": {"gte": 2}}});
    let started = Instant::now();
    let counted = api.post("/v1/segments/count", &rule).await?;
    Ok((started.elapsed(), counted["count"].as_u64().unwrap_or_default()))
}

/// Writes the events into the hub's file while no hub runs: over HTTP it would take longer than all
/// else. They are half hours old, so that none comes near the window's edge while the bench runs.
fn fill(place: &Place, now: Timestamp) -> anyhow::Result<()> {
    let mut db = sqlite_fill::open(&place.file())?;
    let index: String =
        db.query_row("select sql from sqlite_master where name = 'events_by_name'", [], |row| {
            row.get(0)
        })?;
    let (ids, names) = {
        let mut ids = db.prepare("select bucket, id from customers order by id")?;
        let ids =
            ids.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 16]>(1)?)))?;
        let ids: Vec<_> = ids.collect::<Result<_, _>>().context("read the customers")?;
        let mut names = db.prepare("select number from event_names order by number")?;
        let names = names.query_map([], |row| row.get::<_, i64>(0))?;
        (ids, names.collect::<Result<Vec<_>, _>>().context("read the names")?)
    };
    ensure!(names.len() >= NAMES.len(), "the hub knows {} names of events", names.len());
    // The index is made at the end, from sorted rows.
    db.execute_batch("drop index events_by_name")?;
    for (slice, ids) in ids.chunks(2_000).enumerate() {
        let turn = db.transaction()?;
        {
            let mut event = turn.prepare_cached(
                "insert into events (bucket, customer_id, at, id, name, properties) \
                 values (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for (at, (bucket, id)) in ids.iter().enumerate() {
                let first = (slice * 2_000 + at) as u64 * EACH;
                let mut own: Vec<(i64, u64)> = (first..first + EACH)
                    .map(|number| {
                        let bits = mixed(number);
                        let age = (bits % OLDEST) as i64 * HOUR + HOUR / 2;
                        (now.0 - age, bits)
                    })
                    .collect();
                own.sort_unstable();
                for (at, bits) in own {
                    let name = names[(bits >> 32) as usize % NAMES.len()];
                    let properties = format!("{{\"total\":{}}}", (bits >> 40) % 500);
                    let event_id = *EventId::generate().0.as_bytes();
                    event.execute(params![bucket, id, at, event_id, name, properties])?;
                }
            }
        }
        turn.commit()?;
    }
    db.execute_batch(&format!("{index}; pragma wal_checkpoint(truncate);"))?;
    Ok(())
}
