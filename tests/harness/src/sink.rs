//! The receiving end: a mail sink whose log is on disk before a mail is answered, so that what it
//! says is the truth about who got what.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use tidings_testkit::mail_sink::{Action, At, MailSink, Script, SinkSettings};

/// A mail as the sink's log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    pub message_id: String,
    pub to: String,
    pub delivery: String,
}

/// A slow mail sink with its log.
pub struct Sink {
    sink: MailSink,
    log: PathBuf,
}

impl Sink {
    /// Each answer after the final dot comes a byte at a time, so that many mails are on their way
    /// at any moment: that is when a kill hurts.
    pub async fn start(folder: &std::path::Path) -> Sink {
        let log = folder.join("mails.log");
        let settings = SinkSettings {
            script: Script::accept_all().to("*", Action::Slow(At::Dot, Duration::from_millis(1))),
            count_only: true,
            log: Some(log.clone()),
            ..SinkSettings::default()
        };
        let sink = MailSink::start_with(settings).await.expect("start a mail sink");
        Sink { sink, log }
    }

    pub fn url(&self) -> String {
        self.sink.url()
    }

    /// Mails taken so far, repeats included.
    pub fn count(&self) -> u64 {
        self.sink.count()
    }

    /// Everything that arrived, in its order.
    pub fn arrived(&self) -> Vec<Arrived> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines()
            .map(|line| {
                let mut cells = line.split('\t').map(|cell| cell.trim_matches(['<', '>']));
                let mut next = || cells.next().unwrap_or_default().to_owned();
                Arrived { message_id: next(), to: next(), delivery: next() }
            })
            .collect()
    }
}

/// How often each address got a mail.
pub fn by_address(arrived: &[Arrived]) -> HashMap<&str, Vec<&Arrived>> {
    let mut by: HashMap<&str, Vec<&Arrived>> = HashMap::new();
    for one in arrived {
        by.entry(&one.to).or_default().push(one);
    }
    by
}

/// Mails beyond the first of an address.
pub fn repeats(arrived: &[Arrived]) -> u64 {
    let addresses: HashSet<&str> = arrived.iter().map(|one| one.to.as_str()).collect();
    (arrived.len() - addresses.len()) as u64
}
