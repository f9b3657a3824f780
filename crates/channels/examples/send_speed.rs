//! How many messages a second leave over kept connections, counted at the sink.
//!
//! ```text
//! cargo build --release -p tidings-testkit --no-default-features --bin mail-sink
//! mail-sink --fast --port 2525 &
//! cargo run --release -p tidings-channels --example send_speed -- smtp://127.0.0.1:2525 8 200000
//! ```
//!
//! The arguments are the relay's URL, the number of connections, and the number of messages (3 KB each).

use std::time::Instant;

use tidings_channels::email::{
    Envelope, Limits, Outcome, Pool, Relay,
    mime::{Mailbox, Message, build},
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("expected the relay's url")?;
    let connections: usize = arguments.next().map_or(Ok(8), |text| text.parse())?;
    let messages: usize = arguments.next().map_or(Ok(50_000), |text| text.parse())?;

    let mail = mail()?;
    let pool = Pool::new(Relay::parse(&url, connections)?, Limits::default())?;
    let started = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..connections {
        let share = messages / connections + usize::from(worker < messages % connections);
        workers.spawn(send(pool.clone(), mail.clone(), share));
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{messages} messages of {} bytes over {connections} connections in {seconds:.2} s: {:.0} messages/s",
        mail.len(),
        messages as f64 / seconds,
    );

    let started = Instant::now();
    for _ in 0..10_000 {
        std::hint::black_box(self::mail()?);
    }
    println!("building one: {:.1} µs", started.elapsed().as_secs_f64() * 100.0);
    Ok(())
}

async fn send(pool: Pool, mail: Vec<u8>, count: usize) -> Result<(), Failure> {
    let mut lease = pool.connection().await?;
    let envelope = Envelope { return_path: "bounces@hub.example", recipient: "anna@b.example" };
    for _ in 0..count {
        match lease.send(&envelope, &mail).await {
            Outcome::Sent { .. } => {}
            other => return Err(format!("not sent: {other:?}").into()),
        }
    }
    Ok(())
}

/// A mail of about 3 KB.
fn mail() -> Result<Vec<u8>, Failure> {
    let row =
        "<p>Some words for you, <a href=\"https://hub.example/t/c/abcdef\">and a link</a>.</p>\n";
    Ok(build(&Message {
        from: Mailbox { name: Some("Tidings"), address: "news@hub.example" },
        to: Mailbox { name: Some("Anna"), address: "anna@b.example" },
        reply_to: None,
        subject: "Hello Anna",
        html: Some(&row.repeat(17)),
        text: None,
        message_id: "0198-abc@hub.example",
        date_s: 1_700_000_000,
        unsubscribe: None,
        headers: &[],
    })?)
}
