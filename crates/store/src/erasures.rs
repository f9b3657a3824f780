//! Who was erased, as a list that lives outside of archives. An archive from before an erasure still
//! holds the person; with the list they are erased from it again.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use tidings_domain::{CustomerId, Timestamp};

use crate::engines::Tx;
use crate::sql::{Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result, personal};

static NOTE: Sql = Sql::reference(
    "note_erasure",
    "insert into {s}erasures (id, at, names) values (?1, ?2, ?3) on conflict (id) do nothing",
);
static ALL: Sql = Sql::reference("erasures", "select id, at, names from {s}erasures order by id");

pub(crate) static SQL: &[&Sql] = &[&NOTE, &ALL];

/// The erasures of a workspace. It names nobody: ids are those of rows that are gone, names are
/// keyed hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasures {
    /// The key of the hashes, in hexadecimal digits; blank where nobody was ever erased.
    pub key: String,
    pub erased: Vec<Erasure>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    pub customer: CustomerId,
    pub at: Timestamp,
    pub names: Vec<Grave>,
}

/// What is kept of a name: its kind's number, and the keyed hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grave {
    pub kind: i16,
    pub hash: String,
}

impl Erasures {
    /// Those that `known` does not have.
    pub fn beyond(self, known: &Erasures) -> Vec<Erasure> {
        let known: HashSet<CustomerId> = known.erased.iter().map(|one| one.customer).collect();
        self.erased.into_iter().filter(|one| !known.contains(&one.customer)).collect()
    }
}

impl Workspace {
    /// Everybody who was erased.
    pub async fn erasures(&self) -> Result<Erasures> {
        self.read(|tx| {
            Box::pin(async move {
                let key = personal::known_key(tx).await?.unwrap_or_default();
                let rows = tx.query(&ALL, &[]).await?;
                let erased = rows.iter().map(erasure).collect::<Result<_>>()?;
                Ok(Erasures { key, erased })
            })
        })
        .await
    }
}

fn erasure(row: &Row) -> Result<Erasure> {
    let names = serde_json::from_str(&row.text(2)?)
        .map_err(|error| Error::Corrupt(format!("read an erasure: {error}")))?;
    Ok(Erasure { customer: CustomerId(row.uuid(0)?), at: row.time(1)?, names })
}

/// Notes an erasure in the transaction that erases.
pub(crate) async fn note(
    tx: &mut Tx,
    customer: CustomerId,
    at: Timestamp,
    names: &[Grave],
) -> Result<()> {
    let names = serde_json::to_string(names)
        .map_err(|error| Error::Invalid(format!("write an erasure: {error}")))?;
    tx.execute(&NOTE, crate::params![customer, at, names]).await.map(|_| ())
}
