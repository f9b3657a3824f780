//! `tidings export`, `plan` and `apply`: a workspace as text.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use tidings_engine::definitions::{
    self, Action, Agreed, Change, Difference, Fingerprints, Plan, Problem, disk,
};
use tidings_engine::diff::Change as LineChange;
use tidings_engine::{Ctx, Error, audit};

use crate::config::Config;
use crate::serve;

/// Lines of a text that are shown around a change.
const CONTEXT: usize = 2;

#[derive(Args, Debug)]
pub struct Export {
    /// The folder to write; one that was written before is brought up to date
    dir: PathBuf,
    #[arg(long)]
    workspace: String,
}

#[derive(Args, Debug)]
pub struct MakePlan {
    /// A folder of definitions
    dir: PathBuf,
    #[arg(long)]
    workspace: String,
    /// Where the plan is kept for `apply`; without it, in the folder itself
    #[arg(long)]
    plan: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Apply {
    /// A folder of definitions
    dir: PathBuf,
    #[arg(long)]
    workspace: String,
    /// The plan that was agreed to; without it, the one in the folder, if `plan` has left one
    #[arg(long)]
    plan: Option<PathBuf>,
    /// Also drop attributes, tables and groups with what they hold, and kinds that hold less
    #[arg(long)]
    allow_data_loss: bool,
    /// Also launch campaigns whose files say so
    #[arg(long)]
    launch: bool,
}

/// A plan as it is kept between `plan` and `apply`.
#[derive(Serialize, Deserialize)]
struct Kept {
    workspace: tidings_domain::WorkspaceId,
    fingerprints: Fingerprints,
}

pub async fn export(config: Config, arguments: Export) -> Result<ExitCode> {
    let hub = serve::open(&config).await?;
    let ctx = hub.ctx_by_slug(&arguments.workspace).await?;
    let folder = definitions::export(&ctx).await?;
    disk::write(&arguments.dir, &folder)?;
    println!("{} files in {}", folder.len(), arguments.dir.display());
    Ok(ExitCode::SUCCESS)
}

pub async fn plan(config: Config, arguments: MakePlan) -> Result<ExitCode> {
    let files = disk::read(&arguments.dir)?;
    let hub = serve::open(&config).await?;
    let ctx = hub.ctx_by_slug(&arguments.workspace).await?;
    let plan = definitions::plan(&ctx, &files).await?;
    print!("{}", printable(&shown(&plan)));
    let kept = Kept { workspace: ctx.workspace.row.id, fingerprints: fingerprints(&plan) };
    let path = kept_at(&arguments.dir, arguments.plan.as_deref(), &ctx);
    let text = serde_json::to_string_pretty(&kept)?;
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    println!("The plan is in {}.", path.display());
    Ok(if plan.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn fingerprints(plan: &Plan) -> Fingerprints {
    Fingerprints { workspace: plan.fingerprint.clone(), files: plan.files.clone() }
}

/// Every workspace has its own, so that one folder may serve several.
fn kept_at(dir: &Path, given: Option<&Path>, ctx: &Ctx) -> PathBuf {
    match given {
        Some(path) => path.to_owned(),
        None => dir.join(format!(".plan-{}.json", ctx.workspace.row.slug)),
    }
}

pub async fn apply(config: Config, arguments: Apply) -> Result<ExitCode> {
    let files = disk::read(&arguments.dir)?;
    let hub = serve::open(&config).await?;
    let ctx = hub.ctx_by_slug(&arguments.workspace).await?;
    let path = kept_at(&arguments.dir, arguments.plan.as_deref(), &ctx);
    let planned = match std::fs::read(&path) {
        Ok(bytes) => {
            let kept: Kept = serde_json::from_slice(&bytes)
                .with_context(|| format!("read the plan {}", path.display()))?;
            if kept.workspace != ctx.workspace.row.id {
                bail!("the plan {} is for another workspace", path.display());
            }
            Some(kept.fingerprints)
        }
        // A plan that was asked for by name must be there.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && arguments.plan.is_none() => {
            None
        }
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let was_planned = planned.is_some();
    let agreed =
        Agreed { plan: planned, data_loss: arguments.allow_data_loss, launch: arguments.launch };
    let act = audit::act_by_command(&ctx, "definitions.apply");
    let applied = match act.run(definitions::apply(&ctx, &files, &agreed)).await {
        Ok(applied) => applied,
        Err(Error::Invalid(faults)) => {
            let lines: Vec<String> = faults.into_iter().map(|fault| fault.message).collect();
            bail!("nothing was changed:\n{}", lines.join("\n"));
        }
        Err(Error::Conflict(why)) => bail!("refused: {why}"),
        Err(other) => return Err(other.into()),
    };
    if was_planned && arguments.plan.is_none() {
        // It is done; the next plan is another one.
        std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    print!("{}", printable(&report(&applied)));
    Ok(ExitCode::SUCCESS)
}

fn report(applied: &definitions::Applied) -> String {
    let mut out = String::new();
    let plan = &applied.plan;
    for change in &plan.changes {
        let _ = writeln!(out, "{}", headline(change));
    }
    notes(&mut out, &plan.notes);
    for launch in &applied.launched {
        let _ = writeln!(out, "launched {}", launch.name);
    }
    for launch in plan.launches.iter().filter(|one| !applied.launched.contains(one)) {
        let _ = writeln!(out, "not launched, as --launch is not given: {}", launch.name);
    }
    let done = match (plan.changes.len(), applied.launched.len()) {
        (0, 0) => "Nothing to do: the workspace is as the files say.".to_owned(),
        _ => format!("Applied: {}.", counts(plan)),
    };
    let _ = writeln!(out, "{done}");
    out
}

/// Files may come from anywhere, so nothing of them steers the terminal.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() && !"\n\t".contains(c) { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

fn counts(plan: &Plan) -> String {
    let one = |action: Action, done: &str| format!("{} {done}", plan.count(action));
    [
        one(Action::Create, "to create"),
        one(Action::Change, "to change"),
        one(Action::Rename, "to rename"),
        one(Action::Drop, "to drop"),
    ]
    .join(", ")
}

fn headline(change: &Change) -> String {
    let mark = match change.action {
        Action::Create => "+",
        Action::Change => "~",
        Action::Rename => ">",
        Action::Drop => "-",
    };
    let (kind, name) = (change.kind.name(), &change.name);
    let mut line = match &change.old_name {
        Some(old) => format!("{mark} {} {kind} {old} to {name}", change.action.name()),
        None => format!("{mark} {} {kind} {name}", change.action.name()),
    };
    if !change.file.is_empty() {
        let _ = write!(line, "  ({})", change.file);
    }
    line
}

/// A plan as a person reads it.
fn shown(plan: &Plan) -> String {
    let mut out = String::new();
    for change in &plan.changes {
        let _ = writeln!(out, "{}", headline(change));
        if let Some(lost) = &change.loses {
            let _ = writeln!(out, "    loses {lost}; apply refuses without --allow-data-loss");
        }
        for difference in &change.differences {
            difference_lines(&mut out, difference);
        }
    }
    for launch in &plan.launches {
        let when = launch.at.map_or("at once".to_owned(), |at| format!("at {at}"));
        let name = &launch.name;
        let _ = writeln!(out, "! launch campaign {name} {when}; apply does so with --launch alone");
    }
    notes(&mut out, &plan.notes);
    for secret in &plan.missing_secrets {
        let _ = writeln!(out, "missing secret: {secret}");
    }
    for problem in &plan.problems {
        let _ = writeln!(out, "problem: {problem}");
    }
    match (plan.changes.is_empty(), plan.problems.len()) {
        (true, 0) => out.push_str("Nothing to do: the workspace is as the files say.\n"),
        (_, 0) => {
            let _ = writeln!(out, "{}.", counts(plan));
        }
        (_, count) => {
            let _ = writeln!(out, "{}; {count} problems, so apply refuses.", counts(plan));
        }
    }
    let _ = writeln!(out, "Made against {}.", plan.fingerprint);
    out
}

fn notes(out: &mut String, notes: &[Problem]) {
    for note in notes {
        let _ = writeln!(out, "note: {note}");
    }
}

fn difference_lines(out: &mut String, difference: &Difference) {
    match difference {
        Difference::Field { path, old, new } => {
            let side = |one: &Option<String>| one.clone().unwrap_or_else(|| "nothing".to_owned());
            let _ = writeln!(out, "    {path}: {} → {}", side(old), side(new));
        }
        Difference::Text { path, lines } => {
            let _ = writeln!(out, "    {path}:");
            let changed: Vec<usize> =
                (0..lines.len()).filter(|at| lines[*at].change != LineChange::Same).collect();
            let mut last = None;
            for (at, line) in lines.iter().enumerate() {
                let next = changed.partition_point(|other| other + CONTEXT < at);
                if changed.get(next).is_none_or(|other| other.abs_diff(at) > CONTEXT) {
                    continue;
                }
                if last.is_some_and(|last| last + 1 < at) {
                    out.push_str("      …\n");
                }
                last = Some(at);
                let mark = match line.change {
                    LineChange::Same => ' ',
                    LineChange::Removed => '-',
                    LineChange::Added => '+',
                };
                let _ = writeln!(out, "      {mark} {}", line.text);
            }
        }
    }
}
