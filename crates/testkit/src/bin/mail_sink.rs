//! `mail-sink`: a mail server for tests and benches that runs beside the hub as its own process.
//!
//! It prints `listening on 127.0.0.1:PORT` first and `total N mails, B bytes` last (on SIGTERM or
//! Ctrl-C), and with `--fast` a line of totals each second, or more often with `--every`.

use std::{
    io::{Write, stdout},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use tidings_listeners::smtp;
use tidings_testkit::mail_sink::{Action, MailSink, Script, SinkSettings};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(about = "Takes mail, keeps count, forwards nothing")]
struct Options {
    /// Port on 127.0.0.1; 0 lets the system choose.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Append `message-id TAB recipient TAB delivery` per mail to this file, synced before the 250.
    #[arg(long)]
    log: Option<PathBuf>,
    /// Print totals each second.
    #[arg(long)]
    fast: bool,
    /// Milliseconds between two such lines.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// `PATTERN=ACTION` by the recipient's local part, e.g. `bounce*=rcpt:550 5.1.1 no such user`,
    /// `slow*=later:2`, `*=hang:dot`. May be given several times; the first that fits decides.
    #[arg(long = "rule", value_parser = rule)]
    rules: Vec<(String, Action)>,
    /// Connections at a time.
    #[arg(long, default_value_t = 1024)]
    connections: usize,
}

fn rule(text: &str) -> Result<(String, Action), String> {
    let (pattern, action) = text.split_once('=').ok_or("expected PATTERN=ACTION")?;
    Ok((pattern.to_owned(), action.parse()?))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let mut script = Script::accept_all();
    for (pattern, action) in options.rules {
        script = script.to(&pattern, action);
    }
    let limits = smtp::Limits { connections: options.connections, ..smtp::Limits::default() };
    let sink = MailSink::start_with(SinkSettings {
        port: options.port,
        script,
        smtp: smtp::Settings { limits, ..smtp::Settings::default() },
        count_only: true,
        log: options.log,
    })
    .await
    .context("start the sink")?;
    say(&format!("listening on {}", sink.addr()));

    let mut term = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut again = tokio::time::interval(Duration::from_millis(options.every));
    loop {
        tokio::select! {
            _ = term.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
            _ = again.tick(), if options.fast => say(&totals("so far", &sink)),
        }
    }
    say(&totals("total", &sink));
    Ok(())
}

fn totals(what: &str, sink: &MailSink) -> String {
    format!("{what} {} mails, {} bytes", sink.count(), sink.bytes())
}

/// Prints and flushes, since a test reads this through a pipe; a reader that has gone is no reason
/// to stop taking mail.
fn say(line: &str) {
    let mut out = stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
