//! Sending: what is due, its start committed before it leaves, and how it ended.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tidings_domain::campaign::{CampaignState, DeliveryState, MessageClass};
use tidings_domain::consent::SuppressionReason;
use tidings_domain::schema::Schema;
use tidings_domain::{CampaignId, CustomerId, DeliveryId, EventId, Timestamp};

use super::{KEY, buckets, key};
use crate::Result;
use crate::bulk::{ColumnType, column, update_many};
use crate::campaigns::{Shard, state_of, wake_shards};
use crate::changes::{DeliveryEvent, record_delivery_events, sort_rows};
use crate::customers::{Customer, load_customers};
use crate::engines::{Priority, Tx};
use crate::jobs::{self, Job};
use crate::sql::{Dialect, Param, Row, Sql};
use crate::suppressions::{skip_reason, suppress, suppressed};
use crate::workspace::Workspace;

/// A delivery that is due, with the customer as it stands now.
#[derive(Clone, Debug)]
pub struct DueDelivery {
    pub id: DeliveryId,
    pub customer: Customer,
    pub attempts: i32,
    pub due_at: Timestamp,
    /// Set where the receiver may have this message already: why it is sent again.
    pub repeats: Option<String>,
    /// The variant that they get; `None` where they get the winner of the test.
    pub variant: Option<i16>,
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
    /// The variant that leaves; it stays with the delivery.
    pub variant: i16,
}

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
    "select id, customer_id, attempts, due_at, reason, variant, arm from {s}deliveries
     where campaign_number = ?1 and state = 0 and due_at <= ?2
       and (due_at > ?3 or (due_at = ?3 and id > ?4)) and bucket >= ?5 and bucket < ?6
     order by due_at, id limit ?7",
);

static NEXT_DUE: Sql = Sql::fan_out(
    "next_due_delivery",
    "select min(due_at) from {s}deliveries
     where campaign_number = ?1 and state = 0 and bucket >= ?2 and bucket < ?3",
);

pub(crate) static SQL: &[&Sql] =
    &[&RECOVER, &RESOLVE_RESEND, &RESOLVE_GIVE_UP, &REOPEN, &DUE, &NEXT_DUE];

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
            row.push(one.variant.into());
            row
        })
        .collect();
    sort_rows(&mut rows);
    let set = [
        column("state", ColumnType::SmallInt),
        column("started_at", ColumnType::BigInt),
        column("address", ColumnType::Text),
        column("attempts", ColumnType::BigInt),
        column("variant", ColumnType::SmallInt),
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
            variant: match row.is_null(6) {
                // From before there were variants.
                true => Some(0),
                false => row.opt_int(5)?.and_then(|at| i16::try_from(at).ok()),
            },
        });
    }
    Ok(due)
}

impl Workspace {
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
                    wake_shards(tx, campaign, at).await?;
                }
                Ok(touched)
            })
        })
        .await
    }
}
