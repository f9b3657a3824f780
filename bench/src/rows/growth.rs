//! What one item costs in a small base and in one a hundred times as large: a change applied, one
//! applied and judged, a mail sent. The bases take turns, so that each is measured in the same minutes.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value as Json, json};

use super::campaign::{SHOP, latest, launch_from, settled};
use super::search::until_indexed;
use crate::http::{Answer, Load, request, run};
use crate::hub::{Hub, Place, Sink};
use crate::measure::{Goal, Row, median};
use crate::people::{external_id, mixed, person, write_csv};
use crate::{Options, host};

/// The small base is the large one by this.
const TIMES: u64 = 100;
/// How long changes are applied in a round.
const APPLIED: Duration = Duration::from_secs(3);
/// How far apart the segments' conditions on revenue lie.
const LEVEL: u64 = 400;
const FLAT: Goal = Goal::Between(0.8, 1.2);

/// One base, its hub and its sink.
struct Base {
    customers: u64,
    place: Place,
    hub: Hub,
    sink: Sink,
    template: String,
    /// Goes on from round to round, so that every change changes something.
    numbers: Arc<AtomicU64>,
    /// What an item took in each round, in microseconds: applied, judged, sent.
    costs: [Vec<f64>; 3],
}

pub async fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let sizes = [(options.rows / TIMES).max(1_000), options.rows.max(1_000)];
    let mut bases = Vec::new();
    for customers in sizes {
        bases.push(Base::make(customers).await?);
    }
    for _ in 0..options.rounds {
        for base in &mut bases {
            let cost = base.apply(score).await?;
            base.costs[0].push(cost);
        }
    }
    for base in &mut bases {
        base.segments().await?;
    }
    for _ in 0..options.rounds {
        for base in &mut bases {
            let cost = base.apply(revenue).await?;
            base.costs[1].push(cost);
        }
    }
    for round in 0..options.rounds {
        for base in &mut bases {
            // One campaign to the large base has the mails of a hundred to the small one.
            if base.customers == sizes[0] || round == options.rounds / 2 {
                let cost = base.send(&format!("Round {round}")).await?;
                base.costs[2].push(cost);
            }
        }
    }
    let work = format!("growth from {} to {} customers", sizes[0], sizes[1]);
    let mut row = Row::new(work, "", "items", Goal::None);
    for (at, what) in
        ["a change applied", "a change applied and judged", "a mail sent"].iter().enumerate()
    {
        let costs = bases.iter().map(|base| median(base.costs[at].iter().copied()));
        let costs: Vec<f64> = costs.collect();
        row.figure(&format!("{what}, small base"), costs[0], "µs", Goal::None);
        row.figure(&format!("{what}, large base"), costs[1], "µs", Goal::None);
        row.figure(&format!("{what}, large against small"), costs[1] / costs[0], "×", FLAT);
    }
    for base in bases {
        base.hub.process.stop().await?;
    }
    Ok(vec![row])
}

/// What no segment reads.
fn score(_customer: u64, number: u64) -> Json {
    json!({"score": 1_000 + number})
}

/// What twenty segments read: an order takes a customer into one of them or none.
fn revenue(customer: u64, number: u64) -> Json {
    let order = mixed(number ^ 0xb0b) % (100 * LEVEL);
    let cents = person(customer).revenue + order as i64;
    json!({"revenue": cents as f64 / 100.0})
}

impl Base {
    async fn make(customers: u64) -> anyhow::Result<Base> {
        let file = host::scratch().join(format!("customers-{customers}.csv"));
        write_csv(&file, customers)?;
        let sink = Sink::start(None).await?;
        let mut place = Place::sqlite(&format!("growth-hub-{customers}"))?;
        place.smtp = Some(format!("smtp://{}", sink.address));
        let token = place.prepare().await?;
        let hub = Hub::start(&place, &token).await?;
        hub.import(&file, customers).await?;
        until_indexed(&hub, customers).await?;
        let html = "<p>Hello {{ customer.first_name }} of {{ customer.city }}.</p>";
        let template = json!({"name": "Growth", "subject": "News", "html": html});
        let template = hub.api().await?.post("/v1/templates", &template).await?;
        let template = template["id"].as_str().context("the template has no id")?.to_owned();
        let numbers = Arc::new(AtomicU64::new(1));
        Ok(Base { customers, place, hub, sink, template, numbers, costs: Default::default() })
    }

    /// Single upserts of customers that are there, each of which changes an attribute; until all of
    /// them have been judged.
    async fn apply(&mut self, changed: fn(u64, u64) -> Json) -> anyhow::Result<f64> {
        let (token, customers) = (self.hub.token.clone(), self.customers);
        let began = Instant::now();
        let load = Load {
            address: self.hub.address.clone(),
            connections: 32,
            lasts: APPLIED,
            request: Box::new(move |number| {
                let customer = mixed(number) % customers;
                let attributes = changed(customer, number);
                let body = json!({"external_id": external_id(customer), "attributes": attributes});
                request("POST", "/v1/customers", &token, &body.to_string())
            }),
            good: |answer: &Answer<'_>| answer.status == 200,
        };
        let done = run(load, &self.numbers).await?;
        self.judged().await?;
        Ok(began.elapsed().as_secs_f64() * 1e6 / done.answers as f64)
    }

    /// Twenty segments that read what is changed.
    async fn segments(&mut self) -> anyhow::Result<()> {
        let mut api = self.hub.api().await?;
        for level in 1..=20 {
            let rule = json!({"attribute": "revenue", "op": "gte", "value": level * LEVEL});
            api.post("/v1/segments", &json!({"name": format!("S{level}"), "rule": rule})).await?;
        }
        let began = Instant::now();
        loop {
            let list = api.get("/v1/segments").await?;
            let mut items = list["items"].as_array().context("segments are a list")?.iter();
            if items.all(|one| one["evaluating"] == false) {
                return Ok(());
            }
            ensure!(began.elapsed() < Duration::from_secs(300), "segments are never evaluated");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until nobody waits to be judged.
    async fn judged(&self) -> anyhow::Result<()> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let db = Connection::open_with_flags(self.place.file(), flags)?;
        let began = Instant::now();
        loop {
            let waits: bool =
                db.query_row("select exists (select 1 from dirty_customers)", [], |row| {
                    row.get(0)
                })?;
            if !waits {
                return Ok(());
            }
            ensure!(began.elapsed() < Duration::from_secs(120), "customers are never judged");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Sends to everybody, from the launch until the last mail has come.
    async fn send(&mut self, name: &str) -> anyhow::Result<f64> {
        let (before, _) = latest(&mut self.sink).await?;
        let launched = launch_from(&self.hub, &self.template, name, &SHOP).await?;
        loop {
            let (count, _) = self.sink.count().await?;
            if count >= before + self.customers {
                break;
            }
            ensure!(launched.at.elapsed() < Duration::from_secs(1_200), "{count} mails came");
        }
        let cost = launched.at.elapsed().as_secs_f64() * 1e6 / self.customers as f64;
        settled(&self.hub, &launched.campaign, self.customers).await?;
        Ok(cost)
    }
}
