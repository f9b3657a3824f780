//! All tests of the crate in one program, so that they are linked once.

mod common;
mod detecting;
mod memory;
mod properties;
mod reading;
mod writing;
