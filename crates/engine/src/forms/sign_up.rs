//! Filling in a form, and confirming it.
//!
//! A robot is told from a person by a field that people do not see, by the time between the page
//! and the answer, which is signed into the page, and by how many answers come from one place. Each
//! address gets few mails, whoever asks. Nothing is granted before the address's owner confirms.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_domain::change::{
    Change, FieldChange, Identity, IdentityKind, Mark, Mode, Outcome, UpsertCustomer,
};
use tidings_domain::consent::{Channel, ConsentState, Proof, Via};
use tidings_domain::{FormId, SignUpId, Timestamp, checked};
use tidings_store::forms::{MailLimit, SignUp, SignUpKey};
use uuid::Uuid;

use super::{Input, Shown, ShownTopic};
use crate::pages::{self, Words};
use crate::tracking::Visitor;
use crate::{Ctx, Error, Hub, Result, changes};

/// A person needs this long to fill a form in, and a page is good for a day.
const MIN_MS: i64 = 2_000;
const MAX_MS: i64 = 24 * 3_600 * 1_000;
/// How long the link of a confirmation works.
const LINK_SECS: i64 = 7 * 24 * 3_600;
/// Mails to one address.
const MAILS_A_DAY: i64 = 3;
const PAUSE_SECS: i64 = 60;
const STAMP: &str = "form stamp";
const SIGN_UP: &str = "sign-up";

/// What somebody filled in.
#[derive(Clone, Debug, Default)]
pub struct Filled {
    pub email: String,
    /// By the name of the field's target.
    pub values: BTreeMap<String, String>,
    pub topics: Vec<String>,
    /// What people do not see, and so leave empty.
    pub trap: String,
    pub stamp: String,
}

/// Where something is wrong, by `email`, `topics` or a field's target, as a key of the words.
pub type Faults = BTreeMap<String, &'static str>;

/// What becomes of a form that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// The same whether or not a mail goes out, so that nobody learns who is known.
    Thanks,
    /// To be shown again, with what is wrong; with no fault, it came too quickly or too late.
    Again(Faults),
    TooMany,
}

/// What was given, as it is kept until it is confirmed.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Given {
    values: BTreeMap<String, String>,
    /// Names and the versions of the text that was read.
    pub(super) topics: Vec<(String, i32)>,
}

/// What a page carries to show when it was made.
pub fn stamp(hub: &Hub, form: FormId) -> String {
    let mut body = form.0.as_bytes().to_vec();
    body.extend(hub.now().0.to_be_bytes());
    hub.link_keys().sign(STAMP, &body)
}

/// Whether a page was made for this form, long enough ago and not too long.
fn is_timely(hub: &Hub, form: FormId, stamp: &str) -> bool {
    let Some(body) = hub.link_keys().unsign(STAMP, stamp) else { return false };
    let Some((id, at)) = body.split_at_checked(16) else { return false };
    let Ok(at) = at.try_into().map(i64::from_be_bytes) else { return false };
    let age_ms = hub.now().ms_since(Timestamp(at));
    id == form.0.as_bytes() && (MIN_MS..MAX_MS).contains(&age_ms)
}

/// Takes a filled-in form and mails its link.
pub async fn submit(shown: &Shown, filled: &Filled, visitor: &Visitor) -> Result<Submitted> {
    let ctx = &shown.ctx;
    let now = ctx.now();
    if visitor.ip.is_some_and(|ip| !ctx.hub.form_limits.allows(ip, now)) {
        return Ok(Submitted::TooMany);
    }
    if !filled.trap.is_empty() {
        return Ok(Submitted::Thanks);
    }
    let (email, given, faults) = read(shown, filled).await?;
    if !faults.is_empty() || !is_timely(&ctx.hub, shown.form.stored.id, &filled.stamp) {
        return Ok(Submitted::Again(faults));
    }
    let proof = visitor.proof(Via::Form);
    let sign_up = SignUp {
        id: SignUpId::generate(),
        email,
        form: shown.form.stored.number,
        given: serde_json::to_string(&given).map_err(|error| Error::Internal(error.to_string()))?,
        ip: proof.ip,
        user_agent: proof.user_agent,
        created_at: now,
        expires_at: now.plus_secs(LINK_SECS),
        mailed_at: None,
        confirmed_at: None,
    };
    let limit = MailLimit {
        count: MAILS_A_DAY,
        since: now.plus_secs(-24 * 3_600),
        pause_since: now.plus_secs(-PAUSE_SECS),
    };
    if ctx.workspace.add_sign_up(sign_up, limit).await? {
        ctx.wake();
    }
    Ok(Submitted::Thanks)
}

/// What was given, with what is wrong with it.
async fn read(shown: &Shown, filled: &Filled) -> Result<(String, Given, Faults)> {
    let mut faults = Faults::new();
    let mut given = Given::default();
    let email = checked::email(&filled.email).unwrap_or_else(|_| {
        faults.insert("email".to_owned(), "fault_email");
        String::new()
    });
    let schema = shown.ctx.workspace.schema().await?;
    for one in &shown.fields {
        let to = one.field.to.as_str();
        let text = filled.values.get(to).map(|text| text.trim()).unwrap_or_default();
        // A tick that is not made says no.
        let text = if text.is_empty() && one.input == Input::Tick { "false" } else { text };
        let is_missing = text.is_empty() || (one.input == Input::Tick && text == "false");
        if is_missing && one.field.required {
            faults.insert(to.to_owned(), "fault_required");
            continue;
        }
        let is_fine = match schema.position(to) {
            _ if text.is_empty() => continue,
            _ if text.chars().count() > 1_000 || text.contains('\0') => false,
            Some(position) => schema.attributes[position].kind.parse_text(text).is_ok(),
            None => checked::phone(text, None).is_ok(),
        };
        if is_fine {
            given.values.insert(to.to_owned(), text.to_owned());
        } else {
            faults.insert(to.to_owned(), "fault_value");
        }
    }
    let is_alone = shown.topics.len() == 1;
    for topic in &shown.topics {
        if is_alone || filled.topics.contains(&topic.name) {
            given.topics.push((topic.name.clone(), topic.version));
        }
    }
    if given.topics.is_empty() {
        faults.insert("topics".to_owned(), "fault_topics");
    }
    Ok((email, given, faults))
}

/// The token of a confirmation's link. It does not say the address.
pub(super) fn token(ctx: &Ctx, key: SignUpKey) -> String {
    let workspace = u32::try_from(ctx.workspace.row.number).unwrap_or_default();
    let mut body = workspace.to_be_bytes().to_vec();
    body.extend(key.bucket.to_be_bytes());
    body.extend(key.id.0.as_bytes());
    ctx.hub.link_keys().sign(SIGN_UP, &body)
}

async fn open(hub: &Arc<Hub>, token: &str) -> Result<(Ctx, SignUpKey, SignUp)> {
    let gone = || Error::NotFound("this link".to_owned());
    let body = hub.link_keys().unsign(SIGN_UP, token).ok_or_else(gone)?;
    let body: [u8; 22] = body.try_into().map_err(|_| gone())?;
    let number = u32::from_be_bytes([body[0], body[1], body[2], body[3]]);
    let key = SignUpKey {
        bucket: u16::from_be_bytes([body[4], body[5]]),
        id: SignUpId(Uuid::from_slice(&body[6..]).map_err(|_| gone())?),
    };
    let rows = hub.store.system.workspaces().await?;
    let row = rows.into_iter().find(|row| u32::try_from(row.number) == Ok(number));
    let ctx = hub.ctx(row.ok_or_else(gone)?.id).await?;
    let found = ctx.workspace.sign_up(key).await?.ok_or_else(gone)?;
    Ok((ctx, key, found))
}

/// Where a confirmation stands.
pub enum Confirmation {
    /// To be confirmed: what for.
    Open(Words, Vec<ShownTopic>),
    Expired(Words),
    /// Confirmed, now or before; where to go on to.
    Done(Words, Option<String>),
}

struct Waiting {
    ctx: Ctx,
    key: SignUpKey,
    sign_up: SignUp,
    form: super::Form,
    words: Words,
}

async fn waiting(hub: &Arc<Hub>, token: &str) -> Result<Result<Waiting, Confirmation>> {
    let (ctx, key, sign_up) = open(hub, token).await?;
    let stored = ctx.workspace.form_by_number(sign_up.form).await?;
    let gone = || Error::NotFound("this form".to_owned());
    let form = super::form(&ctx, stored.ok_or_else(gone)?)?;
    let words = pages::words(&ctx, Some(&form.definition.language)).await?;
    if sign_up.confirmed_at.is_some() {
        return Ok(Err(Confirmation::Done(words, form.definition.redirect_url)));
    }
    if ctx.now() >= sign_up.expires_at {
        return Ok(Err(Confirmation::Expired(words)));
    }
    Ok(Ok(Waiting { ctx, key, sign_up, form, words }))
}

pub(super) fn given(sign_up: &SignUp) -> Result<Given> {
    serde_json::from_str(&sign_up.given)
        .map_err(|error| Error::Internal(format!("read a sign-up: {error}")))
}

/// What a link asks to confirm. Looking at it changes nothing, because scanners follow links.
pub async fn confirmation(hub: &Arc<Hub>, token: &str) -> Result<Confirmation> {
    let waiting = match waiting(hub, token).await? {
        Ok(waiting) => waiting,
        Err(other) => return Ok(other),
    };
    let names: Vec<String> =
        given(&waiting.sign_up)?.topics.into_iter().map(|(name, _)| name).collect();
    let topics = super::shown_topics(&waiting.ctx, &names, &waiting.words).await?;
    Ok(Confirmation::Open(waiting.words, topics))
}

/// Signs the address's owner up: the customer, what they gave, and their consent with its proof, in
/// one change.
pub async fn confirm(hub: &Arc<Hub>, token: &str) -> Result<Confirmation> {
    let Waiting { ctx, key, sign_up, form, words } = match waiting(hub, token).await? {
        Ok(waiting) => waiting,
        Err(other) => return Ok(other),
    };
    let schema = ctx.workspace.schema().await?;
    let given = given(&sign_up)?;
    let phone = given.values.get("phone").filter(|_| schema.position("phone").is_none()).cloned();
    let attributes = given
        .values
        .into_iter()
        .filter(|(name, _)| schema.position(name).is_some())
        .map(|(name, text)| (name, FieldChange::SetText(text)))
        .collect();
    let mark = |(topic, version): (String, i32)| Mark::Consent {
        channel: Channel::Email,
        topic,
        state: ConsentState::Granted,
        source: format!("form {}", form.stored.name),
        proof: Proof {
            via: Via::Form,
            text_version: Some(version),
            ip: sign_up.ip.clone(),
            user_agent: sign_up.user_agent.clone(),
        },
    };
    let change = Change::UpsertCustomer(UpsertCustomer {
        email: Some(sign_up.email.clone()),
        phone,
        match_by: Some(IdentityKind::Email),
        mode: Mode::Upsert,
        attributes,
        marks: given.topics.into_iter().map(mark).collect(),
        ..UpsertCustomer::default()
    });
    // Whoever was erased and asks in person may be known again.
    let kind = IdentityKind::Email;
    ctx.workspace.readmit(Identity { kind, value: sign_up.email.clone() }).await?;
    if let Outcome::Refused(refusal) = changes::apply_one(&ctx, change).await? {
        return Err(Error::Conflict(refusal.message));
    }
    ctx.workspace.sign_up_confirmed(key, ctx.now()).await?;
    Ok(Confirmation::Done(words, form.definition.redirect_url))
}
