//! Checks that hold the tree together: `cargo run -p xtask -- tidy`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Layers from the ground up; a crate may use only crates of lower layers.
const LAYERS: &[(&str, u8)] = &[
    ("tidings-domain", 0),
    ("tidings-liquid", 0),
    ("tidings-delimited", 0),
    ("tidings-workbook", 0),
    ("tidings-store", 1),
    ("tidings-channels", 1),
    ("tidings-engine", 2),
    ("tidings-console", 3),
    ("tidings-listeners", 3),
    ("tidings-wire-api", 3),
    ("tidings-wire-mail", 3),
    ("tidings", 4),
    ("tidings-testkit", 5),
    ("tidings-bench", 6),
    ("tidings-fuzz", 6),
    ("tidings-harness", 6),
    ("xtask", 6),
];

fn main() -> Result<()> {
    let command = std::env::args().nth(1).unwrap_or_default();
    if command != "tidy" {
        bail!("usage: cargo run -p xtask -- tidy");
    }
    // Read while it runs, because the folder it was built in may be another.
    let own = std::env::var("CARGO_MANIFEST_DIR").context("started by cargo")?;
    let root = Path::new(&own).parent().context("find the root")?;
    let mut faults = Vec::new();
    for manifest in manifests(root)? {
        check_layers(&manifest, &mut faults)?;
        check_readme(&manifest, &mut faults)?;
    }
    check_sources(root, &mut faults)?;
    for fault in &faults {
        eprintln!("{fault}");
    }
    if faults.is_empty() { Ok(()) } else { bail!("{} faults", faults.len()) }
}

/// The manifests of all our crates.
fn manifests(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for parent in ["crates", "wire", "formats", "tests", "."] {
        let folder = root.join(parent);
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder).with_context(|| format!("read {parent}"))? {
            let manifest = entry?.path().join("Cargo.toml");
            if manifest.is_file() {
                found.push(manifest);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn layer(name: &str) -> Option<u8> {
    LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer)
}

/// A crate uses the layers under it; only its tests may look up.
fn check_layers(manifest: &Path, faults: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(manifest)?;
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("name = "))
        .map(|name| name.trim_matches('"').to_owned())
        .with_context(|| format!("no name in {}", manifest.display()))?;
    let Some(own) = layer(&name) else {
        faults.push(format!("{name} has no layer; add it to xtask/src/main.rs"));
        return Ok(());
    };
    let mut section = "";
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        }
        if section != "[dependencies]" {
            continue;
        }
        let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
        if let Some(other) = layer(dependency)
            && other >= own
        {
            faults.push(format!("{name} must not use {dependency}: it is not under it"));
        }
    }
    Ok(())
}

/// Every wire crate says what it speaks.
fn check_readme(manifest: &Path, faults: &mut Vec<String>) -> Result<()> {
    let folder = manifest.parent().context("a manifest's folder")?;
    let is_wire = folder.parent().is_some_and(|parent| parent.ends_with("wire"));
    if is_wire && !folder.join("README.md").is_file() {
        faults.push(format!("{} has no README.md", folder.display()));
    }
    Ok(())
}

/// SQL is written in the store alone, and no test is switched off.
fn check_sources(root: &Path, faults: &mut Vec<String>) -> Result<()> {
    let mut folders = vec![root.join("crates"), root.join("wire"), root.join("formats")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = fs::read_to_string(&path)?;
            let place = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            if text.contains("#[ignore") {
                faults.push(format!("{place}: a test is switched off"));
            }
            let in_store =
                ["crates/store", "crates/testkit"].iter().any(|at| place.starts_with(at))
                    || place.contains("/tests/");
            let speaks_sql = ["rusqlite::", "tokio_postgres::"].iter().any(|w| text.contains(w));
            if speaks_sql && !in_store {
                faults.push(format!("{place}: talks to a database outside the store"));
            }
        }
    }
    Ok(())
}
