//! STARTTLS, TLS from the first byte, and signing in.

use std::path::PathBuf;

use tidings_channels::email::{ConnectError, Limits, Outcome, Phase, Pool, Relay, RelayError};
use tidings_listeners::smtp::{self, Auth, Tls};
use tidings_testkit::{
    certificate::{self, Certificate},
    mail_sink::{Mail, MailSink, SinkSettings},
};

use super::{MESSAGE, rude_server, send_one};

/// A sink that asks for a sign-in, and the file with its certificate.
async fn sink(tls: Tls, certificate: &Certificate, hidden: &[&str]) -> (MailSink, CaFile) {
    let auth = Auth { user: "hub".to_owned(), password: "p@ss:w/rd".to_owned(), required: true };
    let hidden_extensions = hidden.iter().map(|name| (*name).to_owned()).collect();
    let smtp =
        smtp::Settings { tls, auth: Some(auth), hidden_extensions, ..smtp::Settings::default() };
    let settings = SinkSettings { smtp, ..SinkSettings::default() };
    let sink = MailSink::start_with(settings).await.expect("a free port");
    let ca = CaFile(std::env::temp_dir().join(format!("tidings-ca-{}.pem", sink.addr().port())));
    std::fs::write(&ca.0, &certificate.pem).expect("the temporary folder is writable");
    (sink, ca)
}

struct CaFile(PathBuf);

impl Drop for CaFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Sends one message with this scheme, password and options.
async fn send(
    scheme: &str,
    sink: &MailSink,
    password: &str,
    options: &str,
) -> Result<Mail, ConnectError> {
    let url = format!("{scheme}://hub:{password}@{}?{options}", sink.addr());
    let outcome = send_one(&url, Limits::default(), "a@b.example", MESSAGE).await?;
    assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
    Ok(sink.mails().pop().expect("it was taken"))
}

const PASSWORD: &str = "p%40ss:w%2Frd";

#[tokio::test]
async fn mail_travels_encrypted_and_signed_in() {
    let certificate = certificate::self_signed(&["127.0.0.1"]);
    for (scheme, tls, hidden) in [
        ("smtp+starttls", Tls::StartTls(certificate.server.clone()), &[][..]),
        ("smtp+starttls", Tls::StartTls(certificate.server.clone()), &["PLAIN", "PIPELINING"]),
        ("smtps", Tls::Implicit(certificate.server.clone()), &[]),
        ("smtps", Tls::Implicit(certificate.server.clone()), &["PLAIN"]),
    ] {
        let (sink, ca) = sink(tls, &certificate, hidden).await;
        for options in [format!("ca={}", ca.0.display()), "tls=insecure-test-only".to_owned()] {
            let mail = send(scheme, &sink, PASSWORD, &options).await.expect("it connects");
            assert_eq!((mail.secure, mail.user.as_deref()), (true, Some("hub")));
            assert_eq!(mail.bytes, MESSAGE);
        }
    }
}

#[tokio::test]
async fn a_big_message_travels_encrypted() {
    let certificate = certificate::self_signed(&["127.0.0.1"]);
    let (sink, ca) = sink(Tls::Implicit(certificate.server.clone()), &certificate, &[]).await;
    let url = format!("smtps://hub:{PASSWORD}@{}?ca={}", sink.addr(), ca.0.display());
    let message = b"0123456789 and so on, line for line\r\n".repeat(100_000);
    let outcome = send_one(&url, Limits::default(), "a@b.example", &message).await;
    assert!(matches!(outcome, Ok(Outcome::Sent { .. })), "{outcome:?}");
    assert!(sink.mails()[0].bytes == message);
}

#[tokio::test]
async fn wrong_passwords_and_missing_offers_are_refused() {
    let certificate = certificate::self_signed(&["127.0.0.1"]);
    let tls = Tls::StartTls(certificate.server.clone());
    let insecure = "tls=insecure-test-only";

    let (plain, _ca) = sink(tls.clone(), &certificate, &[]).await;
    let error = send("smtp+starttls", &plain, "wrong", insecure).await.expect_err("wrong password");
    let ConnectError::Refused(refusal) = &error else { panic!("{error}") };
    assert_eq!((refusal.code, refusal.at, error.is_permanent()), (535, Phase::Auth, true));
    assert!(!error.to_string().contains("wrong password:"), "{error}");

    let (login, _ca) = sink(tls.clone(), &certificate, &["PLAIN"]).await;
    let error = send("smtp+starttls", &login, "wrong", insecure).await.expect_err("wrong password");
    assert!(matches!(&error, ConnectError::Refused(refusal) if refusal.code == 535), "{error}");

    let (no_auth, _ca) = sink(tls, &certificate, &["AUTH"]).await;
    let error = send("smtp+starttls", &no_auth, PASSWORD, insecure).await.expect_err("no AUTH");
    assert!(matches!(error, ConnectError::AuthNotOffered), "{error}");

    let (no_tls, _ca) = sink(Tls::Off, &certificate, &[]).await;
    let error = send("smtp+starttls", &no_tls, PASSWORD, insecure).await.expect_err("no STARTTLS");
    assert!(matches!(error, ConnectError::StartTlsNotOffered) && error.is_permanent(), "{error}");
    assert_eq!(no_tls.count(), 0);
}

#[tokio::test]
async fn certificates_that_do_not_convince_end_the_connection() {
    let right = certificate::self_signed(&["127.0.0.1"]);
    let (sink_right, _ca) = sink(Tls::Implicit(right.server.clone()), &right, &[]).await;
    let error = send("smtps", &sink_right, PASSWORD, "").await.expect_err("nobody vouches");
    assert!(matches!(error, ConnectError::Tls(_)) && error.is_permanent(), "{error}");

    let other = certificate::self_signed(&["mail.example"]);
    let (sink_other, ca) = sink(Tls::StartTls(other.server.clone()), &other, &[]).await;
    let options = format!("ca={}", ca.0.display());
    let error =
        send("smtp+starttls", &sink_other, PASSWORD, &options).await.expect_err("other name");
    assert!(matches!(error, ConnectError::Tls(_)), "{error}");
    assert_eq!(sink_right.count() + sink_other.count(), 0);
}

#[tokio::test]
async fn an_answer_injected_before_encryption_ends_the_connection() {
    let url = rude_server::start(rude_server::Manner::InjectsBehindStartTls).await;
    let url = url.replace("smtp://", "smtp+starttls://") + "?tls=insecure-test-only";
    let error =
        send_one(&url, Limits::default(), "a@b.example", MESSAGE).await.expect_err("injected");
    assert!(matches!(error, ConnectError::Nonsense { at: Phase::StartTls, .. }), "{error}");
}

#[tokio::test]
async fn a_ca_file_that_is_none_is_said() {
    let empty =
        CaFile(std::env::temp_dir().join(format!("tidings-no-ca-{}.pem", std::process::id())));
    for text in [None, Some("no certificate here")] {
        if let Some(text) = text {
            std::fs::write(&empty.0, text).expect("the temporary folder is writable");
        }
        let url = format!("smtps://h?ca={}", empty.0.display());
        let relay = Relay::parse(&url, 1).expect("the url is fine");
        let error = Pool::new(relay, Limits::default()).expect_err("no certificate");
        assert!(matches!(error, RelayError::CaFile { .. }), "{error}");
    }
}
