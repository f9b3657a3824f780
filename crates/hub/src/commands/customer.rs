//! `tidings customer export` and `erase`: everything on one person.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use tidings_engine::personal;

use crate::config::Config;
use crate::serve;

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Print everything that is known of one person, as JSON
    Export {
        /// An id, or external_id:…, email:…, phone:… or system_id:…
        customer: String,
        #[arg(long)]
        workspace: String,
    },
    /// Erase one person from everything that is kept; this cannot be taken back
    Erase {
        /// An id, or external_id:…, email:…, phone:… or system_id:…
        customer: String,
        #[arg(long)]
        workspace: String,
        /// Say that you mean it
        #[arg(long)]
        yes: bool,
    },
}

pub async fn run(config: Config, arguments: Arguments) -> Result<ExitCode> {
    let (customer, workspace, is_erasure) = match arguments.command {
        Command::Export { customer, workspace } => (customer, workspace, false),
        Command::Erase { yes: false, .. } => bail!("give --yes to erase; it cannot be taken back"),
        Command::Erase { customer, workspace, yes: true } => (customer, workspace, true),
    };
    let hub = serve::open(&config).await?;
    let ctx = hub.ctx_by_slug(&workspace).await?;
    let reference = tidings_wire_api::customer_ref(&customer)
        .with_context(|| format!("no customer is named like {customer}"))?;
    if is_erasure {
        personal::erase(&ctx, reference).await?;
        println!("erased");
    } else {
        let data = tidings_wire_api::personal_data(&ctx, reference).await?;
        println!("{}", serde_json::to_string_pretty(&data)?);
    }
    Ok(ExitCode::SUCCESS)
}
