//! Signatures, verified by dkimpy.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use tidings_channels::email::dkim::{Algorithm, Key, NewKey, Signer, record};
use tidings_channels::email::mime::{Mailbox, Message, Unsubscribe, build};

use crate::python;

/// A signer with a key of each algorithm, and the records that publish them.
fn signer(algorithms: &[Algorithm]) -> (Signer, Map<String, Value>) {
    let mut records = Map::new();
    let mut keys = Vec::new();
    for algorithm in algorithms {
        let made = NewKey::generate(*algorithm).expect("a key");
        let selector = format!("{}-1", algorithm.name());
        let name = format!("{selector}._domainkey.shop.example");
        records.insert(name, record(*algorithm, &made.public).into());
        let key = Key::read("shop.example", &selector, *algorithm, &made.private);
        keys.push(key.expect("the key is read"));
    }
    (Signer::new(keys).expect("there are keys"), records)
}

fn mail(subject: &str, html: Option<&str>, text: &str) -> Vec<u8> {
    build(&Message {
        from: Mailbox { name: Some("Grüße, \"Shop\""), address: "shop@shop.example" },
        to: Mailbox { name: None, address: "ann@b.example" },
        reply_to: Some(Mailbox { name: None, address: "help@shop.example" }),
        subject,
        html,
        text: Some(text),
        message_id: "0198-abc@shop.example",
        date_s: 1_700_000_000,
        unsubscribe: Some(Unsubscribe { https: "https://hub.example/t/u/abc", mail: None }),
        headers: &[("X-Tidings-Delivery", "42")],
    })
    .expect("the parts are fine")
}

fn question(mail: &[u8], records: &Map<String, Value>) -> Value {
    json!({"mail": STANDARD.encode(mail), "records": records})
}

fn verify(questions: &[Value]) -> Vec<Value> {
    python::ask("verify_dkim.py", Some("dkim, nacl"), questions)
}

#[test]
fn signatures_are_verified_by_an_independent_reader() {
    let (signer, records) = signer(&Algorithm::ALL);
    let long = format!("Schöne Grüße {}", "und noch mehr Worte ".repeat(30));
    let mails = [
        mail("Hello", Some("<p>Hi</p>"), "Hi"),
        mail(&long, Some("<p>\u{a0} x  \t </p>\n\n \n"), "a  b \t c  \n.\n..\n\n\n"),
        mail("x", None, ""),
        mail("x", None, "\n\n"),
        mail("x", None, &long.repeat(50)),
        // As no builder of ours writes them: spaces on the last lines, bare line feeds, no body.
        b"From: a@shop.example\r\nSubject:  two\t words \r\n  folded \r\n\r\na \r\n \r\n\t\r\n"
            .to_vec(),
        b"From: a@shop.example\r\nTo: x@b.example\r\n\r\n".to_vec(),
        b"From: a@shop.example\r\n\r\n \r\n".to_vec(),
        b"from: a@shop.example\r\nReceived: x\r\nTo: b@b.example\r\nTo: c@b.example\r\n\r\nx"
            .to_vec(),
    ];
    let signed: Vec<Vec<u8>> =
        mails.iter().map(|mail| signer.sign(mail, 1_700_000_000).expect("signed")).collect();
    let questions: Vec<Value> = signed.iter().map(|mail| question(mail, &records)).collect();
    for (mail, verdicts) in signed.iter().zip(verify(&questions)) {
        assert_eq!(verdicts, json!([true, true]), "{}", String::from_utf8_lossy(mail));
        let end = mail.windows(4).position(|four| four == b"\r\n\r\n").expect("headers end");
        let long = mail[..end].split(|byte| *byte == b'\n').map(<[u8]>::len).max();
        assert!(mail.len() < 1_000 || long.is_some_and(|long| long < 998), "lines are short");
    }
}

#[test]
fn what_was_changed_or_added_is_noticed() {
    let (signer, records) = signer(&[Algorithm::Ed25519, Algorithm::Rsa]);
    let signed = signer.sign(&mail("Hello", Some("<p>Hi</p>"), "Hi"), 1_700_000_000).unwrap();
    let text = String::from_utf8(signed).expect("7-bit");
    let all_fail = [
        text.replace("Subject: Hello", "Subject: Hullo"),
        text.replace("<p>Hi</p>", "<p>Ho</p>"),
        text.replace("https://hub.example/t/u/abc", "https://evil.example/t/u/abc"),
        text.replace("List-Unsubscribe=One-Click", "List-Unsubscribe=No-Click"),
        text.replace("Reply-To:", "X-Reply-To:"),
        // A second one of each, on either side, and one that was not there.
        format!("From: <evil@evil.example>\r\n{text}"),
        format!("Subject: other\r\n{text}"),
        format!("List-Unsubscribe: <https://evil.example/>\r\n{text}"),
        format!("Cc: <more@evil.example>\r\n{text}"),
        text.replace("MIME-Version", "Content-Transfer-Encoding: base64\r\nMIME-Version"),
    ];
    let still_fine = [
        text.clone(),
        // What relays do on the way.
        format!("Received: from somewhere\r\n{text}"),
        text.replace("Subject: Hello", "subject:   Hello "),
        text.replace("X-Tidings-Delivery: 42\r\n", ""),
        format!("{text}\r\n\r\n"),
    ];
    let all: Vec<Value> = all_fail
        .iter()
        .chain(&still_fine)
        .map(|mail| question(mail.as_bytes(), &records))
        .collect();
    let verdicts = verify(&all);
    for (changed, verdicts) in all_fail.iter().zip(&verdicts) {
        assert_ne!(changed, &text, "the change is one");
        let verdicts = verdicts.as_array().expect("a list");
        assert!(verdicts.len() == 2 && !verdicts.contains(&json!(true)), "{verdicts:?}\n{changed}");
    }
    for (changed, verdicts) in still_fine.iter().zip(&verdicts[all_fail.len()..]) {
        assert_eq!(verdicts, &json!([true, true]), "{changed}");
    }
    // Another key's record does not do.
    let (_, others) = self::signer(&[Algorithm::Ed25519, Algorithm::Rsa]);
    let verdicts = verify(&[question(text.as_bytes(), &others)]);
    assert!(!verdicts[0].as_array().unwrap().contains(&json!(true)), "{verdicts:?}");
}

#[test]
fn the_same_mail_is_signed_the_same_and_a_bare_text_not_at_all() {
    let (signer, _) = signer(&[Algorithm::Ed25519]);
    assert!(!signer.is_slow());
    let mail = mail("Hello", None, "Hi");
    let signed = signer.sign(&mail, 7).expect("signed");
    assert_eq!(signer.sign(&mail, 7).as_deref(), Ok(&signed[..]));
    assert!(signed.ends_with(&mail), "nothing of the mail is touched");
    assert!(signer.sign(b"", 7).is_err() && signer.sign(b"\r\nno headers", 7).is_err());
    assert!(Signer::new(Vec::new()).is_none());
}
