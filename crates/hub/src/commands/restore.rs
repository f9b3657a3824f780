//! `tidings restore`: an empty hub filled from an archive, on either engine.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use tidings_engine::personal::again;
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
    /// The folder `erased` of the hub that made the archive: whoever was erased since then is erased
    /// from what is restored (default: that of the data folder, if any)
    #[arg(long, value_name = "DIR")]
    erased: Option<PathBuf>,
    /// Let a restored hub send again
    #[arg(long, conflicts_with_all = ["source", "partitioned", "beside", "erased"])]
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
    if let Some(lists) = &arguments.erased {
        // Before anything is restored: a start clears what a restore that was broken off behind its
        // last row left uncleared.
        again::take(lists, &config.data_dir)
            .with_context(|| format!("take the lists of the erased from {}", lists.display()))?;
    }
    let how = Restoring {
        files: Some(config.data_dir.join("blobs")),
        partitioned: arguments.partitioned.then_some(true),
    };
    if arguments.beside {
        let done = archive::restore_beside(&config.home(), &source, how, super::backup::progress)
            .await
            .with_context(|| format!("restore {}", source.display()))?;
        println!("{} rows of {} tables; its campaigns are paused", done.rows, done.tables);
        erase_again(&config).await;
        return Ok(ExitCode::SUCCESS);
    }
    let done = archive::restore(&config.home(), &source, how, super::backup::progress)
        .await
        .with_context(|| format!("restore {}", source.display()))?;
    println!("{} rows of {} tables in {} workspaces", done.rows, done.tables, done.workspaces);
    erase_again(&config).await;
    println!("sending is paused; `tidings restore --resume-sending` lets it go on");
    Ok(ExitCode::SUCCESS)
}

/// Clears what was restored of whom the lists name. Without the master key, which may come along
/// later, it is left to the next start.
async fn erase_again(config: &Config) {
    if !again::folder(&config.data_dir).exists() {
        return;
    }
    let done =
        async { again::erase_again(&crate::serve::open(config).await?).await.context("erase") };
    match done.await {
        Ok(0) => {}
        Ok(erased) => {
            println!("{erased} who were erased since the archive was made are erased again")
        }
        Err(error) => println!(
            "the next start erases again whoever was erased since the archive was made: {error:#}"
        ),
    }
}
