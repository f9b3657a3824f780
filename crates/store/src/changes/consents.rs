//! Consents: what a customer says about a channel and its topics, with the proof of it.
//!
//! The table `consents` holds what counts now, `consent_history` everything that was ever said. A
//! *no* to a channel takes every topic with it, and stays above topics that are granted later by
//! anybody but the customer. Where customers themselves grant a topic after that, the *no* is
//! lifted, and nothing but what they chose then comes back.

use tidings_domain::change::Refusal;
use tidings_domain::consent::{Channel, ConsentState, Proof, Via};
use tidings_domain::{CustomerId, Timestamp, bucket_of};
use uuid::Uuid;

use crate::Result;
use crate::engines::Tx;
use crate::sql::{Dialect, Sql};

/// What a customer says.
pub(super) struct Given<'g> {
    pub customer: CustomerId,
    pub channel: Channel,
    /// Empty for the whole channel.
    pub topic: &'g str,
    pub state: ConsentState,
    pub source: &'g str,
    pub proof: &'g Proof,
    pub at: Timestamp,
}

/// How a *no* to a channel that was lifted stands in the history.
const LIFTED: &str = "lifted";

static TOPIC_VERSION: Sql = Sql::reference(
    "topic_version",
    "select version from {s}topics where channel = ?1 and name = ?2",
);
static PUT: Sql = Sql::bucket(
    "put_consent",
    "insert into {s}consents as t
       (bucket, customer_id, channel, topic, state, at, source, via, text_version)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
     on conflict (bucket, customer_id, channel, topic) do update
       set state = excluded.state, at = excluded.at, source = excluded.source,
           via = excluded.via, text_version = excluded.text_version
       where t.state <> excluded.state
          or coalesce(excluded.text_version, 0) > coalesce(t.text_version, 0)",
);
static PUT_SQLITE: Sql = Sql::bucket(
    "put_consent",
    "insert into {s}consents as t
       (bucket, customer_id, channel, topic, state, at, source, via, text_version)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
     on conflict (customer_id, channel, topic) do update
       set state = excluded.state, at = excluded.at, source = excluded.source,
           via = excluded.via, text_version = excluded.text_version
       where t.state <> excluded.state
          or coalesce(excluded.text_version, 0) > coalesce(t.text_version, 0)",
);
static WITHDRAW_TOPICS: Sql = Sql::bucket(
    "withdraw_topics",
    "update {s}consents set state = 'withdrawn', at = ?4, source = ?5, via = ?6,
       text_version = null
     where bucket = ?1 and customer_id = ?2 and channel = ?3 and topic <> ''
       and state = 'granted' returning topic",
);
static LIFT: Sql = Sql::bucket(
    "lift_withdrawal",
    "delete from {s}consents where bucket = ?1 and customer_id = ?2 and channel = ?3
       and topic = '' and state = 'withdrawn'",
);
static REMEMBER: Sql = Sql::bucket(
    "remember_consent",
    "insert into {s}consent_history
       (bucket, customer_id, at, id, channel, topic, state, source, via, text_version, ip,
        user_agent)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
);
/// What is planned for a customer who takes consent back is called off in the same transaction,
/// so that nothing which has not begun goes out.
static CALL_OFF: Sql = Sql::bucket(
    "call_off_deliveries",
    "update {s}deliveries set state = 6, reason = 'no_consent', finished_at = ?3
     where bucket = ?1 and customer_id = ?2 and state = 0
       and campaign_number in (select number from {s}campaigns where class = 0)",
);
static CALL_OFF_TOPIC: Sql = Sql::bucket(
    "call_off_topic",
    "update {s}deliveries set state = 6, reason = 'no_consent', finished_at = ?3
     where bucket = ?1 and customer_id = ?2 and state = 0
       and campaign_number in (select number from {s}campaigns where class = 0 and topic = ?4)",
);

pub(crate) static SQL: &[&Sql] =
    &[&TOPIC_VERSION, &PUT, &WITHDRAW_TOPICS, &LIFT, &REMEMBER, &CALL_OFF, &CALL_OFF_TOPIC];

/// Writes down what a customer says; gives how many rows it touched, or why it is refused.
pub(super) async fn change(tx: &mut Tx, given: &Given<'_>) -> Result<Result<u64, Refusal>> {
    if let Some(refusal) = check(tx, given).await? {
        return Ok(Err(refusal));
    }
    let withdrawn = given.state == ConsentState::Withdrawn;
    let own_act = given.proof.via.is_own_act();
    let mut touched = 0;
    if given.topic.is_empty() {
        if withdrawn {
            touched += withdraw_topics(tx, given).await?;
        }
    } else if !withdrawn && own_act && lift(tx, given).await? {
        touched += 1;
    }
    let written = put(tx, given).await?;
    if written > 0 || own_act {
        remember(tx, given, given.topic, given.state.name()).await?;
    }
    if withdrawn && given.channel == Channel::Email {
        call_off(tx, given).await?;
    }
    Ok(Ok(touched + written))
}

/// Takes consent back for a customer whom somebody was merged into that had done so.
pub(crate) async fn withdraw_for_merge(
    tx: &mut Tx,
    customer: CustomerId,
    channel: Channel,
    topic: &str,
    at: Timestamp,
) -> Result<()> {
    let state = ConsentState::Withdrawn;
    let proof = &Proof::by(Via::Earlier);
    let given = Given { customer, channel, topic, state, source: "merge", proof, at };
    if topic.is_empty() {
        withdraw_topics(tx, &given).await?;
    }
    if put(tx, &given).await? > 0 {
        remember(tx, &given, topic, state.name()).await?;
    }
    if channel == Channel::Email {
        call_off(tx, &given).await?;
    }
    Ok(())
}

/// A topic and a version of its text must be known.
async fn check(tx: &mut Tx, given: &Given<'_>) -> Result<Option<Refusal>> {
    let version = given.proof.text_version;
    if given.topic.is_empty() {
        return Ok(version.map(|_| {
            let message = "a whole channel has no text of its own; name a topic";
            Refusal::new("unknown_text_version", "text_version", message)
        }));
    }
    let key = crate::params![given.channel.number(), given.topic];
    let Some(row) = tx.first(&TOPIC_VERSION, key).await? else {
        let message = format!("no topic named {} on {}", given.topic, given.channel.name());
        return Ok(Some(Refusal::new("unknown_topic", "topic", message)));
    };
    let newest: i32 = row.small(0)?;
    let known = version.is_none_or(|version| (1..=newest).contains(&version));
    Ok((!known).then(|| {
        let message = format!("expected a version from 1 to {newest}");
        Refusal::new("unknown_text_version", "text_version", message)
    }))
}

async fn put(tx: &mut Tx, given: &Given<'_>) -> Result<u64> {
    let sql = match tx.dialect() {
        Dialect::Sqlite => &PUT_SQLITE,
        Dialect::Postgres => &PUT,
    };
    let params = crate::params![
        bucket_of(given.customer),
        given.customer,
        given.channel.number(),
        given.topic,
        given.state.name(),
        given.at,
        given.source,
        given.proof.via.name(),
        given.proof.text_version
    ];
    tx.execute(sql, params).await
}

/// Takes every granted topic of the channel back; each stands in the history.
async fn withdraw_topics(tx: &mut Tx, given: &Given<'_>) -> Result<u64> {
    let params = crate::params![
        bucket_of(given.customer),
        given.customer,
        given.channel.number(),
        given.at,
        given.source,
        given.proof.via.name()
    ];
    let rows = tx.query(&WITHDRAW_TOPICS, params).await?;
    for row in &rows {
        remember(tx, given, &row.text(0)?, ConsentState::Withdrawn.name()).await?;
    }
    Ok(rows.len() as u64)
}

/// Lifts a *no* to the whole channel, where there is one. Topics that others have granted
/// meanwhile are taken back, because the customer never said so.
async fn lift(tx: &mut Tx, given: &Given<'_>) -> Result<bool> {
    let key = crate::params![bucket_of(given.customer), given.customer, given.channel.number()];
    if tx.execute(&LIFT, key).await? == 0 {
        return Ok(false);
    }
    remember(tx, given, "", LIFTED).await?;
    withdraw_topics(tx, given).await?;
    Ok(true)
}

async fn remember(tx: &mut Tx, given: &Given<'_>, topic: &str, state: &str) -> Result<()> {
    // The version belongs to the topic that was spoken of, not to those that went with it.
    let text_version = given.proof.text_version.filter(|_| topic == given.topic);
    let params = crate::params![
        bucket_of(given.customer),
        given.customer,
        given.at,
        Uuid::now_v7(),
        given.channel.number(),
        topic,
        state,
        given.source,
        given.proof.via.name(),
        text_version,
        given.proof.ip.clone(),
        given.proof.user_agent.clone()
    ];
    tx.execute(&REMEMBER, params).await.map(|_| ())
}

async fn call_off(tx: &mut Tx, given: &Given<'_>) -> Result<()> {
    let bucket = bucket_of(given.customer);
    if given.topic.is_empty() {
        tx.execute(&CALL_OFF, crate::params![bucket, given.customer, given.at]).await?;
    } else {
        let params = crate::params![bucket, given.customer, given.at, given.topic];
        tx.execute(&CALL_OFF_TOPIC, params).await?;
    }
    Ok(())
}
