//! Segments: their rules and how many customers are in them.

use serde_json::Value as Json;
use tidings_domain::rule::Names;
use tidings_domain::rule::calendar::Zone;
use tidings_domain::{SegmentId, Timestamp};

use crate::engines::{Priority, Tx};
use crate::jobs;
use crate::sql::{Param, Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// The kind of the job that evaluates one segment over the whole base.
pub const EVALUATE_SEGMENT: &str = "evaluate_segment";

#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    pub number: i32,
    pub id: SegmentId,
    pub name: String,
    /// The rule as JSON, checked when it was saved.
    pub rule: Json,
    pub version: i32,
    /// The version whose membership is complete.
    pub evaluated_version: i32,
    pub updated_at: Timestamp,
}

impl Segment {
    pub fn is_evaluating(&self) -> bool {
        self.evaluated_version < self.version
    }
}

static LIST: Sql = Sql::reference(
    "segments",
    "select number, id, name, rule, version, evaluated_version, updated_at
     from {s}segments order by number",
);
static ADD: Sql = Sql::reference(
    "add_segment",
    "insert into {s}segments
       (number, id, name, rule, version, evaluated_version, next_slice, created_at, updated_at)
     select coalesce(?5, max(number) + 1, 1), ?1, ?2, ?3, 1, 0, 0, ?4, ?4
     from {s}segments where true
     returning number",
);
static CHANGE: Sql = Sql::reference(
    "change_segment",
    "update {s}segments set name = ?2, rule = ?3, next_slice = 0, updated_at = ?4,
       version = case when rule = ?3 then version else version + 1 end
     where id = ?1 returning number, version, evaluated_version",
);
static IN_USE: Sql = Sql::reference(
    "segment_in_use",
    "select count(*) from {s}campaigns where segment_number = ?1 and state < 5",
);
static DROP: Sql = Sql::reference("drop_segment", "delete from {s}segments where number = ?1");
static DROP_MEMBERS: Sql = Sql::fan_out(
    "drop_segment_members",
    "delete from {s}segment_members where segment_number = ?1",
);
static DROP_CHECKS: Sql =
    Sql::fan_out("drop_segment_checks", "delete from {s}segment_checks where segment_number = ?1");
static UNLINK: Sql = Sql::reference(
    "unlink_segment",
    "update {s}campaigns set segment_number = null where segment_number = ?1 and state >= 5",
);
static SIZES: Sql = Sql::fan_out(
    "segment_sizes",
    "select segment_number, count(*) from {s}segment_members group by segment_number",
);
static GROUP_NAMES: Sql = Sql::reference("group_names", "select name, number from {s}groups");
static SEGMENT_NAMES: Sql = Sql::reference("segment_names", "select name, number from {s}segments");
static EVENT_NAMES: Sql =
    Sql::reference("event_name_numbers", "select name, number from {s}event_names");

pub(crate) static SQL: &[&Sql] = &[
    &LIST,
    &ADD,
    &CHANGE,
    &IN_USE,
    &DROP,
    &DROP_MEMBERS,
    &DROP_CHECKS,
    &UNLINK,
    &SIZES,
    &GROUP_NAMES,
    &SEGMENT_NAMES,
    &EVENT_NAMES,
    &TAG_NAMES,
    &RECENT_PROPERTIES,
];

fn segment(row: &Row) -> Result<Segment> {
    let rule = serde_json::from_str(&row.text(3)?)
        .map_err(|_| Error::Corrupt("a segment's rule is not JSON".into()))?;
    Ok(Segment {
        number: row.small(0)?,
        id: SegmentId(row.uuid(1)?),
        name: row.text(2)?,
        rule,
        version: row.small(4)?,
        evaluated_version: row.small(5)?,
        updated_at: row.time(6)?,
    })
}

/// The numbers behind the names that rules use.
pub(crate) async fn names(tx: &mut Tx) -> Result<Names> {
    let mut names = Names::default();
    for row in tx.query(&GROUP_NAMES, &[]).await? {
        names.groups.insert(row.text(0)?, row.small(1)?);
    }
    for row in tx.query(&SEGMENT_NAMES, &[]).await? {
        names.segments.insert(row.text(0)?, row.small(1)?);
    }
    for row in tx.query(&EVENT_NAMES, &[]).await? {
        names.events.insert(row.text(0)?, row.small(1)?);
    }
    Ok(names)
}

pub(crate) async fn list(tx: &mut Tx) -> Result<Vec<Segment>> {
    tx.query(&LIST, &[]).await?.iter().map(segment).collect()
}

/// Adds a segment and the job that evaluates it, with a number that is known to be free or the next
/// one.
pub(crate) async fn add(
    tx: &mut Tx,
    id: SegmentId,
    number: Option<i32>,
    (name, rule): (&str, &Json),
    at: Timestamp,
) -> Result<()> {
    let row = tx.first(&ADD, crate::params![id, name, rule.to_string(), at, number]).await?;
    let row = row.ok_or_else(|| Error::Corrupt("no number for a segment".into()))?;
    jobs::add(tx, EVALUATE_SEGMENT, &row.int(0)?.to_string(), "", at).await
}

/// Changes a segment and evaluates it anew; false where there is none.
pub(crate) async fn put(
    tx: &mut Tx,
    id: SegmentId,
    (name, rule): (&str, &Json),
    at: Timestamp,
) -> Result<bool> {
    let params = crate::params![id, name, rule.to_string(), at];
    let Some(row) = tx.first(&CHANGE, params).await? else { return Ok(false) };
    // Another name alone costs nothing.
    if row.int(1)? > row.int(2)? {
        jobs::add(tx, EVALUATE_SEGMENT, &row.int(0)?.to_string(), "", at).await?;
    }
    Ok(true)
}

/// Drops a segment that no campaign is waiting for or sending to.
pub(crate) async fn remove(tx: &mut Tx, number: i32) -> Result<bool> {
    let used = tx.first(&IN_USE, crate::params![number]).await?;
    if used.map_or(Ok(0), |row| row.int(0))? > 0 {
        return Err(Error::Conflict("a campaign uses this segment".into()));
    }
    tx.execute(&UNLINK, crate::params![number]).await?;
    tx.execute(&DROP_MEMBERS, crate::params![number]).await?;
    tx.execute(&DROP_CHECKS, crate::params![number]).await?;
    crate::memberships::drop_days(tx, number).await?;
    Ok(tx.execute(&DROP, crate::params![number]).await? > 0)
}

impl Workspace {
    /// The numbers behind the names that rules use.
    pub async fn rule_names(&self) -> Result<Names> {
        let mut names = self.read(|tx| Box::pin(async move { names(tx).await })).await?;
        names.zone = Zone::named(&self.row.time_zone);
        Ok(names)
    }

    /// All segments; a workspace has few.
    pub async fn segments(&self) -> Result<Vec<Segment>> {
        self.read(|tx| Box::pin(async move { list(tx).await })).await
    }

    /// Adds a segment and the job that evaluates it.
    pub async fn add_segment(&self, name: &str, rule: Json, at: Timestamp) -> Result<SegmentId> {
        let id = SegmentId::generate();
        let taken = taken(name);
        let name = name.to_owned();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { add(tx, id, None, (&name, &rule), at).await.map(|()| id) })
        })
        .await
        .map_err(taken)
    }

    /// Changes a segment and evaluates it anew; false where there is none.
    pub async fn change_segment(
        &self,
        id: SegmentId,
        name: &str,
        rule: Json,
        at: Timestamp,
    ) -> Result<bool> {
        let taken = taken(name);
        let name = name.to_owned();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { put(tx, id, (&name, &rule), at).await })
        })
        .await
        .map_err(taken)
    }

    /// Drops a segment that no campaign is waiting for or sending to.
    pub async fn drop_segment(&self, number: i32) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { remove(tx, number).await })
        })
        .await
    }

    /// How many customers are in each segment, by its number.
    pub async fn segment_sizes(&self) -> Result<std::collections::HashMap<i32, i64>> {
        self.read(|tx| {
            Box::pin(async move {
                let rows = tx.query(&SIZES, &[]).await?;
                rows.iter().map(|row| Ok((row.small(0)?, row.int(1)?))).collect()
            })
        })
        .await
    }

    /// How many customers meet a condition over `c`, and how many there are in all.
    pub async fn count_customers(&self, condition: (String, Vec<Param>)) -> Result<(i64, i64)> {
        self.read(move |tx| {
            Box::pin(async move {
                let text = format!("select count(*) from {{s}}customers c where {}", condition.0);
                let members = tx.query_once(&text, &condition.1).await?;
                let all = tx.query_text("select count(*) from {s}customers", &[]).await?;
                let count = |rows: &[Row]| rows.first().map_or(Ok(0), |row| row.int(0));
                Ok((count(&members)?, count(&all)?))
            })
        })
        .await
    }
}

fn taken(name: &str) -> impl Fn(Error) -> Error + use<> {
    let text = format!("a segment named {name} exists");
    move |error| match error {
        Error::Conflict(detail) if detail.contains("a campaign") => Error::Conflict(detail),
        Error::Conflict(_) => Error::Conflict(text.clone()),
        other => other,
    }
}

static TAG_NAMES: Sql = Sql::fan_out(
    "common_tags",
    "select tag from {s}tags group by tag order by count(*) desc, tag limit 100",
);
static RECENT_PROPERTIES: Sql = Sql::fan_out(
    "recent_event_properties",
    "select properties from {s}events where name = ?1 and properties is not null
     order by at desc limit 20",
);

/// What rules can use beside the schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleWords {
    /// The hundred most used.
    pub tags: Vec<String>,
    pub groups: Vec<String>,
    pub segments: Vec<String>,
    /// Event names with the properties seen on recent ones.
    pub events: Vec<(String, Vec<String>)>,
}

impl Workspace {
    /// What rules can use beside the schema.
    pub async fn rule_words(&self) -> Result<RuleWords> {
        self.read(|tx| {
            Box::pin(async move {
                let names = names(tx).await?;
                let tags = tx.query(&TAG_NAMES, &[]).await?;
                let mut words = RuleWords {
                    tags: tags.iter().map(|row| row.text(0)).collect::<Result<_>>()?,
                    groups: names.groups.into_keys().collect(),
                    segments: names.segments.into_keys().collect(),
                    events: Vec::new(),
                };
                words.groups.sort();
                words.segments.sort();
                let mut events: Vec<(String, i32)> = names.events.into_iter().collect();
                events.sort();
                for (name, number) in events.into_iter().take(200) {
                    let rows = tx.query(&RECENT_PROPERTIES, crate::params![number]).await?;
                    let mut properties = std::collections::BTreeSet::new();
                    for row in rows {
                        if let Json::Object(fields) = row.json(0)? {
                            properties.extend(fields.into_iter().map(|(name, _)| name));
                        }
                    }
                    words.events.push((name, properties.into_iter().collect()));
                }
                Ok(words)
            })
        })
        .await
    }
}
