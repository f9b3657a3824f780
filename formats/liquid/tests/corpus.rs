//! Runs the cases in `tests/corpus/*.txt`. A line is `template ==> result`, or `template !! part of
//! the error`; `\n`, `\t`, `\r` and `\\` are escapes. Lines before the cases set the scene:
//! `data: JSON`, `dollar: JSON`, `template NAME: text`, `escape: html`, `strict: true`. The files
//! `generated*.txt` come from `tests/oracle/generate.py`.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use tidings_liquid::{Context, Escape, Rendered, Template, Value};

#[derive(Default)]
struct Scene {
    data: Value,
    dollar: Value,
    templates: HashMap<String, Arc<Template>>,
    escape: Escape,
    strict: bool,
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some(other) => out.push(other),
            None => out.push('\\'),
        }
    }
    out
}

/// The result as a case writes it: the text, or `!! ` and what went wrong.
fn outcome(source: &str, scene: &Scene) -> String {
    let template = match Template::parse(source) {
        Ok(template) => template,
        Err(error) => return format!("!! {error}"),
    };
    let now = "2024-07-01T14:30:15.123456789+00:00[UTC]".parse().expect("a fixed moment");
    let find = |name: &str| scene.templates.get(name).cloned();
    let mut context = Context::new(now);
    context.root = scene.data.clone();
    context.dollar = scene.dollar.clone();
    context.templates = Some(&find);
    context.escape = scene.escape;
    context.strict = scene.strict;
    match template.render(&context) {
        Ok(Rendered::Complete(text)) => text,
        Ok(Rendered::Aborted(reason)) => format!("!! aborted: {reason}"),
        Ok(Rendered::Pending(requests)) => format!("!! pending: {}", requests[0].url),
        Err(error) => format!("!! {error}"),
    }
}

fn json(text: &str) -> Value {
    let json: serde_json::Value = serde_json::from_str(text).expect("a case file's data is JSON");
    Value::from(json)
}

/// Reads a scene line; false for a case.
fn set_scene(scene: &mut Scene, line: &str) -> bool {
    if let Some(data) = line.strip_prefix("data: ") {
        scene.data = json(data);
    } else if let Some(data) = line.strip_prefix("dollar: ") {
        scene.dollar = json(data);
    } else if let Some(rest) = line.strip_prefix("template ") {
        let (name, text) = rest.split_once(": ").expect("template NAME: text");
        let template = Template::parse(&unescape(text)).expect("a template of the scene");
        scene.templates.insert(name.into(), Arc::new(template));
    } else if let Some(escape) = line.strip_prefix("escape: ") {
        scene.escape = if escape == "html" { Escape::Html } else { Escape::None };
    } else if let Some(strict) = line.strip_prefix("strict: ") {
        scene.strict = strict == "true";
    } else {
        return false;
    }
    true
}

/// Returns how many cases the file has and what went wrong with them.
fn check_file(path: &Path) -> (usize, Vec<String>) {
    let text = fs::read_to_string(path).expect("read a case file");
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut scene = Scene::default();
    let (mut cases, mut wrong) = (0, Vec::new());
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with("# ") || set_scene(&mut scene, line) {
            continue;
        }
        cases += 1;
        let found = match line.split_once(" ==> ") {
            Some((source, expected)) => {
                let found = outcome(&unescape(source), &scene);
                (found != unescape(expected)).then_some(found)
            }
            None => {
                let (source, expected) =
                    line.split_once(" !! ").unwrap_or_else(|| panic!("no case: {line}"));
                let found = outcome(&unescape(source), &scene);
                let is_right = found.starts_with("!! ") && found.contains(expected);
                (!is_right).then_some(found)
            }
        };
        if let Some(found) = found {
            wrong.push(format!("{name}:{}: {line}\n    found {found:?}", number + 1));
        }
    }
    (cases, wrong)
}

#[test]
fn every_case_of_the_corpus_holds() {
    let folder = Path::new("tests/corpus");
    let (mut cases, mut generated, mut wrong) = (0, 0, Vec::new());
    for entry in fs::read_dir(folder).expect("read the corpus") {
        let path = entry.expect("read the corpus").path();
        let (count, mut failures) = check_file(&path);
        cases += count;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        generated += if name.starts_with("generated") { count } else { 0 };
        wrong.append(&mut failures);
    }
    println!("{cases} cases");
    assert!(wrong.is_empty(), "{} of {cases} cases:\n{}", wrong.len(), wrong.join("\n"));
    let written = cases - generated;
    assert!(written >= 1_150 && generated >= 1_150, "only {written} written, {generated} made");
}
