//! What one may be allowed to do, and what a use case asks for.

use tidings_domain::{TokenId, UserId};

use crate::{Error, Result};

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
    pub const ALL: &'static [Role] = &[Role::Viewer, Role::Editor, Role::Admin];

    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Editor => "editor",
            Role::Admin => "admin",
        }
    }

    pub fn parse(text: &str) -> Option<Role> {
        Role::ALL.iter().copied().find(|role| role.name() == text)
    }
}

macro_rules! scopes {
    ($($(#[$doc:meta])* $variant:ident $name:literal),* $(,)?) => {
        /// What a token, or somebody with a role of the workspace's own, may do.
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
    ImportsRead "imports:read",
    /// Includes `imports:read`.
    Imports "imports",
    SegmentsRead "segments:read",
    /// Includes `segments:read`.
    Segments "segments",
    TemplatesRead "templates:read",
    /// Includes `templates:read`.
    Templates "templates",
    CampaignsRead "campaigns:read",
    /// Includes `campaigns:read`.
    Campaigns "campaigns",
    Mailbox "mailbox",
    /// Read who did what.
    Audit "audit",
    /// People, tokens, and the removal of attributes. Includes all the others.
    Admin "admin",
}

impl Scope {
    /// Whether whoever has this scope may do what another one is asked for.
    pub fn includes(self, other: Scope) -> bool {
        self == other
            || matches!(
                (self, other),
                (Scope::Admin, _)
                    | (Scope::Imports, Scope::ImportsRead)
                    | (Scope::Segments, Scope::SegmentsRead)
                    | (Scope::Templates, Scope::TemplatesRead)
                    | (Scope::Campaigns, Scope::CampaignsRead)
            )
    }
}

/// What a use case asks of its caller: a scope of a token or of a workspace's own role, or one of
/// the three roles that every workspace has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    pub scope: Scope,
    pub role: Role,
}

/// What somebody may do in one workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    Role(Role),
    /// A role of the workspace's own: a name for some scopes.
    Own {
        name: String,
        scopes: Vec<Scope>,
    },
}

impl Access {
    /// The name of the role.
    pub fn name(&self) -> &str {
        match self {
            Access::Role(role) => role.name(),
            Access::Own { name, .. } => name,
        }
    }

    pub fn may(&self, need: Need) -> bool {
        match self {
            Access::Role(role) => *role >= need.role,
            Access::Own { scopes, .. } => scopes.iter().any(|scope| scope.includes(need.scope)),
        }
    }

    /// Whether this is enough to let others in.
    pub fn is_admin(&self) -> bool {
        self.may(Need { scope: Scope::Admin, role: Role::Admin })
    }

    /// Reads a role as it is kept: its name, and the scopes of a role of the workspace's own.
    pub(super) fn parse(name: &str, scopes: Option<&[String]>) -> Option<Access> {
        match Role::parse(name) {
            Some(role) => Some(Access::Role(role)),
            None => {
                let scopes = scopes?.iter().filter_map(|scope| Scope::parse(scope)).collect();
                Some(Access::Own { name: name.to_owned(), scopes })
            }
        }
    }
}

/// Somebody who proved who they are, in one workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    Token { id: TokenId, scopes: Vec<Scope> },
    User { id: UserId, mail: String, access: Access },
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
        let scope = need.scope.name();
        match self {
            Caller::Token { scopes, .. } => match scopes.iter().any(|one| one.includes(need.scope))
            {
                true => Ok(()),
                false => Err(Error::Forbidden(format!("this token lacks the scope {scope}"))),
            },
            Caller::User { access, .. } if access.may(need) => Ok(()),
            Caller::User { access: Access::Own { name, .. }, .. } => {
                Err(Error::Forbidden(format!("the role {name} lacks the scope {scope}")))
            }
            Caller::User { .. } => {
                Err(Error::Forbidden(format!("this needs the role {}", need.role.name())))
            }
        }
    }
}

/// Scopes by their names, each once. Every unknown one is a fault, and so is having none, because
/// whoever may do nothing has no use for it.
pub(super) fn checked(scopes: &[String]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut kept: Vec<String> = Vec::new();
    for (at, scope) in scopes.iter().enumerate() {
        if Scope::parse(scope).is_none() {
            let known: Vec<&str> = Scope::ALL.iter().map(|scope| scope.name()).collect();
            let message = format!("unknown scope; expected one of {}", known.join(", "));
            faults.push(crate::Fault::new(format!("scopes[{at}]"), "unknown_scope", message));
        } else if !kept.contains(scope) {
            kept.push(scope.clone());
        }
    }
    if scopes.is_empty() {
        faults.push(crate::Fault::new("scopes", "required", "expected at least one scope"));
    }
    if faults.is_empty() { Ok(kept) } else { Err(Error::Invalid(faults)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_need_the_scope_and_people_the_role_or_its_scopes() {
        let token =
            |scopes: &[Scope]| Caller::Token { id: TokenId::generate(), scopes: scopes.to_vec() };
        let person = |access| Caller::User { id: UserId::generate(), mail: String::new(), access };
        let user = |role| person(Access::Role(role));
        let own =
            |scopes: &[Scope]| person(Access::Own { name: "x".into(), scopes: scopes.to_vec() });
        let write = Need { scope: Scope::CustomersWrite, role: Role::Editor };
        let read = Need { scope: Scope::CampaignsRead, role: Role::Viewer };
        for (caller, may_write, may_read) in [
            (token(&[]), false, false),
            (token(&[Scope::CustomersRead, Scope::Imports]), false, false),
            (token(&[Scope::CustomersWrite]), true, false),
            (token(&[Scope::Campaigns]), false, true),
            (token(&[Scope::Admin]), true, true),
            (user(Role::Viewer), false, true),
            (user(Role::Editor), true, true),
            (user(Role::Admin), true, true),
            (own(&[]), false, false),
            (own(&[Scope::CampaignsRead]), false, true),
            (own(&[Scope::CustomersWrite, Scope::Campaigns]), true, true),
            (own(&[Scope::Admin]), true, true),
        ] {
            assert_eq!(caller.authorise(write).is_ok(), may_write, "{caller:?}");
            assert_eq!(caller.authorise(read).is_ok(), may_read, "{caller:?}");
        }
    }

    #[test]
    fn every_scope_is_read_by_its_name() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.name()), Some(*scope));
            assert!(Scope::Admin.includes(*scope) && scope.includes(*scope));
        }
        assert_eq!(Scope::parse("everything"), None);
        assert!(!Scope::SegmentsRead.includes(Scope::Segments));
    }
}
