//! Things as files of a folder, and back. What the fields of each kind mean is next door.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::entry::{Entry, Kind, Place};
use super::names::Names;
use super::plan::Problem;
use super::toml;

/// Files by their paths inside the folder, with `/` between the parts.
pub type Folder = BTreeMap<String, Vec<u8>>;

/// The file that says that a folder is one of definitions, and in which form.
pub const MARK: &str = "tidings.toml";
/// The form that this hub writes.
const FORMAT: u64 = 1;
/// The longest file of fields.
const MAX_FIELDS_BYTES: usize = 4 * 1024 * 1024;
/// The ends of files that can be ours.
pub const ENDS: [&str; 9] = ["toml", "html", "mjml", "txt", "liquid", "png", "jpg", "gif", "webp"];
/// Those of a template's texts.
const TEXT_ENDS: [&str; 3] = ["html", "mjml", "txt"];
const PICTURE_ENDS: [&str; 4] = ["png", "jpg", "gif", "webp"];

/// All things as files. They are to come in the order of their numbers.
pub fn write(time_zone: &str, entries: &[Entry]) -> Folder {
    let mut folder = Folder::new();
    let mark = json!({"format": FORMAT, "time_zone": time_zone});
    folder.insert(MARK.to_owned(), toml::write(&object(mark)).into_bytes());
    let mut names: HashMap<Kind, Names> = HashMap::new();
    for entry in entries {
        let mut fields = entry.fields.clone();
        if let Some(file) = entry.kind.only_file() {
            folder.insert(file.to_owned(), toml::write(&fields).into_bytes());
            continue;
        }
        if entry.kind != Kind::Sender {
            fields.extend(entry.id.map(|id| ("id".to_owned(), json!(id))));
            fields.extend(entry.number.map(|number| ("number".to_owned(), json!(number))));
        }
        fields.insert("name".to_owned(), json!(entry.name));
        let (kind, of_kind) = (entry.kind, names.entry(entry.kind).or_default());
        let stem =
            format!("{}/{}", kind.folder(), of_kind.give(&entry.name, entry.number, kind.name()));
        let beside = |end: &str| match kind {
            Kind::Template => format!("{stem}/{end}"),
            _ => format!("{stem}.{end}"),
        };
        let main = match kind {
            Kind::Template => "template.toml",
            _ => "toml",
        };
        folder.insert(beside(main), toml::write(&fields).into_bytes());
        for (end, text) in &entry.texts {
            folder.insert(beside(end), text.clone().into_bytes());
        }
        if let Some((end, Some(bytes))) = &entry.picture {
            folder.insert(beside(end), bytes.to_vec());
        }
    }
    folder
}

fn object(value: Json) -> Map<String, Json> {
    value.as_object().cloned().unwrap_or_default()
}

/// What identifies a state of files: the SHA-256 of their names and contents, in hexadecimal.
pub fn digest(folder: &Folder) -> String {
    let mut hash = Sha256::new();
    for (path, bytes) in folder {
        for part in [path.as_bytes(), bytes] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The files of a folder that can be ours; a read-me beside them is nobody's concern.
pub fn ours(folder: &Folder) -> Folder {
    let is_ours = |path: &str| {
        let first = path.split('/').next().unwrap_or_default();
        path == MARK || Kind::of_only_file(path).is_some() || Kind::of_folder(first).is_some()
    };
    let files = folder.iter().filter(|(path, _)| is_ours(path));
    files.map(|(path, bytes)| (path.clone(), bytes.clone())).collect()
}

/// What a folder says beside its things.
#[derive(Debug, Default)]
pub struct Read {
    pub entries: Vec<Entry>,
    pub time_zone: Option<String>,
}

/// The parts of one thing while they are gathered.
#[derive(Default)]
struct Parts {
    main: Option<String>,
    beside: Vec<(String, String)>,
}

/// Reads all things of a folder; what is wrong with single files is noted, and the others are read.
pub fn read(folder: &Folder, problems: &mut Vec<Problem>) -> Read {
    let mut found = Read::default();
    let mut things: BTreeMap<(Kind, String), Parts> = BTreeMap::new();
    if !folder.contains_key(MARK) {
        let text = "the file is missing that says that this is a folder of definitions";
        problems.push(Problem::new(MARK, None, text));
    }
    for path in folder.keys() {
        if let Err(text) = checked_path(path) {
            problems.push(Problem::new(path, None, text));
            continue;
        }
        match (path.as_str(), Kind::of_only_file(path)) {
            (MARK, _) => found.time_zone = mark(folder, problems),
            (_, Some(kind)) => found.entries.extend(only(folder, kind, path, problems)),
            _ => sort(path, &mut things, problems),
        }
    }
    for ((kind, stem), parts) in things {
        match &parts.main {
            Some(main) => found.entries.extend(thing(folder, kind, main, &parts, problems)),
            None => {
                for (_, path) in &parts.beside {
                    let main = if kind == Kind::Template { "/template.toml" } else { ".toml" };
                    let text = format!("{stem}{main} is missing, which this belongs to");
                    problems.push(Problem::new(path, None, text));
                }
            }
        }
    }
    found
}

/// A path stays inside the folder, whatever system it is unpacked on.
pub fn checked_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > 400 {
        return Err("a path has 1 to 400 bytes");
    }
    if path.chars().any(|c| c.is_control() || c == '\\' || c == ':') {
        return Err("a path has no control characters, colons or backslashes");
    }
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err("a path stays inside its folder");
    }
    Ok(())
}

/// Says which thing a file belongs to.
fn sort(path: &str, things: &mut BTreeMap<(Kind, String), Parts>, problems: &mut Vec<Problem>) {
    let Some((first, rest)) = path.split_once('/') else {
        // Read-me files and the like are nobody's concern, but what looks like ours is.
        if path.ends_with(".toml") {
            problems.push(Problem::new(path, None, "no file of this name belongs here"));
        }
        return;
    };
    let Some(kind) = Kind::of_folder(first) else {
        if path.ends_with(".toml") {
            let folders: Vec<&str> = Kind::LISTED.iter().map(|kind| kind.folder()).collect();
            let text =
                format!("{first} is no folder of definitions; there are {}", folders.join(", "));
            problems.push(Problem::new(path, None, text));
        }
        return;
    };
    let parts = match kind {
        Kind::Template => rest.split_once('/').filter(|(_, file)| !file.contains('/')),
        _ => rest.split_once('.').filter(|(stem, _)| !stem.contains('/')),
    };
    let belongs = |end: &str| match kind {
        Kind::Template => TEXT_ENDS.iter().any(|one| end.ends_with(&format!(".{one}"))),
        Kind::Block => end == "liquid",
        Kind::Image => PICTURE_ENDS.contains(&end),
        _ => false,
    };
    let main = if kind == Kind::Template { "template.toml" } else { "toml" };
    match parts {
        Some((stem, end)) if end == main => {
            things.entry((kind, format!("{first}/{stem}"))).or_default().main =
                Some(path.to_owned());
        }
        Some((stem, end)) if belongs(end) => {
            let parts = things.entry((kind, format!("{first}/{stem}"))).or_default();
            parts.beside.push((end.to_owned(), path.to_owned()));
        }
        _ => problems.push(Problem::new(path, None, "no file of this name belongs here")),
    }
}

fn text<'f>(folder: &'f Folder, path: &str, problems: &mut Vec<Problem>) -> Option<&'f str> {
    let bytes = folder.get(path)?;
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => {
            let line = bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
            let line = u32::try_from(line).ok();
            problems.push(Problem::new(path, line, "expected text in UTF-8"));
            None
        }
    }
}

fn fields(
    folder: &Folder,
    path: &str,
    problems: &mut Vec<Problem>,
) -> Option<(Map<String, Json>, Place)> {
    let text = text(folder, path, problems)?;
    if text.len() > MAX_FIELDS_BYTES {
        problems.push(Problem::new(path, None, "expected at most 4 MB"));
        return None;
    }
    match toml::read(text) {
        Ok((fields, lines)) => Some((fields, Place { file: path.to_owned(), lines })),
        Err(fault) => {
            problems.push(Problem::new(path, fault.line, fault.message));
            None
        }
    }
}

fn mark(folder: &Folder, problems: &mut Vec<Problem>) -> Option<String> {
    let (mut fields, place) = fields(folder, MARK, problems)?;
    if fields.remove("format").and_then(|one| one.as_u64()) != Some(FORMAT) {
        let text = format!("expected format = {FORMAT}, which is what this hub reads");
        problems.push(Problem::new(MARK, place.line("format"), text));
    }
    let zone = fields.remove("time_zone").and_then(|one| one.as_str().map(str::to_owned));
    for key in fields.keys() {
        problems.push(Problem::new(MARK, place.line(key), format!("unknown field {key}")));
    }
    zone
}

fn only(folder: &Folder, kind: Kind, path: &str, problems: &mut Vec<Problem>) -> Option<Entry> {
    let (fields, place) = fields(folder, path, problems)?;
    Some(Entry { place, ..Entry::new(kind, Uuid::nil(), 0, "", fields) })
}

fn thing(
    folder: &Folder,
    kind: Kind,
    main: &str,
    parts: &Parts,
    problems: &mut Vec<Problem>,
) -> Option<Entry> {
    let (mut fields, place) = fields(folder, main, problems)?;
    let faults = problems.len();
    let mut wrong = |path: &str, text: &str| {
        problems.push(Problem::new(main, place.line(path), format!("{path}: {text}")));
    };
    let id = match fields.remove("id") {
        None => None,
        Some(Json::String(text)) => {
            let id = Uuid::parse_str(&text).ok();
            if id.is_none() {
                wrong("id", "expected an id such as 0190a3c2-…, or none for something new");
            }
            id
        }
        Some(_) => {
            wrong("id", "expected a text");
            None
        }
    };
    let number = match fields.remove("number") {
        None => None,
        Some(one) => {
            let number = one.as_i64().and_then(|one| i32::try_from(one).ok());
            let number = number.filter(|number| *number > 0);
            if number.is_none() {
                wrong("number", "expected a whole number from 1 on, or none for something new");
            }
            number
        }
    };
    let name = match fields.remove("name") {
        Some(Json::String(name)) => name,
        _ => {
            wrong("name", "expected a text");
            String::new()
        }
    };
    let mut entry = Entry {
        id,
        number,
        place: place.clone(),
        ..Entry::new(kind, Uuid::nil(), 0, &name, fields)
    };
    for (end, path) in &parts.beside {
        if kind == Kind::Image {
            if entry.picture.is_some() {
                problems.push(Problem::new(path, None, "a picture has one file"));
            }
            let bytes = folder.get(path).cloned().unwrap_or_default();
            entry.picture = Some((end.clone(), Some(Arc::new(bytes))));
        } else if let Some(text) = text(folder, path, problems) {
            entry.texts.insert(end.clone(), text.to_owned());
        }
    }
    (problems.len() == faults).then_some(entry)
}
