//! A look at the databases that changes nothing: versions, migrations, damage, clocks. For whoever
//! runs the hub, also where it would not start.

use tidings_domain::Timestamp;

use crate::archive::{Named, Snapshot, has_table, on_own_thread};
use crate::engines::Tx;
use crate::migrate::{Migration, SYSTEM, WORKSPACE};
use crate::sql::Dialect;
use crate::store::{Home, Place, database_place};
use crate::{Error, Result};

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Such as `SQLite 3.51.0`.
    pub engine: String,
    /// The server's number of its version; `None` on SQLite.
    pub server_version: Option<i64>,
    /// How far the server's clock is ahead of this machine's.
    pub clock_ahead_ms: Option<i64>,
    /// Whether the server keeps checksums of its pages, and how often one was wrong.
    pub checksums: Option<(bool, i64)>,
    /// Whether a restore began here and did not end.
    pub is_unfinished: bool,
    pub databases: Vec<Database>,
}

/// One database of the hub.
#[derive(Clone, Debug)]
pub struct Database {
    /// `system`, or `w` and the workspace's number.
    pub name: String,
    /// Migrations of this program that have not run there.
    pub missing: Vec<&'static str>,
    /// How many ran that this program does not know: a newer one was here.
    pub unknown: usize,
    /// When the last one ran; no clock may stand before it.
    pub migrated_at: Option<Timestamp>,
    /// What the engine says is wrong with it.
    pub fault: Option<String>,
}

/// Looks at every database of a home; `None` where there is none yet. `deep` has SQLite check every
/// page, which reads all of the file.
///
/// Fails with `Unavailable` where the server cannot be reached.
pub async fn examine(home: &Home, deep: bool) -> Result<Option<Health>> {
    let home = home.clone();
    on_own_thread(async move || look(&home, deep).await).await
}

async fn look(home: &Home, deep: bool) -> Result<Option<Health>> {
    let place = match home {
        Home::Folder(folder) if !folder.join(database_place(None).0).is_file() => return Ok(None),
        Home::Folder(folder) => Place::Folder(folder.clone()),
        Home::Server { url, .. } => Place::Server(crate::engines::postgres::pool(url, 1)?),
    };
    let mut snapshot = Snapshot::begin(place).await?;
    let mut health = Health::default();
    about_engine(snapshot.tx()?, &mut health).await?;
    if !has_table(snapshot.tx()?, "migrations").await? {
        return Ok(None);
    }
    health.is_unfinished = has_table(snapshot.tx()?, "restoring").await?;
    health.databases.push(database(snapshot.tx()?, &Named::SYSTEM, SYSTEM, deep).await?);
    for named in snapshot.workspaces().await? {
        if let Home::Folder(folder) = home
            && !folder.join(database_place(named.number).0).is_file()
        {
            continue;
        }
        snapshot.turn_to(&named).await?;
        // Its file or schema is made when it is first opened.
        if has_table(snapshot.tx()?, "migrations").await? {
            health.databases.push(database(snapshot.tx()?, &named, WORKSPACE, deep).await?);
        }
    }
    Ok(Some(health))
}

async fn about_engine(tx: &mut Tx, health: &mut Health) -> Result<()> {
    if tx.dialect() == Dialect::Sqlite {
        let rows = tx.query_text("select sqlite_version()", &[]).await?;
        let version = rows.first().map_or(Ok(String::new()), |row| row.text(0))?;
        health.engine = format!("SQLite {version}");
        return Ok(());
    }
    let text = "select current_setting('server_version')::text,
                  current_setting('server_version_num')::bigint,
                  cast(extract(epoch from clock_timestamp()) * 1000000 as bigint),
                  current_setting('data_checksums') = 'on',
                  coalesce((select checksum_failures from pg_stat_database
                            where datname = current_database()), 0)::bigint";
    let asked_at = Timestamp::now();
    let rows = tx.query_text(text, &[]).await?;
    let heard_at = Timestamp::now();
    let row = rows.first().ok_or_else(|| Error::Corrupt("the server says nothing".to_owned()))?;
    health.engine = format!("PostgreSQL {}", row.text(0)?);
    health.server_version = Some(row.int(1)?);
    // It was asked somewhere between the two.
    let server = row.int(2)?;
    let ahead = match server {
        _ if server > heard_at.0 => server - heard_at.0,
        _ if server < asked_at.0 => server - asked_at.0,
        _ => 0,
    };
    health.clock_ahead_ms = Some(ahead / 1_000);
    health.checksums = Some((row.bool(3)?, row.int(4)?));
    Ok(())
}

async fn database(
    tx: &mut Tx,
    named: &Named,
    known: &'static [Migration],
    deep: bool,
) -> Result<Database> {
    let rows = tx.query_text("select number, at from {s}migrations order by number", &[]).await?;
    let ran: Vec<(i64, Timestamp)> =
        rows.iter().map(|row| Ok((row.int(0)?, row.time(1)?))).collect::<Result<_>>()?;
    let has_run = |number: i64| ran.iter().any(|(one, _)| *one == number);
    let fault = match tx.dialect() {
        Dialect::Sqlite if deep => match tx.query_text("pragma quick_check(1)", &[]).await {
            Ok(rows) => {
                rows.first().map(|row| row.text(0)).transpose()?.filter(|said| said != "ok")
            }
            Err(error) => Some(error.to_string()),
        },
        _ => None,
    };
    Ok(Database {
        name: named.name(),
        missing: known.iter().filter(|one| !has_run(one.number)).map(|one| one.name).collect(),
        unknown: ran.iter().filter(|(n, _)| known.iter().all(|one| one.number != *n)).count(),
        migrated_at: ran.iter().map(|(_, at)| *at).max(),
        fault,
    })
}
