//! `tidings key`: the master key, shown by its id, changed for another, or given up.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use tidings_engine::keys::{self, MasterKey};
use tidings_store::Store;

use crate::config::Config;
use crate::key_file::KeyFile;

/// How long nodes at work may take to come by the new key.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show the ids of the keys in the key file, and how many secrets each one seals
    Show,
    /// Print a new key as a line for a key file
    Make,
    /// Seal every secret with a new key; also while the hub runs, and again after a kill
    Rotate,
    /// Go on although the master key is lost for good: links in mails that were sent stop working,
    /// and passwords of relays, DKIM keys and second factors have to be entered anew
    Lost {
        /// Say that you mean it
        #[arg(long)]
        yes: bool,
    },
}

pub async fn run(config: Config, arguments: Arguments) -> Result<ExitCode> {
    match arguments.command {
        Command::Show => show(&config).await?,
        Command::Make => println!("{}", MasterKey::generate().line()),
        Command::Rotate => rotate(&config).await?,
        Command::Lost { yes } => lost(&config, yes).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(config: &Config) -> Result<()> {
    let file = KeyFile::of(config);
    let ring = file.read()?.with_context(|| format!("{file} is not there"))?;
    let store = Store::open(&config.home()).await.context("open the store")?;
    let counts = keys::counts(&store).await?;
    println!("{file}");
    for (at, key) in ring.keys().iter().enumerate() {
        let does = if at == 0 { "seals" } else { "only opens" };
        let count = counts.get(&key.id()).copied().unwrap_or_default();
        println!("key {} {does}; {count} secrets", key.id());
    }
    for (id, count) in &counts {
        if ring.keys().iter().all(|key| key.id() != *id) {
            println!("key {id} is not here; {count} secrets cannot be opened");
        }
    }
    Ok(())
}

async fn rotate(config: &Config) -> Result<()> {
    let file = KeyFile::of(config);
    let before = file.read()?.with_context(|| format!("{file} is not there"))?;
    let store = Store::open(&config.home()).await.context("open the store")?;
    // A wrong key is refused before anything is written.
    keys::unlock(&store, &before, &file.to_string()).await?;
    let ring = match before.keys().len() {
        1 => {
            let ring = before.with_new();
            file.write(&ring).context(
                "write the new key; where the file cannot be written from here, put a line of \
                 `tidings key make` above the key in it, and run this again",
            )?;
            ring
        }
        // An earlier run was cut short, or somebody wrote the new key by hand.
        _ => before,
    };
    let (new, old) = (ring.id(), ring.keys()[ring.keys().len() - 1].id());
    eprintln!("{file} holds the new key {new} above {old}; keep a copy apart from the backups");
    keys::wait_for_nodes(&store, new, PATIENCE).await?;
    let count = keys::reseal(&store, &ring, &file.to_string()).await?;
    println!("{count} secrets were sealed with the key {new}");
    match file.write(&ring.first_alone()) {
        Ok(()) => println!("the key {old} is gone from {file}; only older backups need it"),
        Err(error) => {
            println!("take the key {old} out of {file}, which cannot be written: {error:#}")
        }
    }
    Ok(())
}

async fn lost(config: &Config, yes: bool) -> Result<()> {
    if !yes {
        bail!(
            "give --yes if the master key is lost for good: links in mails that were sent stop \
             working, and what it sealed has to be entered anew"
        );
    }
    let file = KeyFile::of(config);
    let ring = match file.read()? {
        Some(ring) => ring,
        None => file.make()?,
    };
    let store = Store::open(&config.home()).await.context("open the store")?;
    let count = keys::go_on_without(&store, &ring).await?;
    println!("the hub goes on with the key {}; {count} secrets are lost", ring.id());
    println!("enter passwords of relays again, make new DKIM keys, and help people by reset-totp");
    Ok(())
}
