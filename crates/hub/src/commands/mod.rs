//! The commands, one file each.

mod audit;
mod backup;
mod checksum;
mod csv;
mod customer;
mod definitions;
mod demo;
mod dkim;
mod doctor;
mod import;
mod key;
mod migrate;
mod openapi;
mod render;
mod restore;
mod segment;
mod serve;
pub mod storage;
mod token;
mod user;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::config::{Config, Flags};

/// A customer-engagement hub in one program.
#[derive(Parser, Debug)]
#[command(name = "tidings", version, propagate_version = true)]
pub struct Arguments {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// A workspace with sample customers, one live campaign, and a mailbox that catches what is sent
    Demo(demo::Arguments),
    /// Run the hub
    Serve(serve::Arguments),
    /// Make workspaces
    Workspace(workspace::Arguments),
    /// Make API tokens
    Token(token::Arguments),
    /// Make users of the console, and help those who lost their second factor
    User(user::Arguments),
    /// See whether the log of who did what is as it was written
    Audit(audit::Arguments),
    /// Make the keys that sign mail, and show their DNS records
    Dkim(dkim::Arguments),
    /// Show the master key's id, or change it for a new one
    Key(key::Arguments),
    /// Import a file of customers or records
    Import(import::Arguments),
    /// Export or erase everything on one person
    Customer(customer::Arguments),
    /// Count segments
    Segment(segment::Arguments),
    /// Write everything that a workspace defines into a folder, as text
    Export(definitions::Export),
    /// Say what a folder of definitions would change
    Plan(definitions::MakePlan),
    /// Bring a workspace to what a folder of definitions says
    Apply(definitions::Apply),
    /// Print the rows of a file as the import reads them, as JSON
    Csv(csv::Arguments),
    /// Render a template
    Render(render::Arguments),
    /// Print the OpenAPI document of the API
    Openapi,
    /// Bring the store up to this version
    Migrate,
    /// Check settings, disk, databases, clock, key, relays and certificates; exit with 0, 1 or 2
    Doctor(doctor::Arguments),
    /// Show how much room each table takes, and how fast it grows
    Storage(storage::Arguments),
    /// Print a checksum of every table that is the same on both engines
    Checksum(checksum::Arguments),
    /// Write everything into one archive, also while the hub runs
    Backup(backup::Arguments),
    /// Fill an empty hub from an archive, on either engine; sending is then paused
    Restore(restore::Arguments),
}

pub async fn run(arguments: Arguments) -> Result<ExitCode> {
    let flags = arguments.flags;
    let config = || Config::load(&flags);
    match arguments.command {
        Command::Demo(arguments) => demo::run(config()?, arguments).await,
        Command::Serve(arguments) => serve::run(config, arguments).await,
        Command::Workspace(arguments) => workspace::run(config()?, arguments).await,
        Command::Token(arguments) => token::run(config()?, arguments).await,
        Command::User(arguments) => user::run(config()?, arguments).await,
        Command::Audit(arguments) => audit::run(config()?, arguments).await,
        Command::Dkim(arguments) => dkim::run(config()?, arguments).await,
        Command::Key(arguments) => key::run(config()?, arguments).await,
        Command::Import(arguments) => import::run(config()?, arguments).await,
        Command::Customer(arguments) => customer::run(config()?, arguments).await,
        Command::Segment(arguments) => segment::run(config()?, arguments).await,
        Command::Export(arguments) => definitions::export(config()?, arguments).await,
        Command::Plan(arguments) => definitions::plan(config()?, arguments).await,
        Command::Apply(arguments) => definitions::apply(config()?, arguments).await,
        Command::Csv(arguments) => csv::run(&arguments),
        Command::Render(arguments) => render::run(arguments),
        Command::Openapi => openapi::run(),
        Command::Migrate => migrate::run(config()?).await,
        Command::Doctor(arguments) => doctor::run(config(), arguments).await,
        Command::Storage(arguments) => storage::run(config()?, arguments).await,
        Command::Checksum(arguments) => checksum::run(config()?, arguments).await,
        Command::Backup(arguments) => backup::run(config()?, arguments).await,
        Command::Restore(arguments) => restore::run(config()?, arguments).await,
    }
}
