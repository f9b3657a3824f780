//! Secrets at rest: sealed with a key made from the master key, and bound to what they are for and
//! where they belong, so that a sealed secret put into another row or workspace opens nothing.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use crate::links::hmac;
use crate::{Error, Result};
use uuid::Uuid;

/// Version, the key's id, the nonce; then what was sealed.
const VERSION: u8 = 1;
const KEY_ID: usize = 4;
const NONCE: usize = 24;

/// Seals and opens secrets. `Debug` is left out on purpose.
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    key_id: [u8; KEY_ID],
}

impl Sealer {
    pub fn new(master_key: &[u8; 32]) -> Sealer {
        let [a, b, c, d, ..] = hmac(master_key, b"id of the key of secrets");
        Sealer {
            cipher: XChaCha20Poly1305::new(&hmac(master_key, b"secrets").into()),
            key_id: [a, b, c, d],
        }
    }

    /// Seals a secret of an owner, a workspace or a user, for a purpose, such as
    /// `dkim shop.example s1`.
    pub fn seal(&self, owner: Uuid, purpose: &str, secret: &[u8]) -> Result<Vec<u8>> {
        let nonce: [u8; NONCE] = rand::random();
        let aad = bound_to(owner, purpose);
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: secret, aad: &aad })
            .map_err(|_| Error::Internal("seal a secret".to_owned()))?;
        Ok([&[VERSION][..], &self.key_id, &nonce, &sealed].concat())
    }

    /// Opens what was sealed for the same purpose and owner.
    pub fn open(&self, owner: Uuid, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let broken = |why: &str| Error::Internal(format!("open the secret of {purpose}: {why}"));
        let Some((head, text)) = sealed.split_at_checked(1 + KEY_ID + NONCE) else {
            return Err(broken("it is cut off"));
        };
        if head[0] != VERSION {
            return Err(broken("it is of an unknown version"));
        }
        if head[1..=KEY_ID] != self.key_id {
            return Err(broken("it was sealed with another master key"));
        }
        let nonce =
            <[u8; NONCE]>::try_from(&head[1 + KEY_ID..]).map_err(|_| broken("its nonce"))?;
        let aad = bound_to(owner, purpose);
        self.cipher
            .decrypt(&XNonce::from(nonce), Payload { msg: text, aad: &aad })
            .map_err(|_| broken("it was changed, or belongs elsewhere"))
    }
}

fn bound_to(owner: Uuid, purpose: &str) -> Vec<u8> {
    [owner.as_bytes(), purpose.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_for_its_owner_purpose_and_key_alone() {
        let (ann, bob) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let sealer = Sealer::new(&[7; 32]);
        let sealed = sealer.seal(ann, "totp", b"secret").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(sealer.open(ann, "totp", &sealed).unwrap(), b"secret");
        assert_ne!(sealed, sealer.seal(ann, "totp", b"secret").unwrap());
        let mut bent = sealed.clone();
        bent[35] ^= 1;
        for (key, owner, purpose, sealed) in [
            (8, ann, "totp", &sealed[..]),
            (7, bob, "totp", &sealed),
            (7, ann, "dkim", &sealed),
            (7, ann, "totp", &bent),
            (7, ann, "totp", &sealed[..10]),
            (7, ann, "totp", &[]),
        ] {
            let opened = Sealer::new(&[key; 32]).open(owner, purpose, sealed);
            assert!(opened.is_err(), "{key} {owner} {purpose}");
        }
    }
}
