//! `tidings user`: let somebody sign in to the console.

use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use tidings_engine::accounts::{self, totp};

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
        /// admin, editor, viewer or a role of the workspace's own
        #[arg(long)]
        role: String,
    },
    /// Take the second factor of somebody away who lost it, and sign them out everywhere
    ResetTotp { mail: String },
}

pub async fn run(config: Config, arguments: Arguments) -> Result<ExitCode> {
    let hub = serve::open(&config).await?;
    let (mail, workspace, role) = match arguments.command {
        Command::Create { mail, workspace, role } => (mail, workspace, role),
        Command::ResetTotp { mail } => {
            totp::reset(&hub, &mail).await?;
            eprintln!("{mail} signs in without a code until they set one up again");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let ctx = hub.ctx_by_slug(&workspace).await?;
    let made = accounts::create_user(&ctx, &mail, &role, given_password()?).await?;
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
