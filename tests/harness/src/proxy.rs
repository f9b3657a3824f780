//! A way to PostgreSQL that can hang, trickle or break.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of what is sent through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Open,
    /// A few bytes at a time.
    Trickle,
    /// Taken and never passed on.
    Silent,
    /// Every connection is broken off, also new ones.
    Cut,
}

pub struct Proxy {
    way: watch::Sender<Way>,
    /// The database's URL by this way.
    pub url: String,
}

impl Proxy {
    /// In front of the server of a URL.
    pub async fn before(url: &str) -> Proxy {
        let from = url.find('@').map_or("postgres://".len(), |at| at + 1);
        let to = from + url[from..].find('/').expect("a database in the URL");
        let server = url[from..to].to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let own = listener.local_addr().expect("an address");
        let (way, watched) = watch::channel(Way::Open);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server.clone(), watched.clone()));
            }
        });
        Proxy { way, url: format!("{}{own}{}", &url[..from], &url[to..]) }
    }

    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn connect(client: TcpStream, server: String, way: watch::Receiver<Way>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = way.clone();
    tokio::select! {
        () = pass(from_client, to_server, way.clone()) => {}
        () = pass(from_server, to_client, way) => {}
        _ = cut.wait_for(|way| *way == Way::Cut) => {}
    }
}

/// Ends where either side does.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>) {
    let mut block = [0; 16 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut block).await else { return };
        let mut rest = &block[..read];
        while !rest.is_empty() {
            let now = way.wait_for(|way| *way != Way::Silent).await.map(|way| *way);
            let part = match now {
                Ok(Way::Trickle) => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    rest.len().min(7)
                }
                Ok(_) => rest.len(),
                Err(_) => return,
            };
            let (piece, later) = rest.split_at(part);
            if to.write_all(piece).await.is_err() {
                return;
            }
            rest = later;
        }
    }
}
