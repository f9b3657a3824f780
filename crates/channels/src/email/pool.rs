//! Kept connections to one relay.
//!
//! A worker takes a [`Lease`], sends one message after another over it, and drops it; a connection in
//! good order then waits for the next lease. There are never more open connections than the relay's
//! `max_connections`, which also bounds how many messages can be uncertain after a crash.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsConnector;
use tracing::warn;

use super::{
    connection::Connection,
    outcome::{ConnectError, Envelope, Outcome},
    relay::{Limits, Relay, RelayError, Security},
    tls,
};

/// The connections to one relay; cheap to clone.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    relay: Relay,
    limits: Limits,
    tls: Option<TlsConnector>,
    /// A permit is the right to have one connection in use.
    free: Arc<Semaphore>,
    /// The most recently used last.
    idle: Mutex<Vec<Connection>>,
    opened: AtomicU64,
}

/// Figures of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolState {
    /// Connections in use by a lease.
    pub leased: usize,
    /// Connections kept for the next lease.
    pub idle: usize,
    /// Connections opened since the pool was made.
    pub opened: u64,
}

/// The right to one connection, and usually the connection. Dropping it gives both back.
pub struct Lease {
    connection: Option<Connection>,
    pool: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

/// The right to use one connection; it opens only when it is asked for.
pub struct Turn {
    permit: OwnedSemaphorePermit,
    pool: Arc<Shared>,
}

impl Turn {
    /// Takes a kept connection or opens one.
    pub async fn connection(self) -> Result<Lease, ConnectError> {
        let connection = match self.pool.take_idle().await {
            Some(connection) => connection,
            None => self.pool.open().await?,
        };
        Ok(Lease { connection: Some(connection), pool: self.pool, _permit: self.permit })
    }
}

impl Pool {
    /// Sets up a pool; nothing is connected yet. Must be called within a tokio runtime.
    ///
    /// Errors: the CA file cannot be read.
    pub fn new(relay: Relay, limits: Limits) -> Result<Self, RelayError> {
        if relay.exposes_credentials() {
            warn!(host = %relay.host, "mail relay is signed in to without encryption");
        }
        let tls = match relay.security {
            Security::None => None,
            Security::StartTls | Security::Implicit => Some(tls::connector(&relay)?),
        };
        let shared = Arc::new(Shared {
            free: Arc::new(Semaphore::new(relay.max_connections)),
            relay,
            limits,
            tls,
            idle: Mutex::default(),
            opened: AtomicU64::new(0),
        });
        tokio::spawn(close_idle(Arc::downgrade(&shared)));
        Ok(Self(shared))
    }

    /// Waits for its turn, then takes a kept connection or opens one.
    pub async fn connection(&self) -> Result<Lease, ConnectError> {
        self.turn().await?.connection().await
    }

    /// Waits for the right to use one connection. Giving up the wait is harmless.
    pub async fn turn(&self) -> Result<Turn, ConnectError> {
        let permit =
            Arc::clone(&self.0.free).acquire_owned().await.map_err(|_| ConnectError::PoolClosed)?;
        Ok(Turn { permit, pool: Arc::clone(&self.0) })
    }

    /// The same without waiting: `None` where all connections are in use, or the pool is closed.
    pub fn try_turn(&self) -> Option<Turn> {
        let permit = Arc::clone(&self.0.free).try_acquire_owned().ok()?;
        Some(Turn { permit, pool: Arc::clone(&self.0) })
    }

    /// Opens a connection beside the others, as far as a message would need it, and closes it: gives
    /// the extensions that the relay offers, once encrypted and signed in.
    pub async fn probe(&self) -> Result<Vec<&'static str>, ConnectError> {
        let connection = self.0.open().await?;
        let offers = connection.offers();
        connection.quit().await;
        Ok(offers)
    }

    pub fn state(&self) -> PoolState {
        PoolState {
            leased: self.0.relay.max_connections.saturating_sub(self.0.free.available_permits()),
            idle: self.0.idle.lock().len(),
            opened: self.0.opened.load(Ordering::Relaxed),
        }
    }

    /// Refuses further leases and says goodbye on the kept connections. Leases in use may finish.
    pub async fn close(&self) {
        self.0.free.close();
        let idle = std::mem::take(&mut *self.0.idle.lock());
        for connection in idle {
            connection.quit().await;
        }
    }
}

impl Shared {
    async fn open(&self) -> Result<Connection, ConnectError> {
        let connection = Connection::open(&self.relay, &self.limits, self.tls.as_ref()).await?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(connection)
    }

    /// A kept connection that can be expected to work.
    async fn take_idle(&self) -> Option<Connection> {
        loop {
            let mut connection = self.idle.lock().pop()?;
            let unused = connection.idle_since.elapsed();
            if unused <= self.limits.noop_after {
                return Some(connection);
            }
            if unused <= self.limits.idle && connection.is_alive().await {
                return Some(connection);
            }
        }
    }

    fn keep(&self, mut connection: Connection) {
        connection.idle_since = Instant::now();
        if !self.free.is_closed() {
            self.idle.lock().push(connection);
        }
    }
}

impl Lease {
    /// Hands one message over. `message` is the finished mail; its line ends are made CRLF on the way.
    ///
    /// If the kept connection turns out to be closed before the relay saw anything of this message, a
    /// new one is opened and tried once. Dropping the future before it ends drops the connection; the
    /// message is then as uncertain as after a crash.
    pub async fn send(&mut self, envelope: &Envelope<'_>, message: &[u8]) -> Outcome {
        let kept = self.connection.is_some();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match self.pool.open().await {
                Ok(connection) => connection,
                Err(error) => return failed(&error),
            },
        };
        let mut attempt = connection.send(envelope, message).await;
        if attempt.stale && kept {
            drop(connection);
            connection = match self.pool.open().await {
                Ok(connection) => connection,
                Err(error) => return failed(&error),
            };
            attempt = connection.send(envelope, message).await;
        }
        if attempt.usable {
            self.put_back(connection);
        }
        attempt.outcome
    }

    /// Whether the relay takes the addresses of a message, as far as it has said; asked before the
    /// message is begun.
    pub fn takes_addresses_of(&self, envelope: &Envelope<'_>, message: &[u8]) -> bool {
        let connection = self.connection.as_ref();
        connection.is_none_or(|connection| connection.takes_addresses_of(envelope, message))
    }

    fn put_back(&mut self, connection: Connection) {
        if connection.used >= self.pool.relay.messages_per_connection {
            tokio::spawn(connection.quit());
        } else {
            self.connection = Some(connection);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.keep(connection);
        }
    }
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("connected", &self.connection.is_some())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("relay", &self.0.relay).field("state", &self.state()).finish()
    }
}

fn failed(error: &ConnectError) -> Outcome {
    Outcome::Failed { reason: error.to_string(), at: error.at() }
}

/// Closes connections that nobody used for long, until the pool is gone.
async fn close_idle(pool: Weak<Shared>) {
    loop {
        let Some(limit) = pool.upgrade().map(|pool| pool.limits.idle) else { return };
        tokio::time::sleep((limit / 2).max(Duration::from_millis(10))).await;
        let Some(pool) = pool.upgrade() else { return };
        let old: Vec<_> = {
            let mut idle = pool.idle.lock();
            idle.extract_if(.., |connection| connection.idle_since.elapsed() > limit).collect()
        };
        for connection in old {
            tokio::spawn(connection.quit());
        }
    }
}
