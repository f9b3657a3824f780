//! A file of customers, uploaded and imported: on SQLite beside the bare engine, on PostgreSQL
//! beside `COPY`. Both sides fill the same tables with the same rows, and the counts are checked.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rusqlite::{Connection, OpenFlags};
use tokio_postgres::{Client, NoTls};

use crate::hub::{Hub, Place};
use crate::limits::{postgres_copy, sqlite_fill};
use crate::measure::{Goal, Row};
use crate::{Options, host, people};

/// Peak memory that an import may take, in MB.
const MEMORY: Goal = Goal::AtMost(400.0);

fn file(rows: u64) -> anyhow::Result<PathBuf> {
    let path = host::scratch().join(format!("customers-{rows}.csv"));
    let bytes = people::write_csv(&path, rows).context("write the file of customers")?;
    eprintln!("{}: {bytes} bytes", path.display());
    Ok(path)
}

fn rate(rows: u64, took: Duration) -> f64 {
    rows as f64 / took.as_secs_f64()
}

pub async fn sqlite(options: &Options) -> anyhow::Result<Vec<Row>> {
    let file = file(options.rows)?;
    let work = format!("import of {} customers, SQLite", options.rows);
    let mut row = Row::new(work, "bare engine", "rows", Goal::AtLeast(0.3));
    let mut peak = 0;
    for _ in 0..options.rounds {
        let place = Place::sqlite("import-hub")?;
        let token = place.prepare().await?;
        let hub = Hub::start(&place, &token).await?;
        let real = rate(options.rows, hub.import(&file, options.rows).await?);
        peak = peak.max(hub.process.peak_bytes());
        hub.process.stop().await?;

        let path = host::fresh("import-limit")?.join("limit.db");
        let mut db = sqlite_fill::like(&place.file(), &path, &["customers", "identities"])?;
        let columns = sqlite_fill::attribute_columns(&place.file())?;
        let took = sqlite_fill::customers(&mut db, &columns, options.rows)?;
        row.round(real, rate(options.rows, took));
        same(&place, &db, &columns)?;
    }
    row.figure("peak memory", peak as f64 / 1e6, "MB", MEMORY);
    Ok(vec![row])
}

/// Both files must say the same, or one side did less.
pub fn same(place: &Place, limit: &Connection, columns: &[String]) -> anyhow::Result<()> {
    let hub = Connection::open_with_flags(place.file(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let sums: Vec<String> =
        columns.iter().map(|name| format!("total(length({name})), count({name})")).collect();
    let customers = format!(
        "select count(*) || ' ' || concat_ws(' ', total(length(external_id)), \
         total(length(email)), {}) from customers",
        sums.join(", ")
    );
    let identities = "select concat_ws(' ', count(*), sum(kind), sum(ibucket), \
                      total(length(value))) from identities";
    for question in [customers.as_str(), identities] {
        let ask = |db: &Connection| db.query_row(question, [], |row| row.get::<_, String>(0));
        let (ours, theirs) = (ask(&hub)?, ask(limit)?);
        ensure!(ours == theirs, "the hub holds {ours}, the limit {theirs}: {question}");
    }
    Ok(())
}

/// A connection to the server that `TIDINGS_TEST_POSTGRES` names, in a database of its own.
pub async fn database() -> anyhow::Result<(String, Client)> {
    let Ok(url) = std::env::var("TIDINGS_TEST_POSTGRES") else {
        bail!("no PostgreSQL: run this by scripts/postgres.sh, or by `make bench`");
    };
    let server = connect(&url).await?;
    server.batch_execute("drop database if exists tidings_bench").await?;
    server.batch_execute("create database tidings_bench").await?;
    let at = url.rfind('/').context("the URL names no database")?;
    let url = format!("{}/tidings_bench", &url[..at]);
    let client = connect(&url).await?;
    Ok((url, client))
}

async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("connect")?;
    tokio::spawn(connection);
    Ok(client)
}

pub async fn postgres(options: &Options) -> anyhow::Result<Vec<Row>> {
    let file = file(options.rows)?;
    let work = format!("import of {} customers, PostgreSQL", options.rows);
    let mut row = Row::new(work, "COPY", "rows", Goal::AtLeast(0.15));
    let mut peak = 0;
    for _ in 0..options.rounds {
        let (url, mut client) = database().await?;
        let place = Place { database: Some(url), ..Place::sqlite("import-hub")? };
        let token = place.prepare().await?;
        let hub = Hub::start(&place, &token).await?;
        let real = rate(options.rows, hub.import(&file, options.rows).await?);
        peak = peak.max(hub.process.peak_bytes());
        hub.process.stop().await?;

        postgres_copy::like(&client, "tidings_w1").await?;
        let columns = postgres_copy::attribute_columns(&client, "tidings_w1").await?;
        // Neither side is to pay for what the other one left to be written.
        client.batch_execute("checkpoint").await?;
        let took = postgres_copy::customers(&mut client, &columns, options.rows).await?;
        row.round(real, rate(options.rows, took));
        for table in ["customers", "identities"] {
            let mut counts = [0_i64; 2];
            for (schema, count) in ["tidings_w1", "bench_limit"].iter().zip(&mut counts) {
                let text = format!("select count(*) from {schema}.{table}");
                *count = client.query_one(&text, &[]).await?.get(0);
            }
            ensure!(counts[0] == counts[1], "{table}: the hub holds {counts:?} beside the limit");
        }
    }
    row.figure("peak memory", peak as f64 / 1e6, "MB", MEMORY);
    Ok(vec![row])
}
