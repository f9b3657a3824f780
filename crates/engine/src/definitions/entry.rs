//! One thing that a user defines, in the shape that files have: what it is called, fields, and texts
//! of their own beside them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value as Json};
use uuid::Uuid;

/// What kind of thing it is, in the order in which plans list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Attribute,
    Table,
    Group,
    Segment,
    Block,
    Image,
    Template,
    Topic,
    Form,
    Campaign,
    Relay,
    /// A domain that mail is sent from; its name is its id.
    Sender,
    /// How many messages may be on their way to receivers: one thing that is always there.
    Limits,
    /// Who is held out, when campaigns pause themselves, and whom alerts go to: another one.
    Sending,
    /// The words of public pages: another one.
    Pages,
    /// For how long what is kept: another one.
    Retention,
}

impl Kind {
    /// Those that have a folder.
    pub const LISTED: [Kind; 12] = [
        Kind::Attribute,
        Kind::Table,
        Kind::Group,
        Kind::Segment,
        Kind::Block,
        Kind::Image,
        Kind::Template,
        Kind::Topic,
        Kind::Form,
        Kind::Campaign,
        Kind::Relay,
        Kind::Sender,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Attribute => "attribute",
            Kind::Table => "table",
            Kind::Group => "group",
            Kind::Segment => "segment",
            Kind::Block => "block",
            Kind::Image => "image",
            Kind::Template => "template",
            Kind::Topic => "topic",
            Kind::Form => "form",
            Kind::Campaign => "campaign",
            Kind::Relay => "relay",
            Kind::Sender => "sender",
            Kind::Limits => "limits",
            Kind::Sending => "sending",
            Kind::Pages => "pages",
            Kind::Retention => "retention",
        }
    }

    pub fn folder(self) -> &'static str {
        match self {
            Kind::Attribute => "attributes",
            Kind::Table => "tables",
            Kind::Group => "groups",
            Kind::Segment => "segments",
            Kind::Block => "blocks",
            Kind::Image => "images",
            Kind::Template => "templates",
            Kind::Topic => "topics",
            Kind::Form => "forms",
            Kind::Campaign => "campaigns",
            Kind::Relay => "relays",
            Kind::Sender => "senders",
            Kind::Limits | Kind::Sending | Kind::Pages | Kind::Retention => "",
        }
    }

    /// The file of what there is one of.
    pub fn only_file(self) -> Option<&'static str> {
        match self {
            Kind::Limits => Some("limits.toml"),
            Kind::Sending => Some("sending.toml"),
            Kind::Pages => Some("pages.toml"),
            Kind::Retention => Some("retention.toml"),
            _ => None,
        }
    }

    pub fn of_only_file(file: &str) -> Option<Kind> {
        [Kind::Limits, Kind::Sending, Kind::Pages, Kind::Retention]
            .into_iter()
            .find(|kind| kind.only_file() == Some(file))
    }

    pub fn of_folder(folder: &str) -> Option<Kind> {
        Kind::LISTED.into_iter().find(|kind| kind.folder() == folder)
    }

    /// Whether two of a kind may have one name.
    pub fn may_share_names(self) -> bool {
        matches!(self, Kind::Image | Kind::Campaign)
    }
}

/// The lines that fields stand on, by their paths such as `rule.all[0].value`.
pub type Lines = HashMap<String, u32>;

/// Where something was read.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub file: String,
    pub lines: Lines,
}

impl Place {
    /// The line of a field, or of the nearest thing around it.
    pub fn line(&self, path: &str) -> Option<u32> {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return Some(*line);
            }
            let end = path.rfind(['.', '['])?;
            path = &path[..end];
        }
    }
}

/// A picture's bytes; `None` where they were not read, since they are known to be there.
pub type Bytes = Option<Arc<Vec<u8>>>;

#[derive(Clone, Debug)]
pub struct Entry {
    pub kind: Kind,
    pub id: Option<Uuid>,
    pub number: Option<i32>,
    pub name: String,
    pub fields: Map<String, Json>,
    /// Texts in files of their own, by the ends of their names: `body.html`, `liquid`.
    pub texts: BTreeMap<String, String>,
    /// What a picture is and its bytes.
    pub picture: Option<(String, Bytes)>,
    pub place: Place,
}

impl Entry {
    pub fn new(kind: Kind, id: Uuid, number: i32, name: &str, fields: Map<String, Json>) -> Entry {
        Entry {
            kind,
            id: Some(id),
            number: Some(number),
            name: name.to_owned(),
            fields,
            texts: BTreeMap::new(),
            picture: None,
            place: Place::default(),
        }
    }

    /// What tells it from others of its kind where it has no id. Topics of two channels may share a
    /// name.
    pub fn key(&self) -> String {
        match (self.kind, self.fields.get("channel").and_then(Json::as_str)) {
            (Kind::Topic, Some(channel)) => format!("{channel} {}", self.name),
            _ => self.name.clone(),
        }
    }
}
