//! Journals are kept for a time only.

use tidings_domain::Timestamp;

use crate::Result;
use crate::engines::Priority;
use crate::sql::Sql;
use crate::workspace::Workspace;

/// Buckets whose journal is forgotten in one write.
const CLEANED: i64 = 32;

static OLD: Sql = Sql::reference(
    "old_journals",
    "select i.number from {s}imports i where i.finished_at < ?1
       and (exists (select 1 from {s}import_journal j where j.import_number = i.number)
         or exists (select 1 from {s}import_kept k where k.import_number = i.number))
     order by i.number limit 1",
);
static FORGET: Sql = Sql::reference(
    "forget_journal",
    "delete from {s}import_journal where import_number = ?1 and bucket >= ?2 and bucket < ?3",
);
static FORGET_KEPT: Sql =
    Sql::reference("forget_kept", "delete from {s}import_kept where import_number = ?1");

pub(super) static SQL: &[&Sql] = &[&OLD, &FORGET, &FORGET_KEPT];

impl Workspace {
    /// Forgets the journals of imports that ended before a time, and what undoing them left.
    pub async fn forget_journals(&self, before: Timestamp) -> Result<()> {
        loop {
            let old = self.read(move |tx| {
                Box::pin(async move { tx.first(&OLD, crate::params![before]).await })
            });
            let Some(row) = old.await? else { return Ok(()) };
            let number = row.int(0)?;
            let mut from = 0;
            while from < i64::from(tidings_domain::bucket::BUCKETS) {
                self.write(Priority::Bulk, move |tx| {
                    Box::pin(async move {
                        let params = crate::params![number, from, from + CLEANED];
                        tx.execute(&FORGET, params).await?;
                        tx.execute(&FORGET_KEPT, crate::params![number]).await
                    })
                })
                .await?;
                from += CLEANED;
            }
        }
    }
}
