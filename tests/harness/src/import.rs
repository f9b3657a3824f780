//! A generated file of customers with everything that happens in real ones, the truth about what
//! must become of it, and the comparison of the two.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::api::Api;
use crate::world::World;

/// A customer as the file's last word on it has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub email: String,
    pub name: String,
    pub score: i64,
    pub joined: String,
}

/// What must become of a file.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// By external id.
    pub people: HashMap<String, Person>,
    pub created: u64,
    pub updated: u64,
    pub unchanged: u64,
    /// Rows, counted from 1, with the code of their refusal.
    pub refused: BTreeMap<u64, &'static str>,
}

impl Truth {
    pub fn rows(&self) -> u64 {
        self.created + self.updated + self.unchanged + self.refused.len() as u64
    }
}

/// A file of so many rows: new customers, repeated ones with and without news, and rows that must
/// be refused.
pub fn generate(random: &mut StdRng, rows: u64) -> (Vec<u8>, Truth) {
    let mut text = String::from("Customer number,E-mail,Name,Score,Joined\n");
    let mut truth = Truth::default();
    let mut ids: Vec<String> = Vec::new();
    for row in 1..=rows {
        let roll = random.random_range(0..1_000);
        if roll < 15 {
            let (line, code) = bad_row(row, roll);
            text.push_str(&line);
            truth.refused.insert(row, code);
            continue;
        }
        if roll < 75 && !ids.is_empty() {
            let id = ids[random.random_range(0..ids.len())].clone();
            let person = truth.people.get_mut(&id).expect("a person of the file");
            if roll < 45 {
                person.score += 1;
                truth.updated += 1;
            } else {
                truth.unchanged += 1;
            }
            write_row(&mut text, &id, person);
            continue;
        }
        let id = format!("k{row}");
        let person = Person {
            email: format!("k{row}@mail.example"),
            name: format!("Ann \"{row}\", of Bath"),
            score: random.random_range(0..1_000),
            joined: format!("20{:02}-{:02}-{:02}", row % 26, row % 12 + 1, row % 28 + 1),
        };
        write_row(&mut text, &id, &person);
        truth.people.insert(id.clone(), person);
        truth.created += 1;
        ids.push(id);
    }
    (text.into_bytes(), truth)
}

fn bad_row(row: u64, roll: u64) -> (String, &'static str) {
    match roll % 3 {
        0 => (format!("b{row},not an address,Bad,1,2020-01-01\n"), "invalid_email"),
        1 => (format!("b{row},b{row}@mail.example,Bad,many,2020-01-01\n"), "invalid_value"),
        _ => (format!("b{row},b{row}@mail.example,Bad,1,2020-01-01,more\n"), "too_many_columns"),
    }
}

fn write_row(text: &mut String, id: &str, person: &Person) {
    let name = person.name.replace('"', "\"\"");
    let Person { email, score, joined, .. } = person;
    let written = writeln!(text, "{id},{email},\"{name}\",{score},{joined}");
    written.expect("a string takes everything");
}

/// Uploads a file and starts it; gives the import's address in the API.
pub async fn start(world: &World, file: Vec<u8>) -> String {
    let api = world.api();
    let import = api.upload("/v1/imports?filename=people.csv", file).await;
    let path = format!("/v1/imports/{}", import["id"].as_str().expect("the import's id"));
    let columns = [
        ("Customer number", "external_id"),
        ("E-mail", "email"),
        ("Name", "name"),
        ("Score", "score"),
        ("Joined", "joined"),
    ];
    let columns: Vec<Value> =
        columns.iter().map(|(column, to)| json!({"column": column, "to": to})).collect();
    let mapping = json!({"columns": columns, "mode": "upsert", "match": "external_id"});
    api.patch(&path, json!({"mapping": mapping})).await;
    api.post(&format!("{path}/start"), json!({})).await;
    path
}

/// Where an import stands.
#[derive(Clone, Debug)]
pub struct Standing {
    pub state: String,
    pub rows: u64,
}

impl Standing {
    pub async fn of(api: &Api, path: &str) -> Standing {
        let import = api.get(path).await;
        Standing {
            state: import["state"].as_str().unwrap_or_default().to_owned(),
            rows: import["rows"]["read"].as_u64().unwrap_or_default(),
        }
    }

    pub fn is_over(&self) -> bool {
        ["done", "failed", "cancelled"].contains(&self.state.as_str())
    }
}

/// Everything about an import that is not as it must be, one line each.
pub async fn violations(api: &Api, path: &str, truth: &Truth) -> Vec<String> {
    let mut found = Vec::new();
    let import = api.get(path).await;
    if import["state"] != "done" {
        found.push(format!("the import is {} ({})", import["state"], import["error"]));
    }
    let refused = truth.refused.len() as u64;
    for (name, expected) in [
        ("read", truth.rows()),
        ("created", truth.created),
        ("updated", truth.updated),
        ("unchanged", truth.unchanged),
        ("refused", refused),
    ] {
        if import["rows"][name] != expected {
            found.push(format!("report: {} {name}, not {expected}", import["rows"][name]));
        }
    }
    compare_refusals(api, path, truth, &mut found).await;
    compare_people(api, truth, &mut found).await;
    found
}

async fn compare_refusals(api: &Api, path: &str, truth: &Truth, found: &mut Vec<String>) {
    let listed = api.all(&format!("{path}/refusals")).await;
    let mut seen = HashSet::new();
    for one in &listed {
        let row = one["row"].as_u64().unwrap_or_default();
        if !seen.insert(row) {
            found.push(format!("row {row} was refused twice"));
        }
        match truth.refused.get(&row) {
            None => found.push(format!("row {row} was refused without cause: {one}")),
            Some(code) if one["code"] != *code => {
                found.push(format!("row {row} was refused as {}, not {code}", one["code"]));
            }
            Some(_) => {}
        }
    }
    for row in truth.refused.keys().filter(|row| !seen.contains(row)) {
        found.push(format!("row {row} is missing among the refused"));
    }
}

async fn compare_people(api: &Api, truth: &Truth, found: &mut Vec<String>) {
    let mut seen = HashSet::new();
    let mut emails = HashSet::new();
    for customer in api.all("/v1/customers").await {
        let id = customer["external_id"].as_str().unwrap_or_default().to_owned();
        let attributes = &customer["attributes"];
        let person = Person {
            email: customer["email"].as_str().unwrap_or_default().to_owned(),
            name: attributes["name"].as_str().unwrap_or_default().to_owned(),
            score: attributes["score"].as_i64().unwrap_or(i64::MIN),
            joined: attributes["joined"].as_str().unwrap_or_default().to_owned(),
        };
        if !person.email.is_empty() && !emails.insert(person.email.clone()) {
            found.push(format!("two customers have {}", person.email));
        }
        match truth.people.get(&id) {
            None => found.push(format!("customer {id} is not in the file: {person:?}")),
            Some(expected) if *expected != person => {
                found.push(format!("customer {id} is {person:?}, not {expected:?}"));
            }
            Some(_) => {}
        }
        if !seen.insert(id.clone()) {
            found.push(format!("customer {id} is there twice"));
        }
    }
    let lost = truth.people.keys().filter(|id| !seen.contains(*id)).count();
    if lost > 0 {
        found.push(format!("{lost} customers of the file are missing"));
    }
}

/// The first lines of many.
pub fn shown(violations: &[String]) -> String {
    let first = violations.iter().take(12).map(|line| format!("\n  {line}")).collect::<String>();
    format!("{} violations:{first}", violations.len())
}
