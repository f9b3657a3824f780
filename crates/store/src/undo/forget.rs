//! Journals are kept for a time only.

use tidings_domain::Timestamp;

use super::{FORGET_SLICE, SLICE_OF};
use crate::Result;
use crate::engines::{Priority, Tx};
use crate::sql::Sql;
use crate::workspace::Workspace;

/// Journal rows that are forgotten in one write.
const CLEANED: usize = 2_000;

static OLD: Sql = Sql::reference(
    "old_journals",
    "select i.number from {s}imports i where i.finished_at < ?1
       and (exists (select 1 from {s}import_journal j where j.import_number = i.number)
         or exists (select 1 from {s}import_kept k where k.import_number = i.number))
     order by i.number limit 1",
);
static FORGET: Sql =
    Sql::reference("forget_journal", "delete from {s}import_journal where import_number = ?1");
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
            while self.write(Priority::Bulk, move |tx| Box::pin(forget_some(tx, number))).await? {}
        }
    }
}

/// Forgets the first rows of a journal; false where they were the last.
async fn forget_some(tx: &mut Tx, number: i64) -> Result<bool> {
    let rows = tx.query(&SLICE_OF, crate::params![number, CLEANED as i64]).await?;
    let Some(row) = rows.last().filter(|_| rows.len() == CLEANED) else {
        tx.execute(&FORGET, crate::params![number]).await?;
        tx.execute(&FORGET_KEPT, crate::params![number]).await?;
        return Ok(false);
    };
    let (customer, table) = (row.uuid(1)?, row.int(2)?);
    let (key, part) = (row.text(3)?, row.int(4)?);
    tx.execute(&FORGET_SLICE, crate::params![number, customer, table, key, part]).await?;
    Ok(true)
}
