//! A rule bound to a schema: columns, numbers and typed constants in place of names and JSON.

use std::collections::{BTreeSet, HashMap};

use super::calendar::Zone;
use super::{Comparison, CountRange, Function, MAX_CONDITIONS, MAX_DEPTH, Pattern, Period, Span};
use crate::CampaignId;
use crate::consent::{Channel, ConsentState};
use crate::value::{Kind, Value};

/// A rule that can be evaluated. It is good for the schema and the names it was bound to, and must
/// be bound anew when those change.
#[derive(Clone, Debug, PartialEq)]
pub struct BoundRule {
    pub root: Bound,
    pub(super) reads: Reads,
    pub(super) zone: Zone,
}

/// One part of a bound rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    All(Vec<Bound>),
    Any(Vec<Bound>),
    Not(Box<Bound>),
    /// Known beforehand, such as a count of an event that nobody has recorded yet.
    Constant(bool),
    Attribute {
        column: CustomerColumn,
        test: BoundTest,
    },
    Tag(String),
    Group(i32),
    Segment(i32),
    Consent {
        channel: Channel,
        topic: String,
        state: ConsentState,
    },
    Event(BoundEvent),
    Table(BoundTable),
}

/// A column of the customer: one of the hub's own or an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum CustomerColumn {
    Own(OwnColumn),
    Attribute {
        /// Where the attribute stands in the schema.
        position: usize,
        column: String,
    },
}

/// The hub's own columns that a rule can read by the attribute names here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnColumn {
    ExternalId,
    Email,
    Phone,
    CreatedAt,
}

impl OwnColumn {
    pub const ALL: [OwnColumn; 4] =
        [OwnColumn::ExternalId, OwnColumn::Email, OwnColumn::Phone, OwnColumn::CreatedAt];

    /// The name in rules, which is the physical column too.
    pub fn name(self) -> &'static str {
        match self {
            OwnColumn::ExternalId => "external_id",
            OwnColumn::Email => "email",
            OwnColumn::Phone => "phone",
            OwnColumn::CreatedAt => "created_at",
        }
    }

    pub fn parse(name: &str) -> Option<OwnColumn> {
        OwnColumn::ALL.into_iter().find(|column| column.name() == name)
    }

    pub fn kind(self) -> Kind {
        match self {
            OwnColumn::ExternalId => Kind::Text,
            OwnColumn::Email => Kind::Email,
            OwnColumn::Phone => Kind::Phone,
            OwnColumn::CreatedAt => Kind::Timestamp,
        }
    }
}

impl CustomerColumn {
    /// The physical column of the customers table.
    pub fn name(&self) -> &str {
        match self {
            CustomerColumn::Own(own) => own.name(),
            CustomerColumn::Attribute { column, .. } => column,
        }
    }
}

/// A test on a value whose kind is known. False where the value is missing.
#[derive(Clone, Debug, PartialEq)]
pub enum BoundTest {
    Exists,
    /// The constant has the kind of the column.
    Compare(Comparison, Value),
    /// Sorted, without doubles.
    In(Vec<Value>),
    /// The text contains this text.
    Contains(String),
    StartsWith(String),
    EndsWith(String),
    Matches(Pattern),
    /// The list holds this text.
    Has(String),
    /// A time in the period up to now.
    Within(Period),
    /// A date among the so many that end with today.
    WithinDays(i32),
    /// A date whose day and month come round among the so many days that start today.
    AnniversaryWithin(i32),
}

impl BoundTest {
    /// Whether the test can turn at midnight, for everybody at once.
    pub fn reads_calendar(&self) -> bool {
        matches!(self, BoundTest::WithinDays(_) | BoundTest::AnniversaryWithin(_))
    }
}

/// A test on a property of an event, which has no kind. False where the property is missing or of
/// another type.
#[derive(Clone, Debug, PartialEq)]
pub enum PropertyTest {
    /// Present and not null.
    Exists,
    Compare(Comparison, Scalar),
    In(Vec<Scalar>),
    /// A text that contains this text, or an array with this text among its items.
    Contains(String),
    StartsWith(String),
    EndsWith(String),
    Matches(Pattern),
}

/// A constant that properties are compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Number(f64),
    Text(String),
    Boolean(bool),
}

#[derive(Clone, Debug, PartialEq)]
pub struct BoundEvent {
    /// The number of the event's name.
    pub name: i32,
    pub filters: Vec<(String, PropertyTest)>,
    pub span: Span,
    pub campaign: Option<CampaignId>,
    pub count: CountRange,
}

#[derive(Clone, Debug, PartialEq)]
pub struct BoundTable {
    pub number: i32,
    pub physical: String,
    pub filters: Vec<BoundFilter>,
    pub aggregate: BoundAggregate,
}

/// A test on one field of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct BoundFilter {
    pub field: Field,
    pub test: BoundTest,
}

/// A field of a table: where it stands among the fields, and its physical column.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub position: usize,
    pub column: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum BoundAggregate {
    Count(CountRange),
    /// Bounds on a sum, smallest or largest have the field's kind; bounds on an average are
    /// integers in units of [`AVERAGE_UNIT`] parts of the field's own unit.
    Of {
        function: Function,
        field: Field,
        bounds: Vec<(Comparison, Value)>,
    },
}

/// Averages are bounded with four more digits than the field has.
pub const AVERAGE_UNIT: i64 = 10_000;
/// The digits of [`AVERAGE_UNIT`].
pub const AVERAGE_DIGITS: u8 = 4;

/// What a rule reads of a customer. A change to anything else cannot alter its verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    pub own: BTreeSet<OwnColumn>,
    /// The attributes' numbers.
    pub attributes: BTreeSet<i32>,
    pub tags: BTreeSet<String>,
    pub groups: BTreeSet<i32>,
    pub segments: BTreeSet<i32>,
    pub consents: bool,
    /// The numbers of the events' names.
    pub events: BTreeSet<i32>,
    /// Names of events that nobody has recorded yet; the rule must be bound anew when one appears.
    pub unknown_events: BTreeSet<String>,
    /// The tables' numbers.
    pub tables: BTreeSet<i32>,
    /// Whether some test turns at midnight.
    pub calendar: bool,
}

impl BoundRule {
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// Where the days of the rule's dates begin.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The segments that the rule still asks by membership, as after [`BoundRule::inlined`].
    pub fn references(&self) -> BTreeSet<i32> {
        let mut found = BTreeSet::new();
        references(&self.root, &mut found);
        found
    }

    /// The same rule with the rules of other segments in place of references to them, so that it
    /// asks what is true now and not what membership said last. Segments that are not in `rules`
    /// stay references, and so do those that would make the rule larger than one may be written:
    /// segments that name each other twice double at every step. The rules must be free of circles
    /// (`cycles::find`).
    pub fn inlined(&self, rules: &HashMap<i32, BoundRule>) -> BoundRule {
        let mut inliner =
            Inliner { rules, reads: self.reads.clone(), conditions: conditions(&self.root) };
        let root = inliner.part(&self.root, MAX_INLINED_DEPTH);
        BoundRule { root, reads: inliner.reads, zone: self.zone.clone() }
    }
}

fn references(bound: &Bound, found: &mut BTreeSet<i32>) {
    match bound {
        Bound::All(parts) | Bound::Any(parts) => {
            parts.iter().for_each(|part| references(part, found));
        }
        Bound::Not(part) => references(part, found),
        Bound::Segment(number) => {
            found.insert(*number);
        }
        _ => {}
    }
}

/// Databases limit how deep an expression may be.
const MAX_INLINED_DEPTH: usize = 4 * MAX_DEPTH;

struct Inliner<'a> {
    rules: &'a HashMap<i32, BoundRule>,
    reads: Reads,
    /// How many conditions the rule has so far.
    conditions: usize,
}

impl Inliner<'_> {
    /// `depth` is how many more levels there may be, this one included.
    fn part(&mut self, bound: &Bound, depth: usize) -> Bound {
        let below = depth.saturating_sub(1);
        match bound {
            Bound::All(parts) => Bound::All(parts.iter().map(|p| self.part(p, below)).collect()),
            Bound::Any(parts) => Bound::Any(parts.iter().map(|p| self.part(p, below)).collect()),
            Bound::Not(part) => Bound::Not(Box::new(self.part(part, below))),
            Bound::Segment(number) => self.segment(*number, depth),
            other => other.clone(),
        }
    }

    fn segment(&mut self, number: i32, depth: usize) -> Bound {
        let Some(rule) = self.rules.get(&number) else { return Bound::Segment(number) };
        let conditions = self.conditions + conditions(&rule.root);
        if conditions > MAX_CONDITIONS || depth <= MAX_DEPTH {
            return Bound::Segment(number);
        }
        self.conditions = conditions;
        self.reads.add(&rule.reads);
        self.part(&rule.root, depth)
    }
}

/// How many conditions a part has, filters of events and records included.
fn conditions(bound: &Bound) -> usize {
    match bound {
        Bound::All(parts) | Bound::Any(parts) => parts.iter().map(conditions).sum(),
        Bound::Not(part) => conditions(part),
        Bound::Event(event) => 1 + event.filters.len(),
        Bound::Table(table) => 1 + table.filters.len(),
        _ => 1,
    }
}

impl Reads {
    fn add(&mut self, other: &Reads) {
        self.own.extend(&other.own);
        self.attributes.extend(&other.attributes);
        self.tags.extend(other.tags.iter().cloned());
        self.groups.extend(&other.groups);
        self.segments.extend(&other.segments);
        self.consents |= other.consents;
        self.events.extend(&other.events);
        self.unknown_events.extend(other.unknown_events.iter().cloned());
        self.tables.extend(&other.tables);
        self.calendar |= other.calendar;
    }
}
