//! Builds a finished mail from its parts. Deterministic: the same parts give the same bytes.

use std::borrow::Cow;

use mail_builder::{
    MessageBuilder,
    headers::{
        address::Address, content_type::ContentType, date::Date, message_id::MessageId, raw::Raw,
        text::Text, url::URL,
    },
    mime::MimePart,
};

use super::address::wire_address;
use super::plain_text::plain_text;

/// An address with an optional name to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mailbox<'a> {
    pub name: Option<&'a str>,
    /// `local@domain`; a domain beyond ASCII is written in its ASCII form.
    pub address: &'a str,
}

/// How a reader gets off the list (RFC 2369 and, for the POST, RFC 8058).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// Answers a POST by unsubscribing, without a question.
    pub https: &'a str,
    /// An address without `mailto:`.
    pub mail: Option<&'a str>,
}

/// The parts of a mail.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    pub from: Mailbox<'a>,
    pub to: Mailbox<'a>,
    pub reply_to: Option<Mailbox<'a>>,
    pub subject: &'a str,
    pub html: Option<&'a str>,
    /// Without it, a text is made from the HTML.
    pub text: Option<&'a str>,
    /// `unique@domain`, without angle brackets.
    pub message_id: &'a str,
    /// Seconds since 1970, UTC.
    pub date_s: i64,
    pub unsubscribe: Option<Unsubscribe<'a>>,
    /// Further headers. Not for those written from the fields above.
    pub headers: &'a [(&'a str, &'a str)],
}

/// Why a mail cannot be built.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MimeError {
    #[error("{0} contains a line break or control character")]
    LineBreak(String),
    #[error("{0} is no mail address")]
    Address(&'static str),
    #[error("message id must look like unique@domain")]
    MessageId,
    #[error("unsubscribe link must be an https or http url")]
    Unsubscribe,
    #[error("header name {0:?} is not allowed")]
    HeaderName(String),
    #[error("mail has neither html nor text")]
    Empty,
}

/// The longest address: 64 bytes, an @ and 255 more (RFC 5321, section 4.5.3.1).
const ADDRESS_BYTES: usize = 320;

/// Headers that belong to the fields of [`Message`] or to the transport.
const OWN_HEADERS: [&str; 16] = [
    "from",
    "to",
    "cc",
    "bcc",
    "sender",
    "reply-to",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "return-path",
    "received",
    "dkim-signature",
    "content-disposition",
];

/// The mail as bytes: CRLF line ends, 7-bit unless the local part of an address goes beyond ASCII;
/// such a mail is for relays with SMTPUTF8.
pub fn build(message: &Message<'_>) -> Result<Vec<u8>, MimeError> {
    check(message)?;
    let mut builder = MessageBuilder::new()
        .from(address("from", &message.from)?)
        .to(address("to", &message.to)?)
        .subject(Text::new(unencoded(message.subject)))
        .date(Date::new(message.date_s))
        .message_id(MessageId::new(message.message_id));
    if let Some(reply_to) = &message.reply_to {
        builder = builder.reply_to(address("reply-to", reply_to)?);
    }
    if let Some(unsubscribe) = &message.unsubscribe {
        let mail = unsubscribe.mail.map(|mail| Cow::from(format!("mailto:{mail}")));
        let links = std::iter::once(Cow::from(unsubscribe.https)).chain(mail);
        builder = builder
            .header("List-Unsubscribe", URL::new_list(links))
            .header("List-Unsubscribe-Post", Raw::new("List-Unsubscribe=One-Click"));
    }
    for (name, value) in message.headers {
        builder = builder.header(*name, Text::new(unencoded(value)));
    }
    let body = match (message.html, message.text) {
        (Some(html), text) => {
            let html = sendable(html);
            let text = text.map_or_else(|| Cow::from(plain_text(&html)), sendable);
            let boundary = boundary(message.message_id, &[&text, &html]);
            let parts = vec![MimePart::new("text/plain", text), MimePart::new("text/html", html)];
            let kind = ContentType::new("multipart/alternative").attribute("boundary", boundary);
            MimePart::new(kind, parts)
        }
        (None, Some(text)) => MimePart::new("text/plain", sendable(text)),
        (None, None) => return Err(MimeError::Empty),
    };
    let mut bytes = Vec::new();
    builder.body(body).serialize(&mut bytes);
    Ok(bytes)
}

/// A text without what may not stand in a mail (RFC 5322, 2.3 and 4), and what servers refuse: carriage
/// returns of their own, and NUL.
fn sendable(text: &str) -> Cow<'_, str> {
    match text.contains(['\r', '\0']) {
        true => text.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "").into(),
        false => text.into(),
    }
}

fn address<'a>(what: &'static str, mailbox: &Mailbox<'a>) -> Result<Address<'a>, MimeError> {
    // A line cannot be folded inside of it, and no line may be longer than 998 bytes.
    if mailbox.address.len() > ADDRESS_BYTES {
        return Err(MimeError::Address(what));
    }
    let address = wire_address(mailbox.address).ok_or(MimeError::Address(what))?;
    let name = mailbox.name.filter(|name| !name.trim().is_empty()).map(unencoded);
    Ok(Address::new_address(name, address))
}

/// A text that nobody can take for an encoded word (RFC 2047): one that looks like one would be
/// written as it is, and read as something else.
fn unencoded(text: &str) -> Cow<'_, str> {
    if text.contains("=?") { text.replace("=?", "= ?").into() } else { text.into() }
}

/// Made from the unique Message-ID, so that the same mail is the same bytes each time, and counted up
/// until it stands in no part. `=_` cannot occur in quoted-printable parts at all.
fn boundary(message_id: &str, parts: &[&str]) -> String {
    let unique = message_id.chars().filter(char::is_ascii_alphanumeric).take(44);
    let first: String = "=_".chars().chain(unique).collect();
    let mut boundary = first.clone();
    let mut count = 0_u32;
    while parts.iter().any(|part| part.contains(&boundary)) {
        count += 1;
        boundary = format!("{first}_{count}");
    }
    boundary
}

fn check(message: &Message<'_>) -> Result<(), MimeError> {
    for (what, mailbox) in [
        ("from", Some(&message.from)),
        ("to", Some(&message.to)),
        ("reply-to", message.reply_to.as_ref()),
    ] {
        let Some(mailbox) = mailbox else { continue };
        check_value(what, mailbox.name.unwrap_or_default())?;
        check_address(what, mailbox.address)?;
    }
    check_value("subject", message.subject)?;
    let id = message.message_id.split_once('@');
    let id_is_fine = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && !b"<>@".contains(&b))
    };
    if !id.is_some_and(|(unique, domain)| id_is_fine(unique) && id_is_fine(domain)) {
        return Err(MimeError::MessageId);
    }
    if let Some(unsubscribe) = &message.unsubscribe {
        let url = unsubscribe.https;
        let is_web = url.starts_with("https://") || url.starts_with("http://");
        if !is_web || !url.bytes().all(|b| b.is_ascii_graphic() && !b"<>".contains(&b)) {
            return Err(MimeError::Unsubscribe);
        }
        if let Some(mail) = unsubscribe.mail {
            check_address("unsubscribe", mail)?;
        }
    }
    for (name, value) in message.headers {
        let lower = name.to_ascii_lowercase();
        let odd = name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if odd || OWN_HEADERS.contains(&lower.as_str()) || lower.starts_with("content-") {
            return Err(MimeError::HeaderName((*name).to_owned()));
        }
        check_value(name, value)?;
    }
    Ok(())
}

fn check_value(what: &str, value: &str) -> Result<(), MimeError> {
    match value.chars().any(|c| c.is_control() && c != '\t') {
        true => Err(MimeError::LineBreak(what.to_owned())),
        false => Ok(()),
    }
}

fn check_address(what: &'static str, address: &str) -> Result<(), MimeError> {
    let odd = |c: char| c.is_control() || c.is_whitespace() || "<>,;:()[]\\\"".contains(c);
    match address.rsplit_once('@') {
        Some((local, domain))
            if !local.is_empty() && !domain.is_empty() && !address.contains(odd) =>
        {
            Ok(())
        }
        _ => Err(MimeError::Address(what)),
    }
}
