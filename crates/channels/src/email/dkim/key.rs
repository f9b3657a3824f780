//! Keys: made, read, and published as a DNS record.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};

use super::{DkimError, rsa};

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA with 2048 bits, which every receiver can verify.
    Rsa,
    /// Ed25519: twenty times faster, and not yet verified everywhere.
    Ed25519,
}

impl Algorithm {
    pub const ALL: [Algorithm; 2] = [Algorithm::Rsa, Algorithm::Ed25519];

    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Rsa => "rsa",
            Algorithm::Ed25519 => "ed25519",
        }
    }

    pub fn parse(text: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == text)
    }

    /// The value of the signature's `a=`.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Algorithm::Rsa => "rsa-sha256",
            Algorithm::Ed25519 => "ed25519-sha256",
        }
    }
}

/// A key that was just made. `Debug` shows nothing of the private half.
pub struct NewKey {
    /// The private half as DER; to be kept sealed.
    pub private: Vec<u8>,
    /// The public half as the DNS record carries it.
    pub public: Vec<u8>,
}

impl NewKey {
    /// Makes a key. RSA takes from tenths of a second to seconds; not for an async thread.
    pub fn generate(algorithm: Algorithm) -> Result<NewKey, DkimError> {
        match algorithm {
            Algorithm::Rsa => rsa::generate(),
            Algorithm::Ed25519 => {
                let failed = |_| DkimError::Generate("no random numbers");
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(failed)?;
                let private = pkcs8.as_ref().to_vec();
                let pair = Ed25519KeyPair::from_pkcs8(&private).map_err(|_| DkimError::Key)?;
                Ok(NewKey { private, public: pair.public_key().as_ref().to_vec() })
            }
        }
    }
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKey").field("public_bytes", &self.public.len()).finish_non_exhaustive()
    }
}

/// The text of the DNS record that publishes a key.
pub fn record(algorithm: Algorithm, public: &[u8]) -> String {
    format!("v=DKIM1; k={}; p={}", algorithm.name(), STANDARD.encode(public))
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

/// A key ready to sign.
pub struct Key {
    domain: String,
    selector: String,
    pair: Pair,
}

impl Key {
    /// Reads the private half as [`NewKey`] gives it. `domain` and `selector` are ASCII names.
    pub fn read(
        domain: &str,
        selector: &str,
        algorithm: Algorithm,
        private: &[u8],
    ) -> Result<Key, DkimError> {
        let is_name = |text: &str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            !text.is_empty() && text.bytes().all(known)
        };
        if !is_name(domain) || !is_name(selector) {
            return Err(DkimError::Key);
        }
        let pair = match algorithm {
            Algorithm::Rsa => {
                let pair = RsaKeyPair::from_der(private).map_err(|_| DkimError::Key)?;
                Pair::Rsa(Box::new(pair))
            }
            Algorithm::Ed25519 => {
                Pair::Ed25519(Ed25519KeyPair::from_pkcs8(private).map_err(|_| DkimError::Key)?)
            }
        };
        Ok(Key { domain: domain.to_owned(), selector: selector.to_owned(), pair })
    }

    pub fn domain(&self) -> &str {
        &self.domain
    }

    pub fn selector(&self) -> &str {
        &self.selector
    }

    pub fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Rsa(_) => Algorithm::Rsa,
            Pair::Ed25519(_) => Algorithm::Ed25519,
        }
    }

    /// The signature of canonical data.
    pub(super) fn sign(&self, data: &[u8]) -> Result<Vec<u8>, DkimError> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), data, &mut signature)
                    .map_err(|_| DkimError::Sign)?;
                Ok(signature)
            }
            // RFC 8463 section 3: what is signed is the hash.
            Pair::Ed25519(pair) => {
                let hash = ring::digest::digest(&ring::digest::SHA256, data);
                Ok(pair.sign(hash.as_ref()).as_ref().to_vec())
            }
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("domain", &self.domain)
            .field("selector", &self.selector)
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_keys_are_read_and_show_nothing() {
        for algorithm in Algorithm::ALL {
            let made = NewKey::generate(algorithm).expect("a key");
            let key = Key::read("shop.example", "s1", algorithm, &made.private).expect("readable");
            assert_eq!(key.algorithm(), algorithm);
            assert!(format!("{key:?} {made:?}").len() < 200, "names and sizes, no key");
            let other = Algorithm::ALL.into_iter().find(|other| *other != algorithm).unwrap();
            let wrong = Key::read("shop.example", "s1", other, &made.private);
            assert_eq!(wrong.err(), Some(DkimError::Key));
            for (domain, selector) in
                [("", "s"), ("d", ""), ("d;x", "s"), ("d", "s\r\nx"), ("ü", "s")]
            {
                let refused = Key::read(domain, selector, algorithm, &made.private);
                assert_eq!(refused.err(), Some(DkimError::Key), "{domain} {selector}");
            }
        }
    }

    #[test]
    fn records_name_the_algorithm() {
        assert_eq!(record(Algorithm::Ed25519, &[1, 2, 3]), "v=DKIM1; k=ed25519; p=AQID");
        assert_eq!(record(Algorithm::Rsa, &[1, 2, 3]), "v=DKIM1; k=rsa; p=AQID");
    }
}
