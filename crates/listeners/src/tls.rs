//! The certificate that a listener shows: read from its files with every fault told plainly, and
//! read again when the files change, so that a renewed one needs no restart. Knows nothing of who
//! issues certificates.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::validity::validity;

/// How often the files are looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A certificate that ends within so many days is warned of.
pub const WARN_DAYS: i64 = 14;

/// Why a certificate or its key cannot be served; each says which file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} holds no certificate in PEM; expected -----BEGIN CERTIFICATE-----", .0.display())]
    NoCertificate(PathBuf),
    #[error("{} holds no private key in PEM; one with a password has to be decrypted first", .0.display())]
    NoKey(PathBuf),
    #[error("{} is damaged: {reason}", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "{} is not the key of {}; the certificate of the hub itself stands first in its file, \
         then those of who issued it", key.display(), certificate.display()
    )]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("the certificate in {} ended on {ended_at}; renew it", path.display())]
    Expired { path: PathBuf, ended_at: Timestamp },
    #[error("the certificate in {} begins on {begins_at}; is this machine's clock right?", path.display())]
    NotYet { path: PathBuf, begins_at: Timestamp },
    #[error("set up TLS: {0}")]
    Setup(String),
}

/// A certificate chain with its key, as read from two files.
#[derive(Clone, Debug)]
pub struct Pair {
    shown: Arc<CertifiedKey>,
    pub begins_at: Timestamp,
    pub ends_at: Timestamp,
    certificate: PathBuf,
}

impl Pair {
    /// Reads both files; whether the certificate is in its time is another question.
    pub fn read(certificate: &Path, key: &Path) -> Result<Pair, Fault> {
        Pair::parse(certificate, &bytes(certificate)?, key, &bytes(key)?)
    }

    fn parse(certificate: &Path, chain: &[u8], key_file: &Path, key: &[u8]) -> Result<Pair, Fault> {
        let damaged = |path: &Path, reason: String| Fault::Damaged { path: path.into(), reason };
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| damaged(certificate, error.to_string()))?;
        let Some(first) = chain.first() else {
            return Err(Fault::NoCertificate(certificate.into()));
        };
        let (begins_at, ends_at) = validity(first)
            .ok_or_else(|| damaged(certificate, "no X.509 certificate is in it".to_owned()))?;
        let key = match PrivateKeyDer::from_pem_slice(key) {
            Ok(key) => key,
            Err(rustls::pki_types::pem::Error::NoItemsFound) => {
                return Err(Fault::NoKey(key_file.into()));
            }
            Err(error) => return Err(damaged(key_file, error.to_string())),
        };
        let signing = default_provider()
            .key_provider
            .load_private_key(key)
            .map_err(|error| damaged(key_file, error.to_string()))?;
        let shown = CertifiedKey::new(chain, signing);
        match shown.keys_match() {
            // Some kinds of keys cannot tell their public half; the handshake will.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(Fault::Mismatch {
                    certificate: certificate.into(),
                    key: key_file.into(),
                });
            }
            Err(error) => return Err(damaged(certificate, error.to_string())),
        }
        Ok(Pair { shown: Arc::new(shown), begins_at, ends_at, certificate: certificate.into() })
    }

    /// Refuses a certificate out of its time.
    pub fn check_time(&self, now: Timestamp) -> Result<(), Fault> {
        let path = self.certificate.clone();
        if now >= self.ends_at {
            return Err(Fault::Expired { path, ended_at: self.ends_at });
        }
        if now < self.begins_at {
            return Err(Fault::NotYet { path, begins_at: self.begins_at });
        }
        Ok(())
    }

    /// Whether the certificate is for this host name or address.
    pub fn is_for(&self, host: &str) -> bool {
        let Ok(name) = ServerName::try_from(host) else { return false };
        self.shown.end_entity_cert().is_ok_and(|certificate| {
            rustls::server::ParsedCertificate::try_from(certificate)
                .is_ok_and(|parsed| rustls::client::verify_server_name(&parsed, &name).is_ok())
        })
    }

    /// Whole days until its end.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        (self.ends_at.as_second() - now.as_second()).div_euclid(24 * 3_600)
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, Fault> {
    fs::read(path).map_err(|source| Fault::Read { path: path.into(), source })
}

/// The bytes of both files.
type Seen = (Vec<u8>, Vec<u8>);

/// TLS as a listener serves it.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    shown: Arc<Shown>,
    acceptor: TlsAcceptor,
    /// The files as they were read last, also where what they held was refused.
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Shown(RwLock<Pair>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().shown.clone())
    }
}

impl Tls {
    /// Reads certificate and key, which must be in their time.
    pub fn open(certificate: &Path, key: &Path, now: Timestamp) -> Result<Tls, Fault> {
        let seen = (bytes(certificate)?, bytes(key)?);
        let pair = Pair::parse(certificate, &seen.0, key, &seen.1)?;
        pair.check_time(now)?;
        let shown = Arc::new(Shown(RwLock::new(pair)));
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Fault::Setup(error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Tls {
            certificate: certificate.into(),
            key: key.into(),
            shown,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            seen: Mutex::new(seen),
        })
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// The certificate that new connections get.
    pub fn pair(&self) -> Pair {
        self.shown.0.read().clone()
    }

    /// Takes up files that have changed; true where new connections get another certificate now.
    /// One that cannot be served is told once, and the one before it stays.
    pub fn reload(&self, now: Timestamp) -> Result<bool, Fault> {
        let found = (bytes(&self.certificate)?, bytes(&self.key)?);
        let mut seen = self.seen.lock();
        if *seen == found {
            return Ok(false);
        }
        *seen = found;
        let pair = Pair::parse(&self.certificate, &seen.0, &self.key, &seen.1)?;
        pair.check_time(now)?;
        *self.shown.0.write() = pair;
        Ok(true)
    }
}
