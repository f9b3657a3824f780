//! `tidings user create`: let somebody sign in to the console.

use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use tidings_engine::accounts::{self, Role};

use crate::config::Config;
use crate::serve;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make a user; the password is read from standard input, or made up and printed
    Create {
        mail: String,
        #[arg(long)]
        workspace: String,
        /// admin, editor or viewer
        #[arg(long)]
        role: String,
    },
}

pub async fn run(config: Config, arguments: Arguments) -> Result<ExitCode> {
    let Command::Create { mail, workspace, role } = arguments.command;
    let hub = serve::open(&config).await?;
    let ctx = hub.ctx_by_slug(&workspace).await?;
    let made = accounts::create_user(&ctx, &mail, role, given_password()?).await?;
    match made.password {
        Some(password) => println!("{password}"),
        None => eprintln!("{} is a user of {workspace}", made.info.mail),
    }
    Ok(ExitCode::SUCCESS)
}

/// A password on standard input; none on a terminal or where there is nothing.
fn given_password() -> Result<Option<String>> {
    let mut input = std::io::stdin();
    if input.is_terminal() {
        return Ok(None);
    }
    let mut text = String::new();
    input.read_to_string(&mut text).context("read the password")?;
    let text = text.trim_end_matches(['\r', '\n']);
    Ok((!text.is_empty()).then(|| text.to_owned()))
}
