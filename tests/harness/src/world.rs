//! What a test runs in: a folder, a database, a mail sink, and one program or several on them, with
//! a workspace whose schema the tests know.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::api::Api;
use crate::database::Engine;
use crate::program::{Program, Setup};
use crate::run::until;
use crate::sink::Sink;

pub struct World {
    /// The programs; most tests have one.
    pub nodes: Vec<Program>,
    pub database_url: Option<String>,
    pub sink: Sink,
    token: String,
    /// The last, so that it goes after everything that writes into it.
    _folder: tempfile::TempDir,
}

impl World {
    /// One program on a new database.
    pub async fn new(engine: Engine, bug: Option<&'static str>) -> World {
        let database_url = engine.fresh().await;
        World::with(database_url, 1, bug).await
    }

    /// One program on SQLite with more in its environment.
    pub async fn on_sqlite_with(environment: Vec<(&'static str, PathBuf)>) -> World {
        World::make(None, 1, None, environment).await
    }

    /// So many programs on one database, all started, with a workspace and its schema.
    pub async fn with(
        database_url: Option<String>,
        nodes: usize,
        bug: Option<&'static str>,
    ) -> World {
        World::make(database_url, nodes, bug, Vec::new()).await
    }

    async fn make(
        database_url: Option<String>,
        nodes: usize,
        bug: Option<&'static str>,
        environment: Vec<(&'static str, PathBuf)>,
    ) -> World {
        let folder = tempfile::Builder::new().prefix("tidings-harness.").tempdir();
        let folder = folder.expect("a temporary folder");
        let sink = Sink::start(folder.path()).await;
        // Programs that share a database share the key that signs links.
        let key: [u8; 32] = rand::random();
        std::fs::write(folder.path().join("master.key"), key).expect("write a master key");
        let setup = |at: usize| Setup {
            name: format!("node {}", at + 1),
            data_dir: folder.path().join(format!("node-{}", at + 1)),
            database_url: database_url.clone(),
            // Only one node is asked for what it keeps as a file.
            files_shared: true,
            master_key_file: folder.path().join("master.key"),
            smtp_url: sink.url(),
            bug,
            environment: environment.clone(),
        };
        let mut nodes: Vec<Program> = (0..nodes).map(|at| Program::new(setup(at))).collect();
        nodes[0].cli(&["workspace", "create", "Harness"]);
        let token = token(&nodes[0]);
        for node in &mut nodes {
            node.start().await;
        }
        let world = World { nodes, database_url, sink, token, _folder: folder };
        for (name, kind) in [("name", "text"), ("score", "integer"), ("joined", "date")] {
            world.api().post("/v1/attributes", json!({"name": name, "kind": kind})).await;
        }
        world
    }

    pub fn program(&mut self) -> &mut Program {
        &mut self.nodes[0]
    }

    /// A caller of the first program.
    pub fn api(&self) -> Api {
        self.api_of(0)
    }

    pub fn api_of(&self, node: usize) -> Api {
        Api::new(self.nodes[node].base_url(), self.token.clone())
    }

    pub fn folder(&self) -> &Path {
        self._folder.path()
    }

    /// Kills the first program and starts it again.
    pub async fn crash(&mut self) {
        self.program().kill();
        self.program().start().await;
    }

    /// Waits until something that the API shows satisfies; gives it.
    pub async fn wait_for(&self, path: &str, satisfies: impl Fn(&Value) -> bool) -> Value {
        let api = self.api();
        let mut seen = Value::Null;
        until(&format!("{path} to come to its end"), async || {
            seen = api.get(path).await;
            satisfies(&seen)
        })
        .await;
        seen
    }
}

/// A token for everything. The command prints it alone or at the end of its last line.
fn token(program: &Program) -> String {
    let mut arguments = vec!["token", "create", "--workspace", "harness"];
    for scope in [
        "customers:read",
        "customers:write",
        "imports",
        "segments",
        "templates",
        "campaigns",
        "admin",
    ] {
        arguments.extend(["--scope", scope]);
    }
    let said = program.cli(&arguments);
    let token = said.split_whitespace().find(|word| word.starts_with("tdg_"));
    token.unwrap_or_else(|| panic!("no token in: {said}")).to_owned()
}
