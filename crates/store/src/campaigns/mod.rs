//! One-off campaigns: what a user plans. Their deliveries are next door.

mod contest;
mod figures;
mod goals;
mod groups;
mod guard;
mod links;
mod run;

use tidings_domain::campaign::{CampaignState, MessageClass, Plan};
use tidings_domain::{CampaignId, SegmentId, TemplateId, Timestamp};

pub use self::contest::{DecidedBy, Decision};
pub use self::figures::Counts;
pub use self::goals::{GoalFigures, GoalQuery};
pub use self::groups::{Group, Minute};
pub use self::guard::PauseCause;
pub use self::run::{SEND_CAMPAIGN, Shard};
pub(crate) use self::run::{shard_ranges, state_of, wake_shards};
use crate::customers::Page;
use crate::engines::{Priority, Tx};
use crate::sql::{Param, Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

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
    /// What is planned beside the message; checked by the caller.
    pub plan: Plan,
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
    /// What is planned beside the message; the versions of its variants are fixed at the launch.
    pub plan: Plan,
    /// What the test came to, once that is decided.
    pub decision: Option<Decision>,
    /// Why it paused by itself, while it does.
    pub paused_because: Option<String>,
}

static ADD: Sql = Sql::reference(
    "add_campaign",
    "insert into {s}campaigns
       (number, id, name, segment_number, template_number, template_version, sender_name,
        sender_address, reply_to, class, state, scheduled_at, created_at, link_parameters,
        topic, plan)
     select coalesce(?14, (select max(number) from {s}campaigns) + 1, 1), ?1, ?2,
            (select number from {s}segments where id = ?3), t.number, null, ?5, ?6, ?7, ?8, 0,
            ?9, ?13, ?10, ?11, ?12
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
       link_parameters = ?10, topic = ?11, plan = ?12
     where id = ?1 and state = 0 returning number",
);

static LIST: Sql = Sql::reference(
    "campaigns",
    "select c.id, c.number, c.name, s.id, s.number, s.name, t.id, t.number, t.name,
       coalesce(c.template_version, t.version), c.sender_name, c.sender_address,
       c.reply_to, c.class, c.state, c.scheduled_at, c.started_at, c.finished_at,
       c.created_at, c.link_parameters, c.topic, c.plan, c.winner, c.decided_at,
       c.decided_by, c.paused_because
     from {s}campaigns c
     join {s}templates t on t.number = c.template_number
     left join {s}segments s on s.number = c.segment_number
     where c.number < ?1 order by c.number desc limit ?2",
);

static GET: Sql = Sql::reference(
    "campaign",
    "select c.id, c.number, c.name, s.id, s.number, s.name, t.id, t.number, t.name,
       coalesce(c.template_version, t.version), c.sender_name, c.sender_address,
       c.reply_to, c.class, c.state, c.scheduled_at, c.started_at, c.finished_at,
       c.created_at, c.link_parameters, c.topic, c.plan, c.winner, c.decided_at,
       c.decided_by, c.paused_because
     from {s}campaigns c
     join {s}templates t on t.number = c.template_number
     left join {s}segments s on s.number = c.segment_number
     where c.id = ?1",
);

static GET_BY_NUMBER: Sql = Sql::reference(
    "campaign_by_number",
    "select c.id, c.number, c.name, s.id, s.number, s.name, t.id, t.number, t.name,
       coalesce(c.template_version, t.version), c.sender_name, c.sender_address,
       c.reply_to, c.class, c.state, c.scheduled_at, c.started_at, c.finished_at,
       c.created_at, c.link_parameters, c.topic, c.plan, c.winner, c.decided_at,
       c.decided_by, c.paused_because
     from {s}campaigns c
     join {s}templates t on t.number = c.template_number
     left join {s}segments s on s.number = c.segment_number
     where c.number = ?1",
);

static DROP: Sql = Sql::reference(
    "drop_campaign",
    "delete from {s}campaigns where id = ?1 and state = 0 returning number",
);

static TOPIC_THERE: Sql = Sql::reference(
    "topic_there",
    "select number from {s}topics where channel = 1 and name = ?1 and archived_at is null",
);

pub(crate) static SQLS: &[&[&Sql]] =
    &[OWN, contest::SQL, figures::SQL, groups::SQL, guard::SQL, links::SQL, run::SQL];
static OWN: &[&Sql] =
    &[&ADD, &SEGMENT_THERE, &CHANGE, &LIST, &GET, &GET_BY_NUMBER, &DROP, &TOPIC_THERE];

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
        plan: plan(&row.text(21)?)?,
        decision: contest::decision(row, 22)?,
        paused_because: row.opt_text(25)?,
    })
}

fn parameters(text: &str) -> Result<Vec<(String, String)>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(text).map_err(|error| Error::Corrupt(format!("link parameters: {error}")))
}

fn plan(text: &str) -> Result<Plan> {
    serde_json::from_str(text)
        .map_err(|error| Error::Corrupt(format!("a campaign's plan: {error}")))
}

fn plan_text(plan: &Plan) -> Result<String> {
    serde_json::to_string(plan).map_err(|error| Error::Invalid(format!("write a plan: {error}")))
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

async fn check_topic(tx: &mut Tx, topic: Option<&str>) -> Result<()> {
    let Some(topic) = topic else { return Ok(()) };
    match tx.first(&TOPIC_THERE, crate::params![topic]).await? {
        Some(_) => Ok(()),
        None => Err(Error::NotFound(format!("the e-mail topic {topic}"))),
    }
}

async fn check_segment(tx: &mut Tx, segment: Option<SegmentId>) -> Result<()> {
    let Some(segment) = segment else { return Ok(()) };
    match tx.first(&SEGMENT_THERE, crate::params![segment]).await? {
        Some(_) => Ok(()),
        None => Err(Error::NotFound(format!("segment {segment}"))),
    }
}

/// What is written of a draft, the first twelve parameters of [`ADD`] and all of [`CHANGE`]; what it
/// names must be there.
async fn checked(tx: &mut Tx, id: CampaignId, draft: &CampaignDraft) -> Result<Vec<Param>> {
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
        draft.topic.clone(),
        plan_text(&draft.plan)?
    ];
    Ok(params.to_vec())
}

/// Every campaign, oldest first.
pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<Campaign>> {
    let rows = tx.query(&LIST, crate::params![i64::from(i32::MAX), i64::MAX]).await?;
    rows.iter().rev().map(campaign).collect()
}

/// Adds a draft, with a number that is known to be free or the next one.
pub(crate) async fn add(
    tx: &mut Tx,
    id: CampaignId,
    number: Option<i32>,
    draft: &CampaignDraft,
    at: Timestamp,
) -> Result<()> {
    let mut params = checked(tx, id, draft).await?;
    params.extend([at.into(), number.into()]);
    let Some(row) = tx.first(&ADD, &params).await? else {
        return Err(Error::NotFound(format!("template {}", draft.template)));
    };
    contest::put_variants(tx, row.small(0)?, &draft.plan).await
}

/// Changes a draft; false where it is not a draft any more, or not there.
pub(crate) async fn put(tx: &mut Tx, id: CampaignId, draft: &CampaignDraft) -> Result<bool> {
    let params = checked(tx, id, draft).await?;
    let Some(row) = tx.first(&CHANGE, &params).await? else { return Ok(false) };
    contest::put_variants(tx, row.small(0)?, &draft.plan).await?;
    Ok(true)
}

/// Drops a draft; false where it is not a draft any more, or not there.
pub(crate) async fn remove(tx: &mut Tx, id: CampaignId) -> Result<bool> {
    let Some(row) = tx.first(&DROP, crate::params![id]).await? else { return Ok(false) };
    contest::put_variants(tx, row.small(0)?, &Plan::default()).await?;
    Ok(true)
}

impl Workspace {
    /// Adds a draft. A template or segment that is not there is refused by name.
    pub async fn add_campaign(&self, draft: CampaignDraft, at: Timestamp) -> Result<CampaignId> {
        let id = CampaignId::generate();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { add(tx, id, None, &draft, at).await.map(|()| id) })
        })
        .await
    }

    /// Changes a draft; false where it is not a draft any more, or not there.
    pub async fn change_campaign(&self, id: CampaignId, draft: CampaignDraft) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { put(tx, id, &draft).await })
        })
        .await
    }

    pub async fn campaign(&self, id: CampaignId) -> Result<Option<Campaign>> {
        self.find(&GET, crate::params![id], campaign).await
    }

    pub async fn campaign_by_number(&self, number: i32) -> Result<Option<Campaign>> {
        self.find(&GET_BY_NUMBER, crate::params![number], campaign).await
    }

    /// Campaigns, newest first; `before` is the last number of the page before.
    pub async fn campaigns(&self, before: i32, limit: usize) -> Result<Page<Campaign, i32>> {
        self.find_page(&LIST, crate::params![before], limit, campaign, |campaign| campaign.number)
            .await
    }

    /// Drops a draft; false where it is not a draft any more, or not there.
    pub async fn drop_campaign(&self, id: CampaignId) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { remove(tx, id).await })
        })
        .await
    }
}
