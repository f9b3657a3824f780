//! Reading a rule from JSON: its shape and limits, before any name is looked up.

use serde_json::{Map, Value as Json};

use super::*;
use crate::Timestamp;
use crate::schema::checked_name;

/// At most so many faults are listed; the rest is rarely worth reading.
const MAX_FAULTS: usize = 50;
const MAX_COUNT: u64 = 1_000_000_000;
/// Property names go into JSON paths, which have no common spelling for longer or odder ones.
const MAX_PROPERTY_BYTES: usize = 200;

impl Rule {
    /// Reads a rule from its JSON form.
    ///
    /// # Errors
    /// Every fault of shape, with its path; at most 50 of them.
    pub fn parse(json: &Json) -> Result<Rule, Vec<RuleFault>> {
        let mut reader = Reader { faults: Vec::new(), conditions: 0 };
        let rule = reader.rule(json, "", 1);
        match rule {
            Some(rule) if reader.faults.is_empty() => Ok(rule),
            _ => Err(reader.faults),
        }
    }
}

struct Reader {
    faults: Vec<RuleFault>,
    conditions: usize,
}

type Fields = Map<String, Json>;

impl Reader {
    fn fault<T>(&mut self, path: impl Into<String>, message: impl Into<String>) -> Option<T> {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(RuleFault::new(path, message));
        }
        None
    }

    fn rule(&mut self, json: &Json, path: &str, depth: usize) -> Option<Rule> {
        let Json::Object(fields) = json else {
            return self.fault(path, "expected an object such as {\"tag\": \"vip\"}");
        };
        if depth > MAX_DEPTH {
            return self.fault(path, format!("a rule is at most {MAX_DEPTH} levels deep"));
        }
        const HEADS: [&str; 10] = [
            "all",
            "any",
            "not",
            "attribute",
            "tag",
            "group",
            "segment",
            "consent",
            "event",
            "table",
        ];
        let heads: Vec<&str> =
            HEADS.into_iter().filter(|head| fields.contains_key(*head)).collect();
        let [head] = heads[..] else {
            let expected = "expected one of all, any, not, attribute, tag, group, segment, \
                            consent, event or table";
            return self.fault(path, expected);
        };
        match head {
            "all" | "any" => {
                self.known(fields, path, &[head])?;
                let parts = self.parts(&fields[head], &inside(path, head), depth)?;
                Some(if head == "all" { Rule::All(parts) } else { Rule::Any(parts) })
            }
            "not" => {
                self.known(fields, path, &[head])?;
                let part = self.rule(&fields[head], &inside(path, head), depth + 1)?;
                Some(Rule::Not(Box::new(part)))
            }
            _ => self.condition(head, fields, path),
        }
    }

    fn parts(&mut self, json: &Json, path: &str, depth: usize) -> Option<Vec<Rule>> {
        let Json::Array(items) = json else {
            return self.fault(path, "expected a list of conditions");
        };
        let before = self.faults.len();
        let mut parts = Vec::with_capacity(items.len().min(MAX_CONDITIONS));
        for (at, item) in items.iter().enumerate() {
            parts.extend(self.rule(item, &format!("{path}[{at}]"), depth + 1));
            if self.conditions > MAX_CONDITIONS {
                return None;
            }
        }
        (self.faults.len() == before).then_some(parts)
    }

    fn counted(&mut self, path: &str) -> Option<()> {
        self.conditions += 1;
        if self.conditions <= MAX_CONDITIONS {
            return Some(());
        }
        // Only the first one too many is worth a fault.
        if self.conditions == MAX_CONDITIONS + 1 {
            self.fault::<()>(path, format!("a rule has at most {MAX_CONDITIONS} conditions"));
        }
        None
    }

    fn condition(&mut self, head: &str, fields: &Fields, path: &str) -> Option<Rule> {
        self.counted(path)?;
        let name = self.name(fields, path, head)?;
        match head {
            "attribute" => {
                self.known(fields, path, &[head, "op", "value"])?;
                Some(Rule::Attribute { name, test: self.test(fields, path)? })
            }
            "consent" => self.consent(fields, path, &name),
            "event" => self.event(fields, path, name).map(Rule::Event),
            "table" => self.table(fields, path, name).map(Rule::Table),
            _ => {
                self.known(fields, path, &[head])?;
                Some(match head {
                    "tag" => Rule::Tag(name),
                    "group" => Rule::Group(name),
                    _ => Rule::Segment(name),
                })
            }
        }
    }

    fn consent(&mut self, fields: &Fields, path: &str, channel: &str) -> Option<Rule> {
        self.known(fields, path, &["consent", "topic", "state"])?;
        let Some(channel) = Channel::parse(channel) else {
            return self.fault(inside(path, "consent"), "expected email or sms");
        };
        let topic = match fields.get("topic") {
            None => DEFAULT_TOPIC.to_owned(),
            Some(_) => self.name(fields, path, "topic")?,
        };
        let state = match fields.get("state") {
            None => ConsentState::Granted,
            Some(json) => match json.as_str().and_then(ConsentState::parse) {
                Some(state) => state,
                None => return self.fault(inside(path, "state"), "expected granted or withdrawn"),
            },
        };
        Some(Rule::Consent { channel, topic, state })
    }

    fn event(&mut self, fields: &Fields, path: &str, name: String) -> Option<EventRule> {
        const KEYS: [&str; 7] =
            ["event", "where", "within", "after", "before", "campaign", "count"];
        self.known(fields, path, &KEYS)?;
        let filters = self.filters(fields, path, "property")?;
        let within = match fields.get("within") {
            None => None,
            Some(json) => match json.as_str().map(Period::parse) {
                Some(Ok(period)) => Some(period),
                _ => return self.fault(inside(path, "within"), Period::EXPECTED),
            },
        };
        let after = self.time(fields, path, "after")?;
        let before = self.time(fields, path, "before")?;
        let campaign = match fields.get("campaign") {
            None => None,
            Some(json) => match json.as_str().map(str::parse::<CampaignId>) {
                Some(Ok(id)) => Some(id),
                _ => return self.fault(inside(path, "campaign"), "expected a campaign's id"),
            },
        };
        let count = self.count(fields, path)?;
        let span = Span { within, after, before };
        Some(EventRule { name, filters, span, campaign, count })
    }

    fn table(&mut self, fields: &Fields, path: &str, name: String) -> Option<TableRule> {
        let bounds_keys = ["eq", "ne", "gt", "gte", "lt", "lte"];
        let functions: Vec<Function> =
            Function::ALL.iter().copied().filter(|f| fields.contains_key(f.name())).collect();
        let aggregate = match functions[..] {
            [] => {
                self.known(fields, path, &["table", "where", "count"])?;
                Aggregate::Count(self.count(fields, path)?)
            }
            [function] => {
                let mut keys = vec!["table", "where", function.name()];
                keys.extend(bounds_keys);
                self.known(fields, path, &keys)?;
                let field = self.name(fields, path, function.name())?;
                let mut bounds = Vec::new();
                for comparison in Comparison::ALL {
                    if let Some(value) = fields.get(comparison.name()) {
                        bounds.push((*comparison, value.clone()));
                    }
                }
                if bounds.is_empty() {
                    return self.fault(path, "expected a bound: eq, ne, gt, gte, lt or lte");
                }
                Aggregate::Of { function, field, bounds }
            }
            _ => return self.fault(path, "expected one of sum, avg, min and max"),
        };
        let filters = self.filters(fields, path, "field")?;
        Some(TableRule { name, filters, aggregate })
    }

    /// The tests under `where`, each on the thing called `key`.
    fn filters(&mut self, fields: &Fields, path: &str, key: &str) -> Option<Vec<(String, Test)>> {
        let path = inside(path, "where");
        let items = match fields.get("where") {
            None => return Some(Vec::new()),
            Some(Json::Array(items)) => items,
            Some(_) => return self.fault(path, "expected a list of tests"),
        };
        let before = self.faults.len();
        let mut filters = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let path = format!("{path}[{at}]");
            self.counted(&path)?;
            filters.extend(self.filter(item, &path, key));
        }
        (self.faults.len() == before).then_some(filters)
    }

    fn filter(&mut self, item: &Json, path: &str, key: &str) -> Option<(String, Test)> {
        let Json::Object(fields) = item else {
            return self.fault(path, format!("expected an object with {key}, op and value"));
        };
        self.known(fields, path, &[key, "op", "value"])?;
        let name = if key == "property" {
            self.property(fields, path)?
        } else {
            self.name(fields, path, key)?
        };
        Some((name, self.test(fields, path)?))
    }

    fn test(&mut self, fields: &Fields, path: &str) -> Option<Test> {
        let op = match fields.get("op").and_then(Json::as_str).map(Operator::parse) {
            Some(Some(op)) => op,
            _ => {
                let words: Vec<&str> = Operator::ALL.iter().map(|op| op.name()).collect();
                let message = format!("expected an operator: {}", words.join(", "));
                return self.fault(inside(path, "op"), message);
            }
        };
        let value = fields.get("value").cloned();
        let at = inside(path, "value");
        match (op, value) {
            (Operator::Exists, None) => Some(Test { op, value: Json::Null }),
            (Operator::Exists, Some(_)) => self.fault(at, "exists takes no value"),
            (_, None | Some(Json::Null)) => self.fault(at, format!("{} needs a value", op.name())),
            (Operator::In, Some(Json::Array(items))) => {
                if items.is_empty() || items.len() > MAX_LIST {
                    return self.fault(at, format!("expected 1 to {MAX_LIST} values"));
                }
                Some(Test { op, value: Json::Array(items) })
            }
            (Operator::In, Some(_)) => self.fault(at, "in needs a list of values"),
            (_, Some(Json::Array(_) | Json::Object(_))) => self.fault(at, "expected one value"),
            (_, Some(value)) => Some(Test { op, value }),
        }
    }

    fn count(&mut self, fields: &Fields, path: &str) -> Option<CountRange> {
        let path = inside(path, "count");
        let bounds = match fields.get("count") {
            None => return Some(CountRange::SOME),
            Some(Json::Object(bounds)) if !bounds.is_empty() => bounds,
            Some(_) => return self.fault(path, "expected a bound such as {\"gte\": 2}"),
        };
        self.known(bounds, &path, &["eq", "gt", "gte", "lt", "lte"])?;
        let mut range = CountRange { min: 0, max: None };
        for (word, json) in bounds {
            let Some(bound) = json.as_u64().filter(|bound| *bound <= MAX_COUNT) else {
                let message = format!("expected a whole number from 0 to {MAX_COUNT}");
                return self.fault(inside(&path, word), message);
            };
            let (min, max) = match word.as_str() {
                "gt" => (bound + 1, None),
                "gte" => (bound, None),
                "lte" => (0, Some(bound)),
                // Nothing is less than zero: an empty range.
                "lt" if bound == 0 => (1, Some(0)),
                "lt" => (0, Some(bound - 1)),
                _ => (bound, Some(bound)),
            };
            range.min = range.min.max(min);
            range.max = match (range.max, max) {
                (Some(old), Some(new)) => Some(old.min(new)),
                (old, new) => old.or(new),
            };
        }
        Some(range)
    }

    fn time(&mut self, fields: &Fields, path: &str, key: &str) -> Option<Option<Timestamp>> {
        match fields.get(key).map(|json| json.as_str().map(str::parse::<Timestamp>)) {
            None => Some(None),
            Some(Some(Ok(at))) => Some(Some(at)),
            Some(_) => {
                self.fault(inside(path, key), "expected a time such as 2026-11-23T08:30:00Z")
            }
        }
    }

    fn name(&mut self, fields: &Fields, path: &str, key: &str) -> Option<String> {
        match fields.get(key).and_then(Json::as_str).map(checked_name) {
            Some(Ok(name)) => Some(name.to_owned()),
            Some(Err(message)) => self.fault(inside(path, key), message),
            None => self.fault(inside(path, key), "expected a name"),
        }
    }

    fn property(&mut self, fields: &Fields, path: &str) -> Option<String> {
        let name = fields.get("property").and_then(Json::as_str);
        let plain = |c: char| !c.is_control() && c != '"' && c != '\\';
        match name {
            Some(name)
                if !name.is_empty()
                    && name.len() <= MAX_PROPERTY_BYTES
                    && name.chars().all(plain) =>
            {
                Some(name.to_owned())
            }
            _ => self.fault(
                inside(path, "property"),
                "expected a property's name of 1 to 200 bytes, without quotes and backslashes",
            ),
        }
    }

    /// Refuses keys that mean nothing here; a misspelt `within` must not widen an audience.
    fn known(&mut self, fields: &Fields, path: &str, keys: &[&str]) -> Option<()> {
        let unknown: Vec<&String> = fields.keys().filter(|k| !keys.contains(&k.as_str())).collect();
        for key in &unknown {
            let message = format!("unknown key, expected {}", keys.join(", "));
            self.fault::<()>(inside(path, key), message);
        }
        unknown.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check_refused(json: Json, path: &str, message: &str) {
        let faults = Rule::parse(&json).expect_err("the rule should be refused");
        assert_eq!(faults[0].path, path, "{faults:?}");
        assert!(faults[0].message.contains(message), "{faults:?}");
    }

    #[test]
    fn the_example_of_every_condition_is_read() {
        let rule = Rule::parse(&json!({"all": [
            {"attribute": "country", "op": "eq", "value": "DE"},
            {"any": [{"tag": "vip"}, {"group": "staff"}, {"not": {"segment": "sleepers"}}]},
            {"consent": "email"},
            {"event": "order_placed", "where": [{"property": "total", "op": "gte", "value": 20}],
             "within": "30d", "count": {"gte": 2, "lt": 10}},
            {"table": "orders", "where": [{"field": "status", "op": "eq", "value": "paid"}],
             "sum": "total", "gte": 100, "lt": 500},
            {"table": "orders", "count": {"eq": 0}},
        ]}))
        .unwrap();
        let Rule::All(parts) = rule else { panic!("{rule:?}") };
        let Rule::Event(event) = &parts[3] else { panic!("{:?}", parts[3]) };
        assert_eq!(event.count, CountRange { min: 2, max: Some(9) });
        assert_eq!(event.span.within.unwrap().micros(), 30 * 86_400_000_000);
        let Rule::Table(TableRule { aggregate: Aggregate::Of { bounds, .. }, .. }) = &parts[4]
        else {
            panic!("{:?}", parts[4])
        };
        assert_eq!(bounds.len(), 2);
    }

    #[test]
    fn wrong_shapes_are_refused_with_their_path() {
        check_refused(json!([]), "", "expected an object");
        check_refused(json!({}), "", "expected one of");
        check_refused(json!({"all": [], "any": []}), "", "expected one of");
        check_refused(json!({"all": {}}), "all", "list");
        check_refused(json!({"all": [{"tag": "a"}, {"tag": 7}]}), "all[1].tag", "name");
        check_refused(json!({"not": {"any": [{"x": 1}]}}), "not.any[0]", "expected one of");
        check_refused(json!({"tag": "a", "until": "b"}), "until", "unknown key");
        check_refused(json!({"attribute": "a", "op": "like", "value": 1}), "op", "operator");
        check_refused(json!({"attribute": "a", "op": "eq"}), "value", "needs a value");
        check_refused(json!({"attribute": "a", "op": "eq", "value": [1]}), "value", "one value");
        check_refused(json!({"attribute": "a", "op": "exists", "value": 1}), "value", "no value");
        check_refused(json!({"attribute": "a", "op": "in", "value": []}), "value", "1 to 10000");
        check_refused(json!({"attribute": "a", "op": "in", "value": "x"}), "value", "list");
        check_refused(json!({"consent": "pigeon"}), "consent", "email or sms");
        check_refused(json!({"consent": "sms", "state": "maybe"}), "state", "granted");
        check_refused(json!({"event": "e", "within": "30 days"}), "within", "30d");
        check_refused(json!({"event": "e", "after": "soon"}), "after", "time");
        check_refused(json!({"event": "e", "campaign": "x"}), "campaign", "id");
        check_refused(json!({"event": "e", "count": 2}), "count", "bound");
        check_refused(json!({"event": "e", "count": {"gte": -1}}), "count.gte", "whole number");
        check_refused(json!({"event": "e", "count": {"ne": 1}}), "count.ne", "unknown key");
        check_refused(
            json!({"event": "e", "where": [{"property": "a\"b", "op": "exists"}]}),
            "where[0].property",
            "without quotes",
        );
        check_refused(json!({"table": "t", "sum": "a"}), "", "bound");
        check_refused(json!({"table": "t", "sum": "a", "max": "b", "gt": 1}), "", "one of");
        check_refused(json!({"table": "t", "where": 1}), "where", "list of tests");
    }

    #[test]
    fn limits_are_kept() {
        let mut deep = json!({"tag": "a"});
        for _ in 1..MAX_DEPTH {
            deep = json!({"not": deep});
        }
        assert!(Rule::parse(&deep).is_ok());
        let path = vec!["not"; MAX_DEPTH].join(".");
        check_refused(json!({"not": deep}), &path, "levels deep");

        let many = |n: usize| json!({"any": vec![json!({"tag": "a"}); n]});
        assert!(Rule::parse(&many(MAX_CONDITIONS)).is_ok());
        check_refused(many(MAX_CONDITIONS + 5), "any[1000]", "at most 1000 conditions");

        let list = |n: usize| json!({"attribute": "a", "op": "in", "value": vec![1; n]});
        assert!(Rule::parse(&list(MAX_LIST)).is_ok());
        check_refused(list(MAX_LIST + 1), "value", "1 to 10000");
    }

    #[test]
    fn every_fault_is_listed() {
        let faults = Rule::parse(&json!({"all": [{"tag": 1}, {"group": "g"}, {"segment": ""}]}));
        let paths: Vec<String> = faults.unwrap_err().into_iter().map(|f| f.path).collect();
        assert_eq!(paths, ["all[0].tag", "all[2].segment"]);
    }
}
