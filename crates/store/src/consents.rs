//! Looking at consents: what counts now, and everything that was ever said. Changing them is a
//! change like any other.

use tidings_domain::consent::{Channel, ConsentState, Said, Via};
use tidings_domain::{CustomerId, Timestamp, bucket_of};
use uuid::Uuid;

use crate::sql::{Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Page, Result};

/// One thing that a customer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    pub id: Uuid,
    pub at: Timestamp,
    pub channel: Channel,
    /// Empty for the whole channel.
    pub topic: String,
    /// `granted`, `withdrawn`, `lifted` where a *no* to the channel stopped counting, or `undone`
    /// where the import that said it was undone.
    pub state: String,
    pub source: String,
    pub via: Via,
    pub text_version: Option<i32>,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
}

static HISTORY: Sql = Sql::bucket(
    "consent_history_of",
    "select id, at, channel, topic, state, source, via, text_version, ip, user_agent
     from {s}consent_history
     where bucket = ?1 and customer_id = ?2 and (at < ?3 or (at = ?3 and id < ?4))
     order by at desc, id desc limit ?5",
);
static STATES: Sql = Sql::bucket(
    "consent_states_of",
    "select topic, state from {s}consents
     where bucket = ?1 and customer_id = ?2 and channel = ?3",
);

pub(crate) static SQL: &[&Sql] = &[&HISTORY, &STATES];

fn spoken(row: &Row) -> Result<Spoken> {
    let via = row.text(6)?;
    Ok(Spoken {
        id: row.uuid(0)?,
        at: row.time(1)?,
        channel: Channel::from_number(row.small(2)?),
        topic: row.text(3)?,
        state: row.text(4)?,
        source: row.text(5)?,
        via: Via::parse(&via).ok_or_else(|| Error::Corrupt(format!("consent via {via}")))?,
        text_version: if row.is_null(7) { None } else { Some(row.small(7)?) },
        ip: row.opt_text(8)?,
        user_agent: row.opt_text(9)?,
    })
}

/// What a customer said of a channel, by topic; the empty one is the channel itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct States(Vec<(String, ConsentState)>);

impl States {
    pub fn of(&self, topic: &str) -> Option<ConsentState> {
        self.0.iter().find(|(name, _)| name == topic).map(|(_, state)| *state)
    }

    /// Whether a message about a topic may go; about none where it is empty.
    pub fn allow(&self, topic: &str) -> bool {
        let topic = if topic.is_empty() { None } else { self.of(topic) };
        Said { channel: self.of(""), topic }.allows()
    }
}

impl Workspace {
    /// What a customer said, newest first; `before` is the last of the page before.
    pub async fn consent_history(
        &self,
        customer: CustomerId,
        before: Option<(Timestamp, Uuid)>,
        limit: usize,
    ) -> Result<Page<Spoken, (Timestamp, Uuid)>> {
        let (at, id) = before.unwrap_or((Timestamp(i64::MAX), Uuid::max()));
        self.find_page(
            &HISTORY,
            crate::params![bucket_of(customer), customer, at, id],
            limit,
            spoken,
            |one| (one.at, one.id),
        )
        .await
    }

    /// What counts now of a channel.
    pub async fn consent_states(&self, customer: CustomerId, channel: Channel) -> Result<States> {
        self.read(move |tx| {
            Box::pin(async move {
                let key = crate::params![bucket_of(customer), customer, channel.number()];
                let rows = tx.query(&STATES, key).await?;
                let mut states = Vec::with_capacity(rows.len());
                for row in &rows {
                    if let Some(state) = ConsentState::parse(&row.text(1)?) {
                        states.push((row.text(0)?, state));
                    }
                }
                Ok(States(states))
            })
        })
        .await
    }
}
