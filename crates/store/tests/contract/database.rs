//! A fresh database on the PostgreSQL server that tests run against. The crate's own tests use
//! this file too.

use std::sync::atomic::{AtomicU32, Ordering};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A database of its own on the server that `TIDINGS_TEST_POSTGRES` names.
pub async fn fresh() -> String {
    let url = std::env::var("TIDINGS_TEST_POSTGRES")
        .expect("TIDINGS_TEST_POSTGRES names a PostgreSQL server; run the tests by `make test`");
    let (client, connection) =
        tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("reach PostgreSQL");
    let driver = tokio::spawn(connection);
    let name = format!("t{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    client.batch_execute(&format!("create database {name}")).await.expect("create a database");
    drop(client);
    driver.await.expect("the driver ends").expect("the connection ends");
    let at = url.rfind('/').expect("the URL names a database");
    format!("{}/{name}", &url[..at])
}
