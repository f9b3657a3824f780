//! The sink keeps what it answered for, also on disk.

use std::time::Duration;

use tidings_testkit::mail_sink::{Action, MailSink, Script, SinkSettings};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// Sends one mail in the simplest way and gives the answer to its final dot, or to its recipient if
/// that was refused.
async fn send(sink: &MailSink, number: usize, local: &str) -> String {
    let socket = TcpStream::connect(sink.addr()).await.expect("it listens");
    let mut socket = BufReader::new(socket);
    let text = format!(
        "Message-ID: <{number}@x>\r\nX-Tidings-Delivery: d{number}\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n\r\nhi\r\n.\r\n"
    );
    let mut answer = String::new();
    for (line, expected) in [
        ("", '2'),
        ("HELO x\r\n", '2'),
        ("MAIL FROM:<a@b>\r\n", '2'),
        (&format!("RCPT TO:<{local}@d>\r\n"), '2'),
        ("DATA\r\n", '3'),
        (&text, '2'),
    ] {
        socket.get_mut().write_all(line.as_bytes()).await.expect("it reads");
        answer.clear();
        socket.read_line(&mut answer).await.expect("it answers");
        if !answer.starts_with(expected) {
            break;
        }
    }
    answer
}

#[tokio::test]
async fn every_mail_answered_with_250_is_in_the_log() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sink.log");
    let script = Script::accept_all()
        .to("no*", Action::RefuseRecipient(550, "5.1.1 no".to_owned()))
        .to("spam", Action::RefuseMessage(554, "5.7.1 spam".to_owned()));
    let settings = SinkSettings { script, log: Some(path.clone()), ..SinkSettings::default() };
    let sink = MailSink::start_with(settings).await.expect("a free port");
    let mut sends = tokio::task::JoinSet::new();
    let sink = std::sync::Arc::new(sink);
    for number in 0..40 {
        let sink = std::sync::Arc::clone(&sink);
        sends.spawn(async move {
            let local = ["yes", "nobody", "spam", "jane"][number % 4];
            let taken = send(&sink, number, local).await.starts_with("250");
            taken.then(|| format!("<{number}@x>\t{local}@d\td{number}"))
        });
    }
    let mut expected: Vec<String> = sends.join_all().await.into_iter().flatten().collect();
    let log = std::fs::read_to_string(&path).expect("the log is there");
    let mut logged: Vec<&str> = log.lines().collect();
    expected.sort();
    logged.sort_unstable();
    assert_eq!(logged, expected);
    assert_eq!((logged.len(), sink.count()), (20, 20));
}

#[tokio::test]
async fn mails_are_remembered_with_their_headers() {
    let sink = MailSink::start(Script::accept_all().to("late", Action::Later(2))).await;
    for expected in ["451 4.2.0 not now, 1 of 2", "451 4.2.0 not now, 2 of 2", "250"] {
        assert!(send(&sink, 7, "late").await.starts_with(expected));
    }
    let mails = sink.wait_for(1).await;
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].header("message-id").as_deref(), Some("<7@x>"));
    assert_eq!(mails[0].subject(), "grüße");
    assert_eq!(mails[0].text(), "hi\r\n");
    assert_eq!((mails[0].return_path.as_str(), sink.connections()), ("a@b", 3));
}

#[tokio::test]
async fn a_stopped_sink_listens_no_more() {
    let sink = MailSink::start(Script::accept_all()).await;
    let addr = sink.addr();
    drop(sink);
    while TcpStream::connect(addr).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
