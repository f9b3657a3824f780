//! Undoing an import: what its journal holds is taken back slice by slice. A field goes back only
//! where it still holds what the import wrote, a customer that it made goes only where nothing else
//! has touched it, and what stays is listed.
//!
//! A slice's journal rows are deleted in the transaction that takes them back, so a crash goes on
//! behind the last committed slice.

mod consents;
mod customers;
mod forget;
mod kept;
mod made;
mod names;
mod records;
mod stories;
mod values;

use std::collections::BTreeSet;

use tidings_domain::rule::calendar::Zone;
use tidings_domain::schema::Schema;
use tidings_domain::{ImportId, Timestamp};

pub use self::kept::Kept;
use self::stories::{Outcome, Story, stories};
use crate::Result;
use crate::changes::journal::Subject;
use crate::engines::{Priority, Tx};
use crate::jobs::{self, Job};
use crate::memberships::REFRESH_SEGMENTS;
use crate::sql::Sql;
use crate::workspace::Workspace;

/// The job that undoes an import; its subject is the import's id.
pub const UNDO_IMPORT: &str = "undo_import";

/// Journal rows of a slice.
const SLICE: i64 = 400;

static START: Sql = Sql::reference(
    "start_undo",
    "update {s}imports set undo = ?2
     where id = ?1 and undo is null and state in ('done', 'failed', 'cancelled')",
);
static KEEP: Sql = Sql::reference("keep_undo", "update {s}imports set undo = ?2 where id = ?1");
static COUNT: Sql = Sql::reference(
    "count_journal",
    "select count(*) from {s}import_journal
     where import_number = (select number from {s}imports where id = ?1)",
);
static SLICE_OF: Sql = Sql::reference(
    "journal_slice",
    "select bucket, customer_id, table_number, record_key, part, at, created, changes
     from {s}import_journal where import_number = ?1
     order by customer_id, table_number, record_key, part limit ?2",
);
static OF_SUBJECT: Sql = Sql::reference(
    "journal_of_subject",
    "select bucket, customer_id, table_number, record_key, part, at, created, changes
     from {s}import_journal where import_number = ?1 and customer_id = ?2
       and table_number = ?3 and record_key = ?4 order by part",
);
static FORGET_SLICE: Sql = Sql::reference(
    "forget_journal_slice",
    "delete from {s}import_journal where import_number = ?1
       and (customer_id, table_number, record_key, part) <= (?2, ?3, ?4, ?5)",
);

static OWN: &[&Sql] = &[&START, &KEEP, &COUNT, &SLICE_OF, &OF_SUBJECT, &FORGET_SLICE];

/// The statements of this folder, one list a file.
pub(crate) static SQLS: &[&[&Sql]] = &[OWN, consents::SQL, forget::SQL, kept::SQL];

/// What a slice did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// Journal rows that are done with.
    pub rows: u64,
    /// Customers or records that got at least one field back.
    pub restored: u64,
    /// Customers or records that the import made and that are gone again.
    pub deleted: u64,
    /// Fields, customers and records that stay as they are.
    pub kept: u64,
    /// The journal is empty now.
    pub ended: bool,
}

/// What every part of a slice needs to know.
struct Undoing<'a> {
    schema: &'a Schema,
    zone: &'a Zone,
    /// The import's number.
    number: i64,
    at: Timestamp,
}

impl Workspace {
    /// Starts to undo a finished import; its job is written in the same transaction. False where it
    /// is undone already, or not finished.
    pub async fn start_undo(&self, id: ImportId, undo: String, at: Timestamp) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let started = tx.execute(&START, crate::params![id, undo]).await? > 0;
                if started {
                    jobs::add(tx, UNDO_IMPORT, &id.to_string(), "", at).await?;
                }
                Ok(started)
            })
        })
        .await
    }

    /// How many journal rows an import has.
    pub async fn journal_rows(&self, id: ImportId) -> Result<u64> {
        self.read(move |tx| {
            Box::pin(async move {
                let row = tx.first(&COUNT, crate::params![id]).await?;
                row.map_or(Ok(0), |row| row.small(0))
            })
        })
        .await
    }

    /// Takes back the next slice of an import's journal; `report` makes the import's new undo text of
    /// what the slice did.
    pub async fn undo_slice(
        &self,
        job: &Job,
        id: ImportId,
        number: i64,
        at: Timestamp,
        report: impl FnOnce(&Undone) -> Result<String> + Send + 'static,
    ) -> Result<Undone> {
        let schema = self.fresh_schema().await?;
        let zone = Zone::named(&self.row.time_zone);
        let job = job.clone();
        self.write(Priority::Bulk, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                let undone =
                    undo_slice(tx, &Undoing { schema: &schema, zone: &zone, number, at }).await?;
                let text = report(&undone)?;
                tx.execute(&KEEP, crate::params![id, text]).await?;
                if undone.ended {
                    jobs::add(tx, REFRESH_SEGMENTS, "all", "", at).await?;
                }
                Ok(undone)
            })
        })
        .await
    }
}

async fn undo_slice(tx: &mut Tx, how: &Undoing<'_>) -> Result<Undone> {
    let number = how.number;
    let rows = tx.query(&SLICE_OF, crate::params![number, SLICE]).await?;
    let whole = rows.len() < SLICE as usize;
    let mut stories = stories(&rows)?;
    if !whole && stories.len() > 1 {
        // The last one may have been cut; the next slice has all of it.
        stories.pop();
    } else if let (false, [story]) = (whole, stories.as_slice()) {
        let Subject { customer, table, key, .. } = story.subject.clone();
        let params = crate::params![number, customer, i64::from(table), key];
        stories = self::stories::stories(&tx.query(&OF_SUBJECT, params).await?)?;
    }
    let mut out = Outcome::default();
    out.undone.rows = stories.iter().map(|story| story.rows).sum();
    out.undone.ended = whole;
    let (customers, records): (Vec<&Story>, Vec<&Story>) =
        stories.iter().partition(|story| story.subject.table == 0);
    customers::undo(tx, how, &customers, &mut out).await?;
    let tables: BTreeSet<i32> = records.iter().map(|story| story.subject.table).collect();
    for table in tables {
        let of_table: Vec<&Story> =
            records.iter().copied().filter(|story| story.subject.table == table).collect();
        match how.schema.tables.iter().find(|one| one.number == table) {
            Some(known) => records::undo(tx, known, &of_table, how.at, &mut out).await?,
            None => of_table.iter().for_each(|story| out.keep_whole(story, "gone")),
        }
    }
    out.write(tx, number).await?;
    if let Some(Story { subject, last_part, .. }) = stories.last() {
        let Subject { customer, table, key, .. } = subject.clone();
        let params = crate::params![number, customer, i64::from(table), key, *last_part];
        tx.execute(&FORGET_SLICE, params).await?;
    }
    Ok(out.undone)
}
