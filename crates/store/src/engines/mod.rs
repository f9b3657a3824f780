//! The two engines behind one transaction type.

pub(crate) mod commits;
pub mod postgres;
#[cfg(test)]
mod postgres_tests;
pub mod sqlite;
#[cfg(test)]
mod sqlite_tests;
pub(crate) mod touched;

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::sql::{Dialect, Param, Row, Spelled, Sql, spell};
use crate::{Error, Result};

use commits::Commits;
use touched::Touched;

/// Whether a change came from somebody who waits, or from a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    Interactive,
    Bulk,
}

/// How the hot tables of a workspace are laid out on PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One table each; a batch may name many buckets in one statement.
    Plain,
    /// Hash-partitioned by bucket; every statement of a batch names one bucket, as shards ask for.
    Partitioned,
}

/// A piece of work inside one transaction. On SQLite it runs on the writer's own thread and never
/// really waits; on PostgreSQL it is awaited like any other future.
pub type Work<T> = Box<dyn for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send>;

/// A transaction, or a connection that reads.
pub struct Tx {
    pub(crate) connection: Connection,
    pub(crate) layout: Layout,
    schema: Arc<str>,
    spelled: Spelled,
    /// About how many rows were written.
    pub(crate) written: u64,
    /// Whose rows were written.
    pub(crate) touched: Touched,
    /// What was deleted must not stay in SQLite's write-ahead log either.
    pub(crate) scrubs_log: bool,
}

pub(crate) enum Connection {
    Sqlite(rusqlite::Connection),
    Postgres(deadpool_postgres::Object),
}

impl Tx {
    pub(crate) fn new(connection: Connection, layout: Layout, schema: Arc<str>) -> Tx {
        Tx {
            connection,
            layout,
            schema,
            spelled: Spelled::default(),
            written: 0,
            touched: Touched::default(),
            scrubs_log: false,
        }
    }

    pub fn dialect(&self) -> Dialect {
        match self.connection {
            Connection::Sqlite(_) => Dialect::Sqlite,
            Connection::Postgres(_) => Dialect::Postgres,
        }
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// What stands before a table's name: `main.` or `"schema".`.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// All rows of a statement.
    pub async fn query(&mut self, sql: &'static Sql, params: &[Param]) -> Result<Vec<Row>> {
        let text = self.spelled.get(sql, self.dialect(), &self.schema);
        self.run(&text, params).await.map_err(|error| error.at(sql.name))
    }

    /// The first row of a statement, if any.
    pub async fn first(&mut self, sql: &'static Sql, params: &[Param]) -> Result<Option<Row>> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// Runs a statement that gives no rows; returns how many rows it touched.
    pub async fn execute(&mut self, sql: &'static Sql, params: &[Param]) -> Result<u64> {
        let text = self.spelled.get(sql, self.dialect(), &self.schema);
        self.touch(&text, params).await.map_err(|error| error.at(sql.name))
    }

    /// Rows of a generated statement in the shared spelling.
    pub async fn query_text(&mut self, text: &str, params: &[Param]) -> Result<Vec<Row>> {
        let text = spell(text, self.dialect(), &self.schema);
        self.run(&text, params).await
    }

    /// Rows of a statement whose text is one of very many, such as a segment's rule. Nobody keeps it
    /// prepared, so that it pushes no statement out that will come again.
    pub async fn query_once(&mut self, text: &str, params: &[Param]) -> Result<Vec<Row>> {
        let text = spell(text, self.dialect(), &self.schema);
        self.touched.statement(&text, params);
        match &mut self.connection {
            Connection::Sqlite(connection) => sqlite::query_once(connection, &text, params),
            Connection::Postgres(client) => postgres::query_once(client, &text, params).await,
        }
    }

    /// Runs a statement whose text is one of very many.
    pub async fn execute_once(&mut self, text: &str, params: &[Param]) -> Result<u64> {
        let text = spell(text, self.dialect(), &self.schema);
        self.touched.statement(&text, params);
        match &mut self.connection {
            Connection::Sqlite(connection) => sqlite::execute_once(connection, &text, params),
            Connection::Postgres(client) => postgres::execute_once(client, &text, params).await,
        }
    }

    /// Runs a generated statement in the shared spelling.
    pub async fn execute_text(&mut self, text: &str, params: &[Param]) -> Result<u64> {
        let text = spell(text, self.dialect(), &self.schema);
        self.touch(&text, params).await
    }

    /// Gives the rows of a generated statement one by one, so that memory does not grow with them.
    /// The statement only reads.
    pub(crate) async fn each(
        &mut self,
        text: &str,
        params: &[Param],
        take: impl FnMut(Row) -> Result<()>,
    ) -> Result<()> {
        let text = spell(text, self.dialect(), &self.schema);
        match &mut self.connection {
            Connection::Sqlite(connection) => sqlite::each(connection, &text, params, take),
            Connection::Postgres(client) => postgres::each(client, &text, params, take).await,
        }
    }

    /// The same connection, turned to another schema of the server.
    pub(crate) fn turned_to(self, layout: Layout, schema: Arc<str>) -> Tx {
        Tx::new(self.connection, layout, schema)
    }

    /// Runs statements without parameters, such as a migration.
    pub async fn script(&mut self, text: &str) -> Result<()> {
        text.split(';').for_each(|one| self.touched.statement(one, &[]));
        match &mut self.connection {
            Connection::Sqlite(connection) => connection.execute_batch(text).map_err(sqlite::fault),
            Connection::Postgres(client) => {
                client.batch_execute(text).await.map_err(postgres::fault)
            }
        }
    }

    async fn run(&mut self, text: &str, params: &[Param]) -> Result<Vec<Row>> {
        self.touched.statement(text, params);
        match &mut self.connection {
            Connection::Sqlite(connection) => sqlite::query(connection, text, params),
            Connection::Postgres(client) => postgres::query(client, text, params).await,
        }
    }

    async fn touch(&mut self, text: &str, params: &[Param]) -> Result<u64> {
        self.touched.statement(text, params);
        let touched = match &mut self.connection {
            Connection::Sqlite(connection) => sqlite::execute(connection, text, params),
            Connection::Postgres(client) => postgres::execute(client, text, params).await,
        }?;
        self.written += touched;
        Ok(touched)
    }
}

impl Error {
    /// Adds the statement's name to a fault of the database.
    fn at(self, name: &str) -> Error {
        match self {
            Error::Database(text) => Error::Database(format!("{name}: {text}")),
            Error::Conflict(text) => Error::Conflict(format!("{name}: {text}")),
            Error::SchemaMoved(text) => Error::SchemaMoved(format!("{name}: {text}")),
            other => other,
        }
    }
}

/// A database that work runs in: one SQLite file, or one schema of a PostgreSQL database.
pub enum Db {
    Sqlite(sqlite::SqliteDb),
    Postgres(postgres::PostgresDb),
}

impl Db {
    /// Runs work in a transaction and answers after its commit.
    pub async fn write<T: Send + 'static>(
        &self,
        priority: Priority,
        work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + 'static,
    ) -> Result<T> {
        match self {
            Db::Sqlite(db) => db.write(priority, Box::new(work)).await,
            Db::Postgres(db) => db.write(Box::new(work)).await,
        }
    }

    /// Runs work that only reads, on a connection beside the writer.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>> + Send + 'static,
    ) -> Result<T> {
        match self {
            Db::Sqlite(db) => db.read(Box::new(work)).await,
            Db::Postgres(db) => db.read(Box::new(work)).await,
        }
    }

    /// How many commits this process has made here; `None` where the server counts them.
    pub fn commits(&self) -> Option<u64> {
        match self {
            Db::Sqlite(db) => Some(db.commits()),
            Db::Postgres(_) => None,
        }
    }

    pub fn dialect(&self) -> Dialect {
        match self {
            Db::Sqlite(_) => Dialect::Sqlite,
            Db::Postgres(_) => Dialect::Postgres,
        }
    }

    /// What this process commits here.
    pub(crate) fn committed(&self) -> &Arc<Commits> {
        match self {
            Db::Sqlite(db) => &db.committed,
            Db::Postgres(db) => &db.committed,
        }
    }

    /// A number that stays the same as long as nobody but this process writes here; `None` while
    /// somebody else might. Of two equal answers the second says so for all the time between.
    pub(crate) async fn alone(&self) -> Result<Option<i64>> {
        match self {
            Db::Sqlite(db) => db.alone().await.map(Some),
            Db::Postgres(db) => db.alone().await,
        }
    }
}
