//! Secrets at rest: sealed with a key made from the master key, so that whoever reads the database
//! or a backup reads none of them.
//!
//! A sealed secret is one byte for the form, a random nonce of 12 bytes, and the text under
//! ChaCha20-Poly1305. What it is for is sealed along and has to be named to open it.

use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;

use crate::{Error, Hub, Result};

const FORM: u8 = 1;

/// A key of its own for one purpose, from the master key.
pub(crate) fn derived(master_key: &[u8; 32], purpose: &str) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(master_key)
        .expect("HMAC takes a key of any length");
    mac.update(purpose.as_bytes());
    mac.finalize().into_bytes().into()
}

fn key(master_key: &[u8; 32]) -> Result<LessSafeKey> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, &derived(master_key, "sealed secrets"))
        .map_err(|_| Error::Internal("make a key".to_owned()))?;
    Ok(LessSafeKey::new(key))
}

fn seal(master_key: &[u8; 32], purpose: &str, secret: &[u8]) -> Result<Vec<u8>> {
    let mut nonce = [0; NONCE_LEN];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut nonce);
    let mut text = secret.to_vec();
    let tag = key(master_key)?
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(purpose.as_bytes()),
            &mut text,
        )
        .map_err(|_| Error::Internal("seal a secret".to_owned()))?;
    let mut sealed = vec![FORM];
    sealed.extend(nonce);
    sealed.extend(text);
    sealed.extend(tag.as_ref());
    Ok(sealed)
}

fn unseal(master_key: &[u8; 32], purpose: &str, sealed: &[u8]) -> Result<Vec<u8>> {
    let wrong = || {
        let text = "a sealed secret does not open; was it sealed under another master key?";
        Error::Internal(text.to_owned())
    };
    let (form, rest) = sealed.split_first().ok_or_else(wrong)?;
    let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or_else(wrong)?;
    if *form != FORM {
        return Err(wrong());
    }
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong())?;
    let mut text = text.to_vec();
    let opened = key(master_key)?
        .open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut text)
        .map_err(|_| wrong())?;
    Ok(opened.to_vec())
}

impl Hub {
    /// Seals a secret; only the same purpose opens it.
    pub(crate) fn seal(&self, purpose: &str, secret: &[u8]) -> Result<Vec<u8>> {
        seal(&self.settings.master_key, purpose, secret)
    }

    /// Opens a sealed secret.
    pub(crate) fn unseal(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        unseal(&self.settings.master_key, purpose, sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_for_its_purpose_and_key_alone() {
        let sealed = seal(&[7; 32], "totp ann", b"secret").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(unseal(&[7; 32], "totp ann", &sealed).unwrap(), b"secret");
        assert_ne!(sealed, seal(&[7; 32], "totp ann", b"secret").unwrap());
        let mut bent = sealed.clone();
        bent[15] ^= 1;
        for (key, purpose, sealed) in [
            (8, "totp ann", &sealed[..]),
            (7, "totp bob", &sealed),
            (7, "totp ann", &bent),
            (7, "totp ann", &sealed[..10]),
            (7, "totp ann", &[]),
        ] {
            assert!(unseal(&[key; 32], purpose, sealed).is_err(), "{key} {purpose}");
        }
    }
}
