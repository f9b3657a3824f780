//! Certificates for TLS peers on loopback.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// A fresh self-signed certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// For the server that shows it.
    pub server: Arc<ServerConfig>,
    /// For the client that is to trust it.
    pub pem: String,
}

/// Makes a certificate for these host names or addresses.
pub fn self_signed(names: &[&str]) -> Certificate {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("the names are valid");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("key and certificate belong together");
    Certificate { server: Arc::new(server), pem: made.cert.pem() }
}
