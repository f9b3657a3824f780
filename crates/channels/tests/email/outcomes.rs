//! Each thing a proper server may say, and each message it may be given.

use proptest::{prelude::*, test_runner::TestRunner};
use tidings_channels::email::{BounceClass, Envelope, Limits, Outcome, Phase};
use tidings_listeners::smtp;
use tidings_testkit::mail_sink::{Action, MailSink, Script, SinkSettings};

use super::{MESSAGE, pool, send_one, to};

/// A sink whose EHLO answer lacks these extensions.
async fn sink_without(hidden: &[&str], script: Script) -> MailSink {
    let hidden_extensions = hidden.iter().map(|name| (*name).to_owned()).collect();
    let smtp = smtp::Settings { hidden_extensions, ..smtp::Settings::default() };
    let settings = SinkSettings { script, smtp, ..SinkSettings::default() };
    MailSink::start_with(settings).await.expect("a free port")
}

#[tokio::test]
async fn a_message_arrives_byte_for_byte_with_its_envelope() {
    let message = b"Subject: dots\r\n\r\n.\r\n..\r\n.a\r\n\r\nend.\r\n.\r\n";
    for hidden in [&[][..], &["PIPELINING"]] {
        let sink = sink_without(hidden, Script::accept_all()).await;
        let outcome = send_one(&sink.url(), Limits::default(), "anna@b.example", message).await;
        let Ok(Outcome::Sent { code, reply }) = outcome else { panic!("{outcome:?}") };
        assert_eq!((code, reply.as_str()), (250, "250 2.0.0 accepted"));
        let mails = sink.mails();
        assert_eq!(mails.len(), 1);
        assert_eq!(mails[0].bytes, message);
        assert_eq!(mails[0].return_path, "bounces@hub.example");
        assert_eq!(mails[0].recipients, ["anna@b.example"]);
    }
}

#[tokio::test]
async fn bare_line_ends_cannot_smuggle_a_second_message() {
    let sink = MailSink::start(Script::accept_all()).await;
    for end in ["\n.\n", "\r\n.\n", "\n.\r\n", "\r.\r", "\r.\r\n", "\r\n.\r\n"] {
        let message = format!(
            "Subject: one\r\n\r\nx{end}MAIL FROM:<a@evil.example>\r\nRCPT TO:<b@evil.example>\r\nDATA\r\ny\r\n"
        );
        let outcome =
            send_one(&sink.url(), Limits::default(), "a@b.example", message.as_bytes()).await;
        assert!(matches!(outcome, Ok(Outcome::Sent { .. })), "{end:?}: {outcome:?}");
    }
    let mails = sink.mails();
    assert_eq!(mails.len(), 6);
    for mail in mails {
        assert_eq!(mail.recipients, ["a@b.example"]);
        assert!(mail.bytes.ends_with(
            b"x\r\n.\r\nMAIL FROM:<a@evil.example>\r\nRCPT TO:<b@evil.example>\r\nDATA\r\ny\r\n"
        ));
    }
}

/// What a message looks like on arrival: every line end CRLF, also after the last line.
fn normalised(message: &[u8]) -> Vec<u8> {
    let text = message.iter().map(|byte| *byte as char).collect::<String>();
    let mut text = text.replace("\r\n", "\n").replace('\r', "\n");
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.replace('\n', "\r\n").chars().map(|c| c as u8).collect()
}

#[test]
fn any_text_arrives_as_it_left_but_for_its_line_ends() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let sink = runtime.block_on(MailSink::start(Script::accept_all()));
    let pool = pool(&sink.url(), Limits::default());
    let byte = prop_oneof![
        3 => Just(b'.'),
        2 => Just(b'\r'),
        2 => Just(b'\n'),
        2 => Just(b'a'),
        1 => any::<u8>(),
    ];
    let message = proptest::collection::vec(
        prop_oneof![
            8 => proptest::collection::vec(byte, 0..12),
            4 => Just(b"\r\n".to_vec()),
            1 => Just(b"\r\n.\r\n".to_vec()),
        ],
        0..12,
    );
    TestRunner::default()
        .run(&message, |parts| {
            let message = parts.concat();
            let outcome = runtime.block_on(async {
                let mut lease = pool.connection().await.expect("the sink is there");
                lease.send(&to("a@b.example"), &message).await
            });
            prop_assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
            let arrived = sink.mails().pop().expect("it was taken").bytes;
            prop_assert_eq!(arrived, normalised(&message));
            Ok(())
        })
        .expect("no message arrives changed");
    assert_eq!(sink.connections(), 1);
}

#[tokio::test]
async fn refusals_say_where_and_what() {
    let script = Script::accept_all()
        .to("unknown", Action::RefuseRecipient(550, "5.1.1 no such user\n5.1.1 here".to_owned()))
        .to("late", Action::Later(2))
        .to("spam", Action::RefuseMessage(554, "5.7.1 looks like spam".to_owned()))
        .to("busy", Action::RefuseMessage(451, "try later".to_owned()));
    for hidden in [&[][..], &["PIPELINING"]] {
        let sink = sink_without(hidden, script.clone()).await;
        let pool = pool(&sink.url(), Limits::default());
        let mut lease = pool.connection().await.expect("the sink is there");
        for (local, code, enhanced, permanent, at, reply, class) in [
            (
                "unknown",
                550,
                Some("5.1.1"),
                true,
                Phase::Recipient,
                "550 5.1.1 no such user here",
                BounceClass::Hard,
            ),
            (
                "late",
                451,
                Some("4.2.0"),
                false,
                Phase::Recipient,
                "451 4.2.0 not now, 1 of 2",
                BounceClass::Soft,
            ),
            (
                "late",
                451,
                Some("4.2.0"),
                false,
                Phase::Recipient,
                "451 4.2.0 not now, 2 of 2",
                BounceClass::Soft,
            ),
            (
                "spam",
                554,
                Some("5.7.1"),
                true,
                Phase::Message,
                "554 5.7.1 looks like spam",
                BounceClass::Policy,
            ),
            ("busy", 451, None, false, Phase::Message, "451 try later", BounceClass::Soft),
        ] {
            let outcome = lease.send(&to(&format!("{local}@b.example")), MESSAGE).await;
            let Outcome::Refused(refusal) = outcome else { panic!("{local}: {outcome:?}") };
            assert_eq!((refusal.code, refusal.enhanced.as_deref()), (code, enhanced));
            assert_eq!(
                (refusal.permanent, refusal.at, refusal.reply.as_str()),
                (permanent, at, reply)
            );
            assert_eq!(refusal.bounce_class(), class);
        }
        let outcome = lease.send(&to("late@b.example"), MESSAGE).await;
        assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
        assert_eq!((sink.count(), sink.connections()), (1, 1), "the connection outlives refusals");
    }
}

#[tokio::test]
async fn what_the_relay_cannot_take_is_refused_without_asking() {
    let small = smtp::Limits { message_bytes: 100, ..smtp::Limits::default() };
    let smtp = smtp::Settings {
        limits: small,
        hidden_extensions: vec!["SMTPUTF8".to_owned(), "8BITMIME".to_owned()],
        ..smtp::Settings::default()
    };
    let sink = MailSink::start_with(SinkSettings { smtp, ..SinkSettings::default() })
        .await
        .expect("a free port");
    let pool = pool(&sink.url(), Limits::default());
    let mut lease = pool.connection().await.expect("the sink is there");
    let ok = "bounces@hub.example";
    let big = [b'x'; 101];
    for (return_path, recipient, message, code, enhanced, at) in [
        (ok, "", MESSAGE, 553, "5.1.3", Phase::Recipient),
        (ok, "a@b>\r\nRCPT TO:<c@d", MESSAGE, 553, "5.1.3", Phase::Recipient),
        (ok, "a b@c.example", MESSAGE, 553, "5.1.3", Phase::Recipient),
        ("x\n@hub.example", "a@b.example", MESSAGE, 553, "5.1.7", Phase::Mail),
        (ok, "jürgen@b.example", MESSAGE, 553, "5.6.7", Phase::Recipient),
        (ok, "a@b.example", "A: b\r\n\r\ngrüße".as_bytes(), 554, "5.6.3", Phase::Data),
        (ok, "a@b.example", &big[..], 552, "5.3.4", Phase::Mail),
    ] {
        let outcome = lease.send(&Envelope { return_path, recipient }, message).await;
        let Outcome::Refused(refusal) = outcome else { panic!("{recipient}: {outcome:?}") };
        assert_eq!(
            (refusal.code, refusal.enhanced.as_deref(), refusal.at),
            (code, Some(enhanced), at)
        );
        assert!(refusal.permanent);
    }
    let outcome =
        lease.send(&Envelope { return_path: "", recipient: "a@b.example" }, MESSAGE).await;
    assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
    assert_eq!(sink.mails().len(), 1);
    assert_eq!(sink.mails()[0].return_path, "");
}

#[tokio::test]
async fn addresses_and_texts_beyond_ascii_go_where_they_may() {
    let sink = MailSink::start(Script::accept_all()).await;
    let message = "Subject: grüße\r\n\r\nhallo\r\n".as_bytes();
    let outcome = send_one(&sink.url(), Limits::default(), "jürgen@bücher.example", message).await;
    assert!(matches!(outcome, Ok(Outcome::Sent { .. })), "{outcome:?}");
    assert_eq!(sink.mails()[0].recipients, ["jürgen@bücher.example"]);
    assert_eq!(sink.mails()[0].bytes, message);
}
