//! A campaign of personalised mails with tracked links, from its launch until the sink has counted
//! the last one; beside a bare sender of as many mails of the same size to the same sink.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::json;

use crate::hub::{Api, Hub, Place, Sink};
use crate::limits::smtp;
use crate::measure::{Goal, Row, median};
use crate::people::person;
use crate::{Options, host};

/// Connections of the bare sender; more are no faster.
const CONNECTIONS: usize = 16;

const HTML: &str = r#"<!doctype html>
<html lang="{{ customer.country | downcase }}"><head><meta charset="utf-8"><title>News</title></head>
<body style="margin:0;background:#f4f4f4;font-family:Helvetica,Arial,sans-serif">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0"><tr><td align="center">
<h1 style="font-size:24px;color:#222222">Hello {{ customer.first_name }} {{ customer.last_name }},</h1>
{% if customer.score > 500 %}<p>Your {{ customer.score }} points make you one of our best customers
in {{ customer.city | upcase }}.</p>{% else %}<p>Collect {{ 500 | minus: customer.score }} points more
to become a member of our club in {{ customer.city }}.</p>{% endif %}
<p>You have spent {{ customer.revenue | round: 2 }} with us so far, thank you.</p>
<p><a href="https://shop.example/new?from=mail&amp;list=spring">See what is new</a></p>
<p><a href="https://shop.example/sale">Everything on sale</a></p>
<p><a href="https://shop.example/account/{{ customer.external_id }}">Your account</a></p>
<p>{% case customer.country %}{% when 'NL', 'BE' %}Voor 22:00 besteld, morgen in huis.
{% when 'DE' %}Lieferung in zwei Tagen.{% else %}Delivered within five days.{% endcase %}</p>
<p style="font-size:12px;color:#888888">You get this mail at {{ customer.email }}.
<a href="{{ unsubscribe_url }}">Unsubscribe</a></p>
</td></tr></table></body></html>
"#;

pub async fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let mails = options.mails;
    let mut sink = Sink::start(None).await?;
    let mut place = Place::sqlite("campaign-hub")?;
    place.smtp = Some(format!("smtp://{}", sink.address));
    let token = place.prepare().await?;
    let hub = Hub::start(&place, &token).await?;
    let template = fill(&hub, mails).await?;
    let work = format!("campaign of {mails} personalised mails, unsigned");
    let mut row = Row::new(work, "bare sender, kept connections", "mails", Goal::AtLeast(0.2));
    for round in 0..options.rounds {
        let (before, bytes_before) = latest(&mut sink).await?;
        let launched = launch(&hub, &template, &format!("Round {round}")).await?;
        let bytes = counted(&mut sink, before + mails).await? - bytes_before;
        let real = mails as f64 / launched.at.elapsed().as_secs_f64();
        settled(&hub, &launched.campaign, mails).await?;

        let size = usize::try_from(bytes / mails).unwrap_or(3_000);
        let (before, _) = latest(&mut sink).await?;
        let took = smtp::send(&sink.address, CONNECTIONS, mails, size).await?;
        counted(&mut sink, before + mails).await?;
        row.round(real, mails as f64 / took.as_secs_f64());
        if round == 0 {
            row.figure("size of a mail", size as f64, "bytes", Goal::None);
        }
    }
    row.figure("peak memory", hub.process.peak_bytes() as f64 / 1e6, "MB", Goal::AtMost(400.0));
    hub.process.stop().await?;
    let first = first_mail(options, &mut place, &token, &template).await?;
    row.figure("first mail after launch", first, "ms", Goal::AtMost(200.0));
    Ok(vec![row])
}

/// Makes the customers, all of whom want mail, and the template; gives the template's id.
pub async fn fill(hub: &Hub, customers: u64) -> anyhow::Result<String> {
    let mut api = hub.api().await?;
    let mut from = 0;
    while from < customers {
        let to = customers.min(from + 5_000);
        let many: Vec<serde_json::Value> = (from..to)
            .map(|number| {
                let p = person(number);
                json!({
                    "external_id": p.external_id,
                    "email": p.email,
                    "attributes": {
                        "first_name": p.first_name,
                        "last_name": p.last_name,
                        "country": p.country,
                        "city": p.city,
                        "score": p.score,
                        "revenue": p.revenue as f64 / 100.0,
                    },
                    "consents": {"email": "granted"},
                })
            })
            .collect();
        let done = api.post("/v1/customers", &many.into()).await?;
        let created = done["counts"]["created"].as_u64();
        ensure!(created == Some(to - from), "customers were not made: {}", done["counts"]);
        from = to;
    }
    let template =
        json!({"name": "Bench", "subject": "News for {{ customer.first_name }}", "html": HTML});
    let template = api.post("/v1/templates", &template).await?;
    Ok(template["id"].as_str().context("the template has no id")?.to_owned())
}

pub struct Launched {
    pub campaign: String,
    pub at: Instant,
}

/// Whom mails are from.
pub struct Sender {
    pub name: &'static str,
    pub address: &'static str,
    pub class: &'static str,
}

/// Needs no consent, which imported customers have not given.
pub const SHOP: Sender =
    Sender { name: "Shop", address: "news@shop.example", class: "transactional" };
const LIST: Sender = Sender { name: "Shop", address: "news@shop.example", class: "marketing" };

async fn launch(hub: &Hub, template: &str, name: &str) -> anyhow::Result<Launched> {
    launch_from(hub, template, name, &LIST).await
}

/// Makes a campaign to everyone and launches it; the clock starts with the call that launches.
pub async fn launch_from(
    hub: &Hub,
    template: &str,
    name: &str,
    sender: &Sender,
) -> anyhow::Result<Launched> {
    let mut api = hub.api().await?;
    let draft = json!({
        "name": name,
        "segment_id": null,
        "template_id": template,
        "sender": {"name": sender.name, "address": sender.address},
        "class": sender.class,
    });
    let campaign = api.post("/v1/campaigns", &draft).await?;
    let campaign = campaign["id"].as_str().context("the campaign has no id")?.to_owned();
    let at = Instant::now();
    api.post(&format!("/v1/campaigns/{campaign}/launch"), &json!({})).await?;
    Ok(Launched { campaign, at })
}

/// Reads the sink's counts until they stand still.
pub async fn latest(sink: &mut Sink) -> anyhow::Result<(u64, u64)> {
    let mut last = sink.count().await?;
    let mut still = 0;
    while still < 20 {
        let now = sink.count().await?;
        still = if now == last { still + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}

/// Waits until the sink has counted so many mails; gives its bytes.
pub async fn counted(sink: &mut Sink, mails: u64) -> anyhow::Result<u64> {
    let began = Instant::now();
    loop {
        let (count, bytes) = sink.count().await?;
        ensure!(count <= mails, "the sink counted {count} mails, more than the {mails} there are");
        if count == mails {
            return Ok(bytes);
        }
        if began.elapsed() > Duration::from_secs(300) {
            bail!("after five minutes the sink has counted {count} of {mails} mails");
        }
    }
}

/// Waits until the campaign says that it is done, and checks its figures against the sink's.
pub async fn settled(hub: &Hub, campaign: &str, mails: u64) -> anyhow::Result<()> {
    let mut api: Api = hub.api().await?;
    let began = Instant::now();
    loop {
        let seen = api.get(&format!("/v1/campaigns/{campaign}")).await?;
        if seen["state"] == "done" {
            let counts = &seen["counts"];
            ensure!(counts["sent"].as_u64() == Some(mails), "the hub counted {counts}");
            return Ok(());
        }
        ensure!(began.elapsed() < Duration::from_secs(60), "the campaign does not end: {seen}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How long after its launch a campaign's first mail has arrived, in milliseconds: the median of
/// as many launches as there are rounds, of the whole base each time.
async fn first_mail(
    options: &Options,
    place: &mut Place,
    token: &str,
    template: &str,
) -> anyhow::Result<f64> {
    let log = host::scratch().join("first-mail.log");
    let mut times = Vec::new();
    for round in 0..options.rounds {
        // This sink writes each mail down, so the first one can be seen to the millisecond.
        let _ = std::fs::remove_file(&log);
        let sink = Sink::start(Some(&log)).await?;
        place.smtp = Some(format!("smtp://{}", sink.address));
        let hub = Hub::start(place, token).await?;
        let launched = launch(&hub, template, &format!("First {round}")).await?;
        let ms = arrival(&log, launched.at).await?;
        let mut api = hub.api().await?;
        let cancel = format!("/v1/campaigns/{}/cancel", launched.campaign);
        api.post(&cancel, &json!({})).await?;
        hub.process.stop().await?;
        times.push(ms);
    }
    Ok(median(times))
}

async fn arrival(log: &Path, since: Instant) -> anyhow::Result<f64> {
    while since.elapsed() < Duration::from_secs(30) {
        if std::fs::metadata(log).is_ok_and(|file| file.len() > 0) {
            return Ok(since.elapsed().as_secs_f64() * 1e3);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bail!("no mail came within thirty seconds")
}
