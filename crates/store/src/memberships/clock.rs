//! When the clock alone asks for work: the earliest check of a customer, and midnights.

use tidings_domain::Timestamp;

use super::JUDGE_CUSTOMERS;
use crate::Result;
use crate::engines::{Priority, Tx};
use crate::jobs;
use crate::segments::EVALUATE_SEGMENT;
use crate::sql::Sql;
use crate::workspace::Workspace;

static NEXT: Sql = Sql::fan_out(
    "next_clock_check",
    "select (select min(next_check_at) from {s}segment_members where next_check_at is not null),
       (select min(check_at) from {s}segment_checks),
       (select min(next_boundary_at) from {s}segments where next_boundary_at is not null)",
);
static JUDGED_ALREADY: Sql = Sql::reference(
    "judge_job_waits",
    "select 1 from {s}jobs where kind = ?1 and state in ('due', 'running')",
);
static OVER: Sql = Sql::reference(
    "boundaries_over",
    "select number from {s}segments where next_boundary_at <= ?1",
);
/// The first slice sets the next boundary.
static RESTART: Sql = Sql::reference(
    "restart_segment",
    "update {s}segments set next_slice = 0, next_boundary_at = null where number = ?1",
);

pub(super) static SQL: &[&Sql] = &[&NEXT, &JUDGED_ALREADY, &OVER, &RESTART];

/// What the clock asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockDue {
    /// Nothing before this time, or ever.
    Later(Option<Timestamp>),
    /// The jobs for it were added.
    Now,
}

impl Workspace {
    /// Adds the jobs that the clock asks for at this time: judging those whose verdict may have
    /// turned, and evaluating the segments for which a midnight has passed.
    pub async fn heed_clock(&self, now: Timestamp) -> Result<ClockDue> {
        let (checks, boundary) = self.read(|tx| Box::pin(next(tx))).await?;
        let is_due = move |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        if !is_due(checks) && !is_due(boundary) {
            return Ok(ClockDue::Later([checks, boundary].into_iter().flatten().min()));
        }
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                if is_due(boundary) {
                    let over = tx.query(&OVER, crate::params![now]).await?;
                    for row in over {
                        restart(tx, row.small(0)?).await?;
                    }
                }
                let judging = tx.first(&JUDGED_ALREADY, crate::params![JUDGE_CUSTOMERS]).await?;
                if is_due(checks) && judging.is_none() {
                    let at = jobs::lease_clock(tx).await?;
                    jobs::add(tx, JUDGE_CUSTOMERS, "all", "", at).await?;
                }
                Ok(ClockDue::Now)
            })
        })
        .await
    }

    /// Has these segments evaluated anew from their first slice.
    pub async fn restart_segments(&self, segments: Vec<i32>) -> Result<()> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                for segment in segments {
                    restart(tx, segment).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

async fn next(tx: &mut Tx) -> Result<(Option<Timestamp>, Option<Timestamp>)> {
    let Some(row) = tx.first(&NEXT, &[]).await? else { return Ok((None, None)) };
    let checks = [row.opt_time(0)?, row.opt_time(1)?].into_iter().flatten().min();
    Ok((checks, row.opt_time(2)?))
}

/// Begins a segment's evaluation again. An evaluation that is under way goes back to its first
/// slice, and its job runs once more should it be at its last.
async fn restart(tx: &mut Tx, segment: i32) -> Result<()> {
    tx.execute(&RESTART, crate::params![segment]).await?;
    let at = jobs::lease_clock(tx).await?;
    jobs::add(tx, EVALUATE_SEGMENT, &segment.to_string(), "", at).await
}
