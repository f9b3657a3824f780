//! Frozen audiences: the members of a segment kept as a group, which no rule changes any more.

use serde::{Deserialize, Serialize};
use tidings_domain::{CustomerId, SegmentId, Timestamp};

use super::MEMBERS;
use crate::bulk::{ColumnType, OnConflict, column, insert_many};
use crate::changes::sort_rows;
use crate::engines::Priority;
use crate::groups::Group;
use crate::jobs::{self, Job};
use crate::sql::{Param, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// The kind of the job that copies a segment's members into a group.
pub const FREEZE_SEGMENT: &str = "freeze_segment";
/// How many members one transaction copies.
const COPIED_AT_ONCE: usize = 1_000;

static COPIED: Sql =
    Sql::reference("freeze_progress", "update {s}jobs set payload = ?2 where id = ?1");

pub(super) static SQL: &[&Sql] = &[&COPIED];

/// What the job has to do, and how far it has come.
#[derive(Serialize, Deserialize)]
struct Freezing {
    segment: i32,
    group: i32,
    /// Who came later is not copied.
    at: Timestamp,
    after: CustomerId,
}

/// How far the copying has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copied {
    /// There are more; the job with its progress.
    Some(Job),
    /// The group of this number is complete.
    All { group: i32 },
}

impl Workspace {
    /// Makes a group and the job that fills it with the members that a segment has now; a taken
    /// name is a conflict.
    pub async fn freeze_segment(
        &self,
        segment: i32,
        id: SegmentId,
        group: &str,
        at: Timestamp,
    ) -> Result<Group> {
        let name = group.to_owned();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let group = crate::groups::add(tx, &name, at).await?;
                let freezing = Freezing {
                    segment,
                    group: group.number,
                    at,
                    after: CustomerId(uuid::Uuid::nil()),
                };
                let payload = serde_json::to_string(&freezing)
                    .map_err(|error| Error::Corrupt(error.to_string()))?;
                let subject = format!("{}:{}", id.0, group.number);
                let due = jobs::lease_clock(tx).await?;
                jobs::add(tx, FREEZE_SEGMENT, &subject, &payload, due).await?;
                Ok(group)
            })
        })
        .await
    }

    /// Copies the next members.
    pub async fn copy_members(&self, job: &Job) -> Result<Copied> {
        let mut job = job.clone();
        let mut freezing: Freezing = serde_json::from_str(&job.payload)
            .map_err(|_| Error::Corrupt("the job of a frozen segment is not JSON".into()))?;
        self.write(Priority::Bulk, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                let params =
                    crate::params![freezing.segment, freezing.after, COPIED_AT_ONCE as i64];
                let found = tx.query(&MEMBERS, params).await?;
                let mut rows: Vec<Vec<Param>> = Vec::with_capacity(found.len());
                for row in &found {
                    let customer = CustomerId(row.uuid(0)?);
                    freezing.after = customer;
                    // A time after the freeze began says that they came later.
                    if row.time(1)? <= freezing.at {
                        let mut key = super::member_key(customer, freezing.group);
                        key.push(freezing.at.into());
                        rows.push(key);
                    }
                }
                sort_rows(&mut rows);
                let columns = [
                    column("bucket", ColumnType::SmallInt),
                    column("customer_id", ColumnType::Uuid),
                    column("group_number", ColumnType::Int),
                    column("since", ColumnType::BigInt),
                ];
                insert_many(tx, "group_members", &columns, &rows, OnConflict::Keep, "").await?;
                if found.len() < COPIED_AT_ONCE {
                    return Ok(Copied::All { group: freezing.group });
                }
                job.payload = serde_json::to_string(&freezing)
                    .map_err(|error| Error::Corrupt(error.to_string()))?;
                tx.execute(&COPIED, crate::params![job.id, &job.payload]).await?;
                Ok(Copied::Some(job))
            })
        })
        .await
    }
}
