//! The e-mail channel against real servers on loopback: the scripted sink, and small servers that
//! break the rules in ways the sink cannot.

mod dkim;
mod international;
mod mime;
mod misbehaving;
mod outcomes;
mod pooling;
mod python;
mod rude_server;
mod secured;
mod strict;

use tidings_channels::email::{ConnectError, Envelope, Limits, Outcome, Pool, Relay};

pub const MESSAGE: &[u8] = b"Subject: hello\r\n\r\nHi.\r\n";

pub fn pool(url: &str, limits: Limits) -> Pool {
    let relay = Relay::parse(url, 4).expect("the url is fine");
    Pool::new(relay, limits).expect("the relay's files can be read")
}

pub fn to(recipient: &str) -> Envelope<'_> {
    Envelope { return_path: "bounces@hub.example", recipient }
}

/// One message over a fresh pool.
pub async fn send_one(
    url: &str,
    limits: Limits,
    recipient: &str,
    message: &[u8],
) -> Result<Outcome, ConnectError> {
    let mut lease = pool(url, limits).connection().await?;
    Ok(lease.send(&to(recipient), message).await)
}
