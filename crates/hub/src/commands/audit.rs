//! `tidings audit verify`: whether a workspace's audit log is as it was written.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use tidings_engine::audit;

use crate::config::Config;
use crate::serve;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Read the whole log; exit with 1 where an entry was changed, removed or put in between
    Verify {
        #[arg(long)]
        workspace: String,
        /// What an earlier run printed as the head; shows whether the end was cut off since
        #[arg(long)]
        head: Option<String>,
    },
}

pub async fn run(config: Config, arguments: Arguments) -> Result<ExitCode> {
    let Command::Verify { workspace, head } = arguments.command;
    let hub = serve::open(&config).await?;
    let ctx = hub.ctx_by_slug(&workspace).await?;
    let checked = match &head {
        Some(head) => audit::check_with(&ctx, head).await?,
        None => audit::check(&ctx).await?,
    };
    if let Some((number, reason)) = checked.fault {
        eprintln!("entry {number}: {reason}");
        eprintln!("{} entries before it are as they were written", checked.entries);
        return Ok(ExitCode::FAILURE);
    }
    println!("{} entries are as they were written", checked.entries);
    if checked.entries > 0 {
        println!("head {}:{}", checked.entries, checked.head);
    }
    Ok(ExitCode::SUCCESS)
}
