//! Reads all definitions in one transaction.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use tidings_domain::WorkspaceId;
use tidings_domain::campaign::CampaignState;
use uuid::{Builder, Uuid};

use super::{
    Attribute, Block, Campaign, Definitions, Form, Image, Item, Segment, Standing, Table, Topic,
};
use crate::campaigns::{Campaign as StoredCampaign, CampaignDraft};
use crate::engines::Tx;
use crate::own_texts::{self, OwnText};
use crate::sql::{Row, Sql};
use crate::templates::TemplateDraft;
use crate::workspace::Workspace;
use crate::{Error, Result, retention};

static IDS: Sql = Sql::reference(
    "schema_ids",
    "select 0, number, id from {s}attributes where id is not null
     union all select 1, number, id from {s}user_tables where id is not null
     union all select 2, number, id from {s}user_fields where id is not null",
);
static GROUPS: Sql =
    Sql::reference("all_groups", "select number, id, name from {s}groups order by number");
static GROUP_SIZES: Sql = Sql::fan_out(
    "group_sizes",
    "select group_number, count(*) from {s}group_members group by group_number",
);

static ANY_DATA: Sql = Sql::fan_out(
    "any_data",
    "select 1 where exists (select 1 from {s}customers) or exists (select 1 from {s}imports)",
);

pub(super) static SQL: &[&Sql] = &[&IDS, &GROUPS, &GROUP_SIZES, &ANY_DATA];

/// What of the schema an id belongs to. Attributes, tables and fields share one row of numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Attribute = 0,
    Table = 1,
    Field = 2,
}

/// The id of a part of the schema that was made without one: always the same, since the number
/// never changes.
fn derived(workspace: WorkspaceId, part: Part, number: i32) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(workspace.0.as_bytes());
    hash.update([part as u8]);
    hash.update(number.to_be_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

struct Ids {
    workspace: WorkspaceId,
    kept: HashMap<(i64, i32), Uuid>,
}

impl Ids {
    async fn load(tx: &mut Tx, workspace: WorkspaceId) -> Result<Ids> {
        let mut kept = HashMap::new();
        for row in tx.query(&IDS, &[]).await? {
            kept.insert((row.int(0)?, row.small(1)?), row.uuid(2)?);
        }
        Ok(Ids { workspace, kept })
    }

    fn of(&self, part: Part, number: i32) -> Uuid {
        let kept = self.kept.get(&(part as i64, number)).copied();
        kept.unwrap_or_else(|| derived(self.workspace, part, number))
    }

    fn attribute(&self, part: Part, one: &tidings_domain::schema::Attribute) -> Item<Attribute> {
        let value = Attribute { name: one.name.clone(), kind: one.kind.clone() };
        Item { id: self.of(part, one.number), number: one.number, value }
    }
}

/// All definitions, and what stands beside them.
pub(super) async fn all(tx: &mut Tx, workspace: WorkspaceId) -> Result<(Definitions, Standing)> {
    let ids = Ids::load(tx, workspace).await?;
    let schema = crate::schema::load(tx).await?;
    let mut found = Definitions {
        attributes: schema.attributes.iter().map(|a| ids.attribute(Part::Attribute, a)).collect(),
        pages: own_texts::get(tx, OwnText::PublicPages).await?,
        sending: own_texts::get(tx, OwnText::SendingRules).await?,
        retention: retention::get(tx).await?,
        ..Definitions::default()
    };
    for table in &schema.tables {
        let fields = table.fields.iter().map(|field| ids.attribute(Part::Field, field)).collect();
        let value = Table { name: table.name.clone(), owner: table.owner, fields };
        let (id, number) = (ids.of(Part::Table, table.number), table.number);
        found.tables.push(Item { id, number, value });
    }
    for row in tx.query(&GROUPS, &[]).await? {
        found.groups.push(Item { id: row.uuid(1)?, number: row.small(0)?, value: row.text(2)? });
    }
    for one in crate::segments::list(tx).await? {
        let value = Segment { name: one.name, rule: one.rule };
        found.segments.push(Item { id: one.id.0, number: one.number, value });
    }
    content(tx, &mut found).await?;
    super::mail::read(tx, &mut found).await?;
    for one in crate::topics::all(tx).await? {
        let value = Topic {
            channel: one.channel,
            name: one.name,
            description: one.description,
            texts: one.texts,
            archived: one.archived_at.is_some(),
        };
        found.topics.push(Item { id: one.id.0, number: one.number, value });
    }
    for one in crate::forms::all(tx).await? {
        let archived = one.archived_at.is_some();
        let value = Form { name: one.name, definition: one.definition, archived };
        found.forms.push(Item { id: one.id.0, number: one.number, value });
    }
    let mut standing = Standing::default();
    for one in crate::campaigns::all(tx).await? {
        let item = campaign(one);
        match item.value.state {
            CampaignState::Draft | CampaignState::Scheduled => found.campaigns.push(item),
            _ => standing.launched.push(item),
        }
    }
    for row in tx.query(&GROUP_SIZES, &[]).await? {
        standing.group_sizes.insert(row.small(0)?, row.int(1)?);
    }
    standing.has_data = tx.first(&ANY_DATA, &[]).await?.is_some();
    Ok((found, standing))
}

async fn content(tx: &mut Tx, found: &mut Definitions) -> Result<()> {
    for one in crate::blocks::all(tx).await? {
        let value = Block { name: one.name, body: one.body };
        found.blocks.push(Item { id: one.id.0, number: one.number, value });
    }
    for one in crate::images::all(tx).await? {
        let value = Image {
            name: one.name,
            secret: one.secret,
            kind: one.kind,
            size_bytes: one.size_bytes,
        };
        found.images.push(Item { id: one.id.0, number: one.number, value });
    }
    for one in crate::templates::all(tx).await? {
        let (id, number) = (one.id.0, one.number);
        found.templates.push(Item { id, number, value: TemplateDraft::from(one) });
    }
    Ok(())
}

fn campaign(one: StoredCampaign) -> Item<Campaign> {
    let value = Campaign {
        state: one.state,
        template: one.template.1,
        segment: one.segment.as_ref().map(|(_, number, _)| *number),
        draft: CampaignDraft {
            name: one.name,
            segment: one.segment.map(|(id, ..)| id),
            template: one.template.0,
            sender: one.sender,
            class: one.class,
            topic: one.topic,
            scheduled_at: one.scheduled_at,
            link_parameters: one.link_parameters,
            plan: one.plan,
        },
    };
    Item { id: one.id.0, number: one.number, value }
}

impl Workspace {
    /// Everything that is defined here, as it stands now, and what stands beside it.
    pub async fn definitions(&self) -> Result<(Definitions, Standing)> {
        let workspace = self.row.id;
        self.read(move |tx| Box::pin(async move { all(tx, workspace).await })).await
    }

    /// The bytes of a picture by the secret of its address; a picture that is known has them.
    pub async fn picture(&self, secret: &str) -> Result<Vec<u8>> {
        let found = self.image_bytes(secret).await?;
        found.map(|(_, bytes)| bytes).ok_or_else(|| Error::NotFound("a picture's bytes".into()))
    }
}

/// The number of a row that a statement gave back.
pub(super) fn number(row: Option<Row>, what: &str) -> Result<i32> {
    row.ok_or_else(|| Error::Corrupt(format!("no number for {what}")))?.small(0)
}
