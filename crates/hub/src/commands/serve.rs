//! `tidings serve`: run the hub.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::config::{Config, SAMPLE};
use crate::serve;

#[derive(Args, Debug)]
pub struct Arguments {
    /// Print a configuration file with every setting and its default
    #[arg(long)]
    print_config: bool,
}

pub async fn run(config: impl Fn() -> Result<Config>, arguments: Arguments) -> Result<ExitCode> {
    if arguments.print_config {
        print!("{SAMPLE}");
        return Ok(ExitCode::SUCCESS);
    }
    serve::start(&config()?, false).await?.until_stopped().await?;
    Ok(ExitCode::SUCCESS)
}
