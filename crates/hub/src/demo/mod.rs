//! The demo: invented customers, a campaign, and a mailbox that takes in what it sends.

pub mod mailbox;
mod people;
mod seed;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use tidings_engine::{Ctx, Hub, segments};

const NAME: &str = "Harbour & Hearth";

/// The demo's workspace; made on the first start.
pub async fn workspace(hub: &Arc<Hub>) -> Result<Ctx> {
    let workspace = match hub.store.workspace_by_slug("harbour-hearth").await {
        Ok(workspace) => workspace,
        Err(tidings_store::Error::NotFound(_)) => {
            let made = hub.store.create_workspace(NAME, "Europe/Amsterdam", false).await;
            made.context("make the demo's workspace")?
        }
        Err(other) => return Err(other).context("open the demo's workspace"),
    };
    Ok(hub.ctx(workspace.row.id).await?)
}

/// Fills the workspace, step by step, each only where it has not been done: a demo that was stopped
/// half-way goes on.
pub async fn fill(ctx: &Ctx) -> Result<()> {
    if ctx.workspace.fresh_schema().await?.table("orders").is_none() {
        seed::schema(ctx).await?;
    }
    if ctx.workspace.count_customers(("true".to_owned(), Vec::new())).await?.1
        < i64::try_from(seed::CUSTOMERS)?
    {
        seed::customers(ctx).await?;
    }
    if segments::list(ctx).await?.is_empty() {
        seed::campaign(ctx).await?;
    }
    Ok(())
}
