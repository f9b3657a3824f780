//! Secrets at rest: sealed with a key made from the master key, and bound to what they are for and
//! where they belong, so that a sealed secret put into another row or workspace opens nothing.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use crate::links::hmac;
use crate::{Ctx, Error, Result};

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

    /// Seals a secret for a purpose, such as `dkim shop.example s1`, in a workspace.
    pub fn seal(&self, ctx: &Ctx, purpose: &str, secret: &[u8]) -> Result<Vec<u8>> {
        let nonce: [u8; NONCE] = rand::random();
        let aad = bound_to(ctx, purpose);
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: secret, aad: &aad })
            .map_err(|_| Error::Internal("seal a secret".to_owned()))?;
        Ok([&[VERSION][..], &self.key_id, &nonce, &sealed].concat())
    }

    /// Opens what was sealed for the same purpose in the same workspace.
    pub fn open(&self, ctx: &Ctx, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>> {
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
        let aad = bound_to(ctx, purpose);
        self.cipher
            .decrypt(&XNonce::from(nonce), Payload { msg: text, aad: &aad })
            .map_err(|_| broken("it was changed, or belongs elsewhere"))
    }
}

fn bound_to(ctx: &Ctx, purpose: &str) -> Vec<u8> {
    [ctx.workspace.row.id.0.as_bytes(), purpose.as_bytes()].concat()
}
