//! Restoring an archive into an empty home of either engine.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use tidings_domain::Timestamp;

use super::backup::on_own_thread;
use super::format::{Database, Header, Item, Mark, Reader, Table, sync_folder};
use super::load::load;
use super::snapshot::{Named, Snapshot, progress};
use super::sums::Sums;
use super::tables::CATALOGUE;
use super::{Progress, Summary, settle};
use crate::engines::{Connection, Db, Layout, Tx, postgres, sqlite};
use crate::migrate::{Migration, SYSTEM, WORKSPACE, migrate};
use crate::sql::{Dialect, Param};
use crate::store::{Home, Place, database_place};
use crate::{Error, Result};

/// How an archive is restored.
#[derive(Clone, Debug, Default)]
pub struct Restoring {
    /// The folder of uploads and other blobs that gets the archive's; `None` leaves them there.
    pub files: Option<PathBuf>,
    /// Whether hot tables are laid out by bucket; `None` keeps what the archive says. PostgreSQL only.
    pub partitioned: Option<bool>,
}

/// Reads the archive at `source` through, then fills the empty `home` with it and compares every
/// checksum. The restored hub starts with sending paused and nothing held by anyone.
///
/// Fails with `Corrupt` where the archive is damaged (the home is then untouched), `Conflict` where
/// the home is not empty, `Invalid` where a newer program made the archive.
pub async fn restore(
    home: &Home,
    source: &Path,
    how: Restoring,
    report: impl FnMut(&Progress) + Send + 'static,
) -> Result<Summary> {
    let home = home.clone();
    let source = source.to_owned();
    on_own_thread(async move || run(&home, &source, &how, report).await).await
}

const UNFINISHED: &str = "a restore into this database did not finish, so what is here is not \
     whole; remove it (the files system.db* and workspaces/ in the data folder, or the schemas \
     tidings and tidings_w… on the server) and restore again";

/// A store whose restore did not finish is not opened.
pub(crate) async fn refuse_unfinished(system: &Db) -> Result<()> {
    let unfinished = system
        .read(|tx| {
            Box::pin(async move {
                // The schema's name is taken from the connection, which knows its own.
                has_table(tx, "restoring").await
            })
        })
        .await?;
    match unfinished {
        true => Err(Error::Conflict(UNFINISHED.to_owned())),
        false => Ok(()),
    }
}

pub(crate) async fn has_table(tx: &mut Tx, name: &str) -> Result<bool> {
    let schema = tx.schema().trim_end_matches('.').trim_matches('"').to_owned();
    let rows = match tx.dialect() {
        Dialect::Sqlite => {
            let text = "select 1 from sqlite_schema where type = 'table' and name = ?1";
            tx.query_text(text, crate::params![name]).await?
        }
        Dialect::Postgres => {
            let text = "select 1 from pg_catalog.pg_tables
                        where schemaname = ?1::text and tablename = ?2::text";
            tx.query_text(text, crate::params![schema, name]).await?
        }
    };
    Ok(!rows.is_empty())
}

async fn run(
    home: &Home,
    source: &Path,
    how: &Restoring,
    mut report: impl FnMut(&Progress),
) -> Result<Summary> {
    Reader::check(source)?;
    let (mut reader, header) = Reader::open(source)?;
    let mut target = Target::open(home, header)?;
    target.refuse_filled().await?;
    let mut summary = Summary::default();
    let mut sums: Vec<(Named, Table, Sums)> = Vec::new();
    let mut at_hand: Option<(Named, Tx)> = None;
    while let Some(item) = reader.next()? {
        match item {
            Item::Mark(Mark::Database(database)) => {
                if let Some((named, tx)) = at_hand.take() {
                    target.close(&named, tx).await?;
                }
                at_hand = Some(target.begin(&database, how).await?);
            }
            Item::Mark(Mark::Table(table)) => {
                let (named, tx) = at_hand.as_mut().ok_or_else(misplaced)?;
                let loaded = target.table(named, tx, &mut reader, &table, &mut report).await?;
                summary.tables += 1;
                summary.rows += loaded.rows;
                sums.push((named.clone(), table, loaded));
            }
            Item::Mark(Mark::File { path }) => {
                summary.files += u64::from(restore_file(&mut reader, &path, how)?);
            }
            Item::Mark(Mark::Done { .. }) => {}
            _ => return Err(misplaced()),
        }
    }
    if let Some((named, tx)) = at_hand.take() {
        target.close(&named, tx).await?;
    }
    target.compare(&sums, &mut report).await?;
    target.settle().await?;
    summary.workspaces = target.workspaces.len() as u64;
    Ok(summary)
}

pub(super) fn misplaced() -> Error {
    Error::Corrupt("the archive is damaged: a part stands in the wrong place".to_owned())
}

/// The home that is being filled.
pub(super) struct Target {
    place: Place,
    at: Timestamp,
    header: Header,
    workspaces: Vec<Named>,
}

impl Target {
    pub(super) fn open(home: &Home, header: Header) -> Result<Target> {
        let place = match home {
            Home::Folder(folder) => {
                std::fs::create_dir_all(folder.join("workspaces"))?;
                Place::Folder(folder.clone())
            }
            Home::Server { url, .. } => Place::Server(postgres::pool(url, 3)?),
        };
        Ok(Target { place, at: Timestamp::now(), header, workspaces: Vec::new() })
    }

    /// Refuses a place where a workspace's restore broke off before.
    pub(super) async fn refuse_half(&self, number: i32) -> Result<()> {
        let (file, schema) = database_place(Some(number));
        let there = match &self.place {
            Place::Folder(folder) => folder.join(&file).exists(),
            Place::Server(_) => {
                let bare = schema.trim_end_matches('.').trim_matches('"').to_owned();
                let mut tx = self.connect(&Named::SYSTEM).await?;
                let text = "select 1 from pg_namespace where nspname = ?1::text";
                !tx.query_text(text, crate::params![bare]).await?.is_empty()
            }
        };
        match there {
            true => Err(Error::Conflict(format!(
                "a restore of this workspace did not finish; remove {file} in the data folder, or \
                 the schema tidings_w{number} on the server, and restore again"
            ))),
            false => Ok(()),
        }
    }

    /// A connection to one database of the home.
    pub(super) async fn connect(&self, named: &Named) -> Result<Tx> {
        let (file, schema) = database_place(named.number);
        match &self.place {
            Place::Folder(folder) => {
                let connection = sqlite::connect(&folder.join(file), false, 65_536)?;
                let mut tx = Tx::new(Connection::Sqlite(connection), Layout::Plain, "main.".into());
                // Until its end the home counts as unfinished, so commits need not wait for the
                // disk; closing a database does.
                tx.script("pragma synchronous = normal; pragma wal_autocheckpoint = 4000").await?;
                Ok(tx)
            }
            Place::Server(pool) => {
                let client = pool.get().await.map_err(|e| Error::Unavailable(e.to_string()))?;
                let layout = if named.partitioned { Layout::Partitioned } else { Layout::Plain };
                let mut tx = Tx::new(Connection::Postgres(client), layout, schema.into());
                tx.script("set statement_timeout = 0").await?;
                Ok(tx)
            }
        }
    }

    /// Refuses a home that holds a hub, or half of one.
    async fn refuse_filled(&self) -> Result<()> {
        let mut tx = self.connect(&Named::SYSTEM).await?;
        if has_table(&mut tx, "restoring").await? {
            return Err(Error::Conflict(UNFINISHED.to_owned()));
        }
        let is_filled = match &self.place {
            Place::Folder(folder) => {
                let files = std::fs::read_dir(folder.join("workspaces"))?.count();
                files > 0 || !tx.query_text("select 1 from sqlite_schema", &[]).await?.is_empty()
            }
            Place::Server(_) => {
                let text = "select 1 from pg_namespace
                            where nspname = 'tidings' or nspname like 'tidings\\_w%'";
                !tx.query_text(text, &[]).await?.is_empty()
            }
        };
        match is_filled {
            true => Err(Error::Conflict(
                "there is a hub here already; an archive is restored into an empty home".to_owned(),
            )),
            false => Ok(()),
        }
    }

    /// Makes a database with the tables that the archive's program knew.
    pub(super) async fn begin(
        &mut self,
        database: &Database,
        how: &Restoring,
    ) -> Result<(Named, Tx)> {
        let number = match database.name.strip_prefix('w') {
            Some(number) => Some(number.parse().map_err(|_| misplaced())?),
            None => None,
        };
        let on_server = matches!(self.place, Place::Server(_));
        let partitioned =
            number.is_some() && on_server && how.partitioned.unwrap_or(database.partitioned);
        let named = Named { number, partitioned };
        let known = if number.is_none() { SYSTEM } else { WORKSPACE };
        let steps = migrations(known, database)?;
        let mut tx = self.connect(&named).await?;
        tx.script("begin").await?;
        migrate(&mut tx, steps).await?;
        if number.is_none() {
            // Made with the tables themselves, and only once: nobody else can be restoring here.
            let text = format!("create table {}restoring (begun_at bigint not null)", tx.schema());
            tx.script(&text).await?;
        } else {
            self.workspaces.push(named.clone());
        }
        tx.script("commit").await?;
        Ok((named, tx))
    }

    pub(super) async fn table(
        &self,
        named: &Named,
        tx: &mut Tx,
        reader: &mut Reader,
        table: &Table,
        report: &mut impl FnMut(&Progress),
    ) -> Result<Sums> {
        let database = named.name();
        let tell = |rows| report(&progress("loading", &database, &table.name, rows));
        let is_layout = named.number.is_none() && table.name == "workspaces";
        let extra = is_layout.then_some(("partitioned", Param::Bool(false)));
        let sums = load(tx, reader, table, extra, tell).await?;
        if named.number.is_some() && CATALOGUE.last() == Some(&table.name.as_str()) {
            tx.script("begin").await?;
            crate::schema::rebuild(tx).await?;
            tx.script("commit").await?;
        }
        Ok(sums)
    }

    /// Everything of a database has been loaded; on SQLite it goes to the disk here.
    pub(super) async fn close(&self, named: &Named, mut tx: Tx) -> Result<()> {
        match &self.place {
            Place::Folder(folder) => {
                tx.query_text("pragma wal_checkpoint(truncate)", &[]).await?;
                drop(tx);
                let (file, _) = database_place(named.number);
                sync_folder(&folder.join(file))
            }
            Place::Server(_) => Ok(()),
        }
    }

    /// Reads everything back and compares it with the archive.
    pub(super) async fn compare(
        &self,
        wanted: &[(Named, Table, Sums)],
        report: &mut impl FnMut(&Progress),
    ) -> Result<()> {
        let mut snapshot = Snapshot::begin(self.place.clone()).await?;
        let mut at = Named::SYSTEM;
        for (named, table, sums) in wanted {
            if *named != at {
                snapshot.turn_to(named).await?;
                at = named.clone();
            }
            let columns = super::tables::columns(snapshot.tx()?, &table.name).await?;
            let database = named.name();
            let tell = |rows| report(&progress("comparing", &database, &table.name, rows));
            let found = snapshot.lines(&table.name, &columns, "", tell, |_| Ok(())).await?;
            if found != *sums {
                return Err(Error::Corrupt(format!(
                    "the table {} of {database} is not what the archive holds",
                    table.name
                )));
            }
        }
        Ok(())
    }

    /// Lets go of what was held in each workspace, and pauses its campaigns if told.
    pub(super) async fn settle_workspaces(&self, pause: bool) -> Result<()> {
        let engine = match self.place {
            Place::Folder(_) => "sqlite",
            Place::Server(_) => "postgres",
        };
        for named in &self.workspaces {
            let mut tx = self.connect(named).await?;
            tx.script("begin").await?;
            settle::release(&mut tx, self.at).await?;
            crate::search::index_all(&mut tx).await?;
            if self.header.engine != engine {
                settle::recount(&mut tx, self.at).await?;
            }
            if pause {
                settle::pause(&mut tx).await?;
            }
            tx.script("commit").await?;
            self.close(named, tx).await?;
        }
        Ok(())
    }

    /// Lets go of what was held, pauses sending, and takes the mark of the restore away.
    async fn settle(&self) -> Result<()> {
        self.settle_workspaces(false).await?;
        let mut tx = self.connect(&Named::SYSTEM).await?;
        tx.script("begin").await?;
        tx.execute(&crate::system::PUT_SETTING, crate::params!["sending_paused", "true"]).await?;
        for named in self.workspaces.iter().filter(|named| named.partitioned) {
            let text = "update {s}workspaces set partitioned = ?1 where number = ?2";
            tx.execute_text(text, crate::params![true, named.number]).await?;
        }
        let text = format!("drop table {}restoring", tx.schema());
        tx.script(&text).await?;
        tx.script("commit").await?;
        if let Place::Server(_) = &self.place {
            // The planner knows nothing of tables that have just been filled.
            tx.script("analyze").await?;
        }
        self.close(&Named::SYSTEM, tx).await
    }
}

/// The migrations that had run where the archive was made; later ones run when the hub opens it.
fn migrations(known: &'static [Migration], database: &Database) -> Result<&'static [Migration]> {
    let count = known.iter().take_while(|one| one.number <= database.migration).count();
    if known[..count].last().is_none_or(|last| last.number != database.migration) {
        return Err(Error::Invalid(format!(
            "{} stands at migration {}, which this program does not know; restore it with the \
             version that made the archive, or a newer one",
            database.name, database.migration
        )));
    }
    Ok(&known[..count])
}

/// Writes one file of the archive into the data folder; false where files are not wanted.
pub(super) fn restore_file(reader: &mut Reader, path: &str, how: &Restoring) -> Result<bool> {
    let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || !inside {
        return Err(Error::Corrupt(format!("the archive has a file outside its folder: {path}")));
    }
    let mut file = match &how.files {
        None => None,
        Some(folder) => {
            let place = folder.join(path);
            if let Some(parent) = place.parent() {
                std::fs::create_dir_all(parent)?;
            }
            let file = OpenOptions::new().write(true).create_new(true).open(&place);
            let file = file.map_err(|error| match error.kind() {
                std::io::ErrorKind::AlreadyExists => {
                    Error::Conflict(format!("{} exists", place.display()))
                }
                _ => error.into(),
            })?;
            Some((file, place))
        }
    };
    loop {
        match reader.next()? {
            Some(Item::Bytes(bytes)) => {
                if let Some((file, _)) = &mut file {
                    file.write_all(&bytes)?;
                }
            }
            Some(Item::Mark(Mark::Chunk { .. })) => {}
            Some(Item::Mark(Mark::EndFile { .. })) => break,
            _ => return Err(misplaced()),
        }
    }
    let Some((file, place)) = file else { return Ok(false) };
    file.sync_all()?;
    sync_folder(&place)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::format::Writer;
    use super::*;

    #[test]
    fn a_file_stays_inside_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("a/b");
        std::fs::create_dir_all(&inside).unwrap();
        let content = folder.path().join("content");
        std::fs::write(&content, "x").unwrap();
        let header = Header {
            format: super::super::format::FORMAT,
            made_at: 0,
            engine: "sqlite".into(),
            program: String::new(),
            workspace: None,
        };
        for (at, (path, fits)) in
            [("imports/1", true), ("../1", false), ("/tmp/1", false), ("", false), ("./1", false)]
                .into_iter()
                .enumerate()
        {
            let source = folder.path().join(format!("{at}.tidings"));
            let mut writer = Writer::create(&source, header.clone()).unwrap();
            writer.file(path, std::fs::File::open(&content).unwrap()).unwrap();
            writer.finish().unwrap();
            let (mut reader, _) = Reader::open(&source).unwrap();
            assert!(matches!(reader.next(), Ok(Some(Item::Mark(Mark::File { .. })))));
            let how = Restoring { files: Some(inside.clone()), partitioned: None };
            let restored = restore_file(&mut reader, path, &how);
            assert_eq!(restored.is_ok(), fits, "{path}: {restored:?}");
            assert_eq!(inside.join(path).is_file(), fits, "{path}");
        }
    }
}
