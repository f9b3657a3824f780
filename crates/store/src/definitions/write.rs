//! Makes all changes of one plan in one transaction, which is refused where anything defined has
//! moved since the plan was made.

use std::sync::Arc;

use tidings_domain::{
    BlockId, CampaignId, FormId, ImageId, SegmentId, TemplateId, Timestamp, TopicId,
};

use super::schema::parked;
use super::{Conversion, Definitions, Edit, Edits, Picture, groups, mail, read, schema};
use crate::engines::{Priority, Tx};
use crate::own_texts::{self, OwnText};
use crate::sql::{Dialect, Sql};
use crate::topics::{NewTopic, TopicChange};
use crate::workspace::Workspace;
use crate::{
    Error, Result, blocks, campaigns, forms, images, jobs, retention, segments, templates, topics,
};

static PARK_SEGMENT: Sql =
    Sql::reference("park_segment", "update {s}segments set name = ?2 where number = ?1");
static PARK_BLOCK: Sql =
    Sql::reference("park_block", "update {s}blocks set name = ?2 where number = ?1");
static PARK_TEMPLATE: Sql =
    Sql::reference("park_template", "update {s}templates set name = ?2 where number = ?1");
static PARK_FORM: Sql =
    Sql::reference("park_form", "update {s}forms set name = ?2 where number = ?1");
static EVALUATE_AGAIN: Sql = Sql::reference(
    "evaluate_segments_again",
    "update {s}segments set version = version + 1, next_slice = 0, updated_at = ?1
     returning number",
);
static RENAME_IMAGE: Sql =
    Sql::reference("rename_image", "update {s}images set name = ?2 where number = ?1");

pub(super) static SQL: &[&Sql] =
    &[&PARK_SEGMENT, &PARK_BLOCK, &PARK_TEMPLATE, &PARK_FORM, &EVALUATE_AGAIN, &RENAME_IMAGE];

impl Workspace {
    /// Makes all changes, or none: a conflict, where the definitions are not any more what the changes
    /// were planned for.
    pub async fn edit_definitions(
        &self,
        planned_for: Arc<Definitions>,
        edits: Arc<Edits>,
        at: Timestamp,
    ) -> Result<()> {
        let workspace = self.row.id;
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                keep_others_out(tx).await?;
                if read::all(tx, workspace).await?.0 != *planned_for {
                    let text = "the workspace was changed just now by somebody else; plan again";
                    return Err(Error::Conflict(text.to_owned()));
                }
                apply(tx, &edits, at).await
            })
        })
        .await?;
        self.fresh_schema().await.map(|_| ())
    }
}

/// On SQLite there is one writer; on PostgreSQL nobody else may define anything meanwhile.
async fn keep_others_out(tx: &mut Tx) -> Result<()> {
    if tx.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    let s = tx.schema().to_owned();
    let tables = [
        "attributes",
        "user_tables",
        "user_fields",
        "groups",
        "segments",
        "blocks",
        "block_versions",
        "images",
        "templates",
        "template_versions",
        "topics",
        "topic_versions",
        "forms",
        "campaigns",
        "relays",
        "sender_domains",
        "dkim_keys",
        "recipient_limits",
    ];
    let tables: Vec<String> = tables.iter().map(|table| format!("{s}{table}")).collect();
    // Whoever waits here for somebody who waits for this gives up after a while, and says so.
    let text = format!(
        "set local lock_timeout = '5s'; lock table {} in share row exclusive mode",
        tables.join(", ")
    );
    tx.script(&text).await
}

async fn apply(tx: &mut Tx, edits: &Edits, at: Timestamp) -> Result<()> {
    schema::apply(tx, edits, at).await?;
    groups::apply(tx, &edits.groups, at).await?;
    park(tx, &PARK_SEGMENT, &edits.segments).await?;
    park(tx, &PARK_BLOCK, &edits.blocks).await?;
    park(tx, &PARK_TEMPLATE, &edits.templates).await?;
    park(tx, &PARK_FORM, &edits.forms).await?;
    for edit in &edits.segments {
        match edit {
            Edit::Add { id, number, value } => {
                let value = (value.name.as_str(), &value.rule);
                segments::add(tx, SegmentId(*id), *number, value, at).await?;
            }
            Edit::Change { id, value, .. } => {
                let is_there = segments::put(tx, SegmentId(*id), (&value.name, &value.rule), at);
                there(is_there.await?, "a segment")?;
            }
            Edit::Drop { .. } => {}
        }
    }
    evaluate_again(tx, edits, at).await?;
    content(tx, edits, at).await?;
    consent(tx, edits, at).await?;
    mail::apply(tx, edits, at).await?;
    for edit in &edits.campaigns {
        let is_there = match edit {
            Edit::Add { id, number, value } => {
                campaigns::add(tx, CampaignId(*id), *number, value, at).await.map(|()| true)
            }
            Edit::Change { id, value, .. } => campaigns::put(tx, CampaignId(*id), value).await,
            Edit::Drop { id, .. } => campaigns::remove(tx, CampaignId(*id)).await,
        };
        there(is_there?, "a draft of a campaign")?;
    }
    drops(tx, edits).await
}

/// Where values were emptied, segments have other members by the same rules.
async fn evaluate_again(tx: &mut Tx, edits: &Edits, at: Timestamp) -> Result<()> {
    let fields = edits.fields.iter().flat_map(|table| &table.edits);
    let empties = edits
        .attributes
        .iter()
        .chain(fields)
        .any(|edit| matches!(edit, Edit::Change { value: (_, Conversion::Empty), .. }));
    if !empties {
        return Ok(());
    }
    for row in tx.query(&EVALUATE_AGAIN, crate::params![at]).await? {
        let number: i32 = row.small(0)?;
        jobs::add(tx, segments::EVALUATE_SEGMENT, &number.to_string(), "", at).await?;
    }
    Ok(())
}

/// Gives every name free that somebody else may take.
async fn park<T>(tx: &mut Tx, sql: &'static Sql, edits: &[Edit<T>]) -> Result<()> {
    for edit in edits {
        if let Edit::Change { number, .. } | Edit::Drop { number, .. } = edit {
            tx.execute(sql, crate::params![*number, parked(*number)]).await?;
        }
    }
    Ok(())
}

fn there(is_there: bool, what: &str) -> Result<()> {
    match is_there {
        true => Ok(()),
        false => Err(Error::Conflict(format!("{what} is not there any more"))),
    }
}

async fn content(tx: &mut Tx, edits: &Edits, at: Timestamp) -> Result<()> {
    for edit in &edits.blocks {
        match edit {
            Edit::Add { id, number, value } => {
                let value = (value.name.as_str(), value.body.as_str());
                blocks::add(tx, BlockId(*id), *number, value, at).await?;
            }
            Edit::Change { id, number, value } => {
                tx.execute(&PARK_BLOCK, crate::params![*number, &value.name]).await?;
                let version = blocks::put(tx, BlockId(*id), &value.body, at).await?;
                there(version.is_some(), "a block")?;
            }
            Edit::Drop { .. } => {}
        }
    }
    for edit in &edits.images {
        match edit {
            Edit::Add { id, number, value: Picture::New(new) } => {
                let most = edits.most_image_bytes;
                images::add(tx, ImageId(*id), *number, new, most, at).await?;
            }
            Edit::Change { number, value: Picture::Renamed(name), .. } => {
                tx.execute(&RENAME_IMAGE, crate::params![*number, name]).await?;
            }
            Edit::Drop { .. } => {}
            _ => return Err(Error::Invalid("a picture never changes".to_owned())),
        }
    }
    for edit in &edits.templates {
        match edit {
            Edit::Add { id, number, value } => {
                templates::add(tx, TemplateId(*id), *number, value, at).await?;
            }
            Edit::Change { id, value, .. } => {
                let version = templates::put(tx, TemplateId(*id), value, at).await?;
                there(version.is_some(), "a template")?;
            }
            Edit::Drop { .. } => {}
        }
    }
    Ok(())
}

/// Topics and forms are made and changed; what people agreed to keeps them for good.
async fn consent(tx: &mut Tx, edits: &Edits, at: Timestamp) -> Result<()> {
    for edit in &edits.topics {
        let (id, value) = match edit {
            Edit::Add { id, number, value } => {
                let new = NewTopic {
                    id: TopicId(*id),
                    number: *number,
                    channel: value.channel,
                    name: value.name.clone(),
                    description: value.description.clone(),
                    texts: value.texts.clone(),
                };
                topics::add(tx, &new, at).await?;
                (*id, value)
            }
            Edit::Change { id, value, .. } => (*id, value),
            Edit::Drop { .. } => return Err(Error::Invalid("a topic is never dropped".into())),
        };
        let change = TopicChange {
            description: Some(value.description.clone()),
            texts: Some(value.texts.clone()),
            archived: Some(value.archived),
        };
        topics::put(tx, TopicId(id), change, at).await?;
    }
    for edit in &edits.forms {
        let (id, value) = match edit {
            Edit::Add { id, number, value } => {
                let new = (value.name.as_str(), value.definition.as_str());
                forms::add(tx, FormId(*id), *number, new, at).await?;
                (*id, value)
            }
            Edit::Change { id, value, .. } => (*id, value),
            Edit::Drop { .. } => return Err(Error::Invalid("a form is never dropped".into())),
        };
        forms::put(tx, FormId(id), (&value.name, &value.definition), value.archived, at).await?;
    }
    if let Some(json) = &edits.pages {
        own_texts::put(tx, OwnText::PublicPages, json).await?;
    }
    if let Some(json) = &edits.sending {
        own_texts::put(tx, OwnText::SendingRules, json).await?;
    }
    if let Some(periods) = &edits.retention {
        retention::put(tx, periods, at).await?;
    }
    Ok(())
}

/// What is dropped goes last, when nothing new points to it any more.
async fn drops(tx: &mut Tx, edits: &Edits) -> Result<()> {
    for edit in &edits.segments {
        if let Edit::Drop { number, .. } = edit {
            there(segments::remove(tx, *number).await?, "a segment")?;
        }
    }
    for edit in &edits.templates {
        if let Edit::Drop { id, .. } = edit {
            there(templates::remove(tx, TemplateId(*id)).await?, "a template")?;
        }
    }
    for edit in &edits.blocks {
        if let Edit::Drop { id, .. } = edit {
            there(blocks::remove(tx, BlockId(*id)).await?, "a block")?;
        }
    }
    for edit in &edits.images {
        if let Edit::Drop { id, .. } = edit {
            there(images::remove(tx, ImageId(*id)).await?, "a picture")?;
        }
    }
    Ok(())
}
