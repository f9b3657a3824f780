//! Values, rules and templates.

use std::cell::Cell;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use tidings_delimited::{DateOrder, DecimalMark, date, defuse, number, restore};
use tidings_domain::change::IdentityKind;
use tidings_domain::rule::{Pattern, Period, Rule};
use tidings_domain::search::{Wanted, searched_text};
use tidings_domain::value::Kind;
use tidings_domain::{checked, json as free_json};
use tidings_liquid::{Context, Escape, Limits, Rendered, Template, Value, masked, pieces};

use super::{plain, text};
use crate::Target;
use crate::corpus::{self, bytes};

pub fn targets() -> Vec<Target> {
    vec![
        Target { name: "values", short: 12_000, open: || plain(values), seeds: value_seeds },
        Target { name: "search", short: 6_000, open: || plain(search), seeds: search_seeds },
        Target { name: "rules", short: 12_000, open: || plain(rules), seeds: rule_seeds },
        Target { name: "liquid", short: 12_000, open: || plain(liquid), seeds: liquid_seeds },
    ]
}

fn kinds() -> Vec<Kind> {
    vec![
        Kind::Text,
        Kind::Integer,
        Kind::Decimal { scale: 2 },
        Kind::Decimal { scale: 9 },
        Kind::Boolean,
        Kind::Date,
        Kind::Timestamp,
        Kind::List,
        Kind::Email,
        Kind::Phone,
        Kind::Country,
        Kind::Language,
        Kind::Money { currency: "EUR".to_owned(), scale: 2 },
    ]
}

/// Whatever is read as a value is written so that it is read as the same again; whatever is an
/// address or a number in its one form stays in it.
fn values(input: &[u8]) {
    let text = text(input);
    for kind in kinds() {
        if let Ok(Some(value)) = kind.parse_text(&text) {
            let written = kind.to_json(&value);
            let again = kind.parse_json(&written);
            assert_eq!(again.as_ref(), Ok(&Some(value)), "{kind:?} {written}");
        }
        if let Ok(json) = serde_json::from_str::<Json>(&text)
            && let Ok(Some(value)) = kind.parse_json(&json)
        {
            let written = kind.to_json(&value);
            assert_eq!(kind.parse_json(&written), Ok(Some(value)), "{kind:?} {written}");
        }
    }
    for region in [None, Some("NL"), Some("US")] {
        if let Ok(known) = checked::phone(&text, region) {
            assert_eq!(checked::phone(&known, None).as_ref(), Ok(&known), "{text:?}");
        }
    }
    for kind in [IdentityKind::ExternalId, IdentityKind::Email, IdentityKind::Phone] {
        if let Ok(known) = kind.normalise(&text) {
            assert_eq!(kind.normalise(&known).as_ref(), Ok(&known), "{kind:?} of {text:?}");
        }
    }
    for mark in [DecimalMark::Point, DecimalMark::Comma] {
        if let Some(plain) = number(&text, mark) {
            assert_eq!(number(&plain, DecimalMark::Point).as_ref(), Some(&plain), "{text:?}");
        }
    }
    for order in [DateOrder::Ymd, DateOrder::Dmy, DateOrder::Mdy] {
        // What stands behind the day is judged with the rest of the time, by the kind.
        if let Some(plain) = date(&text, order) {
            assert!(plain.get(..10).is_some_and(|day| day.is_ascii()), "{text:?} is {plain:?}");
        }
    }
    assert_eq!(restore(&defuse(&text)), text, "a defused cell comes back");
    let shown = defuse(&text);
    assert!(!shown.starts_with(['=', '+', '-', '@', '\t', '\r']) || shown == text);
}

fn value_seeds() -> Vec<Vec<u8>> {
    bytes(&[
        "ann@example.com",
        " Ann.O'Hara+tag@B\u{fc}cher.example ",
        "\"odd\"@example.com",
        "a@[127.0.0.1]",
        "+31 20 123 45 67",
        "0031201234567",
        "(020) 123-4567 ext 5",
        "+49 (0)30 901820",
        "NL",
        "nld",
        "pt-BR",
        "zh-Hant-TW",
        "2026-02-29",
        "2024-02-29",
        "31.12.2026",
        "12/31/26",
        "1 March 2026",
        "2026-01-15T10:00:00.123456+01:00",
        "2026-01-15 10:00",
        "1768471200",
        "-9223372036854775808",
        "1.234,56",
        "1,234.56",
        "1e3",
        "-0.005",
        "0,1",
        "\u{a0}12",
        "yes",
        "FALSE",
        "0",
        "a,b;c",
        "[\"a\",\"b\"]",
        "\"text\"",
        "12.50",
        "{\"a\":1}",
        "null",
        "=1+1",
        "@x",
        "-5",
        "\u{fdfa}",
    ])
}

/// What is found by is found in the text that was made of it.
fn search(input: &[u8]) {
    let text = text(input);
    let kept = searched_text([text.as_ref(), "ann@example.com"].into_iter());
    if let Some(wanted) = Wanted::read(&text) {
        let _ = wanted.is_in(&kept);
        assert!(wanted.ways.iter().all(|way| way.iter().all(|needle| !needle.is_empty())));
    }
    if let Ok(pattern) = Pattern::parse(&text) {
        pattern.matches(&text);
        pattern.matches("ann@example.com");
    }
    if let Ok(period) = Period::parse(&text) {
        assert!(period.micros() >= 0, "{text:?}");
    }
}

fn search_seeds() -> Vec<Vec<u8>> {
    bytes(&[
        "ann",
        "Ann Berg",
        "+31 20 123",
        "zo\u{eb}",
        "a",
        "*@example.com",
        "a?b\\*c",
        "*a*b*c*d*",
        "30d",
        "12h",
        "5m",
        "1w",
        "  ",
        "\u{1f600} x",
        "ABC-123",
    ])
}

/// A rule is read or refused with paths; free JSON is put in its one form, which is its own form.
fn rules(input: &[u8]) {
    let Ok(json) = serde_json::from_slice::<Json>(input) else { return };
    match Rule::parse(&json) {
        Ok(rule) => assert_eq!(Rule::parse(&json), Ok(rule)),
        Err(faults) => assert!(!faults.is_empty() && faults.len() <= 50),
    }
    if free_json::within_limits(&json, 32) {
        let once = free_json::canonical(json);
        assert_eq!(free_json::canonical(once.clone()), once);
    }
}

fn rule_seeds() -> Vec<Vec<u8>> {
    let mut seeds = bytes(&[
        r#"{"all":[{"attribute":"age","gte":18},{"not":{"tag":"vip"}},{"any":[{"group":"staff"},{"segment":"x"}]}]}"#,
        r#"{"attribute":"joined_at","within":"30d"}"#,
        r#"{"attribute":"birthday","anniversary_within":"3d"}"#,
        r#"{"attribute":"email","matches":"*@example.com"}"#,
        r#"{"attribute":"city","in":["Oslo","Rome"]}"#,
        r#"{"consent":"email","state":"granted","topic":"news"}"#,
        r#"{"event":"bought","count":{"gte":2},"within":"30d","where":[{"property":"sum","gt":10.5}]}"#,
        r#"{"table":"orders","sum":"total","gte":150,"where":[{"field":"state","eq":"paid"}]}"#,
    ]);
    // The examples of the documentation are the language's whole range.
    for part in corpus::text("docs/segments.md").split("```").skip(1).step_by(2) {
        let text = part.strip_prefix("json").unwrap_or(part);
        seeds.push(text.trim().as_bytes().to_vec());
    }
    seeds
}

/// A template is read or refused, and rendered within its budget.
fn liquid(input: &[u8]) {
    let source = text(input);
    let mut end = 0;
    for piece in pieces(&source) {
        assert!(piece.range.start >= end && piece.range.end <= source.len());
        end = piece.range.end;
    }
    assert_eq!(masked(&source, b'.').len(), source.len());
    let Ok(template) = Template::parse(&source) else { return };
    template.variables();
    template.reads();
    template.includes();
    let partial = Arc::new(Template::parse("[{{ p }}]").expect("it reads"));
    let find = |_: &str| Some(partial.clone());
    let looks = Cell::new(0);
    let expired = || {
        looks.set(looks.get() + 1);
        looks.get() > 10_000
    };
    let moment = |text: &str| text.parse::<jiff::Zoned>().expect("a moment");
    for escape in [Escape::None, Escape::Html] {
        let mut context = Context::new(moment("2026-03-29T01:30:15+00:00[UTC]"));
        context.root = Value::from(json!({
            "a": [3, 1, 2, null, "x"], "b": {"c": "text", "first": 1}, "n": 1_000_000_000, "s": "a<b>&'\"",
            "customer": {"name": "Zo\u{eb}", "email": "zoe@example.com", "points": 12.5},
        }));
        context.templates = Some(&find);
        context.escape = escape;
        context.expired = Some(&expired);
        context.limits = Limits { output_bytes: 5_000, steps: 20_000, depth: 20 };
        if let Ok(Rendered::Complete(text)) = template.render(&context) {
            assert!(text.len() <= 5_000, "{} bytes", text.len());
        }
        looks.set(0);
        context.now = moment("2026-10-25T02:30:15+02:00[Europe/Amsterdam]");
        let _ = template.render(&context);
    }
}

/// The templates of the corpus that the language is tested with.
fn liquid_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (path, text) in corpus::texts("formats/liquid/tests/corpus", ".txt") {
        // Of those that were generated, few are of a form of their own.
        let step = if path.contains("generated") { 40 } else { 1 };
        for line in text.lines().step_by(step) {
            if let Some((template, _)) = line.split_once(" ==> ").or(line.split_once(" !! ")) {
                seeds.push(template.replace("\\n", "\n").into_bytes());
            }
        }
    }
    seeds
}
