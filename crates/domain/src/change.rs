//! Changes: the one way in. A protocol adapter turns what it reads into these values, the engine
//! applies them, and each gets one outcome.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::consent::{Channel, ConsentState, Proof};
use crate::{CustomerId, EventId, Timestamp};

/// What a customer can be recognised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentityKind {
    ExternalId,
    Email,
    Phone,
    AnonymousId,
}

impl IdentityKind {
    /// The name in the API and in the bucket function; frozen.
    pub fn name(self) -> &'static str {
        match self {
            IdentityKind::ExternalId => "external_id",
            IdentityKind::Email => "email",
            IdentityKind::Phone => "phone",
            IdentityKind::AnonymousId => "anonymous_id",
        }
    }

    /// The number stored in the `identities` table; frozen.
    pub fn number(self) -> i16 {
        match self {
            IdentityKind::ExternalId => 1,
            IdentityKind::Email => 2,
            IdentityKind::Phone => 3,
            IdentityKind::AnonymousId => 4,
        }
    }

    /// The value in the form it is looked up by, or what was expected instead.
    pub fn normalise(self, text: &str) -> Result<String, String> {
        match self {
            IdentityKind::Email => crate::checked::email(text),
            IdentityKind::Phone => crate::checked::phone(text, None),
            IdentityKind::ExternalId | IdentityKind::AnonymousId => {
                let text = text.trim();
                let fits = !text.is_empty() && text.len() <= 256;
                if fits && !text.chars().any(char::is_control) {
                    Ok(text.to_owned())
                } else {
                    Err("expected a text of 1 to 256 characters".to_owned())
                }
            }
        }
    }
}

/// One thing a customer can be recognised by, already normalised.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    pub kind: IdentityKind,
    pub value: String,
}

/// Which customer a change is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CustomerRef {
    Id(CustomerId),
    SystemId(i64),
    Identity(Identity),
}

/// What to do with one attribute or field.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldChange {
    /// Text as a file gives it; blank clears nothing and sets nothing.
    SetText(String),
    /// A JSON value; null clears.
    SetJson(Json),
    Clear,
    /// Add to a number; a missing one counts as zero.
    Increment(Json),
    AddToList(Vec<String>),
    RemoveFromList(Vec<String>),
}

/// Whether a change may make a new row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// Create or update.
    #[default]
    Upsert,
    /// Update only; an unknown one is refused.
    Update,
    /// Create only; a known one is refused.
    Create,
}

/// Set, clear, increment, and change lists of one customer.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct UpsertCustomer {
    /// The customer's own id, where the caller has it.
    pub id: Option<CustomerId>,
    /// External id, e-mail and phone as given; the first known one names the customer, in the
    /// order of `IdentityKind`, and the others are set on it.
    pub external_id: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    /// A visitor's or device's id; a customer may have many, and nobody is called by it.
    pub anonymous_id: Option<String>,
    /// Which identity alone may name the customer; `None` means any.
    pub match_by: Option<IdentityKind>,
    pub mode: Mode,
    /// By attribute name, in the order given.
    pub attributes: Vec<(String, FieldChange)>,
    /// Marks put on the customer in the same step; an unknown one refuses the whole change.
    pub marks: Vec<Mark>,
}

/// A mark that comes with an upsert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    Tag { tag: String, until: Option<Timestamp> },
    Group { group: String },
    Consent { channel: Channel, topic: String, state: ConsentState, source: String, proof: Proof },
}

impl Mark {
    /// The change that puts this mark on a customer.
    pub fn on(&self, customer: CustomerRef) -> Change {
        match self.clone() {
            Mark::Tag { tag, until } => Change::PutTag { customer, tag, until },
            Mark::Group { group } => Change::PutGroupMember { customer, group },
            Mark::Consent { channel, topic, state, source, proof } => {
                Change::ChangeConsent { customer, channel, topic, state, source, proof }
            }
        }
    }
}

/// Create or update one record of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct UpsertRecord {
    pub table: String,
    pub key: String,
    /// The owner; `None` for tables whose records belong to nobody.
    pub customer: Option<CustomerRef>,
    pub mode: Mode,
    pub fields: Vec<(String, FieldChange)>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordEvent {
    pub customer: CustomerRef,
    pub name: String,
    /// `None` means when it was received.
    pub at: Option<Timestamp>,
    pub properties: Json,
    /// The caller's id: the same event is kept once.
    pub id: Option<EventId>,
}

/// One change. The kinds are few, and every route in speaks them.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    UpsertCustomer(UpsertCustomer),
    UpsertRecord(UpsertRecord),
    RecordEvent(RecordEvent),
    PutTag {
        customer: CustomerRef,
        tag: String,
        until: Option<Timestamp>,
    },
    RemoveTag {
        customer: CustomerRef,
        tag: String,
    },
    PutGroupMember {
        customer: CustomerRef,
        group: String,
    },
    RemoveGroupMember {
        customer: CustomerRef,
        group: String,
    },
    ChangeConsent {
        customer: CustomerRef,
        channel: Channel,
        /// Empty for the whole channel, else the name of one of the workspace's topics.
        topic: String,
        state: ConsentState,
        /// Where the customer said so, in the caller's words.
        source: String,
        proof: Proof,
    },
    /// Two customers are one: `other` is merged into `customer`.
    MergeCustomers {
        customer: CustomerRef,
        other: CustomerRef,
    },
    /// The anonymous visitor with this id is this customer, who is made or updated by it. Refused
    /// where the id is another known customer's.
    Alias {
        anonymous_id: Identity,
        customer: UpsertCustomer,
    },
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Created { customer: Option<CustomerId>, system_id: Option<i64> },
    Updated { customer: Option<CustomerId>, system_id: Option<i64> },
    Unchanged { customer: Option<CustomerId>, system_id: Option<i64> },
    Refused(Refusal),
}

/// Why a change was refused: a stable code, a sentence, and the field it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: Cow<'static, str>,
    pub message: String,
    /// Such as `email` or `attributes.score`.
    pub path: String,
}

impl Refusal {
    pub fn new(code: &'static str, path: impl Into<String>, message: impl Into<String>) -> Self {
        Refusal { code: code.into(), path: path.into(), message: message.into() }
    }
}

impl Outcome {
    /// The customer it is about, where there is one.
    pub fn customer(&self) -> Option<CustomerId> {
        match self {
            Outcome::Created { customer, .. }
            | Outcome::Updated { customer, .. }
            | Outcome::Unchanged { customer, .. } => *customer,
            Outcome::Refused(_) => None,
        }
    }

    /// `created`, `updated`, `unchanged` or `refused`.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Created { .. } => "created",
            Outcome::Updated { .. } => "updated",
            Outcome::Unchanged { .. } => "unchanged",
            Outcome::Refused(_) => "refused",
        }
    }
}
