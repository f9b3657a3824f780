//! A call sent twice is done once: answers kept by the caller's key for a day.
//!
//! A key belongs to one caller in one workspace. What a call does and what is known of it are
//! committed together, so that a second call with the key never does it again: it waits for the
//! first one's commit, is given what that did, and answers the same. Where the work is no
//! transaction of the workspace (files, mails, tokens) the key is held instead: a second call is a
//! conflict while the first is worked on.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
pub use tidings_store::idempotency::Overtaken;
use tidings_store::idempotency::{Begun, Once};

use crate::{Ctx, Error, Result};

/// How long an answer is kept.
const KEEP_SECS: i64 = 24 * 3_600;
/// A held call that nobody renewed for so long died with its process.
const STALE_SECS: i64 = 60;
/// How often a held call is renewed.
pub const RENEW_EVERY: Duration = Duration::from_secs(15);
/// The largest answer that is kept, in bytes.
pub const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// The kind of the job that drops old answers.
pub const CLEAN_UP: &str = "clean_up_answers";

/// What to do with a call.
#[derive(Debug)]
pub enum Start {
    /// Do it by [`Key::run`], and hand the answer to [`Key::finish`].
    Go(Key),
    /// The first call's answer.
    Replay { status: u16, answer: String },
    /// The key was used for another request.
    Mismatch,
}

/// Whether a call's work is all in transactions of its workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Transactions,
    Else,
}

/// A call with a key, while it is worked on.
#[derive(Debug)]
pub struct Key {
    key: String,
    request_hash: Vec<u8>,
    /// `None` where the key is held.
    once: Option<Arc<Once>>,
}

/// Begins a call. `caller` keeps the keys of two callers apart; `request` is everything that makes
/// two calls the same: method, path and body.
pub async fn begin(
    ctx: &Ctx,
    caller: &str,
    key: &str,
    request: &[&[u8]],
    work: Work,
) -> Result<Start> {
    if key.is_empty() || key.len() > 255 || !key.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        let expected = "expected a key of 1 to 255 printable ASCII characters";
        return Err(Error::invalid("Idempotency-Key", expected));
    }
    let key = format!("{caller} {key}");
    let mut hash = Sha256::new();
    for part in request {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let request_hash = hash.finalize().to_vec();
    let begun = match work {
        Work::Transactions => ctx.workspace.look_idempotent(&key, &request_hash).await?,
        Work::Else => hold(ctx, &key, &request_hash).await?,
    };
    let is_held = work == Work::Else;
    Ok(match begun {
        Begun::Running if is_held => {
            return Err(Error::Conflict("the first call with this key is not finished".to_owned()));
        }
        Begun::Fresh | Begun::Running => {
            plan_clean_up(ctx).await?;
            let once = || {
                let resumed = begun == Begun::Running;
                Once::new(key.clone(), request_hash.clone(), ctx.now(), resumed)
            };
            let once = (!is_held).then(once);
            Start::Go(Key { key, request_hash, once })
        }
        Begun::Mismatch => Start::Mismatch,
        Begun::Answered { status, answer } => Start::Replay { status, answer },
    })
}

async fn hold(ctx: &Ctx, key: &str, request_hash: &[u8]) -> Result<Begun> {
    let now = ctx.now();
    let mut stale = now.plus_secs(-STALE_SECS);
    if ctx.workspace.is_embedded() {
        // Nobody else serves this file, so what began before this process is over.
        stale = stale.max(ctx.hub.started_at);
    }
    Ok(ctx.workspace.hold_idempotent(key, request_hash.to_vec(), now, stale).await?)
}

impl Key {
    /// Does the work of the call, in this very task.
    pub async fn run<F: Future>(&self, work: F) -> F::Output {
        match &self.once {
            Some(once) => once.run(work).await,
            None => work.await,
        }
    }

    /// Whether a call before this one had done everything, and only its answer was missing.
    pub fn is_replayed(&self) -> bool {
        self.once.as_ref().is_some_and(|once| once.is_replayed())
    }

    /// Whether another call with this key stood in the way meanwhile.
    pub fn overtaken(&self) -> Option<Overtaken> {
        self.once.as_ref().and_then(|once| once.overtaken())
    }

    /// Says that the call is still being worked on; call it every [`RENEW_EVERY`].
    pub async fn renew(&self, ctx: &Ctx) -> Result<()> {
        if self.once.is_some() {
            return Ok(());
        }
        Ok(ctx.workspace.renew_idempotent(&self.key, ctx.now()).await?)
    }

    /// Keeps the answer.
    pub async fn finish(self, ctx: &Ctx, status: u16, answer: &str) -> Result<()> {
        let Key { key, request_hash, once } = self;
        let has_row = once.is_none_or(|once| once.has_row());
        let (answer, at) = ((status, answer), ctx.now());
        Ok(ctx.workspace.finish_idempotent(&key, request_hash, has_row, answer, at).await?)
    }

    /// The call has no answer to keep, and may be tried again with the same key.
    pub async fn forget(self, ctx: &Ctx) -> Result<()> {
        if self.once.is_some() {
            // What it has done stays with the key, and what it has not done left nothing.
            return Ok(());
        }
        Ok(ctx.workspace.forget_idempotent(&self.key).await?)
    }
}

/// Sees to it that this workspace drops old answers; the job goes on by itself from then.
async fn plan_clean_up(ctx: &Ctx) -> Result<()> {
    let workspace = ctx.workspace.row.id;
    if ctx.hub.answers_cleaned.lock().contains(&workspace) {
        return Ok(());
    }
    ctx.workspace.add_job(CLEAN_UP, "", ctx.now().plus_secs(3_600)).await?;
    ctx.hub.answers_cleaned.lock().insert(workspace);
    Ok(())
}

/// Drops what is older than a day; the work of the job.
pub(crate) async fn clean_up(ctx: &Ctx) -> Result<()> {
    ctx.workspace.clean_idempotent(ctx.now().plus_secs(-KEEP_SECS)).await?;
    Ok(())
}
