//! `tidings storage`: how much room each table of a workspace takes, and how fast it grows.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use tidings_engine::storage::{self, Table};

use crate::config::Config;
use crate::serve;

#[derive(Args, Debug)]
pub struct Arguments {
    #[arg(long)]
    workspace: String,
    /// Show what was measured last, instead of measuring now
    #[arg(long)]
    kept: bool,
    /// Print JSON, as GET /v1/storage answers it
    #[arg(long)]
    json: bool,
}

pub async fn run(config: Config, arguments: Arguments) -> Result<ExitCode> {
    let hub = serve::open(&config).await?;
    let ctx = hub.ctx_by_slug(&arguments.workspace).await?;
    let found = match arguments.kept {
        true => storage::show(&ctx).await?,
        false => storage::measure(&ctx).await?,
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&tidings_wire_api::storage_shown(found))?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{:<28} {:>14} {:>12} {:>12} {:>12}", "table", "rows", "size", "rows/day", "size/day");
    for table in &found.tables {
        println!("{}", line(table));
    }
    let total: i64 = found.tables.iter().map(|table| table.bytes).sum();
    let growth: Vec<i64> = found.tables.iter().filter_map(|table| table.bytes_per_day).collect();
    let growth = (!growth.is_empty()).then(|| growth.iter().sum());
    println!(
        "{:<28} {:>14} {:>12} {:>12} {:>12}",
        "all",
        "",
        size(total),
        "",
        per_day(growth, size)
    );
    Ok(ExitCode::SUCCESS)
}

fn line(table: &Table) -> String {
    let about = if table.is_estimate { "about " } else { "" };
    format!(
        "{:<28} {:>14} {:>12} {:>12} {:>12}",
        table.title.as_ref().unwrap_or(&table.name),
        format!("{about}{}", table.rows),
        size(table.bytes),
        per_day(table.rows_per_day, |rows| rows.to_string()),
        per_day(table.bytes_per_day, size),
    )
}

/// Growth, where it is known: it takes two days.
fn per_day(value: Option<i64>, text: impl Fn(i64) -> String) -> String {
    match value {
        None => String::new(),
        Some(value) if value > 0 => format!("+{}", text(value)),
        Some(value) => text(value),
    }
}

/// Bytes for people: `12.3 MB`.
pub fn size(bytes: i64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value.abs() < 1_000.0 {
            return match unit {
                "B" => format!("{bytes} B"),
                _ => format!("{value:.1} {unit}"),
            };
        }
        value /= 1_000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        for (bytes, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (-12_345_678, "-12.3 MB"),
            (5_000_000_000, "5.0 GB"),
            (7_200_000_000_000, "7.2 TB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
        assert_eq!(per_day(Some(2_000), size), "+2.0 kB");
        assert_eq!(per_day(None, size), "");
    }
}
