//! Who may do what: people with passwords and sessions, programs with tokens.
//!
//! A caller is one or the other, in one workspace. What a use case asks for is a [`Need`]: a scope
//! that a token must carry, and a role that a person must have. This module knows no protocol; it
//! is given the token or the session's secret and the address it came from.

mod attempts;
mod passwords;
mod sessions;
mod tokens;
mod users;

use std::collections::HashMap;
use std::time::Instant;

use parking_lot::Mutex;
use tidings_domain::{Timestamp, TokenId, UserId};
use tidings_store::system::TokenRow;

use crate::{Ctx, Error, Result};

pub use sessions::{SignedIn, create_session, session, sign_in, sign_out};
pub use tokens::{NewToken, authenticate_token, create_token, revoke_token, tokens};
pub use users::{DEMO_MAIL, NewUser, UserInfo, create_user, ensure_demo_user, remove_user, users};

/// What a person may do in a workspace; each role may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Look at everything.
    Viewer,
    /// Change everything but people, tokens and the removal of attributes.
    Editor,
    Admin,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Editor => "editor",
            Role::Admin => "admin",
        }
    }

    pub fn parse(text: &str) -> Option<Role> {
        [Role::Viewer, Role::Editor, Role::Admin].into_iter().find(|role| role.name() == text)
    }
}

macro_rules! scopes {
    ($($(#[$doc:meta])* $variant:ident $name:literal),* $(,)?) => {
        /// What a token may do. `admin` includes all the others.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Scope { $($(#[$doc])* $variant),* }

        impl Scope {
            pub const ALL: &'static [Scope] = &[$(Scope::$variant),*];

            pub const fn name(self) -> &'static str {
                match self { $(Scope::$variant => $name),* }
            }

            pub fn parse(text: &str) -> Option<Scope> {
                match text { $($name => Some(Scope::$variant),)* _ => None }
            }
        }
    };
}

scopes! {
    /// Read customers, their events and records, and the schema.
    CustomersRead "customers:read",
    /// Write customers, events, records, marks and suppressions, and add to the schema.
    CustomersWrite "customers:write",
    Imports "imports",
    Segments "segments",
    Templates "templates",
    Campaigns "campaigns",
    Mailbox "mailbox",
    /// People, tokens, and the removal of attributes.
    Admin "admin",
}

/// What a use case asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    pub scope: Scope,
    pub role: Role,
}

/// Somebody who proved who they are, in one workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    Token { id: TokenId, scopes: Vec<Scope> },
    User { id: UserId, mail: String, role: Role },
}

impl Caller {
    /// A text that stays the same for this caller and differs from every other's.
    pub fn key(&self) -> String {
        match self {
            Caller::Token { id, .. } => format!("token {id}"),
            Caller::User { id, .. } => format!("user {id}"),
        }
    }

    /// Whether the caller may do what is asked.
    pub fn authorise(&self, need: Need) -> Result<()> {
        match self {
            Caller::Token { scopes, .. }
                if scopes.contains(&need.scope) || scopes.contains(&Scope::Admin) =>
            {
                Ok(())
            }
            Caller::User { role, .. } if *role >= need.role => Ok(()),
            Caller::Token { .. } => {
                Err(Error::Forbidden(format!("this token lacks the scope {}", need.scope.name())))
            }
            Caller::User { .. } => {
                Err(Error::Forbidden(format!("this needs the role {}", need.role.name())))
            }
        }
    }
}

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
    fn tokens_need_the_scope_and_people_the_role() {
        let token =
            |scopes: &[Scope]| Caller::Token { id: TokenId::generate(), scopes: scopes.to_vec() };
        let user = |role| Caller::User { id: UserId::generate(), mail: String::new(), role };
        let write = Need { scope: Scope::CustomersWrite, role: Role::Editor };
        for (caller, allowed) in [
            (token(&[]), false),
            (token(&[Scope::CustomersRead, Scope::Imports]), false),
            (token(&[Scope::CustomersWrite]), true),
            (token(&[Scope::Admin]), true),
            (user(Role::Viewer), false),
            (user(Role::Editor), true),
            (user(Role::Admin), true),
        ] {
            assert_eq!(caller.authorise(write).is_ok(), allowed, "{caller:?}");
        }
    }

    #[test]
    fn every_scope_is_read_by_its_name() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.name()), Some(*scope));
        }
        assert_eq!(Scope::parse("everything"), None);
    }

    #[test]
    fn secrets_have_the_length_and_differ() {
        let (one, two) = (random_text(40), random_text(40));
        assert_eq!((one.len(), two.len()), (40, 40));
        assert_ne!(one, two);
    }
}
