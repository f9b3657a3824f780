//! A small inbound SMTP server: it takes mail from a socket, holds to the limits, and hands each
//! message with its envelope to a handler. It answers 250 only after the handler has finished, so
//! a handler that commits first makes "accepted" mean "kept".
//!
//! It does not know what a mail is for: the demo's mailbox, the reading of bounces and the test
//! sink all bring their own handler. It never relays, and it adds no header.
//!
//! Two callbacks steer a session. `on_step` is asked at each step of the dialog and may refuse (or,
//! in tests, misbehave); `on_message` is called once per complete message.

mod commands;
mod data;
mod security;
mod session;
mod wire;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub use data::Fault as DataFault;

/// What the server offers and how much it bears.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The name in the greeting; empty means `localhost`.
    pub hostname: String,
    pub limits: Limits,
    pub tls: Tls,
    /// When given, `AUTH PLAIN` and `AUTH LOGIN` are offered, only under TLS where TLS is set up.
    pub auth: Option<Auth>,
    /// Extensions of the EHLO answer (and mechanisms of AUTH) to leave out, by keyword, so that a client's fallbacks can be tested.
    pub hidden_extensions: Vec<String>,
    /// When cancelled, no connection is accepted any more, open ones finish the message they are in,
    /// and `serve` returns.
    pub stop: CancellationToken,
}

/// Upper bounds of a session. The defaults suit a listener that strangers can reach.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Size of one message as it arrives, in bytes; also announced as `SIZE`.
    pub message_bytes: usize,
    /// Length of one line, command or text. The standard says 1,000; many senders know no bounds.
    pub line_bytes: usize,
    pub recipients: usize,
    pub connections: usize,
    /// Refused commands after which the connection is closed.
    pub errors: usize,
    /// Time for one complete command line to arrive.
    pub command: Duration,
    /// Time for one complete message to arrive.
    pub data: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 10_000_000,
            line_bytes: 64 * 1024,
            recipients: 100,
            connections: 256,
            errors: 20,
            command: Duration::from_secs(300),
            data: Duration::from_secs(600),
        }
    }
}

/// Whether and when a connection is encrypted.
#[derive(Clone, Debug, Default)]
pub enum Tls {
    #[default]
    Off,
    /// Offered with `STARTTLS`.
    StartTls(Arc<rustls::ServerConfig>),
    /// From the first byte.
    Implicit(Arc<rustls::ServerConfig>),
}

/// The one name and password that are accepted.
#[derive(Clone)]
pub struct Auth {
    pub user: String,
    pub password: String,
    /// Refuse `MAIL` before a sign-in.
    pub required: bool,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("required", &self.required).finish_non_exhaustive()
    }
}

/// One complete message with its envelope.
#[derive(Clone, Debug)]
pub struct Received {
    pub peer: SocketAddr,
    /// Counts the connections of this server from 1, so that a handler can tell them apart.
    pub connection: u64,
    /// The name given in EHLO or HELO.
    pub hello: String,
    /// The connection is encrypted.
    pub secure: bool,
    /// The name of the sign-in, if there was one.
    pub user: Option<String>,
    /// Without angle brackets; empty for the null sender.
    pub return_path: String,
    /// Without angle brackets, in the order given, at least one.
    pub recipients: Vec<String>,
    /// Exactly what was sent, dots unstuffed, ending in CRLF unless empty.
    pub message: Vec<u8>,
}

/// A step of the dialog, told to `on_step` before it is answered.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// The connection stands; the normal answer is the greeting.
    Connect {
        peer: SocketAddr,
        connection: u64,
    },
    /// EHLO or HELO.
    Hello {
        name: &'a str,
    },
    Mail {
        return_path: &'a str,
    },
    Recipient {
        return_path: &'a str,
        recipient: &'a str,
    },
    /// The DATA command; the normal answer is 354.
    Data {
        recipients: &'a [String],
    },
    /// The first bytes of the text have come. There is no normal answer: `Accept` reads on.
    Body {
        recipients: &'a [String],
    },
}

/// What to answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The normal, positive answer of this step.
    Accept,
    Reply(Reply),
    /// Close the connection without a word.
    Close,
    /// Never answer; the connection stays open until the other side leaves.
    Hang,
    /// These bytes instead of a reply, then read on as if the step had been refused.
    Raw(Vec<u8>),
    /// The normal answer, one byte at a time with this pause before each.
    Trickle(Duration),
}

impl Answer {
    /// A reply with this code and text, e.g. `Answer::reply(550, "5.1.1 no such user")`.
    pub fn reply(code: u16, text: impl Into<String>) -> Self {
        Self::Reply(Reply { code, text: text.into() })
    }
}

/// A reply of one or more lines; the text has no code in front and may contain `\n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    pub text: String,
}

/// The `on_step` of a server that takes everything.
pub fn accept_every_step(_: &Step<'_>) -> Answer {
    Answer::Accept
}

/// Serves until `settings.stop` is cancelled. Dropping the future closes every connection at once.
///
/// Failures of one connection end that connection and are logged at debug level; a failing `accept`
/// (say, no file handle left) is tried again after a moment.
pub async fn serve<S, H, F>(listener: TcpListener, settings: Settings, on_step: S, on_message: H)
where
    S: Fn(&Step<'_>) -> Answer + Send + Sync + 'static,
    H: Fn(Received) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send,
{
    let free = Arc::new(Semaphore::new(settings.limits.connections));
    let server = Arc::new(session::Server { settings, on_step, on_message });
    let mut sessions = JoinSet::new();
    let mut connection = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = server.settings.stop.cancelled() => break,
            // Finished sessions are collected as we go, or the set would grow with every connection.
            Some(_) = sessions.join_next() => continue,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                debug!(%error, "accept smtp connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        connection += 1;
        let Ok(place) = Arc::clone(&free).try_acquire_owned() else {
            // A fresh socket's send buffer is empty, so these few bytes fit or nobody is there.
            let _ = socket.try_write(b"421 4.3.2 too many connections\r\n");
            continue;
        };
        let server = Arc::clone(&server);
        sessions.spawn(async move {
            if let Err(error) = session::run(server, socket, peer, connection).await
                && error.kind() != io::ErrorKind::UnexpectedEof
            {
                debug!(%error, "smtp session");
            }
            drop(place);
        });
    }
    while sessions.join_next().await.is_some() {}
}
