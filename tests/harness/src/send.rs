//! A campaign, who must get it, and the comparison of what the program says with what the mail sink
//! has on disk.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value, json};

use crate::sink::{Arrived, by_address, repeats};
use crate::world::World;

/// What is promised for a message whose end a crash hid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Never twice; held and listed.
    Marketing,
    /// Never lost; sent again with the same Message-ID, and marked.
    Transactional,
}

impl Class {
    pub fn name(self) -> &'static str {
        match self {
            Class::Marketing => "marketing",
            Class::Transactional => "transactional",
        }
    }
}

/// A campaign that was launched.
pub struct Campaign {
    pub path: String,
    pub class: Class,
    /// Everybody by external id, with the address, and why they get nothing if so.
    pub audience: HashMap<String, (Option<String>, Option<&'static str>)>,
}

impl Campaign {
    /// How many mails must leave.
    pub fn addressed(&self) -> u64 {
        self.audience.values().filter(|(_, reason)| reason.is_none()).count() as u64
    }
}

/// Makes customers and launches a campaign to all of them, and to nobody else who may be there. Some
/// have no consent, some no address.
pub async fn launch(world: &World, class: Class, customers: u64) -> Campaign {
    let api = world.api();
    let mut audience = HashMap::new();
    let mut batch = Vec::new();
    for at in 0..customers {
        let id = format!("s{at}");
        let address = (at % 40 != 7).then(|| format!("s{at}@mail.example"));
        let consent = at % 25 != 3;
        let reason = match (&address, consent, class) {
            (None, ..) => Some("no_address"),
            (Some(_), false, Class::Marketing) => Some("no_consent"),
            _ => None,
        };
        let mut customer = json!({
            "external_id": id,
            "attributes": {"name": format!("Ann {at}"), "score": -1},
        });
        if let Some(address) = &address {
            customer["email"] = json!(address);
        }
        if consent {
            customer["consents"] = json!({"email": "granted"});
        }
        batch.push(customer);
        audience.insert(id, (address, reason));
        if batch.len() == 500 || at + 1 == customers {
            let answer = api.post("/v1/customers", Value::Array(std::mem::take(&mut batch))).await;
            assert_eq!(answer["counts"]["refused"], 0, "{answer}");
        }
    }
    let rule = json!({"attribute": "score", "op": "lt", "value": 0});
    let segment = api.post("/v1/segments", json!({"name": "Harness", "rule": rule})).await;
    let template = json!({
        "name": "Harness",
        "subject": "Hello {{ customer.name }}",
        "html": "<p>Hi {{ customer.name }}, <a href=\"https://shop.example/\">look</a>. \
                 <a href=\"{{ unsubscribe_url }}\">Unsubscribe</a></p>",
    });
    let template = api.post("/v1/templates", template).await;
    let campaign = json!({
        "name": "Harness",
        "segment_id": segment["id"],
        "template_id": template["id"],
        "sender": {"name": "Shop", "address": "shop@shop.example"},
        "class": class.name(),
    });
    let campaign = api.post("/v1/campaigns", campaign).await;
    let path = format!("/v1/campaigns/{}", campaign["id"].as_str().expect("the campaign's id"));
    api.post(&format!("{path}/launch"), json!({})).await;
    Campaign { path, class, audience }
}

/// What a run has put a campaign through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Strikes {
    /// How many messages may be uncertain: each kill and each freeze leaves at most as many as
    /// connections were open.
    pub uncertain_max: u64,
}

/// What came out, for the run's last line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub sent: u64,
    pub uncertain: u64,
    pub repeats: u64,
    pub marked: u64,
}

/// Everything about a finished campaign that is not as it must be, one line each.
pub async fn violations(
    world: &World,
    campaign: &Campaign,
    strikes: Strikes,
) -> (Vec<String>, Figures) {
    let api = world.api();
    let shown = api.get(&campaign.path).await;
    let deliveries = api.all(&format!("{}/deliveries", campaign.path)).await;
    let arrived = world.sink.arrived();
    let mut check = Check { campaign, deliveries: &deliveries, arrived: &arrived, found: vec![] };
    check.counts_add_up(&shown);
    check.audience_is_whole();
    check.states_agree_with_the_sink();
    match campaign.class {
        Class::Marketing => check.nobody_got_it_twice(),
        Class::Transactional => check.nobody_was_lost(),
    }
    let marked = |state: &str| {
        deliveries.iter().filter(|one| one["state"] == state && is_marked(one)).count() as u64
    };
    let figures = Figures {
        sent: check.in_state("sent"),
        uncertain: check.in_state("uncertain"),
        repeats: repeats(&arrived),
        marked: marked("sent"),
    };
    let hidden = figures.uncertain.max(figures.marked).max(figures.repeats);
    if hidden > strikes.uncertain_max {
        check.found.push(format!(
            "{hidden} messages were in doubt, where at most {} can have been on their way",
            strikes.uncertain_max
        ));
    }
    (check.found, figures)
}

/// Whether a delivery says that its message was sent again.
fn is_marked(delivery: &Value) -> bool {
    delivery["reason"].as_str().is_some_and(|reason| reason.starts_with("resent"))
}

struct Check<'a> {
    campaign: &'a Campaign,
    deliveries: &'a [Value],
    arrived: &'a [Arrived],
    found: Vec<String>,
}

impl Check<'_> {
    fn in_state(&self, state: &str) -> u64 {
        self.deliveries.iter().filter(|one| one["state"] == state).count() as u64
    }

    fn counts_add_up(&mut self, shown: &Value) {
        if shown["state"] != "done" {
            self.found.push(format!("the campaign is {}", shown["state"]));
        }
        let counts = &shown["counts"];
        let mut sum = 0;
        for state in
            ["due", "in_flight", "sent", "failed", "bounced", "skipped", "uncertain", "cancelled"]
        {
            let count = counts[state].as_u64().unwrap_or_default();
            sum += count;
            if count != self.in_state(state) {
                let listed = self.in_state(state);
                self.found.push(format!("{count} counted as {state}, {listed} listed"));
            }
        }
        let audience = self.campaign.audience.len() as u64;
        if sum != audience || counts["audience"] != audience {
            self.found.push(format!("the states add up to {sum}, the audience is {audience}"));
        }
        for state in ["due", "in_flight", "failed", "bounced", "cancelled"] {
            if self.in_state(state) > 0 {
                self.found.push(format!("{} are still {state}", self.in_state(state)));
            }
        }
    }

    /// Everybody has one delivery, and those who must get nothing were skipped for their reason.
    fn audience_is_whole(&mut self) {
        let mut seen = HashSet::new();
        let mut wrong: BTreeMap<String, u64> = BTreeMap::new();
        for one in self.deliveries {
            let id = one["customer"]["external_id"].as_str().unwrap_or_default();
            if !seen.insert(id) {
                *wrong.entry(format!("{id} has two deliveries")).or_default() += 1;
            }
            let Some((_, reason)) = self.campaign.audience.get(id) else {
                *wrong.entry(format!("{id} is not in the audience")).or_default() += 1;
                continue;
            };
            let skipped = (one["state"] == "skipped").then(|| one["reason"].as_str()).flatten();
            if skipped != *reason {
                let text = format!("skipped for {skipped:?} where {reason:?} holds");
                *wrong.entry(text).or_default() += 1;
            }
        }
        if seen.len() != self.campaign.audience.len() {
            let missing = self.campaign.audience.len() - seen.len();
            self.found.push(format!("{missing} of the audience have no delivery"));
        }
        self.found.extend(wrong.into_iter().map(|(text, count)| format!("{text} ({count} times)")));
    }

    /// What is sent arrived; what arrived is sent or uncertain, under the delivery's own id.
    fn states_agree_with_the_sink(&mut self) {
        let arrived = by_address(self.arrived);
        let mut states: HashMap<&str, &Value> = HashMap::new();
        for one in self.deliveries {
            let Some(address) = one["customer"]["email"].as_str() else { continue };
            states.insert(address, one);
            if one["state"] == "sent" && !arrived.contains_key(address) {
                self.found.push(format!("{address} is sent, but never arrived"));
            }
        }
        for (address, mails) in arrived {
            let Some(one) = states.get(address) else {
                self.found.push(format!("{address} got a mail without a delivery"));
                continue;
            };
            if one["state"] != "sent" && one["state"] != "uncertain" {
                self.found.push(format!("{address} got a mail, but is {}", one["state"]));
            }
            let ids = ["id", "message_id"].map(|name| one[name].as_str().unwrap_or_default());
            for mail in mails {
                if [mail.delivery.as_str(), mail.message_id.as_str()] != ids {
                    self.found.push(format!("{address} got {mail:?}, the delivery is {one}"));
                }
            }
        }
    }

    fn nobody_got_it_twice(&mut self) {
        for (address, mails) in by_address(self.arrived) {
            if mails.len() > 1 {
                self.found.push(format!("{address} got {} mails", mails.len()));
            }
        }
    }

    fn nobody_was_lost(&mut self) {
        let arrived = by_address(self.arrived);
        let marked: HashSet<&str> = self
            .deliveries
            .iter()
            .filter(|one| is_marked(one))
            .filter_map(|one| one["customer"]["email"].as_str())
            .collect();
        for (address, reason) in self.campaign.audience.values() {
            let Some(address) = address.as_deref().filter(|_| reason.is_none()) else { continue };
            match arrived.get(address).map_or(0, Vec::len) {
                0 => self.found.push(format!("{address} never got it")),
                1 => {}
                _ if marked.contains(address) => {}
                more => self.found.push(format!("{address} got {more} mails without a mark")),
            }
        }
        if self.in_state("uncertain") > 0 {
            self.found.push(format!("{} are held as uncertain", self.in_state("uncertain")));
        }
    }
}
