//! Spoilt input for every parser.
//!
//! A target takes any bytes and must neither panic nor break what it promises. It is fed with its
//! corpus (files under `corpus/NAME`, and what other tests hold already) and with inputs that are
//! made of these by cutting, doubling, mixing and flipping. The random numbers have a fixed seed,
//! so a run is the same each time. The compiler gives no coverage on its stable channel, so nothing
//! steers the mutations but the corpus; a good seed for each form of a format matters all the more.
//!
//! `cargo test -p tidings-fuzz` feeds a counted number of inputs to each target; `make fuzz` goes on
//! for as many minutes as it is told. An input that fails is made smaller and written to
//! `target/fuzz`; once mended, it belongs into the corpus, where every later run begins.

mod corpus;
mod drive;
mod mutate;
mod targets;

pub use drive::{Failure, Run, drive};

/// A parser under test, made ready.
pub type Feed = Box<dyn FnMut(&[u8])>;

pub struct Target {
    /// The name of its corpus, too.
    pub name: &'static str,
    /// How many inputs a short run makes.
    pub short: u64,
    /// Makes it ready, such as by a hub of its own.
    pub open: fn() -> Feed,
    /// Inputs beside the files of its corpus.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub fn targets() -> Vec<Target> {
    targets::all()
}
