//! `tidings render`: a template and data in, the result out.

use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Map, Value as Json, json};
use tidings_engine::messages::mjml::{self, Prepared};
use tidings_liquid::{Context, DEFAULT_TIME, Escape, Opaque, Rendered, Template, Value, deadline};

#[derive(Args, Debug)]
pub struct Arguments {
    /// The template's file
    #[arg(required_unless_present = "lines")]
    template: Option<PathBuf>,
    /// A JSON file whose fields are the variables
    #[arg(long)]
    data: Option<PathBuf>,
    /// Escape outputs for HTML
    #[arg(long)]
    html: bool,
    /// Compile the result from MJML; outputs are escaped for HTML
    #[arg(long, conflicts_with_all = ["html", "lines"])]
    mjml: bool,
    /// One JSON {"template", "data", "templates"} a line in, one {"output"} or {"error"} a line out
    #[arg(long, conflicts_with_all = ["template", "data"])]
    lines: bool,
}

pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let escape = if arguments.html { Escape::Html } else { Escape::None };
    if arguments.lines {
        return lines(escape);
    }
    let path = arguments.template.context("name a template")?;
    let source =
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let data = match &arguments.data {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("read {}", path.display()))?;
            serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))?
        }
        None => Map::new(),
    };
    let result = match arguments.mjml {
        true => render_mjml(&source, data),
        false => render(&source, data, &HashMap::new(), escape),
    };
    match result {
        Ok(text) => {
            print!("{text}");
            Ok(ExitCode::SUCCESS)
        }
        Err(fault) => {
            eprintln!("{}:{fault}", path.display());
            Ok(ExitCode::FAILURE)
        }
    }
}

fn lines(escape: Escape) -> Result<ExitCode> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let line = line.context("read a line")?;
        if line.trim().is_empty() {
            continue;
        }
        let answer = match one_line(&line, escape) {
            Ok(text) => json!({"output": text}),
            Err(fault) => json!({"error": fault}),
        };
        writeln!(out, "{answer}").and_then(|()| out.flush()).context("write a line")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn one_line(line: &str, escape: Escape) -> Result<String, String> {
    let mut job: Map<String, Json> =
        serde_json::from_str(line).map_err(|error| format!("no JSON object: {error}"))?;
    let object = |value: Option<Json>| match value {
        Some(Json::Object(fields)) => fields,
        _ => Map::new(),
    };
    let Some(Json::String(source)) = job.remove("template") else {
        return Err("expected a text named template".to_owned());
    };
    let mut templates = HashMap::new();
    for (name, source) in object(job.remove("templates")) {
        let source = source.as_str().unwrap_or_default();
        let parsed = Template::parse(source).map_err(|error| format!("{name}:{error}"))?;
        templates.insert(name, Arc::new(parsed));
    }
    render(&source, object(job.remove("data")), &templates, escape)
}

/// HTML made of MJML, or `line:column: what is wrong`. It is compiled once where Liquid leaves its
/// structure alone, and from what Liquid made of it otherwise, as in a message.
fn render_mjml(source: &str, data: Map<String, Json>) -> Result<String, String> {
    Template::parse(source).map_err(|error| error.to_string())?;
    let prepared = mjml::prepare(source).map_err(|fault| {
        let (line, column) = fault.place(source);
        format!("{line}:{column}: {}", fault.message)
    })?;
    match prepared {
        Prepared::Once(html) => render(&html, data, &HashMap::new(), Escape::Html),
        Prepared::PerCustomer(_) => {
            let opaque = Opaque::default();
            let made = rendered(source, data, &HashMap::new(), Escape::Html, Some(&opaque))?;
            let html = mjml::compile(&made).map_err(|fault| fault.message)?;
            Ok(opaque.restore(&html))
        }
    }
}

/// The result, or `line:column: what is wrong`.
fn render(
    source: &str,
    data: Map<String, Json>,
    templates: &HashMap<String, Arc<Template>>,
    escape: Escape,
) -> Result<String, String> {
    rendered(source, data, templates, escape, None)
}

fn rendered(
    source: &str,
    data: Map<String, Json>,
    templates: &HashMap<String, Arc<Template>>,
    escape: Escape,
    opaque: Option<&Opaque>,
) -> Result<String, String> {
    let template = Template::parse(source).map_err(|error| error.to_string())?;
    let expired = deadline(DEFAULT_TIME);
    let find = |name: &str| templates.get(name).cloned();
    let mut context = Context::new(jiff::Zoned::now());
    context.root = Value::from(Json::Object(data));
    context.templates = Some(&find);
    context.escape = escape;
    context.opaque = opaque;
    context.expired = Some(&expired);
    match template.render(&context).map_err(|error| error.to_string())? {
        Rendered::Complete(text) => Ok(text),
        Rendered::Aborted(reason) => Err(format!("the template calls the message off: {reason}")),
        Rendered::Pending(_) => Err("connected content is not fetched by this command".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(body: &str) -> String {
        format!("<mjml>\n<mj-body>\n{body}\n</mj-body>\n</mjml>")
    }

    fn data() -> Map<String, Json> {
        let data = json!({"name": "<mj-text>", "items": [1, 2]});
        data.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn mjml_becomes_html_with_what_is_known() {
        let section =
            "<mj-section><mj-column><mj-text>Hi {{ name }}</mj-text></mj-column></mj-section>";
        let html = render_mjml(&mail(section), data()).unwrap();
        assert_eq!(html.matches("Hi &lt;mj-text&gt;").count(), 1, "{html}");
        let looped = format!("{{% for item in items %}}{section}{{% endfor %}}");
        let html = render_mjml(&mail(&looped), data()).unwrap();
        assert_eq!(html.matches("Hi &lt;mj-text&gt;").count(), 2, "{html}");
        assert!(!html.contains("tdgliq"), "{html}");
    }

    #[test]
    fn faults_of_mjml_and_of_liquid_stand_at_their_line() {
        for (body, expected) in [
            ("<mj-nope/>", "3:1: MJML has no element <mj-nope>"),
            ("<mj-raw>{{ name | nope }}</mj-raw>", "3:19: unknown filter 'nope'"),
            ("{% if name %}", "3:1: 'if' is not closed with 'endif'"),
        ] {
            assert_eq!(render_mjml(&mail(body), data()).unwrap_err(), expected);
        }
        let fault = render_mjml("<p>Hi</p>", data()).unwrap_err();
        assert!(fault.starts_with("1:1: expected <mjml>"), "{fault}");
    }
}
