//! `tidings workspace create`: make a workspace.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use crate::config::Config;
use crate::serve;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make a workspace and print its short name
    Create {
        name: String,
        /// For schedules, and for dates without a zone
        #[arg(long, default_value = "UTC")]
        time_zone: String,
        /// Lay its big tables out in partitions (PostgreSQL only)
        #[arg(long)]
        partitioned: bool,
    },
    /// List workspaces by their short names
    List,
}

pub async fn run(config: Config, arguments: Arguments) -> Result<ExitCode> {
    let hub = serve::open(&config).await?;
    match arguments.command {
        Command::Create { name, time_zone, partitioned } => {
            if jiff::tz::TimeZone::get(&time_zone).is_err() {
                bail!("{time_zone} is no time zone; expected one such as Europe/Amsterdam");
            }
            if partitioned && config.database_url.is_none() {
                bail!("partitions need PostgreSQL; give --database-url");
            }
            let made = hub.store.create_workspace(&name, &time_zone, partitioned).await?;
            println!("{}", made.row.slug);
        }
        Command::List => {
            for row in hub.store.system.workspaces().await? {
                println!("{}\t{}\t{}", row.slug, row.name, row.time_zone);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
