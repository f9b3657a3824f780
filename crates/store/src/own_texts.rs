//! What a workspace keeps once, each as one text of JSON.

use crate::Result;
use crate::engines::{Priority, Tx};
use crate::sql::Sql;
use crate::workspace::Workspace;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnText {
    /// The words of the pages that customers see.
    PublicPages,
    /// The rules of sending.
    SendingRules,
}

impl OwnText {
    fn key(self) -> &'static str {
        match self {
            OwnText::PublicPages => "public_pages",
            OwnText::SendingRules => "sending_rules",
        }
    }
}

static GET: Sql = Sql::reference("own_text", "select value from {s}meta where key = ?1");
static PUT: Sql = Sql::reference(
    "put_own_text",
    "insert into {s}meta (key, value) values (?1, ?2)
     on conflict (key) do update set value = excluded.value",
);

pub(crate) static SQL: &[&Sql] = &[&GET, &PUT];

pub(crate) async fn get(tx: &mut Tx, which: OwnText) -> Result<Option<String>> {
    tx.first(&GET, crate::params![which.key()]).await?.map(|row| row.text(0)).transpose()
}

pub(crate) async fn put(tx: &mut Tx, which: OwnText, json: &str) -> Result<()> {
    tx.execute(&PUT, crate::params![which.key(), json]).await.map(drop)
}

impl Workspace {
    /// What was kept, or `None`.
    pub async fn own_text(&self, which: OwnText) -> Result<Option<String>> {
        self.read(move |tx| Box::pin(async move { get(tx, which).await })).await
    }

    pub async fn put_own_text(&self, which: OwnText, json: String) -> Result<()> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { put(tx, which, &json).await })
        })
        .await
    }
}
