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
use tidings_engine::imports::named::{self, NewNamed};
use tidings_engine::imports::trial::{self, TrialState, Verdict};
use tidings_engine::imports::{self, Import, ImportMode, Mapping, Upload};
use tidings_engine::{Ctx, Error};
use tidings_store::imports::ImportState;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::sync::watch;

use super::csv::Written;
use crate::config::Config;
use crate::serve;

/// Refused rows that are shown; all of them are in the error file.
const REFUSALS_SHOWN: usize = 10;

#[derive(Args, Debug)]
pub struct Arguments {
    /// A CSV file; how it is written is found out
    file: PathBuf,
    #[arg(long)]
    workspace: String,
    /// A JSON file that says what the columns are: {"columns": [{"column": "E-mail", "to": "email"}]}
    #[arg(long)]
    mapping: Option<PathBuf>,
    /// The name of a kept mapping. Without one, a file with the columns of a kept mapping or of an
    /// earlier import is mapped as there
    #[arg(long, conflicts_with = "mapping")]
    mapping_name: Option<String>,
    /// Keep the mapping of this import under a name that is new
    #[arg(long)]
    keep_mapping: Option<String>,
    /// The table whose records the rows are; without it they are customers
    #[arg(long)]
    table: Option<String>,
    /// Whether rows may make what is not there yet, change what is, or both (upsert); replace also
    /// empties what the file has no value for
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Only say what would become of the rows; nothing is changed
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: write the verdict on every row to this file, one JSON object a line
    #[arg(long, requires = "dry_run")]
    verdicts: Option<PathBuf>,
    #[command(flatten)]
    written: Written,
    /// Write the refused rows with their reasons to this file
    #[arg(long)]
    errors: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    #[value(alias = "both")]
    Upsert,
    Update,
    Add,
    Replace,
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
    let (stop_it, stop) = watch::channel(false);
    let interrupted = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            let _ = stop_it.send(true);
        }
        // The channel stays open as long as the import runs.
        std::future::pending::<()>().await;
    });
    let watched = tokio::spawn(watch_progress(ctx.clone(), id, import.row.bytes_total));
    let ended = match arguments.dry_run {
        true => tried(&ctx, id, &stop).await,
        false => started(&ctx, id, &stop).await,
    };
    watched.abort();
    interrupted.abort();
    if arguments.dry_run {
        let said = match ended {
            Ok(import) => report_trial(&ctx, &import, arguments.verdicts.as_deref()).await,
            Err(error) => Err(error),
        };
        // Nothing of a dry run stays, its draft neither.
        imports::cancel(&ctx, id).await?;
        return said;
    }
    let import = ended?;
    report(&ctx, &import, arguments.errors.as_deref()).await?;
    match import.row.state {
        ImportState::Done => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}

async fn started(ctx: &Ctx, id: ImportId, stop: &watch::Receiver<bool>) -> Result<Import> {
    imports::start(ctx, id).await.map_err(explained)?;
    Ok(imports::run_here(ctx, id, stop).await?)
}

async fn tried(ctx: &Ctx, id: ImportId, stop: &watch::Receiver<bool>) -> Result<Import> {
    trial::start(ctx, id).await.map_err(explained)?;
    Ok(imports::try_here(ctx, id, stop).await?)
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
    let adjust = arguments.written.adjust();
    let (table, mapping) = (arguments.table.clone(), arguments.mapping_name.clone());
    let upload = Upload { filename, table, adjust, mapping };
    let import = imports::create(ctx, upload, file).await.map_err(explained)?;
    let mut mapping = given.unwrap_or_else(|| import.mapping.clone());
    match arguments.mode {
        Some(Mode::Upsert) => mapping.mode = ImportMode::Upsert,
        Some(Mode::Update) => mapping.mode = ImportMode::Update,
        Some(Mode::Add) => mapping.mode = ImportMode::Add,
        Some(Mode::Replace) => mapping.mode = ImportMode::Replace,
        None => {}
    }
    match settled(ctx, &import, mapping, arguments.keep_mapping.as_deref()).await {
        Ok(import) => Ok(import),
        Err(error) => {
            // A draft that nobody can see to the end should not stay behind.
            imports::cancel(ctx, import.row.id).await?;
            Err(explained(error))
        }
    }
}

/// Sets the mapping of a draft, and keeps it under a name where one is given.
async fn settled(
    ctx: &Ctx,
    import: &Import,
    mapping: Mapping,
    name: Option<&str>,
) -> Result<Import, Error> {
    let settled = imports::set_mapping(ctx, import.row.id, &mapping).await?;
    if let Some(name) = name {
        let (name, table) = (name.to_owned(), import.row.table.clone());
        let new = NewNamed { name, table, headers: import.headers(), mapping };
        named::save(ctx, new).await?;
    }
    Ok(settled)
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
        let message = match (&import.row.error, &import.trial) {
            (Some(error), _) => error.clone(),
            (None, Some(trial)) if import.row.started_at.is_none() => {
                format!("{} rows tried", trial.rows.read)
            }
            (None, _) => format!("{} rows, {speed} a second", import.row.counts.read),
        };
        let tried = import.trial.as_ref().map_or(0, |trial| trial.bytes_done);
        bar.set_position(import.row.bytes_done.max(tried));
        bar.set_message(message);
        if import.row.state.is_finished() {
            bar.finish_and_clear();
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Says what would become of the rows; the file of verdicts has all of them.
async fn report_trial(ctx: &Ctx, import: &Import, file: Option<&Path>) -> Result<ExitCode> {
    let Some(trial) = &import.trial else { bail!("the trial was given up: the draft changed") };
    let rows = trial.rows;
    println!(
        "{}: {} rows tried: {} would be created, {} updated, {} unchanged, {} refused",
        import.row.filename, rows.read, rows.create, rows.update, rows.unchanged, rows.refuse,
    );
    let id = import.row.id;
    let only = Some(Verdict::Refuse);
    let (refused, more) = trial::verdicts(ctx, id, None, REFUSALS_SHOWN, only).await?;
    for row in refused {
        print_refused(row.row, row.line, &row.column, &row.message);
    }
    if more.is_some() {
        println!("  … --verdicts FILE writes all of them");
    }
    if let Some(path) = file {
        let write = write_verdicts(ctx, id, path).await;
        write.with_context(|| format!("write {}", path.display()))?;
    }
    match &trial.error {
        Some(error) => bail!("the trial failed: {error}"),
        None if trial.state != TrialState::Done => bail!("the trial was stopped"),
        None => Ok(ExitCode::SUCCESS),
    }
}

async fn write_verdicts(ctx: &Ctx, id: ImportId, path: &Path) -> Result<()> {
    let mut file = BufWriter::new(tokio::fs::File::create(path).await?);
    let mut after = None;
    loop {
        let (rows, next) = trial::verdicts(ctx, id, after, 1_000, None).await?;
        for row in rows {
            file.write_all(&serde_json::to_vec(&row)?).await?;
            file.write_all(b"\n").await?;
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    file.flush().await?;
    Ok(())
}

fn print_refused(row: u64, line: u64, column: &str, message: &str) {
    let column = match column {
        "" => String::new(),
        name => format!(", {name}"),
    };
    println!("  row {row}, line {line}{column}: {message}");
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
    if import.row.absent > 0 {
        println!("  {} customers were not in the file and are marked so", import.row.absent);
    }
    let id = import.row.id;
    let (refused, more) = imports::refusals(ctx, id, None, REFUSALS_SHOWN).await?;
    for row in refused {
        print_refused(row.row, row.line, &row.column, &row.message);
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
