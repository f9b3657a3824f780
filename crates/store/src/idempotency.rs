//! Answers kept by the caller's key, so that a call sent twice is done once.
//!
//! A row with status 0 says that the call is being worked on. Whoever works on it renews the row's
//! time; a row that was not renewed for a while belonged to a process that died.

use tidings_domain::Timestamp;
use tidings_domain::bucket::keyed_bucket;

use crate::Result;
use crate::engines::Priority;
use crate::sql::Sql;
use crate::workspace::Workspace;

/// What is known of a key when a call begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Nobody has used it; it is now taken.
    Fresh,
    /// The first call is still being worked on.
    Running,
    /// The key was used for another request.
    Mismatch,
    /// The first call's answer.
    Answered { status: u16, answer: String },
}

static TAKE: Sql = Sql::identity(
    "take_idempotency_key",
    "insert into {s}idempotency (ibucket, key, request_hash, status, answer, created_at)
     values (?1, ?2, ?3, 0, '', ?4) on conflict do nothing",
);
static LOOK: Sql = Sql::identity(
    "idempotency_key",
    "select request_hash, status, answer, created_at from {s}idempotency
     where ibucket = ?1 and key = ?2",
);
static TAKE_OVER: Sql = Sql::identity(
    "take_over_idempotency_key",
    "update {s}idempotency set created_at = ?3
     where ibucket = ?1 and key = ?2 and status = 0 and created_at = ?4",
);
static RENEW: Sql = Sql::identity(
    "renew_idempotency_key",
    "update {s}idempotency set created_at = ?3 where ibucket = ?1 and key = ?2 and status = 0",
);
static FINISH: Sql = Sql::identity(
    "finish_idempotency_key",
    "update {s}idempotency set status = ?3, answer = ?4, created_at = ?5
     where ibucket = ?1 and key = ?2 and status = 0",
);
static FORGET: Sql = Sql::identity(
    "forget_idempotency_key",
    "delete from {s}idempotency where ibucket = ?1 and key = ?2 and status = 0",
);
static CLEAN: Sql =
    Sql::fan_out("clean_idempotency_keys", "delete from {s}idempotency where created_at < ?1");

pub(crate) static SQL: &[&Sql] = &[&TAKE, &LOOK, &TAKE_OVER, &RENEW, &FINISH, &FORGET, &CLEAN];

fn bucket(key: &str) -> u16 {
    keyed_bucket("idempotency", key)
}

impl Workspace {
    /// Takes a key for a request, or says what became of the first call with it. A call that was
    /// last heard of before `stale_before` is taken over.
    pub async fn begin_idempotent(
        &self,
        key: &str,
        request_hash: Vec<u8>,
        at: Timestamp,
        stale_before: Timestamp,
    ) -> Result<Begun> {
        let key = key.to_owned();
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let bucket = bucket(&key);
                let key = key.as_str();
                let row = crate::params![bucket, key, request_hash.clone(), at];
                if tx.execute(&TAKE, row).await? > 0 {
                    return Ok(Begun::Fresh);
                }
                // Where the row went away between the two statements, the caller tries again.
                let row = tx.first(&LOOK, crate::params![bucket, key]).await?;
                let Some(row) = row else { return Ok(Begun::Running) };
                if row.bytes(0)? != request_hash {
                    return Ok(Begun::Mismatch);
                }
                let status: u16 = row.small(1)?;
                if status != 0 {
                    return Ok(Begun::Answered { status, answer: row.text(2)? });
                }
                let seen = row.time(3)?;
                if seen >= stale_before {
                    return Ok(Begun::Running);
                }
                let over = tx.execute(&TAKE_OVER, crate::params![bucket, key, at, seen]).await?;
                Ok(if over > 0 { Begun::Fresh } else { Begun::Running })
            })
        })
        .await
    }

    /// Says that the call is still being worked on.
    pub async fn renew_idempotent(&self, key: &str, at: Timestamp) -> Result<()> {
        self.touch_key(&RENEW, crate::params![bucket(key), key, at].to_vec()).await.map(|_| ())
    }

    /// Keeps the answer of a call.
    pub async fn finish_idempotent(
        &self,
        key: &str,
        status: u16,
        answer: &str,
        at: Timestamp,
    ) -> Result<()> {
        let params = crate::params![bucket(key), key, status, answer, at].to_vec();
        self.touch_key(&FINISH, params).await.map(|_| ())
    }

    /// Gives a key free: the call did nothing and may be tried again.
    pub async fn forget_idempotent(&self, key: &str) -> Result<()> {
        self.touch_key(&FORGET, crate::params![bucket(key), key].to_vec()).await.map(|_| ())
    }

    /// Drops answers that were kept before a time; how many there were.
    pub async fn clean_idempotent(&self, before: Timestamp) -> Result<u64> {
        self.touch_key(&CLEAN, crate::params![before].to_vec()).await
    }

    async fn touch_key(&self, sql: &'static Sql, params: Vec<crate::sql::Param>) -> Result<u64> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move { tx.execute(sql, &params).await })
        })
        .await
    }
}
