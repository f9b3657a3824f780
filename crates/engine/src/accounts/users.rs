//! People and their roles.

use tidings_domain::UserId;
use tidings_store::system::UserRow;

use super::{Role, checked_mail, passwords, random_text, workspace_id};
use crate::{Ctx, Error, Result};

/// Who the demo signs in by itself.
pub const DEMO_MAIL: &str = "demo@example.com";

/// A person of a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInfo {
    pub mail: String,
    pub name: String,
    pub role: Role,
}

/// A person who was just given a role.
#[derive(Clone, Debug)]
pub struct NewUser {
    pub info: UserInfo,
    /// The password, where it was made up here; seen only now.
    pub password: Option<String>,
}

/// Gives somebody a role in a workspace. Somebody unknown becomes a user, with the given password
/// or one that is made up; somebody known keeps theirs, and giving another is refused.
pub async fn create_user(
    ctx: &Ctx,
    mail: &str,
    role: Role,
    password: Option<String>,
) -> Result<NewUser> {
    let mail = checked_mail(mail)?;
    let system = &ctx.hub.store.system;
    if let Some(user) = system.user_by_mail(&mail).await? {
        let known = system.roles_of(user.id).await?;
        if known.iter().any(|(workspace, _)| workspace.id == workspace_id(ctx)) {
            return Err(Error::Conflict(format!("{mail} has a role here; remove it first")));
        }
        if password.is_some() {
            return Err(Error::Conflict(format!("{mail} has a password already")));
        }
        system.put_role(user.id, workspace_id(ctx), role.name()).await?;
        let info = UserInfo { mail: user.mail, name: user.name, role };
        return Ok(NewUser { info, password: None });
    }
    let made_up = password.is_none();
    let password = password.unwrap_or_else(|| random_text(20));
    passwords::checked(&password)?;
    let name = mail.split('@').next().unwrap_or(&mail).to_owned();
    let password_hash = ctx.hub.accounts.passwords.hash(password.clone()).await?;
    let user = UserRow { id: UserId::generate(), mail, name, password_hash };
    system.add_user(&user, ctx.now()).await?;
    system.put_role(user.id, workspace_id(ctx), role.name()).await?;
    let info = UserInfo { mail: user.mail, name: user.name, role };
    Ok(NewUser { info, password: made_up.then_some(password) })
}

/// The people of a workspace, by address.
pub async fn users(ctx: &Ctx) -> Result<Vec<UserInfo>> {
    let rows = ctx.hub.store.system.users_of(workspace_id(ctx)).await?;
    rows.into_iter()
        .map(|(user, role)| {
            let role = Role::parse(&role)
                .ok_or_else(|| Error::Internal(format!("unknown role {role}")))?;
            Ok(UserInfo { mail: user.mail, name: user.name, role })
        })
        .collect()
}

/// Takes somebody's role in a workspace away; their sessions see it no more from then on. The last
/// admin stays, because nobody could then let anybody in.
pub async fn remove_user(ctx: &Ctx, mail: &str) -> Result<()> {
    let mail = checked_mail(mail)?;
    let people = users(ctx).await?;
    let Some(one) = people.iter().find(|one| one.mail == mail) else {
        return Err(Error::NotFound(format!("user {mail}")));
    };
    let admins = people.iter().filter(|one| one.role == Role::Admin).count();
    if one.role == Role::Admin && admins == 1 {
        return Err(Error::Conflict(format!("{mail} is the last admin of this workspace")));
    }
    let system = &ctx.hub.store.system;
    if let Some(user) = system.user_by_mail(&mail).await? {
        system.drop_role(user.id, workspace_id(ctx)).await?;
    }
    Ok(())
}

/// The demo's own user, who is made if missing; nobody knows the password.
pub async fn ensure_demo_user(ctx: &Ctx) -> Result<UserRow> {
    let system = &ctx.hub.store.system;
    if system.user_by_mail(DEMO_MAIL).await?.is_none() {
        create_user(ctx, DEMO_MAIL, Role::Admin, None).await?;
    }
    let user = system.user_by_mail(DEMO_MAIL).await?;
    let user = user.ok_or_else(|| Error::Internal("the demo's user is missing".to_owned()))?;
    system.put_role(user.id, workspace_id(ctx), Role::Admin.name()).await?;
    Ok(user)
}
