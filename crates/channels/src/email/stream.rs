//! The byte stream to a relay, plain or encrypted, and the replies read from it.

use std::{io, time::Duration};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    outcome::{ConnectError, Phase},
    reply::{self, Reply},
};

/// One TLS record.
const RECORD_BYTES: usize = 16 * 1024;
/// What is offered to a plain socket at once.
const PLAIN_BYTES: usize = 256 * 1024;
const READ_BYTES: usize = 4 * 1024;

enum Socket {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
    /// Only after a failed handshake.
    Gone,
}

pub(super) struct Stream {
    socket: Socket,
    input: Vec<u8>,
}

/// Why no reply could be read or no command written.
#[derive(Debug)]
pub(super) enum Trouble {
    TimedOut,
    Lost(io::Error),
    Nonsense(&'static str),
}

impl Trouble {
    pub(super) fn connecting(self, at: Phase) -> ConnectError {
        match self {
            Self::TimedOut => ConnectError::TimedOut { at },
            Self::Lost(source) => ConnectError::Lost { at, source },
            Self::Nonsense(what) => ConnectError::Nonsense { at, what },
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TimedOut => f.write_str("relay took too long"),
            Self::Lost(error) => write!(f, "connection lost: {error}"),
            Self::Nonsense(what) => write!(f, "relay answered no SMTP: {what}"),
        }
    }
}

impl Stream {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self { socket: Socket::Plain(socket), input: Vec::new() }
    }

    /// Our own end's address.
    pub(super) fn local_ip(&self) -> Option<std::net::IpAddr> {
        let socket = match &self.socket {
            Socket::Plain(socket) => socket,
            Socket::Secure(stream) => stream.get_ref().0,
            Socket::Gone => return None,
        };
        socket.local_addr().ok().map(|address| address.ip())
    }

    /// Encrypts the connection. What was already read in the clear would be taken for an encrypted
    /// answer afterwards, so it ends the connection.
    pub(super) async fn secure(
        &mut self,
        connector: &TlsConnector,
        host: &str,
        limit: Duration,
    ) -> Result<(), ConnectError> {
        if !self.input.is_empty() {
            let what = "more than the answer to STARTTLS";
            return Err(ConnectError::Nonsense { at: Phase::StartTls, what });
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| ConnectError::Tls(io::Error::other(error)))?;
        let Socket::Plain(socket) = std::mem::replace(&mut self.socket, Socket::Gone) else {
            return Err(ConnectError::Tls(io::ErrorKind::NotConnected.into()));
        };
        match timeout(limit, connector.connect(name, socket)).await {
            Ok(Ok(stream)) => self.socket = Socket::Secure(Box::new(stream)),
            Ok(Err(error)) => return Err(ConnectError::Tls(error)),
            Err(_) => return Err(ConnectError::TimedOut { at: Phase::StartTls }),
        }
        Ok(())
    }

    pub(super) async fn write(&mut self, bytes: &[u8], limit: Duration) -> Result<(), Trouble> {
        let mut reached = 0;
        self.write_counted(bytes, limit, &mut reached).await
    }

    /// Writes everything within `limit`. Afterwards `reached` says how many bytes may have left at most,
    /// also when it failed: exact on a plain socket, up to a record too many under TLS.
    pub(super) async fn write_counted(
        &mut self,
        bytes: &[u8],
        limit: Duration,
        reached: &mut usize,
    ) -> Result<(), Trouble> {
        let write = async {
            let mut written = 0;
            while written < bytes.len() {
                let rest = &bytes[written..];
                written += match &mut self.socket {
                    Socket::Plain(socket) => {
                        let count = socket.write(&rest[..rest.len().min(PLAIN_BYTES)]).await?;
                        *reached = written + count;
                        count
                    }
                    Socket::Secure(stream) => {
                        let record = &rest[..rest.len().min(RECORD_BYTES)];
                        *reached = written + record.len();
                        stream.write(record).await?
                    }
                    Socket::Gone => return Err(io::ErrorKind::NotConnected.into()),
                };
            }
            match &mut self.socket {
                Socket::Secure(stream) => stream.flush().await,
                _ => Ok(()),
            }
        };
        match timeout(limit, write).await {
            Ok(written) => written.map_err(Trouble::Lost),
            Err(_) => Err(Trouble::TimedOut),
        }
    }

    /// The next complete reply, all of it within `limit`.
    pub(super) async fn reply(&mut self, limit: Duration) -> Result<Reply, Trouble> {
        if let Some(reply) = self.take_reply()? {
            return Ok(reply);
        }
        let read = async {
            loop {
                self.input.reserve(READ_BYTES);
                let count = match &mut self.socket {
                    Socket::Plain(socket) => socket.read_buf(&mut self.input).await,
                    Socket::Secure(stream) => stream.read_buf(&mut self.input).await,
                    Socket::Gone => Ok(0),
                };
                match count {
                    Ok(0) => return Err(Trouble::Lost(io::ErrorKind::UnexpectedEof.into())),
                    Ok(_) => {}
                    Err(error) => return Err(Trouble::Lost(error)),
                }
                if let Some(reply) = self.take_reply()? {
                    return Ok(reply);
                }
            }
        };
        timeout(limit, read).await.unwrap_or(Err(Trouble::TimedOut))
    }

    fn take_reply(&mut self) -> Result<Option<Reply>, Trouble> {
        match reply::parse(&self.input).map_err(Trouble::Nonsense)? {
            Some((reply, used)) => {
                self.input.drain(..used);
                Ok(Some(reply))
            }
            None => Ok(None),
        }
    }

    /// Something was read that nobody asked for: the relay and we are out of step.
    pub(super) fn has_unread(&self) -> bool {
        !self.input.is_empty()
    }
}
