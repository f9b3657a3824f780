//! Who may do what: people with passwords and sessions, programs with tokens.
//!
//! A caller is one or the other, in one workspace. What a use case asks for is a [`Need`]: a scope
//! that a token must carry, and a role that a person must have. This module knows no protocol; it
//! is given the token or the session's secret and the address it came from.

mod attempts;
mod passwords;
mod roles;
mod scopes;
mod sessions;
mod tokens;
pub mod totp;
mod users;

use std::collections::HashMap;
use std::time::Instant;

use parking_lot::Mutex;
use tidings_domain::{Timestamp, TokenId};
use tidings_store::system::TokenRow;

use crate::{Ctx, Error, Result};

pub use roles::{OwnRole, put_role, remove_role, roles};
pub use scopes::{Access, Caller, Need, Role, Scope};
pub use sessions::{SignedIn, create_session, session, sign_in, sign_out};
pub use tokens::{NewToken, authenticate_token, create_token, revoke_token, tokens};
pub use users::{
    DEMO_MAIL, NewUser, UserInfo, change_user, create_user, ensure_demo_user, remove_user,
    require_totp, users,
};

/// Looked-up tokens by their hash, with when they were; `None` for one that does not exist.
type KnownTokens = HashMap<[u8; 32], (Instant, Option<TokenRow>)>;

/// What the hub remembers of accounts between calls.
pub struct Accounts {
    /// Tokens by hash, as they stood a few seconds ago at most.
    tokens: Mutex<KnownTokens>,
    /// When the last use of a token was written down.
    touched: Mutex<HashMap<TokenId, Timestamp>>,
    attempts: attempts::Attempts,
    passwords: passwords::Passwords,
}

impl Default for Accounts {
    fn default() -> Accounts {
        Accounts {
            tokens: Mutex::new(HashMap::new()),
            touched: Mutex::new(HashMap::new()),
            attempts: attempts::Attempts::default(),
            passwords: passwords::Passwords::default(),
        }
    }
}

/// A secret of `N` random bytes.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut bytes);
    bytes
}

/// A secret of so many letters and digits, about 5.95 bits each.
fn random_text(length: usize) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = String::with_capacity(length);
    while text.len() < length {
        for byte in random::<64>() {
            // The last eight values would favour the first letters, so they are thrown away.
            if byte < 248 && text.len() < length {
                text.push(char::from(ALPHABET[usize::from(byte % 62)]));
            }
        }
    }
    text
}

fn sha256(text: &str) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(text.as_bytes()).into()
}

/// The address of a person, normalised.
fn checked_mail(mail: &str) -> Result<String> {
    tidings_domain::checked::email(mail).map_err(|expected| {
        Error::Invalid(vec![crate::Fault::new("mail", "invalid_email", expected)])
    })
}

fn workspace_id(ctx: &Ctx) -> tidings_domain::WorkspaceId {
    ctx.workspace.row.id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_the_length_and_differ() {
        let (one, two) = (random_text(40), random_text(40));
        assert_eq!((one.len(), two.len()), (40, 40));
        assert_ne!(one, two);
    }
}
