//! Bare `COPY` into tables like the hub's own, indexes included.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use futures::SinkExt as _;
use tokio_postgres::Client;

use super::ready;
use crate::people::ATTRIBUTES;

/// Customers in one `COPY`.
const CUSTOMERS_A_COPY: u64 = 100_000;
/// Bytes handed to the driver at once.
const PIECE: usize = 256 * 1024;

/// Makes the tables of the limit anew, like those of a hub's workspace.
pub async fn like(client: &Client, workspace: &str) -> anyhow::Result<()> {
    let text = format!(
        "drop schema if exists bench_limit cascade; create schema bench_limit; \
         create table bench_limit.customers (like {workspace}.customers including all); \
         create table bench_limit.identities (like {workspace}.identities including all);"
    );
    client.batch_execute(&text).await.context("make the limit's tables")
}

/// The columns behind the attributes of the generated customers, in the order of the file.
pub async fn attribute_columns(client: &Client, workspace: &str) -> anyhow::Result<Vec<String>> {
    let text = format!("select column_name from {workspace}.attributes where name = $1");
    let mut columns = Vec::new();
    for (name, _, _) in ATTRIBUTES {
        let row = client.query_one(&text, &[&name]).await;
        columns.push(row.with_context(|| format!("find the attribute {name}"))?.get(0));
    }
    Ok(columns)
}

/// Copies customers `0..rows` with their identities; gives how long the copying took.
pub async fn customers(
    client: &mut Client,
    columns: &[String],
    rows: u64,
) -> anyhow::Result<Duration> {
    let into_customers = format!(
        "copy bench_limit.customers (bucket, id, system_id, external_id, email, created_at, \
         updated_at, {}) from stdin",
        columns.join(", ")
    );
    let into_identities =
        "copy bench_limit.identities (ibucket, kind, value, bucket, customer_id) from stdin";
    let mut took = Duration::ZERO;
    let mut from = 0;
    while from < rows {
        let to = rows.min(from + CUSTOMERS_A_COPY);
        let (customers, identities) = texts(from, to)?;
        let started = Instant::now();
        let turn = client.transaction().await?;
        copy(&turn, &into_customers, customers).await?;
        copy(&turn, into_identities, identities).await?;
        turn.commit().await?;
        took += started.elapsed();
        from = to;
    }
    Ok(took)
}

/// The rows of both tables in COPY's text format.
pub fn texts(from: u64, to: u64) -> anyhow::Result<(String, String)> {
    let (mut customers, mut identities) = (String::new(), String::new());
    let at = 1_700_000_000_000_000_i64;
    for one in ready(from, to) {
        let (p, id, bucket) = (&one.person, one.id.0, one.bucket);
        writeln!(
            customers,
            "{bucket}\t{id}\t{}\t{}\t{}\t{at}\t{at}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
            one.number,
            p.external_id,
            p.email,
            p.first_name,
            p.last_name,
            p.country,
            p.city,
            p.birthday,
            p.score,
            p.revenue,
            p.newsletter
        )?;
        writeln!(identities, "{}\t1\t{}\t{bucket}\t{id}", one.external_bucket, p.external_id)?;
        writeln!(identities, "{}\t2\t{}\t{bucket}\t{id}", one.email_bucket, p.email)?;
    }
    Ok((customers, identities))
}

async fn copy(
    turn: &tokio_postgres::Transaction<'_>,
    statement: &str,
    text: String,
) -> anyhow::Result<()> {
    let sink = turn.copy_in::<_, Bytes>(statement).await.context("begin to copy")?;
    tokio::pin!(sink);
    let mut rest = Bytes::from(text);
    while !rest.is_empty() {
        let piece = rest.split_to(rest.len().min(PIECE));
        sink.send(piece).await.context("copy")?;
    }
    sink.finish().await.context("finish to copy")?;
    Ok(())
}
