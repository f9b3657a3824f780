//! Open sockets: what arrives from the network becomes requests and mails. Knows no rule of the hub.

pub mod http;
mod patience;
pub mod proxies;
pub mod smtp;
pub mod tls;
mod validity;
