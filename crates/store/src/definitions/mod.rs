//! Everything that a user defines, read as one and changed as one. What it looks like as text is for
//! the engine; this room knows nothing of files.

mod groups;
mod mail;
mod read;
mod schema;
mod write;

use tidings_domain::campaign::CampaignState;
use tidings_domain::consent::Channel;
use tidings_domain::retention::Retention;
use tidings_domain::schema::Owner;
use tidings_domain::value::Kind;
use uuid::Uuid;

use crate::campaigns::CampaignDraft;
use crate::images::NewImage;
use crate::senders::RecipientLimit;
use crate::sql::Sql;
use crate::templates::TemplateDraft;
use crate::topics::TopicTexts;

pub(crate) static SQLS: &[&[&Sql]] = &[read::SQL, schema::SQL, groups::SQL, mail::SQL, write::SQL];

/// Something defined, with the id that stays through every change and the number it has here.
#[derive(Clone, Debug, PartialEq)]
pub struct Item<T> {
    pub id: Uuid,
    pub number: i32,
    pub value: T,
}

/// An attribute of the customer, or a field of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    pub name: String,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub name: String,
    pub owner: Owner,
    pub fields: Vec<Item<Attribute>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    pub name: String,
    pub rule: serde_json::Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub name: String,
    pub body: String,
}

/// What is known of a picture. Its bytes are read beside it; they never change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub name: String,
    /// The part of its public address that nobody can guess.
    pub secret: String,
    /// The end of its address.
    pub kind: String,
    pub size_bytes: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub channel: Channel,
    pub name: String,
    pub description: String,
    pub texts: TopicTexts,
    pub archived: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    pub name: String,
    /// JSON.
    pub definition: String,
    pub archived: bool,
}

/// A campaign. One that is neither a draft nor scheduled is history: it is read, so that it is known
/// to be there, and never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Campaign {
    pub draft: CampaignDraft,
    pub state: CampaignState,
    /// The number of the template and of the segment, if any.
    pub template: i32,
    pub segment: Option<i32>,
}

/// A relay without its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    pub name: String,
    /// Without name and password.
    pub url: String,
    pub username: Option<String>,
    pub per_second: Option<i32>,
    pub open_max: i32,
    pub weight: i32,
    pub enabled: bool,
    /// Whether its password is known here; changes of a relay leave it where its user stays.
    pub has_secret: bool,
}

/// A domain that mail is sent from; its name is what it is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    pub domain: String,
    /// The id of its relay.
    pub relay: Option<Uuid>,
    pub tracking_url: Option<String>,
    /// The selectors of its keys that sign.
    pub keys: Vec<String>,
}

/// All of it, as it stood at one moment; each list in the order of numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definitions {
    pub attributes: Vec<Item<Attribute>>,
    pub tables: Vec<Item<Table>>,
    pub groups: Vec<Item<String>>,
    pub segments: Vec<Item<Segment>>,
    pub blocks: Vec<Item<Block>>,
    pub images: Vec<Item<Image>>,
    pub templates: Vec<Item<TemplateDraft>>,
    pub topics: Vec<Item<Topic>>,
    pub forms: Vec<Item<Form>>,
    /// Drafts and scheduled ones.
    pub campaigns: Vec<Item<Campaign>>,
    /// The words of public pages as JSON, where the workspace has its own.
    pub pages: Option<String>,
    /// The rules of sending as JSON, where the workspace has its own.
    pub sending: Option<String>,
    /// For how long what is kept.
    pub retention: Retention,
    pub relays: Vec<Item<Relay>>,
    /// In the order of their names.
    pub senders: Vec<Sender>,
    /// How many messages may be on their way to receivers' domains.
    pub limits: Vec<RecipientLimit>,
}

/// What stands beside the definitions, and moves by itself while customers come and mails go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// Campaigns that have begun or ended.
    pub launched: Vec<Item<Campaign>>,
    /// The sizes of groups by their numbers.
    pub group_sizes: std::collections::HashMap<i32, i64>,
    /// Whether there are customers or uploads.
    pub has_data: bool,
}

/// One change of one thing.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit<T> {
    /// `number` is known to be free; without it, the next one is taken.
    Add {
        id: Uuid,
        number: Option<i32>,
        value: T,
    },
    Change {
        id: Uuid,
        number: i32,
        value: T,
    },
    Drop {
        id: Uuid,
        number: i32,
    },
}

/// How an attribute or field comes to another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// What is kept fits as it is.
    Keep,
    /// Every number is multiplied by ten to this power.
    Scale(u8),
    /// The values are dropped.
    Empty,
}

/// A picture that is there already, or is to be made with its bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Picture {
    New(NewImage),
    Renamed(String),
}

/// A table without its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableHead {
    pub name: String,
    pub owner: Owner,
}

/// Changes of one table's fields.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldEdits {
    pub table: Uuid,
    /// `None` where the same edits make the table.
    pub number: Option<i32>,
    pub edits: Vec<Edit<(Attribute, Conversion)>>,
}

/// Everything that is to be changed, in one transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edits {
    pub attributes: Vec<Edit<(Attribute, Conversion)>>,
    pub tables: Vec<Edit<TableHead>>,
    pub fields: Vec<FieldEdits>,
    pub groups: Vec<Edit<String>>,
    pub segments: Vec<Edit<Segment>>,
    pub blocks: Vec<Edit<Block>>,
    pub images: Vec<Edit<Picture>>,
    pub templates: Vec<Edit<TemplateDraft>>,
    pub topics: Vec<Edit<Topic>>,
    pub forms: Vec<Edit<Form>>,
    pub campaigns: Vec<Edit<CampaignDraft>>,
    pub pages: Option<String>,
    pub sending: Option<String>,
    pub retention: Option<Retention>,
    pub relays: Vec<Edit<Relay>>,
    /// Those that are new or other.
    pub senders: Vec<Sender>,
    pub dropped_senders: Vec<String>,
    pub limits: Option<Vec<RecipientLimit>>,
    /// The most bytes that all pictures may take.
    pub most_image_bytes: i64,
}

/// How a kind's values come to another kind without losing any; `None` where some would be lost.
pub fn widening(from: &Kind, to: &Kind) -> Option<Conversion> {
    use Kind::{Country, Date, Decimal, Email, Integer, Language, Money, Phone, Text};
    let steps = |from: u8, to: u8| (to >= from).then(|| Conversion::Scale(to - from));
    match (from, to) {
        _ if from == to => Some(Conversion::Keep),
        (Email | Phone | Country | Language | Date, Text) => Some(Conversion::Keep),
        (Integer, Decimal { scale } | Money { scale, .. }) => steps(0, *scale),
        (Decimal { scale: from }, Decimal { scale } | Money { scale, .. }) => steps(*from, *scale),
        (Money { scale: from, currency: old }, Money { scale, currency }) if old == currency => {
            steps(*from, *scale)
        }
        (Money { scale: from, .. }, Decimal { scale }) => steps(*from, *scale),
        _ => None,
    }
}
