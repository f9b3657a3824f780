//! `tidings doctor`: what is wrong with this hub, or soon will be, and what to do about it.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::config::Config;
use crate::doctor::{self, Report, Wishes};

#[derive(Args, Debug)]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Do not read every page of the SQLite files, which takes long where they are large
    #[arg(long)]
    quick: bool,
    /// Connect to nothing: no relay, no tracking address
    #[arg(long)]
    offline: bool,
}

/// Exits with 0 where all is well, 1 where something is to be looked at, 2 where something is broken.
pub async fn run(config: Result<Config>, arguments: Arguments) -> Result<ExitCode> {
    let wishes = Wishes { deep: !arguments.quick, offline: arguments.offline };
    let report = match config {
        Ok(config) => doctor::examine(&config, wishes).await,
        Err(error) => {
            let mut report = Report::default();
            report.fail(
                "settings",
                format!("{error:#}"),
                "correct them; `tidings serve --print-config` shows all",
            );
            report
        }
    };
    match arguments.json {
        true => println!("{}", serde_json::to_string_pretty(&report.json())?),
        false => print!("{}", report.text()),
    }
    Ok(ExitCode::from(report.exit_code()))
}
