//! Restoring one workspace beside those that a hub has, also while it runs.
//!
//! The workspace's own database is filled and compared first; only then do its entry, its people
//! and its tokens come to the system database, in one transaction, so that nobody sees half of it.
//! Its campaigns are paused: some of what they were to send may have gone since the backup.

use std::collections::HashMap;
use std::path::Path;

use super::backup::on_own_thread;
use super::format::{Database, Header, Item, Mark, Reader, Table};
use super::load::collect;
use super::restore::{Restoring, Target, misplaced, restore_file};
use super::snapshot::Named;
use super::{Progress, Summary};
use crate::engines::Tx;
use crate::migrate::{SYSTEM, migrate};
use crate::sql::{Param, quoted};
use crate::store::Home;
use crate::{Error, Result};

/// Fills a workspace of a hub from an archive that holds it alone.
///
/// Fails with `Corrupt` where the archive is damaged, `Invalid` where it holds a whole hub, and
/// `Conflict` where the hub has the workspace, or another of its name or number.
pub async fn restore_beside(
    home: &Home,
    source: &Path,
    how: Restoring,
    report: impl FnMut(&Progress) + Send + 'static,
) -> Result<Summary> {
    let home = home.clone();
    let source = source.to_owned();
    on_own_thread(async move || run(&home, &source, &how, report).await).await
}

/// Rows of one table of the system database, waiting for the workspace to be whole.
struct Waiting {
    table: String,
    columns: Vec<String>,
    rows: Vec<Vec<Param>>,
}

async fn run(
    home: &Home,
    source: &Path,
    how: &Restoring,
    mut report: impl FnMut(&Progress),
) -> Result<Summary> {
    Reader::check(source)?;
    let (mut reader, header) = Reader::open(source)?;
    let number = one_workspace(&header)?;
    let mut target = Target::open(home, header)?;
    let mut system = target.connect(&Named::SYSTEM).await?;
    migrated(&mut system).await?;
    let mut waiting: Vec<Waiting> = Vec::new();
    let mut sums = Vec::new();
    let mut at_hand: Option<(Named, Tx)> = None;
    let mut summary = Summary { workspaces: 1, ..Summary::default() };
    while let Some(item) = reader.next()? {
        match item {
            Item::Mark(Mark::Database(Database { name, .. })) if name == "system" => {}
            Item::Mark(Mark::Database(database)) => {
                refuse_known(&mut system, &waiting, number).await?;
                target.refuse_half(number).await?;
                at_hand = Some(target.begin(&database, how).await?);
            }
            Item::Mark(Mark::Table(table)) => match &mut at_hand {
                None => waiting.push(taken(&mut system, &mut reader, &table).await?),
                Some((named, tx)) => {
                    let loaded = target.table(named, tx, &mut reader, &table, &mut report).await?;
                    summary.tables += 1;
                    summary.rows += loaded.rows;
                    sums.push((named.clone(), table, loaded));
                }
            },
            Item::Mark(Mark::File { path }) => {
                summary.files += u64::from(restore_file(&mut reader, &path, how)?);
            }
            Item::Mark(Mark::Done { .. }) => {}
            _ => return Err(misplaced()),
        }
    }
    let (named, tx) = at_hand.ok_or_else(misplaced)?;
    target.close(&named, tx).await?;
    target.compare(&sums, &mut report).await?;
    target.settle_workspaces(true).await?;
    admit(&mut system, waiting, &named).await?;
    target.close(&Named::SYSTEM, system).await?;
    Ok(summary)
}

fn one_workspace(header: &Header) -> Result<i32> {
    header.workspace.ok_or_else(|| {
        let text = "the archive holds a whole hub, which is restored into an empty home; \
                    one of a single workspace is made by backup --workspace";
        Error::Invalid(text.to_owned())
    })
}

/// Brings the system database up to this program, where the hub has not run since.
async fn migrated(system: &mut Tx) -> Result<()> {
    system.script("begin").await?;
    migrate(system, SYSTEM).await?;
    system.script("commit").await
}

async fn taken(system: &mut Tx, reader: &mut Reader, table: &Table) -> Result<Waiting> {
    let (columns, rows) = collect(system, reader, table).await?;
    Ok(Waiting { table: table.name.clone(), columns, rows })
}

/// Refuses a workspace that the hub has, or whose name or number another one has.
async fn refuse_known(system: &mut Tx, waiting: &[Waiting], number: i32) -> Result<()> {
    let entry = waiting.iter().find(|one| one.table == "workspaces").ok_or_else(misplaced)?;
    let value = |name: &str| {
        let at = entry.columns.iter().position(|column| column == name)?;
        entry.rows.first()?.get(at).cloned()
    };
    let (id, slug) = (value("id").ok_or_else(misplaced)?, value("slug").ok_or_else(misplaced)?);
    let text = "select slug from {s}workspaces where number = ?1 or id = ?2 or slug = ?3";
    let params = [Param::Int(number.into()), id, slug];
    match system.query_text(text, &params).await?.first() {
        Some(row) => Err(Error::Conflict(format!(
            "this hub has the workspace {}, which has the same id, name or number",
            row.text(0)?
        ))),
        None => Ok(()),
    }
}

/// Lets the workspace in: its entry, its people and their roles, its tokens. Somebody whom the hub
/// knows by their address stays who they are, with their own password and second factor.
async fn admit(system: &mut Tx, waiting: Vec<Waiting>, named: &Named) -> Result<()> {
    system.script("begin").await?;
    let mut known: HashMap<Vec<u8>, Param> = HashMap::new();
    let (people, rest): (Vec<Waiting>, Vec<Waiting>) =
        waiting.into_iter().partition(|one| one.table == "users");
    // The hub has a root of its own.
    let rest: Vec<Waiting> = rest.into_iter().filter(|one| one.table != "settings").collect();
    for one in people.iter().chain(&rest) {
        let at = |name: &str| one.columns.iter().position(|column| column == name);
        for row in &one.rows {
            let mut row = row.clone();
            if one.table == "users" {
                let (id, mail) =
                    (at("id").ok_or_else(misplaced)?, at("mail").ok_or_else(misplaced)?);
                let text = "select id from {s}users where mail = ?1";
                let here = system.query_text(text, &[row[mail].clone()]).await?;
                if let Some(here) = here.first() {
                    known.insert(bytes(&row[id]), Param::Uuid(here.uuid(0)?));
                    continue;
                }
            } else if let Some(user) = at("user_id")
                && let Some(here) = known.get(&bytes(&row[user]))
            {
                if one.table == "recovery_codes" {
                    continue;
                }
                row[user] = here.clone();
            }
            insert(system, one, row, named).await?;
        }
    }
    system.script("commit").await
}

/// An id as either engine keeps it.
fn bytes(id: &Param) -> Vec<u8> {
    match id {
        Param::Uuid(id) => id.as_bytes().to_vec(),
        Param::Bytes(bytes) => bytes.clone(),
        _ => Vec::new(),
    }
}

async fn insert(system: &mut Tx, into: &Waiting, row: Vec<Param>, named: &Named) -> Result<()> {
    let mut names: Vec<String> = into.columns.iter().map(|name| quoted(name)).collect();
    let mut row = row;
    if into.table == "workspaces" {
        names.push("partitioned".to_owned());
        row.push(Param::Bool(named.partitioned));
    }
    let places: Vec<String> = (1..=names.len()).map(|at| format!("?{at}")).collect();
    let text = format!(
        "insert into {{s}}{} ({}) values ({})",
        quoted(&into.table),
        names.join(", "),
        places.join(", ")
    );
    system.execute_text(&text, &row).await.map(|_| ())
}
