//! Binding a rule: names become columns and numbers, JSON values become typed constants.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::typed::{TestFault, bind_property, bind_test, constant};
use super::*;
use crate::schema::{Attribute, Owner, Schema, Table};
use crate::value::{Kind, Value, parse_decimal};

/// The numbers behind the names of a workspace, and where its days begin.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub zone: calendar::Zone,
    pub groups: HashMap<String, i32>,
    pub segments: HashMap<String, i32>,
    pub events: HashMap<String, i32>,
}

impl Rule {
    /// Binds the rule to a schema and names. An event that nobody has recorded yet is no fault: it
    /// happened to no one.
    ///
    /// # Errors
    /// Every unknown attribute, table, field, group and segment, and every operator or value that
    /// does not fit, with its path.
    pub fn bind(&self, schema: &Schema, names: &Names) -> Result<BoundRule, Vec<RuleFault>> {
        let mut binder = Binder { schema, names, faults: Vec::new(), reads: Reads::default() };
        match binder.bind(self, "") {
            Some(root) if binder.faults.is_empty() => {
                Ok(BoundRule { root, reads: binder.reads, zone: names.zone.clone() })
            }
            _ => Err(binder.faults),
        }
    }
}

struct Binder<'a> {
    schema: &'a Schema,
    names: &'a Names,
    faults: Vec<RuleFault>,
    reads: Reads,
}

impl Binder<'_> {
    fn fault<T>(&mut self, path: impl Into<String>, message: impl Into<String>) -> Option<T> {
        self.faults.push(RuleFault::new(path, message));
        None
    }

    /// Takes what was found or notes a fault beneath `path`.
    fn take<T>(&mut self, found: Result<T, TestFault>, path: &str) -> Option<T> {
        match found {
            Ok(found) => Some(found),
            Err((part, message)) => self.fault(inside(path, &part), message),
        }
    }

    fn bind(&mut self, rule: &Rule, path: &str) -> Option<Bound> {
        match rule {
            Rule::All(parts) => self.parts(parts, &inside(path, "all")).map(Bound::All),
            Rule::Any(parts) => self.parts(parts, &inside(path, "any")).map(Bound::Any),
            Rule::Not(part) => {
                self.bind(part, &inside(path, "not")).map(|part| Bound::Not(Box::new(part)))
            }
            Rule::Attribute { name, test } => self.attribute(name, test, path),
            Rule::Tag(tag) => {
                self.reads.tags.insert(tag.clone());
                Some(Bound::Tag(tag.clone()))
            }
            Rule::Group(name) => {
                let Some(number) = self.names.groups.get(name) else {
                    return self.fault(inside(path, "group"), format!("unknown group {name}"));
                };
                self.reads.groups.insert(*number);
                Some(Bound::Group(*number))
            }
            Rule::Segment(name) => {
                let Some(number) = self.names.segments.get(name) else {
                    return self.fault(inside(path, "segment"), format!("unknown segment {name}"));
                };
                self.reads.segments.insert(*number);
                Some(Bound::Segment(*number))
            }
            Rule::Consent { channel, topic, state } => {
                self.reads.consents = true;
                Some(Bound::Consent { channel: *channel, topic: topic.clone(), state: *state })
            }
            Rule::Event(event) => self.event(event, path),
            Rule::Table(table) => self.table(table, path),
        }
    }

    /// Binds every part, so that all faults are listed.
    fn parts(&mut self, parts: &[Rule], path: &str) -> Option<Vec<Bound>> {
        let mut bound = Vec::with_capacity(parts.len());
        for (at, part) in parts.iter().enumerate() {
            bound.extend(self.bind(part, &format!("{path}[{at}]")));
        }
        (bound.len() == parts.len()).then_some(bound)
    }

    fn attribute(&mut self, name: &str, test: &Test, path: &str) -> Option<Bound> {
        if let Some(own) = OwnColumn::parse(name) {
            self.reads.own.insert(own);
            let test = self.take(bind_test(&own.kind(), test), path)?;
            return Some(Bound::Attribute { column: CustomerColumn::Own(own), test });
        }
        let schema = self.schema;
        let Some(position) = schema.position(name) else {
            return self.fault(inside(path, "attribute"), format!("unknown attribute {name}"));
        };
        let attribute = &schema.attributes[position];
        self.reads.attributes.insert(attribute.number);
        let test = self.take(bind_test(&attribute.kind, test), path)?;
        self.reads.calendar |= test.reads_calendar();
        let column = attribute.column.clone();
        Some(Bound::Attribute { column: CustomerColumn::Attribute { position, column }, test })
    }

    fn event(&mut self, event: &EventRule, path: &str) -> Option<Bound> {
        let mut filters = Vec::with_capacity(event.filters.len());
        for (at, (property, test)) in event.filters.iter().enumerate() {
            let test = self.take(bind_property(test), &inside(path, &format!("where[{at}]")));
            filters.extend(test.map(|test| (property.clone(), test)));
        }
        if filters.len() < event.filters.len() {
            return None;
        }
        let Some(name) = self.names.events.get(&event.name) else {
            self.reads.unknown_events.insert(event.name.clone());
            return Some(Bound::Constant(event.count.contains(0)));
        };
        self.reads.events.insert(*name);
        let EventRule { span, campaign, count, .. } = event;
        let (span, campaign, count) = (*span, *campaign, *count);
        Some(Bound::Event(BoundEvent { name: *name, filters, span, campaign, count }))
    }

    fn table(&mut self, rule: &TableRule, path: &str) -> Option<Bound> {
        let schema = self.schema;
        let Some(table) = schema.table(&rule.name) else {
            return self.fault(inside(path, "table"), format!("unknown table {}", rule.name));
        };
        if table.owner != Owner::Customer {
            let message = format!("records of {} belong to no customer", rule.name);
            return self.fault(inside(path, "table"), message);
        }
        self.reads.tables.insert(table.number);
        let mut filters = Vec::with_capacity(rule.filters.len());
        for (at, (name, test)) in rule.filters.iter().enumerate() {
            let path = inside(path, &format!("where[{at}]"));
            let Some((field, attribute)) = self.field(table, name, &path, "field") else {
                continue;
            };
            let test = self.take(bind_test(&attribute.kind, test), &path);
            self.reads.calendar |= test.as_ref().is_some_and(BoundTest::reads_calendar);
            filters.extend(test.map(|test| BoundFilter { field, test }));
        }
        let aggregate = self.aggregate(table, &rule.aggregate, path)?;
        if filters.len() < rule.filters.len() {
            return None;
        }
        let physical = table.physical.clone();
        Some(Bound::Table(BoundTable { number: table.number, physical, filters, aggregate }))
    }

    fn field<'t>(
        &mut self,
        table: &'t Table,
        name: &str,
        path: &str,
        key: &str,
    ) -> Option<(Field, &'t Attribute)> {
        let Some(position) = table.fields.iter().position(|field| field.name == name) else {
            let message = format!("unknown field {name} of {}", table.name);
            return self.fault(inside(path, key), message);
        };
        let attribute = &table.fields[position];
        Some((Field { position, column: attribute.column.clone() }, attribute))
    }

    fn aggregate(
        &mut self,
        table: &Table,
        aggregate: &Aggregate,
        path: &str,
    ) -> Option<BoundAggregate> {
        let (function, name, bounds) = match aggregate {
            Aggregate::Count(range) => return Some(BoundAggregate::Count(*range)),
            Aggregate::Of { function, field, bounds } => (*function, field, bounds),
        };
        let (field, attribute) = self.field(table, name, path, function.name())?;
        let kind = &attribute.kind;
        let number = matches!(kind, Kind::Integer | Kind::Decimal { .. } | Kind::Money { .. });
        let time = matches!(kind, Kind::Date | Kind::Timestamp);
        let fits = number || (time && matches!(function, Function::Min | Function::Max));
        if !fits {
            let message = format!("{} does not fit {}", function.name(), kind.name());
            return self.fault(inside(path, function.name()), message);
        }
        let mut constants = Vec::with_capacity(bounds.len());
        for (comparison, json) in bounds {
            let found = match function {
                Function::Avg => average(kind, json),
                _ => constant(kind, json),
            };
            match found {
                Ok(value) => constants.push((*comparison, value)),
                Err(message) => self.fault(inside(path, comparison.name()), message)?,
            }
        }
        Some(BoundAggregate::Of { function, field, bounds: constants })
    }
}

/// A bound on an average, with more digits than the field has.
fn average(kind: &Kind, json: &Json) -> Result<Value, String> {
    let text = match json {
        Json::Number(number) => number.to_string(),
        Json::String(text) => text.clone(),
        _ => return Err("expected a number such as 12.50".to_owned()),
    };
    let scale = kind.scale().unwrap_or(0) + AVERAGE_DIGITS;
    parse_decimal(text.trim(), scale).map(Value::Integer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn attribute(number: i32, name: &str, kind: Kind) -> Attribute {
        Attribute { number, name: name.to_owned(), kind, column: format!("{name}_{number}") }
    }

    fn schema() -> Schema {
        let fields = vec![
            attribute(1, "status", Kind::Text),
            attribute(2, "total", Kind::Money { currency: "EUR".into(), scale: 2 }),
            attribute(3, "placed", Kind::Timestamp),
        ];
        let table = |number, name: &str, owner| Table {
            number,
            name: name.to_owned(),
            physical: format!("t_{number}"),
            owner,
            fields: fields.clone(),
        };
        Schema::new(
            1,
            vec![
                attribute(11, "country", Kind::Country),
                attribute(12, "score", Kind::Integer),
                attribute(13, "born", Kind::Date),
                attribute(14, "interests", Kind::List),
                attribute(15, "active", Kind::Boolean),
            ],
            vec![table(1, "orders", Owner::Customer), table(2, "shops", Owner::Nobody)],
        )
    }

    fn bind(json: Json) -> Result<BoundRule, Vec<RuleFault>> {
        let map = |name: &str, number| HashMap::from([(name.to_owned(), number)]);
        let names = Names {
            zone: calendar::Zone::default(),
            groups: map("staff", 7),
            segments: map("sleepers", 8),
            events: map("order_placed", 9),
        };
        Rule::parse(&json).expect("the rule should parse").bind(&schema(), &names)
    }

    #[track_caller]
    fn check_refused(json: Json, path: &str, message: &str) {
        let faults = bind(json).expect_err("the rule should be refused");
        assert_eq!(faults[0].path, path, "{faults:?}");
        assert!(faults[0].message.contains(message), "{faults:?}");
    }

    #[test]
    fn names_and_values_are_bound() {
        let rule = bind(json!({"all": [
            {"attribute": "country", "op": "in", "value": ["nl", "DE", "NL"]},
            {"attribute": "email", "op": "eq", "value": "Ann@Example.COM"},
            {"table": "orders", "avg": "total", "gte": 12.5},
        ]}))
        .unwrap();
        let Bound::All(parts) = rule.root else { panic!("{rule:?}") };
        let text = |t: &str| Value::Text(t.to_owned());
        let Bound::Attribute { column, test } = &parts[0] else { panic!("{:?}", parts[0]) };
        assert_eq!(column.name(), "country_11");
        assert_eq!(*test, BoundTest::In(vec![text("DE"), text("NL")]));
        let Bound::Attribute { column, test } = &parts[1] else { panic!("{:?}", parts[1]) };
        assert_eq!(*column, CustomerColumn::Own(OwnColumn::Email));
        assert_eq!(*test, BoundTest::Compare(Comparison::Eq, text("ann@example.com")));
        let Bound::Table(table) = &parts[2] else { panic!("{:?}", parts[2]) };
        let BoundAggregate::Of { bounds, .. } = &table.aggregate else { panic!("{table:?}") };
        assert_eq!(bounds[..], [(Comparison::Gte, Value::Integer(12_500_000))]);
    }

    #[test]
    fn what_a_rule_reads_is_listed() {
        let rule = bind(json!({"any": [
            {"attribute": "score", "op": "gt", "value": 5},
            {"attribute": "phone", "op": "exists"},
            {"not": {"segment": "sleepers"}},
            {"group": "staff"},
            {"tag": "vip"},
            {"consent": "sms"},
            {"event": "order_placed"},
            {"event": "never_seen", "count": {"eq": 0}},
            {"table": "orders"},
        ]}))
        .unwrap();
        let expected = Reads {
            own: [OwnColumn::Phone].into(),
            attributes: [12].into(),
            tags: ["vip".to_owned()].into(),
            groups: [7].into(),
            segments: [8].into(),
            consents: true,
            events: [9].into(),
            unknown_events: ["never_seen".to_owned()].into(),
            tables: [1].into(),
            calendar: false,
        };
        assert_eq!(*rule.reads(), expected);
    }

    #[test]
    fn an_unknown_event_happened_to_no_one() {
        assert_eq!(bind(json!({"event": "x"})).unwrap().root, Bound::Constant(false));
        let never = json!({"event": "x", "count": {"lt": 1}});
        assert_eq!(bind(never).unwrap().root, Bound::Constant(true));
    }

    #[test]
    fn segments_are_inlined_with_what_they_read() {
        let rule = bind(json!({"not": {"segment": "sleepers"}})).unwrap();
        let other = bind(json!({"tag": "asleep"})).unwrap();
        let inlined = rule.inlined(&HashMap::from([(8, other)]));
        assert_eq!(inlined.root, Bound::Not(Box::new(Bound::Tag("asleep".to_owned()))));
        assert!(inlined.reads().tags.contains("asleep"));
        assert_eq!(rule.inlined(&HashMap::new()), rule);
    }

    #[test]
    fn inlining_ends_where_a_rule_would_grow_too_large() {
        // Each segment names the one before twice, which would double the rule forty times, and
        // each names the one before once, far deeper than a rule may be.
        for parts in [2, 1] {
            let twice = |number: i32| Bound::Any(vec![Bound::Segment(number - 1); parts]);
            let rule =
                |root| BoundRule { root, reads: Reads::default(), zone: calendar::Zone::default() };
            let mut rules: HashMap<i32, BoundRule> =
                (1..=400).map(|number| (number, rule(twice(number)))).collect();
            rules.insert(0, rule(Bound::Tag("end".to_owned())));
            let inlined = rule(Bound::Segment(400)).inlined(&rules);
            let text = format!("{:?}", inlined.root);
            assert!(text.contains("Segment(") && text.len() < 1_000_000, "{}", text.len());
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_path() {
        let test = |attribute: &str, op: &str, value: Json| json!({"all": [{"tag": "x"}, {"attribute": attribute, "op": op, "value": value}]});
        check_refused(test("nope", "eq", json!(1)), "all[1].attribute", "unknown attribute nope");
        check_refused(test("score", "contains", json!("1")), "all[1].op", "does not fit integer");
        check_refused(test("active", "gt", json!(true)), "all[1].op", "does not fit boolean");
        check_refused(test("interests", "eq", json!("a")), "all[1].op", "does not fit list");
        check_refused(test("country", "lt", json!("NL")), "all[1].op", "does not fit country");
        check_refused(test("score", "within", json!("3d")), "all[1].op", "does not fit integer");
        check_refused(test("score", "eq", json!("many")), "all[1].value", "whole number");
        check_refused(test("country", "eq", json!("XQ9")), "all[1].value", "");
        check_refused(test("country", "eq", json!(" ")), "all[1].value", "country code");
        check_refused(test("country", "contains", json!("")), "all[1].value", "at least one");
        check_refused(test("country", "matches", json!("\\d")), "all[1].value", "backslash");
        check_refused(test("score", "in", json!([1, "x"])), "all[1].value[1]", "whole number");
        check_refused(test("born", "within", json!("36h")), "all[1].value", "whole days");
        check_refused(test("born", "anniversary_within", json!("3")), "all[1].value", "30d");
        check_refused(json!({"group": "x"}), "group", "unknown group");
        check_refused(json!({"not": {"segment": "x"}}), "not.segment", "unknown segment");
        check_refused(json!({"table": "x"}), "table", "unknown table");
        check_refused(json!({"table": "shops"}), "table", "no customer");
        check_refused(json!({"table": "orders", "sum": "x", "gt": 1}), "sum", "unknown field");
        check_refused(json!({"table": "orders", "sum": "status", "gt": 1}), "sum", "not fit text");
        check_refused(json!({"table": "orders", "avg": "placed", "gt": 1}), "avg", "not fit");
        check_refused(json!({"table": "orders", "avg": "total", "gt": "x"}), "gt", "number");
        check_refused(
            json!({"table": "orders", "where": [{"field": "x", "op": "exists"}]}),
            "where[0].field",
            "unknown field",
        );
        let property = |op: &str, value: Json| json!({"event": "e", "where": [{"property": "p", "op": op, "value": value}]});
        check_refused(property("before", json!("2026-01-01")), "where[0].op", "property");
        check_refused(property("gt", json!(true)), "where[0].op", "true and false");
        check_refused(property("in", json!([1, {}])), "where[0].value[1]", "expected a text");
        check_refused(property("eq", json!("a\0")), "where[0].value", "NUL");
    }
}
