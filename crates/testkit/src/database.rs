//! Fresh databases on a PostgreSQL server.

use std::sync::atomic::{AtomicU32, Ordering};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The URL of a new, empty database on the server that `TIDINGS_TEST_POSTGRES` names.
pub async fn fresh() -> String {
    let server = std::env::var("TIDINGS_TEST_POSTGRES")
        .expect("TIDINGS_TEST_POSTGRES names a PostgreSQL server; run the tests by `make test`");
    fresh_on(&server).await
}

/// The same on another server.
pub async fn fresh_on(server: &str) -> String {
    let (client, connection) =
        tokio_postgres::connect(server, tokio_postgres::NoTls).await.expect("reach PostgreSQL");
    let driver = tokio::spawn(connection);
    let name = format!("t{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    client.batch_execute(&format!("create database {name}")).await.expect("create a database");
    drop(client);
    driver.await.expect("the driver ends").expect("the connection ends");
    let at = server.rfind('/').expect("the URL names a database");
    format!("{}/{name}", &server[..at])
}
