//! The words of the pages that customers see, where a workspace has its own: one JSON text.

use crate::Result;
use crate::engines::{Priority, Tx};
use crate::sql::Sql;
use crate::workspace::Workspace;

static GET: Sql =
    Sql::reference("public_pages", "select value from {s}meta where key = 'public_pages'");
static PUT: Sql = Sql::reference(
    "put_public_pages",
    "insert into {s}meta (key, value) values ('public_pages', ?1)
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
    pub async fn public_pages(&self) -> Result<Option<String>> {
        self.read(|tx| Box::pin(async move { get(tx).await })).await
    }

    pub async fn put_public_pages(&self, json: String) -> Result<()> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { put(tx, &json).await })
        })
        .await
    }
}
