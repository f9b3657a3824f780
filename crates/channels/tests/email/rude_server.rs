//! A line-by-line server for manners the sink's real SMTP server cannot show.

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

#[derive(Clone, Copy)]
pub enum Manner {
    /// Greets with this line and leaves.
    Greets(&'static str),
    /// Asks for the text, then never reads again.
    StopsReading,
    /// Refuses the recipient and still answers DATA with 354.
    WantsTextAnyway,
    KnowsHeloOnly,
    /// Takes one message a connection, then leaves without a word.
    LeavesAfterOne,
    /// Answers 421 to the second message of a connection, then leaves.
    TiredAfterOne,
    /// Sends an answer in the clear behind that to STARTTLS.
    InjectsBehindStartTls,
}

/// Starts the server within the current runtime; the answer is its URL.
pub async fn start(manner: Manner) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("smtp://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(talk(socket, manner));
        }
    });
    url
}

async fn talk(socket: TcpStream, manner: Manner) -> std::io::Result<()> {
    let mut socket = BufReader::new(socket);
    if let Manner::Greets(greeting) = manner {
        return say(&mut socket, greeting).await;
    }
    say(&mut socket, "220 rude").await?;
    let (mut line, mut messages) = (String::new(), 0);
    loop {
        line.clear();
        if socket.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let verb = line.get(..4).unwrap_or_default();
        let answer = match (verb, manner) {
            ("EHLO", Manner::KnowsHeloOnly) => "502 what?",
            ("EHLO", Manner::InjectsBehindStartTls) => "250-rude\r\n250 STARTTLS",
            ("EHLO", _) => "250-rude\r\n250 PIPELINING",
            ("STAR", Manner::InjectsBehindStartTls) => "220 go ahead\r\n250 injected",
            ("RCPT", Manner::WantsTextAnyway) => "550 5.1.1 unknown",
            ("MAIL", Manner::TiredAfterOne) if messages > 0 => {
                return say(&mut socket, "421 enough").await;
            }
            ("DATA", Manner::StopsReading) => {
                say(&mut socket, "354 go").await?;
                return std::future::pending().await;
            }
            ("DATA", _) => {
                say(&mut socket, "354 go").await?;
                while line != ".\r\n" {
                    line.clear();
                    socket.read_line(&mut line).await?;
                }
                messages += 1;
                if matches!(manner, Manner::LeavesAfterOne) {
                    return say(&mut socket, "250 taken").await;
                }
                "250 taken"
            }
            _ => "250 fine",
        };
        say(&mut socket, answer).await?;
    }
}

async fn say(socket: &mut BufReader<TcpStream>, text: &str) -> std::io::Result<()> {
    socket.get_mut().write_all(format!("{text}\r\n").as_bytes()).await
}
