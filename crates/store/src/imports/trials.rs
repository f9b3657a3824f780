//! Trying a draft: its rows go the way they would go, in transactions that are rolled back.

use std::sync::Arc;

use parking_lot::Mutex;
use tidings_domain::change::Outcome;
use tidings_domain::{ImportId, Timestamp};

use super::{Chunk, Import, TRY_IMPORT, changed, nothing_more};
use crate::changes::{Applying, apply_ready};
use crate::engines::Priority;
use crate::jobs::{self, Job};
use crate::sql::Sql;
use crate::workspace::Workspace;
use crate::{Error, Result};

static START_TRIAL: Sql = Sql::reference(
    "start_trial",
    "update {s}imports set trial_run = ?2, trial = ?3 where id = ?1 and state = 'draft'",
);
static KEEP_TRIAL: Sql = Sql::reference(
    "keep_trial",
    "update {s}imports set trial = ?3 where id = ?1 and trial_run = ?2 and state = 'draft'",
);

pub(super) static SQL: &[&Sql] = &[&START_TRIAL, &KEEP_TRIAL];

impl Workspace {
    /// Starts a trial of a draft, in place of any earlier one; its job is written in the same
    /// transaction.
    pub async fn start_trial(
        &self,
        id: ImportId,
        run: String,
        trial: String,
        at: Timestamp,
    ) -> Result<Import> {
        self.write_acted(Priority::Interactive, nothing_more, move |tx| {
            Box::pin(async move {
                let touched = tx.execute(&START_TRIAL, crate::params![id, run, trial]).await?;
                if touched > 0 {
                    jobs::add(tx, TRY_IMPORT, &id.to_string(), "", at).await?;
                }
                changed(tx, id, touched, "only a draft can be tried").await
            })
        })
        .await
    }

    /// Says how a trial stands; false where it is no longer the one that is wanted.
    pub async fn keep_trial(
        &self,
        job: &Job,
        id: ImportId,
        run: String,
        trial: String,
    ) -> Result<bool> {
        let job = job.clone();
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                Ok(tx.execute(&KEEP_TRIAL, crate::params![id, run, trial]).await? > 0)
            })
        })
        .await
    }

    /// What would become of a chunk's changes: they are applied in a transaction that is then rolled
    /// back, so each outcome is the real one.
    pub async fn try_chunk(
        &self,
        job: &Job,
        chunk: &Arc<Chunk>,
        at: Timestamp,
    ) -> Result<Vec<Outcome>> {
        let system_ids = self.system_ids(chunk.changes.upserts()).await?;
        let given = system_ids.clone();
        let schema = chunk.changes.schema().clone();
        let mut how = Applying { schema, at, judge: false, system_ids, journal: None };
        let (job, chunk) = (job.clone(), chunk.clone());
        let tried = Arc::new(Mutex::new(None));
        let outcomes = tried.clone();
        let rolled_back: Result<()> = self
            .write(Priority::Bulk, move |tx| {
                Box::pin(async move {
                    jobs::hold(tx, &job).await?;
                    let done = apply_ready(tx, &mut how, &chunk.changes).await?;
                    *tried.lock() = Some(done);
                    Err(Error::Conflict("a trial keeps nothing".to_owned()))
                })
            })
            .await;
        self.return_system_ids(given);
        let outcomes = outcomes.lock().take();
        match (outcomes, rolled_back) {
            (Some(outcomes), _) => Ok(outcomes),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err(Error::Corrupt("a trial was kept".to_owned())),
        }
    }
}
