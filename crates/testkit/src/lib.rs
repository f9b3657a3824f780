//! What tests need around the hub: fake peers over real sockets. Only tests and benches use it.

pub mod certificate;
pub mod mail_sink;
