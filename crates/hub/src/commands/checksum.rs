//! `tidings checksum`: the facts of every table as one line each, the same on both engines, so that a
//! move can be shown to have lost and added nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use tidings_store::Store;
use tidings_store::archive;

use super::backup::progress;
use crate::config::Config;

/// Tables that a restore changes by itself, in what they say of work that is going on: sending is
/// paused, jobs are nobody's, and progress is counted in the engine's own terms.
const CHANGED_BY_RESTORE: &[&str] = &["settings", "jobs", "campaign_shards"];

#[derive(Args, Debug)]
pub struct Arguments {
    /// This workspace alone, without what is the hub's own
    #[arg(long)]
    workspace: Option<String>,
    /// What another hub printed; say where this one differs, and exit with 1 if it does
    #[arg(long)]
    against: Option<PathBuf>,
}

/// One line of what is printed: the table, its rows, the sum of their hashes.
type Lines = BTreeMap<String, (u64, String)>;

pub async fn run(config: Config, arguments: Arguments) -> Result<ExitCode> {
    let store = Store::open(&config.home()).await.context("open the store")?;
    let only = match &arguments.workspace {
        Some(slug) => Some(format!("w{}", store.workspace_by_slug(slug).await?.row.number)),
        None => None,
    };
    let mut lines = Lines::new();
    for ((database, table), sums) in archive::checksums(&store, progress).await? {
        if only.as_ref().is_none_or(|only| *only == database) {
            lines.insert(format!("{database} {table}"), (sums.rows, sums.total()));
        }
    }
    let Some(other) = &arguments.against else {
        for (name, (rows, sum)) in &lines {
            println!("{name} {rows} {sum}");
        }
        return Ok(ExitCode::SUCCESS);
    };
    let text =
        std::fs::read_to_string(other).with_context(|| format!("read {}", other.display()))?;
    let other = parse(&text)?;
    let differences = differences(&lines, &other);
    for difference in &differences {
        println!("{difference}");
    }
    let rows: u64 = lines.values().map(|(rows, _)| rows).sum();
    match differences.is_empty() {
        true => println!("{} tables with {rows} rows are equal", lines.len()),
        false => println!("{} differences", differences.len()),
    }
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn parse(text: &str) -> Result<Lines> {
    let mut lines = Lines::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [database, table, rows, sum] = words[..] else {
            bail!("expected lines of `tidings checksum`, found: {line}");
        };
        let rows = rows.parse().with_context(|| format!("read the number of rows in: {line}"))?;
        lines.insert(format!("{database} {table}"), (rows, sum.to_owned()));
    }
    Ok(lines)
}

/// Where two hubs differ, less what every restore changes.
fn differences(here: &Lines, there: &Lines) -> Vec<String> {
    let mut found = Vec::new();
    let names: std::collections::BTreeSet<&String> = here.keys().chain(there.keys()).collect();
    for name in names {
        let table = name.split_once(' ').map_or(name.as_str(), |(_, table)| table);
        if CHANGED_BY_RESTORE.contains(&table) {
            continue;
        }
        match (here.get(name), there.get(name)) {
            (Some(here), Some(there)) if here == there => {}
            (Some((here, _)), Some((there, _))) if here == there => {
                found.push(format!("{name}: {here} rows on both sides, some of them differ"));
            }
            (Some((here, _)), Some((there, _))) => {
                found.push(format!("{name}: {here} rows here, {there} there"));
            }
            (Some((rows, _)), None) => {
                found.push(format!("{name}: {rows} rows here, no table there"))
            }
            (None, _) => found.push(format!("{name}: no table here")),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_by_table() {
        let there = parse(
            "system settings 1 aa\nw1 customers 3 ab\nw1 events 2 cd\nw1 groups 1 ef\nw1 jobs 4 aa\n\
             w1 gone 1 aa\n",
        )
        .expect("it is well-formed");
        assert_eq!(differences(&there, &there), Vec::<String>::new());
        let here = parse("system settings 2 bb\nw1 customers 3 ac\nw1 events 1 cd\nw1 groups 1 ef\n\nw1 new 0 0\n")
            .expect("it is well-formed");
        assert_eq!(
            differences(&here, &there),
            [
                "w1 customers: 3 rows on both sides, some of them differ",
                "w1 events: 1 rows here, 2 there",
                "w1 gone: no table here",
                "w1 new: 0 rows here, no table there",
            ]
        );
        for wrong in ["w1 customers 3", "w1 customers many ab", "{}"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
