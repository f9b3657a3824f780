//! A mail as a test wants to see it.

use mail_parser::{Message, MessageParser};
use tidings_listeners::smtp::Received;

/// One mail the sink took.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Without angle brackets; empty for the null sender.
    pub return_path: String,
    pub recipients: Vec<String>,
    /// The number of the connection it came by, counted from 1.
    pub connection: u64,
    pub secure: bool,
    /// The name of the sign-in, if there was one.
    pub user: Option<String>,
    /// The message exactly as sent.
    pub bytes: Vec<u8>,
}

impl Mail {
    pub(super) fn new(received: Received) -> Self {
        Self {
            return_path: received.return_path,
            recipients: received.recipients,
            connection: received.connection,
            secure: received.secure,
            user: received.user,
            bytes: received.message,
        }
    }

    /// The parsed message; panics if there is not even a header.
    pub fn parse(&self) -> Message<'_> {
        MessageParser::default().parse(&self.bytes).expect("the mail has a header")
    }

    /// A header's value as it stands, unfolded and trimmed; the first of that name.
    pub fn header(&self, name: &str) -> Option<String> {
        header(&self.bytes, name)
    }

    pub fn subject(&self) -> String {
        self.parse().subject().unwrap_or_default().to_owned()
    }

    /// The decoded plain text part.
    pub fn text(&self) -> String {
        self.parse().body_text(0).unwrap_or_default().into_owned()
    }

    /// The decoded HTML part.
    pub fn html(&self) -> String {
        self.parse().body_html(0).unwrap_or_default().into_owned()
    }
}

/// A header's value, unfolded and trimmed, without parsing the whole message.
pub(super) fn header(message: &[u8], name: &str) -> Option<String> {
    let mut value: Option<String> = None;
    for line in message.split(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
        match &mut value {
            Some(value) if line.starts_with([' ', '\t']) => value.push_str(&line),
            Some(_) => break,
            None if line.is_empty() => break,
            None => {
                value = line
                    .split_once(':')
                    .filter(|(head, _)| head.eq_ignore_ascii_case(name))
                    .map(|(_, tail)| tail.trim_start().to_owned());
            }
        }
    }
    value.map(|value| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn headers_are_found_and_unfolded() {
        let message = b"Subject: one\r\n two\r\nX-Id:  7 \r\n\r\nX-Body: no\r\n";
        for (name, expected) in
            [("subject", Some("one two")), ("X-ID", Some("7")), ("X-Body", None), ("To", None)]
        {
            assert_eq!(super::header(message, name).as_deref(), expected, "{name}");
        }
    }
}
