//! Whole SMTP sessions over real sockets, spoken line by line.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tidings_listeners::smtp::{
    Answer, Auth, Limits, Received, Settings, Step, accept_every_step, serve,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

type Taken = Arc<Mutex<Vec<Received>>>;

struct Server {
    addr: std::net::SocketAddr,
    taken: Taken,
    running: JoinHandle<()>,
}

async fn start(settings: Settings, on_step: fn(&Step<'_>) -> Answer) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let taken = Taken::default();
    let keep = Arc::clone(&taken);
    let on_message = move |received: Received| {
        let keep = Arc::clone(&keep);
        async move {
            keep.lock().expect("no test panics here").push(received);
            Answer::Accept
        }
    };
    let running = tokio::spawn(serve(listener, settings, on_step, on_message));
    Server { addr, taken, running }
}

impl Server {
    fn taken(&self) -> Vec<Received> {
        self.taken.lock().expect("no test panics here").clone()
    }

    async fn client(&self) -> Client {
        let mut client =
            Client(BufReader::new(TcpStream::connect(self.addr).await.expect("it listens")));
        client.expect("220").await;
        client
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    async fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.expect("the server reads");
    }

    /// Reads one reply of any number of lines.
    async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let start = reply.len();
            let count = self.0.read_line(&mut reply).await.expect("the server answers");
            if count == 0 || reply.as_bytes().get(start + 3) != Some(&b'-') {
                return reply;
            }
        }
    }

    async fn expect(&mut self, start: &str) {
        let reply = self.reply().await;
        assert!(reply.starts_with(start), "expected {start}, got {reply:?}");
    }

    /// Says each line and expects the answer beside it.
    async fn talk(&mut self, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            self.say(&format!("{line}\r\n")).await;
            let reply = self.reply().await;
            assert!(reply.starts_with(expected), "{line}: expected {expected}, got {reply:?}");
        }
    }

    async fn expect_end(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = self.0.read_to_end(&mut rest).await;
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

#[tokio::test]
async fn a_session_takes_messages_one_after_another() {
    let server = start(Settings::default(), accept_every_step).await;
    let mut client = server.client().await;
    client
        .talk(&[
            ("EHLO client.example", "250"),
            ("MAIL FROM:<a@b.example> SIZE=10", "250 2.1.0"),
            ("RCPT TO:<c@d.example>", "250 2.1.5"),
            ("RCPT TO:<e@f.example>", "250 2.1.5"),
            ("DATA", "354"),
            ("Subject: x\r\n\r\n..dot\r\n.", "250 2.0.0"),
            ("MAIL FROM:<>", "250"),
            ("RCPT TO:<postmaster>", "250"),
            ("RSET", "250"),
            ("DATA", "554"),
            ("NOOP", "250"),
            ("VRFY someone", "252"),
            ("QUIT", "221"),
        ])
        .await;
    client.expect_end().await;
    let taken = server.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].return_path, "a@b.example");
    assert_eq!(taken[0].recipients, ["c@d.example", "e@f.example"]);
    assert_eq!(taken[0].message, b"Subject: x\r\n\r\n.dot\r\n");
    assert_eq!((taken[0].hello.as_str(), taken[0].secure), ("client.example", false));
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    let server = start(Settings::default(), accept_every_step).await;
    let mut client = server.client().await;
    client.say("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nNONSENSE\r\nDATA\r\n").await;
    for expected in ["250-localhost", "250 2.1.0", "250 2.1.5", "500", "354"] {
        client.expect(expected).await;
    }
    client.say("one\r\n.\r\nMAIL FROM:<e@f>\r\nRCPT TO:<g@h>\r\nDATA\r\n").await;
    for expected in ["250 2.0.0", "250 2.1.0", "250 2.1.5", "354"] {
        client.expect(expected).await;
    }
    client.say("two\r\n.\r\nQUIT\r\n").await;
    client.expect("250 2.0.0").await;
    client.expect("221").await;
    let messages: Vec<_> = server.taken().into_iter().map(|received| received.message).collect();
    assert_eq!(messages, [b"one\r\n", b"two\r\n"]);
}

#[tokio::test]
async fn commands_out_of_order_are_refused() {
    let server = start(Settings::default(), accept_every_step).await;
    let mut client = server.client().await;
    client
        .talk(&[
            ("MAIL FROM:<a@b>", "503"),
            ("HELO x", "250 localhost"),
            ("RCPT TO:<c@d>", "503"),
            ("DATA", "554"),
            ("MAIL FROM:<a@b>", "250"),
            ("MAIL FROM:<a@b>", "503"),
            ("STARTTLS", "502"),
            ("AUTH PLAIN AGEAYg==", "502"),
            ("MAIL FROM:<a@b> SIZE=99999999", "503"),
            ("RSET", "250"),
            ("MAIL FROM:<a@b> SIZE=99999999", "552"),
        ])
        .await;
    assert_eq!(server.taken().len(), 0);
}

#[tokio::test]
async fn a_step_may_be_refused_and_the_session_goes_on() {
    fn on_step(step: &Step<'_>) -> Answer {
        match step {
            Step::Recipient { recipient: "no@b", .. } => {
                Answer::reply(550, "5.1.1 first line\n5.1.1 second line")
            }
            Step::Mail { return_path: "no@b" } => Answer::reply(450, "4.1.8 not now"),
            _ => Answer::Accept,
        }
    }
    let server = start(Settings::default(), on_step).await;
    let mut client = server.client().await;
    client.talk(&[("EHLO x", "250"), ("MAIL FROM:<no@b>", "450 4.1.8 not now\r\n")]).await;
    client.talk(&[("MAIL FROM:<a@b>", "250")]).await;
    client.talk(&[("RCPT TO:<no@b>", "550-5.1.1 first line\r\n550 5.1.1 second line\r\n")]).await;
    client.talk(&[("DATA", "554"), ("RCPT TO:<yes@b>", "250"), ("DATA", "354")]).await;
    client.talk(&[("x\r\n.", "250")]).await;
    assert_eq!(server.taken()[0].recipients, ["yes@b"]);
}

#[tokio::test]
async fn the_answer_to_a_message_waits_for_the_handler() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let (finish, finished) = tokio::sync::watch::channel(false);
    let on_message = move |_| {
        let mut finished = finished.clone();
        async move {
            let _ = finished.wait_for(|finished| *finished).await;
            Answer::reply(451, "4.3.0 not kept")
        }
    };
    tokio::spawn(serve(listener, Settings::default(), accept_every_step, on_message));
    let socket = TcpStream::connect(addr).await.expect("it listens");
    let mut client = Client(BufReader::new(socket));
    client.expect("220").await;
    client.talk(&[("EHLO x", "250"), ("MAIL FROM:<a@b>", "250"), ("RCPT TO:<c@d>", "250")]).await;
    client.talk(&[("DATA", "354")]).await;
    client.say("x\r\n.\r\n").await;
    let early = tokio::time::timeout(Duration::from_millis(50), client.reply()).await;
    assert!(early.is_err(), "answered before the handler was done: {early:?}");
    finish.send(true).expect("the handler waits");
    client.expect("451 4.3.0 not kept").await;
}

#[tokio::test]
async fn false_ends_and_big_messages_are_refused_whole() {
    let limits = Limits { message_bytes: 1000, line_bytes: 500, ..Limits::default() };
    let server = start(Settings { limits, ..Settings::default() }, accept_every_step).await;
    let mut client = server.client().await;
    client.talk(&[("EHLO x", "250")]).await;
    let (long, big) = ("x".repeat(600), "0123456789\r\n".repeat(90));
    for (text, expected) in [
        ("a\n.\nMAIL FROM:<evil@b>", "550 5.5.2"),
        ("a\r\n.\nMAIL FROM:<evil@b>", "550 5.5.2"),
        ("a\r.\r\nMAIL FROM:<evil@b>", "550 5.5.2"),
        (long.as_str(), "554 5.6.0"),
        (big.as_str(), "552 5.3.4"),
        ("fine", "250"),
    ] {
        client.talk(&[("MAIL FROM:<a@b>", "250"), ("RCPT TO:<c@d>", "250")]).await;
        client.talk(&[("DATA", "354"), (&format!("{text}\r\n."), expected)]).await;
    }
    let messages: Vec<_> = server.taken().into_iter().map(|received| received.message).collect();
    assert_eq!(messages, [b"fine\r\n"]);
}

async fn start_with_limits(limits: Limits) -> Server {
    start(Settings { limits, ..Settings::default() }, accept_every_step).await
}

#[tokio::test]
async fn endless_lines_errors_and_recipients_are_ended() {
    let limits = Limits { line_bytes: 500, errors: 2, recipients: 1, ..Limits::default() };
    let server = start_with_limits(limits).await;

    let mut endless = server.client().await;
    endless.say(&"x".repeat(501)).await;
    endless.expect("500 5.5.2 line too long").await;
    endless.expect_end().await;

    let mut foolish = server.client().await;
    foolish.talk(&[("a", "500"), ("b", "500"), ("c", "500")]).await;
    foolish.expect("421 4.7.0").await;
    foolish.expect_end().await;

    let mut many = server.client().await;
    many.talk(&[("EHLO x", "250"), ("MAIL FROM:<a@b>", "250"), ("RCPT TO:<c@d>", "250")]).await;
    many.talk(&[("RCPT TO:<e@f>", "452 4.5.3"), ("DATA", "354"), ("x\r\n.", "250")]).await;
    assert_eq!(server.taken()[0].recipients, ["c@d"]);
}

#[tokio::test]
async fn silence_is_ended() {
    let short = Duration::from_millis(100);
    let server = start_with_limits(Limits { command: short, ..Limits::default() }).await;
    let mut silent = server.client().await;
    silent.say("EHL").await;
    silent.expect("421 4.4.2").await;
    silent.expect_end().await;

    let server = start_with_limits(Limits { data: short, ..Limits::default() }).await;
    let mut half = server.client().await;
    half.say("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nabc\r\n").await;
    for expected in ["250", "250", "250", "354", "421 4.4.2"] {
        half.expect(expected).await;
    }
    half.expect_end().await;
    assert_eq!(server.taken().len(), 0);
}

#[tokio::test]
async fn a_connection_too_many_is_turned_away() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let server = start(Settings { limits, ..Settings::default() }, accept_every_step).await;
    let mut first = server.client().await;
    let mut second =
        Client(BufReader::new(TcpStream::connect(server.addr).await.expect("it listens")));
    second.expect("421 4.3.2").await;
    second.expect_end().await;
    first.talk(&[("EHLO x", "250"), ("QUIT", "221")]).await;
    first.expect_end().await;
}

#[tokio::test]
async fn a_stop_lets_the_message_under_way_finish() {
    let settings = Settings::default();
    let stop = settings.stop.clone();
    let server = start(settings, accept_every_step).await;
    let mut busy = server.client().await;
    let mut idle = server.client().await;
    busy.talk(&[("EHLO x", "250"), ("MAIL FROM:<a@b>", "250"), ("RCPT TO:<c@d>", "250")]).await;
    busy.talk(&[("DATA", "354")]).await;
    stop.cancel();
    idle.expect("421 4.3.2").await;
    idle.expect_end().await;
    busy.talk(&[("last words\r\n.", "250")]).await;
    busy.expect("421 4.3.2").await;
    busy.expect_end().await;
    server.running.await.expect("serve returns");
    assert_eq!(server.taken.lock().expect("no test panics here").len(), 1);
    assert!(TcpStream::connect(server.addr).await.is_err());
}

#[tokio::test]
async fn signing_in_is_checked() {
    let auth = Auth { user: "u".to_owned(), password: "p".to_owned(), required: true };
    assert!(!format!("{auth:?}").contains("\"p\""));
    let settings = Settings { auth: Some(auth), ..Settings::default() };
    let server = start(settings, accept_every_step).await;
    let mut client = server.client().await;
    client
        .talk(&[
            ("AUTH PLAIN AHUAcA==", "503"),
            ("EHLO x", "250"),
            ("MAIL FROM:<a@b>", "530"),
            ("AUTH CRAM-MD5", "504"),
            ("AUTH PLAIN AHUAcQ==", "535"),
            ("AUTH PLAIN !!!", "535"),
            ("AUTH PLAIN", "334 "),
            ("AHU=", "535"),
            ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
            ("dQ==", "334 UGFzc3dvcmQ6"),
            ("cA==", "235"),
            ("AUTH PLAIN AHUAcA==", "503"),
            ("MAIL FROM:<a@b>", "250"),
        ])
        .await;
}
