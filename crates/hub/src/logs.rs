//! Logs go to standard error: for people on a terminal, as JSON elsewhere. They carry no personal
//! data; `TIDINGS_LOG` says how much, such as `info` or `tidings_engine=debug`.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

pub fn start() {
    let filter = EnvFilter::try_from_env("TIDINGS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.with_target(false).init();
    } else {
        builder.json().flatten_event(true).init();
    }
}
