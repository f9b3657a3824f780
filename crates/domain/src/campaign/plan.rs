//! What a campaign plans beside its audience and message: a local time, a holdout, a test of
//! variants, and the goal it is measured by.

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use super::{MessageClass, Share};
use crate::TemplateId;
use crate::schema::{Owner, Schema, checked_name};
use crate::value::Kind;

/// At most so many variants are told apart.
pub const MAX_VARIANTS: usize = 8;
/// The longest test, 90 days, and the longest window of a goal.
const MAX_HOURS: u32 = 90 * 24;
const MAX_SUBJECT: usize = 500;

/// What is planned; nothing of it by default. Kept as JSON with the campaign.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalTime>,
    /// The share of the audience that gets nothing, so that the others can be compared with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holdout: Option<Share>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Test>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
}

/// A date and time that each customer's own clock must show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalTime {
    pub at: DateTime,
    /// The text attribute that names a customer's zone, such as `Europe/Amsterdam`.
    pub zone_attribute: String,
    #[serde(default)]
    pub passed: Passed,
}

/// What becomes of customers whose local time has passed when the campaign begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Passed {
    /// They get it at once.
    #[default]
    Send,
    /// They are left out.
    Skip,
}

/// Variants of the message, shown to a share of the audience; the others get the winner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// The first is what stands when nothing is better.
    pub variants: Vec<Variant>,
    /// How many of the audience are in the test; with all of them there is nobody left to get the
    /// winner.
    pub share: Share,
    pub metric: Metric,
    /// From the campaign's beginning until the others get the winner.
    pub hours: u32,
    /// What the others get when no variant is certainly better.
    #[serde(default)]
    pub otherwise: Otherwise,
}

/// One of a test's messages: what differs from the campaign's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    pub name: String,
    /// Of the test's customers, in percent; the weights of all variants make 100.
    pub weight: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Another template than the campaign's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateId>,
    /// A version of the template; the newest at the launch unless given, and fixed by the launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_version: Option<i32>,
}

/// What makes a variant better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    Opens,
    Clicks,
    /// Customers who reach the goal.
    Conversions,
}

/// What is sent to the others when no variant is certainly better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// The one with the highest rate so far.
    #[default]
    Best,
    /// The first one.
    First,
}

/// What counts as success: a record of a table within a time after the message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Goal {
    pub table: String,
    /// A timestamp of that table.
    pub time_field: String,
    /// What a record is worth: money, a decimal or an integer of that table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount_field: Option<String>,
    pub window_hours: u32,
}

/// What is wrong with a plan: the field's path and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanFault {
    pub path: String,
    pub message: String,
}

fn fault<T>(path: impl Into<String>, message: impl Into<String>) -> Result<T, PlanFault> {
    Err(PlanFault { path: path.into(), message: message.into() })
}

impl Plan {
    /// Whether nothing is planned beside the message.
    pub fn is_plain(&self) -> bool {
        self == &Plan::default()
    }

    /// Checks a plan against the workspace's schema.
    pub fn check(&self, class: MessageClass, schema: &Schema) -> Result<(), PlanFault> {
        if let Some(local) = &self.local {
            check_zone_attribute(&local.zone_attribute, schema)?;
            if !(1970..=9998).contains(&local.at.year()) {
                return fault("local.at", "expected a year from 1970 to 9998");
            }
        }
        if let Some(holdout) = self.holdout {
            if holdout.is_whole() {
                return fault("holdout_percent", "a holdout of 100 % leaves nobody to send to");
            }
            if class == MessageClass::Transactional {
                return fault("holdout_percent", "a transactional campaign holds nobody out");
            }
        }
        if let Some(goal) = &self.goal {
            goal.check(schema)?;
        }
        match &self.test {
            Some(test) => test.check(self.goal.is_some()),
            None => Ok(()),
        }
    }
}

fn check_zone_attribute(name: &str, schema: &Schema) -> Result<(), PlanFault> {
    match schema.attribute(name) {
        Some(attribute) if attribute.kind == Kind::Text => Ok(()),
        Some(attribute) => fault(
            "local.zone_attribute",
            format!("expected a text, and {name} is of kind {}", attribute.kind.name()),
        ),
        None => fault("local.zone_attribute", format!("there is no attribute named {name}")),
    }
}

impl Goal {
    fn check(&self, schema: &Schema) -> Result<(), PlanFault> {
        let Some(table) = schema.table(&self.table) else {
            return fault("goal.table", format!("there is no table named {}", self.table));
        };
        if table.owner != Owner::Customer {
            let text = format!("the records of {} belong to no customer", self.table);
            return fault("goal.table", text);
        }
        match table.field(&self.time_field).map(|field| &field.kind) {
            Some(Kind::Timestamp) => {}
            Some(other) => {
                let text = format!("expected a timestamp, found a field of kind {}", other.name());
                return fault("goal.time_field", text);
            }
            None => return fault("goal.time_field", no_field(&self.table, &self.time_field)),
        }
        if let Some(amount) = &self.amount_field {
            match table.field(amount).map(|field| &field.kind) {
                Some(Kind::Money { .. } | Kind::Decimal { .. } | Kind::Integer) => {}
                Some(other) => {
                    let text =
                        format!("expected an amount, found a field of kind {}", other.name());
                    return fault("goal.amount_field", text);
                }
                None => return fault("goal.amount_field", no_field(&self.table, amount)),
            }
        }
        check_hours("goal.window_hours", self.window_hours)
    }
}

fn no_field(table: &str, field: &str) -> String {
    format!("the table {table} has no field named {field}")
}

fn check_hours(path: &str, hours: u32) -> Result<(), PlanFault> {
    match (1..=MAX_HOURS).contains(&hours) {
        true => Ok(()),
        false => fault(path, format!("expected 1 to {MAX_HOURS} hours")),
    }
}

impl Test {
    fn check(&self, has_goal: bool) -> Result<(), PlanFault> {
        let count = self.variants.len();
        if !(2..=MAX_VARIANTS).contains(&count) {
            return fault("test.variants", format!("expected 2 to {MAX_VARIANTS} variants"));
        }
        for (at, variant) in self.variants.iter().enumerate() {
            variant.check(at)?;
            if self.variants[..at].iter().any(|other| other.name == variant.name) {
                let text = format!("the name {} is given twice", variant.name);
                return fault(format!("test.variants[{at}].name"), text);
            }
        }
        let sum: u64 = self.variants.iter().map(|variant| u64::from(variant.weight)).sum();
        if sum != 100 {
            let text = format!("the weights add up to {sum}, expected 100");
            return fault("test.variants", text);
        }
        if self.metric == Metric::Conversions && !has_goal {
            return fault("test.metric", "conversions need a goal");
        }
        check_hours("test.hours", self.hours)
    }
}

impl Variant {
    fn check(&self, at: usize) -> Result<(), PlanFault> {
        let path = |field: &str| format!("test.variants[{at}].{field}");
        if let Err(text) = checked_name(&self.name) {
            return fault(path("name"), text);
        }
        if !(1..=99).contains(&self.weight) {
            return fault(path("weight"), "expected 1 to 99");
        }
        if let Some(subject) = &self.subject {
            let length = subject.chars().count();
            if subject.trim().is_empty() || length > MAX_SUBJECT {
                return fault(path("subject"), format!("expected 1 to {MAX_SUBJECT} characters"));
            }
            if subject.chars().any(char::is_control) {
                return fault(path("subject"), "expected one line");
            }
        }
        if self.template_version.is_some_and(|version| version < 1) {
            return fault(path("template_version"), "expected a version from 1");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Attribute, Table};

    fn field(name: &str, kind: Kind) -> Attribute {
        Attribute { number: 1, name: name.to_owned(), kind, column: name.to_owned() }
    }

    fn schema() -> Schema {
        let money = Kind::Money { currency: "EUR".to_owned(), scale: 2 };
        let fields = vec![
            field("at", Kind::Timestamp),
            field("day", Kind::Date),
            field("total", money),
            field("note", Kind::Text),
        ];
        let table = |name: &str, owner| Table {
            number: 1,
            name: name.to_owned(),
            physical: name.to_owned(),
            owner,
            fields: fields.clone(),
        };
        let attributes = vec![field("zone", Kind::Text), field("score", Kind::Integer)];
        let tables = vec![table("orders", Owner::Customer), table("shops", Owner::Nobody)];
        Schema::new(1, attributes, tables)
    }

    fn check(plan: &str, expected: Result<(), &str>) {
        let schema = schema();
        let read: Result<Plan, String> =
            serde_json::from_str(plan).map_err(|error| error.to_string());
        let found = read.and_then(|plan| {
            plan.check(MessageClass::Marketing, &schema)
                .map_err(|fault| format!("{}: {}", fault.path, fault.message))
        });
        match expected {
            Ok(()) => assert_eq!(found, Ok(()), "{plan}"),
            Err(part) => {
                let text = found.expect_err(plan);
                assert!(text.contains(part), "{plan}: {text}");
            }
        }
    }

    #[test]
    fn plans_are_checked_against_the_schema() {
        let two = r#"[{"name": "A", "weight": 50}, {"name": "B", "weight": 50, "subject": "B"}]"#;
        let test = |variants: &str, rest: &str| {
            format!(r#"{{"test": {{"variants": {variants}, {rest}}}}}"#)
        };
        let rest = r#""share": 20, "metric": "opens", "hours": 24"#;
        let goal = |text: &str| format!(r#"{{"goal": {{{text}}}}}"#);
        let local = |attribute: &str| {
            format!(r#"{{"local": {{"at": "2026-11-27T09:00", "zone_attribute": "{attribute}"}}}}"#)
        };
        for (plan, expected) in [
            ("{}".to_owned(), Ok(())),
            (local("zone"), Ok(())),
            (local("score"), Err("local.zone_attribute: expected a text")),
            (local("nowhere"), Err("local.zone_attribute: there is no attribute named nowhere")),
            (local("zone").replace("09:00", "25:00"), Err("")),
            (local("zone").replace("2026", "1066"), Err("local.at: expected a year")),
            (r#"{"holdout": 10}"#.to_owned(), Ok(())),
            (r#"{"holdout": 0}"#.to_owned(), Err("above 0")),
            (r#"{"holdout": 101}"#.to_owned(), Err("up to 100")),
            (r#"{"holdout": 100}"#.to_owned(), Err("holdout_percent: a holdout of 100 %")),
            (test(two, rest), Ok(())),
            (test(two, &rest.replace("20", "0")), Err("above 0")),
            (test(two, &rest.replace("20", "100")), Ok(())),
            (test(two, &rest.replace("20", "101")), Err("up to 100")),
            (test(two, &rest.replace("24", "0")), Err("test.hours: expected 1 to 2160")),
            (test(two, &rest.replace("opens", "conversions")), Err("conversions need a goal")),
            (test(&two.replacen("50", "49", 1), rest), Err("add up to 99, expected 100")),
            (test(&two.replacen("50", "0", 1), rest), Err("test.variants[0].weight")),
            (test(&two.replace("\"B\"", "\"A\""), rest), Err("the name A is given twice")),
            (test(r#"[{"name": "A", "weight": 100}]"#, rest), Err("expected 2 to 8 variants")),
            (test(&two.replace("\"subject\": \"B\"", "\"subject\": \" \""), rest), Err("subject")),
            (goal(r#""table": "orders", "time_field": "at", "window_hours": 168"#), Ok(())),
            (
                goal(
                    r#""table": "orders", "time_field": "at", "amount_field": "total",
                       "window_hours": 168"#,
                ),
                Ok(()),
            ),
            (
                goal(r#""table": "orders", "time_field": "at", "window_hours": 0"#),
                Err("goal.window_hours"),
            ),
            (
                goal(r#""table": "sales", "time_field": "at", "window_hours": 1"#),
                Err("goal.table: there is no table named sales"),
            ),
            (
                goal(r#""table": "shops", "time_field": "at", "window_hours": 1"#),
                Err("goal.table: the records of shops belong to no customer"),
            ),
            (
                goal(r#""table": "orders", "time_field": "day", "window_hours": 1"#),
                Err("goal.time_field: expected a timestamp"),
            ),
            (
                goal(r#""table": "orders", "time_field": "when", "window_hours": 1"#),
                Err("goal.time_field: the table orders has no field named when"),
            ),
            (
                goal(
                    r#""table": "orders", "time_field": "at", "amount_field": "note",
                       "window_hours": 1"#,
                ),
                Err("goal.amount_field: expected an amount"),
            ),
            (
                goal(
                    r#""table": "orders", "time_field": "at", "amount_field": "sum",
                       "window_hours": 1"#,
                ),
                Err("goal.amount_field: the table orders has no field named sum"),
            ),
        ] {
            check(&plan, expected);
        }
    }

    #[test]
    fn a_transactional_campaign_holds_nobody_out() {
        let plan = Plan { holdout: Share::of_percent(5.0), ..Plan::default() };
        let found = plan.check(MessageClass::Transactional, &schema());
        assert_eq!(found.map_err(|fault| fault.path), Err("holdout_percent".to_owned()));
    }
}
