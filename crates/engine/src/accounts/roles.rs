//! Roles of a workspace's own: a name for some scopes.

use tidings_domain::schema::checked_name;
pub use tidings_store::people::OwnRole;

use super::{Access, Role, scopes, workspace_id};
use crate::{Ctx, Error, Fault, Result, audit};

/// The roles of this workspace's own, by name.
pub async fn roles(ctx: &Ctx) -> Result<Vec<OwnRole>> {
    Ok(ctx.hub.store.system.own_roles(workspace_id(ctx)).await?)
}

/// Makes a role, or gives one other scopes; those who have it may do no more and no less from
/// their next call on. Refused where nobody would be left who may let others in.
pub async fn put_role(ctx: &Ctx, name: &str, wanted: &[String]) -> Result<OwnRole> {
    if let Err(expected) = checked_name(name) {
        return Err(Error::Invalid(vec![Fault::new("name", "invalid_name", expected)]));
    }
    if Role::parse(name).is_some() {
        return Err(Error::Conflict(format!("{name} is a role of every workspace")));
    }
    let kept = scopes::checked(wanted)?;
    let system = &ctx.hub.store.system;
    let putting =
        async { Ok(system.put_own_role(workspace_id(ctx), name, &kept, ctx.now()).await?) };
    audit::recorded(ctx, "roles.put", name, &kept.join(" "), putting).await?;
    let found = roles(ctx).await?.into_iter().find(|role| role.name == name);
    found.ok_or_else(|| Error::NotFound(format!("role {name}")))
}

/// Drops a role that nobody has.
pub async fn remove_role(ctx: &Ctx, name: &str) -> Result<()> {
    let not_found = || Error::NotFound(format!("role {name}"));
    if !roles(ctx).await?.iter().any(|role| role.name == name) {
        return Err(not_found());
    }
    let dropping = async {
        match ctx.hub.store.system.drop_own_role(workspace_id(ctx), name).await? {
            true => Ok(()),
            false => Err(not_found()),
        }
    };
    audit::recorded(ctx, "roles.delete", name, "", dropping).await
}

/// What a role of this name allows here.
pub(super) async fn checked_role(ctx: &Ctx, name: &str) -> Result<Access> {
    if let Some(role) = Role::parse(name) {
        return Ok(Access::Role(role));
    }
    let own = roles(ctx).await?.into_iter().find(|role| role.name == name);
    own.and_then(|role| Access::parse(&role.name, Some(&role.scopes))).ok_or_else(|| {
        let message = "expected admin, editor, viewer or a role of this workspace";
        Error::Invalid(vec![Fault::new("role", "unknown_role", message)])
    })
}
