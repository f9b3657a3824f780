//! People and their roles.

use tidings_domain::UserId;
use tidings_store::system::{RoleRow, UserRow};

use super::roles::checked_role;
use super::{Access, Role, checked_mail, passwords, random_text, workspace_id};
use crate::{Ctx, Error, Result, audit};

/// Who the demo signs in by itself.
pub const DEMO_MAIL: &str = "demo@example.com";

/// A person of a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInfo {
    pub id: UserId,
    pub mail: String,
    pub name: String,
    pub access: Access,
    /// Whether they sign in with a code beside the password.
    pub totp: bool,
}

/// A person who was just given a role.
#[derive(Clone, Debug)]
pub struct NewUser {
    pub info: UserInfo,
    /// The password, where it was made up here; seen only now.
    pub password: Option<String>,
}

fn info(user: UserRow, access: Access) -> UserInfo {
    UserInfo { id: user.id, mail: user.mail, name: user.name, access, totp: user.totp }
}

pub(super) fn access(role: &RoleRow) -> Result<Access> {
    Access::parse(&role.name, role.scopes.as_deref())
        .ok_or_else(|| Error::Internal(format!("unknown role {}", role.name)))
}

/// Gives somebody a role in a workspace: `admin`, `editor`, `viewer`, or one of its own. Somebody
/// unknown becomes a user, with the given password or one that is made up; somebody known keeps
/// theirs, and giving another is refused.
pub async fn create_user(
    ctx: &Ctx,
    mail: &str,
    role: &str,
    password: Option<String>,
) -> Result<NewUser> {
    let mail = checked_mail(mail)?;
    let access = checked_role(ctx, role).await?;
    let system = &ctx.hub.store.system;
    let detail = format!("role {role}");
    if let Some(user) = system.user_by_mail(&mail).await? {
        let known = system.roles_of(user.id).await?;
        if known.iter().any(|(workspace, _)| workspace.id == workspace_id(ctx)) {
            return Err(Error::Conflict(format!("{mail} has a role here; change it instead")));
        }
        if password.is_some() {
            return Err(Error::Conflict(format!("{mail} has a password already")));
        }
        let giving = async { Ok(system.put_role(user.id, workspace_id(ctx), role).await?) };
        audit::recorded(ctx, "users.create", &user.id.to_string(), &detail, giving).await?;
        return Ok(NewUser { info: info(user, access), password: None });
    }
    let made_up = password.is_none();
    let password = password.unwrap_or_else(|| random_text(20));
    passwords::checked(&password)?;
    let name = mail.split('@').next().unwrap_or(&mail).to_owned();
    let password_hash = ctx.hub.accounts.passwords.hash(password.clone()).await?;
    let user = UserRow { id: UserId::generate(), mail, name, password_hash, totp: false };
    let adding = async {
        system.add_user(&user, ctx.now()).await?;
        Ok(system.put_role(user.id, workspace_id(ctx), role).await?)
    };
    audit::recorded(ctx, "users.create", &user.id.to_string(), &detail, adding).await?;
    Ok(NewUser { info: info(user, access), password: made_up.then_some(password) })
}

/// The people of a workspace, by address.
pub async fn users(ctx: &Ctx) -> Result<Vec<UserInfo>> {
    let rows = ctx.hub.store.system.users_of(workspace_id(ctx)).await?;
    rows.into_iter().map(|(user, role)| Ok(info(user, access(&role)?))).collect()
}

/// One of them; somebody of another workspace is not found.
async fn one(ctx: &Ctx, mail: &str) -> Result<UserInfo> {
    let not_found = || Error::NotFound(format!("user {mail}"));
    let normal = checked_mail(mail).map_err(|_| not_found())?;
    users(ctx).await?.into_iter().find(|one| one.mail == normal).ok_or_else(not_found)
}

/// Gives somebody another role; it holds from their next call. Refused where nobody would be left
/// who may let others in.
pub async fn change_user(ctx: &Ctx, mail: &str, role: &str) -> Result<UserInfo> {
    let access = checked_role(ctx, role).await?;
    let user = one(ctx, mail).await?;
    put_or_drop(ctx, &user, Some(role)).await?;
    Ok(UserInfo { access, ..user })
}

/// Takes somebody's role in a workspace away; their sessions see it no more from then on. The last
/// admin stays, because nobody could then let anybody in.
pub async fn remove_user(ctx: &Ctx, mail: &str) -> Result<()> {
    let user = one(ctx, mail).await?;
    put_or_drop(ctx, &user, None).await
}

async fn put_or_drop(ctx: &Ctx, user: &UserInfo, role: Option<&str>) -> Result<()> {
    let changing = async {
        let system = &ctx.hub.store.system;
        match system.change_role(user.id, workspace_id(ctx), role).await? {
            true => Ok(()),
            false => Err(Error::NotFound(format!("user {}", user.mail))),
        }
    };
    let (action, detail) = match role {
        Some(role) => ("users.change", format!("role {role}")),
        None => ("users.delete", String::new()),
    };
    audit::recorded(ctx, action, &user.id.to_string(), &detail, changing).await
}

/// Says whether people need a code beside their password in this workspace. `by` is who asks for
/// it, who must have set theirs up, so that they do not lock themselves out.
pub async fn require_totp(ctx: &Ctx, required: bool, by: Option<UserId>) -> Result<()> {
    let system = &ctx.hub.store.system;
    if let Some(id) = by
        && required
        && !system.user(id).await?.is_some_and(|user| user.totp)
    {
        let text = "set up your own second factor first, or this would lock you out";
        return Err(Error::Conflict(text.to_owned()));
    }
    let detail = if required { "totp required" } else { "totp not required" };
    let changing = async { Ok(system.require_totp(workspace_id(ctx), required).await?) };
    audit::recorded(ctx, "security.change", "", detail, changing).await
}

/// The demo's own user, who is made if missing; nobody knows the password.
pub async fn ensure_demo_user(ctx: &Ctx) -> Result<UserRow> {
    let system = &ctx.hub.store.system;
    if system.user_by_mail(DEMO_MAIL).await?.is_none() {
        create_user(ctx, DEMO_MAIL, Role::Admin.name(), None).await?;
    }
    let user = system.user_by_mail(DEMO_MAIL).await?;
    let user = user.ok_or_else(|| Error::Internal("the demo's user is missing".to_owned()))?;
    system.put_role(user.id, workspace_id(ctx), Role::Admin.name()).await?;
    Ok(user)
}
