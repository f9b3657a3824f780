//! Letting go of what is older than the workspace wants to keep it: in slices, each of which a crash
//! leaves done or not begun, so that nobody who writes waits for long.

use tidings_domain::retention::Retention;
use tidings_domain::{CustomerId, ImportId, Timestamp};
use uuid::Uuid;

use crate::bulk::{Column, ColumnType, column, update_many};
use crate::changes::sort_rows;
use crate::engines::{Priority, Tx};
use crate::jobs::{self, Job};
use crate::sql::{Dialect, Param, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// The kind of the job that lets go of what is old.
pub const APPLY_RETENTION: &str = "apply_retention";
/// How many rows one transaction lets go of.
pub const SLICE: usize = 500;
/// How many system ids are looked through at once for customers of whom nothing was heard.
pub const INACTIVE_WINDOW: i64 = 5_000;

static GET: Sql = Sql::reference("retention", "select value from {s}meta where key = 'retention'");
static PUT: Sql = Sql::reference(
    "put_retention",
    "insert into {s}meta (key, value) values ('retention', ?1)
     on conflict (key) do update set value = excluded.value",
);
static NAMES: Sql =
    Sql::reference("names_of_events", "select number, name from {s}event_names order by number");
static COUNT_EVENTS: Sql = Sql::fan_out(
    "count_old_events",
    "select count(*) from {s}events e where e.name = ?1 and e.at < ?2
       and (e.campaign_id is null or not exists (select 1 from {s}campaigns c
         where c.id = e.campaign_id and (c.finished_at is null or c.finished_at >= ?3)))",
);
static DROP_EVENTS: Sql = Sql::fan_out(
    "drop_old_events",
    "delete from {s}events where (bucket, customer_id, at, id) in
       (select e.bucket, e.customer_id, e.at, e.id from {s}events e
        where e.name = ?1 and e.at < ?2
          and (e.campaign_id is null or not exists (select 1 from {s}campaigns c
            where c.id = e.campaign_id and (c.finished_at is null or c.finished_at >= ?3)))
        limit ?4)",
);
static DROP_EVENTS_SQLITE: Sql = Sql::fan_out(
    "drop_old_events",
    "delete from {s}events where (customer_id, at, id) in
       (select e.customer_id, e.at, e.id from {s}events e
        where e.name = ?1 and e.at < ?2
          and (e.campaign_id is null or not exists (select 1 from {s}campaigns c
            where c.id = e.campaign_id and (c.finished_at is null or c.finished_at >= ?3)))
        limit ?4)",
);
static COUNT_DETAILS: Sql = Sql::fan_out(
    "count_message_details",
    "select count(*) from {s}deliveries d join {s}campaigns c on c.number = d.campaign_number
     where c.details_gone_at is null and c.state in (5, 6) and c.finished_at < ?1
       and d.finished_at is not null and (d.address is not null or d.reply is not null)",
);
static OLD_CAMPAIGNS: Sql = Sql::reference(
    "campaigns_with_details",
    "select number from {s}campaigns
     where details_gone_at is null and state in (5, 6) and finished_at < ?1
     order by number limit 20",
);
static DELIVERIES: Sql = Sql::fan_out(
    "deliveries_with_details",
    "select bucket, customer_id from {s}deliveries
     where campaign_number = ?1 and customer_id > ?2 order by customer_id limit ?3",
);
static DETAILS_GONE: Sql = Sql::reference(
    "details_gone",
    "update {s}campaigns set details_gone_at = ?2 where number = ?1",
);
static OLD_IMPORTS: Sql = Sql::reference(
    "imports_with_files",
    "select number, id from {s}imports where files_gone_at is null
       and ((state in ('done', 'failed', 'cancelled') and finished_at < ?1)
         or (state = 'draft' and created_at < ?1))
     order by number limit ?2",
);
static COUNT_IMPORTS: Sql = Sql::reference(
    "count_import_files",
    "select count(*) from {s}imports where files_gone_at is null
       and ((state in ('done', 'failed', 'cancelled') and finished_at < ?1)
         or (state = 'draft' and created_at < ?1))",
);
static DROP_REFUSALS: Sql = Sql::reference(
    "drop_import_refusals",
    "delete from {s}import_refusals where import_number = ?1 and row_number in
       (select row_number from {s}import_refusals where import_number = ?1
        order by row_number limit ?2)",
);
static FILES_GONE: Sql = Sql::reference(
    "import_files_gone",
    "update {s}imports set files_gone_at = ?2, columns = '[]',
       finished_at = coalesce(finished_at, ?2),
       state = case when state = 'draft' then 'cancelled' else state end
     where number = ?1",
);
static COUNT_MAILS: Sql =
    Sql::reference("count_old_mails", "select count(*) from {s}mailbox where received_at < ?1");
static DROP_MAILS: Sql = Sql::reference(
    "drop_old_mails",
    "delete from {s}mailbox where id in
       (select id from {s}mailbox where received_at < ?1 limit ?2)",
);
/// Whoever was written to, or may still be, is not forgotten behind a campaign's back.
static INACTIVE: Sql = Sql::fan_out(
    "inactive_customers",
    "select c.id from {s}customers c
     where c.system_id > ?1 and c.system_id <= ?2 and c.updated_at < ?3
       and not exists (select 1 from {s}events e
         where e.bucket = c.bucket and e.customer_id = c.id and e.at >= ?3)
       and not exists (select 1 from {s}deliveries d
         where d.bucket = c.bucket and d.customer_id = c.id
           and (d.finished_at is null or d.finished_at >= ?3))
     order by c.system_id",
);
static COUNT_INACTIVE: Sql = Sql::fan_out(
    "count_inactive_customers",
    "select count(*) from {s}customers c
     where c.updated_at < ?1
       and not exists (select 1 from {s}events e
         where e.bucket = c.bucket and e.customer_id = c.id and e.at >= ?1)
       and not exists (select 1 from {s}deliveries d
         where d.bucket = c.bucket and d.customer_id = c.id
           and (d.finished_at is null or d.finished_at >= ?1))",
);
static LAST_CUSTOMER: Sql =
    Sql::fan_out("last_system_id", "select max(system_id) from {s}customers");

pub(crate) static SQL: &[&Sql] = &[
    &GET,
    &PUT,
    &NAMES,
    &COUNT_EVENTS,
    &DROP_EVENTS,
    &COUNT_DETAILS,
    &OLD_CAMPAIGNS,
    &DELIVERIES,
    &DETAILS_GONE,
    &OLD_IMPORTS,
    &COUNT_IMPORTS,
    &DROP_REFUSALS,
    &FILES_GONE,
    &COUNT_MAILS,
    &DROP_MAILS,
    &INACTIVE,
    &COUNT_INACTIVE,
    &LAST_CUSTOMER,
];

/// Events of one name that are older than they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldEvents {
    /// The number of the name.
    pub name: i64,
    pub before: Timestamp,
    /// Those of a campaign that ended later than this, or has not, are needed.
    pub campaigns_before: Timestamp,
}

impl OldEvents {
    fn params(&self) -> Vec<Param> {
        crate::params![self.name, self.before, self.campaigns_before].to_vec()
    }
}

/// Before when each kind of data goes; `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Before {
    pub events: Vec<OldEvents>,
    pub message_details: Option<Timestamp>,
    pub import_files: Option<Timestamp>,
    pub mailbox: Option<Timestamp>,
    pub inactive_customers: Option<Timestamp>,
}

/// How many of each kind there are to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToGo {
    pub events: i64,
    pub message_details: i64,
    pub import_files: i64,
    pub mailbox: i64,
    pub inactive_customers: i64,
}

/// An import whose files go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldImport {
    pub number: i32,
    pub id: ImportId,
}

pub(crate) async fn get(tx: &mut Tx) -> Result<Retention> {
    let Some(row) = tx.first(&GET, &[]).await? else { return Ok(Retention::default()) };
    serde_json::from_str(&row.text(0)?)
        .map_err(|_| Error::Corrupt("the retention periods are none".to_owned()))
}

pub(crate) async fn put(tx: &mut Tx, retention: &Retention, at: Timestamp) -> Result<()> {
    let text = serde_json::to_string(retention).map_err(|e| Error::Invalid(e.to_string()))?;
    tx.execute(&PUT, crate::params![text]).await?;
    jobs::add(tx, APPLY_RETENTION, "all", "", at).await
}

impl Workspace {
    /// For how long what is kept.
    pub async fn retention(&self) -> Result<Retention> {
        self.read(|tx| Box::pin(get(tx))).await
    }

    /// Sets the periods; what is older goes at once.
    pub async fn put_retention(&self, retention: Retention, at: Timestamp) -> Result<()> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { put(tx, &retention, at).await })
        })
        .await
    }

    /// The names of events with their numbers.
    pub async fn event_names(&self) -> Result<Vec<(i64, String)>> {
        self.read(|tx| {
            Box::pin(async move {
                let rows = tx.query(&NAMES, &[]).await?;
                rows.iter().map(|row| Ok((row.int(0)?, row.text(1)?))).collect()
            })
        })
        .await
    }

    /// How much would go.
    pub async fn count_old(&self, before: Before) -> Result<ToGo> {
        self.read(move |tx| {
            Box::pin(async move {
                let mut to_go = ToGo::default();
                for one in &before.events {
                    to_go.events += count(tx, &COUNT_EVENTS, &one.params()).await?;
                }
                for (sql, at, figure) in [
                    (&COUNT_DETAILS, before.message_details, &mut to_go.message_details),
                    (&COUNT_IMPORTS, before.import_files, &mut to_go.import_files),
                    (&COUNT_MAILS, before.mailbox, &mut to_go.mailbox),
                    (&COUNT_INACTIVE, before.inactive_customers, &mut to_go.inactive_customers),
                ] {
                    if let Some(at) = at {
                        *figure = count(tx, sql, crate::params![at]).await?;
                    }
                }
                Ok(to_go)
            })
        })
        .await
    }

    /// Lets go of some old events; gives how many.
    pub async fn drop_old_events(&self, job: &Job, old: OldEvents) -> Result<u64> {
        let job = job.clone();
        self.write(Priority::Bulk, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                let sql = match tx.dialect() {
                    Dialect::Sqlite => &DROP_EVENTS_SQLITE,
                    Dialect::Postgres => &DROP_EVENTS,
                };
                let mut params = old.params();
                params.push((SLICE as i64).into());
                tx.execute(sql, &params).await
            })
        })
        .await
    }

    /// Campaigns that ended before a time and whose messages still say to whom they went.
    pub async fn campaigns_with_details(&self, before: Timestamp) -> Result<Vec<i32>> {
        self.read(move |tx| {
            Box::pin(async move {
                let rows = tx.query(&OLD_CAMPAIGNS, crate::params![before]).await?;
                rows.iter().map(|row| row.small(0)).collect()
            })
        })
        .await
    }

    /// Blanks the addresses and replies of the next messages of a campaign; gives the customer that
    /// it came to, or `None` at the end.
    pub async fn drop_message_details(
        &self,
        job: &Job,
        campaign: i32,
        after: CustomerId,
        at: Timestamp,
    ) -> Result<Option<CustomerId>> {
        let job = job.clone();
        self.write(Priority::Bulk, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                let params = crate::params![campaign, after, SLICE as i64];
                let rows = tx.query(&DELIVERIES, params).await?;
                let mut blank: Vec<Vec<Param>> = Vec::with_capacity(rows.len());
                let mut last = None;
                for row in &rows {
                    let customer = row.uuid(1)?;
                    last = Some(CustomerId(customer));
                    blank.push(vec![
                        row.int(0)?.into(),
                        customer.into(),
                        campaign.into(),
                        Param::Null,
                        Param::Null,
                    ]);
                }
                sort_rows(&mut blank);
                let condition =
                    "t.finished_at is not null and (t.address is not null or t.reply is not null)";
                let set = [column("address", ColumnType::Text), column("reply", ColumnType::Text)];
                update_many(tx, "deliveries", &DELIVERY_KEY, &set, &blank, condition, "").await?;
                if rows.len() < SLICE {
                    tx.execute(&DETAILS_GONE, crate::params![campaign, at]).await?;
                    return Ok(None);
                }
                Ok(last)
            })
        })
        .await
    }

    /// Imports that ended before a time and still have files, or were never begun.
    pub async fn imports_with_files(&self, before: Timestamp) -> Result<Vec<OldImport>> {
        self.read(move |tx| {
            Box::pin(async move {
                let rows = tx.query(&OLD_IMPORTS, crate::params![before, 20_i64]).await?;
                rows.iter()
                    .map(|row| Ok(OldImport { number: row.small(0)?, id: ImportId(row.uuid(1)?) }))
                    .collect()
            })
        })
        .await
    }

    /// Lets go of refused rows of an import; true once they are all gone, and it is written down.
    pub async fn drop_import_rows(&self, job: &Job, import: i32, at: Timestamp) -> Result<bool> {
        let job = job.clone();
        self.write(Priority::Bulk, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                let params = crate::params![import, SLICE as i64];
                if tx.execute(&DROP_REFUSALS, params).await? == SLICE as u64 {
                    return Ok(false);
                }
                tx.execute(&FILES_GONE, crate::params![import, at]).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Lets go of some mails of the mailbox; gives how many.
    pub async fn drop_old_mails(&self, job: &Job, before: Timestamp) -> Result<u64> {
        const AT_ONCE: i64 = 100;
        let job = job.clone();
        self.write(Priority::Bulk, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                tx.execute(&DROP_MAILS, crate::params![before, AT_ONCE]).await
            })
        })
        .await
    }

    /// Customers of whom nothing was heard since a time, among the next system ids after one; and
    /// the system id that was come to, or `None` at the end.
    pub async fn inactive_customers(
        &self,
        before: Timestamp,
        after: i64,
    ) -> Result<(Vec<CustomerId>, Option<i64>)> {
        self.read(move |tx| {
            Box::pin(async move {
                let end = match tx.first(&LAST_CUSTOMER, &[]).await? {
                    Some(row) => row.opt_int(0)?.unwrap_or_default(),
                    None => 0,
                };
                let to = after.saturating_add(INACTIVE_WINDOW);
                let rows = tx.query(&INACTIVE, crate::params![after, to, before]).await?;
                let found = rows.iter().map(|row| row.uuid(0).map(CustomerId));
                Ok((found.collect::<Result<_>>()?, (to < end).then_some(to)))
            })
        })
        .await
    }

    /// Lets go of a customer of whom nothing was heard, if that is still so. They may be known
    /// again: no trace of their names is kept.
    pub async fn drop_inactive(
        &self,
        job: &Job,
        customer: CustomerId,
        before: Timestamp,
        at: Timestamp,
    ) -> Result<()> {
        let job = job.clone();
        self.write(Priority::Bulk, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                crate::personal::drop_unchanged(tx, customer, before, at).await
            })
        })
        .await
    }
}

const DELIVERY_KEY: [Column<'static>; 3] = [
    column("bucket", ColumnType::SmallInt),
    column("customer_id", ColumnType::Uuid),
    column("campaign_number", ColumnType::Int),
];

async fn count(tx: &mut Tx, sql: &'static Sql, params: &[Param]) -> Result<i64> {
    let row = tx.first(sql, params).await?;
    row.map_or(Ok(0), |row| row.int(0))
}

/// Where a walk through the customers of a campaign begins.
pub const FIRST: CustomerId = CustomerId(Uuid::nil());
