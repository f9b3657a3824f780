//! Deliveries: the audience frozen in slices, messages started and recorded in groups.
//!
//! A delivery goes due → in flight → sent, failed or bounced. *In flight* is committed before the
//! message's last byte leaves; whoever takes over after a crash finds those and holds them as
//! uncertain. Every write of a sender renews its job's lease or is refused whole.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tidings_domain::campaign::{
    CampaignState, DeliveryState, MessageClass, Reachability, SkipReason, may_message,
};
use tidings_domain::change::{Identity, IdentityKind};
use tidings_domain::consent::{Channel, ConsentState, Said, SuppressionReason};
use tidings_domain::schema::Schema;
use tidings_domain::{
    CampaignId, CustomerId, DeliveryId, EventId, Timestamp, bucket_of, identity_bucket,
};

use crate::bulk::{Column, ColumnType, OnConflict, column, insert_many, select_many, update_many};
use crate::campaigns::{Shard, state_of, topic_of};
use crate::changes::{CUSTOMER_KEY, customer_key, sort_rows};
use crate::changes::{DeliveryEvent, record_delivery_events};
use crate::customers::{Customer, Page, load_customers};
use crate::engines::{Priority, Tx};
use crate::jobs::{self, Job};
use crate::sql::{Dialect, Param, Row, Sql};
use crate::suppressions::{hash_join, suppressed};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// Width of one slice of an audience: system ids on SQLite, buckets on PostgreSQL.
const SLICE_SYSTEM_IDS: i64 = 500;
const SLICE_BUCKETS: i64 = 8;

/// The key of a delivery: one message a customer a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryKey {
    pub campaign: i32,
    pub customer: CustomerId,
}

/// A delivery that is due, with the customer as it stands now.
#[derive(Clone, Debug)]
pub struct DueDelivery {
    pub id: DeliveryId,
    pub customer: Customer,
    pub attempts: i32,
    pub due_at: Timestamp,
    /// Set where the receiver may have this message already: why it is sent again.
    pub repeats: Option<String>,
}

/// What is due, and whose customer is not there any more.
#[derive(Clone, Debug, Default)]
pub struct Due {
    pub deliveries: Vec<DueDelivery>,
    pub gone: Vec<CustomerId>,
}

/// Why a transactional message is sent again after its holder crashed.
pub const RESENT_AFTER_CRASH: &str = "resent_after_crash";
/// Why one is sent again whose last byte was not answered.
pub const RESENT_UNANSWERED: &str = "resent_unanswered";
/// Why one is sent again that an operator decided over.
const RESENT: &str = "resent";

/// What became of a message that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    Sent {
        reply: String,
    },
    /// Refused for now; tried again at a time.
    Retry {
        reply: String,
        at: Timestamp,
    },
    /// Given up.
    Failed {
        reason: String,
        reply: String,
    },
    /// The address does not exist; it is suppressed in the same transaction.
    Bounced {
        reply: String,
    },
    /// The connection died after the last byte may have left.
    Unknown {
        reason: String,
    },
}

/// The end of one message, to be recorded.
#[derive(Clone, Debug)]
pub struct Finished {
    pub id: DeliveryId,
    pub customer: CustomerId,
    pub address: String,
    pub attempt: Attempt,
    /// As in [`DueDelivery`]; it stays on the delivery, so that a repeat is seen for what it is.
    pub repeats: Option<String>,
}

/// The beginning of one message, to be committed before it leaves.
#[derive(Clone, Debug)]
pub struct Starting {
    pub customer: CustomerId,
    pub address: String,
    /// How many attempts this one makes it.
    pub attempts: i32,
}

/// One row of the list of who got a message, who not and why.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: DeliveryId,
    pub customer: CustomerId,
    pub external_id: Option<String>,
    pub address: Option<String>,
    pub state: DeliveryState,
    pub reason: Option<String>,
    pub reply: Option<String>,
    pub attempts: i32,
    pub due_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub opened_at: Option<Timestamp>,
    pub clicked_at: Option<Timestamp>,
}

const KEY: [Column<'static>; 3] = [
    column("bucket", ColumnType::SmallInt),
    column("customer_id", ColumnType::Uuid),
    column("campaign_number", ColumnType::Int),
];

fn key(campaign: i32, customer: CustomerId) -> Vec<Param> {
    vec![bucket_of(customer).into(), customer.into(), campaign.into()]
}

static MOVE_SHARD: Sql = Sql::reference(
    "move_campaign_shard",
    "update {s}campaign_shards set next = ?4
     where campaign_number = ?1 and shard = ?2 and next = ?3",
);
static RECOVER: Sql = Sql::fan_out(
    "recover_started_deliveries",
    "update {s}deliveries set state = ?2, reason = ?3, due_at = ?4
     where campaign_number = ?1 and state = 2 and bucket >= ?5 and bucket < ?6",
);
static RESOLVE_RESEND: Sql = Sql::fan_out(
    "resend_uncertain",
    "update {s}deliveries set state = 0, reason = 'resent', due_at = ?2
     where campaign_number = ?1 and state = 7",
);
static RESOLVE_GIVE_UP: Sql = Sql::fan_out(
    "give_up_uncertain",
    "update {s}deliveries set state = 4, reason = 'uncertain', finished_at = ?2
     where campaign_number = ?1 and state = 7",
);
static REOPEN: Sql = Sql::reference(
    "reopen_campaign",
    "update {s}campaigns set state = 3, finished_at = null where number = ?1 and state = 5",
);
static DUE: Sql = Sql::fan_out(
    "due_deliveries",
    "select id, customer_id, attempts, due_at, reason from {s}deliveries
     where campaign_number = ?1 and state = 0 and due_at <= ?2
       and (due_at > ?3 or (due_at = ?3 and id > ?4)) and bucket >= ?5 and bucket < ?6
     order by due_at, id limit ?7",
);
static NEXT_DUE: Sql = Sql::fan_out(
    "next_due_delivery",
    "select min(due_at) from {s}deliveries
     where campaign_number = ?1 and state = 0 and bucket >= ?2 and bucket < ?3",
);
static SUPPRESS: Sql = Sql::identity(
    "suppress",
    "insert into {s}suppressions (ibucket, channel, address, reason, detail, at)
     values (?1, ?2, ?3, ?4, ?5, ?6) on conflict do nothing",
);
static CALL_OFF_ADDRESS: Sql = Sql::fan_out(
    "call_off_address",
    "update {s}deliveries set state = 6, reason = ?2, finished_at = ?3
     where address = ?1 and state = 0",
);

pub(crate) static SQL: &[&Sql] = &[
    &MOVE_SHARD,
    &RECOVER,
    &RESOLVE_RESEND,
    &RESOLVE_GIVE_UP,
    &REOPEN,
    &DUE,
    &NEXT_DUE,
    &SUPPRESS,
    &CALL_OFF_ADDRESS,
    &MARK_OPENED,
    &MARK_CLICKED,
    &MARK_UNSUBSCRIBED,
    &ONE,
];

/// The buckets of a shard: all of them on SQLite, where the shard is a range of system ids.
fn buckets(dialect: Dialect, shard: &Shard) -> (i64, i64) {
    match dialect {
        Dialect::Sqlite => (0, i64::from(tidings_domain::bucket::BUCKETS)),
        Dialect::Postgres => (shard.low, shard.high),
    }
}

/// A customer of an audience, and how they can be reached.
struct Person {
    customer: CustomerId,
    address: Option<String>,
    consent: bool,
}

/// What a customer said of e-mail and of the campaign's topic: two columns, and the joins that give
/// them, for customers `c`. The parameter is the topic's.
fn said(topic: Option<usize>) -> (&'static str, String) {
    let join = |alias: &str, topic: &str| {
        format!(
            "left join {{s}}consents {alias} on {alias}.bucket = c.bucket \
               and {alias}.customer_id = c.id and {alias}.channel = 1 and {alias}.topic = {topic} "
        )
    };
    let channel = join("n", "''");
    match topic {
        None => ("n.state, null", channel),
        Some(at) => ("n.state, p.state", channel + &join("p", &format!("?{at}"))),
    }
}

/// Whether what stands in those two columns lets a marketing message go.
fn allowed(row: &Row, at: usize) -> Result<bool> {
    let state = |at| Ok::<_, Error>(row.opt_text(at)?.as_deref().and_then(ConsentState::parse));
    Ok(Said { channel: state(at)?, topic: state(at + 1)? }.allows())
}

/// Who of a slice is in the audience, and how they can be reached.
async fn slice_customers(
    tx: &mut Tx,
    (condition, params): (&str, &[Param]),
    topic: Option<String>,
    from: i64,
    to: i64,
) -> Result<Vec<Person>> {
    let mut params = params.to_vec();
    let next = params.len() + 1;
    params.push(from.into());
    params.push(to.into());
    let topic = topic.map(|topic| {
        params.push(topic.into());
        params.len()
    });
    let slice = match tx.dialect() {
        Dialect::Sqlite => "c.system_id",
        Dialect::Postgres => "c.bucket",
    };
    let (states, joins) = said(topic);
    let text = format!(
        "select c.id, c.email, {states} from {{s}}customers c {joins} \
         where {slice} >= ?{next} and {slice} < ?{} and ({condition}) order by c.id",
        next + 1
    );
    let rows = tx.query_once(&text, &params).await?;
    let person = |row: &Row| {
        let customer = CustomerId(row.uuid(0)?);
        Ok(Person { customer, address: row.opt_text(1)?, consent: allowed(row, 2)? })
    };
    rows.iter().map(person).collect()
}

/// Freezes one slice: every customer of the audience gets a delivery, due or skipped with a reason.
async fn freeze_slice(
    tx: &mut Tx,
    campaign: i32,
    class: MessageClass,
    people: Vec<Person>,
    at: Timestamp,
) -> Result<()> {
    let addresses: Vec<&String> = people.iter().filter_map(|one| one.address.as_ref()).collect();
    let suppressed = suppressed(tx, &addresses).await?;
    let mut rows: Vec<Vec<Param>> = Vec::with_capacity(people.len());
    for Person { customer, address, consent } in people {
        let reason = address.as_ref().and_then(|address| suppressed.get(address));
        let hard_bounced = reason.is_some_and(|r| r == SuppressionReason::HardBounce.name());
        let verdict = may_message(
            class,
            Reachability {
                erased: false,
                has_address: address.is_some(),
                suppressed: reason.is_some() && !hard_bounced,
                hard_bounced,
                consent,
            },
        );
        let (state, finished_at) = match verdict {
            None => (DeliveryState::Due, None),
            Some(_) => (DeliveryState::Skipped, Some(at)),
        };
        rows.push(vec![
            bucket_of(customer).into(),
            customer.into(),
            campaign.into(),
            DeliveryId::generate().into(),
            address.into(),
            state.number().into(),
            verdict.map(SkipReason::name).into(),
            0_i64.into(),
            at.into(),
            finished_at.into(),
        ]);
    }
    let [bucket, customer, campaign] = KEY;
    let columns = [
        bucket,
        customer,
        campaign,
        column("id", ColumnType::Uuid),
        column("address", ColumnType::Text),
        column("state", ColumnType::SmallInt),
        column("reason", ColumnType::Text),
        column("attempts", ColumnType::BigInt),
        column("due_at", ColumnType::BigInt),
        column("finished_at", ColumnType::BigInt),
    ];
    insert_many(tx, "deliveries", &columns, &rows, OnConflict::Keep, "").await?;
    Ok(())
}

/// Records how messages ended; gives the events that follow.
async fn record(
    tx: &mut Tx,
    campaign: i32,
    campaign_id: CampaignId,
    finished: Vec<Finished>,
    at: Timestamp,
) -> Result<()> {
    let mut rows: Vec<Vec<Param>> = Vec::with_capacity(finished.len());
    let mut events: Vec<DeliveryEvent> = Vec::with_capacity(finished.len());
    let mut bounced: Vec<(String, String)> = Vec::new();
    for one in finished {
        let event = |name: &'static str, properties: serde_json::Value| DeliveryEvent {
            customer: one.customer,
            name,
            at,
            id: EventId::generate(),
            properties,
            campaign: campaign_id,
            delivery: one.id,
        };
        let (state, reason, reply, due_at) = match one.attempt {
            Attempt::Sent { reply } => {
                events.push(event("message_sent", serde_json::json!({"channel": "email"})));
                (DeliveryState::Sent, one.repeats, Some(reply), at)
            }
            Attempt::Retry { reply, at } => {
                let reason = one.repeats.unwrap_or_else(|| "deferred".to_owned());
                (DeliveryState::Due, Some(reason), Some(reply), at)
            }
            Attempt::Failed { reason, reply } => {
                let properties = serde_json::json!({"reason": reason, "reply": reply});
                events.push(event("message_failed", properties));
                (DeliveryState::Failed, Some(reason), Some(reply), at)
            }
            Attempt::Bounced { reply } => {
                events.push(event("message_bounced", serde_json::json!({"reply": reply})));
                bounced.push((one.address.clone(), reply.clone()));
                (DeliveryState::Bounced, Some("hard_bounce".to_owned()), Some(reply), at)
            }
            Attempt::Unknown { reason } => (DeliveryState::Uncertain, Some(reason), None, at),
        };
        let ended = state != DeliveryState::Due;
        let mut row = key(campaign, one.customer);
        row.push(state.number().into());
        row.push(reason.into());
        row.push(reply.into());
        row.push(due_at.into());
        row.push(ended.then_some(at).into());
        rows.push(row);
    }
    sort_rows(&mut rows);
    let set = [
        column("state", ColumnType::SmallInt),
        column("reason", ColumnType::Text),
        column("reply", ColumnType::Text),
        column("due_at", ColumnType::BigInt),
        column("finished_at", ColumnType::BigInt),
    ];
    let recorded =
        update_many(tx, "deliveries", &KEY, &set, &rows, "t.state = 2", "customer_id").await?;
    for (address, reply) in bounced {
        suppress(tx, &address, SuppressionReason::HardBounce, &reply, at).await?;
    }
    // A step that is tried again because its commit was never answered may be on disk already.
    let recorded: HashSet<CustomerId> =
        recorded.iter().map(|row| row.uuid(0).map(CustomerId)).collect::<Result<_>>()?;
    events.retain(|event| recorded.contains(&event.customer));
    record_delivery_events(tx, &events).await
}

/// Never writes to an address again, and calls off what is planned for it.
pub(crate) async fn suppress(
    tx: &mut Tx,
    address: &str,
    reason: SuppressionReason,
    detail: &str,
    at: Timestamp,
) -> Result<bool> {
    let identity = Identity { kind: IdentityKind::Email, value: address.to_owned() };
    let params = crate::params![
        identity_bucket(identity.kind, &identity.value),
        Channel::Email.number(),
        address,
        reason.name(),
        detail,
        at
    ];
    let added = tx.execute(&SUPPRESS, params).await? > 0;
    let skip = skip_reason(reason.name());
    tx.execute(&CALL_OFF_ADDRESS, crate::params![address, skip.name(), at]).await?;
    Ok(added)
}

/// Commits the start of messages: gives those that may really go now. One that was called off,
/// cancelled or paused since it was read is not among them. Called again with the same `at`, because
/// its commit was never answered, it gives the same.
async fn start(
    tx: &mut Tx,
    campaign: i32,
    starting: &[Starting],
    at: Timestamp,
) -> Result<HashSet<CustomerId>> {
    if starting.is_empty() {
        return Ok(HashSet::new());
    }
    let state = state_of(tx, campaign).await?;
    if !matches!(state, CampaignState::Preparing | CampaignState::Sending) {
        return Ok(HashSet::new());
    }
    let silent = skip_suppressed(tx, campaign, starting, at).await?;
    let mut rows: Vec<Vec<Param>> = starting
        .iter()
        .filter(|one| !silent.contains(&one.customer))
        .map(|one| {
            let mut row = key(campaign, one.customer);
            row.push(DeliveryState::Started.number().into());
            row.push(at.into());
            row.push(one.address.as_str().into());
            row.push(one.attempts.into());
            row
        })
        .collect();
    sort_rows(&mut rows);
    let set = [
        column("state", ColumnType::SmallInt),
        column("started_at", ColumnType::BigInt),
        column("address", ColumnType::Text),
        column("attempts", ColumnType::BigInt),
    ];
    let startable = match tx.dialect() {
        Dialect::Sqlite => "t.state = 0 or (t.state = 2 and t.started_at = ?4)",
        Dialect::Postgres => "t.state = 0 or (t.state = 2 and t.started_at = u.c4)",
    };
    let started =
        update_many(tx, "deliveries", &KEY, &set, &rows, startable, "customer_id").await?;
    let started: HashSet<CustomerId> =
        started.iter().map(|row| row.uuid(0).map(CustomerId)).collect::<Result<_>>()?;
    Ok(started)
}

/// Skips the messages whose address is suppressed as it stands now, which may be another than when
/// the audience was frozen; gives whose they are.
async fn skip_suppressed(
    tx: &mut Tx,
    campaign: i32,
    starting: &[Starting],
    at: Timestamp,
) -> Result<HashSet<CustomerId>> {
    let addresses: Vec<&String> = starting.iter().map(|one| &one.address).collect();
    let reasons = suppressed(tx, &addresses).await?;
    let mut silent = HashSet::new();
    let mut rows: Vec<Vec<Param>> = Vec::new();
    for one in starting {
        let Some(reason) = reasons.get(&one.address) else { continue };
        let mut row = key(campaign, one.customer);
        row.push(DeliveryState::Skipped.number().into());
        row.push(skip_reason(reason).name().into());
        row.push(at.into());
        rows.push(row);
        silent.insert(one.customer);
    }
    if rows.is_empty() {
        return Ok(silent);
    }
    sort_rows(&mut rows);
    let set = [
        column("state", ColumnType::SmallInt),
        column("reason", ColumnType::Text),
        column("finished_at", ColumnType::BigInt),
    ];
    update_many(tx, "deliveries", &KEY, &set, &rows, "t.state = 0", "").await?;
    Ok(silent)
}

/// What a suppression of this reason means for a message.
fn skip_reason(reason: &str) -> SkipReason {
    if reason == SuppressionReason::HardBounce.name() {
        SkipReason::HardBounced
    } else {
        SkipReason::Suppressed
    }
}

static MARK_OPENED: Sql = Sql::bucket(
    "mark_opened",
    "update {s}deliveries set opened_at = coalesce(opened_at, ?4)
     where bucket = ?1 and customer_id = ?2 and campaign_number = ?3 returning id",
);
static MARK_CLICKED: Sql = Sql::bucket(
    "mark_clicked",
    "update {s}deliveries set clicked_at = coalesce(clicked_at, ?4),
       opened_at = coalesce(opened_at, ?4)
     where bucket = ?1 and customer_id = ?2 and campaign_number = ?3 returning id",
);
static MARK_UNSUBSCRIBED: Sql = Sql::bucket(
    "mark_unsubscribed",
    "update {s}deliveries set unsubscribed_at = coalesce(unsubscribed_at, ?4)
     where bucket = ?1 and customer_id = ?2 and campaign_number = ?3 returning id",
);
static ONE: Sql = Sql::bucket(
    "delivery",
    "select id from {s}deliveries
     where bucket = ?1 and customer_id = ?2 and campaign_number = ?3",
);

/// What a customer did with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    Opened,
    Clicked,
    Unsubscribed,
}

/// A page of a campaign's deliveries by customer, with what else they must meet.
pub(crate) fn page_text(condition: &str) -> String {
    format!(
        "select d.id, d.customer_id, d.address, d.state, d.reason, d.reply, d.attempts, d.due_at, \
         d.finished_at, d.opened_at, d.clicked_at from {{s}}deliveries d \
         where d.campaign_number = ?1 and d.customer_id > ?2{condition} \
         order by d.customer_id limit ?3"
    )
}

impl Workspace {
    /// Freezes the next slice of a shard's audience and gives where the shard then stands. The
    /// condition is over customers `c`, as segments make it.
    pub async fn freeze_audience(
        &self,
        job: &Job,
        campaign: i32,
        class: MessageClass,
        shard: Shard,
        condition: (String, Vec<Param>),
        at: Timestamp,
    ) -> Result<Shard> {
        let job = job.clone();
        self.write(Priority::Bulk, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                let width = match tx.dialect() {
                    Dialect::Sqlite => SLICE_SYSTEM_IDS,
                    Dialect::Postgres => SLICE_BUCKETS,
                };
                let to = (shard.next + width).min(shard.high);
                let params = crate::params![campaign, shard.shard, shard.next, to];
                if tx.execute(&MOVE_SHARD, params).await? == 0 {
                    // The campaign was cancelled, which leaves nothing to freeze.
                    return Ok(Shard { next: shard.high, ..shard });
                }
                let topic = topic_of(tx, campaign).await?;
                let audience = (condition.0.as_str(), condition.1.as_slice());
                let people = slice_customers(tx, audience, topic, shard.next, to).await?;
                freeze_slice(tx, campaign, class, people, at).await?;
                Ok(Shard { next: to, ..shard })
            })
        })
        .await
    }

    /// Takes over what a holder before left in flight: marketing messages are held as uncertain,
    /// transactional ones are due again. Gives how many there were.
    pub async fn recover_deliveries(
        &self,
        job: &Job,
        campaign: i32,
        class: MessageClass,
        shard: Shard,
        at: Timestamp,
    ) -> Result<u64> {
        let job = job.clone();
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                let (low, high) = buckets(tx.dialect(), &shard);
                let (state, reason) = match class {
                    MessageClass::Marketing => (DeliveryState::Uncertain, "crash"),
                    MessageClass::Transactional => (DeliveryState::Due, RESENT_AFTER_CRASH),
                };
                let params = crate::params![campaign, state.number(), reason, at, low, high];
                tx.execute(&RECOVER, params).await
            })
        })
        .await
    }

    /// Deliveries that are due, after a cursor, with their customers as they stand now. A customer
    /// who is gone is left out.
    pub async fn due_deliveries(
        &self,
        campaign: i32,
        shard: Shard,
        now: Timestamp,
        after: (Timestamp, DeliveryId),
        limit: usize,
    ) -> Result<Due> {
        let schema = self.schema().await?;
        self.read(move |tx| {
            Box::pin(async move {
                let (low, high) = buckets(tx.dialect(), &shard);
                let limit = i64::try_from(limit).unwrap_or(i64::MAX);
                let params = crate::params![campaign, now, after.0, after.1, low, high, limit];
                let rows = tx.query(&DUE, params).await?;
                with_customers(tx, &schema, &rows).await
            })
        })
        .await
    }

    /// When the next delivery of a shard is due, if one is.
    pub async fn next_due_delivery(
        &self,
        campaign: i32,
        shard: Shard,
    ) -> Result<Option<Timestamp>> {
        self.read(move |tx| {
            Box::pin(async move {
                let (low, high) = buckets(tx.dialect(), &shard);
                let row = tx.first(&NEXT_DUE, crate::params![campaign, low, high]).await?;
                row.map_or(Ok(None), |row| row.opt_time(0))
            })
        })
        .await
    }

    /// One step of a sender, in one commit: records how messages ended, then starts others. Gives
    /// the customers whose message may go now. A step whose commit was never answered may be tried
    /// again with the same `at`: it then does what it has not done.
    pub async fn step_deliveries(
        &self,
        job: &Job,
        campaign: (i32, CampaignId),
        finished: Vec<Finished>,
        starting: Vec<Starting>,
        at: Timestamp,
    ) -> Result<HashSet<CustomerId>> {
        let job = job.clone();
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                if !finished.is_empty() {
                    record(tx, campaign.0, campaign.1, finished, at).await?;
                }
                start(tx, campaign.0, &starting, at).await
            })
        })
        .await
    }

    /// Skips deliveries that could not be rendered, each with its reason and the detail.
    pub async fn skip_deliveries(
        &self,
        job: &Job,
        campaign: i32,
        skipped: Vec<(CustomerId, String, String)>,
        at: Timestamp,
    ) -> Result<()> {
        let job = job.clone();
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                jobs::hold(tx, &job).await?;
                let mut rows: Vec<Vec<Param>> = skipped
                    .into_iter()
                    .map(|(customer, reason, detail)| {
                        let mut row = key(campaign, customer);
                        row.push(DeliveryState::Skipped.number().into());
                        row.push(reason.into());
                        row.push(detail.into());
                        row.push(at.into());
                        row
                    })
                    .collect();
                sort_rows(&mut rows);
                let set = [
                    column("state", ColumnType::SmallInt),
                    column("reason", ColumnType::Text),
                    column("reply", ColumnType::Text),
                    column("finished_at", ColumnType::BigInt),
                ];
                update_many(tx, "deliveries", &KEY, &set, &rows, "t.state = 0", "").await?;
                Ok(())
            })
        })
        .await
    }

    /// Decides over the messages that a crash left uncertain; gives how many.
    pub async fn resolve_uncertain(
        &self,
        campaign: i32,
        resend: bool,
        at: Timestamp,
    ) -> Result<u64> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let sql = if resend { &RESOLVE_RESEND } else { &RESOLVE_GIVE_UP };
                let touched = tx.execute(sql, crate::params![campaign, at]).await?;
                if resend && touched > 0 {
                    tx.execute(&REOPEN, crate::params![campaign]).await?;
                    crate::campaigns::wake_shards(tx, campaign, at).await?;
                }
                Ok(touched)
            })
        })
        .await
    }

    /// Marks what a customer did with a message; false where there was no such message.
    pub async fn react(
        &self,
        key: DeliveryKey,
        campaign: CampaignId,
        reaction: Reaction,
        properties: serde_json::Value,
        at: Timestamp,
    ) -> Result<bool> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let (sql, name) = match reaction {
                    Reaction::Opened => (&MARK_OPENED, "message_opened"),
                    Reaction::Clicked => (&MARK_CLICKED, "message_clicked"),
                    Reaction::Unsubscribed => (&MARK_UNSUBSCRIBED, "unsubscribed"),
                };
                let params =
                    crate::params![bucket_of(key.customer), key.customer, key.campaign, at];
                let Some(row) = tx.first(sql, params).await? else { return Ok(false) };
                let event = DeliveryEvent {
                    customer: key.customer,
                    name,
                    at,
                    id: EventId::generate(),
                    properties,
                    campaign,
                    delivery: DeliveryId(row.uuid(0)?),
                };
                record_delivery_events(tx, &[event]).await?;
                Ok(true)
            })
        })
        .await
    }

    /// Whether a message of this campaign was made for this customer.
    pub async fn has_delivery(&self, key: DeliveryKey) -> Result<bool> {
        self.read(move |tx| {
            Box::pin(async move {
                let params = crate::params![bucket_of(key.customer), key.customer, key.campaign];
                Ok(tx.first(&ONE, params).await?.is_some())
            })
        })
        .await
    }

    /// Who got a message, who not and why, in the order of customers.
    pub async fn deliveries(
        &self,
        campaign: i32,
        state: Option<DeliveryState>,
        reason: Option<String>,
        after: Option<CustomerId>,
        limit: usize,
    ) -> Result<Page<Delivery, CustomerId>> {
        let mut params: Vec<Param> = vec![
            campaign.into(),
            after.map_or(uuid::Uuid::nil(), |id| id.0).into(),
            (limit as i64 + 1).into(),
        ];
        let mut condition = String::new();
        if let Some(state) = state {
            params.push(state.number().into());
            condition.push_str(&format!(" and d.state = ?{}", params.len()));
        }
        if let Some(reason) = reason {
            params.push(reason.into());
            condition.push_str(&format!(" and d.reason = ?{}", params.len()));
        }
        let text = page_text(&condition);
        let items = self
            .read(move |tx| {
                Box::pin(async move {
                    let rows = tx.query_text(&text, &params).await?;
                    let mut items = rows.iter().map(delivery).collect::<Result<Vec<_>>>()?;
                    name_customers(tx, &mut items).await?;
                    Ok(items)
                })
            })
            .await?;
        Ok(Page::cut(items, limit, |one| one.customer))
    }

    /// How an audience divides before a launch: all of it, who would get the message, and why the
    /// others would not.
    pub async fn review_audience(
        &self,
        class: MessageClass,
        topic: Option<String>,
        condition: (String, Vec<Param>),
    ) -> Result<Review> {
        self.read(move |tx| {
            Box::pin(async move {
                let (condition, mut params) = condition;
                let topic = topic.map(|topic| {
                    params.push(topic.into());
                    params.len()
                });
                let (states, joins) = said(topic);
                let (reason, by_hash) = hash_join(tx).await?;
                let text = format!(
                    "select {reason}, c.email is not null, count(*), {states} \
                     from {{s}}customers c {joins} \
                     left join {{s}}suppressions s on s.channel = 1 and s.address = c.email \
                     {by_hash} where ({condition}) group by 1, 2, 4, 5"
                );
                let mut review = Review::default();
                for row in tx.query_once(&text, &params).await? {
                    let reason = row.opt_text(0)?;
                    let hard_bounced = reason.as_deref() == Some("hard_bounce");
                    let count = row.int(2)?;
                    let verdict = may_message(
                        class,
                        Reachability {
                            erased: false,
                            has_address: row.bool(1)?,
                            suppressed: reason.is_some() && !hard_bounced,
                            hard_bounced,
                            consent: allowed(&row, 3)?,
                        },
                    );
                    review.audience += count;
                    match verdict {
                        None => review.will_send += count,
                        Some(SkipReason::NoAddress) => review.no_address += count,
                        Some(SkipReason::Suppressed) => review.suppressed += count,
                        Some(SkipReason::HardBounced) => review.hard_bounced += count,
                        Some(SkipReason::NoConsent) => review.no_consent += count,
                        Some(
                            SkipReason::Erased | SkipReason::NotRendered | SkipReason::CustomerGone,
                        ) => {}
                    }
                }
                Ok(review)
            })
        })
        .await
    }
}

/// The counts shown before a launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Review {
    pub audience: i64,
    pub will_send: i64,
    pub suppressed: i64,
    pub hard_bounced: i64,
    pub no_consent: i64,
    pub no_address: i64,
}

async fn with_customers(tx: &mut Tx, schema: &Arc<Schema>, rows: &[Row]) -> Result<Due> {
    let ids: Vec<CustomerId> =
        rows.iter().map(|row| row.uuid(1).map(CustomerId)).collect::<Result<_>>()?;
    let mut customers: HashMap<CustomerId, Customer> = load_customers(tx, schema, &ids)
        .await?
        .into_iter()
        .map(|customer| (customer.id, customer))
        .collect();
    let mut due = Due::default();
    for row in rows {
        let id = CustomerId(row.uuid(1)?);
        let Some(customer) = customers.remove(&id) else {
            due.gone.push(id);
            continue;
        };
        due.deliveries.push(DueDelivery {
            id: DeliveryId(row.uuid(0)?),
            customer,
            attempts: row.small(2)?,
            due_at: row.time(3)?,
            repeats: row.opt_text(4)?.filter(|reason| {
                [RESENT, RESENT_AFTER_CRASH, RESENT_UNANSWERED].contains(&reason.as_str())
            }),
        });
    }
    Ok(due)
}

fn delivery(row: &Row) -> Result<Delivery> {
    Ok(Delivery {
        id: DeliveryId(row.uuid(0)?),
        customer: CustomerId(row.uuid(1)?),
        external_id: None,
        address: row.opt_text(2)?,
        state: DeliveryState::from_number(row.small(3)?)
            .ok_or_else(|| Error::Corrupt("a delivery's state is unknown".into()))?,
        reason: row.opt_text(4)?,
        reply: row.opt_text(5)?,
        attempts: row.small(6)?,
        due_at: row.time(7)?,
        finished_at: row.opt_time(8)?,
        opened_at: row.opt_time(9)?,
        clicked_at: row.opt_time(10)?,
    })
}

/// Adds what is known of the customers: their external ids, and the addresses of those who have not
/// been written to yet.
async fn name_customers(tx: &mut Tx, deliveries: &mut [Delivery]) -> Result<()> {
    let mut keys: Vec<Vec<Param>> =
        deliveries.iter().map(|one| customer_key(one.customer)).collect();
    sort_rows(&mut keys);
    let wanted = "t.id, t.external_id, t.email";
    let mut known = HashMap::with_capacity(keys.len());
    for row in select_many(tx, "customers", wanted, &CUSTOMER_KEY, &keys, "").await? {
        known.insert(CustomerId(row.uuid(0)?), (row.opt_text(1)?, row.opt_text(2)?));
    }
    for one in deliveries {
        let (external_id, email) = known.remove(&one.customer).unwrap_or_default();
        one.external_id = external_id;
        one.address = one.address.take().or(email);
    }
    Ok(())
}

/// How often a link of a campaign was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkClicks {
    pub url: String,
    pub clicks: i64,
    /// By how many customers.
    pub unique_clicks: i64,
}

impl Workspace {
    /// The links of a campaign by how often they were followed.
    pub async fn link_clicks(&self, campaign: CampaignId) -> Result<Vec<LinkClicks>> {
        let url = match self.dialect() {
            Dialect::Sqlite => "e.properties ->> '$.url'",
            Dialect::Postgres => "e.properties ->> 'url'",
        };
        let text = format!(
            "select coalesce({url}, ''), count(*), count(distinct e.customer_id) \
             from {{s}}events e join {{s}}event_names n on n.number = e.name \
             where n.name = 'message_clicked' and e.campaign_id = ?1 \
             group by coalesce({url}, '') order by count(*) desc limit 200"
        );
        self.read(move |tx| {
            Box::pin(async move {
                let rows = tx.query_text(&text, crate::params![campaign]).await?;
                rows.iter()
                    .map(|row| {
                        Ok(LinkClicks {
                            url: row.text(0)?,
                            clicks: row.int(1)?,
                            unique_clicks: row.int(2)?,
                        })
                    })
                    .collect()
            })
        })
        .await
    }
}
