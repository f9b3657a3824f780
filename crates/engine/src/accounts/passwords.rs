//! Passwords: Argon2id, off the threads that serve requests and few at once.

use std::sync::{Arc, OnceLock};

use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::{Error, Fault, Result};

/// How many passwords are hashed at once: each takes 19 MB and a core.
const AT_ONCE: usize = 2;
const MIN_CHARS: usize = 8;
const MAX_BYTES: usize = 1_024;

pub(super) struct Passwords {
    free: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Passwords {
        Passwords { free: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

/// Refuses what is too short to be a password or too long to be typed.
pub(super) fn checked(password: &str) -> Result<()> {
    if password.chars().count() < MIN_CHARS || password.len() > MAX_BYTES {
        let message = format!("expected a password of {MIN_CHARS} to {MAX_BYTES} characters");
        return Err(Error::Invalid(vec![Fault::new("password", "invalid_password", message)]));
    }
    Ok(())
}

fn hashed(password: &str) -> Result<String> {
    let hash: PasswordHash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|error| Error::Internal(format!("hash a password: {error}")))?;
    Ok(hash.to_string())
}

/// What an unknown user's password is compared with, so that the answer takes as long.
fn nobodys_hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| hashed("nobody has this password").unwrap_or_default())
}

fn matches(password: &str, hash: Option<&str>) -> bool {
    let known = hash.is_some();
    let Ok(parsed) = PasswordHash::new(hash.unwrap_or_else(|| nobodys_hash())) else {
        return false;
    };
    Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok() && known
}

impl Passwords {
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let gone = |_| Error::Unavailable("the hub is stopping".to_owned());
        let permit = self.free.clone().acquire_owned().await.map_err(gone)?;
        tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        })
        .await
        .map_err(|error| Error::Internal(format!("hash a password: {error}")))
    }

    pub(super) async fn hash(&self, password: String) -> Result<String> {
        self.run(move || hashed(&password)).await?
    }

    /// Whether the password is right; `None` where there is no such user, which takes as long.
    pub(super) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool> {
        if password.len() > MAX_BYTES {
            return Ok(false);
        }
        self.run(move || matches(&password, hash.as_deref())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_matches_its_own_hash_only() {
        let hash = hashed("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(matches("correct horse", Some(&hash)));
        assert!(!matches("wrong horse", Some(&hash)));
        assert!(!matches("correct horse", Some("not a hash")));
        assert!(!matches("nobody has this password", None));
    }
}
