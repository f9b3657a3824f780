//! `tidings dkim create`: make a key that signs a domain's mail, and print the DNS record for it.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use tidings_engine::senders::{self, Algorithm, Key, KeyInput};

use crate::config::Config;
use crate::serve;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make a key and print the record to publish; its private half is kept sealed and never shown
    Create {
        /// What stands after the @ of the sender's address
        domain: String,
        #[arg(long)]
        workspace: String,
        /// rsa or ed25519
        #[arg(long, default_value = "rsa")]
        algorithm: String,
        /// The name of the key in the DNS; made from the algorithm and the date unless given
        #[arg(long)]
        selector: Option<String>,
        /// Do not sign with it before it is switched on in the console or by the API
        #[arg(long)]
        inactive: bool,
    },
    /// Print the records of all keys as lines of a zone file
    List {
        #[arg(long)]
        workspace: String,
    },
}

pub async fn run(config: Config, arguments: Arguments) -> Result<ExitCode> {
    let hub = serve::open(&config).await?;
    match arguments.command {
        Command::Create { domain, workspace, algorithm, selector, inactive } => {
            let Some(algorithm) = Algorithm::parse(&algorithm) else {
                bail!("{algorithm} is no algorithm; expected rsa or ed25519");
            };
            let ctx = hub.ctx_by_slug(&workspace).await?;
            let input = KeyInput { algorithm, selector, active: !inactive };
            let made = senders::create_key(&ctx, &domain, input).await?;
            println!("name:  {}\ntype:  TXT\nvalue: {}", made.record_name, made.record_value);
            println!("\nin a zone file:\n{}", made.zone_line());
        }
        Command::List { workspace } => {
            let ctx = hub.ctx_by_slug(&workspace).await?;
            for domain in senders::list(&ctx).await? {
                for key in &domain.keys {
                    println!("{}{}", key.zone_line(), remark(key));
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn remark(key: &Key) -> &'static str {
    if key.active { "" } else { " ; does not sign" }
}
