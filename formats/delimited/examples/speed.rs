//! How fast rows are read: `cargo run --release -p tidings-delimited --example speed [ROWS]`.
//!
//! Generates rows of 10 columns in memory and prints the medians of seven interleaved rounds for
//! this crate and for the `csv` crate's reusable byte record, which checks less (no UTF-8, no NUL,
//! no limits, no raw text).

use std::time::{Duration, Instant};

use tidings_delimited::{Item, Layout, Limits, Reader};

const ROUNDS: usize = 7;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rows: u64 = match std::env::args().nth(1) {
        Some(rows) => rows.parse()?,
        None => 1_000_000,
    };
    for (name, text) in [("plain", generate(rows, false)), ("quoted", generate(rows, true))] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(timed(rows, || read_with_tidings(&text))?);
            theirs.push(timed(rows, || read_with_csv(&text))?);
        }
        print_line(name, "tidings-delimited", &text, &mut ours);
        print_line(name, "csv ByteRecord", &text, &mut theirs);
    }
    Ok(())
}

fn generate(rows: u64, quoted: bool) -> String {
    let mut text = "id,email,first,last,town,country,born,active,sum,seen\n".to_owned();
    let quote = if quoted { "\"" } else { "" };
    for n in 0..rows {
        text.push_str(&format!(
            "{n},customer{n}@example.com,{quote}Marijke{quote},{quote}van den Berg{quote},{quote}Zo\u{eb}terwoude{quote},NL,1980-01-{:02},true,{}.50,2024-05-06T07:08:09Z\n",
            n % 28 + 1,
            n % 1_000,
        ));
    }
    text
}

fn timed(
    rows: u64,
    read: impl FnOnce() -> Result<(u64, usize), Box<dyn std::error::Error>>,
) -> Result<Duration, Box<dyn std::error::Error>> {
    let start = Instant::now();
    let (seen, bytes) = read()?;
    let took = start.elapsed();
    assert!(seen == rows && bytes > 0, "{seen} rows were read");
    Ok(took)
}

fn read_with_tidings(text: &str) -> Result<(u64, usize), Box<dyn std::error::Error>> {
    let mut reader = Reader::open(text.as_bytes(), &Layout::default(), Limits::default())?;
    let (mut rows, mut bytes) = (0, 0);
    while let Some(item) = reader.read()? {
        if let Item::Row(row) = item {
            rows += 1;
            bytes += row.cells().map(str::len).sum::<usize>();
        }
    }
    Ok((rows, bytes))
}

fn read_with_csv(text: &str) -> Result<(u64, usize), Box<dyn std::error::Error>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut record = csv::ByteRecord::new();
    let (mut rows, mut bytes) = (0, 0);
    while reader.read_byte_record(&mut record)? {
        rows += 1;
        bytes += record.iter().map(<[u8]>::len).sum::<usize>();
    }
    Ok((rows, bytes))
}

fn print_line(kind: &str, name: &str, text: &str, times: &mut [Duration]) {
    times.sort();
    let seconds = times[times.len() / 2].as_secs_f64();
    let megabytes = text.len() as f64 / 1e6;
    println!(
        "{kind:7} {name:18} {megabytes:6.1} MB in {seconds:.3} s = {:.0} MB/s",
        megabytes / seconds
    );
}
