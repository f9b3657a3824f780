//! Why a rule holds of one customer or not: the verdict of every part, with what was found.

use std::collections::HashMap;

use serde_json::{Value as Json, json};

use super::{Facts, Moment, Verdict, event_fits, fitting_records, own_value, part};
use crate::Timestamp;
use crate::rule::{
    AVERAGE_DIGITS, Bound, BoundAggregate, BoundEvent, BoundRule, BoundTable, CustomerColumn,
    Function,
};
use crate::schema::Schema;
use crate::value::{Value, decimal_text};

/// One part of a rule, explained. The parts are in the rule's own order; those of a reference to a
/// segment are that segment's rule, as its one part.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    pub verdict: Verdict,
    /// The value that decided: an attribute's value, `{"until"}` of a tag that is carried, true or
    /// false for a group and a segment, a consent's state, `{"count", "last_at"}` of events, and
    /// `{"records"}` with what they come to. Null where nothing is known, and for `all` and the
    /// like.
    pub found: Json,
    pub parts: Vec<Explained>,
}

/// Explains a rule that was not inlined; `rules` holds those of the segments it refers to, free of
/// circles. A segment that is not there is asked by its membership.
pub fn explain(
    rule: &BoundRule,
    schema: &Schema,
    facts: &Facts,
    rules: &HashMap<i32, BoundRule>,
    now: Timestamp,
) -> Explained {
    let explainer = Explainer { schema, facts, rules, moment: Moment { now, zone: rule.zone() } };
    explainer.part(&rule.root)
}

struct Explainer<'a> {
    schema: &'a Schema,
    facts: &'a Facts,
    rules: &'a HashMap<i32, BoundRule>,
    moment: Moment<'a>,
}

impl Explainer<'_> {
    fn part(&self, bound: &Bound) -> Explained {
        let several = |parts: &[Bound]| parts.iter().map(|p| self.part(p)).collect::<Vec<_>>();
        let joined = |parts: Vec<Explained>, join: fn(&[Explained]) -> Verdict| Explained {
            verdict: join(&parts),
            found: Json::Null,
            parts,
        };
        match bound {
            Bound::All(parts) => {
                joined(several(parts), |p| super::all(p.iter().map(|e| e.verdict)))
            }
            Bound::Any(parts) => {
                joined(several(parts), |p| super::any(p.iter().map(|e| e.verdict)))
            }
            Bound::Not(inner) => joined(vec![self.part(inner)], |p| super::not(p[0].verdict)),
            Bound::Segment(number) => match self.rules.get(number) {
                Some(rule) => {
                    let inner = self.part(&rule.root);
                    let found = Json::Bool(inner.verdict.member);
                    Explained { verdict: inner.verdict, found, parts: vec![inner] }
                }
                None => self.condition(bound),
            },
            _ => self.condition(bound),
        }
    }

    fn condition(&self, bound: &Bound) -> Explained {
        let verdict = part(bound, self.facts, self.moment);
        Explained { verdict, found: self.found(bound), parts: Vec::new() }
    }

    fn found(&self, bound: &Bound) -> Json {
        let facts = self.facts;
        match bound {
            Bound::Attribute { column, .. } => self.attribute(column),
            Bound::Tag(tag) => match facts.tags.get(tag) {
                Some(until) => json!({"until": until}),
                None => Json::Null,
            },
            Bound::Group(number) => Json::Bool(facts.groups.contains(number)),
            Bound::Segment(number) => Json::Bool(facts.segments.contains(number)),
            Bound::Consent { channel, topic, .. } => {
                let said = facts.consents.get(&(*channel, topic.clone()));
                said.map_or(Json::Null, |state| Json::from(state.name()))
            }
            Bound::Event(rule) => self.events(rule),
            Bound::Table(rule) => self.records(rule),
            Bound::All(_) | Bound::Any(_) | Bound::Not(_) | Bound::Constant(_) => Json::Null,
        }
    }

    fn attribute(&self, column: &CustomerColumn) -> Json {
        let (kind, value) = match column {
            CustomerColumn::Own(own) => (own.kind(), own_value(*own, self.facts)),
            CustomerColumn::Attribute { position, .. } => {
                let Some(attribute) = self.schema.attributes.get(*position) else {
                    return Json::Null;
                };
                let value = self.facts.attributes.get(*position).cloned().flatten();
                (attribute.kind.clone(), value)
            }
        };
        value.map_or(Json::Null, |value| kind.to_json(&value))
    }

    /// The events that count at this moment.
    fn events(&self, rule: &BoundEvent) -> Json {
        let now = self.moment.now;
        let mut times = Vec::new();
        for event in self.facts.events.get(&rule.name).into_iter().flatten() {
            let in_window = rule.span.within.is_none_or(|window| {
                event.at <= now && event.at.0.saturating_add(window.micros()) > now.0
            });
            if in_window && event_fits(rule, event) {
                times.push(event.at);
            }
        }
        json!({"count": times.len(), "last_at": times.iter().max()})
    }

    fn records(&self, rule: &BoundTable) -> Json {
        let (fitting, _) = fitting_records(rule, self.facts, self.moment);
        let mut found = json!({"records": fitting.len()});
        let BoundAggregate::Of { function, field, .. } = &rule.aggregate else { return found };
        let table = self.schema.tables.iter().find(|table| table.number == rule.number);
        let Some(kind) = table.and_then(|table| table.fields.get(field.position)).map(|f| &f.kind)
        else {
            return found;
        };
        let values: Vec<&Value> =
            fitting.iter().filter_map(|record| record.get(field.position)?.as_ref()).collect();
        let sum: i128 = values.iter().map(|value| super::integer(value)).sum();
        let digits = kind.scale().unwrap_or(0);
        found[function.name()] = match function {
            _ if values.is_empty() => Json::Null,
            Function::Sum => number(sum, digits),
            Function::Avg => {
                let unit = i128::from(crate::rule::AVERAGE_UNIT);
                number(sum * unit / values.len() as i128, digits + AVERAGE_DIGITS)
            }
            Function::Min => values.iter().min().map_or(Json::Null, |value| kind.to_json(value)),
            Function::Max => values.iter().max().map_or(Json::Null, |value| kind.to_json(value)),
        };
        found
    }
}

/// A scaled number as a text, like values of its kind are.
fn number(scaled: i128, digits: u8) -> Json {
    match i64::try_from(scaled) {
        Ok(scaled) => Json::from(decimal_text(scaled, digits)),
        Err(_) => Json::Null,
    }
}
