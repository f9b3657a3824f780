//! The evaluator for one customer: whether a bound rule holds, and until when that is certain.
//!
//! It reads plain facts and is handed the time; where the facts come from is not its business. It
//! agrees with the SQL that the store makes of the same rule.

use std::collections::{HashMap, HashSet};

use serde_json::Value as Json;

use crate::consent::{Channel, ConsentState};
use crate::rule::calendar::Zone;
use crate::rule::{
    AVERAGE_UNIT, Bound, BoundAggregate, BoundEvent, BoundRule, BoundTable, BoundTest,
    CustomerColumn, Function, OwnColumn,
};
use crate::value::Value;
use crate::{CampaignId, Timestamp};

mod explain;
mod property;
mod value;

pub use explain::{Explained, explain};

/// What is known of one customer: at least everything that the rule reads.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub external_id: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub created_at: Timestamp,
    /// In the order of the schema's attributes.
    pub attributes: Vec<Option<Value>>,
    /// Tags with their end, if they have one.
    pub tags: HashMap<String, Option<Timestamp>>,
    pub groups: HashSet<i32>,
    /// The segments that the customer is in.
    pub segments: HashSet<i32>,
    pub consents: HashMap<(Channel, String), ConsentState>,
    /// By the number of the event's name.
    pub events: HashMap<i32, Vec<EventFact>>,
    /// By the table's number; the values in the order of the table's fields.
    pub records: HashMap<i32, Vec<Vec<Option<Value>>>>,
}

/// One event of the customer.
#[derive(Clone, Debug, PartialEq)]
pub struct EventFact {
    pub at: Timestamp,
    /// Null or an object.
    pub properties: Json,
    pub campaign: Option<CampaignId>,
}

/// Whether the customer is a member, and when the clock alone could first change that. At every
/// time before `next_check_at` the same facts give the same verdict; `None` means for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub member: bool,
    pub next_check_at: Option<Timestamp>,
}

impl Verdict {
    fn fixed(member: bool) -> Verdict {
        Verdict { member, next_check_at: None }
    }

    fn until(member: bool, at: Timestamp) -> Verdict {
        Verdict { member, next_check_at: Some(at) }
    }
}

/// Judges one customer at a time that is not before any earlier judgement.
pub fn judge(rule: &BoundRule, facts: &Facts, now: Timestamp) -> Verdict {
    part(&rule.root, facts, Moment { now, zone: rule.zone() })
}

/// Whether a test on a column holds of a value that is there.
pub fn holds(test: &BoundTest, value: &Value, now: Timestamp, zone: &Zone) -> bool {
    value::test(test, Some(value), Moment { now, zone }).member
}

/// The time, and the zone in which it is a date.
#[derive(Clone, Copy)]
struct Moment<'a> {
    now: Timestamp,
    zone: &'a Zone,
}

fn part(bound: &Bound, facts: &Facts, moment: Moment<'_>) -> Verdict {
    match bound {
        Bound::All(parts) => all(parts.iter().map(|p| part(p, facts, moment))),
        Bound::Any(parts) => any(parts.iter().map(|p| part(p, facts, moment))),
        Bound::Not(inner) => not(part(inner, facts, moment)),
        Bound::Constant(truth) => Verdict::fixed(*truth),
        Bound::Attribute { column, test } => match column {
            CustomerColumn::Own(own) => value::test(test, own_value(*own, facts).as_ref(), moment),
            CustomerColumn::Attribute { position, .. } => {
                let value = facts.attributes.get(*position).and_then(Option::as_ref);
                value::test(test, value, moment)
            }
        },
        Bound::Tag(tag) => match facts.tags.get(tag) {
            Some(Some(until)) if *until > moment.now => Verdict::until(true, *until),
            Some(Some(_)) | None => Verdict::fixed(false),
            Some(None) => Verdict::fixed(true),
        },
        Bound::Group(number) => Verdict::fixed(facts.groups.contains(number)),
        Bound::Segment(number) => Verdict::fixed(facts.segments.contains(number)),
        Bound::Consent { channel, topic, state } => {
            let said = facts.consents.get(&(*channel, topic.clone()));
            Verdict::fixed(said == Some(state))
        }
        Bound::Event(rule) => event(rule, facts, moment.now),
        Bound::Table(rule) => table(rule, facts, moment),
    }
}

fn own_value(own: OwnColumn, facts: &Facts) -> Option<Value> {
    match own {
        OwnColumn::ExternalId => facts.external_id.clone().map(Value::Text),
        OwnColumn::Email => facts.email.clone().map(Value::Text),
        OwnColumn::Phone => facts.phone.clone().map(Value::Text),
        OwnColumn::CreatedAt => Some(Value::Integer(facts.created_at.0)),
    }
}

/// True while every part is. A false one stays false until the last of its false parts may turn.
fn all(parts: impl Iterator<Item = Verdict>) -> Verdict {
    let mut first_to_turn: Option<Timestamp> = None;
    let mut last_false: Option<Timestamp> = None;
    for verdict in parts {
        match (verdict.member, verdict.next_check_at) {
            (false, None) => return Verdict::fixed(false),
            (false, turn) => last_false = last_false.max(turn),
            (true, turn) => first_to_turn = earlier(first_to_turn, turn),
        }
    }
    match last_false {
        Some(at) => Verdict::until(false, at),
        None => Verdict { member: true, next_check_at: first_to_turn },
    }
}

fn any(parts: impl Iterator<Item = Verdict>) -> Verdict {
    not(all(parts.map(not)))
}

fn not(verdict: Verdict) -> Verdict {
    Verdict { member: !verdict.member, ..verdict }
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn event(rule: &BoundEvent, facts: &Facts, now: Timestamp) -> Verdict {
    let mut count = 0_u64;
    // When an event comes into the window (+1) or falls out of it (-1).
    let mut turns: Vec<(Timestamp, i64)> = Vec::new();
    for event in facts.events.get(&rule.name).into_iter().flatten() {
        if !event_fits(rule, event) {
            continue;
        }
        let Some(window) = rule.span.within else {
            count += 1;
            continue;
        };
        let falls_out = Timestamp(event.at.0.saturating_add(window.micros()));
        if event.at <= now && falls_out > now {
            count += 1;
            turns.push((falls_out, -1));
        } else if event.at > now {
            turns.push((event.at, 1));
            turns.push((falls_out, -1));
        }
    }
    let member = rule.count.contains(count);
    turns.sort_unstable();
    for (at, step) in turns {
        count = count.saturating_add_signed(step);
        if rule.count.contains(count) != member {
            return Verdict::until(member, at);
        }
    }
    Verdict::fixed(member)
}

/// Whether an event counts, its place in the window aside.
fn event_fits(rule: &BoundEvent, event: &EventFact) -> bool {
    rule.span.after.is_none_or(|after| event.at > after)
        && rule.span.before.is_none_or(|before| event.at < before)
        && (rule.campaign.is_none() || rule.campaign == event.campaign)
        && rule.filters.iter().all(|(name, test)| property::test(test, event.properties.get(name)))
}

fn table(rule: &BoundTable, facts: &Facts, moment: Moment<'_>) -> Verdict {
    let (fitting, next_check_at) = fitting_records(rule, facts, moment);
    let member = match &rule.aggregate {
        BoundAggregate::Count(range) => range.contains(fitting.len() as u64),
        BoundAggregate::Of { function, field, bounds } => {
            let values: Vec<&Value> =
                fitting.iter().filter_map(|r| r.get(field.position)?.as_ref()).collect();
            !values.is_empty()
                && bounds.iter().all(|(c, b)| c.holds(compare(*function, &values, b)))
        }
    };
    Verdict { member, next_check_at }
}

/// The records that pass every filter, and when the clock first changes which ones do.
fn fitting_records<'f>(
    rule: &BoundTable,
    facts: &'f Facts,
    moment: Moment<'_>,
) -> (Vec<&'f Vec<Option<Value>>>, Option<Timestamp>) {
    let mut next_check_at = None;
    let mut fitting = Vec::new();
    for record in facts.records.get(&rule.number).into_iter().flatten() {
        let value = |position: usize| record.get(position).and_then(Option::as_ref);
        let verdict =
            all(rule.filters.iter().map(|f| value::test(&f.test, value(f.field.position), moment)));
        next_check_at = earlier(next_check_at, verdict.next_check_at);
        if verdict.member {
            fitting.push(record);
        }
    }
    (fitting, next_check_at)
}

/// How a function of some values, of which there is at least one, stands to a bound.
fn compare(function: Function, values: &[&Value], bound: &Value) -> std::cmp::Ordering {
    let sum = || values.iter().map(|value| integer(value)).sum::<i128>();
    match function {
        Function::Sum => sum().cmp(&integer(bound)),
        // Compared as products, so that nothing is rounded.
        Function::Avg => {
            (sum() * i128::from(AVERAGE_UNIT)).cmp(&(integer(bound) * values.len() as i128))
        }
        Function::Min => values.iter().min().copied().cmp(&Some(bound)),
        Function::Max => values.iter().max().copied().cmp(&Some(bound)),
    }
}

fn integer(value: &Value) -> i128 {
    match value {
        Value::Integer(number) => i128::from(*number),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
