//! The demo's own mail server: everything sent to it lands in the mailbox that the console shows.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tidings_engine::{Ctx, mailbox};
use tidings_listeners::smtp::{self, Answer, Received, Reply, Settings};
use tidings_store::mailbox::NewMail;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A mail server that listens and does not take mail yet.
pub struct Mailbox {
    listener: TcpListener,
    address: SocketAddr,
}

/// A mail server at work.
pub struct Receiving {
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

pub async fn open() -> Result<Mailbox> {
    let listener =
        TcpListener::bind(("127.0.0.1", 0)).await.context("listen for the demo's mail")?;
    let address = listener.local_addr().context("listen for the demo's mail")?;
    Ok(Mailbox { listener, address })
}

impl Mailbox {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes mail into a workspace's mailbox. Mails that arrive together are kept by one commit,
    /// and each sender hears 250 only after it.
    pub fn receive(self, ctx: Ctx) -> Receiving {
        let (queue, waiting) = mpsc::channel(256);
        tokio::spawn(keep(ctx, waiting));
        let stop = CancellationToken::new();
        let settings = Settings { stop: stop.clone(), ..Settings::default() };
        let queue = Arc::new(queue);
        let serving = tokio::spawn(async move {
            let take = move |received: Received| {
                let queue = queue.clone();
                async move { take(&queue, received).await }
            };
            smtp::serve(self.listener, settings, smtp::accept_every_step, take).await;
        });
        Receiving { stop, serving }
    }
}

impl Receiving {
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.serving.await;
    }
}

type Waiting = (NewMail, oneshot::Sender<bool>);

async fn take(queue: &mpsc::Sender<Waiting>, received: Received) -> Answer {
    let recipient = received.recipients.first().map_or("", String::as_str).to_owned();
    let mail = mailbox::incoming(&recipient, received.message);
    let (kept, answer) = oneshot::channel();
    let later = || Answer::Reply(Reply { code: 451, text: "4.3.0 not now".to_owned() });
    if queue.send((mail, kept)).await.is_err() {
        return later();
    }
    match answer.await {
        Ok(true) => Answer::Accept,
        _ => later(),
    }
}

async fn keep(ctx: Ctx, mut waiting: mpsc::Receiver<Waiting>) {
    let mut group: Vec<Waiting> = Vec::new();
    while waiting.recv_many(&mut group, 100).await > 0 {
        let (mails, answers): (Vec<NewMail>, Vec<_>) = group.drain(..).unzip();
        let kept = mailbox::keep(&ctx, mails).await;
        if let Err(error) = &kept {
            tracing::warn!(%error, "keep the demo's mail");
        }
        for answer in answers {
            let _ = answer.send(kept.is_ok());
        }
    }
}
