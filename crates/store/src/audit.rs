//! Who did what to which thing: a chain of entries per workspace that shows tampering.
//!
//! An entry is sealed with a key over itself and the entry before it, so that whoever changes,
//! removes or inserts one without the key breaks the chain from there on. The key is made from the
//! master key, which no database holds. What cuts the end off and puts an older head back is seen
//! by a head that was written down elsewhere.
//!
//! An [`Act`] goes along with the task that works on it, and the first transaction of the workspace
//! that the task commits writes its entry too: there is no change without its entry, and no entry
//! of a change that was rolled back. Entries hold ids and no personal data.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use serde_json::Value as Json;
use sha2::Sha256;
use tidings_domain::Timestamp;
use uuid::Uuid;

use crate::engines::{Priority, Tx};
use crate::hex::hex;
use crate::sql::{Param, Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Page, Result};

/// How many entries are read at once when a chain is checked.
const CHECKED_AT_ONCE: i64 = 1_000;

/// Who does something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    pub kind: ActorKind,
    /// Of the user or the token; a command has none.
    pub id: Option<Uuid>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorKind {
    User,
    Token,
    /// Whoever runs a command on the machine itself.
    Command,
}

impl ActorKind {
    pub const ALL: &'static [ActorKind] = &[ActorKind::User, ActorKind::Token, ActorKind::Command];

    pub fn name(self) -> &'static str {
        match self {
            ActorKind::User => "user",
            ActorKind::Token => "token",
            ActorKind::Command => "command",
        }
    }

    fn parse(text: &str) -> Result<ActorKind> {
        let found = ActorKind::ALL.iter().copied().find(|kind| kind.name() == text);
        found.ok_or_else(|| Error::Corrupt(format!("the kind of actor {text}")))
    }
}

/// One entry, without its seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    pub at: Timestamp,
    pub actor: Actor,
    /// Such as `campaigns.launch`.
    pub action: String,
    /// The thing's id, or its name where it has none; may be empty.
    pub thing: String,
    /// More of what was done, such as `role editor`; never personal data; may be empty.
    pub detail: String,
}

/// An entry as it stands in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Counted from 1, without gaps.
    pub number: i64,
    pub entry: NewEntry,
    pub hash: Vec<u8>,
}

/// Which entries are wanted; what is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub actor: Option<Uuid>,
    /// The beginning of the action.
    pub action: Option<String>,
    pub thing: Option<String>,
    pub from: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// What a check of the chain found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// How many entries are as they were written, from the first.
    pub entries: i64,
    /// Of the last one of these; empty where there is none.
    pub head: String,
    /// The entry that is not as it was written, and why.
    pub fault: Option<(i64, String)>,
}

static MOVE_HEAD: Sql = Sql::reference(
    "move_audit_head",
    "insert into {s}audit_head as h (id, number, hash) values (1, 1, ?1)
     on conflict (id) do update set number = h.number + 1 returning number, hash",
);
static SEAL_HEAD: Sql =
    Sql::reference("seal_audit_head", "update {s}audit_head set hash = ?1 where id = 1");
static HEAD: Sql =
    Sql::reference("audit_head", "select number, hash from {s}audit_head where id = 1");
static ADD: Sql = Sql::reference(
    "add_audit_entry",
    "insert into {s}audit (number, at, actor_kind, actor, action, thing, detail, hash)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
);
static FROM: Sql = Sql::reference(
    "audit_entries",
    "select number, at, actor_kind, actor, action, thing, detail, hash from {s}audit
     where number > ?1 order by number limit ?2",
);

pub(crate) static SQL: &[&Sql] = &[&MOVE_HEAD, &SEAL_HEAD, &HEAD, &ADD, &FROM];

tokio::task_local! {
    /// What this task does. It is no parameter for the same reason as the call with a key is none:
    /// every operation that changes something writes it, and what calls them need not know of it.
    static ACT: Arc<Act>;
}

/// Something that somebody does, while it is done.
#[derive(Debug)]
pub struct Act {
    key: [u8; 32],
    entry: Mutex<NewEntry>,
    written: AtomicBool,
}

impl Act {
    pub fn new(key: [u8; 32], entry: NewEntry) -> Arc<Act> {
        Arc::new(Act { key, entry: Mutex::new(entry), written: AtomicBool::new(false) })
    }

    /// Does the work. The transactions of this very task write the entry, not those of tasks that
    /// it starts.
    pub async fn run<F: Future>(self: Arc<Act>, work: F) -> F::Output {
        ACT.scope(self, work).await
    }
}

/// Whether this task does something that is written down.
pub fn is_acting() -> bool {
    ACT.try_with(|_| ()).is_ok()
}

/// Who acts in this task.
pub fn actor() -> Option<Actor> {
    ACT.try_with(|act| act.entry.lock().actor.clone()).ok()
}

/// Says which thing the act of this task is about, where its path did not say so.
pub fn about(thing: impl ToString) {
    let _ = ACT.try_with(|act| act.entry.lock().thing = thing.to_string());
}

/// The act of this task, unless its entry is written.
pub(crate) fn open_act() -> Option<Arc<Act>> {
    ACT.try_with(Arc::clone).ok().filter(|act| !act.written.load(Ordering::Relaxed))
}

impl Act {
    /// Writes the entry at the end of the transaction that does it; false where the result says
    /// that nothing was done.
    pub(crate) async fn write(&self, tx: &mut Tx, result: &Json) -> Result<bool> {
        if is_nothing(result) {
            return Ok(false);
        }
        let mut entry = self.entry.lock().clone();
        if entry.thing.is_empty() {
            entry.thing = id_in(result).unwrap_or_default();
        }
        append(tx, &self.key, &entry).await.map(|()| true)
    }

    /// Its transaction is committed.
    pub(crate) fn is_written(&self) {
        self.written.store(true, Ordering::Relaxed);
    }
}

/// Operations say `false` where there was nothing to change, and of a change that it was refused.
fn is_nothing(result: &Json) -> bool {
    match result {
        Json::Bool(done) => !done,
        Json::Array(outcomes) => {
            !outcomes.is_empty() && outcomes.iter().all(|one| one.get("Refused").is_some())
        }
        _ => false,
    }
}

/// The id of the one thing that an operation's result is about.
fn id_in(result: &Json) -> Option<String> {
    let id = match result {
        Json::Array(outcomes) => match outcomes.as_slice() {
            // An outcome is an object with one field, named as its kind.
            [Json::Object(one)] => one.values().next()?.get("customer")?,
            _ => return None,
        },
        Json::Object(fields) => fields.get("id")?,
        other => other,
    };
    let id = id.as_str()?;
    Uuid::parse_str(id).is_ok().then(|| id.to_owned())
}

/// Adds an entry to the end of the chain. It comes last in its transaction, because others wait
/// for the end of the chain from here to the commit.
pub(crate) async fn append(tx: &mut Tx, key: &[u8; 32], entry: &NewEntry) -> Result<()> {
    let lost = || Error::Corrupt("the end of the audit log is missing".to_owned());
    let head = tx.first(&MOVE_HEAD, crate::params![Vec::<u8>::new()]).await?.ok_or_else(lost)?;
    let (number, before) = (head.int(0)?, head.bytes(1)?);
    let hash = seal(key, &before, number, entry);
    let NewEntry { at, actor, action, thing, detail } = entry;
    let row = crate::params![
        number,
        *at,
        actor.kind.name(),
        actor.id.map_or(Param::Null, Param::Uuid),
        action,
        thing,
        detail,
        hash.clone()
    ];
    tx.execute(&ADD, row).await?;
    tx.execute(&SEAL_HEAD, crate::params![hash]).await.map(|_| ())
}

/// The seal of an entry: HMAC-SHA256 over the seal before it and every field with its length.
fn seal(key: &[u8; 32], before: &[u8], number: i64, entry: &NewEntry) -> Vec<u8> {
    let actor = entry.actor.id.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
    let (number, at) = (number.to_be_bytes(), entry.at.0.to_be_bytes());
    let parts: [&[u8]; 8] = [
        before,
        &number,
        &at,
        entry.actor.kind.name().as_bytes(),
        &actor,
        entry.action.as_bytes(),
        entry.thing.as_bytes(),
        entry.detail.as_bytes(),
    ];
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

fn entry(row: &Row) -> Result<Entry> {
    Ok(Entry {
        number: row.int(0)?,
        entry: NewEntry {
            at: row.time(1)?,
            actor: Actor { kind: ActorKind::parse(&row.text(2)?)?, id: row.opt_uuid(3)? },
            action: row.text(4)?,
            thing: row.text(5)?,
            detail: row.text(6)?,
        },
        hash: row.bytes(7)?,
    })
}

impl Workspace {
    /// A write that carries the entry of what this task does. `told` gives as JSON what of the
    /// result says whether something was done, and to what.
    pub(crate) async fn write_acted<T: Send + 'static>(
        &self,
        priority: Priority,
        told: fn(&T) -> Json,
        work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + 'static,
    ) -> Result<T> {
        let Some(act) = open_act() else { return self.write(priority, work).await };
        let writing = act.clone();
        let (result, written) = self
            .write(priority, move |tx| {
                Box::pin(async move {
                    let result = work(tx).await?;
                    let written = writing.write(tx, &told(&result)).await?;
                    Ok((result, written))
                })
            })
            .await?;
        if written {
            act.is_written();
        }
        Ok(result)
    }

    /// Adds an entry by itself, for what is done in another database.
    pub async fn add_audit_entry(&self, key: [u8; 32], entry: NewEntry) -> Result<()> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move { append(tx, &key, &entry).await })
        })
        .await
    }

    /// A page of entries, newest first; the cursor is a number.
    pub async fn audit_entries(
        &self,
        wanted: Wanted,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Page<Entry, i64>> {
        let mut text = "select number, at, actor_kind, actor, action, thing, detail, hash
             from {s}audit where number < ?1"
            .to_owned();
        let mut params: Vec<Param> = vec![before.unwrap_or(i64::MAX).into()];
        let mut narrow = |condition: &str, param: Param| {
            params.push(param);
            text.push_str(&format!(" and {condition} ?{}", params.len()));
        };
        let Wanted { actor, action, thing, from, until } = wanted;
        if let Some(actor) = actor {
            narrow("actor =", Param::Uuid(actor));
        }
        if let Some(action) = action {
            let length = action.chars().count();
            narrow(&format!("substr(action, 1, {length}) ="), action.into());
        }
        if let Some(thing) = thing {
            narrow("thing =", thing.into());
        }
        if let Some(from) = from {
            narrow("at >=", from.into());
        }
        if let Some(until) = until {
            narrow("at <", until.into());
        }
        params.push((limit as i64 + 1).into());
        text.push_str(&format!(" order by number desc limit ?{}", params.len()));
        let items = self
            .read(move |tx| {
                Box::pin(async move {
                    let rows = tx.query_text(&text, &params).await?;
                    rows.iter().map(entry).collect::<Result<Vec<_>>>()
                })
            })
            .await?;
        Ok(Page::cut(items, limit, |one| one.number))
    }

    /// Reads the whole chain and says whether it is as it was written.
    pub async fn check_audit(&self, key: [u8; 32]) -> Result<Checked> {
        self.read(move |tx| Box::pin(async move { check(tx, &key).await })).await
    }

    /// The seal of one entry, as text; `None` where there is no such entry.
    pub async fn audit_seal(&self, number: i64) -> Result<Option<String>> {
        let params = crate::params![number - 1, 1].to_vec();
        self.read(move |tx| {
            Box::pin(async move {
                let row = tx.first(&FROM, &params).await?;
                let found = row.as_ref().map(entry).transpose()?;
                Ok(found.filter(|one| one.number == number).map(|one| hex(&one.hash)))
            })
        })
        .await
    }
}

async fn check(tx: &mut Tx, key: &[u8; 32]) -> Result<Checked> {
    let head = tx.first(&HEAD, &[]).await?;
    let (number, sealed) = match head {
        Some(row) => (row.int(0)?, row.bytes(1)?),
        None => (0, Vec::new()),
    };
    let mut done = Checked { entries: 0, head: String::new(), fault: None };
    let mut before = Vec::new();
    loop {
        let rows = tx.query(&FROM, crate::params![done.entries, CHECKED_AT_ONCE]).await?;
        for row in &rows {
            let next = done.entries + 1;
            // On PostgreSQL others may have written since the head was read.
            if next > number && head_moved(tx, number).await? {
                return Ok(done);
            }
            let found = match entry(row) {
                Ok(found) => found,
                Err(error) => {
                    done.fault = Some((next, error.to_string()));
                    return Ok(done);
                }
            };
            let fault = if found.number != next {
                Some("it is missing")
            } else if seal(key, &before, next, &found.entry) != found.hash {
                Some("it, or the one before it, is not as it was written under this master key")
            } else if next > number {
                Some("it stands behind the end of the log")
            } else {
                None
            };
            if let Some(fault) = fault {
                done.fault = Some((next, fault.to_owned()));
                return Ok(done);
            }
            done.entries = next;
            done.head = hex(&found.hash);
            before = found.hash;
        }
        if (rows.len() as i64) < CHECKED_AT_ONCE {
            break;
        }
    }
    if done.entries < number {
        done.fault = Some((done.entries + 1, "it is missing at the end of the log".to_owned()));
    } else if before != sealed {
        done.fault = Some((done.entries, "the end of the log has another seal".to_owned()));
    }
    Ok(done)
}

/// Whether the chain has grown since its end was read.
async fn head_moved(tx: &mut Tx, number: i64) -> Result<bool> {
    Ok(tx.first(&HEAD, &[]).await?.is_some_and(|row| row.int(0).is_ok_and(|now| now > number)))
}
