//! Topics: what a channel is used for, with the text that people are shown, by version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidings_domain::consent::Channel;
use tidings_domain::{Timestamp, TopicId};

use crate::engines::{Priority, Tx};
use crate::sql::{Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// What people read about a topic, in one language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicText {
    /// The name beside the tick.
    pub title: String,
    /// What they agree to.
    pub text: String,
}

/// By language.
pub type TopicTexts = BTreeMap<String, TopicText>;

/// A topic with its newest text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    pub id: TopicId,
    pub number: i32,
    pub channel: Channel,
    /// What consents and campaigns carry; it never changes.
    pub name: String,
    /// For colleagues.
    pub description: String,
    pub version: i32,
    pub texts: TopicTexts,
    /// Since when it is offered to nobody any more.
    pub archived_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

/// A text as it stood once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicVersion {
    pub version: i32,
    pub texts: TopicTexts,
    pub created_at: Timestamp,
}

/// What of a topic may change; `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct TopicChange {
    pub description: Option<String>,
    pub texts: Option<TopicTexts>,
    pub archived: Option<bool>,
}

static LIST: Sql = Sql::reference(
    "topics",
    "select t.id, t.number, t.channel, t.name, t.description, t.version, v.texts, t.archived_at,
            t.created_at
     from {s}topics t
     join {s}topic_versions v on v.topic_number = t.number and v.version = t.version
     order by t.number",
);
static GET: Sql = Sql::reference(
    "topic",
    "select t.id, t.number, t.channel, t.name, t.description, t.version, v.texts, t.archived_at,
            t.created_at
     from {s}topics t
     join {s}topic_versions v on v.topic_number = t.number and v.version = t.version
     where t.id = ?1",
);
static TAKEN: Sql =
    Sql::reference("topic_taken", "select number from {s}topics where channel = ?1 and name = ?2");
static ADD: Sql = Sql::reference(
    "add_topic",
    "insert into {s}topics (number, id, channel, name, description, version, created_at)
     select coalesce(?6, max(number) + 1, 1), ?1, ?2, ?3, ?4, 1, ?5 from {s}topics where true
     returning number",
);
static ADD_VERSION: Sql = Sql::reference(
    "add_topic_version",
    "insert into {s}topic_versions (topic_number, version, texts, created_at)
     values (?1, ?2, ?3, ?4)",
);
static CHANGE: Sql = Sql::reference(
    "change_topic",
    "update {s}topics set description = ?2, version = ?3, archived_at = ?4 where number = ?1",
);
static VERSIONS: Sql = Sql::reference(
    "topic_versions",
    "select v.version, v.texts, v.created_at
     from {s}topic_versions v join {s}topics t on t.number = v.topic_number
     where t.id = ?1 order by v.version desc",
);

pub(crate) static SQL: &[&Sql] = &[&LIST, &GET, &TAKEN, &ADD, &ADD_VERSION, &CHANGE, &VERSIONS];

fn texts(text: &str) -> Result<TopicTexts> {
    serde_json::from_str(text).map_err(|error| Error::Corrupt(format!("a topic's texts: {error}")))
}

fn written(texts: &TopicTexts) -> Result<String> {
    serde_json::to_string(texts).map_err(|error| Error::Database(format!("write texts: {error}")))
}

fn topic(row: &Row) -> Result<Topic> {
    Ok(Topic {
        id: TopicId(row.uuid(0)?),
        number: row.small(1)?,
        channel: Channel::from_number(row.small(2)?),
        name: row.text(3)?,
        description: row.text(4)?,
        version: row.small(5)?,
        texts: texts(&row.text(6)?)?,
        archived_at: row.opt_time(7)?,
        created_at: row.time(8)?,
    })
}

async fn one(tx: &mut Tx, id: TopicId) -> Result<Topic> {
    let row = tx.first(&GET, crate::params![id]).await?;
    topic(&row.ok_or_else(|| Error::NotFound("the topic".to_owned()))?)
}

pub(crate) async fn all(tx: &mut Tx) -> Result<Vec<Topic>> {
    tx.query(&LIST, &[]).await?.iter().map(topic).collect()
}

/// A topic to be made.
pub(crate) struct NewTopic {
    pub id: TopicId,
    /// Known to be free; without it, the next one.
    pub number: Option<i32>,
    pub channel: Channel,
    pub name: String,
    pub description: String,
    pub texts: TopicTexts,
}

/// Makes a topic; a name that the channel has already is a conflict.
pub(crate) async fn add(tx: &mut Tx, new: &NewTopic, at: Timestamp) -> Result<()> {
    let NewTopic { channel, name, .. } = new;
    if tx.first(&TAKEN, crate::params![channel.number(), name]).await?.is_some() {
        let channel = channel.name();
        return Err(Error::Conflict(format!("a topic {name} of {channel} exists")));
    }
    let row = crate::params![new.id, channel.number(), name, &new.description, at, new.number];
    let number = tx.first(&ADD, row).await?.map_or(Ok(0), |row| row.int(0))?;
    let row = crate::params![number, 1_i64, written(&new.texts)?, at];
    tx.execute(&ADD_VERSION, row).await.map(drop)
}

/// Changes a topic; other texts are a new version of it.
pub(crate) async fn put(
    tx: &mut Tx,
    id: TopicId,
    change: TopicChange,
    at: Timestamp,
) -> Result<()> {
    let old = one(tx, id).await?;
    let mut version = old.version;
    if let Some(texts) = change.texts.filter(|texts| *texts != old.texts) {
        version += 1;
        let row = crate::params![old.number, version, written(&texts)?, at];
        tx.execute(&ADD_VERSION, row).await?;
    }
    let archived_at = match change.archived {
        None => old.archived_at,
        Some(true) => old.archived_at.or(Some(at)),
        Some(false) => None,
    };
    let description = change.description.unwrap_or(old.description);
    let row = crate::params![old.number, description, version, archived_at];
    tx.execute(&CHANGE, row).await.map(drop)
}

impl Workspace {
    /// Every topic, oldest first.
    pub async fn topics(&self) -> Result<Vec<Topic>> {
        self.read(|tx| Box::pin(async move { all(tx).await })).await
    }

    /// Makes a topic; a name that the channel has already is a conflict.
    pub async fn add_topic(
        &self,
        channel: Channel,
        name: &str,
        description: &str,
        texts: &TopicTexts,
        at: Timestamp,
    ) -> Result<Topic> {
        let id = TopicId::generate();
        let (name, description) = (name.to_owned(), description.to_owned());
        let texts = texts.clone();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let new = NewTopic { id, number: None, channel, name, description, texts };
                add(tx, &new, at).await?;
                one(tx, id).await
            })
        })
        .await
    }

    /// Changes a topic; other texts are a new version of it.
    pub async fn change_topic(
        &self,
        id: TopicId,
        change: TopicChange,
        at: Timestamp,
    ) -> Result<Topic> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                put(tx, id, change, at).await?;
                one(tx, id).await
            })
        })
        .await
    }

    /// The texts of a topic, newest first; empty where there is no such topic.
    pub async fn topic_versions(&self, id: TopicId) -> Result<Vec<TopicVersion>> {
        self.read(move |tx| {
            Box::pin(async move {
                let rows = tx.query(&VERSIONS, crate::params![id]).await?;
                rows.iter()
                    .map(|row| {
                        Ok(TopicVersion {
                            version: row.small(0)?,
                            texts: texts(&row.text(1)?)?,
                            created_at: row.time(2)?,
                        })
                    })
                    .collect()
            })
        })
        .await
    }
}
