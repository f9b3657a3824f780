//! A folder on disk: read with suspicion, since it may come from anywhere, and written so that a
//! crash leaves whole files.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

use super::entry::Kind;
use super::folder::{self, Folder, MARK};
use crate::{Error, Result};

const MAX_FILES: usize = 20_000;
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;
const MAX_TOTAL_BYTES: u64 = 256 * 1024 * 1024;
/// The folder of a template stands in that of all templates.
const MAX_DEPTH: usize = 3;

fn failed(step: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::invalid("", format!("{step} {}: {error}", path.display()))
}

fn refused(path: &Path, why: &str) -> Error {
    Error::invalid("", format!("{}: {why}", path.display()))
}

/// Reads a folder. Whatever begins with a dot is left alone, and so are folders that are not ours.
///
/// # Errors
/// Links, devices, names that are no UTF-8, and more than a folder of definitions ever has.
pub fn read(root: &Path) -> Result<Folder> {
    let mut reading = Reading { folder: Folder::new(), total: 0 };
    if !root.is_dir() {
        return Err(refused(root, "there is no such folder"));
    }
    reading.folder_at(root, "", 0)?;
    Ok(reading.folder)
}

struct Reading {
    folder: Folder,
    total: u64,
}

impl Reading {
    fn folder_at(&mut self, at: &Path, inside: &str, depth: usize) -> Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(at).map_err(|error| failed("read", at, &error))? {
            entries.push(entry.map_err(|error| failed("read", at, &error))?);
        }
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let name = name.to_str().ok_or_else(|| refused(&path, "its name is not in UTF-8"))?;
            let kind = entry.file_type().map_err(|error| failed("read", &path, &error))?;
            let inside =
                if inside.is_empty() { name.to_owned() } else { format!("{inside}/{name}") };
            if kind.is_symlink() {
                return Err(refused(&path, "links are not followed; put the file itself here"));
            }
            if kind.is_dir() {
                if depth + 1 >= MAX_DEPTH {
                    return Err(refused(&path, "folders are not so deep here"));
                }
                // A folder that is nobody's is looked into one step, for what may be misspelt.
                let is_ours = depth > 0 || Kind::of_folder(name).is_some();
                if is_ours || holds_fields(&path) {
                    self.folder_at(&path, &inside, depth + 1)?;
                }
            } else if kind.is_file() {
                self.file(&path, inside)?;
            } else {
                return Err(refused(&path, "expected a plain file"));
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, inside: String) -> Result<()> {
        let file = fs::File::open(path).map_err(|error| failed("read", path, &error))?;
        let mut bytes = Vec::new();
        let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| failed("read", path, &error))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(refused(path, "a file here has at most 8 MB"));
        }
        self.total += bytes.len() as u64;
        if self.total > MAX_TOTAL_BYTES || self.folder.len() >= MAX_FILES {
            return Err(refused(path, "the folder has more than 20,000 files or 256 MB"));
        }
        self.folder.insert(inside, bytes);
        Ok(())
    }
}

fn holds_fields(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.path().extension().is_some_and(|end| end == "toml"))
}

/// Writes a folder in the place of what was written before: each file beside itself first, and what
/// no thing has any more is removed. Other files stay.
///
/// # Errors
/// A folder with files in it that is no folder of definitions is left alone.
pub fn write(root: &Path, folder: &Folder) -> Result<()> {
    fs::create_dir_all(root).map_err(|error| failed("make", root, &error))?;
    let mut inside = fs::read_dir(root).map_err(|error| failed("read", root, &error))?;
    let is_hidden = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b".");
    let is_empty = !inside.any(|entry| entry.is_ok_and(|entry| !is_hidden(&entry)));
    if !is_empty && !root.join(MARK).is_file() {
        let why = format!("it is not empty, and no {MARK} says that it holds definitions");
        return Err(refused(root, &why));
    }
    let before = read(root)?;
    for (path, bytes) in folder {
        if before.get(path) != Some(bytes) {
            write_file(root, path, bytes)?;
        }
    }
    for path in before.keys().filter(|path| !folder.contains_key(*path)) {
        let end = path.rsplit('.').next().unwrap_or_default();
        let is_inside = path.split_once('/').is_some_and(|(one, _)| Kind::of_folder(one).is_some());
        let is_ours =
            Kind::of_only_file(path).is_some() || (is_inside && folder::ENDS.contains(&end));
        if is_ours {
            let path = root.join(path);
            fs::remove_file(&path).map_err(|error| failed("remove", &path, &error))?;
            // Only an empty one goes.
            let _ = path.parent().map(fs::remove_dir);
        }
    }
    Ok(())
}

fn write_file(root: &Path, inside: &str, bytes: &[u8]) -> Result<()> {
    let path = root.join(inside);
    let parent = path.parent().unwrap_or(root);
    fs::create_dir_all(parent).map_err(|error| failed("make", parent, &error))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let aside = parent.join(format!(".{name}.new"));
    // What a run before left is not written through, whatever it is.
    let _ = fs::remove_file(&aside);
    let written = fs::File::create_new(&aside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|error| failed("write", &aside, &error))?;
    fs::rename(&aside, &path).map_err(|error| failed("write", &path, &error))
}
