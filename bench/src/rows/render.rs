//! The 3 KB mail, rendered on one core, beside liquidjs with the same template and data.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tidings_liquid::{Context, Rendered, Template, Value};

use crate::measure::{Goal, Row};
use crate::{Options, host, process};

/// Renders of a round on either side.
const OURS: u32 = 50_000;
const THEIRS: u32 = 10_000;

#[derive(Deserialize)]
struct Theirs {
    seconds: f64,
    renders: f64,
    output: String,
}

pub async fn rows(options: &Options) -> anyhow::Result<Vec<Row>> {
    let folder = host::root().join("bench/render");
    if !folder.join("node_modules/liquidjs").exists() {
        let folder = folder.display().to_string();
        let arguments = ["ci", "--silent", "--prefix", &folder].map(str::to_owned);
        process::run(Path::new("npm"), &arguments).await.context("install liquidjs")?;
    }
    let source = std::fs::read_to_string(folder.join("mail.liquid")).context("read template")?;
    let data = std::fs::read_to_string(folder.join("mail.json")).context("read data")?;
    let data: serde_json::Value = serde_json::from_str(&data).context("read data")?;
    let template = Template::parse(&source).map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut context = Context::new("2024-07-01T12:00:00+00:00[UTC]".parse()?);
    context.root = Value::from(&data);

    let mut row =
        Row::new("render of a 3 KB mail, one core", "liquidjs", "mails", Goal::AtLeast(7.0));
    for _ in 0..options.rounds {
        let started = Instant::now();
        for _ in 0..OURS {
            black_box(render(&template, black_box(&context))?);
        }
        let ours = f64::from(OURS) / started.elapsed().as_secs_f64();
        let theirs = liquidjs(&folder).await?;
        let own = render(&template, &context)?;
        if as_ours(&theirs.output) != own.trim_end() {
            bail!("liquidjs makes another mail of it:\n{}\nours:\n{own}", theirs.output);
        }
        row.round(ours, theirs.renders / theirs.seconds);
    }
    Ok(vec![row])
}

fn render(template: &Template, context: &Context<'_>) -> anyhow::Result<String> {
    match template.render(context) {
        Ok(Rendered::Complete(text)) => Ok(text),
        Ok(_) => bail!("the mail did not render to its end"),
        Err(error) => bail!("render the mail: {error}"),
    }
}

/// The mail of liquidjs as Shopify's Liquid, and so ours, makes it: quotes are escaped by name, and
/// a number that was multiplied by 1.0 shows that it is no integer.
fn as_ours(output: &str) -> String {
    output.replace("&#34;", "&quot;").replace(">129 EUR", ">129.0 EUR").trim_end().to_owned()
}

async fn liquidjs(folder: &Path) -> anyhow::Result<Theirs> {
    let program = folder.join("liquidjs.mjs").display().to_string();
    let said = process::run(Path::new("node"), &[program, THEIRS.to_string()]).await?;
    serde_json::from_str(&said).context("read what liquidjs said")
}
