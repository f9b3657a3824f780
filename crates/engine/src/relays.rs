//! A workspace's own relays: kept with their passwords sealed, watched, tried on demand.

use std::time::Duration;

use tidings_channels::email::{self, Limits, Pool};
use tidings_domain::schema::checked_name;
use tidings_domain::{RelayId, Timestamp};
use tidings_store::relays::{Relay as Stored, RelaySettings};

use crate::mail::{self, RELAY_SECRET};
use crate::{Ctx, Error, Fault, Result};

/// Relays of one workspace at most; each may hold connections open.
pub(crate) const MOST: usize = 50;

/// What a user decides about a relay.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayInput {
    pub name: String,
    /// `smtp://`, `smtp+starttls://` or `smtps://`; a name and password in it are taken out.
    pub url: String,
    pub username: Option<String>,
    /// Left out, the password stays that was given before for the same name.
    pub password: Option<String>,
    pub per_second: Option<i32>,
    pub open_max: i32,
    pub weight: i32,
    pub enabled: bool,
}

/// A relay as it may be shown: without its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    pub id: RelayId,
    pub number: i32,
    pub name: String,
    pub url: String,
    pub username: Option<String>,
    pub has_password: bool,
    pub per_second: Option<i32>,
    pub open_max: i32,
    pub weight: i32,
    pub enabled: bool,
    /// What this node knows of it; `None` while it is switched off.
    pub state: Option<State>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// How a relay does on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub is_up: bool,
    /// Why it could not be reached the last time, while it is down.
    pub error: Option<String>,
    /// Connections at work now.
    pub open: usize,
}

/// What came of trying a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub works: bool,
    /// The extensions it offers, or why it cannot be used.
    pub message: String,
}

/// The workspace's relays, oldest first.
pub async fn list(ctx: &Ctx) -> Result<Vec<Relay>> {
    let desk = mail::desk(ctx).await?;
    let shown = |stored: &Stored| {
        let state = stored.settings.enabled.then(|| match desk.route(stored) {
            Some(route) => {
                let state = route.state();
                State { is_up: state.is_up, error: state.error, open: state.pool.leased }
            }
            None => {
                let error = "its password cannot be opened; give it again".to_owned();
                State { is_up: false, error: Some(error), open: 0 }
            }
        });
        shown(stored.clone(), state)
    };
    Ok(desk.setup().relays.iter().map(shown).collect())
}

/// One relay.
pub async fn get(ctx: &Ctx, id: RelayId) -> Result<Relay> {
    let found = list(ctx).await?.into_iter().find(|relay| relay.id == id);
    found.ok_or_else(|| not_found(id))
}

/// Adds a relay.
pub async fn create(ctx: &Ctx, input: RelayInput) -> Result<Relay> {
    let settings = checked(ctx, input, None)?;
    if !ctx.workspace.is_done_already().await?
        && ctx.workspace.mail_setup().await?.relays.len() >= MOST
    {
        return Err(Error::Conflict(format!("a workspace has at most {MOST} relays")));
    }
    let id = ctx.workspace.add_relay(settings, ctx.now()).await?;
    get(ctx, id).await
}

/// Puts settings in the place of a relay's; what is on its way is finished by the old ones.
pub async fn change(ctx: &Ctx, id: RelayId, input: RelayInput) -> Result<Relay> {
    let before = stored(ctx, id).await?;
    let settings = checked(ctx, input, Some(&before.settings))?;
    match ctx.workspace.change_relay(id, settings, ctx.now()).await? {
        true => get(ctx, id).await,
        false => Err(not_found(id)),
    }
}

/// Drops a relay; its sender domains go by the others.
pub async fn drop(ctx: &Ctx, id: RelayId) -> Result<()> {
    if !ctx.workspace.drop_relay(id).await? {
        return Err(not_found(id));
    }
    // So that this node lets go of its connections now.
    mail::desk(ctx).await.map(|_| ())
}

/// Connects to a relay as a message would, signs in, and says goodbye.
pub async fn try_out(ctx: &Ctx, id: RelayId) -> Result<Tried> {
    let opened = mail::opened(ctx, &stored(ctx, id).await?)?;
    let limits = Limits {
        connect: Duration::from_secs(5),
        greeting: Duration::from_secs(10),
        command: Duration::from_secs(10),
        ..Limits::default()
    };
    let pool =
        Pool::new(opened, limits).map_err(|error| Error::invalid("url", error.to_string()))?;
    Ok(match pool.probe().await {
        Ok(offers) => Tried { works: true, message: format!("it offers {}", offers.join(", ")) },
        Err(error) => Tried { works: false, message: error.to_string() },
    })
}

async fn stored(ctx: &Ctx, id: RelayId) -> Result<Stored> {
    let relays = ctx.workspace.mail_setup().await?.relays;
    relays.into_iter().find(|relay| relay.id == id).ok_or_else(|| not_found(id))
}

fn not_found(id: RelayId) -> Error {
    Error::NotFound(format!("relay {id}"))
}

fn shown(stored: Stored, state: Option<State>) -> Relay {
    let settings = stored.settings;
    Relay {
        id: stored.id,
        number: stored.number,
        name: settings.name,
        url: settings.url,
        has_password: settings.secret.is_some(),
        username: settings.username,
        per_second: settings.per_second,
        open_max: settings.open_max,
        weight: settings.weight,
        enabled: settings.enabled,
        state,
        created_at: stored.created_at,
        updated_at: stored.updated_at,
    }
}

/// The settings as they are kept, or every field that is wrong.
fn checked(ctx: &Ctx, input: RelayInput, before: Option<&RelaySettings>) -> Result<RelaySettings> {
    let (url, in_url, mut faults) = checked_shape(&input);
    let mut fault = |path: &str, message: String| faults.push(Fault::new(path, "invalid", message));
    let input_username = input.username.clone();
    let (username, password) = match (input.username, in_url) {
        (Some(name), _) => (Some(name), input.password),
        (None, Some((name, password))) => (Some(name), Some(password)),
        (None, None) => (None, input.password),
    };
    // A name that stood in the URL was not looked at yet.
    let from_url = username.clone().filter(|_| input_username.is_none());
    for (path, text) in [("username", &from_url), ("password", &password)] {
        let odd = |text: &String| {
            text.is_empty() || text.len() > 1_000 || text.contains(char::is_control)
        };
        if text.as_ref().is_some_and(odd) {
            fault(path, "expected 1 to 1,000 bytes in one line".to_owned());
        }
    }
    let kept = before.filter(|before| before.username == username);
    let kept = kept.and_then(|before| before.secret.clone());
    match (&username, &password) {
        (Some(_), None) if kept.is_none() => fault("password", "expected a password".to_owned()),
        (None, Some(_)) => fault("username", "expected a name to sign in with".to_owned()),
        _ => {}
    }
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    let secret = match password {
        Some(password) => {
            Some(ctx.hub.sealer.seal(ctx.workspace.row.id.0, RELAY_SECRET, password.as_bytes())?)
        }
        None => kept,
    };
    Ok(RelaySettings {
        name: input.name,
        url,
        username,
        secret,
        per_second: input.per_second,
        open_max: input.open_max,
        weight: input.weight,
        enabled: input.enabled,
    })
}

/// Checks what is no secret: gives the URL, what it signs in with, and every field that is wrong.
pub(crate) fn checked_shape(input: &RelayInput) -> (String, Option<(String, String)>, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut fault = |path: &str, message: String| faults.push(Fault::new(path, "invalid", message));
    if let Err(expected) = checked_name(&input.name) {
        fault("name", expected);
    }
    let (url, in_url) = match checked_url(&input.url) {
        Ok(parts) => parts,
        Err(message) => {
            fault("url", message);
            (String::new(), None)
        }
    };
    for (path, value, least, most) in [
        ("per_second", input.per_second.unwrap_or(1), 1, 100_000),
        ("open_max", input.open_max, 1, 1_000),
        ("weight", input.weight, 0, 1_000),
    ] {
        if !(least..=most).contains(&value) {
            fault(path, format!("expected {least} to {most}"));
        }
    }
    let odd =
        |text: &String| text.is_empty() || text.len() > 1_000 || text.contains(char::is_control);
    if input.username.as_ref().is_some_and(odd) {
        fault("username", "expected 1 to 1,000 bytes in one line".to_owned());
    }
    (url, in_url, faults)
}

/// A URL and what it signs in with. Options that read files of this machine or believe any
/// certificate are for the hub's operator alone, and the number of connections has its own field.
fn checked_url(url: &str) -> Result<(String, Option<(String, String)>), String> {
    if url.len() > 2_000 || url.contains(char::is_control) {
        return Err("expected a URL of at most 2,000 bytes".to_owned());
    }
    let (url, credentials) = email::without_credentials(url).map_err(|error| error.to_string())?;
    let relay = email::Relay::parse(&url, 1).map_err(|error| error.to_string())?;
    if relay.trusts_by_itself() {
        return Err("the options ca and tls are only for the hub's own relay".to_owned());
    }
    if relay.max_connections != 1 {
        return Err("the option max is given as open_max".to_owned());
    }
    Ok((url, credentials))
}
