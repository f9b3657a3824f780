//! Configuration: a TOML file, then the environment, then flags; each setting with its default.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use serde::{Deserialize, Serialize};
use tidings_listeners::proxies::{Header, Proxies};
use tidings_store::Home;

/// The commented sample that `tidings serve --print-config` prints.
pub const SAMPLE: &str = include_str!("config.sample.toml");

/// Settings as flags give them; what is not given comes from the environment, the file or the
/// default.
#[derive(Args, Clone, Debug, Default, Serialize)]
#[command(next_help_heading = "Settings")]
pub struct Flags {
    /// A TOML file with settings
    #[arg(long, global = true, env = "TIDINGS_CONFIG")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Where SQLite files, uploads and keys are kept
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// postgres://… instead of SQLite in the data folder
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_url: Option<String>,
    /// Where HTTP is served
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// The relay for outgoing mail: smtp://, smtp+starttls:// or smtps://
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp_url: Option<String>,
    /// How many messages may be on their way at once
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp_open_max: Option<usize>,
    /// A PEM file with the certificate chain
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// A PEM file with the certificate's key
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Addresses and networks whose word for who asks is taken, such as 10.0.0.0/8
    #[arg(long, global = true, value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_proxies: Option<Vec<String>>,
    /// The header in which trusted proxies say who asks
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_header: Option<ProxyHeader>,
    /// The file of the master key, which secrets are sealed with
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master_key_file: Option<PathBuf>,
    /// How browsers and mail readers reach this hub
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// The data folder is one that all nodes of this database share
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_shared: Option<bool>,
    /// What this node does: http, jobs
    #[arg(long, global = true, value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<Role>>,
    /// Connections to PostgreSQL that this node may hold
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_connections: Option<usize>,
    /// Memory for columns that counts of segments are made by, in MB; 0 for none
    #[arg(long, global = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_mb: Option<u64>,
}

/// A header in which proxies say who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    XForwardedFor,
    Forwarded,
}

/// A part of the hub that a node can play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Http,
    Jobs,
}

/// All settings, each with a value.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub data_dir: PathBuf,
    pub database_url: Option<String>,
    pub database_connections: usize,
    pub cache_mb: u64,
    pub listen: SocketAddr,
    pub smtp_url: Option<String>,
    pub smtp_open_max: usize,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub trusted_proxies: Words,
    pub proxy_header: ProxyHeader,
    pub master_key_file: Option<PathBuf>,
    pub public_url: Option<String>,
    pub files_shared: bool,
    pub roles: Roles,
}

/// The roles of a node: a list, or text with commas as an environment variable gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Roles {
    List(Vec<Role>),
    Text(String),
}

/// Words: a list, or text with commas as an environment variable gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Words {
    List(Vec<String>),
    Text(String),
}

impl Words {
    fn list(&self) -> Vec<&str> {
        let words: Vec<&str> = match self {
            Words::List(words) => words.iter().map(String::as_str).collect(),
            Words::Text(text) => text.split(',').collect(),
        };
        words.into_iter().map(str::trim).filter(|word| !word.is_empty()).collect()
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            data_dir: PathBuf::from("./tidings-data"),
            database_url: None,
            database_connections: 24,
            cache_mb: 256,
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            smtp_url: None,
            smtp_open_max: 64,
            tls_cert: None,
            tls_key: None,
            trusted_proxies: Words::List(Vec::new()),
            proxy_header: ProxyHeader::XForwardedFor,
            master_key_file: None,
            public_url: None,
            files_shared: false,
            roles: Roles::List(vec![Role::Http, Role::Jobs]),
        }
    }
}

impl Config {
    pub fn load(flags: &Flags) -> Result<Config> {
        let mut figment = Figment::from(Serialized::defaults(Config::default()));
        if let Some(file) = &flags.config {
            if !file.is_file() {
                bail!("read the configuration: {} is not there", file.display());
            }
            figment = figment.merge(Toml::file(file));
        }
        let names = serde_json::to_value(Config::default()).context("name the settings")?;
        let names: Vec<&str> = names
            .as_object()
            .into_iter()
            .flat_map(|fields| fields.keys().map(String::as_str))
            .collect();
        let environment = Env::prefixed("TIDINGS_").only(&names);
        let config: Config = figment
            .merge(environment)
            .merge(Serialized::defaults(flags))
            .extract()
            .context("read the configuration")?;
        config.checked()
    }

    fn checked(self) -> Result<Config> {
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            bail!("tls_cert and tls_key belong together; give both or neither");
        }
        if self.smtp_open_max == 0 || self.smtp_open_max > 1_000 {
            bail!("smtp_open_max is 1 to 1000");
        }
        if self.cache_mb > 1_000_000 {
            bail!("cache_mb is at most 1000000");
        }
        if let Some(url) = &self.database_url
            && !url.starts_with("postgres://")
            && !url.starts_with("postgresql://")
        {
            bail!("database_url starts with postgres://; leave it out for SQLite");
        }
        if let Some(url) = &self.public_url
            && !url.starts_with("http://")
            && !url.starts_with("https://")
        {
            bail!("public_url starts with http:// or https://");
        }
        self.has_role(Role::Http)?;
        self.proxies()?;
        Ok(self)
    }

    /// Whether this node plays a role.
    pub fn has_role(&self, role: Role) -> Result<bool> {
        match &self.roles {
            Roles::List(roles) => Ok(roles.contains(&role)),
            Roles::Text(text) => {
                let mut found = false;
                for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
                    match word {
                        "http" => found |= role == Role::Http,
                        "jobs" => found |= role == Role::Jobs,
                        other => bail!("roles: {other} is not one of http, jobs"),
                    }
                }
                Ok(found)
            }
        }
    }

    /// The proxies that are trusted.
    pub fn proxies(&self) -> Result<Proxies> {
        let mut networks = Vec::new();
        for word in self.trusted_proxies.list() {
            let network = word.parse().map_err(|why| anyhow::anyhow!("trusted_proxies: {why}"))?;
            networks.push(network);
        }
        let header = match self.proxy_header {
            ProxyHeader::XForwardedFor => Header::XForwardedFor,
            ProxyHeader::Forwarded => Header::Forwarded,
        };
        Ok(Proxies { networks, header })
    }

    /// Where the store lives.
    pub fn home(&self) -> Home {
        match &self.database_url {
            Some(url) => {
                Home::Server { url: url.clone(), connections: self.database_connections.max(4) }
            }
            None => Home::Folder(self.data_dir.clone()),
        }
    }

    pub fn public_url(&self) -> String {
        match &self.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None if self.tls_cert.is_some() => format!("https://{}", self.listen),
            None => format!("http://{}", self.listen),
        }
    }

    /// Makes the data folder, which nobody but its owner may look into: it holds personal data.
    pub fn make_data_dir(&self) -> Result<()> {
        let mut folder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
        folder.recursive(true).create(&self.data_dir).context("make the data folder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_holds_every_setting_with_its_default() {
        let plain: String = SAMPLE
            .lines()
            .map(|line| line.strip_prefix("#= ").unwrap_or(line))
            .filter(|line| !line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect();
        let sample: Config = Figment::from(Toml::string(&plain)).extract().expect("it is valid");
        let default = Config::default();
        assert_eq!(sample.listen, default.listen);
        assert_eq!(sample.data_dir, default.data_dir);
        assert_eq!(sample.smtp_open_max, default.smtp_open_max);
        assert_eq!(sample.files_shared, default.files_shared);
        assert_eq!(sample.cache_mb, default.cache_mb);
        assert_eq!(sample.roles, default.roles);
        assert_eq!(sample.trusted_proxies, default.trusted_proxies);
        assert_eq!(sample.proxy_header, default.proxy_header);
        let names = serde_json::to_value(&default).expect("settings are plain values");
        for name in names.as_object().expect("settings have names").keys() {
            assert!(SAMPLE.contains(&format!("{name} =")), "{name} is not in the sample");
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_data_folder_is_closed_to_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let data_dir = folder.path().join("a/b");
        Config { data_dir: data_dir.clone(), ..Config::default() }.make_data_dir().expect("made");
        let made = std::fs::metadata(data_dir).expect("it is there").permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&made) & 0o777, 0o700);
    }

    #[test]
    fn flags_win_over_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tidings.toml");
        std::fs::write(&file, "smtp_open_max = 7\nroles = \"jobs\"\n").expect("a file");
        let flags = Flags {
            config: Some(file),
            listen: Some("127.0.0.1:9".parse().expect("an address")),
            ..Flags::default()
        };
        let config = Config::load(&flags).expect("it is valid");
        assert_eq!((config.smtp_open_max, config.listen.port()), (7, 9));
        assert!(!config.has_role(Role::Http).expect("known roles"));
        let wrong = Flags { database_url: Some("mysql://x".to_owned()), ..Flags::default() };
        assert!(Config::load(&wrong).is_err());
    }

    #[test]
    fn proxies_are_a_list_or_text_and_are_checked() {
        for words in [
            Words::List(vec!["10.0.0.0/8".to_owned(), "::1".to_owned()]),
            Words::Text(" 10.0.0.0/8, ::1,".to_owned()),
        ] {
            let config = Config { trusted_proxies: words, ..Config::default() };
            let proxies = config.checked().expect("valid").proxies().expect("valid");
            assert!(proxies.trusts("::1".parse().expect("an address")));
            assert_eq!(proxies.networks.len(), 2);
        }
        let wrong = Words::Text("proxy.example".to_owned());
        let refused = Config { trusted_proxies: wrong, ..Config::default() }.checked();
        let text = refused.expect_err("a name is no address").to_string();
        assert!(text.contains("trusted_proxies: proxy.example is no address"), "{text}");
    }
}
