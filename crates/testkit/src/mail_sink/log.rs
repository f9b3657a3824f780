//! The sink's memory across crashes: a line per accepted recipient, on disk before the 250.
//!
//! A crash test compares this file with what the hub believes, so a mail that was answered must be
//! in it. Lines of concurrent mails share one sync.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use tidings_listeners::smtp::Received;
use tokio::sync::{mpsc, oneshot};

/// The header in which the hub names the delivery; its value goes into the log.
pub const DELIVERY_HEADER: &str = "X-Tidings-Delivery";

type Entry = (String, oneshot::Sender<bool>);

#[derive(Debug)]
pub(super) struct Log {
    entries: mpsc::UnboundedSender<Entry>,
}

impl Log {
    /// Opens for appending and starts the writing thread, which ends with the last handle.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let (entries, waiting) = mpsc::unbounded_channel();
        std::thread::Builder::new().name("sink-log".to_owned()).spawn(|| write(file, waiting))?;
        Ok(Self { entries })
    }

    /// Writes `message-id TAB recipient TAB delivery` for each recipient; done when it is on disk.
    pub(super) async fn append(&self, received: &Received) -> io::Result<()> {
        let header = |name| super::mail::header(&received.message, name).unwrap_or_default();
        let (message_id, delivery) = (header("Message-ID"), header(DELIVERY_HEADER));
        let lines =
            received.recipients.iter().map(|to| format!("{message_id}\t{to}\t{delivery}\n"));
        let (done, written) = oneshot::channel();
        let gone = || io::Error::other("the log's writer has ended");
        self.entries.send((lines.collect(), done)).map_err(|_| gone())?;
        if written.await.unwrap_or(false) { Ok(()) } else { Err(gone()) }
    }
}

fn write(mut file: File, mut waiting: mpsc::UnboundedReceiver<Entry>) {
    let mut group = Vec::new();
    while waiting.blocking_recv_many(&mut group, 1024) > 0 {
        let text: String = group.iter().map(|(line, _)| line.as_str()).collect();
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).is_ok();
        for (_, done) in group.drain(..) {
            let _ = done.send(written);
        }
    }
}
