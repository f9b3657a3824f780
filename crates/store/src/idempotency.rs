//! Answers kept by the caller's key, so that a call sent twice is done once.
//!
//! A key is a row. While its call is worked on the row has status 0; in the end it holds the
//! answer. Calls come in two kinds:
//!
//! - A *kept* call runs inside [`Once::run`]. Each of its transactions keeps its own result with
//!   the key, so that what was done and what is known of it are committed together. A call that
//!   comes again, because the first one's process died or is still at work, is given these results
//!   instead of doing it again, and goes on where the first one stopped. The first transaction's
//!   result stands in the key's row, each later one's in a row of its own.
//! - A *held* call is one whose work is no transaction of this workspace. Its row is taken before
//!   the work and renewed while it goes on; one that was not renewed for a while belonged to a
//!   process that died.

use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_domain::Timestamp;
use tidings_domain::bucket::keyed_bucket;

use crate::engines::{Priority, Tx};
use crate::sql::Sql;
use crate::workspace::Workspace;
use crate::{Error, Result};

/// What is known of a key when a call begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Nobody has used it.
    Fresh,
    /// A first call with it has begun and is not answered.
    Running,
    /// The key was used for another request.
    Mismatch,
    /// The first call's answer.
    Answered { status: u16, answer: String },
}

static TAKE: Sql = Sql::identity(
    "take_idempotency_key",
    "insert into {s}idempotency (ibucket, key, request_hash, status, answer, created_at)
     values (?1, ?2, ?3, ?4, ?5, ?6) on conflict do nothing",
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
static KEEP: Sql = Sql::identity(
    "keep_idempotent_result",
    "update {s}idempotency set answer = ?3 where ibucket = ?1 and key = ?2 and status = 0",
);
static FINISH: Sql = Sql::identity(
    "finish_idempotency_key",
    "update {s}idempotency set status = ?4, answer = ?5, created_at = ?6
     where ibucket = ?1 and key = ?2 and request_hash = ?3 and status = 0",
);
static FORGET: Sql = Sql::identity(
    "forget_idempotency_key",
    "delete from {s}idempotency where ibucket = ?1 and key = ?2 and status = 0",
);
static CLEAN: Sql =
    Sql::fan_out("clean_idempotency_keys", "delete from {s}idempotency where created_at < ?1");

pub(crate) static SQL: &[&Sql] =
    &[&TAKE, &LOOK, &TAKE_OVER, &RENEW, &KEEP, &FINISH, &FORGET, &CLEAN];

tokio::task_local! {
    /// The kept call that this task works on. It is no parameter, because what has to be kept lies
    /// in every operation that changes something, and what calls them need not know of keys.
    static CALL: Arc<Once>;
}

/// A kept call.
#[derive(Debug)]
pub struct Once {
    key: String,
    request_hash: Vec<u8>,
    at: Timestamp,
    /// Whether a first call has kept something, so that this one goes on where it stopped.
    resumed: bool,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// How many transactions of the call are committed.
    steps: u32,
    /// How many of these were committed by a call before this one.
    replayed: u32,
    /// Whether the next transaction was found done.
    found: bool,
    overtaken: Option<Overtaken>,
}

/// What another call with the same key did while this one was at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overtaken {
    /// It was another request.
    Mismatch,
    /// It was the same request, and it is answered.
    Answered,
}

impl Once {
    pub fn new(key: String, request_hash: Vec<u8>, at: Timestamp, resumed: bool) -> Arc<Once> {
        Arc::new(Once { key, request_hash, at, resumed, progress: Mutex::default() })
    }

    /// Does the work of the call. The transactions of this very task are kept, not those of tasks
    /// that it starts.
    pub async fn run<F: Future>(self: &Arc<Once>, work: F) -> F::Output {
        CALL.scope(self.clone(), work).await
    }

    /// Whether all that the call has done was done by a call before it.
    pub fn is_replayed(&self) -> bool {
        let progress = self.progress.lock();
        (progress.steps > 0 || progress.found) && progress.steps == progress.replayed
    }

    /// Whether a row holds what this call, or one before it, has done.
    pub fn has_row(&self) -> bool {
        let progress = self.progress.lock();
        progress.steps > 0 || progress.found
    }

    /// Whether another call with the same key stood in the way; nothing of this one was kept then.
    pub fn overtaken(&self) -> Option<Overtaken> {
        self.progress.lock().overtaken
    }

    /// The key of the row that keeps a step's result.
    fn row(&self, step: u32) -> String {
        match step {
            0 => self.key.clone(),
            // Keys are printable, so that this is nobody's key.
            _ => format!("{}\u{1f}{step}", self.key),
        }
    }

    fn overtaken_by(&self, what: Overtaken) -> Error {
        self.progress.lock().overtaken = Some(what);
        Error::Conflict("another call with this key was faster".to_owned())
    }

    /// Takes the row of a step, or gives what a call before has kept there. Where one is at work on
    /// it just now, its commit is waited for.
    async fn take(&self, tx: &mut Tx, step: u32) -> Result<Option<String>> {
        let (bucket, row) = (bucket(&self.key), self.row(step));
        let hash = || self.request_hash.clone();
        let new = crate::params![bucket, &row, hash(), 0, "", self.at];
        if tx.execute(&TAKE, new).await? > 0 {
            return Ok(None);
        }
        let kept = tx.first(&LOOK, crate::params![bucket, &row]).await?;
        let gone = || Error::Unavailable("a kept answer was dropped just now".to_owned());
        let kept = kept.ok_or_else(gone)?;
        if kept.bytes(0)? != self.request_hash {
            return Err(self.overtaken_by(Overtaken::Mismatch));
        }
        if kept.int(1)? != 0 {
            return Err(self.overtaken_by(Overtaken::Answered));
        }
        kept.text(2).map(Some)
    }
}

/// Whether this task works on a kept call.
pub fn is_kept() -> bool {
    CALL.try_with(|_| ()).is_ok()
}

/// Whether this task works on a kept call that another one has overtaken: trying again is no use.
pub fn is_overtaken() -> bool {
    CALL.try_with(|once| once.overtaken().is_some()).unwrap_or(false)
}

fn read<T: DeserializeOwned>(kept: &str) -> Result<T> {
    serde_json::from_str(kept).map_err(|error| Error::Corrupt(format!("a kept result: {error}")))
}

fn bucket(key: &str) -> u16 {
    keyed_bucket("idempotency", key)
}

impl Workspace {
    /// A write whose result is kept where it is part of a kept call. A call's writes must come in
    /// the same order each time that it runs.
    pub(crate) async fn write_kept<T: Serialize + DeserializeOwned + Send + 'static>(
        &self,
        priority: Priority,
        work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + 'static,
    ) -> Result<T> {
        let Ok(once) = CALL.try_with(Arc::clone) else {
            let told = |result: &T| serde_json::to_value(result).unwrap_or_default();
            return self.write_acted(priority, told, work).await;
        };
        let act = crate::audit::open_act();
        let writing = act.clone();
        let step = once.progress.lock().steps;
        let call = once.clone();
        let (result, is_replayed, written) = self
            .write(priority, move |tx| {
                Box::pin(async move {
                    if let Some(kept) = call.take(tx, step).await? {
                        return Ok((read(&kept)?, true, true));
                    }
                    let result = work(tx).await?;
                    let kept = serde_json::to_value(&result)
                        .map_err(|error| Error::Database(format!("keep a result: {error}")))?;
                    let row = crate::params![bucket(&call.key), call.row(step), kept.to_string()];
                    tx.execute(&KEEP, row).await?;
                    let written = match writing {
                        Some(act) => act.write(tx, &kept).await?,
                        None => false,
                    };
                    Ok((result, false, written))
                })
            })
            .await?;
        if let Some(act) = act.filter(|_| written) {
            act.is_written();
        }
        let mut progress = once.progress.lock();
        progress.steps += 1;
        progress.replayed += u32::from(is_replayed);
        Ok(result)
    }

    /// Whether the next write of this kept call was done by a call before it, so that what it did
    /// must not be taken for a reason to refuse it.
    pub async fn is_done_already(&self) -> Result<bool> {
        let Ok(once) = CALL.try_with(Arc::clone) else { return Ok(false) };
        if !once.resumed {
            return Ok(false);
        }
        let row = once.row(once.progress.lock().steps);
        let params = crate::params![bucket(&once.key), row].to_vec();
        let found =
            self.read(move |tx| Box::pin(async move { tx.first(&LOOK, &params).await })).await?;
        once.progress.lock().found |= found.is_some();
        Ok(found.is_some())
    }

    /// What is known of a key.
    pub async fn look_idempotent(&self, key: &str, request_hash: &[u8]) -> Result<Begun> {
        let params = crate::params![bucket(key), key].to_vec();
        let found =
            self.read(move |tx| Box::pin(async move { tx.first(&LOOK, &params).await })).await?;
        let Some(row) = found else { return Ok(Begun::Fresh) };
        if row.bytes(0)? != request_hash {
            return Ok(Begun::Mismatch);
        }
        Ok(match row.small(1)? {
            0 => Begun::Running,
            status => Begun::Answered { status, answer: row.text(2)? },
        })
    }

    /// Takes a key for a held call, or says what became of the first call with it. A call that was
    /// last heard of before `stale_before` is taken over.
    pub async fn hold_idempotent(
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
                let row = crate::params![bucket, key, request_hash.clone(), 0, "", at];
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

    /// Says that a held call is still being worked on.
    pub async fn renew_idempotent(&self, key: &str, at: Timestamp) -> Result<()> {
        self.touch_key(&RENEW, crate::params![bucket(key), key, at].to_vec()).await.map(|_| ())
    }

    /// Keeps the answer of a call; an answer that is there already stays. Where the call left no
    /// row, as it has changed nothing, another one's row stays as well.
    pub async fn finish_idempotent(
        &self,
        key: &str,
        request_hash: Vec<u8>,
        has_row: bool,
        (status, answer): (u16, &str),
        at: Timestamp,
    ) -> Result<()> {
        let row = crate::params![bucket(key), key, request_hash, status, answer, at].to_vec();
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                tx.execute(if has_row { &FINISH } else { &TAKE }, &row).await.map(|_| ())
            })
        })
        .await
    }

    /// Gives the key of a held call free: it did nothing and may be tried again.
    pub async fn forget_idempotent(&self, key: &str) -> Result<()> {
        self.touch_key(&FORGET, crate::params![bucket(key), key].to_vec()).await.map(|_| ())
    }

    /// Drops answers that were kept before a time; how many rows there were.
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
