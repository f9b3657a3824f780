//! What became of a message or of an attempt to connect.

use std::{fmt, io};

use super::bounce::{BounceClass, bounce_class};

/// From whom and to whom, as the relay is told; both without angle brackets.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// Where bounces go; empty for the null sender.
    pub return_path: &'a str,
    pub recipient: &'a str,
}

/// A step of the dialog with a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Connect,
    Greeting,
    Hello,
    StartTls,
    Auth,
    Mail,
    Recipient,
    /// The DATA command, before any text.
    Data,
    /// The text and the answer to its final dot.
    Message,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Greeting => "waiting for the greeting",
            Self::Hello => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Mail => "MAIL",
            Self::Recipient => "RCPT",
            Self::Data => "DATA",
            Self::Message => "sending the text",
        })
    }
}

/// A clear no from the relay (or a no that is certain before asking it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 400 to 599.
    pub code: u16,
    /// The enhanced status code, e.g. `5.1.1`, if one was given.
    pub enhanced: Option<String>,
    /// The whole reply in one line, code first; at most about 1,000 characters.
    pub reply: String,
    /// The same message would be refused again (a 5xx).
    pub permanent: bool,
    pub at: Phase,
}

impl Refusal {
    /// What the refusal says about the address.
    pub fn bounce_class(&self) -> BounceClass {
        bounce_class(self.code, self.enhanced.as_deref(), self.at, &self.reply)
    }
}

/// What became of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The relay has taken responsibility.
    Sent { code: u16, reply: String },
    /// The relay said no; it holds nothing.
    Refused(Refusal),
    /// Something broke before the message was complete: the relay holds nothing, trying again is safe.
    Failed { reason: String, at: Phase },
    /// The final dot may have arrived, but no understandable answer came: the message may or may not
    /// be delivered, and trying again may double it.
    Unknown { reason: String },
}

/// Why no connection stands. Nothing was handed over.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("connect to {address}: {source}")]
    Unreachable { address: String, source: io::Error },
    #[error("relay took too long: {at}")]
    TimedOut { at: Phase },
    #[error("connection lost: {at}: {source}")]
    Lost { at: Phase, source: io::Error },
    #[error("relay refused: {}: {}", .0.at, .0.reply)]
    Refused(Refusal),
    #[error("relay answered no SMTP: {at}: {what}")]
    Nonsense { at: Phase, what: &'static str },
    #[error("set up tls: {0}")]
    Tls(io::Error),
    #[error("relay does not offer STARTTLS")]
    StartTlsNotOffered,
    #[error("relay offers neither AUTH PLAIN nor AUTH LOGIN")]
    AuthNotOffered,
    #[error("the pool is closed")]
    PoolClosed,
}

impl ConnectError {
    /// Where it happened.
    pub fn at(&self) -> Phase {
        match self {
            Self::Unreachable { .. } | Self::PoolClosed => Phase::Connect,
            Self::TimedOut { at } | Self::Lost { at, .. } | Self::Nonsense { at, .. } => *at,
            Self::Refused(refusal) => refusal.at,
            Self::Tls(_) | Self::StartTlsNotOffered => Phase::StartTls,
            Self::AuthNotOffered => Phase::Auth,
        }
    }

    /// Waiting will not help: the settings or the relay's must change (wrong password, no TLS, a 5xx
    /// greeting).
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.permanent,
            Self::StartTlsNotOffered | Self::AuthNotOffered => true,
            // rustls reports what it dislikes (a certificate, say) as invalid data; the rest is the network.
            Self::Tls(error) => error.kind() == io::ErrorKind::InvalidData,
            _ => false,
        }
    }
}
