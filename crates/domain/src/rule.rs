//! Segment rules: a small tree of conditions over what is known of one customer.
//!
//! A rule is read from JSON ([`Rule::parse`]), bound to a workspace's schema and names
//! ([`Rule::bind`]), and then has one meaning everywhere, whoever evaluates it:
//!
//! - A condition on a missing value is false, and `not` of it is true. There is no third truth.
//! - Texts compare by bytes and with regard to case. `matches` takes a whole text against a
//!   pattern of `*` (any characters) and `?` (one character), never a regular expression, because
//!   the two databases do not agree on those. A backslash takes the next `*`, `?` or `\` literally.
//! - `within: "30d"` on a time means after now minus 30 days, and not after now. On a date, `7d`
//!   means one of the seven dates that end with today. Today is the date in the workspace's zone.
//! - `anniversary_within: "3d"` means that the day and month come round today or on one of the two
//!   days after it. February 29 counts as March 1 in years that do not have it.
//! - Properties of events have no schema: numbers compare as doubles, texts with texts, booleans
//!   with booleans, and any other pair is false.
//! - A count, a sum and the like go over the records that pass every filter. A sum, average,
//!   smallest or largest of no values at all is missing, so no bound on it holds.
//!
//! Nothing here knows SQL; `judge` is the evaluator for one customer.

use serde_json::Value as Json;

use crate::CampaignId;
use crate::consent::{Channel, ConsentState};

mod bind;
mod bound;
pub mod calendar;
pub mod cycles;
mod parse;
mod pattern;
mod period;
mod typed;

pub use bind::Names;
pub use bound::*;
pub use pattern::{Pattern, Piece};
pub use period::Period;
pub use typed::operators;

/// The deepest nesting of `all`, `any` and `not`.
pub const MAX_DEPTH: usize = 16;
/// The most conditions in one rule, filters of events and records included.
pub const MAX_CONDITIONS: usize = 1_000;
/// The most values of one `in`.
pub const MAX_LIST: usize = 10_000;
/// The topic of a consent condition that names none: the channel as a whole.
pub const DEFAULT_TOPIC: &str = "";

/// A rule as it was written: names are not looked up yet and values have no type.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// True when every part is; true for no parts.
    All(Vec<Rule>),
    /// True when some part is; false for no parts.
    Any(Vec<Rule>),
    Not(Box<Rule>),
    Attribute {
        name: String,
        test: Test,
    },
    /// Carries the tag, and its end has not come.
    Tag(String),
    Group(String),
    Segment(String),
    Consent {
        channel: Channel,
        topic: String,
        state: ConsentState,
    },
    Event(EventRule),
    Table(TableRule),
}

/// An operator and the value beside it; null for `exists`.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    pub op: Operator,
    pub value: Json,
}

/// How often an event of this name happened to the customer.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRule {
    pub name: String,
    /// Tests on properties, all of which must hold.
    pub filters: Vec<(String, Test)>,
    pub span: Span,
    /// Only events of this campaign's messages.
    pub campaign: Option<CampaignId>,
    pub count: CountRange,
}

/// Which events count by their time; no bound at all means every event, future ones too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    pub within: Option<Period>,
    /// Strictly after.
    pub after: Option<crate::Timestamp>,
    /// Strictly before.
    pub before: Option<crate::Timestamp>,
}

/// What the customer's records in a table come to.
#[derive(Clone, Debug, PartialEq)]
pub struct TableRule {
    pub name: String,
    /// Tests on fields, all of which must hold.
    pub filters: Vec<(String, Test)>,
    pub aggregate: Aggregate,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Aggregate {
    Count(CountRange),
    /// A function of one field, and the bounds on it, all of which must hold.
    Of {
        function: Function,
        field: String,
        bounds: Vec<(Comparison, Json)>,
    },
}

/// A range of counts, both ends included; empty when `min` is more than `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CountRange {
    pub min: u64,
    pub max: Option<u64>,
}

impl CountRange {
    /// Once or more: what a condition without a count means.
    pub const SOME: CountRange = CountRange { min: 1, max: None };

    pub fn contains(self, count: u64) -> bool {
        count >= self.min && self.max.is_none_or(|max| count <= max)
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $($variant),* }

        impl $type {
            pub const ALL: &'static [$type] = &[$($type::$variant),*];

            pub fn name(self) -> &'static str {
                match self { $($type::$variant => $word),* }
            }

            pub fn parse(text: &str) -> Option<$type> {
                match text { $($word => Some($type::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// The operators of a test.
    Operator {
        Eq = "eq", Ne = "ne", Gt = "gt", Gte = "gte", Lt = "lt", Lte = "lte", In = "in",
        Contains = "contains", StartsWith = "starts_with", EndsWith = "ends_with",
        Matches = "matches", Exists = "exists", Before = "before", After = "after",
        Within = "within", AnniversaryWithin = "anniversary_within",
    }
}
words! {
    /// How two values stand to each other.
    Comparison { Eq = "eq", Ne = "ne", Gt = "gt", Gte = "gte", Lt = "lt", Lte = "lte" }
}
words! {
    /// What records come to, over the values of one field.
    Function { Sum = "sum", Avg = "avg", Min = "min", Max = "max" }
}

impl Comparison {
    pub fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Comparison::Eq => ordering.is_eq(),
            Comparison::Ne => ordering.is_ne(),
            Comparison::Gt => ordering.is_gt(),
            Comparison::Gte => ordering.is_ge(),
            Comparison::Lt => ordering.is_lt(),
            Comparison::Lte => ordering.is_le(),
        }
    }
}

/// What is wrong with a rule, and where: `all[2].attribute`, or an empty path for the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFault {
    pub path: String,
    pub message: String,
}

impl RuleFault {
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> RuleFault {
        RuleFault { path: path.into(), message: message.into() }
    }
}

/// The path of a part inside another.
fn inside(path: &str, part: &str) -> String {
    if path.is_empty() { part.to_owned() } else { format!("{path}.{part}") }
}
