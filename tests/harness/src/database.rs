//! Databases: SQLite in a folder, a database of its own on the tests' PostgreSQL, or a whole
//! PostgreSQL server that can be taken away.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tidings_testkit::database;
use tokio_postgres::NoTls;

use crate::run::free_port;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    /// The URL of a new, empty database; `None` for SQLite.
    pub async fn fresh(self) -> Option<String> {
        match self {
            Engine::Sqlite => None,
            Engine::Postgres => Some(database::fresh().await),
        }
    }
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("reach PostgreSQL");
    // It ends with the client.
    tokio::spawn(connection);
    client
}

/// How many late writes the first workspace of a database has turned away.
pub async fn fenced_writes(url: &str) -> u64 {
    let client = connect(url).await;
    let text = "select value from tidings_w1.meta where key = 'fenced_writes'";
    let row = client.query_opt(text, &[]).await.expect("read fenced_writes");
    row.map_or(0, |row| row.get::<_, String>(0).parse().expect("a number"))
}

/// A PostgreSQL server of the test's own. It stops when dropped.
pub struct Cluster {
    bin: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
}

impl Cluster {
    /// Makes one and starts it.
    pub fn start_new() -> Cluster {
        let bin = std::env::var_os("POSTGRES_BIN").map_or_else(newest_server, PathBuf::from);
        assert!(bin.join("initdb").is_file(), "PostgreSQL's server is missing; run `make deps`");
        let folder = tempfile::Builder::new().prefix("tidings-cluster.").tempdir();
        let folder = folder.expect("a temporary folder");
        if is_root() {
            let given = Command::new("chown").arg("postgres").arg(folder.path()).status();
            assert!(given.expect("run chown").success(), "give the folder to postgres");
        }
        let cluster = Cluster { bin, folder, port: free_port() };
        cluster.run("initdb", &["-U", "postgres", "-A", "trust", "-E", "UTF8"]);
        cluster.start();
        cluster
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.bin.join(program);
        let mut command = if is_root() {
            // The server refuses to run as root.
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let status = command
            .env("LC_ALL", "C.UTF-8")
            .current_dir(self.folder.path())
            .arg("-D")
            .arg(self.data())
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("run PostgreSQL's own commands");
        let log = std::fs::read_to_string(self.data().join("server.log")).unwrap_or_default();
        assert!(status.success(), "{arguments:?}: {status}\n{log}");
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn start(&self) {
        let sockets = self.data();
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} \
             -c max_connections=100 -c max_wal_size=2GB",
            self.port,
            sockets.display()
        );
        let log = self.data().join("server.log");
        self.run("pg_ctl", &["-w", "-l", &log.to_string_lossy(), "start", "-o", &options]);
    }

    /// Stops the server; `immediate` is as if its machine had lost power.
    pub fn stop(&self, immediate: bool) {
        let mode = if immediate { "immediate" } else { "fast" };
        self.run("pg_ctl", &["-w", "-m", mode, "stop"]);
    }

    /// A new, empty database on it.
    pub async fn fresh(&self) -> String {
        database::fresh_on(&format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)).await
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() {
            self.stop(true);
        }
    }
}

fn newest_server() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).max_by_key(|path| number(path));
    newest.unwrap_or_default().join("bin")
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("run id");
    output.stdout.starts_with(b"0\n")
}
