//! The difference between what files ask for and what stands.

use std::collections::{HashMap, HashSet};
use std::fmt;

use tidings_domain::{CampaignId, Timestamp};
use tidings_store::definitions::{Definitions, Edits, Standing};
use uuid::Uuid;

use super::check::{self, Found};
use super::compare::{Difference, differences};
use super::edits;
use super::entry::{Entry, Kind};
use super::export;
use super::folder::{self, Folder};
use super::identify::identify;
use super::mail;
use super::refusals;
use super::target::{self, Target};
use crate::{Ctx, Result};

/// Something that stands in the way, or is worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    /// Counted from 1.
    pub line: Option<u32>,
    pub message: String,
}

impl Problem {
    pub fn new(file: &str, line: Option<u32>, message: impl Into<String>) -> Problem {
        Problem { file: file.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// What is to become of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Create,
    Change,
    /// Another name; there may be other differences too.
    Rename,
    Drop,
}

impl Action {
    pub fn name(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Change => "change",
            Action::Rename => "rename",
            Action::Drop => "drop",
        }
    }
}

/// One thing that is to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub action: Action,
    pub kind: Kind,
    pub id: Uuid,
    pub name: String,
    /// What it is called now, where that changes.
    pub old_name: Option<String>,
    /// Empty where something is dropped.
    pub file: String,
    pub differences: Vec<Difference>,
    /// What of customers is lost with it.
    pub loses: Option<String>,
}

/// A campaign that a file wants launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    pub id: CampaignId,
    pub name: String,
    pub file: String,
    /// `None` means at once.
    pub at: Option<Timestamp>,
}

/// Everything that an apply would do, and what keeps it from doing it.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What identifies the definitions that the plan was made against.
    pub fingerprint: String,
    /// What identifies the files.
    pub files: String,
    pub changes: Vec<Change>,
    pub launches: Vec<Launch>,
    pub problems: Vec<Problem>,
    pub notes: Vec<Problem>,
    /// Secrets that files name and nobody has given.
    pub missing_secrets: Vec<String>,
    pub(super) edits: Edits,
    pub(super) now: Definitions,
}

impl Plan {
    pub fn count(&self, action: Action) -> usize {
        self.changes.iter().filter(|change| change.action == action).count()
    }

    /// What would be lost.
    pub fn losses(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.loses.is_some())
    }
}

/// Everything that both sides are.
pub(super) struct Sides {
    pub now: Definitions,
    pub standing: Standing,
    pub current: Vec<Entry>,
    pub target: Target,
    pub wanted: Vec<Entry>,
}

impl Sides {
    pub fn current(&self, kind: Kind, id: Uuid) -> Option<&Entry> {
        self.current.iter().find(|one| one.kind == kind && one.id == Some(id))
    }

    /// The file that a thing was read from, or nothing.
    pub fn file(&self, kind: Kind, id: Uuid) -> String {
        self.target.places.get(&(kind, id)).map(|place| place.file.clone()).unwrap_or_default()
    }
}

/// Compares files with what stands.
pub async fn plan(ctx: &Ctx, files: &Folder) -> Result<Plan> {
    let mut plan = Plan { files: super::digest(files), ..Plan::default() };
    let zone = ctx.workspace.row.time_zone.clone();
    let read = folder::read(files, &mut plan.problems);
    if let Some(other) = read.time_zone.filter(|other| *other != zone) {
        let text = format!("the time zone is {other} here, and stays {zone} in the workspace");
        plan.notes.push(Problem::new(folder::MARK, None, text));
    }
    let (now, standing) = ctx.workspace.definitions().await?;
    let current = export::entries(&now, &HashMap::new())?;
    plan.fingerprint = folder::digest(&folder::write(&zone, &current));
    let workspace = ctx.workspace.row.id;
    let mut wanted = read.entries;
    identify(workspace, &mut wanted, &current, &mut plan.problems);
    let mut target = target::build(workspace, &now, &standing, wanted, &mut plan.problems);
    let launched: HashSet<Uuid> = standing.launched.iter().map(|one| one.id).collect();
    let (history, campaigns) = std::mem::take(&mut target.definitions.campaigns)
        .into_iter()
        .partition(|one| launched.contains(&one.id));
    target.definitions.campaigns = campaigns;
    let wanted = export::entries(&target.definitions, &target.pictures)?;
    let sides = Sides { now, standing, current, target, wanted };
    changes(&sides, &mut plan);
    refusals::refuse(ctx, &sides, history, &mut plan).await?;
    cross_check(&sides, &zone, &mut plan);
    numbers(&sides, &mut plan);
    plan.missing_secrets = mail::missing_secrets(&sides);
    plan.edits = edits::edits(&sides, &plan.changes);
    plan.now = sides.now;
    plan.problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    plan.problems.dedup();
    Ok(plan)
}

/// What is new, other, or gone.
fn changes(sides: &Sides, plan: &mut Plan) {
    for entry in &sides.wanted {
        let id = entry.id.unwrap_or_default();
        let old = sides.current(entry.kind, id);
        let mut found = old.map(|old| differences(old, entry)).unwrap_or_default();
        // Whether it is launched is no change of what it is.
        // Nor is which keys are made; those that are missing are told as secrets.
        found.retain(|one| match one {
            Difference::Field { path, .. } => path != "launch" && !path.starts_with("dkim"),
            Difference::Text { .. } => true,
        });
        let action = match old {
            None => Action::Create,
            Some(old) if old.name != entry.name => Action::Rename,
            Some(_) if !found.is_empty() => Action::Change,
            Some(_) => continue,
        };
        plan.changes.push(Change {
            action,
            kind: entry.kind,
            id,
            name: entry.name.clone(),
            old_name: old.map(|old| old.name.clone()).filter(|_| action == Action::Rename),
            file: sides.file(entry.kind, id),
            differences: found,
            loses: edits::loses(sides, entry.kind, id),
        });
    }
    for entry in &sides.current {
        let id = entry.id.unwrap_or_default();
        let is_wanted = sides.wanted.iter().any(|one| one.kind == entry.kind && one.id == entry.id);
        if is_wanted || sides.target.unread.contains(&(entry.kind, id)) {
            continue;
        }
        plan.changes.push(Change {
            action: Action::Drop,
            kind: entry.kind,
            id,
            name: entry.name.clone(),
            old_name: None,
            file: String::new(),
            differences: Vec::new(),
            loses: edits::loses(sides, entry.kind, id),
        });
    }
    plan.changes.sort_by(|a, b| (a.kind, &a.name, a.id).cmp(&(b.kind, &b.name, b.id)));
}

/// What the things say of each other. A fault that stood before in something that nobody changes is
/// no reason to refuse.
fn cross_check(sides: &Sides, zone: &str, plan: &mut Plan) {
    let before = check::check(&sides.now, zone);
    let after = check::check(&sides.target.definitions, zone);
    let is_changed = |one: &Found| {
        plan.changes.iter().any(|change| (change.kind, change.id) == (one.kind, one.id))
    };
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    for fault in after.faults {
        let problem = placed(sides, &fault);
        if before.faults.contains(&fault) && !is_changed(&fault) {
            notes.push(problem);
        } else {
            problems.push(problem);
        }
    }
    for warning in after.warnings.iter().filter(|one| !before.warnings.contains(*one)) {
        notes.push(placed(sides, warning));
    }
    plan.problems.extend(problems);
    plan.notes.extend(notes);
}

fn placed(sides: &Sides, found: &Found) -> Problem {
    let Some(place) = sides.target.places.get(&(found.kind, found.id)) else {
        return Problem::new(found.kind.name(), None, &*found.message);
    };
    if let Some((text, line)) = &found.beside {
        let stem = match found.kind {
            Kind::Template => place.file.trim_end_matches("template.toml"),
            _ => place.file.trim_end_matches("toml"),
        };
        return Problem::new(&format!("{stem}{text}"), *line, &*found.message);
    }
    let line = place.line(&found.path);
    let message = match found.path.as_str() {
        "" => found.message.clone(),
        path => format!("{path}: {}", found.message),
    };
    Problem::new(&place.file, line, message)
}

/// Says where a number is not to be had.
fn numbers(sides: &Sides, plan: &mut Plan) {
    for entry in &sides.wanted {
        let id = entry.id.unwrap_or_default();
        let Some(asked) = sides.target.asked.get(&(entry.kind, id)) else { continue };
        let text = match sides.target.fresh.get(&id) {
            Some(None) => format!("the number {asked} is taken here; it gets the next one"),
            None if entry.number != Some(*asked) => {
                format!("its number is {} here, and stays so", entry.number.unwrap_or_default())
            }
            _ => continue,
        };
        let file = sides.file(entry.kind, id);
        let line = sides.target.places.get(&(entry.kind, id)).and_then(|one| one.line("number"));
        plan.notes.push(Problem::new(&file, line, text));
    }
}
