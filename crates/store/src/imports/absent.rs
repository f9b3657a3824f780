//! Who was not in the file: in the mode *replace* every row notes its customer, and behind the last
//! row those who were not noted get *no* in the attribute that says so. Their data stays.

use tidings_domain::change::{Change, FieldChange, Mode, Outcome, UpsertCustomer};
use tidings_domain::value::{Storage, Value};
use tidings_domain::{CustomerId, ImportId, Timestamp, bucket_of};

use super::chunks::{Stands, stands};
use super::{Advance, ImportState, refresh_segments, signed};
use crate::bulk::{ColumnType, OnConflict, column, insert_many};
use crate::changes::journal::Journal;
use crate::changes::{Applying, Ready, apply_ready, sort_rows};
use crate::engines::{Priority, Tx};
use crate::jobs::{self, Job};
use crate::sql::{Dialect, Param, Sql, quoted};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// Positions behind the last row start so; the next slice of customers follows.
pub const ABSENT: &str = "absent:";

/// Width of one slice: system ids on SQLite, buckets on PostgreSQL.
const SLICE_SYSTEM_IDS: i64 = 500;
const SLICE_BUCKETS: i64 = 8;

/// Rows that are forgotten in one write.
const FORGOTTEN: i64 = 2_000;

static FORGET: Sql = Sql::reference(
    "forget_seen",
    "delete from {s}import_seen where import_number = ?1 and customer_id in
       (select customer_id from {s}import_seen where import_number = ?1 limit ?2)",
);
static ADVANCE: Sql = Sql::reference(
    "advance_absent",
    "update {s}imports set position = ?2, rows_absent = rows_absent + ?3, state = ?4,
       finished_at = ?5, error = null
     where number = ?1",
);

pub(super) static SQL: &[&Sql] = &[&FORGET, &ADVANCE];

/// Notes the customers of a chunk's rows.
pub(super) async fn note_seen(tx: &mut Tx, import: i64, outcomes: &[Outcome]) -> Result<()> {
    let ids = outcomes.iter().filter_map(Outcome::customer);
    let mut rows: Vec<Vec<Param>> =
        ids.map(|id| vec![bucket_of(id).into(), import.into(), id.into()]).collect();
    sort_rows(&mut rows);
    rows.dedup();
    let columns = [
        column("bucket", ColumnType::SmallInt),
        column("import_number", ColumnType::BigInt),
        column("customer_id", ColumnType::Uuid),
    ];
    insert_many(tx, "import_seen", &columns, &rows, OnConflict::Keep, "").await?;
    Ok(())
}

impl Workspace {
    /// Forgets who was in the file of an import that has ended.
    pub async fn forget_seen(&self, import: i64) -> Result<()> {
        loop {
            let gone = self.write(Priority::Bulk, move |tx| {
                Box::pin(
                    async move { tx.execute(&FORGET, crate::params![import, FORGOTTEN]).await },
                )
            });
            if gone.await? == 0 {
                return Ok(());
            }
        }
    }

    /// Marks the next slice of customers who were not in the file: `attribute` is set to *no*.
    pub async fn mark_absent(
        &self,
        job: &Job,
        id: ImportId,
        attribute: &str,
        at: Timestamp,
    ) -> Result<Advance> {
        let schema = self.fresh_schema().await?;
        let known =
            schema.attribute(attribute).filter(|one| one.kind.storage() == Storage::Boolean);
        let known = known.ok_or_else(|| Error::NotFound(format!("the attribute {attribute}")))?;
        let column = known.column.clone();
        let how = Applying {
            schema: schema.clone(),
            at,
            judge: false,
            system_ids: Vec::new(),
            journal: Some(Journal::default()),
        };
        let (job, attribute) = (job.clone(), attribute.to_owned());
        self.write(Priority::Bulk, move |tx| {
            Box::pin(async move { advance(tx, how, &job, id, (&attribute, &column)).await })
        })
        .await
    }
}

async fn advance(
    tx: &mut Tx,
    mut how: Applying,
    job: &Job,
    id: ImportId,
    (attribute, column): (&str, &str),
) -> Result<Advance> {
    let began = std::time::Instant::now();
    jobs::hold(tx, job).await?;
    let Stands { number, state, position, .. } = stands(tx, id).await?;
    if state != ImportState::Running {
        return Ok(Advance::Stopped(state));
    }
    let low = position.strip_prefix(ABSENT).and_then(|low| low.parse::<i64>().ok());
    let low = low.ok_or_else(|| Error::Conflict("the import has rows to come".to_owned()))?;
    let (high, end) = slice(tx, low).await?;
    let absent = absent(tx, number, column, (low, high)).await?;
    let changes = absent.iter().map(|id| {
        Change::UpsertCustomer(UpsertCustomer {
            id: Some(*id),
            mode: Mode::Update,
            attributes: vec![(attribute.to_owned(), FieldChange::SetJson(false.into()))],
            ..UpsertCustomer::default()
        })
    });
    let ready = Ready::new(&how.schema.clone(), changes.collect());
    apply_ready(tx, &mut how, &ready).await?;
    if let Some(journal) = how.journal.take() {
        // Behind every row, so that its parts are no row's.
        journal.write(tx, number, i64::MAX, how.at.0).await?;
    }
    let state = if end { ImportState::Done } else { ImportState::Running };
    let params = crate::params![
        number,
        format!("{ABSENT}{high}"),
        signed(absent.len() as u64),
        state.name(),
        end.then_some(how.at)
    ];
    tx.execute(&ADVANCE, params).await?;
    if end {
        refresh_segments(tx, how.at).await?;
    }
    Ok(Advance::Written { took: began.elapsed() })
}

/// The end of the slice that begins here, and whether it is the last.
async fn slice(tx: &mut Tx, low: i64) -> Result<(i64, bool)> {
    let (high, end) = match tx.dialect() {
        Dialect::Sqlite => {
            let text = "select coalesce(max(system_id), 0) from {s}customers";
            let last = tx.query_text(text, &[]).await?;
            let last = last.first().map_or(Ok(0), |row| row.int(0))?;
            (low + SLICE_SYSTEM_IDS, last + 1)
        }
        Dialect::Postgres => (low + SLICE_BUCKETS, i64::from(tidings_domain::bucket::BUCKETS)),
    };
    Ok((high, high >= end))
}

/// The customers of a slice who were not in the file and are not marked yet.
async fn absent(
    tx: &mut Tx,
    import: i64,
    attribute: &str,
    (low, high): (i64, i64),
) -> Result<Vec<CustomerId>> {
    let place = match tx.dialect() {
        Dialect::Sqlite => "c.system_id",
        Dialect::Postgres => "c.bucket",
    };
    let text = format!(
        "select c.id, c.{} from {{s}}customers c where {place} >= ?2 and {place} < ?3
           and not exists (select 1 from {{s}}import_seen s where s.bucket = c.bucket
             and s.import_number = ?1 and s.customer_id = c.id)",
        quoted(attribute)
    );
    let mut absent = Vec::new();
    for row in tx.query_text(&text, crate::params![import, low, high]).await? {
        if row.value(1, Storage::Boolean)? != Some(Value::Boolean(false)) {
            absent.push(CustomerId(row.uuid(0)?));
        }
    }
    Ok(absent)
}
