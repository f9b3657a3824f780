//! A workspace as text: everything that a user defines as files of one folder, what a folder would
//! change, and the change itself.
//!
//! `Folder` is files by their paths; where they come from (a disk, a request, the program itself) is
//! nobody's concern here but `disk`'s. On the way out, definitions become things with fields
//! (`export`) and those become files (`folder`, `toml`, `names`). On the way in, files become
//! things, things become definitions (`target`), and those are compared with what stands (`plan`),
//! held against each other (`check`) and against what is in use (`refusals`). What is to be done goes
//! to the store as one transaction, which refuses where anything defined has moved meanwhile.

mod bodies;
mod check;
mod compare;
mod content;
pub mod disk;
mod edits;
mod entry;
mod export;
mod folder;
mod identify;
mod mail;
mod names;
mod numbers;
mod plan;
mod refusals;
mod target;
mod toml;

use std::collections::HashMap;
use std::sync::Arc;

pub use compare::Difference;
pub use entry::Kind;
pub use folder::{Folder, MARK, checked_path};
pub use plan::{Action, Change, Launch, Plan, Problem, plan};

use crate::{Ctx, Error, Fault, Result, campaigns};

/// Everything that is defined, as files.
pub async fn export(ctx: &Ctx) -> Result<Folder> {
    let (now, _) = ctx.workspace.definitions().await?;
    let mut pictures = HashMap::new();
    for image in &now.images {
        let bytes = ctx.workspace.picture(&image.value.secret).await?;
        pictures.insert(image.id, Arc::new(bytes));
    }
    let entries = export::entries(&now, &pictures)?;
    Ok(folder::write(&ctx.workspace.row.time_zone, &entries))
}

/// What identifies files as a plan does.
pub fn digest(files: &Folder) -> String {
    folder::digest(&folder::ours(files))
}

/// What whoever applies has agreed to.
#[derive(Clone, Debug, Default)]
pub struct Agreed {
    /// The fingerprints of the workspace and of the files that a plan was made of; without one,
    /// whatever the files ask for now.
    pub plan: Option<Fingerprints>,
    /// To lose what customers' values and lists the changes lose.
    pub data_loss: bool,
    /// To launch the campaigns that files want launched.
    pub launch: bool,
}

/// What a plan was made of.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fingerprints {
    pub workspace: String,
    pub files: String,
}

/// What an apply did.
#[derive(Debug)]
pub struct Applied {
    /// What it went by; its changes are made.
    pub plan: Plan,
    pub launched: Vec<Launch>,
}

/// Makes what files ask for, in one transaction; then launches what is to be launched, where that is
/// agreed to. Where everything is as the files say, it does nothing.
///
/// # Errors
/// `Invalid` for what is wrong with the files; `Conflict` where the workspace or the files are not
/// those of the plan, where data would be lost, and where something is in use. Nothing is changed
/// then. A launch that fails leaves the changes, and a second apply goes on with the launches.
pub async fn apply(ctx: &Ctx, files: &Folder, agreed: &Agreed) -> Result<Applied> {
    let plan = plan(ctx, files).await?;
    if !plan.problems.is_empty() {
        let fault = |one: &Problem| Fault::new("", "invalid", one.to_string());
        return Err(Error::Invalid(plan.problems.iter().map(fault).collect()));
    }
    let launches = if agreed.launch { plan.launches.clone() } else { Vec::new() };
    if plan.changes.is_empty() && launches.is_empty() {
        return Ok(Applied { plan, launched: launches });
    }
    if let Some(planned) = &agreed.plan {
        if planned.workspace != plan.fingerprint {
            let text = "the workspace has changed since the plan was made; plan again";
            return Err(Error::Conflict(text.to_owned()));
        }
        if planned.files != plan.files {
            let text = "the files have changed since the plan was made; plan again";
            return Err(Error::Conflict(text.to_owned()));
        }
    }
    if !agreed.data_loss {
        let lost: Vec<String> = plan.losses().map(lost).collect();
        if !lost.is_empty() {
            let text = format!("data would be lost, which nobody agreed to: {}", lost.join("; "));
            return Err(Error::Conflict(text));
        }
    }
    if !plan.changes.is_empty() {
        make(ctx, &plan).await?;
    }
    for launch in &launches {
        let done = campaigns::launch(ctx, launch.id, launch.at).await;
        done.map_err(|error| {
            let name = &launch.name;
            Error::Conflict(format!("the changes are made, and {name} was not launched: {error}"))
        })?;
    }
    Ok(Applied { plan, launched: launches })
}

fn lost(change: &Change) -> String {
    let what = change.loses.as_deref().unwrap_or_default();
    format!("{} {}: {what}", change.kind.name(), change.name)
}

async fn make(ctx: &Ctx, plan: &Plan) -> Result<()> {
    let (now, edits) = (Arc::new(plan.now.clone()), Arc::new(plan.edits.clone()));
    ctx.workspace.edit_definitions(now, edits, ctx.now()).await?;
    // New rules are to be evaluated.
    ctx.wake();
    Ok(())
}
