//! `tidings backup`: everything into one archive, also while the hub runs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use tidings_store::Store;
use tidings_store::archive::{self, Progress};

use crate::config::Config;

#[derive(Args, Debug)]
pub struct Arguments {
    /// The archive to write; one that is there is replaced once the new one is whole
    target: PathBuf,
    /// This workspace alone, with its people, roles, tokens and files
    #[arg(long)]
    workspace: Option<String>,
}

pub async fn run(config: Config, arguments: Arguments) -> Result<ExitCode> {
    let store = Store::open(&config.home()).await.context("open the store")?;
    let blobs = config.data_dir.join("blobs");
    let files = blobs.is_dir().then_some(blobs);
    let (target, files) = (&arguments.target, files.as_deref());
    let done = match &arguments.workspace {
        Some(slug) => {
            let number = store.workspace_by_slug(slug).await?.row.number;
            archive::backup_workspace(&store, number, target, files, progress).await
        }
        None => archive::backup(&store, target, files, progress).await,
    };
    let done = done.with_context(|| format!("write {}", arguments.target.display()))?;
    println!(
        "{} rows of {} tables in {} workspaces, {} files",
        done.rows, done.tables, done.workspaces, done.files
    );
    Ok(ExitCode::SUCCESS)
}

/// One line a table on a terminal's error stream; the figures grow in place.
pub fn progress(progress: &Progress) {
    use std::io::IsTerminal as _;
    if std::io::stderr().is_terminal() {
        let Progress { step, database, table, rows } = progress;
        eprint!("\r\x1b[2K{step} {database} {table} {rows}");
    }
}
