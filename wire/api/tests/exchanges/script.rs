//! Plays a file of exchanges.
//!
//! ```text
//! # what this shows
//! POST /v1/groups
//! Idempotency-Key: a
//! {"name": "staff"}
//! ---
//! 201
//! Idempotency-Replayed: true
//! {"id": "<group>", "name": "staff", "size": 0}
//! ```
//!
//! Exchanges are parted by a line of `====`. A call carries the token that may do everything and a
//! JSON content type unless a header says otherwise; an empty header is left out. In an answer, an
//! object may hold more than is written, `"<name>"` stands for any value and keeps it, and `<name>`
//! in a later request is replaced by it. In a request `\n` is written as it is and a line `|text`
//! continues the body. `«x*1000»` repeats a text.

use std::collections::HashMap;

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;

use crate::home::{Answer, TestApi};

pub async fn play(api: &TestApi, text: &str) {
    let mut kept: HashMap<String, String> = HashMap::new();
    for exchange in text.split("\n====\n") {
        let exchange = exchange.trim();
        let lines: Vec<&str> = exchange.lines().filter(|line| !line.starts_with("# ")).collect();
        let exchange = lines.join("\n");
        let (request, expected) =
            exchange.split_once("\n---\n").unwrap_or_else(|| panic!("no answer in:\n{exchange}"));
        let request = filled(request, &kept);
        let answer = api.send(read_request(api, &request)).await;
        check(&request, &answer, expected, &mut kept);
    }
}

fn filled(text: &str, kept: &HashMap<String, String>) -> String {
    let mut text = text.to_owned();
    for (name, value) in kept {
        text = text.replace(&format!("<{name}>"), value);
    }
    while let Some(at) = text.find('«') {
        let end = at + text[at..].find('»').expect("a repetition ends");
        let (unit, times) =
            text[at + '«'.len_utf8()..end].split_once('*').expect("a repetition says how often");
        let repeated = unit.repeat(times.parse().expect("a number"));
        text.replace_range(at..end + '»'.len_utf8(), &repeated);
    }
    text
}

fn read_request(api: &TestApi, text: &str) -> Request<Body> {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let (method, uri) = first.split_once(' ').expect("a method and a path");
    let mut headers: Vec<(String, String)> = vec![
        ("authorization".into(), format!("Bearer {}", api.token)),
        ("content-type".into(), "application/json".into()),
    ];
    let mut body: Vec<&str> = Vec::new();
    for line in rest.lines() {
        match line.split_once(": ").or_else(|| line.strip_suffix(':').map(|name| (name, ""))) {
            Some((name, value)) if body.is_empty() && is_name(name) => {
                headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
                headers.push((name.to_lowercase(), value.to_owned()));
            }
            _ => body.push(line.strip_prefix('|').unwrap_or(line)),
        }
    }
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        request = request.header(name, value);
    }
    request.body(Body::from(body.join("\n"))).expect("a request")
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

fn check(request: &str, answer: &Answer, expected: &str, kept: &mut HashMap<String, String>) {
    let shown = String::from_utf8_lossy(&answer.body);
    let shown: String = shown.chars().take(2_000).collect();
    let request: String = request.chars().take(400).collect();
    let told = || format!("{request}\n--- answered {}\n{shown}", answer.status);
    let mut lines = expected.lines();
    let status = lines.next().expect("a status");
    assert_eq!(answer.status.as_str(), status, "{}", told());
    let mut body: Vec<&str> = Vec::new();
    for line in lines {
        match line.split_once(": ") {
            Some((name, value)) if body.is_empty() && is_name(name) => {
                let found = answer.headers.get(name).and_then(|found| found.to_str().ok());
                assert_eq!(found, Some(value), "{name}: {}", told());
            }
            _ => body.push(line),
        }
    }
    let body = filled(body.join("\n").trim(), &HashMap::new());
    let kind = answer.headers.get("content-type").and_then(|kind| kind.to_str().ok());
    if answer.status.as_u16() >= 400 {
        assert_eq!(kind, Some("application/problem+json"), "{}", told());
    }
    if body.is_empty() {
        return;
    }
    if kind.is_some_and(|kind| !kind.contains("json")) {
        assert_eq!(shown.trim(), body, "{}", told());
        return;
    }
    let expected: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e} in {body}"));
    if let Err(difference) = compare(&answer.json(), &expected, "", kept) {
        panic!("{difference}\n{}", told());
    }
}

/// Whether an answer is what was expected; else where the first difference is.
fn compare(
    found: &Value,
    expected: &Value,
    path: &str,
    kept: &mut HashMap<String, String>,
) -> Result<(), String> {
    match (found, expected) {
        (found, Value::String(text)) if text.starts_with('<') && text.ends_with('>') => {
            let name = text[1..text.len() - 1].to_owned();
            let value = match found {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let before = kept.get(&name).filter(|_| name != "any");
            match before {
                Some(before) if *before != value => {
                    Err(format!("at {path}: {value} is not {name}, which is {before}"))
                }
                _ => {
                    kept.insert(name, value);
                    Ok(())
                }
            }
        }
        (Value::Object(found), Value::Object(expected)) => {
            for (name, value) in expected {
                let Some(there) = found.get(name) else {
                    return Err(format!("at {path}: {name} is missing"));
                };
                compare(there, value, &format!("{path}.{name}"), kept)?;
            }
            Ok(())
        }
        (Value::Array(found), Value::Array(expected)) if found.len() == expected.len() => {
            for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
                compare(found, expected, &format!("{path}[{at}]"), kept)?;
            }
            Ok(())
        }
        (found, expected) if found == expected => Ok(()),
        (found, expected) => Err(format!("at {path}: found {found}, expected {expected}")),
    }
}
