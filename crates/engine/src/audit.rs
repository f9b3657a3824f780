//! Who did what to which thing, when: the audit log of a workspace.
//!
//! What changes the workspace's own database writes its entry in the same transaction (see
//! `tidings_store::audit`). People, roles and tokens live in another database; of these the entry
//! is written first, so that nothing is done without one, and a second one says where it failed.
//!
//! The stream of data that programs send, customers, events and records, is left out: it is on each
//! customer's own timeline, and would bury what people do.

use std::sync::Arc;

use tidings_domain::UserId;
use tidings_store::audit::NewEntry;
pub use tidings_store::audit::{Act, Actor, ActorKind, Checked, Entry, Wanted, about, is_acting};

use crate::accounts::Caller;
use crate::customers::Page;
use crate::links::hmac;
use crate::{Ctx, Hub, Result};

/// The key that the entries of a workspace are sealed with.
fn key(ctx: &Ctx) -> [u8; 32] {
    hmac(&ctx.hub.settings.master_key, format!("audit {}", ctx.workspace.row.id).as_bytes())
}

fn entry(ctx: &Ctx, action: &str, thing: &str, detail: &str) -> NewEntry {
    let command = || Actor { kind: ActorKind::Command, id: None };
    NewEntry {
        at: ctx.now(),
        actor: tidings_store::audit::actor().unwrap_or_else(command),
        action: action.to_owned(),
        thing: thing.to_owned(),
        detail: detail.to_owned(),
    }
}

/// What a caller is about to do. Run the work by it; the work's first transaction writes the entry.
/// `thing` may be empty, and is then the id of what the work makes.
pub fn act(ctx: &Ctx, caller: &Caller, action: &str, thing: &str) -> Arc<Act> {
    let actor = match caller {
        Caller::User { id, .. } => Actor { kind: ActorKind::User, id: Some(id.0) },
        Caller::Token { id, .. } => Actor { kind: ActorKind::Token, id: Some(id.0) },
    };
    Act::new(key(ctx), NewEntry { actor, ..entry(ctx, action, thing, "") })
}

/// The same for whoever runs a command.
pub fn act_by_command(ctx: &Ctx, action: &str) -> Arc<Act> {
    Act::new(key(ctx), entry(ctx, action, "", ""))
}

/// Does what changes another database than the workspace's, and writes it down.
pub(crate) async fn recorded<T>(
    ctx: &Ctx,
    action: &str,
    thing: &str,
    detail: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    ctx.workspace.add_audit_entry(key(ctx), entry(ctx, action, thing, detail)).await?;
    let done = work.await;
    if done.is_err() {
        let failed = entry(ctx, &format!("{action}.failed"), thing, detail);
        ctx.workspace.add_audit_entry(key(ctx), failed).await?;
    }
    done
}

/// Writes what somebody did to themselves into every workspace they may open. A log that cannot be
/// written does not keep them out: it is told to the operator.
pub(crate) async fn record_for(hub: &Arc<Hub>, user: UserId, action: &str) {
    if let Err(error) = try_record_for(hub, user, action).await {
        tracing::error!(%error, action, "write the audit log");
    }
}

async fn try_record_for(hub: &Arc<Hub>, user: UserId, action: &str) -> Result<()> {
    let by_command = action == "totp.reset";
    for (workspace, _) in hub.store.system.roles_of(user).await? {
        let ctx = hub.ctx(workspace.id).await?;
        let mut entry = entry(&ctx, action, &user.to_string(), "");
        if !by_command {
            entry.actor = Actor { kind: ActorKind::User, id: Some(user.0) };
        }
        ctx.workspace.add_audit_entry(key(&ctx), entry).await?;
    }
    Ok(())
}

/// A page of entries, newest first.
pub async fn page(
    ctx: &Ctx,
    wanted: Wanted,
    before: Option<i64>,
    limit: usize,
) -> Result<Page<Entry, i64>> {
    // No entry holds a NUL, and PostgreSQL has no place for one in what is looked for.
    let texts = [&wanted.action, &wanted.thing];
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Ok(Page { items: Vec::new(), next: None });
    }
    Ok(ctx.workspace.audit_entries(wanted, before, limit).await?)
}

/// Reads the whole log and says whether it is as it was written.
pub async fn check(ctx: &Ctx) -> Result<Checked> {
    Ok(ctx.workspace.check_audit(key(ctx)).await?)
}

/// The same, and whether a head that was written down before, as `number:seal`, still stands in
/// it: a log whose end was cut off has none.
pub async fn check_with(ctx: &Ctx, head: &str) -> Result<Checked> {
    let wrong = || crate::Error::invalid("head", "expected number:seal as a check printed it");
    let (number, seal) = head.split_once(':').ok_or_else(wrong)?;
    let number: i64 = number.parse().map_err(|_| wrong())?;
    let mut checked = check(ctx).await?;
    if checked.fault.is_none() && ctx.workspace.audit_seal(number).await?.as_deref() != Some(seal) {
        checked.fault = Some((number, "it is not the one that was written down".to_owned()));
    }
    Ok(checked)
}
