//! Background work: claimed under a lease, fenced by its epoch, taken over when its holder is gone.

use std::sync::OnceLock;

use tidings_domain::{JobId, NodeId, Timestamp};

use crate::engines::{Priority, Tx};
use crate::sql::{Dialect, Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// How long a lease lasts without being renewed. `TIDINGS_TEST_LEASE_SECS` shortens it for tests
/// that wait for one to lapse; it is no setting of the program.
pub fn lease_secs() -> i64 {
    static SECS: OnceLock<i64> = OnceLock::new();
    *SECS.get_or_init(|| {
        let given = std::env::var("TIDINGS_TEST_LEASE_SECS").ok();
        given.and_then(|text| text.parse().ok()).filter(|secs| *secs > 0).unwrap_or(30)
    })
}

/// A job as it is claimed: `kind` says what to do, `subject` with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub id: JobId,
    pub kind: String,
    pub subject: String,
    pub payload: String,
    pub attempts: i32,
    /// The epoch under which this holder may write.
    pub epoch: i64,
}

/// What becomes of a job when its holder lets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Finished: the row goes away.
    Done,
    /// To be run again at a time, by anyone.
    Again(Timestamp),
    /// Finished badly; kept to be seen.
    Failed(String),
}

static ADD: Sql = Sql::reference(
    "add_job",
    "insert into {s}jobs as j
       (id, kind, subject, payload, state, due_at, attempts, lease_epoch, fenced, created_at)
     values (?1, ?2, ?3, ?4, 'due', ?5, 0, 0, 0, ?6)
     on conflict (kind, subject) do update
       set due_at = case when j.state = 'due' and j.due_at < excluded.due_at
                         then j.due_at else excluded.due_at end,
           payload = excluded.payload,
           state = case when j.state = 'failed' then 'due' else j.state end",
);
static CLAIM_SQLITE: Sql = Sql::reference(
    "claim_job",
    "update {s}jobs set state = 'running', owner = ?1, lease_epoch = lease_epoch + 1,
       lease_until = ?3, attempts = attempts + 1, due_at = 9223372036854775807
     where id = (select id from {s}jobs
                 where (state = 'due' and due_at <= ?2)
                    or (state = 'running' and lease_until <= ?2)
                 order by due_at limit 1)
     returning id, kind, subject, payload, attempts, lease_epoch",
);
static CLAIM_POSTGRES: Sql = Sql::reference(
    "claim_job",
    "update {s}jobs set state = 'running', owner = ?1, lease_epoch = lease_epoch + 1,
       lease_until = ?3, attempts = attempts + 1, due_at = 9223372036854775807
     where id = (select id from {s}jobs
                 where (state = 'due' and due_at <= ?2)
                    or (state = 'running' and lease_until <= ?2)
                 order by due_at limit 1 for update skip locked)
     returning id, kind, subject, payload, attempts, lease_epoch",
);
static CLAIM_OF_SQLITE: Sql = Sql::reference(
    "claim_job_of",
    "update {s}jobs set state = 'running', owner = ?1, lease_epoch = lease_epoch + 1,
       lease_until = ?3, attempts = attempts + 1, due_at = 9223372036854775807
     where id = (select id from {s}jobs
                 where kind in (?4, ?5, ?6) and ((state = 'due' and due_at <= ?2)
                    or (state = 'running' and lease_until <= ?2))
                 order by due_at limit 1)
     returning id, kind, subject, payload, attempts, lease_epoch",
);
static CLAIM_OF_POSTGRES: Sql = Sql::reference(
    "claim_job_of",
    "update {s}jobs set state = 'running', owner = ?1, lease_epoch = lease_epoch + 1,
       lease_until = ?3, attempts = attempts + 1, due_at = 9223372036854775807
     where id = (select id from {s}jobs
                 where kind in (?4, ?5, ?6) and ((state = 'due' and due_at <= ?2)
                    or (state = 'running' and lease_until <= ?2))
                 order by due_at limit 1 for update skip locked)
     returning id, kind, subject, payload, attempts, lease_epoch",
);
static HOLD: Sql = Sql::reference(
    "hold_job",
    "update {s}jobs set lease_until = ?3 where id = ?1 and lease_epoch = ?2 and state = 'running'",
);
static DONE: Sql = Sql::reference(
    "finish_job",
    "delete from {s}jobs where id = ?1 and lease_epoch = ?2 and state = 'running'
       and due_at = 9223372036854775807",
);
static LET_GO: Sql = Sql::reference(
    "let_go_of_job",
    "update {s}jobs set state = 'due', owner = null, lease_until = null,
       error = cast(?4 as text),
       attempts = case when cast(?4 as text) is null then 0 else attempts end,
       due_at = case when due_at < ?3 then due_at else ?3 end
     where id = ?1 and lease_epoch = ?2 and state = 'running'",
);
static FAIL: Sql = Sql::reference(
    "fail_job",
    "update {s}jobs set state = 'failed', owner = null, lease_until = null, error = ?3
     where id = ?1 and lease_epoch = ?2 and state = 'running'",
);
static FENCED: Sql =
    Sql::reference("count_fenced", "update {s}jobs set fenced = fenced + 1 where id = ?1");
static FENCED_TOTAL: Sql = Sql::reference(
    "keep_fenced",
    "insert into {s}meta as m (key, value) values ('fenced_writes', '1')
     on conflict (key) do update set value = cast(cast(m.value as bigint) + 1 as text)",
);
static FENCED_SUM: Sql =
    Sql::reference("fenced_writes", "select value from {s}meta where key = 'fenced_writes'");
static NEXT_DUE: Sql = Sql::reference(
    "next_due_job",
    "select min(case when state = 'running' then lease_until else due_at end)
     from {s}jobs where state in ('due', 'running')",
);
static RELEASE: Sql = Sql::reference(
    "release_jobs",
    "update {s}jobs set state = 'due', owner = null, lease_until = null, due_at = ?2
     where owner = ?1 and state = 'running'",
);
static RELEASE_ALL: Sql = Sql::reference(
    "release_all_jobs",
    "update {s}jobs set state = 'due', owner = null, lease_until = null, due_at = ?1
     where state = 'running'",
);
static STUCK: Sql = Sql::reference(
    "failed_jobs",
    "select kind, subject, error from {s}jobs where state = 'failed' order by created_at limit 100",
);

pub(crate) static SQL: &[&Sql] = &[
    &ADD,
    &CLAIM_POSTGRES,
    &CLAIM_OF_POSTGRES,
    &HOLD,
    &DONE,
    &LET_GO,
    &FAIL,
    &FENCED,
    &FENCED_TOTAL,
    &FENCED_SUM,
    &NEXT_DUE,
    &RELEASE,
    &RELEASE_ALL,
    &STUCK,
];

/// Writes a job in the caller's transaction. A job of the same kind and subject is kept once; it
/// becomes due again, also while it runs.
pub(crate) async fn add(
    tx: &mut Tx,
    kind: &str,
    subject: &str,
    payload: &str,
    due_at: Timestamp,
) -> Result<()> {
    let params =
        crate::params![JobId::generate(), kind, subject, payload, due_at, Timestamp::now()];
    tx.execute(&ADD, params).await.map(|_| ())
}

/// The clock that leases are measured by: the database's own where nodes share one.
pub(crate) async fn lease_clock(tx: &mut Tx) -> Result<Timestamp> {
    match tx.dialect() {
        Dialect::Sqlite => Ok(Timestamp::now()),
        Dialect::Postgres => {
            let text = "select cast(extract(epoch from clock_timestamp()) * 1000000 as bigint)";
            let rows = tx.query_text(text, &[]).await?;
            rows.first().map_or_else(|| Ok(Timestamp::now()), |row| row.time(0))
        }
    }
}

/// Renews the lease inside a write of its holder, or refuses the whole write: a node that slept
/// past its lease can record nothing.
pub(crate) async fn hold(tx: &mut Tx, job: &Job) -> Result<()> {
    if crate::test_bug("no-fencing") {
        return Ok(());
    }
    let until = lease_clock(tx).await?.plus_secs(lease_secs());
    match tx.execute(&HOLD, crate::params![job.id, job.epoch, until]).await? {
        0 => Err(Error::Fenced),
        _ => Ok(()),
    }
}

fn job(row: &Row) -> Result<Job> {
    Ok(Job {
        id: JobId(row.uuid(0)?),
        kind: row.text(1)?,
        subject: row.text(2)?,
        payload: row.text(3)?,
        attempts: row.small(4)?,
        epoch: row.int(5)?,
    })
}

impl Workspace {
    /// Adds a job by itself; where it follows from a change, the change's own write adds it.
    pub async fn add_job(&self, kind: &str, subject: &str, due_at: Timestamp) -> Result<()> {
        let (kind, subject) = (kind.to_owned(), subject.to_owned());
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move { add(tx, &kind, &subject, "", due_at).await })
        })
        .await
    }

    /// Claims the job that has been due longest, if any.
    pub async fn claim_job(&self, node: NodeId) -> Result<Option<Job>> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let now = lease_clock(tx).await?;
                let sql = match tx.dialect() {
                    Dialect::Sqlite => &CLAIM_SQLITE,
                    Dialect::Postgres => &CLAIM_POSTGRES,
                };
                let params = crate::params![node, now, now.plus_secs(lease_secs())];
                tx.first(sql, params).await?.as_ref().map(job).transpose()
            })
        })
        .await
    }

    /// Claims the job of these kinds that has been due longest, if any; for a process that does
    /// one piece of work and leaves the rest to others.
    pub async fn claim_job_of(
        &self,
        node: NodeId,
        kinds: [&'static str; 3],
    ) -> Result<Option<Job>> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let now = lease_clock(tx).await?;
                let sql = match tx.dialect() {
                    Dialect::Sqlite => &CLAIM_OF_SQLITE,
                    Dialect::Postgres => &CLAIM_OF_POSTGRES,
                };
                let [one, two, three] = kinds;
                let until = now.plus_secs(lease_secs());
                let params = crate::params![node, now, until, one, two, three];
                tx.first(sql, params).await?.as_ref().map(job).transpose()
            })
        })
        .await
    }

    /// Renews the lease of a job that has nothing to write for a while.
    pub async fn hold_job(&self, job: &Job) -> Result<()> {
        let job = job.clone();
        self.write(Priority::Interactive, move |tx| Box::pin(async move { hold(tx, &job).await }))
            .await
    }

    /// Lets go of a job. A job that became due again while it ran is run again.
    pub async fn let_go_of_job(&self, job: &Job, next: Next, error: Option<String>) -> Result<()> {
        let job = job.clone();
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let far = Timestamp(i64::MAX);
                match next {
                    Next::Done => {
                        if tx.execute(&DONE, crate::params![job.id, job.epoch]).await? == 0 {
                            let params =
                                crate::params![job.id, job.epoch, far, Option::<String>::None];
                            tx.execute(&LET_GO, params).await?;
                        }
                    }
                    Next::Again(at) => {
                        let params = crate::params![job.id, job.epoch, at, error];
                        tx.execute(&LET_GO, params).await?;
                    }
                    Next::Failed(text) => {
                        tx.execute(&FAIL, crate::params![job.id, job.epoch, text]).await?;
                    }
                }
                Ok(())
            })
        })
        .await
    }

    /// Gives every job of a node that is stopping to the others at once.
    pub async fn release_jobs(&self, node: NodeId) -> Result<()> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let now = lease_clock(tx).await?;
                tx.execute(&RELEASE, crate::params![node, now]).await.map(|_| ())
            })
        })
        .await
    }

    /// Makes every job due whose holder died, without waiting for its lease. Only for a process that
    /// knows itself alone; should a holder live after all, its writes are turned away.
    pub async fn release_all_jobs(&self) -> Result<()> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let now = lease_clock(tx).await?;
                tx.execute(&RELEASE_ALL, crate::params![now]).await.map(|_| ())
            })
        })
        .await
    }

    /// Counts a write that came too late and was turned away.
    pub async fn count_fenced(&self, id: JobId) -> Result<()> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                tx.execute(&FENCED, crate::params![id]).await?;
                tx.execute(&FENCED_TOTAL, &[]).await.map(|_| ())
            })
        })
        .await
    }

    /// How many late writes have been turned away in this workspace.
    pub async fn fenced_writes(&self) -> Result<i64> {
        self.read(|tx| {
            Box::pin(async move {
                match tx.first(&FENCED_SUM, &[]).await? {
                    Some(row) => row
                        .text(0)?
                        .parse()
                        .map_err(|_| Error::Corrupt("fenced_writes is not a number".into())),
                    None => Ok(0),
                }
            })
        })
        .await
    }

    /// When the next job is due here, running ones by the end of their lease.
    pub async fn next_due_job(&self) -> Result<Option<Timestamp>> {
        self.read(|tx| {
            Box::pin(async move {
                let row = tx.first(&NEXT_DUE, &[]).await?;
                row.map_or(Ok(None), |row| row.opt_time(0))
            })
        })
        .await
    }

    /// Jobs that were given up: kind, subject and the error.
    pub async fn failed_jobs(&self) -> Result<Vec<(String, String, String)>> {
        self.read(|tx| {
            Box::pin(async move {
                let rows = tx.query(&STUCK, &[]).await?;
                rows.iter()
                    .map(|row| {
                        Ok((row.text(0)?, row.text(1)?, row.opt_text(2)?.unwrap_or_default()))
                    })
                    .collect()
            })
        })
        .await
    }
}
