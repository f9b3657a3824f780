//! What the hub remembers: one store, two engines.
//!
//! Callers see coarse operations in the domain's terms; SQL appears in this crate alone.

mod bulk;
pub mod changes;
pub mod customers;
mod engines;
pub mod error;
pub mod migrate;
mod schema;
pub mod sql;
mod store;
pub mod system;
mod workspace;

pub use engines::{Layout, Priority};
pub use error::{Error, Result};
pub use store::{Home, Store};
pub use workspace::Workspace;
