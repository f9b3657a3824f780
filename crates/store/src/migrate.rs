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

pub static WORKSPACE: &[Migration] = &[
    Migration {
        number: 1,
        name: "workspace",
        sqlite: include_str!("migrations/sqlite/0001_workspace.sql"),
        postgres: include_str!("migrations/postgres/0001_workspace.sql"),
    },
    Migration {
        number: 2,
        name: "pages",
        sqlite: include_str!("migrations/sqlite/0002_pages.sql"),
        postgres: include_str!("migrations/postgres/0002_pages.sql"),
    },
    Migration {
        number: 3,
        name: "content",
        sqlite: include_str!("migrations/sqlite/0003_content.sql"),
        postgres: include_str!("migrations/postgres/0003_content.sql"),
    },
    Migration {
        number: 4,
        name: "consent",
        sqlite: include_str!("migrations/sqlite/0004_consent.sql"),
        postgres: include_str!("migrations/postgres/0004_consent.sql"),
    },
    Migration {
        number: 5,
        name: "audiences",
        sqlite: include_str!("migrations/sqlite/0005_audiences.sql"),
        postgres: include_str!("migrations/postgres/0005_audiences.sql"),
    },
    Migration {
        number: 6,
        name: "audit",
        sqlite: include_str!("migrations/sqlite/0006_audit.sql"),
        postgres: include_str!("migrations/postgres/0006_audit.sql"),
    },
    Migration {
        number: 7,
        name: "email",
        sqlite: include_str!("migrations/sqlite/0007_email.sql"),
        postgres: include_str!("migrations/postgres/0007_email.sql"),
    },
    Migration {
        number: 20,
        name: "campaigns",
        sqlite: include_str!("migrations/sqlite/0020_campaigns.sql"),
        postgres: include_str!("migrations/postgres/0020_campaigns.sql"),
    },
    Migration {
        number: 30,
        name: "definitions",
        sqlite: include_str!("migrations/sqlite/0030_definitions.sql"),
        postgres: include_str!("migrations/postgres/0030_definitions.sql"),
    },
];

pub static SYSTEM: &[Migration] = &[
    Migration {
        number: 1,
        name: "system",
        sqlite: include_str!("migrations/sqlite_system/0001_system.sql"),
        postgres: include_str!("migrations/postgres_system/0001_system.sql"),
    },
    Migration {
        number: 2,
        name: "files_shared",
        sqlite: include_str!("migrations/sqlite_system/0002_files_shared.sql"),
        postgres: include_str!("migrations/postgres_system/0002_files_shared.sql"),
    },
    Migration {
        number: 3,
        name: "people",
        sqlite: include_str!("migrations/sqlite_system/0003_people.sql"),
        postgres: include_str!("migrations/postgres_system/0003_people.sql"),
    },
];

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
