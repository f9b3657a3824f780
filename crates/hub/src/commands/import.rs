//! `tidings import`: a file in, by the same way as every other route, with the report at the end.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use futures::TryStreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use tidings_domain::{ImportId, Timestamp};
use tidings_engine::audit;
use tidings_engine::imports::{self, Import, ImportMode, Mapping, Upload};
use tidings_engine::{Ctx, Error};
use tidings_store::imports::ImportState;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::sync::watch;

use crate::config::Config;
use crate::serve;

/// Refused rows that are shown; all of them are in the error file.
const REFUSALS_SHOWN: usize = 10;

#[derive(Args, Debug)]
pub struct Arguments {
    /// A CSV file in UTF-8; the delimiter and the header are found out
    file: PathBuf,
    #[arg(long)]
    workspace: String,
    /// A JSON file that says what the columns are: {"columns": [{"column": "E-mail", "to": "email"}]}
    #[arg(long)]
    mapping: Option<PathBuf>,
    /// The table whose records the rows are; without it they are customers
    #[arg(long)]
    table: Option<String>,
    /// Whether rows may make what is not there yet
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Write the refused rows with their reasons to this file
    #[arg(long)]
    errors: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    Upsert,
    Update,
}

pub async fn run(config: Config, arguments: Arguments) -> Result<ExitCode> {
    let given = match &arguments.mapping {
        Some(path) => Some(mapping(path)?),
        None => None,
    };
    let hub = serve::open(&config).await?;
    let ctx = hub.ctx_by_slug(&arguments.workspace).await?;
    let act = audit::act_by_command(&ctx, "imports.create");
    let import = act.run(draft(&ctx, &arguments, given)).await?;
    let id = import.row.id;
    imports::start(&ctx, id).await.map_err(explained)?;
    let (stop_it, stop) = watch::channel(false);
    let interrupted = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            let _ = stop_it.send(true);
        }
        // The channel stays open as long as the import runs.
        std::future::pending::<()>().await;
    });
    let watched = tokio::spawn(watch_progress(ctx.clone(), id, import.row.bytes_total));
    let ended = imports::run_here(&ctx, id, &stop).await;
    watched.abort();
    interrupted.abort();
    let import = ended?;
    report(&ctx, &import, arguments.errors.as_deref()).await?;
    match import.row.state {
        ImportState::Done => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}

fn mapping(path: &Path) -> Result<Mapping> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))
}

/// Takes the file in and settles its mapping.
async fn draft(ctx: &Ctx, arguments: &Arguments, given: Option<Mapping>) -> Result<Import> {
    let path = &arguments.file;
    let file = tokio::fs::File::open(path).await;
    let file = file.with_context(|| format!("read {}", path.display()))?;
    let filename = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let upload = Upload { filename, table: arguments.table.clone() };
    let import = imports::create(ctx, upload, file).await.map_err(explained)?;
    let mut mapping = given.unwrap_or_else(|| import.mapping.clone());
    match arguments.mode {
        Some(Mode::Upsert) => mapping.mode = ImportMode::Upsert,
        Some(Mode::Update) => mapping.mode = ImportMode::Update,
        None => {}
    }
    match imports::set_mapping(ctx, import.row.id, &mapping).await {
        Ok(import) => Ok(import),
        Err(error) => {
            // A draft that nobody can see to the end should not stay behind.
            imports::cancel(ctx, import.row.id).await?;
            Err(explained(error))
        }
    }
}

/// Every fault on a line of its own.
fn explained(error: Error) -> anyhow::Error {
    let Error::Invalid(faults) = error else { return error.into() };
    let lines = faults.iter().map(|fault| format!("{}: {}", fault.path, fault.message));
    anyhow::anyhow!(lines.collect::<Vec<_>>().join("\n"))
}

/// Draws the bar until the task is ended; where stderr is no terminal, nothing is drawn.
async fn watch_progress(ctx: Ctx, id: ImportId, bytes_total: u64) {
    let bar = ProgressBar::new(bytes_total);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {percent:>3}%  {msg}") {
        bar.set_style(style);
    }
    while let Ok(import) = imports::get(&ctx, id).await {
        let speed = import.rows_per_second(Timestamp::now());
        let message = match &import.row.error {
            Some(error) => error.clone(),
            None => format!("{} rows, {speed} a second", import.row.counts.read),
        };
        bar.set_position(import.row.bytes_done);
        bar.set_message(message);
        if import.row.state.is_finished() {
            bar.finish_and_clear();
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn report(ctx: &Ctx, import: &Import, errors: Option<&Path>) -> Result<()> {
    let counts = import.row.counts;
    println!(
        "{}: {} rows read: {} created, {} updated, {} unchanged, {} refused ({} rows a second)",
        import.row.filename,
        counts.read,
        counts.created,
        counts.updated,
        counts.unchanged,
        counts.refused,
        import.rows_per_second(Timestamp::now()),
    );
    let id = import.row.id;
    let (refused, more) = imports::refusals(ctx, id, None, REFUSALS_SHOWN).await?;
    for row in refused {
        let column = match row.column.as_str() {
            "" => String::new(),
            name => format!(", {name}"),
        };
        println!("  row {}, line {}{column}: {}", row.row, row.line, row.message);
    }
    if more.is_some() {
        println!("  … --errors FILE writes all of them");
    }
    if let Some(path) = errors {
        write_errors(ctx, id, path).await.with_context(|| format!("write {}", path.display()))?;
    }
    match (import.row.state, &import.row.error) {
        (ImportState::Done, _) => Ok(()),
        (ImportState::Queued | ImportState::Running, _) => {
            bail!("stopped; the import goes on where it stands as soon as a hub runs")
        }
        (state, error) => {
            let error = error.as_deref().unwrap_or("by request");
            bail!("the import is {}: {error}", state.name())
        }
    }
}

async fn write_errors(ctx: &Ctx, id: ImportId, path: &Path) -> Result<()> {
    let (_, parts) = imports::error_file(ctx, id).await?;
    let mut parts = std::pin::pin!(parts);
    let mut file = BufWriter::new(tokio::fs::File::create(path).await?);
    while let Some(part) = parts.try_next().await? {
        file.write_all(&part).await?;
    }
    file.flush().await?;
    Ok(())
}
