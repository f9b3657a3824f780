//! One connection to a relay: the dialog from the greeting to QUIT.
//!
//! Where the relay allows pipelining, MAIL, RCPT and DATA go out in one write, so a message costs two
//! round trips. The text is written apart, and counted, so that it is known whether the final dot can
//! have reached the relay: that decides between a message that failed and one that is uncertain.

use std::time::Instant;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::{
    body::write_body,
    outcome::{ConnectError, Envelope, Outcome, Phase, Refusal},
    relay::{Limits, Relay, Security},
    reply::Reply,
    stream::{Stream, Trouble},
};

/// Longest address put into a command, in bytes.
const ADDRESS_BYTES: usize = 320;

/// What the relay said it can do.
#[derive(Debug, Default)]
struct Extensions {
    pipelining: bool,
    eight_bit: bool,
    utf8: bool,
    start_tls: bool,
    auth_plain: bool,
    auth_login: bool,
    size_bytes: Option<usize>,
}

pub(super) struct Connection {
    stream: Stream,
    extensions: Extensions,
    limits: Limits,
    /// Messages handed over, or refused, by this connection.
    pub(super) used: u32,
    pub(super) idle_since: Instant,
    /// Kept between messages for its room.
    buffer: Vec<u8>,
}

/// What became of a message, and of the connection with it.
pub(super) struct Attempt {
    pub(super) outcome: Outcome,
    /// Another message can follow.
    pub(super) usable: bool,
    /// The relay had left before it saw this message: a new connection may take it.
    pub(super) stale: bool,
}

impl Attempt {
    fn broken(trouble: &Trouble, at: Phase) -> Self {
        let outcome = Outcome::Failed { reason: format!("{at}: {trouble}"), at };
        let stale = at == Phase::Mail && matches!(trouble, Trouble::Lost(_));
        Self { outcome, usable: false, stale }
    }

    /// A reply that stops the message: a refusal if it is one, else nonsense.
    fn stopped(reply: &Reply, at: Phase) -> Self {
        if !reply.is_refusal() {
            return Self::broken(&Trouble::Nonsense("reply out of place"), at);
        }
        // 421 announces that the connection is about to be closed.
        let closing = reply.code == 421;
        let outcome = Outcome::Refused(refusal(reply, at));
        Self { outcome, usable: !closing, stale: closing && at == Phase::Mail }
    }

    /// A refusal that is certain without asking the relay.
    fn unsendable(code: u16, text: &str, at: Phase) -> Self {
        let reply = Reply { code, text: text.to_owned() };
        Self { outcome: Outcome::Refused(refusal(&reply, at)), usable: true, stale: false }
    }
}

fn refusal(reply: &Reply, at: Phase) -> Refusal {
    Refusal {
        code: reply.code,
        enhanced: reply.enhanced().map(str::to_owned),
        reply: reply.one_line(),
        permanent: reply.code >= 500,
        at,
    }
}

impl Connection {
    /// Connects, encrypts and signs in as the relay's settings say.
    pub(super) async fn open(
        relay: &Relay,
        limits: &Limits,
        tls: Option<&TlsConnector>,
    ) -> Result<Self, ConnectError> {
        let unreachable = |source| {
            let address = format!("{}:{}", relay.host, relay.port);
            ConnectError::Unreachable { address, source }
        };
        let connect = TcpStream::connect((relay.host.as_str(), relay.port));
        let socket = timeout(limits.connect, connect)
            .await
            .map_err(|_| ConnectError::TimedOut { at: Phase::Connect })?
            .map_err(unreachable)?;
        // Without this each message waits up to 40 ms for the acknowledgement of its first packet.
        socket.set_nodelay(true).map_err(unreachable)?;
        let mut connection = Self {
            stream: Stream::new(socket),
            extensions: Extensions::default(),
            limits: limits.clone(),
            used: 0,
            idle_since: Instant::now(),
            buffer: Vec::new(),
        };
        if let (Security::Implicit, Some(tls)) = (relay.security, tls) {
            connection.stream.secure(tls, &relay.host, limits.connect).await?;
        }
        connection.greet(relay, tls).await?;
        Ok(connection)
    }

    async fn greet(
        &mut self,
        relay: &Relay,
        tls: Option<&TlsConnector>,
    ) -> Result<(), ConnectError> {
        let greeting = self.stream.reply(self.limits.greeting).await;
        expect_positive(greeting.map_err(|e| e.connecting(Phase::Greeting))?, Phase::Greeting)?;
        let name = match (&relay.hello, self.stream.local_ip()) {
            (Some(name), _) => name.clone(),
            (None, Some(std::net::IpAddr::V4(address))) => format!("[{address}]"),
            (None, Some(std::net::IpAddr::V6(address))) => format!("[IPv6:{address}]"),
            (None, None) => "localhost".to_owned(),
        };
        self.hello(&name).await?;
        if let (Security::StartTls, Some(tls)) = (relay.security, tls) {
            if !self.extensions.start_tls {
                return Err(ConnectError::StartTlsNotOffered);
            }
            let reply = self.ask("STARTTLS\r\n", Phase::StartTls).await?;
            expect_positive(reply, Phase::StartTls)?;
            self.stream.secure(tls, &relay.host, self.limits.connect).await?;
            self.hello(&name).await?;
        }
        if let Some((user, password)) = &relay.credentials {
            self.sign_in(user, password).await?;
        }
        Ok(())
    }

    async fn hello(&mut self, name: &str) -> Result<(), ConnectError> {
        let mut reply = self.ask(&format!("EHLO {name}\r\n"), Phase::Hello).await?;
        if matches!(reply.code, 500 | 502) {
            reply = self.ask(&format!("HELO {name}\r\n"), Phase::Hello).await?;
        }
        self.extensions = read_extensions(&reply.text);
        expect_positive(reply, Phase::Hello)
    }

    async fn sign_in(&mut self, user: &str, password: &str) -> Result<(), ConnectError> {
        let reply = if self.extensions.auth_plain {
            let response = STANDARD.encode(format!("\0{user}\0{password}"));
            self.ask(&format!("AUTH PLAIN {response}\r\n"), Phase::Auth).await?
        } else if self.extensions.auth_login {
            let mut reply = self.ask("AUTH LOGIN\r\n", Phase::Auth).await?;
            for answer in [user, password] {
                if reply.code != 334 {
                    break;
                }
                reply = self.ask(&format!("{}\r\n", STANDARD.encode(answer)), Phase::Auth).await?;
            }
            reply
        } else {
            return Err(ConnectError::AuthNotOffered);
        };
        expect_positive(reply, Phase::Auth)
    }

    async fn ask(&mut self, command: &str, at: Phase) -> Result<Reply, ConnectError> {
        self.exchange(command.as_bytes()).await.map_err(|trouble| trouble.connecting(at))
    }

    async fn exchange(&mut self, command: &[u8]) -> Result<Reply, Trouble> {
        self.stream.write(command, self.limits.command).await?;
        self.stream.reply(self.limits.command).await
    }

    /// The relay still answers, and nothing but the answer.
    pub(super) async fn is_alive(&mut self) -> bool {
        let answer = self.exchange(b"NOOP\r\n").await;
        answer.is_ok_and(|reply| reply.is_positive()) && !self.stream.has_unread()
    }

    /// Says goodbye, without waiting long for the answer.
    pub(super) async fn quit(mut self) {
        let limit = self.limits.command.min(std::time::Duration::from_secs(1));
        if self.stream.write(b"QUIT\r\n", limit).await.is_ok() {
            let _ = self.stream.reply(limit).await;
        }
    }

    /// Hands one message over.
    pub(super) async fn send(&mut self, envelope: &Envelope<'_>, message: &[u8]) -> Attempt {
        if let Some(refused) = self.unsendable(envelope, message) {
            return refused;
        }
        let mut attempt = match self.start_message(envelope, message).await {
            Ok(()) => self.send_text(message).await,
            Err(stopped) => stopped,
        };
        if attempt.usable && !matches!(attempt.outcome, Outcome::Sent { .. }) {
            attempt.usable = self.exchange(b"RSET\r\n").await.is_ok_and(|r| r.is_positive());
        }
        attempt.usable &= !self.stream.has_unread();
        self.used += 1;
        attempt
    }

    /// Whether the relay said that it takes addresses like these (RFC 6531).
    pub(super) fn takes_addresses_of(&self, envelope: &Envelope<'_>, message: &[u8]) -> bool {
        self.extensions.utf8 || !needs_utf8(envelope, message)
    }

    /// What the relay said it can do, by the names of the extensions.
    pub(super) fn offers(&self) -> Vec<&'static str> {
        let Extensions { pipelining, eight_bit, utf8, start_tls, .. } = self.extensions;
        let known = [
            ("PIPELINING", pipelining),
            ("8BITMIME", eight_bit),
            ("SMTPUTF8", utf8),
            ("STARTTLS", start_tls),
        ];
        known.into_iter().filter(|(_, offered)| *offered).map(|(name, _)| name).collect()
    }

    /// A message this relay cannot take, found without asking it.
    fn unsendable(&self, envelope: &Envelope<'_>, message: &[u8]) -> Option<Attempt> {
        let Envelope { return_path, recipient } = envelope;
        let extensions = &self.extensions;
        if recipient.is_empty() || !is_address(recipient) {
            let text = "5.1.3 recipient is no address (said by the hub)";
            return Some(Attempt::unsendable(553, text, Phase::Recipient));
        }
        if !is_address(return_path) {
            let text = "5.1.7 return path is no address (said by the hub)";
            return Some(Attempt::unsendable(553, text, Phase::Mail));
        }
        if !extensions.utf8 && needs_utf8(envelope, message) {
            let text = "5.6.7 relay takes no addresses beyond ASCII (said by the hub)";
            return Some(Attempt::unsendable(553, text, Phase::Recipient));
        }
        if !extensions.eight_bit && !message.is_ascii() {
            let text = "5.6.3 relay takes no text beyond ASCII (said by the hub)";
            return Some(Attempt::unsendable(554, text, Phase::Data));
        }
        if extensions.size_bytes.is_some_and(|limit| limit > 0 && message.len() > limit) {
            let text = "5.3.4 message is bigger than the relay takes (said by the hub)";
            return Some(Attempt::unsendable(552, text, Phase::Mail));
        }
        None
    }

    /// MAIL, RCPT and DATA, up to the relay's "go ahead".
    async fn start_message(
        &mut self,
        envelope: &Envelope<'_>,
        message: &[u8],
    ) -> Result<(), Attempt> {
        let mail = format!(
            "MAIL FROM:<{}>{}{}\r\n",
            envelope.return_path,
            if self.extensions.eight_bit && !message.is_ascii() { " BODY=8BITMIME" } else { "" },
            if needs_utf8(envelope, message) { " SMTPUTF8" } else { "" },
        );
        let rcpt = format!("RCPT TO:<{}>\r\n", envelope.recipient);
        let commands = [mail.as_str(), rcpt.as_str(), "DATA\r\n"];
        if self.extensions.pipelining {
            return self.start_pipelined(&commands.concat()).await;
        }
        for (command, at) in commands.iter().zip(PHASES) {
            let reply = self.exchange(command.as_bytes()).await;
            let reply = reply.map_err(|trouble| Attempt::broken(&trouble, at))?;
            if !goes_on(&reply, at) {
                return Err(Attempt::stopped(&reply, at));
            }
        }
        Ok(())
    }

    async fn start_pipelined(&mut self, commands: &str) -> Result<(), Attempt> {
        let written = self.stream.write(commands.as_bytes(), self.limits.command).await;
        written.map_err(|trouble| Attempt::broken(&trouble, Phase::Mail))?;
        let mut stopped = None;
        for at in PHASES {
            let reply = match self.stream.reply(self.limits.command).await {
                Ok(reply) => reply,
                // A refusal that was read counts, whatever became of the connection after it.
                Err(trouble) => {
                    let mut attempt = stopped.unwrap_or_else(|| Attempt::broken(&trouble, at));
                    attempt.usable = false;
                    return Err(attempt);
                }
            };
            if stopped.is_none() && !goes_on(&reply, at) {
                stopped = Some(Attempt::stopped(&reply, at));
            } else if stopped.is_some() && at == Phase::Data && goes_on(&reply, at) {
                // A relay may ask for the text though it refused the recipient (RFC 2920 section 3.1);
                // it gets an empty one, and the connection is not used again.
                let _ = self.exchange(b".\r\n").await;
                stopped = stopped.map(|attempt| Attempt { usable: false, ..attempt });
            }
        }
        stopped.map_or(Ok(()), Err)
    }

    async fn send_text(&mut self, message: &[u8]) -> Attempt {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        write_body(message, &mut buffer);
        let mut reached = 0;
        let written = self.stream.write_counted(&buffer, self.limits.body, &mut reached).await;
        let complete = reached >= buffer.len();
        self.buffer = buffer;
        let reply = match written {
            Ok(()) => self.stream.reply(self.limits.after_dot).await,
            Err(trouble) if !complete => return Attempt::broken(&trouble, Phase::Message),
            Err(trouble) => Err(trouble),
        };
        match reply {
            Ok(reply) if reply.is_positive() => {
                let outcome = Outcome::Sent { code: reply.code, reply: reply.one_line() };
                Attempt { outcome, usable: true, stale: false }
            }
            Ok(reply) if reply.is_refusal() => Attempt::stopped(&reply, Phase::Message),
            Ok(reply) => unknown(format!("relay answered the text with {}", reply.one_line())),
            Err(trouble) => unknown(format!("no answer to the text: {trouble}")),
        }
    }
}

/// Whether an address of the envelope or a header goes beyond ASCII, which RFC 6531 has declared.
fn needs_utf8(envelope: &Envelope<'_>, message: &[u8]) -> bool {
    if !envelope.return_path.is_ascii() || !envelope.recipient.is_ascii() {
        return true;
    }
    if message.is_ascii() {
        return false;
    }
    let ends = message.windows(4).position(|four| four == b"\r\n\r\n");
    !message[..ends.unwrap_or(message.len())].is_ascii()
}

fn unknown(reason: String) -> Attempt {
    Attempt { outcome: Outcome::Unknown { reason }, usable: false, stale: false }
}

const PHASES: [Phase; 3] = [Phase::Mail, Phase::Recipient, Phase::Data];

/// The reply lets the message go on from this phase.
fn goes_on(reply: &Reply, at: Phase) -> bool {
    if at == Phase::Data { reply.code == 354 } else { reply.is_positive() }
}

fn expect_positive(reply: Reply, at: Phase) -> Result<(), ConnectError> {
    if reply.is_positive() {
        Ok(())
    } else if reply.is_refusal() {
        Err(ConnectError::Refused(refusal(&reply, at)))
    } else {
        Err(ConnectError::Nonsense { at, what: "reply out of place" })
    }
}

/// Nothing in it can end the command early; what is left is the relay's to judge. The empty address is
/// fine here (the null sender).
fn is_address(address: &str) -> bool {
    let odd = |c: char| c.is_control() || c.is_whitespace() || c == '<' || c == '>';
    address.len() <= ADDRESS_BYTES && !address.contains(odd)
}

fn read_extensions(text: &str) -> Extensions {
    let mut extensions = Extensions::default();
    for line in text.lines().skip(1) {
        let line = line.to_ascii_uppercase();
        // Some old servers write AUTH=PLAIN.
        let mut words = line.split([' ', '=']);
        match words.next().unwrap_or_default() {
            "PIPELINING" => extensions.pipelining = true,
            "8BITMIME" => extensions.eight_bit = true,
            "SMTPUTF8" => extensions.utf8 = true,
            "STARTTLS" => extensions.start_tls = true,
            "SIZE" => extensions.size_bytes = words.next().and_then(|size| size.parse().ok()),
            "AUTH" => {
                for mechanism in words {
                    extensions.auth_plain |= mechanism == "PLAIN";
                    extensions.auth_login |= mechanism == "LOGIN";
                }
            }
            _ => {}
        }
    }
    extensions
}
