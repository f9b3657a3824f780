//! What the tests of this folder drive the real program with: processes that are killed and frozen,
//! a mail sink that remembers on disk, databases of their own, and the truth to compare with.
//!
//! It knows the program from outside only: its commands, its API, its signals. Settings of a run:
//! `TIDINGS_BIN` names the program, `TIDINGS_KILLS` how many kills each test counts (10 unless
//! given), `TIDINGS_SEED` repeats a run's random choices.

pub mod api;
pub mod database;
pub mod import;
pub mod power;
pub mod program;
pub mod proxy;
pub mod run;
pub mod send;
pub mod sink;
pub mod world;
