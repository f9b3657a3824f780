//! One consistent look at the whole hub while it runs: a read transaction per SQLite file, one
//! repeatable-read transaction on PostgreSQL. Writers go on beside it.

use std::collections::HashSet;

use deadpool_postgres::Object;

use super::sums::Sums;
use super::tables::{Stored, bucket_column, columns, heading, select, tables, write_line};
use super::{Progress, REPORT_EVERY};
use crate::engines::{Connection, Layout, Tx, sqlite};
use crate::sql::Cell;
use crate::store::{Place, database_place};
use crate::{Error, Result};

/// A database of the hub, as an archive names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// `None` is the system database.
    pub number: Option<i32>,
    pub partitioned: bool,
}

impl Named {
    pub const SYSTEM: Named = Named { number: None, partitioned: false };

    pub fn name(&self) -> String {
        match self.number {
            None => "system".to_owned(),
            Some(number) => format!("w{number}"),
        }
    }
}

pub struct Snapshot {
    place: Place,
    /// Taken out only while it is turned from one database to the next.
    tx: Option<Tx>,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if let Some(Tx { connection: Connection::Postgres(client), .. }) = self.tx.take() {
            // Its transaction is open, so it cannot go back to the pool.
            drop(Object::take(client));
        }
    }
}

impl Snapshot {
    /// Begins at the system database.
    pub async fn begin(place: Place) -> Result<Snapshot> {
        let mut snapshot = Snapshot { place, tx: None };
        if let Place::Server(pool) = &snapshot.place {
            let client = pool.get().await.map_err(|e| Error::Unavailable(e.to_string()))?;
            let mut tx =
                Tx::new(Connection::Postgres(client), Layout::Plain, database_place(None).1.into());
            let begun = tx
                .script(
                    "begin isolation level repeatable read read only; \
                     set local statement_timeout = 0; \
                     set local idle_in_transaction_session_timeout = 0",
                )
                .await;
            snapshot.tx = Some(tx);
            begun?;
        }
        snapshot.turn_to(&Named::SYSTEM).await?;
        Ok(snapshot)
    }

    /// Turns to another database of the hub.
    pub async fn turn_to(&mut self, database: &Named) -> Result<()> {
        let (file, schema) = database_place(database.number);
        let tx = match (&self.place, self.tx.take()) {
            (Place::Folder(folder), _) => {
                let connection = sqlite::connect(&folder.join(file), true, 16_384)?;
                let mut tx = Tx::new(Connection::Sqlite(connection), Layout::Plain, "main.".into());
                tx.script("begin").await?;
                tx
            }
            (Place::Server(_), Some(tx)) => tx.turned_to(Layout::Plain, schema.into()),
            (Place::Server(_), None) => {
                return Err(Error::Unavailable("the snapshot has ended".to_owned()));
            }
        };
        self.tx = Some(tx);
        Ok(())
    }

    pub fn tx(&mut self) -> Result<&mut Tx> {
        self.tx.as_mut().ok_or_else(|| Error::Unavailable("the snapshot has ended".to_owned()))
    }

    /// The workspaces, while it stands at the system database.
    pub async fn workspaces(&mut self) -> Result<Vec<Named>> {
        let text = "select number, partitioned from {s}workspaces order by number";
        let rows = self.tx()?.query_text(text, &[]).await?;
        rows.iter()
            .map(|row| Ok(Named { number: Some(row.small(0)?), partitioned: row.bool(1)? }))
            .collect()
    }

    /// The ids of what has files in the data folder, while it stands at a workspace.
    pub async fn with_files(&mut self) -> Result<HashSet<String>> {
        let mut ids = HashSet::new();
        for row in self.tx()?.query_text("select id from {s}imports", &[]).await? {
            ids.insert(row.uuid(0)?.to_string());
        }
        Ok(ids)
    }

    /// The last migration that ran in this database.
    pub async fn migration(&mut self) -> Result<i64> {
        let text = "select max(number) from {s}migrations";
        let rows = self.tx()?.query_text(text, &[]).await?;
        rows.first().map_or(Ok(0), |row| row.int(0))
    }

    /// The tables of this database with their columns.
    pub async fn tables(&mut self) -> Result<Vec<(String, Vec<Stored>)>> {
        let tx = self.tx()?;
        let mut found = Vec::new();
        for name in tables(tx).await? {
            let columns = columns(tx, &name).await?;
            found.push((name, columns));
        }
        Ok(found)
    }

    /// Hands over every row of a table as its line, and gives the table's sums. `wanted` narrows
    /// them: a condition with its `where`, or nothing.
    pub async fn lines(
        &mut self,
        table: &str,
        columns: &[Stored],
        wanted: &str,
        mut report: impl FnMut(u64),
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<Sums> {
        let bucket = bucket_column(&heading(table, columns).columns);
        let mut sums = Sums::default();
        let mut line = Vec::with_capacity(512);
        let text = select(table, columns, wanted);
        self.tx()?
            .each(&text, &[], |row| {
                let number = match bucket.and_then(|at| row.0.get(at)) {
                    Some(Cell::Int(number)) => Some(*number),
                    _ => None,
                };
                write_line(&mut line, row.0, columns)
                    .map_err(|error| Error::Corrupt(format!("{table}: {error}")))?;
                sums.add(&line, number);
                if sums.rows.is_multiple_of(REPORT_EVERY) {
                    report(sums.rows);
                }
                take(&line)
            })
            .await?;
        report(sums.rows);
        Ok(sums)
    }
}

/// A report about one table.
pub fn progress(step: &'static str, database: &str, table: &str, rows: u64) -> Progress {
    Progress { step, database: database.to_owned(), table: table.to_owned(), rows }
}
