//! Signed campaigns: by Ed25519 beside the same unsigned, and by RSA-2048 beside signatures alone.

use anyhow::Context as _;
use serde_json::json;
use tidings_channels::email::dkim::Algorithm;

use super::campaign::{Sender, counted, fill, latest, launch_from, settled};
use crate::Options;
use crate::hub::{Hub, Place, Sink};
use crate::limits::signatures;
use crate::measure::{Goal, Row};

const UNSIGNED: Sender =
    Sender { name: "Plain", address: "news@plain.example", class: "marketing" };
const ED25519: Sender =
    Sender { name: "Shop", address: "news@edwards.example", class: "marketing" };
const RSA: Sender = Sender { name: "Shop", address: "news@rivest.example", class: "marketing" };

pub async fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    // Three campaigns a round.
    let mails = options.mails * 2 / 5;
    let mut sink = Sink::start(None).await?;
    let mut place = Place::sqlite("signed-hub")?;
    place.smtp = Some(format!("smtp://{}", sink.address));
    let token = place.prepare().await?;
    let hub = Hub::start(&place, &token).await?;
    let template = fill(&hub, mails).await?;
    let mut api = hub.api().await?;
    for (sender, algorithm) in [(ED25519, "ed25519"), (RSA, "rsa")] {
        let domain = sender.address.split_once('@').context("an address has a domain")?.1;
        let key = json!({"algorithm": algorithm, "active": true});
        api.post(&format!("/v1/sender-domains/{domain}/keys"), &key).await?;
    }
    let signer = signatures::signer(Algorithm::Rsa)?;
    let work = |how: &str| format!("campaign of {mails} personalised mails, {how}");
    let mut edwards = Row::new(work("Ed25519"), "the same, unsigned", "mails", Goal::AtLeast(0.85));
    let mut rivest =
        Row::new(work("RSA-2048"), "signatures alone, all cores", "mails", Goal::AtLeast(0.5));
    for round in 0..options.rounds {
        let mut rates = Vec::new();
        let mut size = 3_000;
        for sender in [UNSIGNED, ED25519, RSA] {
            let (before, bytes_before) = latest(&mut sink).await?;
            let name = format!("{} {round}", sender.address);
            let launched = launch_from(&hub, &template, &name, &sender).await?;
            let bytes = counted(&mut sink, before + mails).await? - bytes_before;
            rates.push(mails as f64 / launched.at.elapsed().as_secs_f64());
            settled(&hub, &launched.campaign, mails).await?;
            size = usize::try_from(bytes / mails).unwrap_or(3_000);
        }
        edwards.round(rates[1], rates[0]);
        let took = signatures::sign(&signer, mails, size)?;
        rivest.round(rates[2], mails as f64 / took.as_secs_f64());
    }
    hub.process.stop().await?;
    Ok(vec![edwards, rivest])
}
