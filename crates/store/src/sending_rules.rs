//! The workspace's own rules of sending, as one JSON text.

use crate::Result;
use crate::engines::Priority;
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

impl Workspace {
    /// What was kept, or `None`.
    pub async fn sending_rules(&self) -> Result<Option<String>> {
        self.read(|tx| {
            Box::pin(async move { tx.first(&GET, &[]).await?.map(|row| row.text(0)).transpose() })
        })
        .await
    }

    pub async fn put_sending_rules(&self, json: String) -> Result<()> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { tx.execute(&PUT, crate::params![json]).await.map(|_| ()) })
        })
        .await
    }
}
