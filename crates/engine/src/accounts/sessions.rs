//! Sessions of signed-in people: a secret in the browser, its hash here.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tidings_domain::UserId;
use tidings_store::system::{UserRow, WorkspaceRow};

use super::{Access, checked_mail, random, sha256, totp, users};
use crate::{Error, Hub, Result, audit};

/// A session ends after so long without a call …
const IDLE_SECS: i64 = 8 * 3_600;
/// … and so long after the sign-in in any case.
const MAX_SECS: i64 = 7 * 24 * 3_600;
/// A call is written down at most this often.
const TOUCH_SECS: i64 = 60;

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// What the browser keeps; only there after a sign-in.
    pub secret: Option<String>,
    /// What every call that changes something must repeat.
    pub csrf: String,
    pub user: UserId,
    pub mail: String,
    pub name: String,
    /// Whether they sign in with a code beside the password.
    pub totp: bool,
    pub workspaces: Vec<(WorkspaceRow, Access)>,
}

/// Signs somebody in. A wrong password and an unknown address get the same answer in the same
/// time; too many of them make the account and the address wait, and so do wrong codes. Somebody
/// with a second factor needs its code, or a recovery code, as well.
pub async fn sign_in(
    hub: &Arc<Hub>,
    mail: &str,
    password: String,
    code: Option<&str>,
    address: &str,
) -> Result<SignedIn> {
    let mail = checked_mail(mail).unwrap_or_else(|_| "nobody".to_owned());
    hub.accounts.attempts.begin(&mail, address, hub.now()).map_err(Error::Limited)?;
    let user = hub.store.system.user_by_mail(&mail).await?;
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let right = hub.accounts.passwords.verify(password, hash).await?;
    let Some(user) = user.filter(|_| right) else { return Err(Error::Unauthenticated) };
    if user.totp {
        totp::check(hub, user.id, code).await?;
    }
    hub.accounts.attempts.succeeded(&mail, address);
    let signed_in = create_session(hub, &user).await?;
    audit::record_for(hub, user.id, "session.create").await;
    Ok(signed_in)
}

/// Makes a session for somebody who proved who they are. Its secret is always a new one.
pub async fn create_session(hub: &Arc<Hub>, user: &UserRow) -> Result<SignedIn> {
    let secret = URL_SAFE_NO_PAD.encode(random::<32>());
    let csrf = URL_SAFE_NO_PAD.encode(random::<24>());
    let now = hub.now();
    let hash = sha256(&secret).to_vec();
    hub.store.system.add_session(hash, user.id, &csrf, now, now.plus_secs(MAX_SECS)).await?;
    signed_in(hub, user, Some(secret), csrf).await
}

/// The session of a secret, or `Unauthenticated`.
pub async fn session(hub: &Arc<Hub>, secret: &str) -> Result<SignedIn> {
    let hash = sha256(secret).to_vec();
    let found = hub.store.system.session_by_hash(hash.clone()).await?;
    let Some(row) = found else { return Err(Error::Unauthenticated) };
    let now = hub.now();
    if now >= row.expires_at || now >= row.seen_at.plus_secs(IDLE_SECS) {
        hub.store.system.drop_session(hash).await?;
        return Err(Error::Unauthenticated);
    }
    if now >= row.seen_at.plus_secs(TOUCH_SECS) {
        hub.store.system.touch_session(hash, now).await?;
    }
    let user = hub.store.system.user(row.user).await?.ok_or(Error::Unauthenticated)?;
    signed_in(hub, &user, None, row.csrf).await
}

/// Ends a session; the secret is worth nothing afterwards.
pub async fn sign_out(hub: &Arc<Hub>, secret: &str) -> Result<()> {
    Ok(hub.store.system.drop_session(sha256(secret).to_vec()).await?)
}

async fn signed_in(
    hub: &Arc<Hub>,
    user: &UserRow,
    secret: Option<String>,
    csrf: String,
) -> Result<SignedIn> {
    let roles = hub.store.system.roles_of(user.id).await?;
    let workspaces = roles
        .into_iter()
        .map(|(workspace, role)| Ok((workspace, users::access(&role)?)))
        .collect::<Result<_>>()?;
    Ok(SignedIn {
        secret,
        csrf,
        user: user.id,
        mail: user.mail.clone(),
        name: user.name.clone(),
        totp: user.totp,
        workspaces,
    })
}
