//! Secrets at rest: sealed with a key made from the master key, and bound to what they are for and
//! where they belong, so that a sealed secret put into another row or workspace opens nothing.
//!
//! While the master key is rotated there are two: the first of the ring seals, all of them open.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use parking_lot::RwLock;
use uuid::Uuid;

use crate::keys::{KeyId, KeyRing, MasterKey};
use crate::links::hmac;
use crate::{Error, Result};

/// Version, the key's id, the nonce; then what was sealed.
const VERSION: u8 = 1;
const KEY_ID: usize = 4;
const NONCE: usize = 24;

/// Seals and opens secrets. `Debug` is left out on purpose.
pub struct Sealer {
    /// The first one seals.
    keys: RwLock<Vec<(KeyId, XChaCha20Poly1305)>>,
}

fn cipher(key: &MasterKey) -> (KeyId, XChaCha20Poly1305) {
    (key.id(), XChaCha20Poly1305::new(&hmac(key.bytes(), b"secrets").into()))
}

impl Sealer {
    pub fn new(ring: &KeyRing) -> Sealer {
        let keys = ring.keys().iter().map(cipher).collect();
        Sealer { keys: RwLock::new(keys) }
    }

    /// Goes on with another ring.
    pub fn turn_to(&self, ring: &KeyRing) {
        *self.keys.write() = ring.keys().iter().map(cipher).collect();
    }

    /// The id of the key that seals.
    pub fn id(&self) -> KeyId {
        self.keys.read()[0].0
    }

    /// Seals a secret of an owner, a workspace or a user, for a purpose, such as
    /// `dkim shop.example s1`.
    pub fn seal(&self, owner: Uuid, purpose: &str, secret: &[u8]) -> Result<Vec<u8>> {
        let nonce: [u8; NONCE] = rand::random();
        let aad = bound_to(owner, purpose);
        let keys = self.keys.read();
        let (id, cipher) = &keys[0];
        let sealed = cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: secret, aad: &aad })
            .map_err(|_| Error::Internal("seal a secret".to_owned()))?;
        Ok([&[VERSION][..], &id.0, &nonce, &sealed].concat())
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
        let keys = self.keys.read();
        let Some((_, cipher)) = keys.iter().find(|(id, _)| head[1..=KEY_ID] == id.0) else {
            return Err(broken("it was sealed with another master key"));
        };
        let nonce =
            <[u8; NONCE]>::try_from(&head[1 + KEY_ID..]).map_err(|_| broken("its nonce"))?;
        let aad = bound_to(owner, purpose);
        cipher
            .decrypt(&XNonce::from(nonce), Payload { msg: text, aad: &aad })
            .map_err(|_| broken("it was changed, or belongs elsewhere"))
    }
}

/// The key that a secret was sealed with, as it says itself.
pub fn key_of(sealed: &[u8]) -> Option<KeyId> {
    let id = sealed.get(1..=KEY_ID)?;
    Some(KeyId([id[0], id[1], id[2], id[3]]))
}

fn bound_to(owner: Uuid, purpose: &str) -> Vec<u8> {
    [owner.as_bytes(), purpose.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(keys: &[u8]) -> Sealer {
        Sealer::new(&KeyRing::of(keys.iter().map(|key| MasterKey::new([*key; 32])).collect()))
    }

    #[test]
    fn a_secret_opens_for_its_owner_purpose_and_key_alone() {
        let (ann, bob) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let seven = sealer(&[7]);
        let sealed = seven.seal(ann, "totp", b"secret").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(seven.open(ann, "totp", &sealed).unwrap(), b"secret");
        assert_ne!(sealed, seven.seal(ann, "totp", b"secret").unwrap());
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
            let opened = sealer(&[key]).open(owner, purpose, sealed);
            assert!(opened.is_err(), "{key} {owner} {purpose}");
        }
    }

    #[test]
    fn every_key_of_the_ring_opens_and_the_first_one_seals() {
        let ann = Uuid::from_u128(1);
        let sealed = sealer(&[7]).seal(ann, "totp", b"secret").unwrap();
        let both = sealer(&[8, 7]);
        assert_eq!(both.open(ann, "totp", &sealed).unwrap(), b"secret");
        let again = both.seal(ann, "totp", b"secret").unwrap();
        assert_eq!(key_of(&again), Some(both.id()));
        assert!(sealer(&[7]).open(ann, "totp", &again).is_err());
        both.turn_to(&KeyRing::of(vec![MasterKey::new([8; 32])]));
        assert!(both.open(ann, "totp", &sealed).is_err());
        assert_eq!(both.open(ann, "totp", &again).unwrap(), b"secret");
    }
}
