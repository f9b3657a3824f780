//! A bare mail sender: kept connections, one message after the other on each, every reply read.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

struct Session {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Session {
    async fn open(address: &str) -> anyhow::Result<Session> {
        let stream = TcpStream::connect(address).await.context("connect to the sink")?;
        stream.set_nodelay(true).context("set no delay")?;
        let mut session = Session { stream, buffer: Vec::with_capacity(1_024) };
        session.reply(b'2').await?;
        session.say(b"EHLO bench.example\r\n", b'2').await?;
        Ok(session)
    }

    async fn say(&mut self, line: &[u8], wanted: u8) -> anyhow::Result<()> {
        self.stream.write_all(line).await.context("write to the sink")?;
        self.reply(wanted).await
    }

    /// Reads one reply, which may have several lines, and checks its first digit.
    async fn reply(&mut self, wanted: u8) -> anyhow::Result<()> {
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await.context("read from the sink")? == 0 {
                bail!("the sink closed the connection");
            }
            if !self.buffer.ends_with(b"\r\n") {
                continue;
            }
            let last = self.buffer[..self.buffer.len() - 2].rsplit(|byte| *byte == b'\n').next();
            if last.is_some_and(|line| line.get(3) != Some(&b'-')) {
                break;
            }
        }
        match self.buffer.first() {
            Some(digit) if *digit == wanted => Ok(()),
            _ => bail!("the sink said {}", String::from_utf8_lossy(&self.buffer)),
        }
    }

    async fn message(&mut self, number: u64, mail: &[u8]) -> anyhow::Result<()> {
        self.say(b"MAIL FROM:<bounces@hub.example>\r\n", b'2').await?;
        let recipient = format!("RCPT TO:<c{number}@mail.example>\r\n");
        self.say(recipient.as_bytes(), b'2').await?;
        self.say(b"DATA\r\n", b'3').await?;
        self.say(mail, b'2').await
    }
}

/// A mail of about so many bytes with its final dot, in lines as mail programs write them.
fn mail(bytes: usize) -> Vec<u8> {
    let mut mail =
        b"From: Bench <bench@hub.example>\r\nTo: c@mail.example\r\nSubject: Bench\r\n\r\n".to_vec();
    let line = b"All work and no play makes a very dull bench, says the line of 72 bytes.\r\n";
    while mail.len() < bytes {
        let room = (bytes - mail.len()).min(line.len());
        mail.extend_from_slice(&line[line.len() - room..]);
    }
    mail.extend_from_slice(b"\r\n.\r\n");
    mail
}

/// Sends so many mails over so many connections; gives how long it took from the first connect.
pub async fn send(
    address: &str,
    connections: usize,
    mails: u64,
    bytes: usize,
) -> anyhow::Result<Duration> {
    let mail: std::sync::Arc<[u8]> = mail(bytes).into();
    let started = Instant::now();
    let mut senders = tokio::task::JoinSet::new();
    for at in 0..connections as u64 {
        let (address, mail) = (address.to_owned(), mail.clone());
        senders.spawn(async move {
            let mut session = Session::open(&address).await?;
            for number in (at..mails).step_by(connections) {
                session.message(number, &mail).await?;
            }
            session.say(b"QUIT\r\n", b'2').await
        });
    }
    while let Some(done) = senders.join_next().await {
        done.context("a sender panicked")??;
    }
    Ok(started.elapsed())
}
