//! What a slice of the journal tells of each customer or record, and what undoing it comes to.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{Undone, kept};
use crate::changes::journal::Subject;
use crate::engines::Tx;
use crate::sql::{Param, Row};
use crate::{Error, Result};

/// The journal of one customer or record, all its parts together.
pub(super) struct Story {
    pub subject: Subject,
    pub created: bool,
    /// When the import touched it last.
    pub at: i64,
    /// By field: what was before the import and what it made of it.
    pub changes: BTreeMap<String, (Json, Json)>,
    pub rows: u64,
    pub last_part: i64,
}

/// A customer or record with the fields that go back to what they were.
pub(super) type Back<'s> = (&'s Story, Vec<(&'s String, &'s Json)>);

/// What is written at the end of a slice.
#[derive(Default)]
pub(super) struct Outcome {
    pub undone: Undone,
    kept: Vec<Vec<Param>>,
}

pub(super) fn stories(rows: &[Row]) -> Result<Vec<Story>> {
    let mut stories: Vec<Story> = Vec::new();
    for row in rows {
        let subject = Subject {
            bucket: row.small(0)?,
            customer: row.uuid(1)?,
            table: row.small(2)?,
            key: row.text(3)?,
        };
        let (part, at, created) = (row.int(4)?, row.int(5)?, row.int(6)? != 0);
        let changes: BTreeMap<String, (Json, Json)> = serde_json::from_str(&row.text(7)?)
            .map_err(|error| Error::Corrupt(format!("read journal: {error}")))?;
        if stories.last().is_none_or(|last| last.subject != subject) {
            stories.push(Story {
                subject,
                created: false,
                at,
                changes: BTreeMap::new(),
                rows: 0,
                last_part: part,
            });
        }
        let Some(story) = stories.last_mut() else { continue };
        story.created |= created;
        story.at = story.at.max(at);
        story.rows += 1;
        story.last_part = part;
        for (name, (before, after)) in changes {
            // What was first before, and what was last made of it.
            let known = story.changes.entry(name).or_insert((before, Json::Null));
            known.1 = after;
        }
    }
    Ok(stories)
}

impl Outcome {
    pub(super) fn keep(
        &mut self,
        story: &Story,
        name: &str,
        reason: &str,
        (imported, current): (Option<&Json>, Option<&Json>),
    ) {
        let shown =
            |json: Option<&Json>| json.filter(|json| !json.is_null()).map(|json| json.to_string());
        self.undone.kept += 1;
        self.kept.push(vec![
            story.subject.bucket.into(),
            story.subject.customer.into(),
            i64::from(story.subject.table).into(),
            story.subject.key.as_str().into(),
            name.into(),
            reason.into(),
            shown(imported).into(),
            shown(current).into(),
        ]);
    }

    pub(super) fn keep_whole(&mut self, story: &Story, reason: &str) {
        self.keep(story, "", reason, (None, None));
    }

    /// Writes the list of what stays.
    pub(super) async fn write(&mut self, tx: &mut Tx, import: i64) -> Result<()> {
        kept::write(tx, import, std::mem::take(&mut self.kept)).await
    }
}
