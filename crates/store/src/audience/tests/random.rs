//! Random schemas, customers and rules. Values come from small pools, so that conditions are
//! often met, and the pools hold what engines like to disagree about.

use std::collections::{HashMap, HashSet};

use serde_json::{Value as Json, json};
use tidings_domain::consent::{Channel, ConsentState};
use tidings_domain::judge::{EventFact, Facts};
use tidings_domain::schema::{Attribute, Schema};
use tidings_domain::value::{Kind, Value};
use tidings_domain::{CampaignId, CustomerId, Timestamp};
use uuid::Uuid;

pub const TAGS: [&str; 3] = ["vip", "it's", "Ünder % _"];
pub const GROUPS: [(&str, i32); 2] = [("staff", 4), ("press", 9)];
pub const SEGMENTS: [(&str, i32); 2] = [("sleepers", 2), ("payers", 3)];
pub const EVENTS: [(&str, i32); 3] = [("visit", 1), ("order placed", 2), ("message_opened", 7)];
const TOPICS: [&str; 2] = ["marketing", "news"];
const PROPERTIES: [&str; 8] = ["n", "t", "b", "x y", "a.b", "ä", "0", "[1]"];
const TEXTS: [&str; 26] = [
    "",
    " ",
    "a",
    "A",
    "ab",
    "abc",
    "Zebra",
    "zebra",
    "é",
    "e\u{301}",
    "ä",
    "日本",
    "日本語",
    "50%",
    "500",
    "a_b",
    "a*b",
    "a?b",
    "[x]",
    "x",
    "a\\b",
    "O'Neil",
    "\"q\"",
    "😀x",
    "7",
    "{s}?1",
];
const PATTERNS: [&str; 15] = [
    "*", "?", "a*", "*b", "*a*b*", "??", "50%", "a_b", "a\\*b", "a\\?b", "[x]", "a\\\\b", "*本*",
    "?x", "*'*",
];
const NUMBERS: [i64; 14] =
    [0, 1, -1, 2, 3, 7, 10, 50, 99, -100, 4_294_967_295, 4_294_967_296, i64::MAX, i64::MIN];
const DATES: [&str; 9] = [
    "0001-01-01",
    "1992-02-29",
    "1996-02-29",
    "2004-02-29",
    "1990-03-01",
    "1990-12-31",
    "2000-01-01",
    "1988-02-28",
    "9999-12-31",
];

/// Numbers from a fixed seed, so that a failure can be repeated.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % sides
    }

    pub fn one_in(&mut self, sides: usize) -> bool {
        self.below(sides) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A time near now, on a grid of half days so that edges of windows are met exactly.
    fn near(&mut self, now: Timestamp) -> Timestamp {
        now.plus_secs((self.below(160) as i64 - 120) * 43_200)
    }

    fn date(&mut self, now: Timestamp) -> String {
        match self.below(4) {
            0 => (*self.pick(&DATES)).to_owned(),
            1 => self.near(now).date(),
            _ => {
                // A birthday near today, in some year.
                let near = self.near(now).date();
                let year = 1950 + self.below(60);
                let date = format!("{year}{}", &near[4..]);
                date.parse::<jiff::civil::Date>().map_or(near, |date| date.to_string())
            }
        }
    }

    fn period(&mut self, for_dates: bool) -> String {
        match self.below(6) {
            0 if !for_dates => format!("{}h", 1 + self.below(100)),
            1 if !for_dates => format!("{}m", 1 + self.below(3_000)),
            2 => format!("{}w", 1 + self.below(8)),
            3 => format!("{}d", 364 + self.below(3)),
            _ => format!("{}d", 1 + self.below(40)),
        }
    }

    fn number(&mut self) -> i64 {
        if self.one_in(3) { self.below(200) as i64 - 100 } else { *self.pick(&NUMBERS) }
    }
}

/// A moment at which rules are judged; ends of months and years among them.
pub fn now(dice: &mut Dice) -> Timestamp {
    let days = [
        "2026-11-23",
        "2028-02-28",
        "2028-02-29",
        "2027-02-28",
        "2027-03-01",
        "2027-03-01",
        "2026-12-30",
        "2028-03-01",
    ];
    let day: Timestamp = dice.pick(&days).parse().expect("a date");
    day.plus_secs(dice.below(3) as i64 * 43_200)
}

pub fn kinds(dice: &mut Dice) -> Vec<Kind> {
    let all = [
        Kind::Text,
        Kind::Integer,
        Kind::Decimal { scale: 2 },
        Kind::Boolean,
        Kind::Date,
        Kind::Date,
        Kind::Timestamp,
        Kind::List,
        Kind::Email,
        Kind::Phone,
        Kind::Country,
        Kind::Language,
        Kind::Money { currency: "EUR".to_owned(), scale: 3 },
    ];
    let skipped = dice.below(4);
    all.into_iter().filter(|_| skipped == 0 || !dice.one_in(skipped + 3)).collect()
}

/// A value of a kind, or `None` for a missing one.
pub fn value(dice: &mut Dice, kind: &Kind, now: Timestamp) -> Option<Value> {
    if dice.one_in(4) {
        return None;
    }
    let text = |text: &&str| Value::Text((*text).to_owned());
    Some(match kind {
        Kind::Text => text(dice.pick(&TEXTS)),
        Kind::Integer | Kind::Decimal { .. } | Kind::Money { .. } => Value::Integer(dice.number()),
        Kind::Boolean => Value::Boolean(dice.one_in(2)),
        Kind::Date => Value::Text(dice.date(now)),
        Kind::Timestamp => Value::Integer(dice.near(now).0),
        Kind::List => {
            let mut items: Vec<String> =
                (0..dice.below(4)).map(|_| (*dice.pick(&TEXTS)).to_owned()).collect();
            items.sort();
            items.dedup();
            Value::List(items)
        }
        Kind::Email => text(dice.pick(&["ann@example.com", "bob@example.org", "a_b@test.example"])),
        Kind::Phone => text(dice.pick(&["+31612345678", "+4915112345678"])),
        Kind::Country => text(dice.pick(&["NL", "DE", "FR"])),
        Kind::Language => text(dice.pick(&["en", "nl", "pt-BR"])),
    })
}

fn property(dice: &mut Dice) -> Json {
    match dice.below(12) {
        0 => Json::Null,
        1 => json!(dice.one_in(2)),
        2 | 3 => json!([dice.pick(&TEXTS), dice.number(), null, "a", dice.pick(&TEXTS)]),
        11 => json!({"n": 1}),
        4 => json!(dice.pick(&[0.1, 0.30000000000000004, 1.5, -2.5, 1e300, 5e-324, 1e17])),
        5 => json!(dice.pick(&[u64::MAX, 9_007_199_254_740_993, 1 << 63])),
        // Any bits at all: the engines must read what was written.
        6 => json!(f64::from_bits(dice.below(usize::MAX) as u64 | 1 << 52)),
        7 | 8 => json!(dice.number()),
        _ => json!(dice.pick(&TEXTS)),
    }
}

fn properties(dice: &mut Dice) -> Json {
    if dice.one_in(8) {
        return dice.pick(&[Json::Null, json!([1, "n"]), json!("n")]).clone();
    }
    let mut fields = serde_json::Map::new();
    for _ in 0..dice.below(6) {
        fields.insert((*dice.pick(&PROPERTIES)).to_owned(), property(dice));
    }
    tidings_domain::json::canonical(Json::Object(fields))
}

fn campaign(dice: &mut Dice) -> CampaignId {
    CampaignId(Uuid::from_u128(1 + dice.below(2) as u128))
}

/// Everything about one customer.
pub fn facts(dice: &mut Dice, schema: &Schema, now: Timestamp) -> Facts {
    let text = |dice: &mut Dice| match value(dice, &Kind::Email, now) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    };
    let (external_id, email, phone) = (text(dice), text(dice), text(dice));
    let mut tags = HashMap::new();
    let mut events: HashMap<i32, Vec<EventFact>> = HashMap::new();
    let mut records: HashMap<i32, Vec<Vec<Option<Value>>>> = HashMap::new();
    for tag in TAGS {
        if dice.one_in(2) {
            let until = if dice.one_in(3) { None } else { Some(dice.near(now)) };
            tags.insert(tag.to_owned(), if dice.one_in(8) { Some(now) } else { until });
        }
    }
    for _ in 0..dice.below(8) {
        let campaign = if dice.one_in(2) { Some(campaign(dice)) } else { None };
        let event = EventFact { at: dice.near(now), properties: properties(dice), campaign };
        events.entry(dice.pick(&EVENTS).1).or_default().push(event);
    }
    for table in &schema.tables {
        for _ in 0..dice.below(5) {
            let record = table.fields.iter().map(|field| value(dice, &field.kind, now)).collect();
            records.entry(table.number).or_default().push(record);
        }
    }
    let mut consents = HashMap::new();
    for channel in [Channel::Email, Channel::Sms] {
        for topic in TOPICS {
            let state = match dice.below(3) {
                0 => continue,
                1 => ConsentState::Granted,
                _ => ConsentState::Withdrawn,
            };
            consents.insert((channel, topic.to_owned()), state);
        }
    }
    let some = |dice: &mut Dice, all: &[(&str, i32)]| -> HashSet<i32> {
        all.iter().filter(|_| dice.one_in(3)).map(|(_, number)| *number).collect()
    };
    Facts {
        external_id,
        email,
        phone,
        created_at: dice.near(now),
        attributes: schema.attributes.iter().map(|a| value(dice, &a.kind, now)).collect(),
        tags,
        groups: some(dice, &GROUPS),
        segments: some(dice, &SEGMENTS),
        consents,
        events,
        records,
    }
}

/// An id whose bucket is spread like that of any other.
pub fn customer_id(dice: &mut Dice) -> CustomerId {
    let (high, low) = (dice.below(usize::MAX) as u128, dice.below(usize::MAX) as u128);
    CustomerId(uuid::Builder::from_random_bytes((high << 64 | low).to_be_bytes()).into_uuid())
}

/// A rule as JSON, of conditions that fit the schema.
pub fn rule(dice: &mut Dice, schema: &Schema, now: Timestamp, depth: usize) -> Json {
    match dice.below(if depth == 0 { 9 } else { 13 }) {
        0 => match dice.below(4) {
            0 => json!({"tag": dice.pick(&TAGS)}),
            1 => json!({"group": dice.pick(&GROUPS).0}),
            2 => json!({"segment": dice.pick(&SEGMENTS).0}),
            _ => json!({
                "consent": dice.pick(&["email", "sms"]), "topic": dice.pick(&TOPICS),
                "state": dice.pick(&["granted", "withdrawn"]),
            }),
        },
        1 | 2 => event(dice, now),
        3 | 4 => match dice.below(schema.tables.len() * 2) {
            at if at < schema.tables.len() => table(dice, schema, at, now),
            _ => table(dice, schema, 0, now),
        },
        5 => {
            let own = [
                ("email", Kind::Email),
                ("phone", Kind::Phone),
                ("external_id", Kind::Text),
                ("created_at", Kind::Timestamp),
            ];
            let (name, kind) = dice.pick(&own);
            with("attribute", name, test(dice, kind, now))
        }
        6..=8 => match schema.attributes.len() {
            0 => json!({"tag": "vip"}),
            count => {
                let attribute = &schema.attributes[dice.below(count)];
                with("attribute", &attribute.name, test(dice, &attribute.kind, now))
            }
        },
        9 => json!({"not": rule(dice, schema, now, depth - 1)}),
        join => {
            let word = if join < 11 { "all" } else { "any" };
            let count = dice.below(5);
            let parts: Vec<Json> = (0..count).map(|_| rule(dice, schema, now, depth - 1)).collect();
            json!({word: parts})
        }
    }
}

fn with(key: &str, name: &str, mut test: Json) -> Json {
    test[key] = json!(name);
    test
}

/// An operator that fits the kind, and a value for it.
fn test(dice: &mut Dice, kind: &Kind, now: Timestamp) -> Json {
    let text =
        matches!(kind, Kind::Text | Kind::Email | Kind::Phone | Kind::Country | Kind::Language);
    let mut ops = vec!["exists", "eq", "ne", "in"];
    if text {
        ops.extend(["contains", "starts_with", "ends_with", "matches"]);
    }
    match kind {
        Kind::Text | Kind::Integer | Kind::Decimal { .. } | Kind::Money { .. } => {
            ops.extend(["gt", "gte", "lt", "lte"]);
        }
        Kind::Timestamp => ops.extend(["gt", "lte", "before", "after", "within", "within"]),
        Kind::Date => ops.extend([
            "gte",
            "lt",
            "before",
            "after",
            "within",
            "within",
            "anniversary_within",
            "anniversary_within",
        ]),
        Kind::List => ops = vec!["exists", "contains", "contains"],
        _ => {}
    }
    let op = *dice.pick(&ops);
    let constant = |dice: &mut Dice| loop {
        if let Some(value) = value(dice, kind, now) {
            return kind.to_json(&value);
        }
    };
    let value = match op {
        "exists" => return json!({"op": "exists"}),
        "contains" if *kind == Kind::List => json!(dice.pick(&TEXTS)),
        "contains" | "starts_with" | "ends_with" => part(dice),
        "matches" => json!(dice.pick(&PATTERNS)),
        "within" | "anniversary_within" => json!(dice.period(*kind == Kind::Date)),
        "in" => {
            let count = if dice.one_in(4) { 60 } else { 1 + dice.below(5) };
            Json::Array((0..count).map(|_| constant(dice)).collect())
        }
        _ => constant(dice),
    };
    json!({"op": op, "value": value})
}

fn part(dice: &mut Dice) -> Json {
    json!(dice.pick(&["a", "b", "x", "é", "本", "%", "_", "\\", "'", "@example", "+31", "N"]))
}

fn count(dice: &mut Dice) -> Json {
    let bound = dice.below(4);
    match dice.below(7) {
        0 => json!({"eq": bound}),
        1 => json!({"lt": bound}),
        2 => json!({"lte": bound}),
        3 => json!({"gt": bound}),
        4 => json!({"gte": bound, "lte": dice.below(4)}),
        _ => json!({"gte": bound}),
    }
}

fn event(dice: &mut Dice, now: Timestamp) -> Json {
    let name = if dice.one_in(12) { "never seen" } else { dice.pick(&EVENTS).0 };
    let mut rule = json!({"event": name});
    if dice.one_in(2) {
        rule["within"] = json!(dice.period(false));
    }
    if dice.one_in(6) {
        rule["after"] = json!(dice.near(now));
    }
    if dice.one_in(6) {
        rule["before"] = json!(dice.near(now));
    }
    if dice.one_in(4) {
        rule["campaign"] = json!(campaign(dice));
    }
    if dice.one_in(2) {
        rule["count"] = count(dice);
    }
    let filters = [0, 0, 1, 1, 2][dice.below(5)];
    if filters > 0 {
        let filters: Vec<Json> = (0..filters).map(|_| property_filter(dice)).collect();
        rule["where"] = json!(filters);
    }
    rule
}

fn property_filter(dice: &mut Dice) -> Json {
    let name = *dice.pick(&PROPERTIES);
    let scalar = |dice: &mut Dice| loop {
        let value = tidings_domain::json::canonical(property(dice));
        if value.is_string() || value.is_number() || value.is_boolean() {
            return value;
        }
    };
    let ops = [
        "exists",
        "eq",
        "ne",
        "gt",
        "gte",
        "lt",
        "lte",
        "in",
        "contains",
        "contains",
        "contains",
        "starts_with",
        "ends_with",
        "matches",
    ];
    let test = match *dice.pick(&ops) {
        "exists" => json!({"op": "exists"}),
        "in" => {
            let count = if dice.one_in(3) { 90 } else { 1 + dice.below(5) };
            let list: Vec<Json> = (0..count).map(|_| scalar(dice)).collect();
            json!({"op": "in", "value": list})
        }
        "contains" if dice.one_in(2) => json!({"op": "contains", "value": "a"}),
        op @ ("contains" | "starts_with" | "ends_with") => json!({"op": op, "value": part(dice)}),
        "matches" => json!({"op": "matches", "value": dice.pick(&PATTERNS)}),
        op => match scalar(dice) {
            Json::Bool(flag) => json!({"op": "eq", "value": flag}),
            value => json!({"op": op, "value": value}),
        },
    };
    with("property", name, test)
}

fn table(dice: &mut Dice, schema: &Schema, at: usize, now: Timestamp) -> Json {
    let table = &schema.tables[at];
    let mut rule = json!({"table": table.name});
    let filters = dice.below(3);
    if filters > 0 {
        let filters = (0..filters).map(|_| {
            let field = dice.pick(&table.fields);
            with("field", &field.name, test(dice, &field.kind, now))
        });
        rule["where"] = filters.collect();
    }
    let able = |kind: &Kind| {
        matches!(
            kind,
            Kind::Integer
                | Kind::Decimal { .. }
                | Kind::Money { .. }
                | Kind::Date
                | Kind::Timestamp
        )
    };
    let fields: Vec<&Attribute> = table.fields.iter().filter(|field| able(&field.kind)).collect();
    if fields.is_empty() || dice.one_in(3) {
        rule["count"] = count(dice);
        return rule;
    }
    let field = *dice.pick(&fields);
    let time = matches!(field.kind, Kind::Date | Kind::Timestamp);
    let functions: &[&str] = if time { &["min", "max"] } else { &["sum", "avg", "min", "max"] };
    rule[*dice.pick(functions)] = json!(field.name);
    for _ in 0..1 + dice.below(2) {
        let bound = loop {
            if let Some(value) = value(dice, &field.kind, now) {
                // Bounds on averages have four more digits, so the largest numbers do not fit.
                let large = matches!(value, Value::Integer(n) if n.abs_diff(0) > 1 << 40);
                if time || !large {
                    break field.kind.to_json(&value);
                }
            }
        };
        rule[*dice.pick(&["eq", "ne", "gt", "gte", "lt", "lte"])] = bound;
    }
    rule
}
