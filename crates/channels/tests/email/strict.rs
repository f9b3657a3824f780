//! Mails of random parts, over the wire and back, read by Python's strict parser.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tidings_channels::email::mime::{Mailbox, Message, Unsubscribe, build};
use tidings_channels::email::write_body;

use crate::python;

const MAILS: usize = 600;

#[derive(Debug)]
struct Parts {
    name: String,
    subject: String,
    html: Option<String>,
    text: String,
    recipient: String,
    header: String,
}

/// One line as senders and subjects are: words of any letters, parted by single spaces.
fn line() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[a-zA-Z0-9]{1,12}",
        "\\PC{1,20}",
        "[=?_\"'\\\\<>(),;:.@\\[\\]-]{1,6}",
        "[äöü€😀雨дעب]{1,40}",
        "=\\?utf-8\\?[QB]\\?[a-z=]{0,8}\\?=",
        "[a-z]{80,200}",
    ];
    prop::collection::vec(word, 1..8).prop_map(|words| {
        let line = words.join(" ");
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    })
}

/// A body: everything that a mail's text has ever broken on.
fn body() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        "\\PC{0,80}",
        "[ -~]{0,120}",
        "[ -~]{900,1200}",
        "\\.{1,3}",
        "\\.[a-z]{0,3}",
        "From [a-z]{3}",
        "--[=_a-z0-9]{0,30}",
        "--=_0198abcdefhubexample(--)?",
        "[a-z]{1,5}[ \t]{1,3}",
        "=[0-9A-F]{2}=",
        "[\u{80}-\u{10ffff}]{0,60}",
        "",
    ];
    let end = prop_oneof![4 => Just("\n"), 2 => Just("\r\n"), 1 => Just("\r")];
    prop::collection::vec((line, end), 0..12)
        .prop_map(|lines| lines.into_iter().map(|(line, end)| line + end).collect())
}

fn recipient() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,30}@[a-z]{1,20}\\.example",
        1 => "[a-z]{1,9}@[äöüß]{1,9}\\.example",
        1 => "[äöü雨]{1,9}@[a-z]{1,9}\\.example",
    ]
}

fn parts() -> impl Strategy<Value = Parts> {
    (line(), line(), prop::option::of(body()), body(), recipient(), line()).prop_map(
        |(name, subject, html, text, recipient, header)| Parts {
            name,
            subject,
            html,
            text,
            recipient,
            header,
        },
    )
}

fn mail(parts: &Parts) -> Vec<u8> {
    let link = format!("https://hub.example/t/u/{}", "x".repeat(200));
    build(&Message {
        from: Mailbox { name: Some(&parts.name), address: "shop@bücher.example" },
        to: Mailbox { name: None, address: &parts.recipient },
        reply_to: Some(Mailbox { name: Some(&parts.subject), address: "r@hub.example" }),
        subject: &parts.subject,
        html: parts.html.as_deref(),
        text: Some(&parts.text),
        message_id: "0198-abc.def@hub.example",
        date_s: 1_700_000_000,
        unsubscribe: Some(Unsubscribe { https: &link, mail: None }),
        headers: &[("X-Note", &parts.header)],
    })
    .unwrap_or_else(|error| panic!("{error}: {parts:?}"))
}

/// What a server that follows RFC 5321 has after the final dot.
fn received(mail: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    write_body(mail, &mut wire);
    let text = wire.strip_suffix(b".\r\n").expect("the final dot stands alone");
    let mut out = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let content = line.strip_suffix(b"\r\n").expect("every line ends by CRLF");
        assert!(!content.contains(&b'\r'), "no bare CR");
        assert!(content.len() <= 998, "a line has at most 998 octets");
        assert_ne!(content, b".", "nothing looks like the end");
        out.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
    out
}

fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").trim_end_matches('\n').to_owned()
}

/// The address as its headers have it.
fn in_ascii(address: &str) -> String {
    tidings_channels::email::wire_address(address).expect("an address").into_owned()
}

fn compare(parts: &Parts, read: &Value) {
    let told = format!("{parts:?}\n{read}");
    assert!(read["error"].is_null(), "{told}");
    let shown = |text: &str| text.replace("=?", "= ?");
    assert_eq!(read["subject"], json!(shown(&parts.subject)), "{told}");
    let from = json!([shown(&parts.name), "shop@xn--bcher-kva.example"]);
    assert_eq!(read["from"], from, "{told}");
    assert_eq!(read["to"], json!(["", in_ascii(&parts.recipient)]), "{told}");
    assert_eq!(read["reply-to"], json!([shown(&parts.subject), "r@hub.example"]), "{told}");
    assert_eq!(read["date"], json!(1_700_000_000.0), "{told}");
    let expected: Vec<(&str, String)> = std::iter::once(("text/plain", lines(&parts.text)))
        .chain(parts.html.as_ref().map(|html| ("text/html", lines(html))))
        .collect();
    let found: Vec<(&str, String)> = read["parts"]
        .as_array()
        .expect("parts")
        .iter()
        .map(|part| (part[0].as_str().unwrap_or_default(), lines(part[1].as_str().unwrap())))
        .collect();
    assert_eq!(found, expected, "{told}");
    let multipart = parts.html.as_ref().map(|_| "multipart/alternative");
    assert_eq!(read["multipart"].as_str(), multipart, "{told}");
    let headers = read["headers"].as_array().expect("headers");
    for name in ["From", "To", "Reply-To", "Subject", "Date", "Message-ID", "MIME-Version"] {
        assert_eq!(headers.iter().filter(|found| **found == name).count(), 1, "{name}: {told}");
    }
}

#[test]
fn a_strict_parser_reads_what_was_written() {
    let mut runner = TestRunner::deterministic();
    let all: Vec<Parts> =
        (0..MAILS).map(|_| parts().new_tree(&mut runner).expect("parts").current()).collect();
    let questions: Vec<Value> =
        all.iter().map(|parts| json!({"mail": STANDARD.encode(received(&mail(parts)))})).collect();
    let answers = python::ask("read_mails.py", None, &questions);
    for (parts, read) in all.iter().zip(&answers) {
        compare(parts, read);
    }
    // The reader notices what is wrong: without that, the above would show nothing.
    let broken =
        b"From: a@b.example\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\nno part\r\n";
    let answers = python::ask("read_mails.py", None, &[json!({"mail": STANDARD.encode(broken)})]);
    assert!(answers[0]["error"].is_string(), "{answers:?}");
}

#[test]
fn texts_are_encoded_by_what_is_shortest() {
    let text = |text: &str| Parts {
        name: "Shop".into(),
        subject: "Hello".into(),
        html: None,
        text: text.into(),
        recipient: "ann@b.example".into(),
        header: "x".into(),
    };
    let all = [
        (text("plain words\n"), "7bit"),
        (text(&format!("{} Grüße aus Köln\n", "mostly plain ".repeat(20))), "quoted-printable"),
        (text(&"雨が降る".repeat(40)), "base64"),
    ];
    let questions: Vec<Value> =
        all.iter().map(|(parts, _)| json!({"mail": STANDARD.encode(mail(parts))})).collect();
    let answers = python::ask("read_mails.py", None, &questions);
    for ((parts, encoding), read) in all.iter().zip(&answers) {
        compare(parts, read);
        assert_eq!(read["encoding"], json!(encoding));
    }
}
