//! The audience of a campaign: how it divides before a launch, and frozen in slices at the start.

use tidings_domain::campaign::{
    DeliveryState, MessageClass, Reachability, SkipReason, may_message,
};
use tidings_domain::consent::{ConsentState, Said, SuppressionReason};
use tidings_domain::{CustomerId, DeliveryId, Timestamp, bucket_of};

use super::KEY;
use crate::bulk::{ColumnType, OnConflict, column, insert_many};
use crate::campaigns::{Shard, topic_of};
use crate::engines::{Priority, Tx};
use crate::jobs::{self, Job};
use crate::sql::{Dialect, Param, Row, Sql};
use crate::suppressions::{hash_join, suppressed};
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

impl Workspace {
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
}
