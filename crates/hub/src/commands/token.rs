//! `tidings token create`: make an API token.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use tidings_engine::accounts::{self, Scope};

use crate::config::Config;
use crate::serve;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make a token and print it, once
    Create {
        #[arg(long)]
        workspace: String,
        /// What it may do, such as customers:write; all of it unless given
        #[arg(long = "scope")]
        scopes: Vec<String>,
        /// A name to know it by
        #[arg(long, default_value = "command line")]
        name: String,
    },
}

pub async fn run(config: Config, arguments: Arguments) -> Result<ExitCode> {
    let hub = serve::open(&config).await?;
    let Command::Create { workspace, mut scopes, name } = arguments.command;
    if scopes.is_empty() {
        scopes = Scope::ALL.iter().map(|scope| scope.name().to_owned()).collect();
    }
    let ctx = hub.ctx_by_slug(&workspace).await?;
    let made = accounts::create_token(&ctx, &name, &scopes).await?;
    println!("{}", made.secret);
    Ok(ExitCode::SUCCESS)
}
