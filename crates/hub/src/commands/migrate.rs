//! `tidings migrate`: bring the system database and every workspace up to this version.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::config::Config;
use crate::serve;

pub async fn run(config: Config) -> Result<ExitCode> {
    let hub = serve::open(&config).await?;
    for row in hub.store.system.workspaces().await? {
        // Opening a workspace applies what it lacks.
        hub.store.workspace(row.id).await.with_context(|| format!("migrate {}", row.slug))?;
        eprintln!("{} is up to date", row.slug);
    }
    Ok(ExitCode::SUCCESS)
}
