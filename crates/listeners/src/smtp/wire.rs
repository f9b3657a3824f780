//! One connection, plain or encrypted, with what has been read and what is to be written.

use std::{io, sync::Arc, time::Duration};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How much room is made before a read.
const READ_BYTES: usize = 16 * 1024;

enum Stream {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
    /// Only while a handshake is under way or after it failed.
    Gone,
}

pub(super) struct Wire {
    stream: Stream,
    pub(super) input: BytesMut,
    /// Replies not yet sent: they wait until the client's pipelined commands are used up.
    pub(super) output: Vec<u8>,
}

impl Wire {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self { stream: Stream::Plain(socket), input: BytesMut::new(), output: Vec::new() }
    }

    pub(super) fn is_secure(&self) -> bool {
        matches!(self.stream, Stream::Secure(_))
    }

    /// Reads once more; an error of kind `UnexpectedEof` if the client has gone.
    pub(super) async fn read(&mut self) -> io::Result<()> {
        self.input.reserve(READ_BYTES);
        let count = match &mut self.stream {
            Stream::Plain(socket) => socket.read_buf(&mut self.input).await?,
            Stream::Secure(stream) => stream.read_buf(&mut self.input).await?,
            Stream::Gone => 0,
        };
        if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Sends the waiting replies.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        match &mut self.stream {
            Stream::Plain(socket) => socket.write_all(&self.output).await?,
            Stream::Secure(stream) => {
                stream.write_all(&self.output).await?;
                stream.flush().await?;
            }
            Stream::Gone => return Err(io::ErrorKind::NotConnected.into()),
        }
        self.output.clear();
        Ok(())
    }

    /// Sends the waiting replies one byte at a time.
    pub(super) async fn trickle(&mut self, pause: Duration) -> io::Result<()> {
        for byte in std::mem::take(&mut self.output) {
            tokio::time::sleep(pause).await;
            self.output.push(byte);
            self.flush().await?;
        }
        Ok(())
    }

    /// A complete line from what has been read, without its CRLF. A line that ends in a bare line
    /// feed keeps it, and is refused as a command for it.
    pub(super) fn take_line(&mut self) -> Option<BytesMut> {
        let end = self.input.iter().position(|byte| *byte == b'\n')?;
        let mut line = self.input.split_to(end + 1);
        if line.ends_with(b"\r\n") {
            line.truncate(end - 1);
        }
        Some(line)
    }

    pub(super) fn skip(&mut self, count: usize) {
        self.input.advance(count);
    }

    /// Turns the plain connection into an encrypted one.
    pub(super) async fn secure(&mut self, config: Arc<rustls::ServerConfig>) -> io::Result<()> {
        if let Stream::Plain(socket) = std::mem::replace(&mut self.stream, Stream::Gone) {
            let stream = TlsAcceptor::from(config).accept(socket).await?;
            self.stream = Stream::Secure(Box::new(stream));
        }
        Ok(())
    }
}
