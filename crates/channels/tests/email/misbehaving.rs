//! Servers that hang, leave, talk nonsense or never stop talking: each ends in an outcome that says
//! whether the message can have been taken.

use std::time::Duration;

use tidings_channels::email::{ConnectError, Limits, Outcome, Phase};
use tidings_listeners::smtp;
use tidings_testkit::mail_sink::{Action, At, MailSink, Script, SinkSettings};
use tokio::task::JoinSet;

use super::{MESSAGE, rude_server, send_one};

/// Long enough for a loaded machine to get through the steps that go well.
const SHORT: Duration = Duration::from_secs(2);

fn short_limits() -> Limits {
    Limits { greeting: SHORT, command: SHORT, body: SHORT, after_dot: SHORT, ..Limits::default() }
}

/// Sends to a sink that misbehaves so, with and without pipelining.
async fn outcomes(
    action: Action,
    limits: Limits,
    message: &[u8],
) -> Vec<Result<Outcome, ConnectError>> {
    let mut outcomes = Vec::new();
    for hidden in [vec![], vec!["PIPELINING".to_owned()]] {
        let smtp = smtp::Settings {
            hidden_extensions: hidden,
            limits: smtp::Limits { message_bytes: 100_000_000, ..smtp::Limits::default() },
            ..smtp::Settings::default()
        };
        let script = Script::accept_all().always(action.clone());
        let settings = SinkSettings { script, smtp, ..SinkSettings::default() };
        let sink = MailSink::start_with(settings).await.expect("a free port");
        outcomes.push(send_one(&sink.url(), limits.clone(), "a@b.example", message).await);
    }
    outcomes
}

/// No connection stood, and the error says where.
async fn check_connect(action: Action, limits: Limits, expected: Phase) {
    for outcome in outcomes(action.clone(), limits, MESSAGE).await {
        let error = outcome.expect_err("no connection stands");
        assert_eq!(error.at(), expected, "{action:?}: {error}");
        assert!(!error.is_permanent(), "{action:?}: {error}");
    }
}

/// Nothing was handed over, and the outcome says where it broke.
async fn check_failed(action: Action, limits: Limits, message: &'static [u8], expected: Phase) {
    for outcome in outcomes(action.clone(), limits, message).await {
        let Ok(Outcome::Failed { at, reason }) = outcome else { panic!("{action:?}: {outcome:?}") };
        assert_eq!(at, expected, "{action:?}: {reason}");
    }
}

async fn check_unknown(action: Action, limits: Limits) {
    for outcome in outcomes(action.clone(), limits, MESSAGE).await {
        assert!(matches!(outcome, Ok(Outcome::Unknown { .. })), "{action:?}: {outcome:?}");
    }
}

/// Everything that can go wrong at a step, with limits fit to notice it.
fn all_manners(at: At) -> [(Action, Limits); 5] {
    [
        (Action::Close(at), Limits::default()),
        (Action::Garbage(at), Limits::default()),
        (Action::EndlessLine(at), Limits::default()),
        (Action::Hang(at), short_limits()),
        (Action::Slow(at, Duration::from_millis(500)), short_limits()),
    ]
}

#[tokio::test]
async fn trouble_before_the_first_message_is_a_connect_error() {
    let mut checks = JoinSet::new();
    for (at, phase) in [(At::Banner, Phase::Greeting), (At::Hello, Phase::Hello)] {
        for (action, limits) in all_manners(at) {
            checks.spawn(check_connect(action, limits, phase));
        }
    }
    checks.join_all().await;
}

#[tokio::test]
async fn trouble_before_the_text_is_a_failure() {
    let mut checks = JoinSet::new();
    for (at, phase) in
        [(At::Mail, Phase::Mail), (At::Recipient, Phase::Recipient), (At::Data, Phase::Data)]
    {
        for (action, limits) in all_manners(at) {
            checks.spawn(check_failed(action, limits, MESSAGE, phase));
        }
    }
    checks.join_all().await;
}

#[tokio::test]
async fn trouble_after_the_final_dot_is_unknown() {
    let mut checks = JoinSet::new();
    for (action, limits) in all_manners(At::Dot) {
        checks.spawn(check_unknown(action, limits));
    }
    // A small text is in the network's hands as soon as it is written, so a server that leaves while
    // it is coming cannot be told from one that took it and left.
    checks.spawn(check_unknown(Action::Close(At::Body), Limits::default()));
    checks.spawn(check_unknown(Action::Hang(At::Body), short_limits()));
    checks.join_all().await;
}

#[tokio::test]
async fn a_server_that_leaves_before_a_big_text_was_written_took_nothing() {
    let big = b"twenty bytes a line\n".repeat(2_000_000);
    for outcome in outcomes(Action::Close(At::Body), Limits::default(), &big).await {
        assert!(matches!(outcome, Ok(Outcome::Failed { at: Phase::Message, .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_server_that_stops_reading_a_big_text_took_nothing() {
    let url = rude_server::start(rude_server::Manner::StopsReading).await;
    let big = b"twenty bytes a line\n".repeat(2_000_000);
    let outcome = send_one(&url, short_limits(), "a@b.example", &big).await;
    let Ok(Outcome::Failed { at: Phase::Message, reason }) = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("too long"), "{reason}");
}

#[tokio::test]
async fn a_slow_server_within_the_limits_is_borne() {
    for at in [At::Banner, At::Hello, At::Mail, At::Recipient, At::Data, At::Dot] {
        let slow = Action::Slow(at, Duration::from_millis(1));
        for outcome in outcomes(slow, Limits::default(), MESSAGE).await {
            assert!(matches!(outcome, Ok(Outcome::Sent { .. })), "{at:?}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn nobody_listening_is_said() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("smtp://{}", listener.local_addr().expect("it is bound"));
    drop(listener);
    let error =
        send_one(&url, Limits::default(), "a@b.example", MESSAGE).await.expect_err("nobody");
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    assert_eq!((error.at(), error.is_permanent()), (Phase::Connect, false));
}

#[tokio::test]
async fn a_greeting_that_refuses_is_passed_on() {
    for (manner, permanent) in [
        (rude_server::Manner::Greets("554 no"), true),
        (rude_server::Manner::Greets("421 busy"), false),
    ] {
        let url = rude_server::start(manner).await;
        let error =
            send_one(&url, Limits::default(), "a@b.example", MESSAGE).await.expect_err("no");
        let ConnectError::Refused(refusal) = &error else { panic!("{error}") };
        assert_eq!((refusal.at, error.is_permanent()), (Phase::Greeting, permanent));
    }
}

#[tokio::test]
async fn a_server_that_wants_text_for_a_refused_recipient_gets_none() {
    let url = rude_server::start(rude_server::Manner::WantsTextAnyway).await;
    let outcome = send_one(&url, Limits::default(), "a@b.example", MESSAGE).await;
    let Ok(Outcome::Refused(refusal)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((refusal.code, refusal.at), (550, Phase::Recipient));
}

#[tokio::test]
async fn an_old_server_without_ehlo_is_spoken_to() {
    let url = rude_server::start(rude_server::Manner::KnowsHeloOnly).await;
    let outcome = send_one(&url, Limits::default(), "a@b.example", MESSAGE).await;
    assert!(matches!(outcome, Ok(Outcome::Sent { .. })), "{outcome:?}");
}
