//! What the hub remembers: one store, two engines.
//!
//! Callers see coarse operations in the domain's terms; SQL appears in this crate alone.

pub mod error;
pub mod sql;

pub use error::{Error, Result};
