//! The store: a system database and one database per workspace.

use futures::future::BoxFuture;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use deadpool_postgres::Pool;
use tidings_domain::{Timestamp, WorkspaceId};

use crate::columns::ColumnCache;
use crate::engines::postgres::PostgresDb;
use crate::engines::sqlite::SqliteDb;
use crate::engines::{Db, Layout};
use crate::system::{System, WorkspaceRow};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// Workspaces kept open at once; the least recently used is closed when nobody holds it.
const MAX_OPEN: usize = 64;
/// Page cache of a workspace's writer on SQLite.
const WRITER_CACHE_KIB: u32 = 64 * 1024;

/// Where the store lives.
#[derive(Clone, Debug)]
pub enum Home {
    /// SQLite files under this folder.
    Folder(PathBuf),
    /// A PostgreSQL database, as a `postgres://` URL.
    Server { url: String, connections: usize },
}

enum Engine {
    Sqlite(PathBuf),
    Postgres(Pool),
}

/// Where the databases of an open store are, for work that takes connections of its own.
#[derive(Clone)]
pub(crate) enum Place {
    Folder(PathBuf),
    Server(Pool),
}

/// A database's file in the data folder, and its schema as it stands in statements. `None` is the
/// system database, else a workspace's number is given.
pub(crate) fn database_place(workspace: Option<i32>) -> (String, String) {
    match workspace {
        None => ("system.db".to_owned(), "\"tidings\".".to_owned()),
        Some(number) => (format!("workspaces/w{number}.db"), format!("\"tidings_w{number}\".")),
    }
}

pub struct Store {
    engine: Engine,
    pub system: System,
    /// Columns of customers in memory, for counts.
    pub columns: Arc<ColumnCache>,
    open: tokio::sync::Mutex<HashMap<WorkspaceId, (Instant, Arc<Workspace>)>>,
}

impl Store {
    pub async fn open(home: &Home) -> Result<Store> {
        let (engine, system) = match home {
            Home::Folder(folder) => {
                std::fs::create_dir_all(folder.join("workspaces"))?;
                let system = SqliteDb::open(&folder.join(database_place(None).0), 4_096)?;
                (Engine::Sqlite(folder.clone()), Db::Sqlite(system))
            }
            Home::Server { url, connections } => {
                let pool = crate::engines::postgres::pool(url, *connections)?;
                let system = PostgresDb::new(pool.clone(), "tidings", Layout::Plain);
                (Engine::Postgres(pool), Db::Postgres(system))
            }
        };
        crate::archive::refuse_unfinished(&system).await?;
        let system = System::open(system).await?;
        let (columns, open) = (Arc::default(), tokio::sync::Mutex::new(HashMap::new()));
        Ok(Store { engine, system, columns, open })
    }

    /// Whether this process alone writes the data.
    pub fn is_embedded(&self) -> bool {
        matches!(self.engine, Engine::Sqlite(_))
    }

    pub(crate) fn place(&self) -> Place {
        match &self.engine {
            Engine::Sqlite(folder) => Place::Folder(folder.clone()),
            Engine::Postgres(pool) => Place::Server(pool.clone()),
        }
    }

    /// Makes a workspace. `partitioned` lays its hot tables out by bucket (PostgreSQL only).
    pub async fn create_workspace(
        &self,
        name: &str,
        time_zone: &str,
        partitioned: bool,
    ) -> Result<Arc<Workspace>> {
        let slug = slug(name)?;
        let partitioned = partitioned && matches!(self.engine, Engine::Postgres(_));
        let row =
            self.system.add_workspace(&slug, name, time_zone, partitioned, Timestamp::now()).await;
        let row = row.map_err(|error| match error {
            Error::Conflict(_) => Error::Conflict(format!("a workspace named {slug} exists")),
            other => other,
        })?;
        self.workspace(row.id).await
    }

    /// A workspace by its id.
    pub fn workspace(&self, id: WorkspaceId) -> BoxFuture<'_, Result<Arc<Workspace>>> {
        Box::pin(async move {
            let mut open = self.open.lock().await;
            if let Some((used_at, workspace)) = open.get_mut(&id) {
                *used_at = Instant::now();
                return Ok(workspace.clone());
            }
            let rows = self.system.workspaces().await?;
            let row = rows.into_iter().find(|row| row.id == id);
            let row = row.ok_or_else(|| Error::NotFound(format!("workspace {id}")))?;
            let (database, columns) = (self.database(&row)?, self.columns.clone());
            let workspace = Arc::new(Workspace::open(row.clone(), database, columns).await?);
            if open.len() >= MAX_OPEN {
                let idle = open
                    .iter()
                    .filter(|(_, (_, workspace))| Arc::strong_count(workspace) == 1)
                    .min_by_key(|(_, (used_at, _))| *used_at)
                    .map(|(id, _)| *id);
                if let Some(idle) = idle {
                    open.remove(&idle);
                }
            }
            open.insert(id, (Instant::now(), workspace.clone()));
            Ok(workspace)
        })
    }

    /// A workspace by its short name.
    pub async fn workspace_by_slug(&self, slug: &str) -> Result<Arc<Workspace>> {
        let rows = self.system.workspaces().await?;
        let row = rows.into_iter().find(|row| row.slug == slug || row.name == slug);
        match row {
            Some(row) => self.workspace(row.id).await,
            None => Err(Error::NotFound(format!("workspace {slug}"))),
        }
    }

    fn database(&self, row: &WorkspaceRow) -> Result<Db> {
        Ok(match &self.engine {
            Engine::Sqlite(folder) => {
                let file = folder.join(database_place(Some(row.number)).0);
                Db::Sqlite(SqliteDb::open(&file, WRITER_CACHE_KIB)?)
            }
            Engine::Postgres(pool) => {
                let layout = if row.partitioned { Layout::Partitioned } else { Layout::Plain };
                let schema = format!("tidings_w{}", row.number);
                Db::Postgres(PostgresDb::new(pool.clone(), &schema, layout))
            }
        })
    }
}

/// A workspace's short name: lower case letters, digits and dashes.
fn slug(name: &str) -> Result<String> {
    let mut slug = String::new();
    for c in name.trim().chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' => slug.push(c),
            _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
    }
    let slug = slug.trim_end_matches('-').to_owned();
    if slug.is_empty() || slug.len() > 60 {
        return Err(Error::Invalid("a workspace's name has 1 to 60 letters and digits".into()));
    }
    Ok(slug)
}
