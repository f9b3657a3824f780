//! API tokens: `tdg_` and 40 letters and digits, kept as a hash, shown once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_domain::schema::checked_name;
use tidings_domain::{TokenId, WorkspaceId};
use tidings_store::system::TokenRow;

use super::{Caller, Scope, random_text, scopes, sha256, workspace_id};
use crate::{Ctx, Error, Hub, Result, audit};

const PREFIX: &str = "tdg_";
const SECRET_CHARS: usize = 40;
/// How long a look-up is trusted; a token revoked by another node works no longer than that.
const TRUST: Duration = Duration::from_secs(3);
/// Look-ups kept; strangers may try any number of wrong ones.
const MAX_KEPT: usize = 4_096;
/// A use is written down at most this often.
const TOUCH_SECS: i64 = 60;

/// A token that was just made.
#[derive(Clone, Debug)]
pub struct NewToken {
    pub row: TokenRow,
    /// The only time that it is seen.
    pub secret: String,
}

/// Makes a token. It needs at least one scope, because one without any could do nothing.
pub async fn create_token(ctx: &Ctx, name: &str, scopes: &[String]) -> Result<NewToken> {
    if let Err(expected) = checked_name(name) {
        return Err(Error::invalid("name", expected));
    }
    let kept = scopes::checked(scopes)?;
    let secret = format!("{PREFIX}{}", random_text(SECRET_CHARS));
    let row = TokenRow {
        id: TokenId::generate(),
        workspace: workspace_id(ctx),
        name: name.to_owned(),
        scopes: kept,
        created_at: ctx.now(),
        last_used_at: None,
    };
    let detail = row.scopes.join(" ");
    let hash = sha256(&secret).to_vec();
    let adding = async { Ok(ctx.hub.store.system.add_token(&row, hash).await?) };
    audit::recorded(ctx, "tokens.create", &row.id.to_string(), &detail, adding).await?;
    Ok(NewToken { row, secret })
}

/// The tokens of a workspace, oldest first.
pub async fn tokens(ctx: &Ctx) -> Result<Vec<TokenRow>> {
    Ok(ctx.hub.store.system.tokens_of(workspace_id(ctx)).await?)
}

/// Revokes a token; on this node at once.
pub async fn revoke_token(ctx: &Ctx, id: TokenId) -> Result<()> {
    let not_found = || Error::NotFound(format!("token {id}"));
    if !tokens(ctx).await?.iter().any(|row| row.id == id) {
        return Err(not_found());
    }
    let dropping = async {
        let dropped = ctx.hub.store.system.drop_token(id, workspace_id(ctx)).await?;
        ctx.hub.accounts.tokens.lock().clear();
        if dropped { Ok(()) } else { Err(not_found()) }
    };
    audit::recorded(ctx, "tokens.delete", &id.to_string(), "", dropping).await
}

/// Who a token stands for, and in which workspace.
///
/// Tokens are found by their SHA-256, so the time a look-up takes says nothing about the secret.
pub async fn authenticate_token(hub: &Arc<Hub>, secret: &str) -> Result<(Caller, WorkspaceId)> {
    let well_formed = secret.len() == PREFIX.len() + SECRET_CHARS && secret.starts_with(PREFIX);
    if !well_formed {
        return Err(Error::Unauthenticated);
    }
    let hash = sha256(secret);
    let kept = hub.accounts.tokens.lock().get(&hash).cloned();
    let row = match kept {
        Some((read_at, row)) if read_at.elapsed() < TRUST => row,
        _ => {
            let row = hub.store.system.token_by_hash(hash.to_vec()).await?;
            let mut tokens = hub.accounts.tokens.lock();
            if tokens.len() >= MAX_KEPT {
                tokens.clear();
            }
            tokens.insert(hash, (Instant::now(), row.clone()));
            row
        }
    };
    let row = row.ok_or(Error::Unauthenticated)?;
    note_use(hub, &row);
    let scopes = row.scopes.iter().filter_map(|scope| Scope::parse(scope)).collect();
    Ok((Caller::Token { id: row.id, scopes }, row.workspace))
}

/// Writes a use down, beside the request: an answer does not wait for it.
fn note_use(hub: &Arc<Hub>, row: &TokenRow) {
    let now = hub.now();
    {
        let mut touched = hub.accounts.touched.lock();
        let last = touched.get(&row.id).copied().or(row.last_used_at);
        if last.is_some_and(|last| now < last.plus_secs(TOUCH_SECS)) {
            return;
        }
        if touched.len() >= MAX_KEPT {
            touched.clear();
        }
        touched.insert(row.id, now);
    }
    let (hub, id) = (hub.clone(), row.id);
    tokio::spawn(async move {
        if let Err(error) = hub.store.system.touch_token(id, now).await {
            tracing::warn!(%error, token = %id, "write down a token's last use");
        }
    });
}
