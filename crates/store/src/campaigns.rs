//! One-off campaigns: their definition, state and figures. Their deliveries are next door.

use tidings_domain::campaign::{CampaignState, DeliveryState, MessageClass};
use tidings_domain::{CampaignId, SegmentId, TemplateId, Timestamp};

use crate::customers::Page;
use crate::engines::{Priority, Tx};
use crate::jobs;
use crate::sql::{Dialect, Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// The kind of the job that freezes an audience and sends to it.
pub const SEND_CAMPAIGN: &str = "send_campaign";
/// How many shards a campaign has where several nodes may send.
const SHARDS: i64 = 4;

/// Who a campaign's messages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    pub name: String,
    pub address: String,
    pub reply_to: Option<String>,
}

/// What a user plans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignDraft {
    pub name: String,
    /// `None` means every customer.
    pub segment: Option<SegmentId>,
    pub template: TemplateId,
    pub sender: Sender,
    pub class: MessageClass,
    /// What it is about; only customers who want that get it.
    pub topic: Option<String>,
    pub scheduled_at: Option<Timestamp>,
    /// What is added to the links of its mails, by name.
    pub link_parameters: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Campaign {
    pub id: CampaignId,
    pub number: i32,
    pub name: String,
    pub segment: Option<(SegmentId, i32, String)>,
    pub template: (TemplateId, i32, String),
    /// The version that is sent; fixed at the launch.
    pub template_version: i32,
    pub sender: Sender,
    pub class: MessageClass,
    /// The name of the topic it is about.
    pub topic: Option<String>,
    pub state: CampaignState,
    pub scheduled_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub created_at: Timestamp,
    /// What is added to the links of its mails, by name.
    pub link_parameters: Vec<(String, String)>,
}

/// How many deliveries stand where. `audience()` is always the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub due: i64,
    pub in_flight: i64,
    pub sent: i64,
    pub failed: i64,
    pub bounced: i64,
    pub skipped: i64,
    pub uncertain: i64,
    pub cancelled: i64,
    /// Of those sent: opened, clicked and unsubscribed at least once.
    pub opened: i64,
    pub clicked: i64,
    pub unsubscribed: i64,
}

impl Counts {
    pub fn audience(&self) -> i64 {
        self.due
            + self.in_flight
            + self.sent
            + self.failed
            + self.bounced
            + self.skipped
            + self.uncertain
            + self.cancelled
    }
}

static ADD: Sql = Sql::reference(
    "add_campaign",
    "insert into {s}campaigns
       (number, id, name, segment_number, template_number, template_version, sender_name,
        sender_address, reply_to, class, state, scheduled_at, created_at, link_parameters,
        topic)
     select coalesce((select max(number) from {s}campaigns), 0) + 1, ?1, ?2,
            (select number from {s}segments where id = ?3), t.number, null, ?5, ?6, ?7, ?8, 0,
            ?9, ?10, ?11, ?12
     from {s}templates t where t.id = ?4
     returning number",
);
static SEGMENT_THERE: Sql =
    Sql::reference("segment_there", "select number from {s}segments where id = ?1");
static CHANGE: Sql = Sql::reference(
    "change_campaign",
    "update {s}campaigns set name = ?2,
       segment_number = (select number from {s}segments where id = ?3),
       template_number = (select number from {s}templates where id = ?4),
       sender_name = ?5, sender_address = ?6, reply_to = ?7, class = ?8, scheduled_at = ?9,
       link_parameters = ?10, topic = ?11
     where id = ?1 and state = 0",
);
static LIST: Sql = Sql::reference(
    "campaigns",
    "select c.id, c.number, c.name, s.id, s.number, s.name, t.id, t.number, t.name,
            coalesce(c.template_version, t.version), c.sender_name, c.sender_address, c.reply_to,
            c.class, c.state, c.scheduled_at, c.started_at, c.finished_at, c.created_at,
            c.link_parameters, c.topic
     from {s}campaigns c
     join {s}templates t on t.number = c.template_number
     left join {s}segments s on s.number = c.segment_number
     where c.number < ?1 order by c.number desc limit ?2",
);
static GET: Sql = Sql::reference(
    "campaign",
    "select c.id, c.number, c.name, s.id, s.number, s.name, t.id, t.number, t.name,
            coalesce(c.template_version, t.version), c.sender_name, c.sender_address, c.reply_to,
            c.class, c.state, c.scheduled_at, c.started_at, c.finished_at, c.created_at,
            c.link_parameters, c.topic
     from {s}campaigns c
     join {s}templates t on t.number = c.template_number
     left join {s}segments s on s.number = c.segment_number
     where c.id = ?1",
);
static GET_BY_NUMBER: Sql = Sql::reference(
    "campaign_by_number",
    "select c.id, c.number, c.name, s.id, s.number, s.name, t.id, t.number, t.name,
            coalesce(c.template_version, t.version), c.sender_name, c.sender_address, c.reply_to,
            c.class, c.state, c.scheduled_at, c.started_at, c.finished_at, c.created_at,
            c.link_parameters, c.topic
     from {s}campaigns c
     join {s}templates t on t.number = c.template_number
     left join {s}segments s on s.number = c.segment_number
     where c.number = ?1",
);
static DROP: Sql =
    Sql::reference("drop_campaign", "delete from {s}campaigns where id = ?1 and state = 0");
static LAUNCH: Sql = Sql::reference(
    "launch_campaign",
    "update {s}campaigns set state = 1, scheduled_at = ?2,
       template_version = (select t.version from {s}templates t
                           where t.number = template_number)
     where id = ?1 and state in (0, 1) returning number",
);
static BEGIN: Sql = Sql::reference(
    "begin_campaign",
    "update {s}campaigns set state = 2, started_at = ?2 where number = ?1 and state = 1",
);
static STATE: Sql =
    Sql::reference("campaign_state", "select state from {s}campaigns where number = ?1");
static TOPIC: Sql =
    Sql::reference("campaign_topic", "select topic from {s}campaigns where number = ?1");
static TOPIC_THERE: Sql = Sql::reference(
    "topic_there",
    "select number from {s}topics where channel = 1 and name = ?1 and archived_at is null",
);
static PAUSE: Sql = Sql::reference(
    "pause_campaign",
    "update {s}campaigns set paused_from = state, state = 4
     where id = ?1 and state in (1, 2, 3) returning number",
);
static RESUME: Sql = Sql::reference(
    "resume_campaign",
    "update {s}campaigns set state = coalesce(paused_from, 3), paused_from = null
     where id = ?1 and state = 4 returning number",
);
static CANCEL: Sql = Sql::reference(
    "cancel_campaign",
    "update {s}campaigns set state = 6, finished_at = ?2
     where id = ?1 and state in (1, 2, 3, 4) returning number",
);
/// A slice that is being frozen holds its shard's row: it is waited for here, and the next one
/// finds that nothing is left.
static CLOSE_SHARDS: Sql = Sql::reference(
    "close_campaign_shards",
    "update {s}campaign_shards set next = high where campaign_number = ?1",
);
static CANCEL_DUE: Sql = Sql::fan_out(
    "cancel_due_deliveries",
    "update {s}deliveries set state = 8, finished_at = ?2 where campaign_number = ?1 and state = 0",
);
static SHARDS_OF: Sql = Sql::reference(
    "campaign_shards",
    "select shard, low, high, next from {s}campaign_shards where campaign_number = ?1
     order by shard",
);
static ADD_SHARD: Sql = Sql::reference(
    "add_campaign_shard",
    "insert into {s}campaign_shards (campaign_number, shard, low, high, next)
     values (?1, ?2, ?3, ?4, ?3)",
);
static COUNTS: Sql = Sql::fan_out(
    "campaign_counts",
    "select state, count(*) from {s}deliveries where campaign_number = ?1 group by state",
);
static REACTIONS: Sql = Sql::fan_out(
    "campaign_reactions",
    "select count(opened_at), count(clicked_at), count(unsubscribed_at) from {s}deliveries
     where campaign_number = ?1 and (opened_at is not null or unsubscribed_at is not null)",
);
static REASONS: Sql = Sql::fan_out(
    "campaign_reasons",
    "select state, coalesce(reason, ''), count(*) from {s}deliveries
     where campaign_number = ?1 and state in (4, 5, 6) group by state, coalesce(reason, '')
     order by count(*) desc",
);
static PER_MINUTE: Sql = Sql::fan_out(
    "campaign_per_minute",
    "select finished_at / 60000000, count(*) from {s}deliveries
     where campaign_number = ?1 and state = 3 group by finished_at / 60000000
     order by finished_at / 60000000",
);
static LINKS: Sql = Sql::reference(
    "campaign_links",
    "select number, url from {s}campaign_links where campaign_number = ?1 order by number",
);
static LINK: Sql = Sql::reference(
    "campaign_link",
    "select url from {s}campaign_links where campaign_number = ?1 and number = ?2",
);
static ADD_LINK: Sql = Sql::reference(
    "add_campaign_link",
    "insert into {s}campaign_links (campaign_number, number, url)
     select ?1, coalesce(max(number), 0) + 1, ?2 from {s}campaign_links where campaign_number = ?1
     on conflict do nothing",
);
static FINISH: Sql = Sql::fan_out(
    "finish_campaign",
    "update {s}campaigns set state = 5, finished_at = ?2
     where number = ?1 and state in (2, 3)
       and not exists (select 1 from {s}campaign_shards
                       where campaign_number = ?1 and next < high)
       and not exists (select 1 from {s}deliveries
                       where campaign_number = ?1 and state in (0, 2))",
);
static SENDING: Sql = Sql::reference(
    "campaign_is_sending",
    "update {s}campaigns set state = 3 where number = ?1 and state = 2
       and not exists (select 1 from {s}campaign_shards
                       where campaign_number = ?1 and next < high)",
);

pub(crate) static SQL: &[&Sql] = &[
    &ADD,
    &SEGMENT_THERE,
    &CHANGE,
    &LIST,
    &GET,
    &GET_BY_NUMBER,
    &DROP,
    &LAUNCH,
    &BEGIN,
    &STATE,
    &TOPIC,
    &TOPIC_THERE,
    &PAUSE,
    &RESUME,
    &CANCEL,
    &CLOSE_SHARDS,
    &CANCEL_DUE,
    &SHARDS_OF,
    &ADD_SHARD,
    &COUNTS,
    &REACTIONS,
    &REASONS,
    &PER_MINUTE,
    &LINKS,
    &LINK,
    &ADD_LINK,
    &FINISH,
    &SENDING,
];

fn campaign(row: &Row) -> Result<Campaign> {
    let corrupt = |what: &str| Error::Corrupt(format!("a campaign's {what} is unknown"));
    let segment = match row.opt_uuid(3)? {
        Some(id) => Some((SegmentId(id), row.small(4)?, row.text(5)?)),
        None => None,
    };
    Ok(Campaign {
        id: CampaignId(row.uuid(0)?),
        number: row.small(1)?,
        name: row.text(2)?,
        segment,
        template: (TemplateId(row.uuid(6)?), row.small(7)?, row.text(8)?),
        template_version: row.small(9)?,
        sender: Sender { name: row.text(10)?, address: row.text(11)?, reply_to: row.opt_text(12)? },
        class: MessageClass::from_number(row.small(13)?).ok_or_else(|| corrupt("class"))?,
        state: CampaignState::from_number(row.small(14)?).ok_or_else(|| corrupt("state"))?,
        scheduled_at: row.opt_time(15)?,
        started_at: row.opt_time(16)?,
        finished_at: row.opt_time(17)?,
        created_at: row.time(18)?,
        link_parameters: parameters(&row.text(19)?)?,
        topic: row.opt_text(20)?,
    })
}

fn parameters(text: &str) -> Result<Vec<(String, String)>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(text).map_err(|error| Error::Corrupt(format!("link parameters: {error}")))
}

fn parameters_text(parameters: &[(String, String)]) -> String {
    if parameters.is_empty() {
        return String::new();
    }
    serde_json::Value::from_iter(
        parameters.iter().map(|(name, value)| serde_json::json!([name, value])),
    )
    .to_string()
}

/// The part of a campaign that one holder sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub shard: i32,
    pub low: i64,
    pub high: i64,
    /// How far the audience has been frozen; `high` when all of it is.
    pub next: i64,
}

pub(crate) async fn state_of(tx: &mut Tx, number: i32) -> Result<CampaignState> {
    let row = tx.first(&STATE, crate::params![number]).await?;
    let row = row.ok_or_else(|| Error::NotFound(format!("campaign {number}")))?;
    CampaignState::from_number(row.small(0)?)
        .ok_or_else(|| Error::Corrupt("a campaign's state is unknown".into()))
}

pub(crate) async fn topic_of(tx: &mut Tx, number: i32) -> Result<Option<String>> {
    let row = tx.first(&TOPIC, crate::params![number]).await?;
    row.map_or(Ok(None), |row| row.opt_text(0))
}

async fn check_topic(tx: &mut Tx, topic: Option<&str>) -> Result<()> {
    let Some(topic) = topic else { return Ok(()) };
    match tx.first(&TOPIC_THERE, crate::params![topic]).await? {
        Some(_) => Ok(()),
        None => Err(Error::NotFound(format!("the e-mail topic {topic}"))),
    }
}

/// The name under which a shard's job is kept.
fn subject(campaign: i32, shard: i64) -> String {
    format!("{campaign}:{shard}")
}

/// Makes a campaign's jobs due: one for the first launch, one a shard afterwards.
pub(crate) async fn wake_shards(tx: &mut Tx, number: i32, at: Timestamp) -> Result<()> {
    let shards = tx.query(&SHARDS_OF, crate::params![number]).await?;
    if shards.is_empty() {
        return jobs::add(tx, SEND_CAMPAIGN, &subject(number, 0), "", at).await;
    }
    for row in shards {
        jobs::add(tx, SEND_CAMPAIGN, &subject(number, row.int(0)?), "", at).await?;
    }
    Ok(())
}

/// The shards of a campaign on this engine: number, first and one past the last.
pub(crate) async fn shard_ranges(tx: &mut Tx) -> Result<Vec<(i64, i64, i64)>> {
    Ok(match tx.dialect() {
        Dialect::Sqlite => {
            let last =
                tx.query_text("select coalesce(max(system_id), 0) from {s}customers", &[]).await?;
            let last = last.first().map_or(Ok(0), |row| row.int(0))?;
            vec![(0, 0, last + 1)]
        }
        Dialect::Postgres => {
            let width = i64::from(tidings_domain::bucket::BUCKETS) / SHARDS;
            (0..SHARDS).map(|shard| (shard, shard * width, (shard + 1) * width)).collect()
        }
    })
}

/// Cuts a campaign into shards when it begins.
async fn cut(tx: &mut Tx, number: i32, job: &jobs::Job, at: Timestamp) -> Result<()> {
    let ranges = shard_ranges(tx).await?;
    for (shard, low, high) in ranges {
        tx.execute(&ADD_SHARD, crate::params![number, shard, low, high]).await?;
        let subject = subject(number, shard);
        if subject != job.subject {
            jobs::add(tx, SEND_CAMPAIGN, &subject, "", at).await?;
        }
    }
    Ok(())
}

impl Workspace {
    /// Adds a draft. A template or segment that is not there is refused by name.
    pub async fn add_campaign(&self, draft: CampaignDraft, at: Timestamp) -> Result<CampaignId> {
        let id = CampaignId::generate();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                check_segment(tx, draft.segment).await?;
                check_topic(tx, draft.topic.as_deref()).await?;
                let params = crate::params![
                    id,
                    &draft.name,
                    draft.segment,
                    draft.template,
                    &draft.sender.name,
                    &draft.sender.address,
                    draft.sender.reply_to.clone(),
                    draft.class.number(),
                    draft.scheduled_at,
                    at,
                    parameters_text(&draft.link_parameters),
                    draft.topic.clone()
                ];
                match tx.first(&ADD, params).await? {
                    Some(_) => Ok(id),
                    None => Err(Error::NotFound(format!("template {}", draft.template))),
                }
            })
        })
        .await
    }

    /// Changes a draft; false where it is not a draft any more, or not there.
    pub async fn change_campaign(&self, id: CampaignId, draft: CampaignDraft) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                check_segment(tx, draft.segment).await?;
                check_topic(tx, draft.topic.as_deref()).await?;
                let params = crate::params![
                    id,
                    &draft.name,
                    draft.segment,
                    draft.template,
                    &draft.sender.name,
                    &draft.sender.address,
                    draft.sender.reply_to.clone(),
                    draft.class.number(),
                    draft.scheduled_at,
                    parameters_text(&draft.link_parameters),
                    draft.topic.clone()
                ];
                Ok(tx.execute(&CHANGE, params).await? > 0)
            })
        })
        .await
    }

    pub async fn campaign(&self, id: CampaignId) -> Result<Option<Campaign>> {
        self.read(move |tx| {
            Box::pin(async move {
                tx.first(&GET, crate::params![id]).await?.as_ref().map(campaign).transpose()
            })
        })
        .await
    }

    pub async fn campaign_by_number(&self, number: i32) -> Result<Option<Campaign>> {
        self.read(move |tx| {
            Box::pin(async move {
                let row = tx.first(&GET_BY_NUMBER, crate::params![number]).await?;
                row.as_ref().map(campaign).transpose()
            })
        })
        .await
    }

    /// Campaigns, newest first; `before` is the last number of the page before.
    pub async fn campaigns(&self, before: i32, limit: usize) -> Result<Page<Campaign, i32>> {
        let items = self
            .read(move |tx| {
                Box::pin(async move {
                    let rows = tx.query(&LIST, crate::params![before, limit as i64 + 1]).await?;
                    rows.iter().map(campaign).collect::<Result<Vec<_>>>()
                })
            })
            .await?;
        Ok(Page::cut(items, limit, |campaign| campaign.number))
    }

    /// Drops a draft; false where it is not a draft any more, or not there.
    pub async fn drop_campaign(&self, id: CampaignId) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { Ok(tx.execute(&DROP, crate::params![id]).await? > 0) })
        })
        .await
    }

    /// Plans a campaign for a time and fixes the template's version; the job is written with it.
    /// False where the campaign is not a draft or scheduled.
    pub async fn launch_campaign(&self, id: CampaignId, at: Timestamp) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let Some(row) = tx.first(&LAUNCH, crate::params![id, at]).await? else {
                    return Ok(false);
                };
                wake_shards(tx, row.small(0)?, at).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Begins a scheduled campaign: cuts it into shards. Does nothing if it has begun.
    pub async fn begin_campaign(&self, number: i32, job: &jobs::Job, at: Timestamp) -> Result<()> {
        let job = job.clone();
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                if tx.execute(&BEGIN, crate::params![number, at]).await? > 0 {
                    cut(tx, number, &job, at).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Stops handing over; what is on its way is finished.
    pub async fn pause_campaign(&self, id: CampaignId) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { Ok(tx.first(&PAUSE, crate::params![id]).await?.is_some()) })
        })
        .await
    }

    pub async fn resume_campaign(&self, id: CampaignId, at: Timestamp) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let Some(row) = tx.first(&RESUME, crate::params![id]).await? else {
                    return Ok(false);
                };
                wake_shards(tx, row.small(0)?, at).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Ends a campaign; what is not on its way stays unsent.
    pub async fn cancel_campaign(&self, id: CampaignId, at: Timestamp) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let Some(row) = tx.first(&CANCEL, crate::params![id, at]).await? else {
                    return Ok(false);
                };
                let number: i32 = row.small(0)?;
                tx.execute(&CLOSE_SHARDS, crate::params![number]).await?;
                tx.execute(&CANCEL_DUE, crate::params![number, at]).await?;
                Ok(true)
            })
        })
        .await
    }

    pub async fn campaign_shards(&self, number: i32) -> Result<Vec<Shard>> {
        self.read(move |tx| {
            Box::pin(async move {
                let rows = tx.query(&SHARDS_OF, crate::params![number]).await?;
                rows.iter()
                    .map(|row| {
                        Ok(Shard {
                            shard: row.small(0)?,
                            low: row.int(1)?,
                            high: row.int(2)?,
                            next: row.int(3)?,
                        })
                    })
                    .collect()
            })
        })
        .await
    }

    /// Marks a campaign as sending once its whole audience is frozen, and as done once nothing is
    /// due or on its way. Gives the state it then has.
    pub async fn settle_campaign(&self, number: i32, at: Timestamp) -> Result<CampaignState> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                tx.execute(&SENDING, crate::params![number]).await?;
                tx.execute(&FINISH, crate::params![number, at]).await?;
                state_of(tx, number).await
            })
        })
        .await
    }

    pub async fn campaign_counts(&self, number: i32) -> Result<Counts> {
        self.read(move |tx| {
            Box::pin(async move {
                let mut counts = Counts::default();
                for row in tx.query(&COUNTS, crate::params![number]).await? {
                    let count = row.int(1)?;
                    match DeliveryState::from_number(row.small(0)?) {
                        Some(DeliveryState::Due) => counts.due = count,
                        Some(DeliveryState::Started) => counts.in_flight = count,
                        Some(DeliveryState::Sent) => counts.sent = count,
                        Some(DeliveryState::Failed) => counts.failed = count,
                        Some(DeliveryState::Bounced) => counts.bounced = count,
                        Some(DeliveryState::Skipped) => counts.skipped = count,
                        Some(DeliveryState::Uncertain) => counts.uncertain = count,
                        Some(DeliveryState::Cancelled) => counts.cancelled = count,
                        None => return Err(Error::Corrupt("a delivery's state".into())),
                    }
                }
                if let Some(row) = tx.first(&REACTIONS, crate::params![number]).await? {
                    counts.opened = row.int(0)?;
                    counts.clicked = row.int(1)?;
                    counts.unsubscribed = row.int(2)?;
                }
                Ok(counts)
            })
        })
        .await
    }

    /// Why deliveries were skipped, failed or bounced, and how many of each.
    pub async fn campaign_reasons(&self, number: i32) -> Result<Vec<(DeliveryState, String, i64)>> {
        self.read(move |tx| {
            Box::pin(async move {
                let rows = tx.query(&REASONS, crate::params![number]).await?;
                rows.iter()
                    .map(|row| {
                        let state = DeliveryState::from_number(row.small(0)?)
                            .ok_or_else(|| Error::Corrupt("a delivery's state".into()))?;
                        Ok((state, row.text(1)?, row.int(2)?))
                    })
                    .collect()
            })
        })
        .await
    }

    /// How many were sent in each minute.
    pub async fn campaign_per_minute(&self, number: i32) -> Result<Vec<(Timestamp, i64)>> {
        self.read(move |tx| {
            Box::pin(async move {
                let rows = tx.query(&PER_MINUTE, crate::params![number]).await?;
                rows.iter()
                    .map(|row| Ok((Timestamp(row.int(0)? * 60_000_000), row.int(1)?)))
                    .collect()
            })
        })
        .await
    }

    /// Numbers for the links of a campaign's template: each address once.
    pub async fn number_links(&self, number: i32, urls: Vec<String>) -> Result<Vec<(i32, String)>> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let known = links(tx, number).await?;
                for url in urls.iter().filter(|url| !known.iter().any(|(_, k)| k == *url)) {
                    tx.execute(&ADD_LINK, crate::params![number, url]).await?;
                }
                links(tx, number).await
            })
        })
        .await
    }

    pub async fn campaign_links(&self, number: i32) -> Result<Vec<(i32, String)>> {
        self.read(move |tx| Box::pin(async move { links(tx, number).await })).await
    }

    pub async fn campaign_link(&self, number: i32, link: i32) -> Result<Option<String>> {
        self.read(move |tx| {
            Box::pin(async move {
                let row = tx.first(&LINK, crate::params![number, link]).await?;
                row.map(|row| row.text(0)).transpose()
            })
        })
        .await
    }
}

async fn links(tx: &mut Tx, number: i32) -> Result<Vec<(i32, String)>> {
    let rows = tx.query(&LINKS, crate::params![number]).await?;
    rows.iter().map(|row| Ok((row.small(0)?, row.text(1)?))).collect()
}

async fn check_segment(tx: &mut Tx, segment: Option<SegmentId>) -> Result<()> {
    let Some(segment) = segment else { return Ok(()) };
    match tx.first(&SEGMENT_THERE, crate::params![segment]).await? {
        Some(_) => Ok(()),
        None => Err(Error::NotFound(format!("segment {segment}"))),
    }
}
