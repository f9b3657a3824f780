//! Numbered migrations, with the same numbers on both engines. Each runs in one transaction with
//! the row that says it ran, so a kill leaves it done or not begun.

use sha2::{Digest, Sha256};
use tidings_domain::Timestamp;

use crate::engines::{Layout, Tx};
use crate::hex::hex;
use crate::sql::Dialect;
use crate::{Error, Result};

/// One step, in both engines' spelling.
pub struct Migration {
    pub number: i64,
    pub name: &'static str,
    pub sqlite: &'static str,
    pub postgres: &'static str,
}

/// A list of migrations: the folder of each engine, then number, name and file of each step.
macro_rules! migrations {
    ($sqlite:literal, $postgres:literal; $($number:literal $name:literal $file:literal,)*) => {
        &[$(Migration {
            number: $number,
            name: $name,
            sqlite: include_str!(concat!("migrations/", $sqlite, "/", $file)),
            postgres: include_str!(concat!("migrations/", $postgres, "/", $file)),
        }),*]
    };
}

pub static WORKSPACE: &[Migration] = migrations! { "sqlite", "postgres";
    1 "workspace" "0001_workspace.sql",
    2 "pages" "0002_pages.sql",
    3 "content" "0003_content.sql",
    4 "consent" "0004_consent.sql",
    5 "audiences" "0005_audiences.sql",
    6 "audit" "0006_audit.sql",
    7 "email" "0007_email.sql",
    8 "imports" "0008_imports.sql",
    9 "undo" "0009_undo.sql",
    10 "import_mappings" "0010_import_mappings.sql",
    11 "campaigns" "0011_campaigns.sql",
    12 "customers_found" "0012_customers_found.sql",
    13 "merges" "0013_merges.sql",
    14 "retention" "0014_retention.sql",
    15 "definitions" "0015_definitions.sql",
    16 "storage_samples" "0016_storage_samples.sql",
    17 "journal_order" "0017_journal_order.sql",
    18 "erasures" "0018_erasures.sql",
    19 "indexes" "0019_indexes.sql",
};

pub static SYSTEM: &[Migration] = migrations! { "sqlite_system", "postgres_system";
    1 "system" "0001_system.sql",
    2 "files_shared" "0002_files_shared.sql",
    3 "people" "0003_people.sql",
    4 "node_keys" "0004_node_keys.sql",
};

/// How many partitions a hot table has where the workspace is partitioned.
pub const PARTITIONS: u16 = 16;

/// Applies what has not been applied yet; `lock` keeps two nodes from doing it at once.
pub async fn migrate(tx: &mut Tx, migrations: &[Migration]) -> Result<Vec<&'static str>> {
    let schema = tx.schema().to_owned();
    if tx.dialect() == Dialect::Postgres {
        let bare = schema.trim_end_matches('.');
        tx.script(&format!(
            "select pg_advisory_xact_lock(hashtext('{}')); create schema if not exists {bare};",
            bare.replace('\'', "''")
        ))
        .await?;
    }
    tx.script(&format!(
        "create table if not exists {schema}migrations \
         (number bigint primary key not null, name text not null, checksum text not null, \
          at bigint not null)"
    ))
    .await?;
    let done = tx.query_text("select number, checksum from {s}migrations order by number", &[]);
    let done = done.await?;
    let mut ran = Vec::new();
    for migration in migrations {
        let text = match tx.dialect() {
            Dialect::Sqlite => migration.sqlite,
            Dialect::Postgres => migration.postgres,
        };
        let checksum = hex(&Sha256::digest(text.as_bytes()));
        let known = done.iter().find(|row| row.int(0).is_ok_and(|n| n == migration.number));
        if let Some(row) = known {
            if row.text(1)? != checksum {
                return Err(Error::Corrupt(format!(
                    "migration {} {} is not the one that ran here",
                    migration.number, migration.name
                )));
            }
            continue;
        }
        let script = expand(text, &schema, tx.layout());
        tx.script(&script).await?;
        tx.execute_text(
            "insert into {s}migrations (number, name, checksum, at) values (?1, ?2, ?3, ?4)",
            crate::params![migration.number, migration.name, checksum, Timestamp::now()],
        )
        .await?;
        ran.push(migration.name);
    }
    Ok(ran)
}

/// Fills in the schema and, at `{hot table bucket}`, how the table is partitioned.
fn expand(text: &str, schema: &str, layout: Layout) -> String {
    let mut script = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while let Some(at) = rest.find(" {hot ") {
        script.push_str(&rest[..at]);
        let tail = &rest[at + 6..];
        let end = tail.find('}').unwrap_or(tail.len());
        let (table, bucket) = tail[..end].split_once(' ').unwrap_or((&tail[..end], "bucket"));
        // The statement's own semicolon follows the mark.
        rest = tail.get(end + 2..).unwrap_or_default();
        script.push_str(&partitioned(schema, table, bucket, layout));
    }
    script.push_str(rest);
    script.replace("{s}", schema)
}

/// The end of a `create table` of a hot table, with its partitions.
pub(crate) fn partitioned(schema: &str, table: &str, bucket: &str, layout: Layout) -> String {
    if layout == Layout::Plain {
        return ";".to_owned();
    }
    let mut text = format!(" partition by hash ({bucket});\n");
    for part in 0..PARTITIONS {
        let name = crate::sql::quoted(&format!("{table}_p{part}"));
        let parent = crate::sql::quoted(table);
        text.push_str(&format!(
            "create table {schema}{name} partition of {schema}{parent} \
             for values with (modulus {PARTITIONS}, remainder {part});\n"
        ));
    }
    text
}
