//! Feeds a target and keeps what made it fail.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::corpus;
use crate::mutate::{Random, mutated};
use crate::{Feed, Target};

/// The stack that a request's own thread has.
const STACK: usize = 2 * 1024 * 1024;
/// How often an input that fails is tried smaller.
const SMALLER_TRIES: usize = 400;

/// How much a target is fed.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    Inputs(u64),
    Time(Duration),
}

/// An input that a target fails on.
#[derive(Debug)]
pub struct Failure {
    pub target: &'static str,
    pub input: Vec<u8>,
    pub message: String,
    /// Where it was written.
    pub file: PathBuf,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}\n  input of {} bytes, in {}:\n  {}\n  mend it, and move the file to \
             tests/fuzz/corpus/{}",
            self.target,
            self.message,
            self.input.len(),
            self.file.display(),
            self.input.escape_ascii().to_string().chars().take(2_000).collect::<String>(),
            self.target
        )
    }
}

/// Feeds a target its whole corpus and then inputs made of it; gives how many it took.
///
/// # Errors
/// The first input that it fails on, made smaller.
pub fn drive(target: &Target, seed: u64, run: Run) -> Result<u64, Failure> {
    let (name, open, seeds) = (target.name, target.open, target.seeds);
    let work = move || feed(name, open, seeds(), seed, run);
    let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    let thread = thread.spawn(work).expect("start a thread");
    thread.join().unwrap_or_else(|_| panic!("{name} does not open"))
}

fn feed(
    name: &'static str,
    open: fn() -> Feed,
    seeds: Vec<Vec<u8>>,
    seed: u64,
    run: Run,
) -> Result<u64, Failure> {
    let mut corpus = corpus::files(name);
    corpus.extend(seeds);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    let mut feed = open();
    let mut fed = 0;
    for input in &corpus {
        try_one(name, &mut feed, input)?;
        fed += 1;
    }
    let (mut random, began) = (Random::new(seed), Instant::now());
    let mut made = 0;
    while match run {
        Run::Inputs(count) => made < count,
        Run::Time(time) => began.elapsed() < time,
    } {
        let input = mutated(&mut random, &corpus);
        if let Run::Time(_) = run {
            // What overflows the stack or takes all memory ends the program: this is what it was.
            write(&folder().join(format!("{name}-last")), &input);
        }
        try_one(name, &mut feed, &input)?;
        made += 1;
    }
    Ok(fed + made)
}

fn try_one(name: &'static str, feed: &mut Feed, input: &[u8]) -> Result<(), Failure> {
    let Some(message) = fault(feed, input) else { return Ok(()) };
    let input = smaller(feed, input.to_vec());
    let hash = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    let file = folder().join(format!("{name}-{hash:016x}"));
    write(&file, &input);
    Err(Failure { target: name, input, message, file })
}

/// What the target says against an input.
fn fault(feed: &mut Feed, input: &[u8]) -> Option<String> {
    let panicked = catch_unwind(AssertUnwindSafe(|| feed(input))).err()?;
    let text = panicked.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panicked.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    Some(text.unwrap_or_else(|| "a panic without words".to_owned()))
}

/// Leaves pieces out as long as the target still fails.
fn smaller(feed: &mut Feed, mut input: Vec<u8>) -> Vec<u8> {
    let mut size = input.len() / 2;
    let mut tries = 0;
    while size > 0 && tries < SMALLER_TRIES {
        let mut at = 0;
        while at < input.len() && tries < SMALLER_TRIES {
            let end = (at + size).min(input.len());
            let without = [&input[..at], &input[end..]].concat();
            tries += 1;
            if fault(feed, &without).is_some() {
                input = without;
            } else {
                at = end;
            }
        }
        size /= 2;
    }
    input
}

fn folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    target.join("fuzz")
}

fn write(file: &Path, input: &[u8]) {
    let folder = file.parent().expect("a file in a folder");
    std::fs::create_dir_all(folder).expect("make a folder for inputs");
    std::fs::write(file, input).expect("write an input");
}
