//! Sender domains: the relay that their mail takes, the address that its links point to, and the keys
//! that sign it. And limits by the receiver's domain.

pub use tidings_channels::email::dkim::Algorithm;
use tidings_channels::email::dkim::{NewKey, record};
use tidings_domain::{RelayId, Timestamp, checked};
pub use tidings_store::senders::RecipientLimit;
use tidings_store::senders::{DkimKey, MailSetup};

use crate::mail::{self, key_secret};
use crate::{Ctx, Error, Fault, Result};

/// Keys of one domain at most.
const MOST_KEYS: usize = 8;
/// Sender domains and limits of a workspace at most.
pub(crate) const MOST: usize = 1_000;
/// A string of a TXT record holds so many bytes; longer values are several strings.
const TXT_BYTES: usize = 255;

/// A domain that mail is sent from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderDomain {
    /// In ASCII and lower case.
    pub domain: String,
    pub relay: Option<RelayId>,
    pub tracking_url: Option<String>,
    pub keys: Vec<Key>,
    pub created_at: Timestamp,
}

/// A DKIM key as it may be shown: its public half, as a DNS record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub selector: String,
    pub algorithm: Algorithm,
    pub active: bool,
    pub created_at: Timestamp,
    /// The name of the TXT record.
    pub record_name: String,
    /// Its value, as one text.
    pub record_value: String,
}

impl Key {
    /// The record as a line of a zone file, cut into strings of at most 255 bytes.
    pub fn zone_line(&self) -> String {
        let mut strings = Vec::new();
        let mut rest = self.record_value.as_str();
        while !rest.is_empty() {
            let (string, tail) = rest.split_at(rest.len().min(TXT_BYTES));
            strings.push(format!("\"{string}\""));
            rest = tail;
        }
        format!("{}. IN TXT ( {} )", self.record_name, strings.join(" "))
    }
}

/// What a user decides about a new key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInput {
    pub algorithm: Algorithm,
    /// Made from the algorithm and the date unless given.
    pub selector: Option<String>,
    /// Whether it signs from now on, or first when it is switched on.
    pub active: bool,
}

/// The workspace's sender domains by name.
pub async fn list(ctx: &Ctx) -> Result<Vec<SenderDomain>> {
    let setup = ctx.workspace.mail_setup().await?;
    let domains = setup.domains.iter();
    domains.map(|stored| shown(&setup, stored)).collect()
}

/// One sender domain.
pub async fn get(ctx: &Ctx, domain: &str) -> Result<SenderDomain> {
    let domain = checked_domain("domain", domain)?;
    let found = list(ctx).await?.into_iter().find(|one| one.domain == domain);
    found.ok_or_else(|| Error::NotFound(format!("sender domain {domain}")))
}

fn shown(setup: &MailSetup, stored: &tidings_store::senders::SenderDomain) -> Result<SenderDomain> {
    let relay = setup.relays.iter().find(|relay| Some(relay.number) == stored.relay);
    let keys = setup.keys.iter().filter(|key| key.domain == stored.domain);
    Ok(SenderDomain {
        domain: stored.domain.clone(),
        relay: relay.map(|relay| relay.id),
        tracking_url: stored.tracking_url.clone(),
        keys: keys.map(shown_key).collect::<Result<_>>()?,
        created_at: stored.created_at,
    })
}

fn shown_key(stored: &DkimKey) -> Result<Key> {
    let unknown = || Error::Internal(format!("{} is no algorithm of DKIM", stored.algorithm));
    let algorithm = Algorithm::parse(&stored.algorithm).ok_or_else(unknown)?;
    Ok(Key {
        selector: stored.selector.clone(),
        algorithm,
        active: stored.active,
        created_at: stored.created_at,
        record_name: format!("{}._domainkey.{}", stored.selector, stored.domain),
        record_value: record(algorithm, &stored.public),
    })
}

/// Sets a sender domain's relay and tracking address; without them its mail goes by the shares of
/// the relays, and its links point to the hub.
pub async fn put(
    ctx: &Ctx,
    domain: &str,
    relay: Option<RelayId>,
    tracking_url: Option<String>,
) -> Result<SenderDomain> {
    let domain = checked_domain("domain", domain)?;
    let tracking_url = tracking_url.map(|url| checked_tracking_url(&url)).transpose()?;
    let setup = ctx.workspace.mail_setup().await?;
    let number = match relay {
        Some(id) => {
            let found = setup.relays.iter().find(|relay| relay.id == id);
            let unknown = || Error::invalid("relay_id", format!("there is no relay {id}"));
            Some(found.ok_or_else(unknown)?.number)
        }
        None => None,
    };
    room_for(&setup, &domain)?;
    ctx.workspace.put_sender_domain(&domain, number, tracking_url, ctx.now()).await?;
    get(ctx, &domain).await
}

fn room_for(setup: &MailSetup, domain: &str) -> Result<()> {
    let known = setup.domains.iter().any(|one| one.domain == domain);
    if !known && setup.domains.len() >= MOST {
        return Err(Error::Conflict(format!("a workspace has at most {MOST} sender domains")));
    }
    Ok(())
}

/// Drops a sender domain with its keys; mail from it goes unsigned and by the shares of the relays.
pub async fn drop(ctx: &Ctx, domain: &str) -> Result<()> {
    let domain = checked_domain("domain", domain)?;
    match ctx.workspace.drop_sender_domain(&domain).await? {
        true => Ok(()),
        false => Err(Error::NotFound(format!("sender domain {domain}"))),
    }
}

/// Makes a key for a sender domain; its private half is kept sealed and never shown.
pub async fn create_key(ctx: &Ctx, domain: &str, input: KeyInput) -> Result<Key> {
    let domain = checked_domain("domain", domain)?;
    let setup = ctx.workspace.mail_setup().await?;
    room_for(&setup, &domain)?;
    let taken: Vec<&str> = setup
        .keys
        .iter()
        .filter(|key| key.domain == domain)
        .map(|key| key.selector.as_str())
        .collect();
    if taken.len() >= MOST_KEYS && !ctx.workspace.is_done_already().await? {
        return Err(Error::Conflict(format!(
            "{domain} has {MOST_KEYS} keys; drop an old one first"
        )));
    }
    let selector = match input.selector {
        Some(selector) => checked_selector(selector)?,
        None => free_selector(input.algorithm, ctx.now(), &taken),
    };
    let algorithm = input.algorithm;
    let made = tokio::task::spawn_blocking(move || NewKey::generate(algorithm))
        .await
        .map_err(|error| Error::Internal(format!("make a key: {error}")))?
        .map_err(|error| Error::Internal(error.to_string()))?;
    let secret = ctx.hub.sealer.seal(
        ctx.workspace.row.id.0,
        &key_secret(&domain, &selector),
        &made.private,
    )?;
    let key = DkimKey {
        domain: domain.clone(),
        selector: selector.clone(),
        algorithm: algorithm.name().to_owned(),
        public: made.public,
        secret,
        active: input.active,
        created_at: ctx.now(),
    };
    // Where this call came twice, the first one's key stays.
    let selector = ctx.workspace.add_dkim_key(key).await?;
    let kept = get(ctx, &domain).await?.keys.into_iter().find(|key| key.selector == selector);
    kept.ok_or_else(|| Error::NotFound(format!("key {selector} of {domain}")))
}

/// Lets a key sign, or not.
pub async fn switch_key(ctx: &Ctx, domain: &str, selector: &str, active: bool) -> Result<Key> {
    let domain = checked_domain("domain", domain)?;
    let missing = || Error::NotFound(format!("key {selector} of {domain}"));
    if !is_selector(selector) || !ctx.workspace.switch_dkim_key(&domain, selector, active).await? {
        return Err(missing());
    }
    let kept = get(ctx, &domain).await?.keys.into_iter().find(|key| key.selector == selector);
    kept.ok_or_else(missing)
}

/// Drops a key. Mail that it signed may still be on its way: its record should stay for some days.
pub async fn drop_key(ctx: &Ctx, domain: &str, selector: &str) -> Result<()> {
    let domain = checked_domain("domain", domain)?;
    if is_selector(selector) && ctx.workspace.drop_dkim_key(&domain, selector).await? {
        return Ok(());
    }
    Err(Error::NotFound(format!("key {selector} of {domain}")))
}

/// How many messages may be on their way to the addresses of a domain at once.
pub async fn limits(ctx: &Ctx) -> Result<Vec<RecipientLimit>> {
    Ok(ctx.workspace.mail_setup().await?.limits)
}

/// Puts these limits in the place of all others; `*` is for every domain without its own.
pub async fn put_limits(ctx: &Ctx, limits: Vec<RecipientLimit>) -> Result<Vec<RecipientLimit>> {
    ctx.workspace.put_recipient_limits(checked_limits(limits)?).await?;
    self::limits(ctx).await
}

/// Limits in their one spelling, or every one that is wrong.
pub(crate) fn checked_limits(limits: Vec<RecipientLimit>) -> Result<Vec<RecipientLimit>> {
    let mut checked: Vec<RecipientLimit> = Vec::with_capacity(limits.len());
    let mut faults = Vec::new();
    if limits.len() > MOST {
        return Err(Error::invalid("items", format!("expected at most {MOST} limits")));
    }
    for (at, limit) in limits.into_iter().enumerate() {
        let path = |field: &str| format!("items[{at}].{field}");
        let domain = match limit.domain.as_str() {
            "*" => Ok(limit.domain),
            domain => checked_domain(&path("domain"), domain),
        };
        match domain {
            Ok(domain) if checked.iter().any(|other| other.domain == domain) => {
                let message = format!("{domain} is named twice");
                faults.push(Fault::new(path("domain"), "invalid", message));
            }
            Ok(domain) => checked.push(RecipientLimit { domain, open_max: limit.open_max }),
            Err(Error::Invalid(found)) => faults.extend(found),
            Err(other) => return Err(other),
        }
        if !(1..=1_000).contains(&limit.open_max) {
            faults.push(Fault::new(path("open_max"), "invalid", "expected 1 to 1000"));
        }
    }
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    Ok(checked)
}

/// A domain in ASCII and lower case.
pub(crate) fn checked_domain(path: &str, text: &str) -> Result<String> {
    let fault = || Error::invalid(path, "expected a domain such as shop.example");
    let address = checked::email(&format!("x@{}", text.trim())).map_err(|_| fault())?;
    mail::domain_of(&address).ok_or_else(fault)
}

/// `http(s)://host[:port]`, without a slash at the end.
pub(crate) fn checked_tracking_url(text: &str) -> Result<String> {
    let fault =
        || Error::invalid("tracking_url", "expected a URL such as https://news.shop.example");
    let (scheme, place) = text.trim().trim_end_matches('/').split_once("://").ok_or_else(fault)?;
    let scheme = scheme.to_ascii_lowercase();
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse::<u16>().map_err(|_| fault())?)),
        None => (place, None),
    };
    let host = match host.parse::<std::net::Ipv4Addr>() {
        Ok(address) => address.to_string(),
        Err(_) if host == "localhost" => host.to_owned(),
        Err(_) => checked_domain("tracking_url", host).map_err(|_| fault())?,
    };
    match (scheme.as_str(), port) {
        ("http" | "https", Some(port)) => Ok(format!("{scheme}://{host}:{port}")),
        ("http" | "https", None) => Ok(format!("{scheme}://{host}")),
        _ => Err(fault()),
    }
}

fn is_selector(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends_well = !text.starts_with('-') && !text.ends_with('-');
    (1..=63).contains(&text.len()) && text.bytes().all(plain) && ends_well
}

fn checked_selector(text: String) -> Result<String> {
    match is_selector(&text) {
        true => Ok(text),
        false => {
            Err(Error::invalid("selector", "expected at most 63 of a-z, 0-9 and -, such as news-1"))
        }
    }
}

/// Such as `rsa-20261123`, with a number behind it where that is taken.
fn free_selector(algorithm: Algorithm, now: Timestamp, taken: &[&str]) -> String {
    let day = now.to_string().get(..10).unwrap_or_default().replace('-', "");
    let first = format!("{}-{day}", algorithm.name());
    let further = (2..).map(|number| format!("{first}-{number}"));
    let mut all = std::iter::once(first.clone()).chain(further);
    all.find(|selector| !taken.contains(&selector.as_str())).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracking_addresses_are_hosts() {
        for (text, expected) in [
            ("https://News.Shop.example/", Some("https://news.shop.example")),
            ("http://127.0.0.1:8080", Some("http://127.0.0.1:8080")),
            ("HTTPS://links.bücher.example", Some("https://links.xn--bcher-kva.example")),
            ("http://localhost:1", Some("http://localhost:1")),
            ("https://shop.example/path", None),
            ("https://shop.example?x", None),
            ("https://user@shop.example", None),
            ("https://shop.example:99999", None),
            ("ftp://shop.example", None),
            ("shop.example", None),
            ("https://", None),
            ("https://a\"b.example", None),
        ] {
            assert_eq!(checked_tracking_url(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn selectors_are_new() {
        let now = Timestamp(1_768_471_200_000_000);
        let made = |taken: &[&str]| free_selector(Algorithm::Ed25519, now, taken);
        assert_eq!(made(&[]), "ed25519-20260115");
        assert_eq!(made(&["ed25519-20260115", "ed25519-20260115-2"]), "ed25519-20260115-3");
        for (text, fine) in [
            ("news-1", true),
            ("", false),
            ("-a", false),
            ("a.b", false),
            ("A", false),
            ("ü", false),
        ] {
            assert_eq!(checked_selector(text.to_owned()).is_ok(), fine, "{text}");
        }
    }

    #[test]
    fn long_records_are_cut_for_zone_files() {
        let key = Key {
            selector: "s".to_owned(),
            algorithm: Algorithm::Rsa,
            active: true,
            created_at: Timestamp(0),
            record_name: "s._domainkey.shop.example".to_owned(),
            record_value: "x".repeat(300),
        };
        let expected = format!(
            "s._domainkey.shop.example. IN TXT ( \"{}\" \"{}\" )",
            "x".repeat(255),
            "x".repeat(45)
        );
        assert_eq!(key.zone_line(), expected);
    }
}
