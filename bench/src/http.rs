//! A small HTTP/1.1 client over one kept connection, and the load that many of them make. Every
//! answer is checked: a load generator that does not look counts errors as work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One kept connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer; the body lies in the connection until the next request.
pub struct Answer<'a> {
    pub status: u16,
    pub body: &'a [u8],
}

impl Connection {
    pub async fn open(address: &str) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(address).await.context("connect")?;
        stream.set_nodelay(true).context("set no delay")?;
        Ok(Connection { stream, buffer: Vec::with_capacity(16 * 1024) })
    }

    /// Sends one whole request and reads the answer.
    pub async fn call(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(request).await.context("send request")?;
        self.buffer.clear();
        let head = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let text = std::str::from_utf8(&self.buffer[..head]).context("read the answer's head")?;
        let status: u16 = text
            .get(9..12)
            .and_then(|digits| digits.parse().ok())
            .with_context(|| format!("no status in {text:?}"))?;
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
        });
        let length = match length {
            Some(length) => length.context("read the answer's length")?,
            None if status == 204 => 0,
            None => bail!("an answer without a length: {text:?}"),
        };
        while self.buffer.len() < head + length {
            self.more().await?;
        }
        Ok(Answer { status, body: &self.buffer[head..head + length] })
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await.context("read answer")? {
            0 => bail!("the server closed the connection"),
            _ => Ok(()),
        }
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// A whole request with a JSON body.
pub fn request(method: &str, path: &str, token: &str, body: &str) -> Vec<u8> {
    typed(method, path, token, "application/json", body)
}

/// A whole request with a body of some type.
pub fn typed(method: &str, path: &str, token: &str, kind: &str, body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    if !token.is_empty() {
        text.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    let length = body.len();
    text.push_str(&format!("content-type: {kind}\r\ncontent-length: {length}\r\n\r\n"));
    text.push_str(body);
    text.into_bytes()
}

/// What a load is made of.
pub struct Load {
    pub address: String,
    pub connections: usize,
    pub lasts: Duration,
    /// The request with this number; no two are the same.
    pub request: Box<dyn Fn(u64) -> Vec<u8> + Send + Sync>,
    /// Whether an answer is the one that is meant.
    pub good: fn(&Answer<'_>) -> bool,
}

/// What came of a load.
pub struct Loaded {
    pub answers: u64,
    pub took: Duration,
    pub times: Vec<Duration>,
}

impl Loaded {
    pub fn per_second(&self) -> f64 {
        self.answers as f64 / self.took.as_secs_f64()
    }
}

/// Sends requests over all connections, each waiting for its answer, until the time is over.
/// The first answer that is not good ends it with an error.
pub async fn run(load: Load, numbers: &Arc<AtomicU64>) -> anyhow::Result<Loaded> {
    let load = Arc::new(load);
    let stop = Arc::new(AtomicBool::new(false));
    let mut open = Vec::with_capacity(load.connections);
    for _ in 0..load.connections {
        open.push(Connection::open(&load.address).await?);
    }
    let started = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for connection in open {
        callers.spawn(caller(connection, load.clone(), numbers.clone(), stop.clone()));
    }
    let ends = tokio::time::sleep(load.lasts);
    tokio::pin!(ends);
    let mut times = Vec::new();
    loop {
        tokio::select! {
            () = &mut ends, if !stop.load(Ordering::Relaxed) => stop.store(true, Ordering::Relaxed),
            done = callers.join_next() => match done {
                Some(done) => times.append(&mut done.context("a caller panicked")??),
                None => break,
            },
        }
    }
    Ok(Loaded { answers: times.len() as u64, took: started.elapsed(), times })
}

async fn caller(
    mut connection: Connection,
    load: Arc<Load>,
    numbers: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let request = (load.request)(numbers.fetch_add(1, Ordering::Relaxed));
        let sent = Instant::now();
        let answer = connection.call(&request).await?;
        if !(load.good)(&answer) {
            let body = String::from_utf8_lossy(answer.body).into_owned();
            bail!("an answer that was not meant: {} {body}", answer.status);
        }
        times.push(sent.elapsed());
    }
    Ok(times)
}
