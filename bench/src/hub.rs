//! The real thing: the hub's own program with a data folder or a database of its own, driven as
//! its users drive it, by commands and over HTTP.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value as Json, json};

use crate::http::{Connection, request, typed};
use crate::people::ATTRIBUTES;
use crate::process::{Background, free_port, run};
use crate::{host, process};

/// The name of the one workspace that benches work in.
pub const WORKSPACE: &str = "bench";

/// Where a hub keeps its data, and what it is told at its start.
#[derive(Clone)]
pub struct Place {
    pub folder: PathBuf,
    /// A PostgreSQL database instead of SQLite in the folder.
    pub database: Option<String>,
    pub smtp: Option<String>,
}

impl Place {
    pub fn sqlite(name: &str) -> anyhow::Result<Place> {
        Ok(Place { folder: host::fresh(name)?, database: None, smtp: None })
    }

    /// The hub's program with the settings of this place.
    pub async fn command(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut all: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        all.extend(self.settings());
        run(&program(), &all).await
    }

    fn settings(&self) -> Vec<String> {
        let mut settings = vec!["--data-dir".to_owned(), self.folder.display().to_string()];
        if let Some(url) = &self.database {
            settings.extend(["--database-url".to_owned(), url.clone()]);
        }
        settings
    }

    /// The file of the workspace on SQLite.
    pub fn file(&self) -> PathBuf {
        self.folder.join("workspaces/w1.db")
    }

    /// Makes the workspace, a token for it and the attributes of the generated customers.
    pub async fn prepare(&self) -> anyhow::Result<String> {
        self.command(&["workspace", "create", WORKSPACE]).await.context("make a workspace")?;
        let made = self.command(&["token", "create", "--workspace", WORKSPACE]).await;
        let token = made.context("make a token")?;
        let token = token.trim().to_owned();
        let hub = Hub::start(self, &token).await?;
        let mut api = hub.api().await?;
        for (name, kind, scale) in ATTRIBUTES {
            let mut attribute = json!({"name": name, "kind": kind});
            if let Some(scale) = scale {
                attribute["scale"] = scale.into();
            }
            api.post("/v1/attributes", &attribute).await?;
        }
        hub.process.stop().await?;
        Ok(token)
    }
}

/// The hub's program, built beside this one.
pub fn program() -> PathBuf {
    host::programs().join("tidings")
}

/// A hub that serves.
pub struct Hub {
    pub process: Background,
    pub address: String,
    pub token: String,
    /// From the start of the process until it said that it is ready.
    pub ready_after: Duration,
}

impl Hub {
    /// Starts the hub and waits until it is ready.
    pub async fn start(place: &Place, token: &str) -> anyhow::Result<Hub> {
        let port = free_port()?;
        let address = format!("127.0.0.1:{port}");
        let mut arguments = vec!["serve".to_owned()];
        arguments.extend(place.settings());
        arguments.extend(["--listen".to_owned(), address.clone()]);
        if let Some(url) = &place.smtp {
            arguments.extend(["--smtp-url".to_owned(), url.clone()]);
        }
        let log = place.folder.join("bench-hub.log");
        let started = Instant::now();
        let mut process = Background::start(&program(), &arguments, &log)?;
        let ready = request("GET", "/readyz", "", "");
        loop {
            if let Ok(mut connection) = Connection::open(&address).await
                && connection.call(&ready).await.is_ok_and(|answer| answer.status == 200)
            {
                break;
            }
            if !process.runs() || started.elapsed() > Duration::from_secs(60) {
                bail!("the hub did not come up; see {}", log.display());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let ready_after = started.elapsed();
        Ok(Hub { process, address, token: token.to_owned(), ready_after })
    }

    pub async fn api(&self) -> anyhow::Result<Api> {
        let connection = Connection::open(&self.address).await?;
        Ok(Api { connection, token: self.token.clone() })
    }

    /// Uploads a file of customers and starts its import with the mapping that the hub suggests;
    /// gives the import's id.
    pub async fn start_import(&self, file: &Path) -> anyhow::Result<String> {
        let body = std::fs::read_to_string(file).context("read the file to import")?;
        let path = "/v1/imports?filename=customers.csv&start=true";
        let request = typed("POST", path, &self.token, "text/csv", &body);
        let mut connection = Connection::open(&self.address).await?;
        let answer = connection.call(&request).await?;
        let text = String::from_utf8_lossy(answer.body).into_owned();
        ensure!(answer.status == 201, "upload: {} {text}", answer.status);
        let import: Json = serde_json::from_str(&text).context("read the import")?;
        Ok(import["id"].as_str().context("the import has no id")?.to_owned())
    }

    /// Imports a file of so many new customers; gives how long that took, upload included.
    pub async fn import(&self, file: &Path, rows: u64) -> anyhow::Result<Duration> {
        let (took, counts) = self.import_again(file).await?;
        ensure!(counts["created"].as_u64() == Some(rows), "the import went wrong: {counts}");
        Ok(took)
    }

    /// Imports a file; gives how long that took, upload included, and what became of its rows.
    pub async fn import_again(&self, file: &Path) -> anyhow::Result<(Duration, Json)> {
        let started = Instant::now();
        let id = self.start_import(file).await?;
        let mut api = self.api().await?;
        loop {
            let import = api.get(&format!("/v1/imports/{id}")).await?;
            let took = started.elapsed();
            match import["state"].as_str() {
                Some("queued" | "running") => tokio::time::sleep(Duration::from_millis(20)).await,
                Some("done") => return Ok((took, import["rows"].clone())),
                _ => bail!("the import went wrong: {import}"),
            }
        }
    }

    /// What a counter or gauge of the hub says; 0 where it has said nothing yet.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let mut connection = Connection::open(&self.address).await?;
        let answer = connection.call(&request("GET", "/metrics", "", "")).await?;
        let text = String::from_utf8_lossy(answer.body).into_owned();
        let line = text.lines().find(|line| line.split([' ', '{']).next() == Some(name));
        let value = line.and_then(|line| line.rsplit(' ').next());
        value.map_or(Ok(0.0), |value| value.parse().context("read a metric"))
    }
}

/// The hub's API over one connection.
pub struct Api {
    connection: Connection,
    token: String,
}

impl Api {
    pub async fn post(&mut self, path: &str, body: &Json) -> anyhow::Result<Json> {
        self.call("POST", path, &body.to_string()).await
    }

    pub async fn get(&mut self, path: &str) -> anyhow::Result<Json> {
        self.call("GET", path, "").await
    }

    async fn call(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<Json> {
        let answer = self.connection.call(&request(method, path, &self.token, body)).await?;
        if !(200..300).contains(&answer.status) {
            let text = String::from_utf8_lossy(answer.body);
            bail!("{method} {path}: {} {text}", answer.status);
        }
        match answer.body {
            [] => Ok(Json::Null),
            body => serde_json::from_slice(body).with_context(|| format!("read {method} {path}")),
        }
    }
}

/// A mail sink in a process of its own.
pub struct Sink {
    process: process::Background,
    pub address: String,
}

impl Sink {
    /// Starts the sink; with a log it writes down each mail before it takes it.
    pub async fn start(log: Option<&Path>) -> anyhow::Result<Sink> {
        let mut arguments: Vec<String> = ["--fast", "--every", "5"].map(str::to_owned).to_vec();
        if let Some(log) = log {
            arguments.extend(["--log".to_owned(), log.display().to_string()]);
        }
        let errors = host::scratch().join("bench-sink.log");
        let program = host::programs().join("mail-sink");
        let mut process = process::Background::start(&program, &arguments, &errors)?;
        let line = process.line().await.context("start the sink")?;
        let address = line.trim_start_matches("listening on ").to_owned();
        Ok(Sink { process, address })
    }

    /// What it has counted: mails and their bytes, as of some milliseconds ago.
    pub async fn count(&mut self) -> anyhow::Result<(u64, u64)> {
        let line = self.process.line().await?;
        let mut numbers = line
            .split(|c: char| !c.is_ascii_digit())
            .filter(|text| !text.is_empty())
            .map(str::parse::<u64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(mails)), Some(Ok(bytes))) => Ok((mails, bytes)),
            _ => bail!("the sink said {line}"),
        }
    }
}
