//! `tidings restore`: an empty hub filled from an archive, on either engine.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use tidings_store::archive::{self, Restoring};

use crate::config::Config;

#[derive(Args, Debug)]
pub struct Arguments {
    /// The archive
    source: Option<PathBuf>,
    /// Put the one workspace of the archive beside those that are here; its campaigns are then paused
    #[arg(long)]
    beside: bool,
    /// Lay the big tables out in partitions (PostgreSQL only)
    #[arg(long)]
    partitioned: bool,
    /// Let a restored hub send again
    #[arg(long, conflicts_with_all = ["source", "partitioned", "beside"])]
    resume_sending: bool,
}

pub async fn run(config: Config, arguments: Arguments) -> Result<ExitCode> {
    if arguments.resume_sending {
        let hub = crate::serve::open(&config).await?;
        hub.store.system.put_setting("sending_paused", "false").await?;
        println!("sending goes on");
        return Ok(ExitCode::SUCCESS);
    }
    let source = arguments.source.context("name the archive to restore")?;
    // On PostgreSQL too: the master key is put there.
    config.make_data_dir()?;
    let how = Restoring {
        files: Some(config.data_dir.join("blobs")),
        partitioned: arguments.partitioned.then_some(true),
    };
    if arguments.beside {
        let done = archive::restore_beside(&config.home(), &source, how, super::backup::progress)
            .await
            .with_context(|| format!("restore {}", source.display()))?;
        println!("{} rows of {} tables; its campaigns are paused", done.rows, done.tables);
        return Ok(ExitCode::SUCCESS);
    }
    let done = archive::restore(&config.home(), &source, how, super::backup::progress)
        .await
        .with_context(|| format!("restore {}", source.display()))?;
    println!("{} rows of {} tables in {} workspaces", done.rows, done.tables, done.workspaces);
    println!("sending is paused; `tidings restore --resume-sending` lets it go on");
    Ok(ExitCode::SUCCESS)
}
