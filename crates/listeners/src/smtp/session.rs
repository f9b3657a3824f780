//! One SMTP session from the greeting to the end of the connection.

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use bytes::BytesMut;
use tokio::{net::TcpStream, time::timeout};

use super::{
    Answer, Received, Reply, Settings, Step, Tls,
    commands::{self, Command},
    data::Collector,
    wire::Wire,
};

/// What all sessions of one listener share.
pub(super) struct Server<S, H> {
    pub(super) settings: Settings,
    pub(super) on_step: S,
    pub(super) on_message: H,
}

/// What was made of an answer.
pub(super) enum Outcome {
    Accepted,
    Refused,
    /// The session ends here.
    Over,
}

pub(super) struct Session<S, H> {
    pub(super) server: Arc<Server<S, H>>,
    pub(super) wire: Wire,
    peer: SocketAddr,
    connection: u64,
    pub(super) hello: Option<String>,
    pub(super) user: Option<String>,
    pub(super) return_path: Option<String>,
    recipients: Vec<String>,
    errors: usize,
}

/// Runs a session to its end. The error is the connection's; the dialog's own faults are answered.
pub(super) async fn run<S, H, F>(
    server: Arc<Server<S, H>>,
    socket: TcpStream,
    peer: SocketAddr,
    connection: u64,
) -> io::Result<()>
where
    S: Fn(&Step<'_>) -> Answer,
    H: Fn(Received) -> F,
    F: Future<Output = Answer>,
{
    // Without this a reply waits for the client's delayed acknowledgement, 40 ms a message.
    socket.set_nodelay(true)?;
    let mut session = Session {
        server,
        wire: Wire::new(socket),
        peer,
        connection,
        hello: None,
        user: None,
        return_path: None,
        recipients: Vec::new(),
        errors: 0,
    };
    if let Tls::Implicit(config) = &session.server.settings.tls {
        let config = Arc::clone(config);
        session.secure(config).await?;
    }
    session.talk().await?;
    session.wire.flush().await
}

impl<S, H, F> Session<S, H>
where
    S: Fn(&Step<'_>) -> Answer,
    H: Fn(Received) -> F,
    F: Future<Output = Answer>,
{
    async fn talk(&mut self) -> io::Result<()> {
        let answer =
            (self.server.on_step)(&Step::Connect { peer: self.peer, connection: self.connection });
        let greeting = format!("220 {} ESMTP Tidings\r\n", self.hostname());
        if !matches!(self.answer(answer, greeting.as_bytes()).await?, Outcome::Accepted) {
            return Ok(());
        }
        while let Some(line) = self.next_line().await? {
            if matches!(self.obey(&line).await?, Outcome::Over) {
                break;
            }
            if self.errors > self.server.settings.limits.errors {
                self.say("421 4.7.0 too many errors\r\n");
                break;
            }
        }
        Ok(())
    }

    fn hostname(&self) -> &str {
        match self.server.settings.hostname.as_str() {
            "" => "localhost",
            name => name,
        }
    }

    pub(super) fn say(&mut self, reply: &str) {
        self.wire.output.extend_from_slice(reply.as_bytes());
    }

    pub(super) fn refuse(&mut self, reply: &str) -> io::Result<Outcome> {
        self.errors += 1;
        self.say(reply);
        Ok(Outcome::Refused)
    }

    /// The next command line, or `None` when the session should end.
    pub(super) async fn next_line(&mut self) -> io::Result<Option<BytesMut>> {
        if let Some(line) = self.wire.take_line() {
            return Ok(Some(line));
        }
        self.wire.flush().await?;
        let limits = &self.server.settings.limits;
        let wire = &mut self.wire;
        let read = async {
            loop {
                wire.read().await?;
                if let Some(line) = wire.take_line() {
                    return Ok(Some(line));
                }
                if wire.input.len() > limits.line_bytes {
                    return Ok(None);
                }
            }
        };
        let line = tokio::select! {
            line = timeout(limits.command, read) => line,
            () = self.server.settings.stop.cancelled() => {
                self.say("421 4.3.2 shutting down\r\n");
                return Ok(None);
            }
        };
        match line {
            Ok(Ok(None)) => self.say("500 5.5.2 line too long\r\n"),
            Ok(line) => return line,
            Err(_) => self.say("421 4.4.2 nothing heard for too long\r\n"),
        }
        Ok(None)
    }

    async fn obey(&mut self, line: &[u8]) -> io::Result<Outcome> {
        match commands::parse(line) {
            Err(refusal) => self.refuse(refusal),
            Ok(Command::Ehlo(name)) => self.hello(name, true).await,
            Ok(Command::Helo(name)) => self.hello(name, false).await,
            Ok(Command::Mail { return_path, size_bytes }) => {
                self.mail(return_path, size_bytes).await
            }
            Ok(Command::Rcpt(recipient)) => self.recipient(recipient).await,
            Ok(Command::Data) => self.data().await,
            Ok(Command::Rset) => {
                self.reset();
                self.say("250 2.0.0 reset\r\n");
                Ok(Outcome::Accepted)
            }
            Ok(Command::Noop) => {
                self.say("250 2.0.0 ok\r\n");
                Ok(Outcome::Accepted)
            }
            Ok(Command::Vrfy) => {
                self.say("252 2.5.0 send some mail, it will be tried\r\n");
                Ok(Outcome::Accepted)
            }
            Ok(Command::Quit) => {
                self.say("221 2.0.0 bye\r\n");
                Ok(Outcome::Over)
            }
            Ok(Command::StartTls) => self.start_tls().await,
            Ok(Command::Auth(mechanism, initial)) => self.auth(mechanism, initial).await,
        }
    }

    pub(super) fn reset(&mut self) {
        self.return_path = None;
        self.recipients.clear();
    }

    /// Carries out an answer; `normal` is what `Accept` says.
    async fn answer(&mut self, answer: Answer, normal: &[u8]) -> io::Result<Outcome> {
        match answer {
            Answer::Accept => {
                self.wire.output.extend_from_slice(normal);
                Ok(Outcome::Accepted)
            }
            Answer::Reply(reply) => {
                write_reply(&mut self.wire.output, &reply);
                Ok(if reply.code < 400 { Outcome::Accepted } else { Outcome::Refused })
            }
            Answer::Raw(bytes) => {
                self.wire.output.extend(bytes);
                Ok(Outcome::Refused)
            }
            Answer::Trickle(pause) => {
                self.wire.flush().await?;
                self.wire.output.extend_from_slice(normal);
                self.wire.trickle(pause).await?;
                Ok(Outcome::Accepted)
            }
            Answer::Close => {
                self.wire.flush().await?;
                Ok(Outcome::Over)
            }
            Answer::Hang => {
                self.wire.flush().await?;
                let stop = self.server.settings.stop.clone();
                tokio::select! {
                    over = async { loop { self.wire.input.clear(); self.wire.read().await?; } } => over,
                    () = stop.cancelled() => Ok(Outcome::Over),
                }
            }
        }
    }

    async fn hello(&mut self, name: &str, extended: bool) -> io::Result<Outcome> {
        let answer = (self.server.on_step)(&Step::Hello { name });
        let reply = match extended {
            true => self.extensions(),
            false => format!("250 {}\r\n", self.hostname()),
        };
        let outcome = self.answer(answer, reply.as_bytes()).await?;
        if matches!(outcome, Outcome::Accepted) {
            self.reset();
            self.hello = Some(name.to_owned());
        }
        Ok(outcome)
    }

    fn extensions(&self) -> String {
        let settings = &self.server.settings;
        let mut lines = vec![
            "PIPELINING".to_owned(),
            format!("SIZE {}", settings.limits.message_bytes),
            "8BITMIME".to_owned(),
            "SMTPUTF8".to_owned(),
            "ENHANCEDSTATUSCODES".to_owned(),
        ];
        if matches!(settings.tls, Tls::StartTls(_)) && !self.wire.is_secure() {
            lines.push("STARTTLS".to_owned());
        }
        let hidden = |keyword: &str| {
            settings.hidden_extensions.iter().any(|hidden| hidden.eq_ignore_ascii_case(keyword))
        };
        if self.offered_auth().is_some() {
            let mut line = "AUTH".to_owned();
            for mechanism in ["PLAIN", "LOGIN"].into_iter().filter(|name| !hidden(name)) {
                line.push(' ');
                line.push_str(mechanism);
            }
            lines.push(line);
        }
        lines.retain(|line| !hidden(line.split(' ').next().unwrap_or_default()));
        let mut reply = format!("250-{}\r\n", self.hostname());
        for line in &lines {
            reply.push_str(&format!("250-{line}\r\n"));
        }
        let last = reply.trim_end().rfind("\r\n").map_or(0, |end| end + 2);
        reply.replace_range(last + 3..last + 4, " ");
        reply
    }

    async fn mail(&mut self, return_path: &str, size_bytes: Option<u64>) -> io::Result<Outcome> {
        let settings = &self.server.settings;
        if self.hello.is_none() || self.return_path.is_some() {
            return self.refuse("503 5.5.1 bad sequence of commands\r\n");
        }
        if settings.auth.as_ref().is_some_and(|auth| auth.required) && self.user.is_none() {
            return self.refuse("530 5.7.0 authentication required\r\n");
        }
        if size_bytes.is_some_and(|size| size > settings.limits.message_bytes as u64) {
            return self.refuse("552 5.3.4 message too big\r\n");
        }
        let answer = (self.server.on_step)(&Step::Mail { return_path });
        let outcome = self.answer(answer, b"250 2.1.0 ok\r\n").await?;
        if matches!(outcome, Outcome::Accepted) {
            self.return_path = Some(return_path.to_owned());
        }
        Ok(outcome)
    }

    async fn recipient(&mut self, recipient: &str) -> io::Result<Outcome> {
        let Some(return_path) = &self.return_path else {
            return self.refuse("503 5.5.1 MAIL first\r\n");
        };
        if self.recipients.len() >= self.server.settings.limits.recipients {
            return self.refuse("452 4.5.3 too many recipients\r\n");
        }
        let answer = (self.server.on_step)(&Step::Recipient { return_path, recipient });
        let outcome = self.answer(answer, b"250 2.1.5 ok\r\n").await?;
        if matches!(outcome, Outcome::Accepted) {
            self.recipients.push(recipient.to_owned());
        }
        Ok(outcome)
    }

    async fn data(&mut self) -> io::Result<Outcome> {
        if self.recipients.is_empty() {
            return self.refuse("554 5.5.1 no valid recipients\r\n");
        }
        let answer = (self.server.on_step)(&Step::Data { recipients: &self.recipients });
        match self.answer(answer, b"354 end with a dot alone on a line\r\n").await? {
            Outcome::Accepted => {}
            other => return Ok(other),
        }
        self.wire.flush().await?;
        let limits = self.server.settings.limits.clone();
        let message = match timeout(limits.data, self.collect(&limits)).await {
            Ok(collected) => match collected? {
                Some(collector) => collector.finish(),
                None => return Ok(Outcome::Over),
            },
            Err(_) => {
                self.say("421 4.4.2 message took too long\r\n");
                return Ok(Outcome::Over);
            }
        };
        let (return_path, recipients) =
            (self.return_path.take().unwrap_or_default(), std::mem::take(&mut self.recipients));
        let message = match message {
            Ok(message) => message,
            Err(fault) => {
                self.wire.output.extend_from_slice(fault.reply());
                return Ok(Outcome::Refused);
            }
        };
        let received = Received {
            peer: self.peer,
            connection: self.connection,
            hello: self.hello.clone().unwrap_or_default(),
            secure: self.wire.is_secure(),
            user: self.user.clone(),
            return_path,
            recipients,
            message,
        };
        let answer = (self.server.on_message)(received).await;
        self.answer(answer, b"250 2.0.0 accepted\r\n").await
    }

    /// Reads the message up to its final dot; `None` if `on_step` ended the session meanwhile.
    async fn collect(&mut self, limits: &super::Limits) -> io::Result<Option<Collector>> {
        if self.wire.input.is_empty() {
            self.wire.read().await?;
        }
        let answer = (self.server.on_step)(&Step::Body { recipients: &self.recipients });
        if !matches!(self.answer(answer, b"").await?, Outcome::Accepted) {
            return Ok(None);
        }
        let mut collector = Collector::new(limits);
        loop {
            let (used, ended) = collector.feed(&self.wire.input);
            self.wire.skip(used);
            if ended {
                return Ok(Some(collector));
            }
            self.wire.read().await?;
        }
    }
}

fn write_reply(output: &mut Vec<u8>, reply: &Reply) {
    let mut lines = reply.text.lines().peekable();
    if lines.peek().is_none() {
        output.extend(format!("{} \r\n", reply.code).bytes());
    }
    while let Some(line) = lines.next() {
        let mark = if lines.peek().is_some() { '-' } else { ' ' };
        output.extend(format!("{}{mark}{line}\r\n", reply.code).bytes());
    }
}
