//! For how long a workspace keeps what, and what its segments need of it all the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::rule::{Rule, Span};
use crate::time::Timestamp;

/// For how many days each kind of data is kept; `None` is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Events, by when they happened.
    pub events_days: Option<u32>,
    /// The address and the receiver's reply of messages, from the end of their campaign; the
    /// message itself stays, so that reports add up.
    pub message_details_days: Option<u32>,
    /// Uploaded files, their refused rows and samples, from the end of the import.
    pub import_files_days: Option<u32>,
    /// Mails of the demo's mailbox.
    pub mailbox_days: Option<u32>,
    /// Customers of whom nothing was heard: no change, no event and no message since.
    pub inactive_customers_days: Option<u32>,
}

/// No longer than a hundred years.
const MOST_DAYS: u32 = 36_500;
/// Nobody is taken for inactive after less.
const LEAST_INACTIVE_DAYS: u32 = 30;

impl Retention {
    /// What is wrong with it: the field, and what was expected.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        for (name, days, least) in [
            ("events_days", self.events_days, 1),
            ("message_details_days", self.message_details_days, 1),
            ("import_files_days", self.import_files_days, 1),
            ("mailbox_days", self.mailbox_days, 1),
            ("inactive_customers_days", self.inactive_customers_days, LEAST_INACTIVE_DAYS),
        ] {
            if days.is_some_and(|days| !(least..=MOST_DAYS).contains(&days)) {
                return Err((name, format!("expected {least} to {MOST_DAYS} days, or null")));
            }
        }
        // Who was active is known by their events.
        match (self.events_days, self.inactive_customers_days) {
            (Some(events), Some(inactive)) if events < inactive => {
                let expected = "expected no more days than events are kept".to_owned();
                Err(("inactive_customers_days", expected))
            }
            _ => Ok(()),
        }
    }
}

/// The time that lies so many days before now.
pub fn days_before(now: Timestamp, days: u32) -> Timestamp {
    now.plus_secs(-i64::from(days) * 24 * 3_600)
}

/// How far back a segment looks for events of one name, and which segment looks farthest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// In microseconds before now; `None` is all there ever was.
    pub micros: Option<i64>,
    pub segment: String,
}

/// How far back segments look, by the name of the event. A rule that does not say since when, or
/// names a day, looks at everything.
pub fn reaches<'r>(rules: impl Iterator<Item = (&'r str, &'r Rule)>) -> BTreeMap<String, Reach> {
    let mut reaches = BTreeMap::new();
    for (segment, rule) in rules {
        walk(segment, rule, &mut reaches);
    }
    reaches
}

fn walk(segment: &str, rule: &Rule, reaches: &mut BTreeMap<String, Reach>) {
    match rule {
        Rule::All(parts) | Rule::Any(parts) => {
            for part in parts {
                walk(segment, part, reaches);
            }
        }
        Rule::Not(part) => walk(segment, part, reaches),
        Rule::Event(event) => {
            let micros = looks_back(event.span);
            let farther =
                reaches.get(&event.name).is_none_or(|known: &Reach| match (known.micros, micros) {
                    (None, _) => false,
                    (Some(_), None) => true,
                    (Some(known), Some(new)) => new > known,
                });
            if farther {
                let reach = Reach { micros, segment: segment.to_owned() };
                reaches.insert(event.name.clone(), reach);
            }
        }
        Rule::Attribute { .. }
        | Rule::Tag(_)
        | Rule::Group(_)
        | Rule::Segment(_)
        | Rule::Consent { .. }
        | Rule::Table(_) => {}
    }
}

fn looks_back(span: Span) -> Option<i64> {
    span.within.map(|period| period.micros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn periods_are_checked() {
        for (json, fault) in [
            (json!({}), None),
            (json!({"events_days": 1, "mailbox_days": 36500}), None),
            (json!({"events_days": 0}), Some("events_days")),
            (json!({"import_files_days": 36501}), Some("import_files_days")),
            (json!({"inactive_customers_days": 29}), Some("inactive_customers_days")),
            (json!({"inactive_customers_days": 400}), None),
            (
                json!({"inactive_customers_days": 400, "events_days": 399}),
                Some("inactive_customers_days"),
            ),
            (json!({"inactive_customers_days": 400, "events_days": 400}), None),
        ] {
            let retention: Retention = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(retention.check().err().map(|(name, _)| name), fault, "{json}");
        }
    }

    #[test]
    fn segments_say_how_far_they_look_back() {
        let read = |json| Rule::parse(&json).unwrap();
        let rules = [
            ("A", read(json!({"event": "seen", "within": "30d"}))),
            (
                "B",
                read(json!({"not": {"any": [
                    {"event": "seen", "within": "90d"},
                    {"event": "bought"},
                    {"tag": "x"}
                ]}})),
            ),
            ("C", read(json!({"event": "bought", "within": "1d"}))),
            ("D", read(json!({"event": "left", "after": "2026-01-01T00:00:00Z"}))),
        ];
        let found = reaches(rules.iter().map(|(name, rule)| (*name, rule)));
        let day = 24 * 3_600 * 1_000_000;
        let reach = |micros, segment: &str| Reach { micros, segment: segment.to_owned() };
        assert_eq!(found["seen"], reach(Some(90 * day), "B"));
        assert_eq!(found["bought"], reach(None, "B"));
        assert_eq!(found["left"], reach(None, "D"));
        assert_eq!(found.len(), 3);
    }
}
