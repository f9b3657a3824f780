//! What people give a hub to keep: uploads, mappings, templates, and folders of definitions.

use std::collections::HashMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tidings_engine::definitions::{self, Folder};
use tidings_engine::imports::{self, Mapping, Upload, trial};
use tidings_engine::messages::{Compiled, Data};
use tidings_engine::{Error, checks};
use tidings_liquid::Value;
use tidings_store::templates::{Format, TemplateDraft};
use tidings_testkit::hub::{Engine, TestHub};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::text;
use crate::corpus::{self, bytes};
use crate::{Feed, Target};

pub fn targets() -> Vec<Target> {
    vec![
        Target { name: "uploads", short: 120, open: uploads, seeds: upload_seeds },
        Target { name: "mappings", short: 1_200, open: mappings, seeds: mapping_seeds },
        Target { name: "templates", short: 2_000, open: saved_templates, seeds: template_seeds },
        Target { name: "definitions", short: 250, open: definitions, seeds: definition_seeds },
    ]
}

pub fn hub() -> (Runtime, TestHub) {
    let runtime = Runtime::new().expect("a runtime");
    let hub = runtime.block_on(TestHub::on(Engine::Sqlite));
    (runtime, hub)
}

/// The whole hub, so that a closure keeps its folder too and not only the field it uses.
pub fn kept(test: &TestHub) -> &TestHub {
    test
}

/// A refusal is an answer; a fault of ours is none.
#[track_caller]
fn refused<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::Invalid(faults)) => {
            assert!(!faults.is_empty(), "a refusal says why");
            None
        }
        Err(error @ (Error::Internal(_) | Error::Unavailable(_))) => panic!("{error}"),
        Err(_) => None,
    }
}

/// A file in any form is taken as a draft, looked at and tried, or refused with a reason.
fn uploads() -> Feed {
    let (runtime, test) = hub();
    Box::new(move |input: &[u8]| {
        let ctx = &kept(&test).ctx;
        runtime.block_on(async {
            let upload = Upload { filename: "people.csv".to_owned(), ..Upload::default() };
            let Some(draft) = refused(imports::create(ctx, upload, input).await) else { return };
            let id = draft.row.id;
            refused(imports::preview(ctx, id, None).await);
            if refused(trial::start(ctx, id).await).is_some() {
                let (_keep, stop) = watch::channel(false);
                let tried = imports::try_here(ctx, id, &stop).await.expect("run the trial");
                let rows = tried.trial.expect("it was tried").rows;
                assert_eq!(rows.read, rows.create + rows.update + rows.unchanged + rows.refuse);
            }
            refused(imports::cancel(ctx, id).await);
        });
    })
}

fn upload_seeds() -> Vec<Vec<u8>> {
    let csv =
        "customer number,email,first name,phone\n1,ann@example.com,Ann,+31201234567\n2,bob,Bob,x\n";
    let lines = "{\"email\":\"ann@example.com\",\"a\":{\"b\":[1,2]}}\n{\"email\":5}\nno\n";
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    gzip.write_all(csv.as_bytes()).expect("write to memory");
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("people.csv", options).expect("write to memory");
    zip.write_all(csv.as_bytes()).expect("write to memory");
    let mut seeds = bytes(&[csv, lines, "[{\"email\":\"ann@example.com\"}]"]);
    seeds.push(super::files::utf16(csv, u16::to_le_bytes));
    seeds.push(gzip.finish().expect("write to memory"));
    seeds.push(zip.finish().expect("write to memory").into_inner());
    seeds.extend(super::files::workbooks());
    seeds
}

/// A mapping with its transforms, on a file that is always the same.
fn mappings() -> Feed {
    let (runtime, test) = hub();
    let text =
        "email,name,day,amount\nann@example.com, Ann Berg ,31.12.2026,\"1.234,5\"\n,,,\nx,y,z,0\n";
    let upload = Upload { filename: "people.csv".to_owned(), ..Upload::default() };
    let draft = runtime.block_on(imports::create(&test.ctx, upload, text.as_bytes()));
    let id = draft.expect("a draft").row.id;
    Box::new(move |input: &[u8]| {
        let Ok(mapping) = serde_json::from_slice::<Mapping>(input) else { return };
        let written = serde_json::to_vec(&mapping).expect("a mapping is written");
        let again: Mapping = serde_json::from_slice(&written).expect("a mapping is read back");
        assert_eq!(again, mapping);
        runtime.block_on(async {
            refused(imports::preview(&kept(&test).ctx, id, Some(&mapping)).await);
        });
    })
}

fn mapping_seeds() -> Vec<Vec<u8>> {
    let step = |text: &str| {
        format!(
            "{{\"columns\":[{{\"column\":\"email\",\"to\":\"email\"}},{{\"column\":\"name\",\"to\":\"external_id\",\"transforms\":[{text}]}}]}}"
        )
    };
    let mut seeds = bytes(&[
        r#"{"columns":[{"column":0,"to":"email"},{"column":"name","to":"name","create":{"name":"name","kind":"text"}}]}"#,
        r#"{"mode":"update","match_by":"email","columns":[{"column":"email","to":"email"},{"constant":"x","to":"external_id"}]}"#,
        r#"{"columns":[{"join":{"columns":["name","day"],"with":"-"},"to":"external_id"},{"column":"email","to":"email"},{"column":"amount","to":"ignore","decimal":"comma"}]}"#,
    ]);
    // The examples of the manual hold every transform there is.
    for part in corpus::text("docs/importing.md").split("```").skip(1).step_by(2) {
        let text = part.strip_prefix("json").unwrap_or(part).trim();
        seeds.push(text.as_bytes().to_vec());
    }
    for text in [
        r#""trim","lower","upper","capitalise""#,
        r#"{"split":{"by":",","part":1}}"#,
        r#"{"default":"x"}"#,
        r#"{"lookup":{"values":{"Ann Berg":"1"},"otherwise":"refuse"}}"#,
        r#"{"pattern":{"find":"(a+)+$","replace":"$1"}}"#,
        r#"{"pattern":{"find":"^(\\w+) (\\w+)$","replace":"${2}, $1","otherwise":"keep"}}"#,
    ] {
        seeds.push(step(text).into_bytes());
    }
    seeds
}

/// A template as it is saved: compiled, looked through and rendered.
fn saved_templates() -> Feed {
    let (runtime, test) = hub();
    let schema = runtime.block_on(test.ctx.workspace.fresh_schema()).expect("the schema");
    let blocks = HashMap::from([("footer".to_owned(), "<p>{{ customer.name }}</p>".to_owned())]);
    Box::new(move |input: &[u8]| {
        kept(&test);
        let source = text(input);
        let format = if source.contains("<mjml") { Format::Mjml } else { Format::Html };
        let draft = TemplateDraft {
            name: "t".to_owned(),
            subject: source.lines().next().unwrap_or_default().to_owned(),
            html: source.to_string(),
            text: String::new(),
            format,
            ..TemplateDraft::default()
        };
        let Some(compiled) = refused(Compiled::among(&draft, &blocks)) else { return };
        let now = "2026-01-15T10:00:00+00:00[UTC]".parse().expect("a moment");
        let customer = serde_json::json!({"name": "Zo\u{eb} <b>", "email": "zoe@example.com"});
        let variables = [
            ("customer", Value::from(customer)),
            ("unsubscribe_url", Value::from("https://hub.example/t/u/x")),
        ];
        let data =
            Data { variables: &variables, dollar: Value::default(), language: None, now: &now };
        let parts = compiled.render(&data).ok();
        for finding in checks::check(&draft, &compiled, &schema, true, parts.as_ref()) {
            assert!(!finding.message.is_empty() && !finding.code.is_empty());
        }
    })
}

fn template_seeds() -> Vec<Vec<u8>> {
    let mut seeds = bytes(&[
        "Hi {{ customer.name }}\n<p>{{content_blocks.${footer}}}</p><a href=\"{{ unsubscribe_url }}\">x</a>",
        "{{${first_name} | default: 'you'}}\n<img src=\"{{ x }}\"><a href=\"https://a.example\">b</a>",
        "{% include 'footer' %}{% if customer.a > 1 %}<a href=\"\">c</a>{% endif %}",
        "s\n<mjml><mj-body><mj-section><mj-column><mj-text>Hi {{ customer.name }}</mj-text></mj-column></mj-section></mj-body></mjml>",
    ]);
    seeds.extend(
        corpus::texts("examples/shop/templates", ".html").into_iter().map(|(_, t)| t.into_bytes()),
    );
    seeds.extend(
        corpus::texts("examples/shop/templates", ".mjml").into_iter().map(|(_, t)| t.into_bytes()),
    );
    seeds
}

/// A folder in one text: each file behind a line `=== path`.
fn definitions() -> Feed {
    let (runtime, test) = hub();
    Box::new(move |input: &[u8]| {
        let source = text(input);
        let mut folder = Folder::new();
        for part in source.split("=== ").skip(1) {
            let (path, content) = part.split_once('\n').unwrap_or((part, ""));
            folder.insert(path.to_owned(), content.as_bytes().to_vec());
        }
        runtime.block_on(async {
            let Some(plan) = refused(definitions::plan(&kept(&test).ctx, &folder).await) else {
                return;
            };
            for problem in &plan.problems {
                assert!(!problem.message.is_empty());
            }
            if plan.problems.is_empty() {
                let again =
                    refused(definitions::plan(&kept(&test).ctx, &folder).await).expect("as before");
                assert_eq!(again.changes.len(), plan.changes.len());
            }
        });
    })
}

fn definition_seeds() -> Vec<Vec<u8>> {
    let root = "examples/shop";
    let mut all = String::new();
    let mut seeds = Vec::new();
    for ending in [".toml", ".html", ".mjml", ".txt"] {
        for (path, text) in corpus::texts(root, ending) {
            let (_, path) = path.split_once("examples/shop/").expect("inside of the folder");
            let file = format!("=== {path}\n{text}");
            seeds.push(format!("=== tidings.toml\nformat = 1\n{file}").into_bytes());
            all.push_str(&file);
        }
    }
    seeds.push(all.into_bytes());
    seeds
}
