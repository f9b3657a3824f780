//! The workspace's own rules of sending, as one JSON text.

use crate::Result;
use crate::engines::{Priority, Tx};
use crate::sql::Sql;
use crate::workspace::Workspace;

static GET: Sql =
    Sql::reference("sending_rules", "select value from {s}meta where key = 'sending_rules'");
static PUT: Sql = Sql::reference(
    "put_sending_rules",
    "insert into {s}meta (key, value) values ('sending_rules', ?1)
     on conflict (key) do update set value = excluded.value",
);

pub(crate) static SQL: &[&Sql] = &[&GET, &PUT];

pub(crate) async fn get(tx: &mut Tx) -> Result<Option<String>> {
    tx.first(&GET, &[]).await?.map(|row| row.text(0)).transpose()
}

pub(crate) async fn put(tx: &mut Tx, json: &str) -> Result<()> {
    tx.execute(&PUT, crate::params![json]).await.map(drop)
}

impl Workspace {
    /// What was kept, or `None`.
    pub async fn sending_rules(&self) -> Result<Option<String>> {
        self.read(|tx| Box::pin(async move { get(tx).await })).await
    }

    pub async fn put_sending_rules(&self, json: String) -> Result<()> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { put(tx, &json).await })
        })
        .await
    }
}
