//! Tidings' benchmarks: every main path of the hub beside its limit, which is a small program that
//! does the bare thing on the same machine in the same minute. `docs/performance.md` explains the
//! rows and holds the figures.
//!
//! The hub is run as its users run it: the release binary, its commands and its HTTP interface.

mod host;
mod http;
mod hub;
mod limits;
mod measure;
mod people;
mod process;
mod rows;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::measure::{Report, Row};

#[derive(Parser)]
#[command(about = "Measures Tidings beside its limits")]
struct Cli {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    options: Options,
}

/// How much is measured.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How often each pair of real thing and limit runs; medians are reported.
    #[arg(long, global = true, default_value_t = 5)]
    pub rounds: usize,
    /// Customers of the imported file.
    #[arg(long, global = true, default_value_t = 1_000_000)]
    pub rows: u64,
    /// Mails of the campaign.
    #[arg(long, global = true, default_value_t = 50_000)]
    pub mails: u64,
    /// Where the report is written.
    #[arg(long, global = true)]
    pub results: Option<PathBuf>,
    /// Measure the programs that are there, without building them first.
    #[arg(long, global = true)]
    pub no_build: bool,
}

#[derive(Subcommand)]
enum What {
    /// Every row of the table.
    All,
    /// Import of a file on SQLite, beside the bare engine.
    Import,
    /// Import of a file on PostgreSQL, beside COPY.
    ImportPostgres,
    /// Single upserts over HTTP, beside a handler that appends to a log.
    Upsert,
    /// Events in batches, beside the bare engine.
    Events,
    /// A campaign, beside a bare sender of mails.
    Campaign,
    /// Rendering, beside liquidjs.
    Render,
    /// The same file once more, a tenth of it changed, beside the bare engine.
    Reimport,
    /// Signed campaigns, beside unsigned ones and beside signatures alone.
    Signed,
    /// Search as you type.
    Search,
    /// The count of a rule on attributes, beside a pass over plain columns.
    Count,
    /// A count with an event window, beside the same as plain SQL.
    Window,
    /// From a change until its membership can be seen, with 200 segments.
    Live,
    /// What an item costs in a small base and in a large one.
    Growth,
    /// Cold start and size.
    Start,
    /// Writes the file of generated customers.
    Customers { file: PathBuf },
    /// The limit of imports: fills a file with the tables of a hub's, and says how fast.
    LimitSqlite {
        /// The file of a hub's workspace.
        #[arg(long)]
        like: PathBuf,
        #[arg(long)]
        to: PathBuf,
    },
    /// The limit of single upserts, as a server.
    LimitHttp {
        #[arg(long)]
        listen: SocketAddr,
        /// The file that bodies are appended to.
        #[arg(long)]
        log: PathBuf,
    },
    /// The limit of campaigns: sends mails to a server and says how fast.
    LimitSmtp {
        #[arg(long)]
        to: SocketAddr,
        #[arg(long, default_value_t = 16)]
        connections: usize,
        #[arg(long, default_value_t = 3_000)]
        bytes: usize,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let options = &cli.options;
    match cli.what {
        What::Customers { file } => {
            println!("{} bytes", people::write_csv(&file, options.rows)?);
            return Ok(());
        }
        What::LimitSqlite { like, to } => {
            let mut db = limits::sqlite_fill::like(&like, &to, &["customers", "identities"])?;
            let columns = limits::sqlite_fill::attribute_columns(&like)?;
            let took = limits::sqlite_fill::customers(&mut db, &columns, options.rows)?;
            println!("{:.0} rows/s", options.rows as f64 / took.as_secs_f64());
            return Ok(());
        }
        What::LimitHttp { listen, log } => return limits::http_log::serve(listen, &log).await,
        What::LimitSmtp { to, connections, bytes } => {
            let (to, mails) = (to.to_string(), options.mails);
            let took = limits::smtp::send(&to, connections, mails, bytes).await?;
            println!("{:.0} mails/s", mails as f64 / took.as_secs_f64());
            return Ok(());
        }
        _ => {}
    }
    if !options.no_build && !matches!(cli.what, What::Render) {
        build().await?;
    }
    let rows = match cli.what {
        What::All => all(options).await?,
        What::Import => rows::import::sqlite(options).await?,
        What::ImportPostgres => rows::import::postgres(options).await?,
        What::Upsert => rows::upsert::rows(options).await?,
        What::Events => rows::events::rows(options).await?,
        What::Campaign => rows::campaign::rows(options).await?,
        What::Render => rows::render::rows(options).await?,
        What::Reimport => rows::reimport::rows(options).await?,
        What::Signed => rows::signed::rows(options).await?,
        What::Search => rows::search::rows(options).await?,
        What::Count => rows::count::rows(options).await?,
        What::Window => rows::window::rows(options).await?,
        What::Live => rows::live::rows(options).await?,
        What::Growth => rows::growth::rows(options).await?,
        What::Start => rows::start::rows(options).await?,
        What::Customers { .. }
        | What::LimitSqlite { .. }
        | What::LimitHttp { .. }
        | What::LimitSmtp { .. } => Vec::new(),
    };
    let report = Report::new(rows);
    let folder = options.results.clone().unwrap_or_else(|| host::root().join("bench/results"));
    report.save(&folder)?;
    println!("{}", report.markdown());
    Ok(())
}

async fn all(options: &Options) -> anyhow::Result<Vec<Row>> {
    let mut all = rows::render::rows(options).await?;
    all.append(&mut rows::import::sqlite(options).await?);
    all.append(&mut rows::import::postgres(options).await?);
    all.append(&mut rows::upsert::rows(options).await?);
    all.append(&mut rows::events::rows(options).await?);
    all.append(&mut rows::campaign::rows(options).await?);
    all.append(&mut rows::reimport::rows(options).await?);
    all.append(&mut rows::signed::rows(options).await?);
    all.append(&mut rows::search::rows(options).await?);
    all.append(&mut rows::count::rows(options).await?);
    all.append(&mut rows::window::rows(options).await?);
    all.append(&mut rows::live::rows(options).await?);
    all.append(&mut rows::growth::rows(options).await?);
    all.append(&mut rows::start::rows(options).await?);
    Ok(all)
}

/// Builds what is measured, so that a bench never measures yesterday's program.
async fn build() -> anyhow::Result<()> {
    let manifest = host::root().join("Cargo.toml").display().to_string();
    for package in [&["tidings"][..], &["tidings-testkit", "--bin", "mail-sink"]] {
        let mut arguments: Vec<String> =
            ["build", "--release", "--manifest-path", &manifest, "-p"].map(str::to_owned).to_vec();
        arguments.extend(package.iter().map(|text| (*text).to_owned()));
        process::run(Path::new("cargo"), &arguments).await.context("build what is measured")?;
    }
    Ok(())
}
