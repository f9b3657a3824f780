//! Single conditions by hand, and one property over random facts: a verdict holds until its time.

use serde_json::json;

use super::*;
use crate::rule::{DEFAULT_TOPIC, Names, Rule};
use crate::schema::{Attribute, Owner, Schema, Table};
use crate::value::Kind;

const ATTRIBUTES: [(&str, Kind); 6] = [
    ("name", Kind::Text),
    ("score", Kind::Integer),
    ("active", Kind::Boolean),
    ("born", Kind::Date),
    ("seen", Kind::Timestamp),
    ("interests", Kind::List),
];

fn attribute(number: i32, (name, kind): (&str, Kind)) -> Attribute {
    Attribute { number, name: name.to_owned(), kind, column: format!("{name}_{number}") }
}

fn schema() -> Schema {
    let fields = [("total", Kind::Decimal { scale: 2 }), ("placed", Kind::Date)];
    let orders = Table {
        number: 1,
        name: "orders".to_owned(),
        physical: "orders_1".to_owned(),
        owner: Owner::Customer,
        fields: (1..).zip(fields).map(|(number, field)| attribute(number, field)).collect(),
    };
    let attributes = (1..).zip(ATTRIBUTES).map(|(number, a)| attribute(number, a)).collect();
    Schema::new(1, attributes, vec![orders])
}

fn bound(json: &Json) -> BoundRule {
    bound_in("UTC", json)
}

fn bound_in(zone: &str, json: &Json) -> BoundRule {
    let map = |name: &str, number| HashMap::from([(name.to_owned(), number)]);
    let names = Names {
        zone: Zone::named(zone),
        groups: map("staff", 1),
        segments: map("s", 1),
        events: map("visit", 1),
    };
    let rule = Rule::parse(json).unwrap_or_else(|faults| panic!("{json}: {faults:?}"));
    rule.bind(&schema(), &names).unwrap_or_else(|faults| panic!("{json}: {faults:?}"))
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn visit(at: &str, properties: Json) -> EventFact {
    EventFact { at: time(at), properties, campaign: None }
}

/// Ann, as she is known on Monday, November 23, 2026.
fn ann() -> Facts {
    Facts {
        external_id: None,
        phone: None,
        email: Some("ann@example.com".to_owned()),
        created_at: time("2026-11-01"),
        attributes: vec![
            Some(Value::Text("Ann Ørsted".to_owned())),
            Some(Value::Integer(50)),
            None,
            Some(Value::Text("1992-02-29".to_owned())),
            Some(Value::Integer(time("2026-11-22T12:00:00Z").0)),
            Some(Value::List(vec!["skiing".to_owned(), "tea".to_owned()])),
        ],
        tags: HashMap::from([
            ("vip".to_owned(), None),
            ("trial".to_owned(), Some(time("2026-11-25"))),
            ("gone".to_owned(), Some(time(NOW))),
        ]),
        groups: HashSet::from([1]),
        segments: HashSet::new(),
        consents: HashMap::from([
            ((Channel::Email, DEFAULT_TOPIC.to_owned()), ConsentState::Granted),
            ((Channel::Email, "offers".to_owned()), ConsentState::Withdrawn),
        ]),
        events: HashMap::from([(
            1,
            vec![
                visit("2026-11-01", json!({"page": "home", "ms": 1.5, "flags": ["a", 7]})),
                visit("2026-11-20", json!({"page": "shop", "ms": 3})),
                visit("2026-11-24", json!({"page": "late", "ok": true, "none": null})),
            ],
        )]),
        records: HashMap::from([(
            1,
            vec![
                vec![Some(Value::Integer(1_050)), Some(Value::Text("2026-11-20".to_owned()))],
                vec![Some(Value::Integer(2_001)), Some(Value::Text("2026-10-01".to_owned()))],
                vec![None, Some(Value::Text("2026-11-22".to_owned()))],
            ],
        )]),
    }
}

const NOW: &str = "2026-11-23T10:00:00Z";

#[track_caller]
fn check(json: Json, member: bool, next_check_at: Option<&str>) {
    let verdict = judge(&bound(&json), &ann(), time(NOW));
    let expected = Verdict { member, next_check_at: next_check_at.map(time) };
    assert_eq!(verdict, expected, "{json}");
}

fn on(attribute: &str, op: &str, value: Json) -> Json {
    json!({"attribute": attribute, "op": op, "value": value})
}

#[test]
fn attributes_are_tested() {
    check(on("name", "eq", json!("Ann Ørsted")), true, None);
    check(on("name", "eq", json!("ann Ørsted")), false, None);
    check(on("name", "gt", json!("Ann O")), true, None);
    check(on("name", "in", json!(["x", "Ann Ørsted"])), true, None);
    check(on("name", "contains", json!("n Ø")), true, None);
    check(on("name", "starts_with", json!("Ann")), true, None);
    check(on("name", "ends_with", json!("STED")), false, None);
    check(on("name", "matches", json!("Ann ?rst*")), true, None);
    check(on("score", "gte", json!(50)), true, None);
    check(on("score", "ne", json!(50)), false, None);
    check(on("interests", "contains", json!("tea")), true, None);
    check(on("interests", "contains", json!("te")), false, None);
    check(on("email", "ends_with", json!("@example.com")), true, None);
    check(on("born", "before", json!("1992-03-01")), true, None);
    check(on("seen", "after", json!("2026-11-22T12:00:00Z")), false, None);
}

#[test]
fn a_missing_value_makes_a_condition_false_and_its_opposite_true() {
    for op in ["eq", "ne"] {
        check(on("active", op, json!(true)), false, None);
        check(json!({"not": on("active", op, json!(true))}), true, None);
    }
    check(json!({"attribute": "active", "op": "exists"}), false, None);
    check(on("phone", "contains", json!("+")), false, None);
}

#[test]
fn times_and_dates_move_with_the_clock() {
    check(on("seen", "within", json!("1d")), true, Some("2026-11-23T12:00:00Z"));
    check(on("seen", "within", json!("22h")), false, None);
    check(on("created_at", "within", json!("4w")), true, Some("2026-11-29"));
    check(on("born", "within", json!("30d")), false, None);
    // 2027 has no February 29, so the birthday is March 1: 98 days from now.
    check(on("born", "anniversary_within", json!("98d")), false, Some("2026-11-24"));
    check(on("born", "anniversary_within", json!("99d")), true, Some("2027-03-02"));
}

#[test]
fn dates_turn_at_midnight_of_the_zone() {
    let rule = on("born", "anniversary_within", json!("1d"));
    let amsterdam = bound_in("Europe/Amsterdam", &rule);
    for (now, member, next) in [
        ("2028-02-28T22:59:59Z", false, "2028-02-28T23:00:00Z"),
        ("2028-02-28T23:00:00Z", true, "2028-02-29T23:00:00Z"),
        ("2028-02-29T23:00:00Z", false, "2029-02-28T23:00:00Z"),
    ] {
        let verdict = judge(&amsterdam, &ann(), time(now));
        let expected = Verdict { member, next_check_at: Some(time(next)) };
        assert_eq!(verdict, expected, "{now}");
    }
}

#[test]
fn tags_groups_segments_and_consents_are_tested() {
    check(json!({"tag": "vip"}), true, None);
    check(json!({"tag": "trial"}), true, Some("2026-11-25"));
    check(json!({"tag": "gone"}), false, None);
    check(json!({"tag": "none"}), false, None);
    check(json!({"group": "staff"}), true, None);
    check(json!({"segment": "s"}), false, None);
    check(json!({"consent": "email"}), true, None);
    check(json!({"consent": "email", "state": "withdrawn"}), false, None);
    check(json!({"consent": "email", "topic": "offers"}), false, None);
    check(json!({"consent": "email", "topic": "offers", "state": "withdrawn"}), true, None);
    check(json!({"consent": "sms"}), false, None);
}

#[test]
fn events_are_counted() {
    let visits = |rest: Json| {
        let mut rule = json!({"event": "visit"});
        rule.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        rule
    };
    let filter = |property: &str, op: &str, value: Json| {
        visits(json!({"where": [{"property": property, "op": op, "value": value}]}))
    };
    check(visits(json!({})), true, None);
    check(visits(json!({"count": {"eq": 3}})), true, None);
    check(visits(json!({"count": {"lt": 1}})), false, None);
    check(visits(json!({"within": "30d"})), true, Some("2026-12-24"));
    check(visits(json!({"within": "30d", "count": {"gte": 3}})), false, Some("2026-11-24"));
    check(visits(json!({"within": "30d", "count": {"lte": 2}})), true, Some("2026-11-24"));
    check(visits(json!({"within": "1d", "count": {"eq": 0}})), true, Some("2026-11-24"));
    check(visits(json!({"after": "2026-11-20", "count": {"eq": 1}})), true, None);
    check(visits(json!({"before": "2026-11-01"})), false, None);
    check(visits(json!({"campaign": "01931f2e-7a3b-7c4d-9e5f-a1b2c3d4e5f6"})), false, None);
    check(filter("ms", "eq", json!(3.0)), true, None);
    check(filter("ms", "eq", json!("3")), false, None);
    check(filter("page", "gt", json!("shoo")), true, None);
    check(filter("ok", "eq", json!(true)), true, None);
    check(filter("ok", "ne", json!(true)), false, None);
    check(filter("none", "ne", json!(1)), false, None);
    check(filter("flags", "contains", json!("a")), true, None);
    check(filter("flags", "contains", json!("7")), false, None);
    check(filter("page", "in", json!([7, "home"])), true, None);
    check(filter("page", "matches", json!("h?me")), true, None);
}

#[test]
fn records_are_summed_up() {
    let orders = |rest: Json| {
        let mut rule = json!({"table": "orders"});
        rule.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        rule
    };
    let late = json!([{"field": "placed", "op": "after", "value": "2026-12-01"}]);
    check(orders(json!({"count": {"eq": 3}})), true, None);
    check(orders(json!({"sum": "total", "eq": 30.51})), true, None);
    check(orders(json!({"sum": "total", "gt": 30.51})), false, None);
    check(orders(json!({"avg": "total", "gt": 15.25, "lt": 15.256})), true, None);
    check(orders(json!({"avg": "total", "eq": "15.255"})), true, None);
    check(orders(json!({"min": "total", "lte": 10.5})), true, None);
    check(orders(json!({"max": "placed", "eq": "2026-11-22"})), true, None);
    check(orders(json!({"where": late, "sum": "total", "lte": 5})), false, None);
    check(orders(json!({"where": late, "count": {"eq": 0}})), true, None);
    let recent = json!([{"field": "placed", "op": "within", "value": "7d"}]);
    check(orders(json!({"where": recent, "count": {"eq": 2}})), true, Some("2026-11-27"));
}

#[test]
fn parts_are_joined() {
    check(json!({"all": []}), true, None);
    check(json!({"any": []}), false, None);
    check(json!({"all": [{"tag": "vip"}, {"tag": "trial"}]}), true, Some("2026-11-25"));
    check(json!({"all": [{"tag": "none"}, {"tag": "trial"}]}), false, None);
    check(json!({"any": [{"tag": "vip"}, {"tag": "trial"}]}), true, None);
    check(json!({"not": {"tag": "trial"}}), false, Some("2026-11-25"));
}

/// A small generator of numbers with a fixed seed, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn some<T>(&mut self, make: impl FnOnce(&mut Dice) -> T) -> Option<T> {
        (self.below(4) > 0).then(|| make(self))
    }

    fn period(&mut self) -> String {
        format!("{}d", 1 + self.below(60))
    }

    /// A time within sixty days of `now`, on a grid of six hours so that edges coincide.
    fn near(&mut self, now: Timestamp) -> Timestamp {
        now.plus_secs((self.below(480) as i64 - 240) * 21_600)
    }
}

fn random_rule(dice: &mut Dice, depth: u64) -> Json {
    match dice.below(if depth == 0 { 7 } else { 10 }) {
        0 => json!({"tag": (["a", "b", "c"][dice.below(3) as usize])}),
        1 => on("seen", "within", json!(dice.period())),
        2 => on("born", "within", json!(dice.period())),
        3 => on("born", "anniversary_within", json!(dice.period())),
        4 | 5 => json!({
            "event": "visit", "within": dice.period(),
            "where": [{"property": "n", "op": "gte", "value": dice.below(3)}],
            "count": {"gte": dice.below(3), "lte": 1 + dice.below(4)},
        }),
        6 => json!({
            "table": "orders", "count": {"gte": 1 + dice.below(2)},
            "where": [{"field": "placed", "op": "within", "value": dice.period()}],
        }),
        7 => json!({"not": random_rule(dice, depth - 1)}),
        joined => {
            let parts: Vec<Json> =
                (0..1 + dice.below(3)).map(|_| random_rule(dice, depth - 1)).collect();
            if joined == 8 { json!({"all": parts}) } else { json!({"any": parts}) }
        }
    }
}

fn random_facts(dice: &mut Dice, now: Timestamp) -> Facts {
    let date = |dice: &mut Dice| Value::Text(dice.near(now).date());
    let tags = ["a", "b", "c"].map(|tag| (tag.to_owned(), dice.some(|dice| dice.near(now))));
    let events = (0..dice.below(6)).map(|_| EventFact {
        at: dice.near(now),
        properties: json!({"n": dice.below(4)}),
        campaign: None,
    });
    let events = HashMap::from([(1, events.collect())]);
    let records = (0..dice.below(4)).map(|_| vec![None, dice.some(date)]).collect();
    Facts {
        attributes: vec![
            None,
            None,
            None,
            dice.some(date),
            dice.some(|dice| Value::Integer(dice.near(now).0)),
            None,
        ],
        tags: HashMap::from(tags),
        events,
        records: HashMap::from([(1, records)]),
        ..Facts::default()
    }
}

#[test]
fn a_verdict_holds_until_its_next_check() {
    let now = time("2028-02-20T18:00:00Z");
    let mut dice = Dice(0x5eed_0001);
    let mut turned = 0;
    for case in 0..5_000 {
        let json = random_rule(&mut dice, 3);
        // East and west of it, midnight lies elsewhere.
        let rule = bound_in(["UTC", "Asia/Bangkok", "Etc/GMT+6"][case % 3], &json);
        let facts = random_facts(&mut dice, now);
        let verdict = judge(&rule, &facts, now);
        let next = verdict.next_check_at;
        assert!(next.is_none_or(|next| next > now), "case {case}: {next:?} {json}");
        let step = 6 * 3_600;
        for later in (1..500).map(|at| now.plus_secs(at * step)) {
            let just_before = Timestamp(later.0 - 1);
            for at in [just_before, later] {
                if next.is_some_and(|next| at >= next) {
                    continue;
                }
                let again = judge(&rule, &facts, at).member;
                assert_eq!(again, verdict.member, "case {case} at {at}: {json} {facts:?}");
            }
        }
        let changed = |next| judge(&rule, &facts, next).member != verdict.member;
        turned += usize::from(next.is_some_and(changed));
    }
    // A next check that never found a change would mean that the clock was not tried at all.
    assert!(turned > 1_000, "{turned} verdicts turned");
}

/// One rule of time everywhere: what ends at a time has ended at that very tick, and what is asked to
/// be checked again then is checked by that rule.
#[test]
fn row_19_a_tag_has_ended_at_the_tick_of_its_end() {
    let end = time("2026-11-25");
    let rule = bound(&json!({"tag": "trial"}));
    for (at, member) in [(end.0 - 1, true), (end.0, false), (end.0 + 1, false)] {
        let verdict = judge(&rule, &ann(), Timestamp(at));
        assert_eq!(verdict.member, member, "{} µs from its end", at - end.0);
        assert_eq!(verdict.next_check_at, member.then_some(end), "{} µs from its end", at - end.0);
    }
}

#[test]
fn every_part_is_explained_with_what_decided() {
    let other = bound(&json!({"tag": "trial"}));
    let rules = HashMap::from([(1, other)]);
    for (json, member, next, found) in [
        (on("score", "gt", json!(60)), false, None, json!(50)),
        (on("email", "exists", json!(null)), true, None, json!("ann@example.com")),
        (on("active", "eq", json!(true)), false, None, json!(null)),
        (
            json!({"tag": "trial"}),
            true,
            Some("2026-11-25"),
            json!({"until": "2026-11-25T00:00:00Z"}),
        ),
        (json!({"tag": "vip"}), true, None, json!({"until": null})),
        (json!({"tag": "none"}), false, None, json!(null)),
        (json!({"group": "staff"}), true, None, json!(true)),
        (json!({"segment": "s"}), true, Some("2026-11-25"), json!(true)),
        (json!({"consent": "email", "topic": "offers"}), false, None, json!("withdrawn")),
        (json!({"consent": "sms"}), false, None, json!(null)),
        (
            json!({"event": "visit", "within": "30d"}),
            true,
            Some("2026-12-24"),
            json!({"count": 2, "last_at": "2026-11-20T00:00:00Z"}),
        ),
        (
            json!({"table": "orders", "sum": "total", "gt": 100}),
            false,
            None,
            json!({"records": 3, "sum": "30.51"}),
        ),
        (json!({"table": "orders", "count": {"gte": 9}}), false, None, json!({"records": 3})),
    ] {
        let rule = match json["op"].as_str() {
            Some("exists") => bound(&json!({"attribute": "email", "op": "exists"})),
            _ => bound(&json),
        };
        let part = explain(&rule, &schema(), &ann(), &rules, time(NOW));
        let verdict = Verdict { member, next_check_at: next.map(time) };
        assert_eq!((part.verdict, part.found), (verdict, found), "{json}");
    }
}

#[test]
fn an_explanation_has_the_shape_of_its_rule() {
    let rule = bound(&json!({"all": [{"not": {"tag": "trial"}}, {"any": [{"group": "staff"}]}]}));
    let all = explain(&rule, &schema(), &ann(), &HashMap::new(), time(NOW));
    assert_eq!(all.verdict, judge(&rule, &ann(), time(NOW)));
    let [not, any] = &all.parts[..] else { panic!("{all:?}") };
    assert!(!not.verdict.member && not.parts[0].verdict.member, "{not:?}");
    assert!(any.verdict.member && any.parts.len() == 1, "{any:?}");
}
