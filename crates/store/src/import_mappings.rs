//! Mappings of imports that are kept under a name. What they say is the engine's business: headers
//! and mapping are JSON texts here.

use serde::{Deserialize, Serialize};
use tidings_domain::{ImportMappingId, Timestamp};

use crate::engines::{Priority, Tx};
use crate::sql::{Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Result};

/// A mapping under its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptMapping {
    pub id: ImportMappingId,
    pub name: String,
    /// The table whose records the rows are; `None` means customers.
    pub table: Option<String>,
    /// The columns that it was made for, in their order.
    pub headers: String,
    /// The same for files with the same columns.
    pub header_key: String,
    pub mapping: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// When an import took it last, or when it was made.
    pub used_at: Timestamp,
}

const COLUMNS: &str =
    "id, name, target_table, headers, header_key, mapping, created_at, updated_at, used_at";

static ADD: Sql = Sql::reference(
    "add_import_mapping",
    "insert into {s}import_mappings
       (number, id, name, target_table, headers, header_key, mapping, created_at, updated_at,
        used_at)
     select coalesce(max(number), 0) + 1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?7
     from {s}import_mappings where true
     on conflict do nothing",
);
static CHANGE: Sql = Sql::reference(
    "change_import_mapping",
    "update {s}import_mappings set name = ?2, headers = ?3, header_key = ?4, mapping = ?5,
       updated_at = ?6 where id = ?1",
);
static USE: Sql = Sql::reference(
    "use_import_mapping",
    "update {s}import_mappings set used_at = ?2 where name = ?1",
);
static DROP: Sql =
    Sql::reference("drop_import_mapping", "delete from {s}import_mappings where id = ?1");

pub(crate) static SQL: &[&Sql] = &[&ADD, &CHANGE, &USE, &DROP];

fn mapping(row: &Row) -> Result<KeptMapping> {
    Ok(KeptMapping {
        id: ImportMappingId(row.uuid(0)?),
        name: row.text(1)?,
        table: row.opt_text(2)?,
        headers: row.text(3)?,
        header_key: row.text(4)?,
        mapping: row.text(5)?,
        created_at: row.time(6)?,
        updated_at: row.time(7)?,
        used_at: row.time(8)?,
    })
}

async fn by_name(tx: &mut Tx, name: &str) -> Result<Option<KeptMapping>> {
    let text = format!("select {COLUMNS} from {{s}}import_mappings where name = ?1");
    tx.query_text(&text, crate::params![name]).await?.first().map(mapping).transpose()
}

fn taken(name: &str) -> Error {
    Error::Conflict(format!("a mapping named {name} exists"))
}

impl Workspace {
    /// Keeps a mapping under a new name.
    pub async fn add_import_mapping(&self, new: KeptMapping) -> Result<KeptMapping> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                // Another node may take the number in the same moment; then the next one is free.
                for _ in 0..8 {
                    if by_name(tx, &new.name).await?.is_some() {
                        return Err(taken(&new.name));
                    }
                    let params = crate::params![
                        new.id,
                        &new.name,
                        new.table.clone(),
                        &new.headers,
                        &new.header_key,
                        &new.mapping,
                        new.created_at
                    ];
                    if tx.execute(&ADD, params).await? > 0 {
                        return Ok(new);
                    }
                }
                Err(Error::Unavailable("numbers of mappings keep moving".to_owned()))
            })
        })
        .await
    }

    /// Writes a mapping anew, also its name.
    pub async fn change_import_mapping(&self, changed: KeptMapping) -> Result<KeptMapping> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let same_name = by_name(tx, &changed.name).await?;
                if same_name.is_some_and(|other| other.id != changed.id) {
                    return Err(taken(&changed.name));
                }
                let params = crate::params![
                    changed.id,
                    &changed.name,
                    &changed.headers,
                    &changed.header_key,
                    &changed.mapping,
                    changed.updated_at
                ];
                match tx.execute(&CHANGE, params).await? {
                    0 => Err(Error::NotFound(format!("the mapping {}", changed.id))),
                    _ => Ok(changed),
                }
            })
        })
        .await
    }

    /// Drops a mapping; false where it is not there. Imports that took it keep what they took.
    pub async fn drop_import_mapping(&self, id: ImportMappingId) -> Result<bool> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { Ok(tx.execute(&DROP, crate::params![id]).await? > 0) })
        })
        .await
    }

    /// Notes that an import took a mapping.
    pub async fn use_import_mapping(&self, name: String, at: Timestamp) -> Result<()> {
        self.write(Priority::Interactive, move |tx| {
            Box::pin(async move { tx.execute(&USE, crate::params![name, at]).await.map(|_| ()) })
        })
        .await
    }

    /// Every kept mapping, by name.
    pub async fn import_mappings(&self) -> Result<Vec<KeptMapping>> {
        let text = format!("select {COLUMNS} from {{s}}import_mappings order by name");
        self.read(move |tx| {
            Box::pin(async move { tx.query_text(&text, &[]).await?.iter().map(mapping).collect() })
        })
        .await
    }

    /// A mapping by its name.
    pub async fn import_mapping(&self, name: String) -> Result<Option<KeptMapping>> {
        self.read(move |tx| Box::pin(async move { by_name(tx, &name).await })).await
    }

    /// The mapping for files with these columns that was taken last.
    pub async fn import_mapping_for(
        &self,
        header_key: String,
        table: Option<String>,
    ) -> Result<Option<KeptMapping>> {
        let text = format!(
            "select {COLUMNS} from {{s}}import_mappings
             where header_key = ?1 and coalesce(target_table, '') = ?2
             order by used_at desc, number desc limit 1"
        );
        self.read(move |tx| {
            Box::pin(async move {
                let params = crate::params![header_key, table.unwrap_or_default()];
                tx.query_text(&text, params).await?.first().map(mapping).transpose()
            })
        })
        .await
    }
}
