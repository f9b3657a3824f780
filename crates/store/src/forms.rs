//! Sign-up forms, and the sign-ups that wait for a confirmation. What a form asks and what was
//! given are JSON, which the engine alone reads.

use serde::{Deserialize, Serialize};
use tidings_domain::change::IdentityKind;
use tidings_domain::{FormId, SignUpId, Timestamp, identity_bucket};

use crate::engines::{Priority, Tx};
use crate::jobs;
use crate::sql::{Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// The kind of the job that sends one confirmation mail; its subject is a [`SignUpKey`].
pub const SEND_CONFIRMATION: &str = "send_confirmation";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Form {
    pub id: FormId,
    pub number: i32,
    pub name: String,
    /// JSON.
    pub definition: String,
    /// Since when it takes nobody any more.
    pub archived_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Someone who filled in a form and has not confirmed it yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignUp {
    pub id: SignUpId,
    /// Normalised.
    pub email: String,
    pub form: i32,
    /// JSON: what was given.
    pub given: String,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub mailed_at: Option<Timestamp>,
    pub confirmed_at: Option<Timestamp>,
}

/// Which sign-up: its bucket, which is its address's, and its id. A link can carry it without saying
/// the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignUpKey {
    pub bucket: u16,
    pub id: SignUpId,
}

impl SignUpKey {
    fn subject(self) -> String {
        format!("{}:{}", self.bucket, self.id)
    }

    /// Reads the subject of a job.
    pub fn parse(subject: &str) -> Option<SignUpKey> {
        let (bucket, id) = subject.split_once(':')?;
        Some(SignUpKey { bucket: bucket.parse().ok()?, id: id.parse().ok()? })
    }
}

impl SignUp {
    pub fn key(&self) -> SignUpKey {
        SignUpKey { bucket: identity_bucket(IdentityKind::Email, &self.email), id: self.id }
    }
}

/// How many mails an address may be sent by forms, whoever asks for them.
#[derive(Clone, Copy, Debug)]
pub struct MailLimit {
    /// At most so many of those that were made after `since` and still wait.
    pub count: i64,
    pub since: Timestamp,
    /// None where one was made after this.
    pub pause_since: Timestamp,
}

static LIST: Sql = Sql::reference(
    "forms",
    "select id, number, name, definition, archived_at, created_at, updated_at
     from {s}forms order by number",
);
static GET: Sql = Sql::reference(
    "form",
    "select id, number, name, definition, archived_at, created_at, updated_at
     from {s}forms where id = ?1",
);
static GET_BY_NUMBER: Sql = Sql::reference(
    "form_by_number",
    "select id, number, name, definition, archived_at, created_at, updated_at
     from {s}forms where number = ?1",
);
static TAKEN: Sql =
    Sql::reference("form_taken", "select number from {s}forms where name = ?1 and id <> ?2");
static ADD: Sql = Sql::reference(
    "add_form",
    "insert into {s}forms (number, id, name, definition, created_at, updated_at)
     select coalesce(?5, max(number) + 1, 1), ?1, ?2, ?3, ?4, ?4 from {s}forms where true",
);
static CHANGE: Sql = Sql::reference(
    "change_form",
    "update {s}forms set name = ?2, definition = ?3, archived_at = ?4, updated_at = ?5
     where id = ?1",
);
static RECENT: Sql = Sql::identity(
    "recent_sign_ups",
    "select count(*), max(created_at) from {s}sign_ups
     where ibucket = ?1 and email = ?2 and created_at > ?3",
);
static ADD_SIGN_UP: Sql = Sql::identity(
    "add_sign_up",
    "insert into {s}sign_ups
       (ibucket, email, id, form_number, given, ip, user_agent, created_at, expires_at)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
);
static SIGN_UP: Sql = Sql::identity(
    "sign_up",
    "select id, email, form_number, given, ip, user_agent, created_at, expires_at, mailed_at,
            confirmed_at
     from {s}sign_ups where ibucket = ?1 and id = ?2",
);
static MAILED: Sql = Sql::identity(
    "sign_up_mailed",
    "update {s}sign_ups set mailed_at = ?3 where ibucket = ?1 and id = ?2",
);
/// What was given is in the customer's own row now, so it is not kept twice.
static CONFIRMED: Sql = Sql::identity(
    "sign_up_confirmed",
    "update {s}sign_ups set confirmed_at = ?3, given = '{}', ip = null, user_agent = null
     where ibucket = ?1 and id = ?2",
);
static DROP_OLD: Sql =
    Sql::fan_out("drop_old_sign_ups", "delete from {s}sign_ups where expires_at <= ?1");

pub(crate) static SQL: &[&Sql] = &[
    &LIST,
    &GET,
    &GET_BY_NUMBER,
    &TAKEN,
    &ADD,
    &CHANGE,
    &RECENT,
    &ADD_SIGN_UP,
    &SIGN_UP,
    &MAILED,
    &CONFIRMED,
    &DROP_OLD,
];

fn form(row: &Row) -> Result<Form> {
    Ok(Form {
        id: FormId(row.uuid(0)?),
        number: row.small(1)?,
        name: row.text(2)?,
        definition: row.text(3)?,
        archived_at: row.opt_time(4)?,
        created_at: row.time(5)?,
        updated_at: row.time(6)?,
    })
}

fn sign_up(row: &Row) -> Result<SignUp> {
    Ok(SignUp {
        id: SignUpId(row.uuid(0)?),
        email: row.text(1)?,
        form: row.small(2)?,
        given: row.text(3)?,
        ip: row.opt_text(4)?,
        user_agent: row.opt_text(5)?,
        created_at: row.time(6)?,
        expires_at: row.time(7)?,
        mailed_at: row.opt_time(8)?,
        confirmed_at: row.opt_time(9)?,
    })
}

async fn free_name(tx: &mut Tx, name: &str, id: FormId) -> Result<()> {
    match tx.first(&TAKEN, crate::params![name, id]).await? {
        Some(_) => Err(Error::Conflict(format!("a form named {name} exists"))),
        None => Ok(()),
    }
}

async fn one(tx: &mut Tx, id: FormId) -> Result<Form> {
    let row = tx.first(&GET, crate::params![id]).await?;
    form(&row.ok_or_else(|| Error::NotFound("the form".to_owned()))?)
}

pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<Form>> {
    tx.query(&LIST, &[]).await?.iter().map(form).collect()
}

/// Makes a form, with a number that is known to be free or the next one; a taken name is a conflict.
pub(crate) async fn add(
    tx: &mut Tx,
    id: FormId,
    number: Option<i32>,
    (name, definition): (&str, &str),
    at: Timestamp,
) -> Result<()> {
    free_name(tx, name, id).await?;
    tx.execute(&ADD, crate::params![id, name, definition, at, number]).await.map(drop)
}

/// Changes a form; `archived` takes it off or puts it back.
pub(crate) async fn put(
    tx: &mut Tx,
    id: FormId,
    (name, definition): (&str, &str),
    archived: bool,
    at: Timestamp,
) -> Result<()> {
    let old = one(tx, id).await?;
    free_name(tx, name, id).await?;
    let archived_at = archived.then(|| old.archived_at.unwrap_or(at));
    let row = crate::params![id, name, definition, archived_at, at];
    tx.execute(&CHANGE, row).await.map(drop)
}

impl Workspace {
    /// Every form, oldest first.
    pub async fn forms(&self) -> Result<Vec<Form>> {
        self.read(|tx| Box::pin(async move { all(tx).await })).await
    }

    pub async fn form(&self, id: FormId) -> Result<Form> {
        self.read(move |tx| Box::pin(async move { one(tx, id).await })).await
    }

    pub async fn form_by_number(&self, number: i32) -> Result<Option<Form>> {
        self.find(&GET_BY_NUMBER, crate::params![number], form).await
    }

    /// Makes a form; a taken name is a conflict.
    pub async fn add_form(&self, name: &str, definition: &str, at: Timestamp) -> Result<Form> {
        let id = FormId::generate();
        let (name, definition) = (name.to_owned(), definition.to_owned());
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                add(tx, id, None, (&name, &definition), at).await?;
                one(tx, id).await
            })
        })
        .await
    }

    /// Changes a form; `archived` takes it off or puts it back.
    pub async fn change_form(
        &self,
        id: FormId,
        name: &str,
        definition: &str,
        archived: bool,
        at: Timestamp,
    ) -> Result<Form> {
        let (name, definition) = (name.to_owned(), definition.to_owned());
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                put(tx, id, (&name, &definition), archived, at).await?;
                one(tx, id).await
            })
        })
        .await
    }

    /// Keeps a sign-up and the job that mails its link, in one transaction; false, and nothing kept,
    /// where the address has had its share of mails.
    pub async fn add_sign_up(&self, one: SignUp, limit: MailLimit) -> Result<bool> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                tx.execute(&DROP_OLD, crate::params![one.created_at]).await?;
                let bucket = one.key().bucket;
                let key = crate::params![bucket, &one.email, limit.since];
                if let Some(row) = tx.first(&RECENT, key).await? {
                    let newest = row.opt_time(1)?;
                    let too_soon = newest.is_some_and(|newest| newest > limit.pause_since);
                    if row.int(0)? >= limit.count || too_soon {
                        return Ok(false);
                    }
                }
                let row = crate::params![
                    bucket,
                    &one.email,
                    one.id,
                    one.form,
                    &one.given,
                    one.ip.clone(),
                    one.user_agent.clone(),
                    one.created_at,
                    one.expires_at
                ];
                tx.execute(&ADD_SIGN_UP, row).await?;
                let subject = one.key().subject();
                // Due at once, whatever this hub's clock and the database's say of each other.
                jobs::add(tx, SEND_CONFIRMATION, &subject, "", Timestamp(0)).await?;
                Ok(true)
            })
        })
        .await
    }

    pub async fn sign_up(&self, key: SignUpKey) -> Result<Option<SignUp>> {
        self.find(&SIGN_UP, crate::params![key.bucket, key.id], sign_up).await
    }

    /// Notes that the mail went out, or that there is none to send.
    pub async fn sign_up_mailed(&self, key: SignUpKey, at: Timestamp) -> Result<()> {
        self.note_sign_up(&MAILED, key, at).await
    }

    /// Notes that the address's owner has confirmed.
    pub async fn sign_up_confirmed(&self, key: SignUpKey, at: Timestamp) -> Result<()> {
        self.note_sign_up(&CONFIRMED, key, at).await
    }

    async fn note_sign_up(&self, sql: &'static Sql, key: SignUpKey, at: Timestamp) -> Result<()> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                tx.execute(sql, crate::params![key.bucket, key.id, at]).await.map(|_| ())
            })
        })
        .await
    }
}
