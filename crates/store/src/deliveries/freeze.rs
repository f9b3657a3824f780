//! The audience of a campaign, frozen in slices at the start.

use std::sync::Arc;

use tidings_domain::campaign::{
    Arm, DeliveryState, MessageClass, Placed, Placing, Reachability, SkipReason, may_message,
};
use tidings_domain::consent::{ConsentState, Said, SuppressionReason};
use tidings_domain::{CustomerId, DeliveryId, Timestamp, bucket_of};

use super::KEY;
use crate::bulk::{ColumnType, OnConflict, column, insert_many};
use crate::campaigns::Shard;
use crate::engines::{Priority, Tx};
use crate::jobs::{self, Job};
use crate::sql::{Dialect, Param, Row, Sql, quoted};
use crate::suppressions::suppressed;
use crate::workspace::Workspace;
use crate::{Error, Result};

/// Width of one slice of an audience: system ids on SQLite, buckets on PostgreSQL.
const SLICE_SYSTEM_IDS: i64 = 500;

const SLICE_BUCKETS: i64 = 8;

static MOVE_SHARD: Sql = Sql::reference(
    "move_campaign_shard",
    "update {s}campaign_shards set next = ?4
     where campaign_number = ?1 and shard = ?2 and next = ?3",
);

pub(crate) static SQL: &[&Sql] = &[&MOVE_SHARD];

/// Whom a campaign goes to, and how it places them.
#[derive(Clone)]
pub struct Audience {
    pub class: MessageClass,
    pub topic: Option<String>,
    /// Over customers `c`, as segments make it.
    pub condition: (String, Vec<Param>),
    /// The physical column of the attribute that names a customer's zone.
    pub zone_column: Option<String>,
    pub placing: Arc<Placing>,
}

/// What becomes of one customer of an audience.
pub(super) struct Verdict {
    pub customer: CustomerId,
    pub address: Option<String>,
    pub reason: Option<SkipReason>,
    pub placed: Placed,
    /// The zone that their attribute names, where there is one.
    pub zone: Option<String>,
}

/// A customer of an audience, and how they can be reached.
struct Person {
    customer: CustomerId,
    address: Option<String>,
    zone: Option<String>,
    consent: bool,
}

/// What a customer said of e-mail and of the campaign's topic: two columns, and the joins that give
/// them, for customers `c`. The parameter is the topic's.
pub(super) fn said(topic: Option<usize>) -> (&'static str, String) {
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
pub(super) fn allowed(row: &Row, at: usize) -> Result<bool> {
    let state = |at| Ok::<_, Error>(row.opt_text(at)?.as_deref().and_then(ConsentState::parse));
    Ok(Said { channel: state(at)?, topic: state(at + 1)? }.allows())
}

/// Who of a slice is in the audience, and how they can be reached.
async fn slice_customers(
    tx: &mut Tx,
    audience: &Audience,
    from: i64,
    to: i64,
) -> Result<Vec<Person>> {
    let (condition, params) = &audience.condition;
    let mut params = params.clone();
    let next = params.len() + 1;
    params.push(from.into());
    params.push(to.into());
    let topic = audience.topic.as_ref().map(|topic| {
        params.push(topic.into());
        params.len()
    });
    let slice = match tx.dialect() {
        Dialect::Sqlite => "c.system_id",
        Dialect::Postgres => "c.bucket",
    };
    let zone = match &audience.zone_column {
        Some(column) => format!("c.{}", quoted(column)),
        None => "cast(null as text)".to_owned(),
    };
    let (states, joins) = said(topic);
    let text = format!(
        "select c.id, c.email, {zone}, {states} from {{s}}customers c {joins} \
         where {slice} >= ?{next} and {slice} < ?{} and ({condition}) order by c.id",
        next + 1
    );
    let rows = tx.query_once(&text, &params).await?;
    let person = |row: &Row| {
        let customer = CustomerId(row.uuid(0)?);
        let (address, zone) = (row.opt_text(1)?, row.opt_text(2)?);
        Ok(Person { customer, address, zone, consent: allowed(row, 3)? })
    };
    rows.iter().map(person).collect()
}

/// Decides over every customer of a slice.
pub(super) async fn judge_slice(
    tx: &mut Tx,
    audience: &Audience,
    from: i64,
    to: i64,
) -> Result<Vec<Verdict>> {
    let people = slice_customers(tx, audience, from, to).await?;
    let addresses: Vec<&String> = people.iter().filter_map(|one| one.address.as_ref()).collect();
    let suppressed = suppressed(tx, &addresses).await?;
    let mut verdicts = Vec::with_capacity(people.len());
    for Person { customer, address, zone, consent } in people {
        let placed = audience.placing.place(customer, zone.as_deref());
        let reason = address.as_ref().and_then(|address| suppressed.get(address));
        let hard_bounced = reason.is_some_and(|r| r == SuppressionReason::HardBounce.name());
        let reason = may_message(
            audience.class,
            Reachability {
                erased: false,
                has_address: address.is_some(),
                suppressed: reason.is_some() && !hard_bounced,
                hard_bounced,
                consent,
                too_late: placed.too_late,
                held_out: matches!(placed.arm, Arm::Holdout | Arm::GlobalHoldout),
            },
        );
        verdicts.push(Verdict { customer, address, reason, placed, zone });
    }
    Ok(verdicts)
}

/// Freezes one slice: every customer of the audience gets a delivery, due or skipped with a reason.
async fn freeze_slice(
    tx: &mut Tx,
    campaign: i32,
    verdicts: Vec<Verdict>,
    at: Timestamp,
) -> Result<()> {
    let mut rows: Vec<Vec<Param>> = Vec::with_capacity(verdicts.len());
    for Verdict { customer, address, reason, placed, .. } in verdicts {
        let (state, finished_at) = match reason {
            None => (DeliveryState::Due, None),
            Some(_) => (DeliveryState::Skipped, Some(at)),
        };
        // Who is left out for another reason is in no arm, as those held out are drawn from the rest.
        let in_arm = matches!(reason, None | Some(SkipReason::Holdout));
        rows.push(vec![
            bucket_of(customer).into(),
            customer.into(),
            campaign.into(),
            DeliveryId::generate().into(),
            address.into(),
            state.number().into(),
            reason.map(SkipReason::name).into(),
            0_i64.into(),
            placed.due_at.into(),
            finished_at.into(),
            in_arm.then(|| placed.arm.number()).into(),
            placed.variant.filter(|_| in_arm).into(),
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
        column("arm", ColumnType::SmallInt),
        column("variant", ColumnType::SmallInt),
    ];
    insert_many(tx, "deliveries", &columns, &rows, OnConflict::Keep, "").await?;
    Ok(())
}

impl Workspace {
    /// Freezes the next slice of a shard's audience and gives where the shard then stands.
    pub async fn freeze_audience(
        &self,
        job: &Job,
        campaign: i32,
        shard: Shard,
        audience: Audience,
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
                let verdicts = judge_slice(tx, &audience, shard.next, to).await?;
                freeze_slice(tx, campaign, verdicts, at).await?;
                Ok(Shard { next: to, ..shard })
            })
        })
        .await
    }
}
