//! Addresses beyond ASCII: sent where the relay takes them, refused before they leave where not.

use tidings_channels::email::mime::{Mailbox, Message, build};
use tidings_channels::email::{Envelope, Limits, Outcome, Phase};
use tidings_testkit::mail_sink::{MailSink, Script, SinkSettings, smtp_settings};

use crate::pool;

fn mail(from: &str, to: &str) -> Vec<u8> {
    build(&Message {
        from: Mailbox { name: Some("Jörg"), address: from },
        to: Mailbox { name: None, address: to },
        reply_to: None,
        subject: "Grüße",
        html: None,
        text: Some("Grüße"),
        message_id: "1@hub.example",
        date_s: 0,
        unsubscribe: None,
        headers: &[],
    })
    .expect("the parts are fine")
}

async fn sink(utf8: bool) -> MailSink {
    let smtp = smtp_settings(if utf8 { &[] } else { &["SMTPUTF8"] });
    let settings = SinkSettings { script: Script::accept_all(), smtp, ..SinkSettings::default() };
    MailSink::start_with(settings).await.expect("a port")
}

#[tokio::test]
async fn only_what_needs_smtputf8_asks_for_it() {
    for (from, to, needs) in [
        ("shop@bücher.example", "ann@b.example", false),
        ("shop@hub.example", "ann@xn--bcher-kva.example", false),
        ("shop@hub.example", "jörg@b.example", true),
        ("jörg@hub.example", "ann@b.example", true),
    ] {
        for offered in [true, false] {
            let sink = sink(offered).await;
            let pool = pool(&sink.url(), Limits::default());
            let message = mail(from, to);
            let envelope = Envelope { return_path: "b@hub.example", recipient: to };
            let mut lease = pool.connection().await.expect("the sink is there");
            let can = !needs || offered;
            let told = format!("{from} {to} {offered}");
            assert_eq!(lease.takes_addresses_of(&envelope, &message), can, "{told}");
            match lease.send(&envelope, &message).await {
                Outcome::Sent { .. } => assert!(can, "{told}"),
                Outcome::Refused(refusal) => {
                    assert!(!can, "{told}");
                    assert_eq!(refusal.enhanced.as_deref(), Some("5.6.7"));
                    assert_eq!(refusal.at, Phase::Recipient);
                }
                other => panic!("{told}: {other:?}"),
            }
            assert_eq!(sink.count(), u64::from(can));
            if can {
                assert_eq!(sink.mails()[0].recipients, [to]);
            }
        }
    }
}

#[tokio::test]
async fn a_relay_is_asked_what_it_offers() {
    let sink = sink(true).await;
    let pool = pool(&sink.url(), Limits::default());
    let offers = pool.probe().await.expect("the sink is there");
    assert!(offers.contains(&"SMTPUTF8") && offers.contains(&"PIPELINING"), "{offers:?}");
    assert_eq!(pool.state().leased + pool.state().idle, 0);
    let turn = pool.try_turn().expect("nobody uses it");
    let _lease = turn.connection().await.expect("the sink is there");
    let _second = pool.try_turn().expect("four are allowed");
    assert_eq!(pool.state().leased, 2);
}
