//! Which thing a file is about: that of its id, that of its name, or a new one.

use std::collections::HashMap;

use sha2::{Digest, Sha256};
use tidings_domain::WorkspaceId;
use uuid::{Builder, Uuid};

use super::entry::{Entry, Kind};
use super::export::sender_id;
use super::plan::Problem;

/// An id for something without one: always the same for the same name in the same workspace.
pub(super) fn derived(workspace: WorkspaceId, kind: &str, key: &str) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(workspace.0.as_bytes());
    hash.update(kind.as_bytes());
    hash.update([0]);
    hash.update(key.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// Gives every thing its id: its own, that of the thing of its name, or a new one.
pub fn identify(
    workspace: WorkspaceId,
    wanted: &mut [Entry],
    current: &[Entry],
    problems: &mut Vec<Problem>,
) {
    let mut claimed: HashMap<(Kind, Uuid), String> = HashMap::new();
    for entry in wanted.iter() {
        let Some(id) = entry.id else { continue };
        if let Some(other) = claimed.insert((entry.kind, id), entry.place.file.clone()) {
            let text = format!("{other} has this id too");
            problems.push(Problem::new(&entry.place.file, entry.place.line("id"), text));
        }
    }
    let mut keys: HashMap<(Kind, String), String> = HashMap::new();
    for entry in wanted.iter_mut() {
        let (kind, key) = (entry.kind, entry.key());
        if !kind.may_share_names() {
            let file = entry.place.file.clone();
            if let Some(other) = keys.insert((kind, key.clone()), file) {
                let text = format!("{other} is named {} too", entry.name);
                problems.push(Problem::new(&entry.place.file, entry.place.line("name"), text));
            }
        }
        if kind == Kind::Sender {
            if entry.id.is_some() || entry.number.is_some() {
                let text = "a sender's name is its id, and it has no number";
                problems.push(Problem::new(&entry.place.file, entry.place.line("id"), text));
            }
            entry.id = Some(sender_id(&entry.name));
        }
        if entry.id.is_none() {
            let named = |one: &&Entry| {
                let id = one.id.unwrap_or_default();
                one.kind == kind && one.key() == key && !claimed.contains_key(&(kind, id))
            };
            let found = current.iter().find(named).and_then(|one| one.id);
            let id = found.unwrap_or_else(|| derived(workspace, kind.name(), &key));
            if let Some(other) = claimed.insert((kind, id), entry.place.file.clone()) {
                let text = format!("{other} is named {} too; give both an id", entry.name);
                problems.push(Problem::new(&entry.place.file, entry.place.line("name"), text));
            }
            entry.id = Some(id);
        }
    }
}
