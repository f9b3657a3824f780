//! Finished mails, read back by an independent parser.

use mail_parser::{MessageParser, MimeHeaders};
use tidings_channels::email::mime::{Mailbox, Message, MimeError, Unsubscribe, build};

fn message() -> Message<'static> {
    Message {
        from: Mailbox { name: Some("Tidings Shop"), address: "shop@hub.example" },
        to: Mailbox { name: Some("Anna"), address: "anna@b.example" },
        reply_to: None,
        subject: "Hello",
        html: Some("<p>Hi <b>Anna</b>, <a href=\"https://x.example/?a=1&amp;b=2\">look</a></p>"),
        text: None,
        message_id: "0198-abc.def@hub.example",
        date_s: 1_700_000_000,
        unsubscribe: None,
        headers: &[],
    }
}

#[test]
fn a_mail_has_its_parts_and_is_the_same_each_time() {
    let bytes = build(&message()).expect("the parts are fine");
    assert_eq!(build(&message()).as_deref(), Ok(&bytes[..]));
    let mail = MessageParser::default().parse(&bytes).expect("a mail");
    assert_eq!(mail.subject(), Some("Hello"));
    assert_eq!(mail.message_id(), Some("0198-abc.def@hub.example"));
    assert_eq!(mail.date().map(|date| date.to_timestamp()), Some(1_700_000_000));
    assert_eq!(
        mail.body_text(0).as_deref(),
        Some("Hi Anna, look <https://x.example/?a=1&b=2>\r\n")
    );
    assert_eq!(mail.body_html(0).as_deref().map(str::trim_end), message().html);
    let kind = mail.content_type().map(|kind| (kind.ctype(), kind.subtype()));
    assert_eq!(kind, Some(("multipart", Some("alternative"))));
    let text = String::from_utf8(bytes).expect("7-bit");
    assert_eq!(text.replace("\r\n", "").matches(['\r', '\n']).count(), 0, "CRLF only");
}

#[test]
fn the_given_text_is_kept_and_one_part_stands_alone() {
    let both = build(&Message { text: Some("own words"), ..message() }).expect("fine");
    let mail = MessageParser::default().parse(&both).expect("a mail");
    assert_eq!(mail.body_text(0).as_deref().map(str::trim_end), Some("own words"));
    let alone = build(&Message { text: Some("alone"), html: None, ..message() }).expect("fine");
    let mail = MessageParser::default().parse(&alone).expect("a mail");
    assert_eq!(mail.content_type().map(|kind| kind.ctype()), Some("text"));
    assert_eq!(mail.body_text(0).as_deref().map(str::trim_end), Some("alone"));
}

#[test]
fn letters_of_all_kinds_survive() {
    let long = "Größe ".repeat(60) + "😀";
    for (name, subject, body) in [
        ("Jürgen, der \"Große\"", "Schöne Grüße 😀", "Ärger & Öl\n.\n..\nFrom x\n"),
        ("O'Neil (Bob) <x>", "a:b;c,d \\ \"e\"", "tabs\tand trailing \nend"),
        ("雨", long.as_str(), long.as_str()),
    ] {
        let parts = Message {
            from: Mailbox { name: Some(name), address: "a@hub.example" },
            to: Mailbox { name: Some(name), address: "b@b.example" },
            reply_to: Some(Mailbox { name: None, address: "r@hub.example" }),
            subject,
            html: Some(body),
            text: Some(body),
            ..message()
        };
        let bytes = build(&parts).expect("fine");
        assert!(bytes.is_ascii());
        assert!(bytes.split(|byte| *byte == b'\n').all(|line| line.len() < 999), "short lines");
        let mail = MessageParser::default().parse(&bytes).expect("a mail");
        let from = mail.from().and_then(|from| from.first()).expect("a sender");
        assert_eq!((from.name(), from.address()), (Some(name), Some("a@hub.example")));
        let to = mail.to().and_then(|to| to.first()).expect("a recipient");
        assert_eq!((to.name(), to.address()), (Some(name), Some("b@b.example")));
        assert_eq!(mail.subject(), Some(subject));
        let lines = |text: &str| text.replace("\r\n", "\n").trim_end().to_owned();
        assert_eq!(mail.body_text(0).map(|text| lines(&text)), Some(lines(body)));
        assert_eq!(mail.body_html(0).map(|text| lines(&text)), Some(lines(body)));
    }
}

#[test]
fn unsubscribing_and_further_headers_are_offered() {
    let link = format!("https://hub.example/t/u/{}", "x".repeat(300));
    let unsubscribe = Unsubscribe { https: &link, mail: Some("stop@hub.example") };
    let headers = [("X-Tidings-Delivery", "42"), ("Feedback-ID", "grüße")];
    let parts = Message { unsubscribe: Some(unsubscribe), headers: &headers, ..message() };
    let bytes = build(&parts).expect("fine");
    let mail = MessageParser::default().parse(&bytes).expect("a mail");
    let raw =
        |name: &str| mail.header_raw(name).map(|text| text.split_whitespace().collect::<String>());
    assert_eq!(raw("List-Unsubscribe"), Some(format!("<{link}>,<mailto:stop@hub.example>")));
    assert_eq!(raw("List-Unsubscribe-Post").as_deref(), Some("List-Unsubscribe=One-Click"));
    assert_eq!(raw("X-Tidings-Delivery").as_deref(), Some("42"));
    assert!(raw("Feedback-ID").is_some_and(|value| value.starts_with("=?utf-8?")));
}

#[test]
fn what_could_forge_a_header_is_refused() {
    let check = |parts: Message<'_>, expected: MimeError| assert_eq!(build(&parts), Err(expected));
    let line = |what: &str| MimeError::LineBreak(what.to_owned());
    let bad = Mailbox { name: Some("A\r\nBcc: x@y"), address: "a@b.example" };
    check(Message { from: bad, ..message() }, line("from"));
    check(Message { to: bad, ..message() }, line("to"));
    check(Message { reply_to: Some(bad), ..message() }, line("reply-to"));
    check(Message { subject: "a\nb", ..message() }, line("subject"));
    check(Message { subject: "a\0b", ..message() }, line("subject"));
    check(Message { headers: &[("X-A", "a\r\nB: c")], ..message() }, line("X-A"));
    for name in ["", "X A", "X:A", "From", "content-type", "List-Unsubscribe", "Bcc", "X\r\nY"] {
        let headers = [(name, "x")];
        check(Message { headers: &headers, ..message() }, MimeError::HeaderName(name.to_owned()));
    }
    for address in
        ["", "a", "@b", "a@", "a b@c", "a@b>", "a@b,c@d", "a@b\n", "\"a\"@b", "a(b)@c", "a@ü..de"]
    {
        let to = Mailbox { name: None, address };
        check(Message { to, ..message() }, MimeError::Address("to"));
    }
    for message_id in ["", "a", "@b", "a@", "<a@b>", "a@b@c", "a b@c", "a@b\r\n"] {
        check(Message { message_id, ..message() }, MimeError::MessageId);
    }
    for https in
        ["", "javascript:x", "https://x y", "https://x>", "https://x\r\n", "https://ü.example"]
    {
        let unsubscribe = Some(Unsubscribe { https, mail: None });
        check(Message { unsubscribe, ..message() }, MimeError::Unsubscribe);
    }
    check(Message { html: None, text: None, ..message() }, MimeError::Empty);
}
