//! Running the hub: store, jobs and listeners up, and down again in order.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use tidings_domain::Clock;
use tidings_engine::personal::again;
use tidings_engine::{Hub, Settings, jobs, nodes};
use tidings_listeners::http::Front;
use tidings_listeners::tls::{self, Pair, Tls};
use tidings_store::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{Config, Role};
use crate::key_file::KeyFile;
use crate::observe::{self, Observed};
use crate::protocols;

/// How long jobs in hand may take to finish after the order to stop.
const DRAIN: Duration = Duration::from_secs(28);

/// A hub that is up.
pub struct Running {
    pub hub: Arc<Hub>,
    stop: watch::Sender<bool>,
    observed: Observed,
    http: Option<JoinHandle<()>>,
    jobs: Option<JoinHandle<()>>,
    alive: JoinHandle<()>,
    /// Watches the key file.
    keys: JoinHandle<()>,
    orders: Orders,
    /// Held as long as this process writes the data folder.
    _folder: Option<File>,
}

/// Opens the store and makes the hub, for a command that runs once.
pub async fn open(config: &Config) -> Result<Arc<Hub>> {
    open_as(config, false).await
}

async fn open_as(config: &Config, demo: bool) -> Result<Arc<Hub>> {
    config.make_data_dir()?;
    let store = Store::open(&config.home()).await.context("open the store")?;
    let unlocked = KeyFile::of(config).unlock(&store).await?;
    let settings = Settings {
        data_dir: config.data_dir.clone(),
        public_url: config.public_url(),
        smtp_url: config.smtp_url.clone(),
        smtp_open_max: config.smtp_open_max,
        master_key: unlocked.root,
        demo,
    };
    Ok(Hub::unlocked(Arc::new(store), settings, Clock::System, unlocked.sealer))
}

/// Starts the hub.
pub async fn start(config: &Config, demo: bool) -> Result<Running> {
    let orders = Orders::listen()?;
    config.make_data_dir()?;
    let folder = match config.database_url {
        None => Some(lock_folder(config)?),
        Some(_) => None,
    };
    let hub = open_as(config, demo).await?;
    // A command that runs once would not see its columns again.
    hub.store.columns.set_limit(config.cache_mb << 20);
    if let Some(url) = &hub.settings.smtp_url {
        hub.mail_pool().with_context(|| format!("smtp_url {}", without_password(url)))?;
    }
    nodes::join(&hub, config.files_shared).await.context("join the other nodes")?;
    if folder.is_some() && config.has_role(Role::Jobs)? {
        // The folder is locked by this process, so whoever held these jobs is dead.
        jobs::take_over(&hub).await.context("take over what a crash left")?;
    }
    let erased = again::erase_again(&hub).await.context("erase again who was erased")?;
    if erased > 0 {
        tracing::warn!(
            erased,
            "erased again: the list of the erased knew them and the data did not"
        );
    }
    let observed = Observed::new(hub.clone())?;
    observed.set_ready(!demo);
    let (stop, stopped) = watch::channel(false);
    let http = if config.has_role(Role::Http)? {
        Some(tokio::spawn(listen(config, &hub, &observed, stopped.clone()).await?))
    } else {
        None
    };
    let jobs =
        config.has_role(Role::Jobs)?.then(|| tokio::spawn(jobs::run(hub.clone(), stopped.clone())));
    // It goes on while work in hand is finished, and so has no part in the order to stop.
    let alive = tokio::spawn(nodes::say_alive(hub.clone(), config.files_shared));
    let keys = tokio::spawn(KeyFile::of(config).watch(hub.clone()));
    Ok(Running { hub, stop, observed, http, jobs, alive, keys, orders, _folder: folder })
}

async fn listen(
    config: &Config,
    hub: &Arc<Hub>,
    observed: &Observed,
    stop: watch::Receiver<bool>,
) -> Result<impl Future<Output = ()> + Send + use<>> {
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listen on {}; choose another with --listen", config.listen))?;
    let tls = match (&config.tls_cert, &config.tls_key) {
        (Some(certificate), Some(key)) => Some(serve_tls(certificate, key)?),
        _ => None,
    };
    let proxies = config.proxies()?;
    if tls.is_none() && !config.listen.ip().is_loopback() && proxies.networks.is_empty() {
        tracing::warn!(
            listen = %config.listen,
            "plain HTTP beyond this machine: give --tls-cert and --tls-key, or put a proxy in front \
             and name it by --trusted-proxies"
        );
    }
    let router = protocols::router(hub)
        .layer(axum::middleware::from_fn(observe::count))
        .merge(observed.routes());
    tracing::info!(listen = %config.listen, "ready");
    Ok(tidings_listeners::http::serve(listener, router, Front::new(tls, proxies), stop))
}

/// Reads the certificate, and goes on to take up a renewed one.
fn serve_tls(certificate: &Path, key: &Path) -> Result<Arc<Tls>> {
    let tls = Tls::open(certificate, key, Timestamp::now()).context("serve TLS")?;
    let tls = Arc::new(tls);
    note_end(&tls.pair());
    tokio::spawn(renew(tls.clone()));
    Ok(tls)
}

/// Looks at the certificate's files now and then, and at SIGHUP.
async fn renew(tls: Arc<Tls>) {
    let mut order = signal(SignalKind::hangup()).ok();
    let mut warned_at = Timestamp::now();
    loop {
        let ordered = async {
            match &mut order {
                Some(order) => order.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(tls::LOOK_EVERY) => {}
            _ = ordered => {}
        }
        let now = Timestamp::now();
        match tls.reload(now) {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(ends_at = %tls.pair().ends_at, "a renewed certificate is served");
                note_end(&tls.pair());
            }
            // The files of a renewal that is going on may not be there, or not fit yet.
            Err(error) => tracing::warn!(
                error = format!("{:#}", anyhow::Error::from(error)),
                "the changed certificate is not served; the one before it stays"
            ),
        }
        if now.duration_since(warned_at).as_hours() >= 24 {
            warned_at = now;
            note_end(&tls.pair());
        }
    }
}

/// Puts the certificate's end among the metrics, and warns where it is near.
fn note_end(pair: &Pair) {
    metrics::gauge!("tidings_tls_certificate_ends_seconds").set(pair.ends_at.as_second() as f64);
    let days = pair.days_left(Timestamp::now());
    if days < tls::WARN_DAYS {
        tracing::warn!(ends_at = %pair.ends_at, days, "the certificate ends soon; renew it");
    }
}

impl Running {
    /// Says that the demo is filled and may be looked at.
    pub fn ready(&self) {
        self.observed.set_ready(true);
    }

    /// Waits for the order to stop (SIGTERM or Ctrl-C), then stops in order. A disk that fails ends
    /// it at once and with an error, so that a restart begins from what is on disk.
    pub async fn until_stopped(mut self) -> Result<()> {
        tokio::select! {
            () = self.orders.stopping() => {}
            failure = tidings_store::disk_failed() => bail!("{failure}; start again to go on"),
        }
        tracing::info!("stopping");
        self.stop().await;
        Ok(())
    }

    /// Takes no new work, finishes what is in hand, and gives the rest back.
    pub async fn stop(self) {
        self.observed.set_ready(false);
        let _ = self.stop.send(true);
        let finish = async {
            if let Some(http) = self.http {
                let _ = http.await;
            }
            if let Some(jobs) = self.jobs {
                let _ = jobs.await;
            }
        };
        if tokio::time::timeout(DRAIN, finish).await.is_err() {
            tracing::warn!("work in hand did not finish in time");
        }
        self.alive.abort();
        self.keys.abort();
        release(&self.hub).await;
        tracing::info!("stopped");
    }
}

/// Gives this node's jobs to the others at once.
async fn release(hub: &Arc<Hub>) {
    match hub.store.system.workspaces().await {
        Ok(rows) => {
            for row in rows {
                let released = match hub.store.workspace(row.id).await {
                    Ok(workspace) => workspace.release_jobs(hub.node).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = released {
                    tracing::warn!(%error, "give jobs back");
                }
            }
        }
        Err(error) => tracing::warn!(%error, "give jobs back"),
    }
    if let Err(error) = hub.store.system.node_gone(hub.node).await {
        tracing::warn!(%error, "sign off");
    }
}

/// The orders that come as signals. They are listened for before anything else, so that one given
/// while the hub starts is neither lost nor the end of the process at once.
struct Orders {
    terminate: Signal,
    interrupt: Signal,
    /// Whether or not there is a certificate to read again, this one ends nothing.
    _hangup: Signal,
}

impl Orders {
    fn listen() -> Result<Orders> {
        let on = |kind: SignalKind| signal(kind).context("listen for signals");
        Ok(Orders {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            _hangup: on(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or Ctrl-C.
    async fn stopping(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// One hub a data folder: two would each believe that they alone write it.
fn lock_folder(config: &Config) -> Result<File> {
    let path = config.data_dir.join("lock");
    let file = File::create(&path).with_context(|| format!("open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => bail!(
            "another hub runs on {}; stop it, or give this one its own --data-dir",
            config.data_dir.display()
        ),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("lock {}", path.display()))
        }
    }
}

fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}://…{}", &url[..scheme], &url[at..])
        }
        _ => url.to_owned(),
    }
}
