//! How mail leaves: over which relay, at which pace, signed by whom.
//!
//! A workspace's relays, sender domains, keys and limits are a few rows. [`desk`] reads them and
//! keeps what stands behind them on this node: connections, paces, keys that are opened. What did not
//! change is kept over a reading, so that a change of one relay disturbs no other.

mod pace;
mod routes;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidings_channels::email::dkim::{Algorithm, Key, Signer};
use tidings_channels::email::{Envelope, Limits, Outcome, Pool, Relay, ascii_domain};
use tidings_store::relays::Relay as StoredRelay;
use tidings_store::senders::{DkimKey, MailSetup, RecipientLimit};
use tokio::sync::Semaphore;

pub(crate) use routes::{NoLease, Route, Routes};

use crate::{Ctx, Error, Result};

/// What people are told who have no relay.
pub(crate) const NO_RELAY: &str =
    "no mail relay is set; add one in the settings, or start the hub with --smtp-url";
/// Turns at receivers' domains that are kept although nobody is in line.
const MOST_TURNS: usize = 10_000;

/// How a workspace's mail leaves, as this node knows it.
pub struct Desk {
    setup: MailSetup,
    /// The workspace's own relays that are switched on.
    routes: Vec<Arc<Route>>,
    signers: HashMap<String, Arc<Signer>>,
    /// Turns at receivers' domains, by domain, with the limit each was made for.
    turns: Mutex<HashMap<String, (i32, Arc<Semaphore>)>>,
}

/// How the mail of one sender leaves.
pub(crate) struct Way {
    pub routes: Routes,
    pub signer: Option<Arc<Signer>>,
    desk: Arc<Desk>,
}

impl Way {
    /// Whether any receiver's domain is limited.
    pub(crate) fn has_limits(&self) -> bool {
        !self.desk.setup.limits.is_empty()
    }

    /// The turns at a receiver's domain, where it is limited.
    pub(crate) fn turns_at(&self, domain: &str) -> Option<Arc<Semaphore>> {
        self.desk.turns_at(domain)
    }

    /// Whether nothing was changed between the two.
    pub(crate) fn is_of_same_desk(&self, other: &Way) -> bool {
        Arc::ptr_eq(&self.desk, &other.desk)
    }
}

/// The domain of an address, in ASCII and lower case; `None` where it has no such form.
pub(crate) fn domain_of(address: &str) -> Option<String> {
    let (_, domain) = address.rsplit_once('@')?;
    ascii_domain(domain).map(std::borrow::Cow::into_owned)
}

/// What the secret of a relay is sealed for.
pub(crate) const RELAY_SECRET: &str = "relay password";

/// What the private half of a key is sealed for.
pub(crate) fn key_secret(domain: &str, selector: &str) -> String {
    format!("dkim {domain} {selector}")
}

/// How mail leaves now. Costs a small read.
pub(crate) async fn desk(ctx: &Ctx) -> Result<Arc<Desk>> {
    let setup = ctx.workspace.mail_setup().await?;
    let id = ctx.workspace.row.id;
    let known = ctx.hub.desks.lock().get(&id).cloned();
    if let Some(known) = &known
        && known.setup == setup
    {
        return Ok(known.clone());
    }
    let made = Arc::new(Desk::new(ctx, setup, known.as_deref()));
    let mut desks = ctx.hub.desks.lock();
    // Another task may have made one from the same reading; its connections are then the ones in use.
    if let Some(other) = desks.get(&id)
        && other.setup == made.setup
    {
        return Ok(other.clone());
    }
    desks.insert(id, made.clone());
    drop(desks);
    if let Some(known) = known {
        known.retire_all_but(&made);
    }
    Ok(made)
}

/// How the mail of this sender leaves; `None` where there is no relay.
pub(crate) async fn way(ctx: &Ctx, sender: &str) -> Result<Option<Way>> {
    let desk = desk(ctx).await?;
    let domain = domain_of(sender).unwrap_or_default();
    let Some(routes) = desk.routes_for(ctx, &domain)? else { return Ok(None) };
    let signer = desk.signers.get(&domain).cloned();
    Ok(Some(Way { routes, signer, desk }))
}

/// Whether there is a relay for this sender's mail.
pub(crate) async fn has_way(ctx: &Ctx, sender: &str) -> Result<bool> {
    Ok(way(ctx, sender).await?.is_some())
}

/// Whether there is a relay for any mail of this workspace.
pub async fn is_ready(ctx: &Ctx) -> Result<bool> {
    has_way(ctx, "").await
}

/// Whether this sender's mail is signed.
pub(crate) async fn is_signed(ctx: &Ctx, sender: &str) -> Result<bool> {
    let domain = domain_of(sender).unwrap_or_default();
    Ok(desk(ctx).await?.signers.contains_key(&domain))
}

/// Where links of this sender's mail point to: the domain's own address, else the hub's.
pub(crate) async fn tracking_url(ctx: &Ctx, sender: &str) -> Result<String> {
    let domain = domain_of(sender).unwrap_or_default();
    let desk = desk(ctx).await?;
    let own = desk.setup.domains.iter().find(|one| one.domain == domain);
    let own = own.and_then(|one| one.tracking_url.clone());
    Ok(own.unwrap_or_else(|| ctx.hub.settings.public_url.clone()))
}

/// Hands one mail over now, signed, outside of any campaign; gives whether it was taken and what the
/// relay said.
pub async fn send_now(
    ctx: &Ctx,
    sender: &str,
    recipient: &str,
    mail: Vec<u8>,
) -> Result<(bool, String)> {
    let Some(way) = way(ctx, sender).await? else {
        return Err(Error::Conflict(NO_RELAY.to_owned()));
    };
    let mail = sign(way.signer.as_ref(), mail, ctx.now().0 / 1_000_000).await?;
    let wire = |path: &str, address: &str| {
        let wire = tidings_channels::email::wire_address(address).map(|text| text.into_owned());
        wire.ok_or_else(|| Error::invalid(path, "its domain has no ASCII form"))
    };
    let (return_path, recipient) = (wire("sender.address", sender)?, wire("to", recipient)?);
    let (_, mut lease) = way.routes.lease().await.map_err(|error| match error {
        NoLease::AllDown(reason) => Error::Conflict(format!("the relay: {reason}")),
        NoLease::Moved => Error::Unavailable("the relay was changed just now".to_owned()),
    })?;
    let envelope = Envelope { return_path: &return_path, recipient: &recipient };
    Ok(match lease.send(&envelope, &mail).await {
        Outcome::Sent { reply, .. } => (true, reply),
        Outcome::Refused(refusal) => (false, refusal.reply),
        Outcome::Failed { reason, .. } | Outcome::Unknown { reason } => (false, reason),
    })
}

/// A mail with its signatures, or as it is without a signer. What takes long is done on a thread of
/// its own, so that it holds no other work up.
pub(crate) async fn sign(
    signer: Option<&Arc<Signer>>,
    mail: Vec<u8>,
    at_s: i64,
) -> Result<Vec<u8>> {
    let Some(signer) = signer else { return Ok(mail) };
    let signed = if signer.is_slow() {
        let signer = signer.clone();
        tokio::task::spawn_blocking(move || signer.sign(&mail, at_s))
            .await
            .map_err(|error| Error::Internal(format!("sign a mail: {error}")))?
    } else {
        signer.sign(&mail, at_s)
    };
    signed.map_err(|error| Error::Internal(format!("sign a mail: {error}")))
}

impl Desk {
    fn new(ctx: &Ctx, setup: MailSetup, before: Option<&Desk>) -> Desk {
        let routes = setup
            .relays
            .iter()
            .filter(|relay| relay.settings.enabled)
            .filter_map(|relay| {
                let kept = before.and_then(|desk| {
                    let same = desk.setup.relays.contains(relay);
                    desk.route(relay).filter(|_| same)
                });
                kept.or_else(|| {
                    open_route(ctx, relay)
                        .inspect_err(|error| {
                            tracing::error!(%error, relay = relay.number, "set up a relay");
                        })
                        .ok()
                })
            })
            .collect();
        let signers = match before {
            Some(before) if before.setup.keys == setup.keys => before.signers.clone(),
            _ => signers(ctx, &setup.keys),
        };
        let turns = before.map(|desk| desk.turns.lock().clone()).unwrap_or_default();
        let desk = Desk { setup, routes, signers, turns: Mutex::default() };
        let kept =
            turns.into_iter().filter(|(domain, (limit, _))| desk.limit(domain) == Some(*limit));
        desk.turns.lock().extend(kept);
        desk
    }

    /// The relay's route, where it is switched on.
    pub(crate) fn route(&self, relay: &StoredRelay) -> Option<Arc<Route>> {
        self.routes.iter().find(|route| route.relay == Some(relay.id)).cloned()
    }

    pub(crate) fn setup(&self) -> &MailSetup {
        &self.setup
    }

    /// The relay that the domain is assigned to; else all that have a share; else the hub's.
    fn routes_for(&self, ctx: &Ctx, domain: &str) -> Result<Option<Routes>> {
        let number = self.setup.domains.iter().find(|one| one.domain == domain);
        let number = number.and_then(|one| one.relay);
        let on = |relay: &&StoredRelay| relay.settings.enabled;
        let assigned =
            self.setup.relays.iter().filter(on).find(|relay| Some(relay.number) == number);
        if let Some(relay) = assigned {
            return Ok(Some(Routes::new(self.route(relay).into_iter().collect())));
        }
        let shares = |relay: &&StoredRelay| relay.settings.weight > 0;
        let shared: Vec<&StoredRelay> =
            self.setup.relays.iter().filter(on).filter(shares).collect();
        if !shared.is_empty() {
            // One that cannot be opened is as one that is down: its mail goes by no other's name.
            let routes = shared.into_iter().filter_map(|relay| self.route(relay)).collect();
            return Ok(Some(Routes::new(routes)));
        }
        Ok(ctx.hub.own_route()?.map(|route| Routes::new(vec![route])))
    }

    fn limit(&self, domain: &str) -> Option<i32> {
        let of = |name: &str| -> Option<&RecipientLimit> {
            self.setup.limits.iter().find(|limit| limit.domain == name)
        };
        of(domain).or_else(|| of("*")).map(|limit| limit.open_max)
    }

    fn turns_at(&self, domain: &str) -> Option<Arc<Semaphore>> {
        let limit = self.limit(domain)?;
        let permits = usize::try_from(limit).unwrap_or(1).max(1);
        let mut turns = self.turns.lock();
        if turns.len() >= MOST_TURNS && !turns.contains_key(domain) {
            turns.retain(|_, (_, turns)| Arc::strong_count(turns) > 1);
        }
        let (_, found) = turns
            .entry(domain.to_owned())
            .or_insert_with(|| (limit, Arc::new(Semaphore::new(permits))));
        Some(found.clone())
    }

    /// Closes the connections of relays that another desk does not know.
    fn retire_all_but(&self, next: &Desk) {
        for route in &self.routes {
            if !next.routes.iter().any(|kept| Arc::ptr_eq(kept, route)) {
                route.retire();
            }
        }
    }
}

fn open_route(ctx: &Ctx, relay: &StoredRelay) -> Result<Arc<Route>> {
    let settings = &relay.settings;
    let pool = Pool::new(opened(ctx, relay)?, Limits::default())
        .map_err(|error| Error::invalid("url", error.to_string()))?;
    let weight = u32::try_from(settings.weight).unwrap_or_default();
    let per_second = settings.per_second.and_then(|count| u32::try_from(count).ok());
    Ok(Arc::new(Route::new(Some(relay.id), pool, weight, per_second)))
}

/// A relay with its password.
pub(crate) fn opened(ctx: &Ctx, relay: &StoredRelay) -> Result<Relay> {
    let settings = &relay.settings;
    let open_max = usize::try_from(settings.open_max).unwrap_or(1);
    let mut opened = Relay::parse(&settings.url, open_max)
        .map_err(|error| Error::invalid("url", error.to_string()))?;
    opened.max_connections = open_max.max(1);
    if settings.username.is_some() && settings.secret.is_none() {
        return Err(Error::Conflict("its password is missing".to_owned()));
    }
    if let (Some(name), Some(secret)) = (&settings.username, &settings.secret) {
        let password = ctx.hub.sealer.open(ctx.workspace.row.id.0, RELAY_SECRET, secret)?;
        let password = String::from_utf8(password)
            .map_err(|_| Error::Internal("the password of a relay is no text".to_owned()))?;
        opened = opened.signed_in(name.clone(), password);
    }
    Ok(opened)
}

/// The signer of each domain that has keys which sign.
fn signers(ctx: &Ctx, keys: &[DkimKey]) -> HashMap<String, Arc<Signer>> {
    let mut by_domain: HashMap<String, Vec<Key>> = HashMap::new();
    for key in keys.iter().filter(|key| key.active) {
        match open_key(ctx, key) {
            Ok(opened) => by_domain.entry(key.domain.clone()).or_default().push(opened),
            // The others sign; a mail is better sent with one signature than not at all.
            Err(error) => {
                let (domain, selector) = (&key.domain, &key.selector);
                tracing::error!(%error, domain, selector, "open a DKIM key");
            }
        }
    }
    by_domain
        .into_iter()
        .filter_map(|(domain, keys)| Some((domain, Arc::new(Signer::new(keys)?))))
        .collect()
}

fn open_key(ctx: &Ctx, key: &DkimKey) -> Result<Key> {
    let purpose = key_secret(&key.domain, &key.selector);
    let private = ctx.hub.sealer.open(ctx.workspace.row.id.0, &purpose, &key.secret)?;
    let unknown = || Error::Internal(format!("{} is no algorithm of DKIM", key.algorithm));
    let algorithm = Algorithm::parse(&key.algorithm).ok_or_else(unknown)?;
    Key::read(&key.domain, &key.selector, algorithm, &private)
        .map_err(|error| Error::Internal(error.to_string()))
}
