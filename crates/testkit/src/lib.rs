//! What tests need around the hub: a hub of their own, and fake peers over real sockets. Only tests
//! and benches use it.

pub mod certificate;
#[cfg(feature = "database")]
pub mod database;
#[cfg(feature = "hub")]
pub mod hub;
pub mod mail_sink;
