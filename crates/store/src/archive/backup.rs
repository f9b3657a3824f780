//! Writing an archive while the hub runs.

use std::path::{Path, PathBuf};

use tidings_domain::Timestamp;

use super::format::{Database, Header, Mark, Writer};
use super::snapshot::{Named, Snapshot, progress};
use super::tables::{heading, of_workspace};
use super::{Checksums, Progress, Summary};
use crate::store::{Place, Store};
use crate::{Error, Result};

/// Writes everything the hub remembers to `target`, which must not exist yet. `files` is the folder
/// of uploads and other blobs, which then go along. The archive appears whole or not at all.
///
/// Fails with `Conflict` where the target exists, `Io` where it cannot be written.
pub async fn backup(
    store: &Store,
    target: &Path,
    files: Option<&Path>,
    report: impl FnMut(&Progress) + Send + 'static,
) -> Result<Summary> {
    let place = store.place();
    let target = target.to_owned();
    let files = files.map(Path::to_owned);
    on_own_thread(async move || write(place, &target, files, None, report).await).await
}

/// Writes one workspace to `target` with its people, roles, tokens and files. Restored into an
/// empty home it is a hub with this one workspace.
pub async fn backup_workspace(
    store: &Store,
    number: i32,
    target: &Path,
    files: Option<&Path>,
    report: impl FnMut(&Progress) + Send + 'static,
) -> Result<Summary> {
    let place = store.place();
    let target = target.to_owned();
    let files = files.map(Path::to_owned);
    on_own_thread(async move || write(place, &target, files, Some(number), report).await).await
}

/// The checksums of everything that an archive would hold.
pub async fn checksums(
    store: &Store,
    report: impl FnMut(&Progress) + Send + 'static,
) -> Result<Checksums> {
    let place = store.place();
    on_own_thread(async move || sums(place, report).await).await
}

/// Runs work that waits for files and computes much, beside the threads that serve requests.
pub(crate) async fn on_own_thread<T: Send + 'static>(
    work: impl AsyncFnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let runtime = tokio::runtime::Handle::current();
    let task = tokio::task::spawn_blocking(move || runtime.block_on(work()));
    task.await.map_err(|error| Error::Database(format!("the work was cut short: {error}")))?
}

async fn write(
    place: Place,
    target: &Path,
    files: Option<PathBuf>,
    only: Option<i32>,
    mut report: impl FnMut(&Progress),
) -> Result<Summary> {
    let engine = match place {
        Place::Folder(_) => "sqlite",
        Place::Server(_) => "postgres",
    };
    let mut snapshot = Snapshot::begin(place).await?;
    let mut workspaces = snapshot.workspaces().await?;
    workspaces.retain(|named| only.is_none() || named.number == only);
    let header = Header {
        format: super::format::FORMAT,
        made_at: Timestamp::now().0,
        engine: engine.to_owned(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        workspace: only,
    };
    let mut owned = None;
    let mut writer = Writer::create(target, header)?;
    let mut summary = Summary { workspaces: workspaces.len() as u64, ..Summary::default() };
    for database in std::iter::once(&Named::SYSTEM).chain(&workspaces) {
        if database.number.is_some() {
            snapshot.turn_to(database).await?;
            if only.is_some() {
                owned = Some(snapshot.with_files().await?);
            }
        }
        write_database(&mut snapshot, database, only, &mut writer, &mut report).await?;
    }
    // The rows come first: a file that they name was there before they were read.
    drop(snapshot);
    if let Some(folder) = files {
        let wanted = |name: &str| owned.as_ref().is_none_or(|owned| owned.contains(name));
        summary.files = write_files(&mut writer, &folder, "", &wanted)?;
    }
    (summary.tables, summary.rows) = writer.finish()?;
    Ok(summary)
}

async fn write_database(
    snapshot: &mut Snapshot,
    database: &Named,
    only: Option<i32>,
    writer: &mut Writer,
    report: &mut impl FnMut(&Progress),
) -> Result<()> {
    let name = database.name();
    let migration = snapshot.migration().await?;
    let partitioned = database.partitioned;
    writer.mark(&Mark::Database(Database { name: name.clone(), migration, partitioned }))?;
    for (table, columns) in snapshot.tables().await? {
        writer.mark(&Mark::Table(heading(&table, &columns)))?;
        let tell = |rows| report(&progress("writing", &name, &table, rows));
        let wanted = match (database.number, only) {
            (None, Some(number)) => of_workspace(&table, &columns, number),
            _ => String::new(),
        };
        let sums = snapshot.lines(&table, &columns, &wanted, tell, |line| writer.row(line)).await?;
        writer.mark(&Mark::EndTable(sums))?;
    }
    Ok(())
}

/// Writes the files under `folder/below` whose names are wanted; links are left out.
fn write_files(
    writer: &mut Writer,
    folder: &Path,
    below: &str,
    wanted: &impl Fn(&str) -> bool,
) -> Result<u64> {
    let mut count = 0;
    let entries = match std::fs::read_dir(folder.join(below)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let mut entries = entries.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name
            .to_str()
            .ok_or_else(|| Error::Invalid(format!("the name of the file {name:?} is not text")))?;
        let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            count += write_files(writer, folder, &path, wanted)?;
        } else if kind.is_file() && wanted(name) {
            match std::fs::File::open(entry.path()) {
                Ok(file) => writer.file(&path, file)?,
                // Deleted since the folder was read, as finished uploads are.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            }
            count += 1;
        }
    }
    Ok(count)
}

async fn sums(place: Place, mut report: impl FnMut(&Progress)) -> Result<Checksums> {
    let mut snapshot = Snapshot::begin(place).await?;
    let workspaces = snapshot.workspaces().await?;
    let mut all = Checksums::new();
    for database in std::iter::once(&Named::SYSTEM).chain(&workspaces) {
        if database.number.is_some() {
            snapshot.turn_to(database).await?;
        }
        let name = database.name();
        for (table, columns) in snapshot.tables().await? {
            let tell = |rows| report(&progress("comparing", &name, &table, rows));
            let sums = snapshot.lines(&table, &columns, "", tell, |_| Ok(())).await?;
            all.insert((name.clone(), table), sums);
        }
    }
    Ok(all)
}
