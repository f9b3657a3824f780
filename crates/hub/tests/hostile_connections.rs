//! Connections that mean ill, over raw sockets to the real program: requests that two readers would
//! read in two ways, heads without end, clients that dawdle, and streams that are taken back as soon
//! as they are opened. Meanwhile everybody else is answered.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const READY: &str = "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
/// How long a socket of a test waits for what the program does by itself after half a minute.
const PATIENCE: Duration = Duration::from_secs(120);

struct Program {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Program {
    fn start() -> Program {
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("its address");
        drop(free);
        let child = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(["serve", "--listen", &address.to_string(), "--data-dir"])
            .arg(folder.path().join("data"))
            .env_remove("TIDINGS_DATABASE_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the program");
        let mut program = Program { child, address, _folder: folder };
        while program.ask(READY).is_none_or(|it| it.0 != 200) {
            let ended = program.child.try_wait().expect("ask for the process");
            assert!(ended.is_none(), "it ended at its start: {ended:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        program
    }

    fn connect(&self) -> Option<TcpStream> {
        let stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).expect("a patient socket");
        Some(stream)
    }

    /// The status and the whole of the first answer to these bytes, if there is one.
    fn ask(&self, bytes: impl AsRef<[u8]>) -> Option<(u16, String)> {
        let mut stream = self.connect()?;
        // It may be closed while this is still written.
        let _ = stream.write_all(bytes.as_ref());
        let answer = rest(&mut stream).expect("it closes");
        let status = answer.get(9..12)?.parse().ok()?;
        Some((status, answer))
    }

    /// Somebody else is answered as ever.
    #[track_caller]
    fn answers_others(&self) {
        let (status, _) = self.ask(READY).expect("an answer");
        assert_eq!(status, 200);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whatever comes until the other side closes; an error where it does not.
fn rest(stream: &mut TcpStream) -> Result<String, std::io::Error> {
    let mut all = Vec::new();
    let mut piece = [0; 4_096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => all.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Err(error),
            Err(_) => break,
        }
    }
    Ok(String::from_utf8_lossy(&all).into_owned())
}

/// Requests that a proxy in front and the program could read as one or as two. Each is refused, or
/// read as one by a rule that leaves no doubt; what would be smuggled behind it is never answered.
#[test]
fn row_42_what_could_be_read_as_two_requests_is_not() {
    let program = Program::start();
    let hidden = "GET /v1/session HTTP/1.1\r\nHost: x\r\n\r\n";
    let length = hidden.len();
    for (what, head) in [
        ("two lengths", format!("Content-Length: 0\r\nContent-Length: {length}\r\n")),
        ("a list of lengths", format!("Content-Length: 0, {length}\r\n")),
        ("a signed length", format!("Content-Length: +{length}\r\n")),
        ("a length in hexadecimal", "Content-Length: 0x5\r\n".to_owned()),
        ("a negative length", "Content-Length: -1\r\n".to_owned()),
        ("an unknown coding", "Transfer-Encoding: xchunked\r\n".to_owned()),
        ("chunked, but not last", "Transfer-Encoding: chunked, identity\r\n".to_owned()),
        ("a blank before the colon", format!("Content-Length : {length}\r\n")),
        ("a folded line", format!("X: a\r\n Content-Length: {length}\r\n")),
        ("a NUL in a value", "X: a\0b\r\n".to_owned()),
        ("a bare CR in a value", "X: a\rContent-Length: 5\r\n".to_owned()),
    ] {
        let request = format!("POST /v1/session HTTP/1.1\r\nHost: x\r\n{head}\r\n{hidden}");
        let (status, answer) = program.ask(&request).expect("an answer");
        assert_eq!(status, 400, "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: {answer}");
    }
    // Both at once: the chunks count, and the connection ends behind them.
    let both = format!(
        "POST /v1/session HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
    );
    let (_, answer) = program.ask(&both).expect("an answer");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    program.answers_others();
}

#[test]
fn row_42_heads_without_end_are_refused() {
    let program = Program::start();
    let many: String = (0..100_000).map(|at| format!("x{at}: y\r\n")).collect();
    for (what, request) in [
        ("100,000 headers", format!("GET /readyz HTTP/1.1\r\nHost: x\r\n{many}\r\n")),
        ("a header of 1 MB", format!("GET /readyz HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(1 << 20))),
        ("a path of 1 MB", format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(1 << 20))),
        ("a method of 1 MB", format!("{} / HTTP/1.1\r\nHost: x\r\n\r\n", "A".repeat(1 << 20))),
        ("no HTTP at all", "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03".repeat(100)),
    ] {
        if let Some((status, answer)) = program.ask(&request) {
            assert!((400..500).contains(&status), "{what}: {answer}");
        }
        program.answers_others();
    }
}

/// Clients that open a connection and then take their time over the head, over the body of a public
/// page, over the next request, or say nothing at all. Each is let go of, and nobody else waits.
#[test]
fn row_42_clients_that_dawdle_are_let_go_of() {
    let program = Program::start();
    let body = "POST /t/u/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n\r\na=";
    let sign_in = "POST /v1/session HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\
                   Content-Type: application/json\r\n\r\n{";
    let starts: [&str; 6] = [
        "",
        "GET /readyz HTTP/1.1\r\nHost: x\r\nX-Slow",
        "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
        body,
        sign_in,
        // The preface of HTTP/2, and nothing behind it.
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    let mut slow: Vec<TcpStream> = Vec::new();
    for start in starts.iter().cycle().take(120) {
        let mut stream = program.connect().expect("a connection");
        stream.write_all(start.as_bytes()).expect("write");
        slow.push(stream);
    }
    program.answers_others();
    for (at, stream) in slow.iter_mut().enumerate() {
        let start = starts[at % starts.len()];
        // It ends when the program closes it.
        let answer = rest(stream).unwrap_or_else(|_| panic!("{start:?} keeps its connection"));
        assert!(!answer.starts_with("HTTP/1.1 5"), "{start:?}: {answer}");
    }
    program.answers_others();
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Streams that are opened and taken back at once, thousands of them: the connection is ended.
#[test]
fn row_42_streams_that_are_taken_back_at_once_end_their_connection() {
    let program = Program::start();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    // GET / on http, from the static table; the authority is written out.
    let head = [0x82, 0x86, 0x84, 0x41, 0x01, b'x'];
    for stream in (1..40_001_u32).step_by(2) {
        bytes.extend(frame(1, 0x05, stream, &head));
        bytes.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
    }
    let mut stream = program.connect().expect("a connection");
    let mut writing = stream.try_clone().expect("the socket twice");
    let writer = std::thread::spawn(move || writing.write_all(&bytes).is_ok());
    let answer = {
        let mut all = Vec::new();
        let mut piece = [0; 4_096];
        while let Ok(read) = stream.read(&mut piece) {
            if read == 0 {
                break;
            }
            all.extend_from_slice(&piece[..read]);
        }
        all
    };
    let _ = writer.join().expect("the writer ends");
    assert!(goes_away(&answer), "{} bytes without a GOAWAY", answer.len());
    program.answers_others();
}

/// Whether frames of HTTP/2 hold a GOAWAY.
fn goes_away(mut bytes: &[u8]) -> bool {
    while bytes.len() >= 9 {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        if bytes[3] == 7 {
            return true;
        }
        bytes = bytes.get(9 + length..).unwrap_or_default();
    }
    false
}
