//! Conditions on events, and tests on their properties.
//!
//! A property has no kind, so every test asks for its type first; another type makes it false.

use serde_json::Value as Json;
use tidings_domain::rule::{BoundEvent, Comparison, PropertyTest, Scalar};

use super::value::{SHORT_LIST, sign};
use super::{Rows, Writer, certain, constant, side_by_side};
use crate::sql::{Dialect, Param};

/// How SQL reaches one property of the event `e`.
struct Property {
    /// The type's name, null where the property is missing.
    type_of: String,
    /// The value as a text; only good where it is one.
    text: String,
    /// The value as a double; only good where it is a number.
    number: String,
    /// The value as JSON, or on SQLite the arguments that name it.
    json: String,
}

impl Writer<'_> {
    pub(super) fn event(&mut self, rule: &BoundEvent, in_conjunction: bool) -> String {
        if let Some(truth) = certain(rule.count) {
            return constant(truth).to_owned();
        }
        let mut filters = vec![format!("e.name = {}", self.param(rule.name))];
        if let Some(window) = rule.span.within {
            let from = self.param(self.now.0.saturating_sub(window.micros()));
            filters.push(format!("e.at > {from} and e.at <= {}", self.param(self.now)));
        }
        self.event_filters(rule, &mut filters);
        let filter = side_by_side(filters, "and");
        let rows = Rows { table: "events", alias: "e", filter, having: None };
        self.counted(rows, rule.count, in_conjunction)
    }

    /// What must hold of an event beside its name and its place in the window.
    pub(super) fn event_filters(&mut self, rule: &BoundEvent, filters: &mut Vec<String>) {
        if let Some(after) = rule.span.after {
            filters.push(format!("e.at > {}", self.param(after)));
        }
        if let Some(before) = rule.span.before {
            filters.push(format!("e.at < {}", self.param(before)));
        }
        if let Some(campaign) = rule.campaign {
            filters.push(format!("e.campaign_id = {}", self.param(campaign)));
        }
        for (name, test) in &rule.filters {
            let property = self.property(name);
            filters.push(self.property_test(&property, test));
        }
    }

    fn property(&mut self, name: &str) -> Property {
        match self.dialect {
            Dialect::Sqlite => {
                let path = self.param(format!("$.\"{name}\""));
                let json = format!("e.properties, {path}");
                Property {
                    type_of: format!("json_type({json})"),
                    text: format!("json_extract({json})"),
                    number: format!("cast(json_extract({json}) as real)"),
                    json,
                }
            }
            Dialect::Postgres => {
                let name = self.param(name);
                let json = format!("(e.properties -> cast({name} as text))");
                Property {
                    type_of: format!("jsonb_typeof({json})"),
                    text: format!("(e.properties ->> cast({name} as text)) collate \"C\""),
                    number: format!("cast({json} as double precision)"),
                    json,
                }
            }
        }
    }

    fn property_test(&mut self, property: &Property, test: &PropertyTest) -> String {
        let text = &property.text;
        match test {
            PropertyTest::Exists => format!("{} <> 'null'", property.type_of),
            PropertyTest::Compare(comparison, Scalar::Number(number)) => {
                let constant = self.param(*number);
                let holds = format!("{} {} {constant}", property.number, sign(*comparison));
                self.if_number(property, &holds)
            }
            PropertyTest::Compare(comparison, Scalar::Text(constant)) => {
                let constant = self.param(constant);
                self.if_text(property, &format!("{text} {} {constant}", sign(*comparison)))
            }
            PropertyTest::Compare(comparison, Scalar::Boolean(flag)) => {
                self.boolean(property, *flag == (*comparison == Comparison::Eq))
            }
            PropertyTest::In(list) => self.property_in(property, list),
            PropertyTest::Contains(part) => self.property_contains(property, part),
            PropertyTest::StartsWith(part) => {
                let holds = self.starts_with(text, part);
                self.if_text(property, &holds)
            }
            PropertyTest::EndsWith(part) => {
                let holds = self.ends_with(text, part);
                self.if_text(property, &holds)
            }
            PropertyTest::Matches(pattern) => {
                let holds = self.matches(text, pattern);
                self.if_text(property, &holds)
            }
        }
    }

    fn if_text(&self, property: &Property, holds: &str) -> String {
        let name = match self.dialect {
            Dialect::Sqlite => "text",
            Dialect::Postgres => "string",
        };
        format!("({} = '{name}' and {holds})", property.type_of)
    }

    /// The cast to a number must not be tried on anything else: `case` keeps the order, `and`
    /// does not.
    fn if_number(&self, property: &Property, holds: &str) -> String {
        let type_of = &property.type_of;
        match self.dialect {
            Dialect::Sqlite => format!("({type_of} in ('integer', 'real') and {holds})"),
            Dialect::Postgres => format!("case when {type_of} = 'number' then {holds} end"),
        }
    }

    fn boolean(&self, property: &Property, flag: bool) -> String {
        match self.dialect {
            Dialect::Sqlite => format!("{} = '{flag}'", property.type_of),
            Dialect::Postgres => format!("{} = cast('{flag}' as jsonb)", property.json),
        }
    }

    fn property_contains(&mut self, property: &Property, part: &str) -> String {
        let Property { type_of, text, json, .. } = property;
        let in_text = self.contains(text, part);
        let item = self.param(part);
        match self.dialect {
            Dialect::Sqlite => format!(
                "case {type_of} when 'text' then {in_text} when 'array' then exists (select 1 \
                 from json_each({json}) j where j.type = 'text' and j.value = {item}) end"
            ),
            Dialect::Postgres => format!(
                "case {type_of} when 'string' then {in_text} \
                 when 'array' then {json} @> to_jsonb(cast({item} as text)) end"
            ),
        }
    }

    /// Each type of the list is looked for on its own.
    fn property_in(&mut self, property: &Property, list: &[Scalar]) -> String {
        let (mut numbers, mut texts, mut flags) = (Vec::new(), Vec::new(), Vec::new());
        for scalar in list {
            match scalar {
                Scalar::Number(number) => numbers.push(*number),
                Scalar::Text(text) => texts.push(text.clone()),
                Scalar::Boolean(flag) if flags.contains(flag) => {}
                Scalar::Boolean(flag) => flags.push(*flag),
            }
        }
        let mut ways: Vec<String> =
            flags.into_iter().map(|flag| self.boolean(property, flag)).collect();
        if !numbers.is_empty() {
            let holds = self.numbers_in(&property.number, numbers);
            ways.push(self.if_number(property, &holds));
        }
        if !texts.is_empty() {
            let holds = if texts.len() <= SHORT_LIST {
                let marks: Vec<String> = texts.into_iter().map(|text| self.param(text)).collect();
                format!("{} in ({})", property.text, marks.join(", "))
            } else {
                self.in_texts(&property.text, texts)
            };
            ways.push(self.if_text(property, &holds));
        }
        side_by_side(ways, "or")
    }

    fn numbers_in(&mut self, number: &str, list: Vec<f64>) -> String {
        if list.len() <= SHORT_LIST {
            let marks: Vec<String> = list.into_iter().map(|one| self.param(one)).collect();
            return format!("{number} in ({})", marks.join(", "));
        }
        match self.dialect {
            // Read by the same reader as the properties.
            Dialect::Sqlite => {
                let list = self.param(Param::Json(Json::from(list)));
                format!("{number} in (select cast(j.value as real) from json_each({list}) j)")
            }
            Dialect::Postgres => {
                let texts = list.into_iter().map(|one| one.to_string()).collect();
                self.in_list(number, texts, "real", "double precision")
            }
        }
    }
}
