//! A call sent twice is done once: answers kept by the caller's key for a day.
//!
//! A key belongs to one caller in one workspace. While the first call is worked on, a second one
//! with the same key is a conflict; afterwards it gets the first one's answer.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tidings_store::idempotency::Begun;

use crate::{Ctx, Error, Result};

/// How long an answer is kept.
const KEEP_SECS: i64 = 24 * 3_600;
/// A call that nobody renewed for so long died with its process.
const STALE_SECS: i64 = 60;
/// How often a call that is worked on is renewed.
pub const RENEW_EVERY: Duration = Duration::from_secs(15);
/// The largest answer that is kept, in bytes.
pub const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// The kind of the job that drops old answers.
pub const CLEAN_UP: &str = "clean_up_answers";

/// What to do with a call.
#[derive(Debug)]
pub enum Start {
    /// Do it, and hand the answer to [`Key::finish`].
    Go(Key),
    /// The first call's answer.
    Replay { status: u16, answer: String },
    /// The key was used for another request.
    Mismatch,
}

/// A key that is held while its call is worked on.
#[derive(Debug)]
pub struct Key {
    key: String,
}

/// Begins a call. `caller` keeps the keys of two callers apart; `request` is everything that makes
/// two calls the same: method, path and body.
pub async fn begin(ctx: &Ctx, caller: &str, key: &str, request: &[&[u8]]) -> Result<Start> {
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
    let now = ctx.now();
    let stale = now.plus_secs(-STALE_SECS);
    let begun = ctx.workspace.begin_idempotent(&key, hash.finalize().to_vec(), now, stale).await?;
    Ok(match begun {
        Begun::Fresh => {
            plan_clean_up(ctx).await?;
            Start::Go(Key { key })
        }
        Begun::Running => {
            return Err(Error::Conflict("the first call with this key is not finished".to_owned()));
        }
        Begun::Mismatch => Start::Mismatch,
        Begun::Answered { status, answer } => Start::Replay { status, answer },
    })
}

impl Key {
    /// Says that the call is still being worked on; call it every [`RENEW_EVERY`].
    pub async fn renew(&self, ctx: &Ctx) -> Result<()> {
        Ok(ctx.workspace.renew_idempotent(&self.key, ctx.now()).await?)
    }

    /// Keeps the answer.
    pub async fn finish(self, ctx: &Ctx, status: u16, answer: &str) -> Result<()> {
        Ok(ctx.workspace.finish_idempotent(&self.key, status, answer, ctx.now()).await?)
    }

    /// The call did nothing: it may be tried again with the same key.
    pub async fn forget(self, ctx: &Ctx) -> Result<()> {
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
