//! What operators must know: one alert a cause, from its beginning to its end.

use tidings_domain::{AlertId, CampaignId, Timestamp};

use crate::customers::Page;
use crate::engines::{Priority, Tx};
use crate::jobs;
use crate::sql::{Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// The kind of the job that mails alerts to the operators.
pub const MAIL_ALERTS: &str = "mail_alerts";

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertKind {
    /// A campaign paused by itself; it ends when somebody lets it go on, or cancels it.
    CampaignPaused,
    /// No relay takes a campaign's mails; it ends when one does.
    SendingHeldUp,
    /// A job fails again and again; it ends when the job succeeds.
    JobStuck,
    /// A job was given up; it ends when the job is done after all.
    JobGivenUp,
}

impl AlertKind {
    pub const ALL: [AlertKind; 4] = [
        AlertKind::CampaignPaused,
        AlertKind::SendingHeldUp,
        AlertKind::JobStuck,
        AlertKind::JobGivenUp,
    ];

    pub fn name(self) -> &'static str {
        match self {
            AlertKind::CampaignPaused => "campaign_paused",
            AlertKind::SendingHeldUp => "sending_held_up",
            AlertKind::JobStuck => "job_stuck",
            AlertKind::JobGivenUp => "job_given_up",
        }
    }

    fn parse(text: &str) -> Option<AlertKind> {
        AlertKind::ALL.into_iter().find(|kind| kind.name() == text)
    }
}

/// A cause for an alert: its kind and subject name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    pub kind: AlertKind,
    pub subject: String,
    /// What happened, and what to do, in a sentence or two.
    pub message: String,
    pub campaign: Option<CampaignId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    pub id: AlertId,
    pub kind: AlertKind,
    pub subject: String,
    pub message: String,
    pub campaign: Option<CampaignId>,
    pub raised_at: Timestamp,
    /// When its cause went away.
    pub ended_at: Option<Timestamp>,
    pub acknowledged_at: Option<Timestamp>,
    pub acknowledged_by: Option<String>,
}

/// An alert that the operators have not been told of by mail: that it began, or that it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmailed {
    pub alert: Alert,
    pub is_end: bool,
}

static RAISE: Sql = Sql::reference(
    "raise_alert",
    "insert into {s}alerts (id, kind, subject, message, campaign_id, raised_at)
     values (?1, ?2, ?3, ?4, ?5, ?6) on conflict do nothing",
);

static END: Sql = Sql::reference(
    "end_alert",
    "update {s}alerts set ended_at = ?3 where kind = ?1 and subject = ?2 and ended_at is null",
);

static IS_OPEN: Sql = Sql::reference(
    "alert_is_open",
    "select id from {s}alerts where kind = ?1 and subject = ?2 and ended_at is null",
);

static PAGE: Sql = Sql::reference(
    "alerts",
    "select id, kind, subject, message, campaign_id, raised_at, ended_at, acknowledged_at,
            acknowledged_by
     from {s}alerts where raised_at < ?1 or (raised_at = ?1 and id < ?2)
     order by raised_at desc, id desc limit ?3",
);

static UNREAD_PAGE: Sql = Sql::reference(
    "unread_alerts",
    "select id, kind, subject, message, campaign_id, raised_at, ended_at, acknowledged_at,
            acknowledged_by
     from {s}alerts
     where acknowledged_at is null and (raised_at < ?1 or (raised_at = ?1 and id < ?2))
     order by raised_at desc, id desc limit ?3",
);

static UNREAD: Sql = Sql::reference(
    "count_unread_alerts",
    "select count(*) from {s}alerts where acknowledged_at is null",
);

static GET: Sql = Sql::reference(
    "alert",
    "select id, kind, subject, message, campaign_id, raised_at, ended_at, acknowledged_at,
            acknowledged_by
     from {s}alerts where id = ?1",
);

static ACKNOWLEDGE: Sql = Sql::reference(
    "acknowledge_alert",
    "update {s}alerts set acknowledged_at = ?2, acknowledged_by = ?3
     where id = ?1 and acknowledged_at is null",
);

static ACKNOWLEDGE_ALL: Sql = Sql::reference(
    "acknowledge_all_alerts",
    "update {s}alerts set acknowledged_at = ?2, acknowledged_by = ?3
     where acknowledged_at is null and raised_at <= ?1",
);

static UNMAILED: Sql = Sql::reference(
    "unmailed_alerts",
    "select id, kind, subject, message, campaign_id, raised_at, ended_at, acknowledged_at,
            acknowledged_by, case when mailed_at is null then 0 else 1 end
     from {s}alerts
     where mailed_at is null or (ended_at is not null and end_mailed_at is null)
     order by raised_at, id limit 20",
);

/// An alert that has ended before anybody was told is told once, with its end.
static MAILED: Sql = Sql::reference(
    "alert_was_mailed",
    "update {s}alerts set mailed_at = coalesce(mailed_at, ?2), end_mailed_at = ?3 where id = ?1",
);

static ALL_MAILED: Sql = Sql::reference(
    "all_alerts_were_mailed",
    "update {s}alerts set mailed_at = coalesce(mailed_at, ?1),
       end_mailed_at = case when ended_at is not null then ?1 end
     where mailed_at is null or (ended_at is not null and end_mailed_at is null)",
);

pub(crate) static SQL: &[&Sql] = &[
    &RAISE,
    &END,
    &IS_OPEN,
    &PAGE,
    &UNREAD_PAGE,
    &UNREAD,
    &GET,
    &ACKNOWLEDGE,
    &ACKNOWLEDGE_ALL,
    &UNMAILED,
    &MAILED,
    &ALL_MAILED,
];

fn alert(row: &Row) -> Result<Alert> {
    let unknown = || Error::Corrupt("an alert's kind is unknown".into());
    Ok(Alert {
        id: AlertId(row.uuid(0)?),
        kind: AlertKind::parse(&row.text(1)?).ok_or_else(unknown)?,
        subject: row.text(2)?,
        message: row.text(3)?,
        campaign: if row.is_null(4) { None } else { Some(CampaignId(row.uuid(4)?)) },
        raised_at: row.time(5)?,
        ended_at: row.opt_time(6)?,
        acknowledged_at: row.opt_time(7)?,
        acknowledged_by: row.opt_text(8)?,
    })
}

/// Raises an alert in the caller's transaction, unless there is one for the same cause that has not
/// ended; gives whether it is new.
pub(crate) async fn raise(tx: &mut Tx, raised: &Raised, at: Timestamp) -> Result<bool> {
    let params = crate::params![
        AlertId::generate(),
        raised.kind.name(),
        &raised.subject,
        &raised.message,
        raised.campaign,
        at
    ];
    let is_new = tx.execute(&RAISE, params).await? > 0;
    if is_new {
        jobs::add(tx, MAIL_ALERTS, "all", "", at.min(Timestamp::now())).await?;
    }
    Ok(is_new)
}

/// Ends the alert of a cause in the caller's transaction, if there is one.
pub(crate) async fn end(tx: &mut Tx, kind: AlertKind, subject: &str, at: Timestamp) -> Result<()> {
    if tx.execute(&END, crate::params![kind.name(), subject, at]).await? > 0 {
        jobs::add(tx, MAIL_ALERTS, "all", "", at.min(Timestamp::now())).await?;
    }
    Ok(())
}

impl Workspace {
    /// Raises an alert, unless there is one for the same cause that has not ended.
    pub async fn raise_alert(&self, raised: Raised, at: Timestamp) -> Result<bool> {
        let (kind, subject) = (raised.kind, raised.subject.clone());
        if self.alert_is_open(kind, &subject).await? {
            return Ok(false);
        }
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move { raise(tx, &raised, at).await })
        })
        .await
    }

    /// Ends the alert of a cause, if there is one. A look comes first, as it costs the writer
    /// nothing.
    pub async fn end_alert(&self, kind: AlertKind, subject: &str, at: Timestamp) -> Result<()> {
        if !self.alert_is_open(kind, subject).await? {
            return Ok(());
        }
        let subject = subject.to_owned();
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move { end(tx, kind, &subject, at).await })
        })
        .await
    }

    async fn alert_is_open(&self, kind: AlertKind, subject: &str) -> Result<bool> {
        let subject = subject.to_owned();
        self.read(move |tx| {
            Box::pin(async move {
                Ok(tx.first(&IS_OPEN, crate::params![kind.name(), subject]).await?.is_some())
            })
        })
        .await
    }

    /// Alerts, newest first, after the last one of the page before; all, or those that nobody has
    /// acknowledged.
    pub async fn alerts(
        &self,
        unread: bool,
        before: Option<(Timestamp, AlertId)>,
        limit: usize,
    ) -> Result<Page<Alert, (Timestamp, AlertId)>> {
        let (at, id) = before.unwrap_or((Timestamp(i64::MAX), AlertId(uuid::Uuid::max())));
        let sql = if unread { &UNREAD_PAGE } else { &PAGE };
        self.find_page(sql, crate::params![at, id], limit, alert, |one| (one.raised_at, one.id))
            .await
    }

    /// How many alerts nobody has acknowledged.
    pub async fn unread_alerts(&self) -> Result<i64> {
        self.read(|tx| {
            Box::pin(async move { tx.first(&UNREAD, &[]).await?.map_or(Ok(0), |row| row.int(0)) })
        })
        .await
    }

    pub async fn alert(&self, id: AlertId) -> Result<Option<Alert>> {
        self.find(&GET, crate::params![id], alert).await
    }

    /// Notes that somebody has seen an alert; the first one stays.
    pub async fn acknowledge_alert(&self, id: AlertId, by: &str, at: Timestamp) -> Result<()> {
        let by = by.to_owned();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                tx.execute(&ACKNOWLEDGE, crate::params![id, at, by]).await.map(|_| ())
            })
        })
        .await
    }

    /// The same for every alert up to a time; gives how many there were.
    pub async fn acknowledge_all_alerts(
        &self,
        until: Timestamp,
        by: &str,
        at: Timestamp,
    ) -> Result<u64> {
        let by = by.to_owned();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(
                async move { tx.execute(&ACKNOWLEDGE_ALL, crate::params![until, at, by]).await },
            )
        })
        .await
    }

    /// Alerts that the operators have not been told of, oldest first, some at a time.
    pub async fn unmailed_alerts(&self) -> Result<Vec<Unmailed>> {
        self.read(|tx| {
            Box::pin(async move {
                let rows = tx.query(&UNMAILED, &[]).await?;
                rows.iter()
                    .map(|row| Ok(Unmailed { alert: alert(row)?, is_end: row.int(9)? == 1 }))
                    .collect()
            })
        })
        .await
    }

    /// Notes that the operators were told of an alert as it stands there.
    pub async fn alert_was_mailed(&self, told: &Alert, at: Timestamp) -> Result<()> {
        let (id, end) = (told.id, told.ended_at.map(|_| at));
        self.write(Priority::Interactive, move |tx| {
            Box::pin(
                async move { tx.execute(&MAILED, crate::params![id, at, end]).await.map(|_| ()) },
            )
        })
        .await
    }

    /// Notes that nobody wants mails of the alerts so far.
    pub async fn all_alerts_were_mailed(&self, at: Timestamp) -> Result<()> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move { tx.execute(&ALL_MAILED, crate::params![at]).await.map(|_| ()) })
        })
        .await
    }
}
