//! `tidings segment count`: how many customers are in a segment or meet a rule.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use tidings_engine::segments;

use crate::config::Config;
use crate::serve;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Count the customers of a segment by its name, or of a rule as JSON
    Count {
        name_or_rule: String,
        #[arg(long)]
        workspace: String,
    },
}

pub async fn run(config: Config, arguments: Arguments) -> Result<ExitCode> {
    let Command::Count { name_or_rule, workspace } = arguments.command;
    let hub = serve::open(&config).await?;
    let ctx = hub.ctx_by_slug(&workspace).await?;
    let rule = if name_or_rule.trim_start().starts_with('{') {
        serde_json::from_str(&name_or_rule).context("read the rule as JSON")?
    } else {
        let found = segments::list(&ctx).await?.into_iter().find(|one| one.name == name_or_rule);
        match found {
            Some(segment) => segment.rule,
            None => bail!("no segment is named {name_or_rule}"),
        }
    };
    println!("{}", segments::count(&ctx, &rule).await?.count);
    Ok(ExitCode::SUCCESS)
}
