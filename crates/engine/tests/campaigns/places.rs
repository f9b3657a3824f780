//! Where a text lies: in which columns of which tables, in which files, and in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use tidings_store::Home;
use tracing_subscriber::fmt::MakeWriter;

use crate::common::Sending;

/// Every column of the database that can hold a text, as `table.column`, and whether it holds this
/// one in any row. It is asked of the database itself, so a new column is among them.
pub async fn columns_with(sending: &Sending, text: &str) -> BTreeMap<String, bool> {
    match &sending.home {
        Home::Folder(folder) => {
            let mut all = BTreeMap::new();
            for file in files(folder) {
                if file.extension().is_some_and(|extension| extension == "db") {
                    of_sqlite(&file, text, &mut all);
                }
            }
            all
        }
        Home::Server { url, .. } => of_postgres(url, text).await,
    }
}

fn of_sqlite(file: &Path, text: &str, all: &mut BTreeMap<String, bool>) {
    let db = rusqlite::Connection::open(file).expect("open a database");
    let mut columns = db
        .prepare(
            "select t.name, c.name from sqlite_master t, pragma_table_info(t.name) c
             where t.type = 'table' and t.sql not like '%virtual%'
               and lower(c.type) not in ('integer', 'real', 'boolean')",
        )
        .expect("read the catalogue");
    let columns: Vec<(String, String)> = columns
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .expect("read the catalogue");
    for (table, column) in columns {
        let found = db.query_row(
            &format!(
                "select exists (select 1 from \"{table}\"
                 where instr(cast(\"{column}\" as blob), cast(?1 as blob)) > 0)"
            ),
            [text],
            |row| row.get(0),
        );
        all.insert(format!("{table}.{column}"), found.expect("look through a column"));
    }
}

async fn of_postgres(url: &str, text: &str) -> BTreeMap<String, bool> {
    let (client, connection) =
        tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("connect");
    tokio::spawn(connection);
    let columns = client
        .query(
            "select table_schema, table_name, column_name, data_type from information_schema.columns
             where table_schema not in ('pg_catalog', 'information_schema')
               and data_type in ('text', 'jsonb', 'json', 'bytea', 'character varying', 'ARRAY')",
            &[],
        )
        .await
        .expect("read the catalogue");
    let mut all = BTreeMap::new();
    for row in columns {
        let (schema, table): (String, String) = (row.get(0), row.get(1));
        let (column, kind): (String, String) = (row.get(2), row.get(3));
        let bytes = match kind.as_str() {
            "bytea" => format!("\"{column}\""),
            _ => format!("convert_to(\"{column}\"::text, 'UTF8')"),
        };
        let asked = format!(
            "select exists (select 1 from \"{schema}\".\"{table}\"
             where position(convert_to($1::text, 'UTF8') in {bytes}) > 0)"
        );
        let found = client.query_one(&asked, &[&text]).await.expect("look through a column");
        all.insert(format!("{table}.{column}"), found.get(0));
    }
    all
}

/// The files that hold a text, as bytes or as UTF-16, in small letters or as it is.
pub fn files_with(folder: &Path, text: &str) -> BTreeSet<String> {
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let holds = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|found| found == part);
    files(folder)
        .into_iter()
        .filter(|file| {
            let bytes = std::fs::read(file).expect("read a file").to_ascii_lowercase();
            holds(&bytes, text.as_bytes()) || holds(&bytes, &wide)
        })
        .map(|file| file.strip_prefix(folder).expect("inside").display().to_string())
        .collect()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("read a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[derive(Clone, Copy)]
struct Kept;

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().expect("the log").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Kept;

    fn make_writer(&'a self) -> Kept {
        Kept
    }
}

/// Keeps what every test of this program logs from now on, as much of it as our own crates can say.
pub fn keep_log() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let filter = "info,tidings_engine=trace,tidings_store=trace,tidings_channels=trace";
        let subscriber =
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(Kept).finish();
        tracing::subscriber::set_global_default(subscriber).expect("nobody else keeps the log");
        tracing::info!("the log is kept");
    });
}

/// The lines of the log.
pub fn log() -> Vec<String> {
    let bytes = LOG.lock().expect("the log").clone();
    String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
}
