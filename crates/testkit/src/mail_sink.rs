//! A mail server that does what a test's script says, and remembers what it took.
//!
//! It is the hub's own inbound listener with a handler that never forwards: real sockets, real
//! SMTP. By recipient it accepts, refuses, hangs, closes or answers nonsense; see [`Script`].

mod log;
mod mail;
mod script;

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tidings_listeners::smtp::{self, Answer, Received, Step};
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use log::DELIVERY_HEADER;
pub use mail::Mail;
pub use script::{Action, At, Script};

/// How a sink is set up. `Default` accepts everything on a port of the system's choice.
#[derive(Clone, Debug, Default)]
pub struct SinkSettings {
    /// On 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    pub script: Script,
    /// Limits, TLS, sign-in and hidden extensions of the server underneath.
    pub smtp: smtp::Settings,
    /// Only count: keep no mail.
    pub count_only: bool,
    /// Append a line per accepted recipient to this file, synced before the mail is answered.
    pub log: Option<PathBuf>,
}

/// Settings of a server that does not offer these extensions.
pub fn smtp_settings(hidden: &[&str]) -> smtp::Settings {
    let hidden_extensions = hidden.iter().map(|&name| name.to_owned()).collect();
    smtp::Settings { hidden_extensions, ..smtp::Settings::default() }
}

/// A running sink. It stops when dropped.
#[derive(Debug)]
pub struct MailSink {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

#[derive(Debug, Default)]
struct Shared {
    mails: Mutex<Vec<Mail>>,
    changed: Notify,
    accepted: AtomicU64,
    accepted_bytes: AtomicU64,
    connections: AtomicU64,
}

impl MailSink {
    /// Starts on 127.0.0.1 with a port of the system's choice, inside the current runtime.
    pub async fn start(script: Script) -> Self {
        Self::start_with(SinkSettings { script, ..SinkSettings::default() })
            .await
            .expect("a port of the system's choice can be bound")
    }

    /// Starts with full settings. Errors: the port is taken, the log cannot be opened.
    pub async fn start_with(settings: SinkSettings) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", settings.port)).await?;
        let addr = listener.local_addr()?;
        let log = settings.log.as_deref().map(log::Log::open).transpose()?.map(Arc::new);
        let shared = Arc::new(Shared::default());
        let stop = settings.smtp.stop.clone();
        let script = Arc::new(settings.script.start());

        let on_step = {
            let (script, shared) = (Arc::clone(&script), Arc::clone(&shared));
            move |step: &Step<'_>| {
                if let Step::Connect { .. } = step {
                    shared.connections.fetch_add(1, Ordering::Relaxed);
                }
                script.answer(step)
            }
        };
        let on_message = {
            let shared = Arc::clone(&shared);
            let count_only = settings.count_only;
            move |received: Received| {
                let (script, shared, log) = (Arc::clone(&script), Arc::clone(&shared), log.clone());
                async move {
                    let answer = script.answer_message(&received.recipients);
                    // Sinks that take a message and then fall silent are the interesting ones, so
                    // only a refusal means that it was not taken.
                    if matches!(&answer, Answer::Reply(reply) if reply.code >= 400) {
                        return answer;
                    }
                    if let Some(log) = &log
                        && log.append(&received).await.is_err()
                    {
                        return Answer::reply(451, "4.3.0 log cannot be written");
                    }
                    shared.keep(received, count_only);
                    answer
                }
            }
        };
        tokio::spawn(smtp::serve(listener, settings.smtp, on_step, on_message));
        Ok(Self { addr, shared, _stop_on_drop: stop.clone().drop_guard(), stop })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `smtp://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.addr)
    }

    /// Everything taken so far, in the order of arrival. Empty in a sink that only counts.
    pub fn mails(&self) -> Vec<Mail> {
        self.shared.mails.lock().clone()
    }

    /// Mails taken so far.
    pub fn count(&self) -> u64 {
        self.shared.accepted.load(Ordering::Acquire)
    }

    /// Bytes of the mails taken so far.
    pub fn bytes(&self) -> u64 {
        self.shared.accepted_bytes.load(Ordering::Acquire)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// Waits until at least `count` mails were taken, and gives them. Panics after half a minute.
    pub async fn wait_for(&self, count: u64) -> Vec<Mail> {
        let enough = async {
            loop {
                let changed = self.shared.changed.notified();
                if self.count() >= count {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(30), enough).await.is_err() {
            panic!("{} mails came, {count} were expected", self.count());
        }
        self.mails()
    }

    /// Stops accepting; open connections end after the message they are in.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

impl Shared {
    fn keep(&self, received: Received, count_only: bool) {
        self.accepted_bytes.fetch_add(received.message.len() as u64, Ordering::Relaxed);
        if !count_only {
            self.mails.lock().push(Mail::new(received));
        }
        self.accepted.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
    }
}
