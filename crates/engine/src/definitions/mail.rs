//! Relays, sender domains and limits out of their files; what of them is secret stands in none.

use tidings_store::definitions::{Item, Relay, Sender};
use tidings_store::senders::RecipientLimit;

use super::bodies::{LimitsBody, RelayBody, SenderDomainBody, Wrong, body};
use super::entry::Entry;
use super::plan::Sides;
use super::target::{faults, wrong};
use crate::relays::{self, RelayInput};
use crate::{Error, senders};

pub fn relay(entry: &Entry) -> Result<Relay, Vec<Wrong>> {
    let read: RelayBody = body(&entry.fields).map_err(|one| vec![one])?;
    let input = RelayInput {
        name: entry.name.clone(),
        url: read.url,
        username: read.username,
        password: None,
        per_second: read.per_second,
        open_max: read.open_max,
        weight: read.weight,
        enabled: read.enabled,
    };
    let (url, in_url, found) = relays::checked_shape(&input);
    if !found.is_empty() {
        return Err(faults(Error::Invalid(found)));
    }
    if in_url.is_some() {
        return Err(wrong(
            "url",
            "a name and password stand in no file; give them in the settings",
        ));
    }
    Ok(Relay {
        name: input.name,
        url,
        username: input.username,
        per_second: input.per_second,
        open_max: input.open_max,
        weight: input.weight,
        enabled: input.enabled,
        has_secret: false,
    })
}

pub fn sender(entry: &Entry, relays: &[Item<Relay>]) -> Result<Sender, Vec<Wrong>> {
    let read: SenderDomainBody = body(&entry.fields).map_err(|one| vec![one])?;
    let domain = senders::checked_domain("name", &entry.name).map_err(faults)?;
    if domain != entry.name {
        return Err(wrong(
            "name",
            format!("a domain is written in ASCII and lower case: {domain}"),
        ));
    }
    let relay = match &read.relay {
        None => None,
        Some(name) => {
            let found = relays.iter().find(|one| one.value.name == *name);
            Some(found.ok_or_else(|| wrong("relay", format!("no relay is named {name}")))?.id)
        }
    };
    let tracking_url = read.tracking_url.map(|url| senders::checked_tracking_url(&url));
    let tracking_url = tracking_url.transpose().map_err(faults)?;
    Ok(Sender { domain, relay, tracking_url, keys: read.dkim })
}

pub fn limits(entry: &Entry) -> Result<Vec<RecipientLimit>, Vec<Wrong>> {
    let read: LimitsBody = body(&entry.fields).map_err(|one| vec![one])?;
    let limits = read.limits.into_iter();
    let limits =
        limits.map(|one| RecipientLimit { domain: one.domain, open_max: one.open_max }).collect();
    let mut limits = senders::checked_limits(limits).map_err(faults)?;
    limits.sort_by(|a, b| a.domain.cmp(&b.domain));
    Ok(limits)
}

/// The secrets that files name and the workspace does not have.
pub(super) fn missing_secrets(sides: &Sides) -> Vec<String> {
    let mut missing = Vec::new();
    for relay in &sides.target.definitions.relays {
        if relay.value.username.is_some() && !relay.value.has_secret {
            missing.push(format!("the password of the relay {}", relay.value.name));
        }
    }
    for sender in &sides.target.definitions.senders {
        let known = sides.now.senders.iter().find(|one| one.domain == sender.domain);
        for key in &sender.keys {
            if !known.is_some_and(|known| known.keys.contains(key)) {
                missing.push(format!("the DKIM key {key} of {}", sender.domain));
            }
        }
    }
    missing
}
