//! The least that a durable HTTP service does: the handler appends the body to a log and answers
//! once the log is synced; whoever waits meanwhile shares the next sync.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::sync::oneshot;

struct Entry {
    body: Bytes,
    synced: oneshot::Sender<bool>,
}

/// Serves `POST /append` until the process ends.
pub async fn serve(address: SocketAddr, log: &Path) -> anyhow::Result<()> {
    let file = File::create(log).context("make the log")?;
    let (entries, waiting) = mpsc::channel::<Entry>();
    std::thread::spawn(move || write(file, &waiting));
    let routes = Router::new().route("/append", post(append)).with_state(entries);
    let listener = tokio::net::TcpListener::bind(address).await.context("listen")?;
    println!("listening on {}", listener.local_addr()?);
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, routes).await.context("serve")
}

async fn append(
    State(entries): State<mpsc::Sender<Entry>>,
    body: Bytes,
) -> (StatusCode, &'static str) {
    let (synced, answer) = oneshot::channel();
    let sent = entries.send(Entry { body, synced });
    match (sent, answer.await) {
        (Ok(()), Ok(true)) => (StatusCode::OK, "{\"outcome\":\"kept\"}"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "{}"),
    }
}

fn write(mut file: File, waiting: &mpsc::Receiver<Entry>) {
    let mut group = Vec::new();
    let mut bytes = Vec::new();
    while let Ok(first) = waiting.recv() {
        group.push(first);
        group.extend(waiting.try_iter());
        bytes.clear();
        for entry in &group {
            bytes.extend_from_slice(&entry.body);
            bytes.push(b'\n');
        }
        let kept = file.write_all(&bytes).and_then(|()| file.sync_data()).is_ok();
        for entry in group.drain(..) {
            let _ = entry.synced.send(kept);
        }
    }
}
