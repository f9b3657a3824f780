//! Relays, sender domains and limits: read without their secrets, and changed around them.

use tidings_domain::{RelayId, Timestamp};

use super::schema::parked;
use super::{Definitions, Edit, Edits, Item, Relay, Sender};
use crate::engines::Tx;
use crate::relays::{self, RelaySettings};
use crate::sql::Sql;
use crate::{Error, Result, senders};

static PARK: Sql = Sql::reference("park_relay", "update {s}relays set name = ?2 where number = ?1");

pub(super) static SQL: &[&Sql] = &[&PARK];

pub(super) async fn read(tx: &mut Tx, found: &mut Definitions) -> Result<()> {
    let setup = senders::setup(tx).await?;
    for domain in setup.domains {
        let relay = setup.relays.iter().find(|relay| Some(relay.number) == domain.relay);
        let keys = setup.keys.iter().filter(|key| key.active && key.domain == domain.domain);
        found.senders.push(Sender {
            relay: relay.map(|relay| relay.id.0),
            tracking_url: domain.tracking_url,
            keys: keys.map(|key| key.selector.clone()).collect(),
            domain: domain.domain,
        });
    }
    for relay in setup.relays {
        let settings = relay.settings;
        let value = Relay {
            name: settings.name,
            url: settings.url,
            username: settings.username,
            per_second: settings.per_second,
            open_max: settings.open_max,
            weight: settings.weight,
            enabled: settings.enabled,
            has_secret: settings.secret.is_some(),
        };
        found.relays.push(Item { id: relay.id.0, number: relay.number, value });
    }
    found.limits = setup.limits;
    Ok(())
}

fn settings(relay: &Relay, secret: Option<Vec<u8>>) -> RelaySettings {
    RelaySettings {
        name: relay.name.clone(),
        url: relay.url.clone(),
        username: relay.username.clone(),
        secret,
        per_second: relay.per_second,
        open_max: relay.open_max,
        weight: relay.weight,
        enabled: relay.enabled,
    }
}

pub(super) async fn apply(tx: &mut Tx, edits: &Edits, at: Timestamp) -> Result<()> {
    let before = relays::all(tx).await?;
    for edit in &edits.relays {
        if let Edit::Change { number, .. } | Edit::Drop { number, .. } = edit {
            tx.execute(&PARK, crate::params![*number, parked(*number)]).await?;
        }
    }
    for edit in &edits.relays {
        match edit {
            Edit::Add { id, number, value } => {
                relays::add(tx, RelayId(*id), *number, &settings(value, None), at).await?;
            }
            Edit::Change { id, value, .. } => {
                let old = before.iter().find(|one| one.id.0 == *id);
                // Another user has another password.
                let kept = old.filter(|old| old.settings.username == value.username);
                let secret = kept.and_then(|old| old.settings.secret.clone());
                relays::put(tx, RelayId(*id), &settings(value, secret), at).await?;
            }
            Edit::Drop { id, .. } => {
                relays::remove(tx, RelayId(*id)).await?;
            }
        }
    }
    for domain in &edits.dropped_senders {
        senders::remove(tx, domain).await?;
    }
    if !edits.senders.is_empty() {
        let now = relays::all(tx).await?;
        for sender in &edits.senders {
            let number = match sender.relay {
                None => None,
                Some(id) => {
                    let gone = || Error::Conflict("a relay is not there any more".to_owned());
                    Some(now.iter().find(|one| one.id.0 == id).ok_or_else(gone)?.number)
                }
            };
            let tracking_url = sender.tracking_url.as_deref();
            senders::put(tx, &sender.domain, number, tracking_url, at).await?;
        }
    }
    match &edits.limits {
        Some(limits) => senders::replace_limits(tx, limits).await,
        None => Ok(()),
    }
}
