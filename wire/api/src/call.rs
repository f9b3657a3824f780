//! Who is calling, in which workspace, and whether they may: the [`Call`] extractor.
//!
//! A handler's signature says what it asks of its caller: `Call<WriteCustomers>` answers 401 and
//! 403 by itself before the handler runs.

use futures::future::BoxFuture;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::uri::Scheme;
use axum::http::{HeaderMap, Method, StatusCode, header};
use tidings_engine::accounts::{self, Caller, Need, Role, Scope, SignedIn};
use tidings_engine::{Ctx, Error, Hub};

use crate::errors::{Problem, Result};

/// What every handler can reach.
#[derive(Clone)]
pub struct Api {
    pub hub: Arc<Hub>,
}

/// What a route asks of its caller.
pub trait Needs: Send + Sync + 'static {
    const NEED: Need;
}

macro_rules! needs {
    ($($name:ident: $scope:ident, $role:ident;)*) => {$(
        /// A scope for tokens and a role for people.
        pub struct $name;
        impl Needs for $name {
            const NEED: Need = Need { scope: Scope::$scope, role: Role::$role };
        }
    )*};
}

needs! {
    ReadCustomers: CustomersRead, Viewer;
    WriteCustomers: CustomersWrite, Editor;
    ReadImports: ImportsRead, Viewer;
    WriteImports: Imports, Editor;
    ReadSegments: SegmentsRead, Viewer;
    WriteSegments: Segments, Editor;
    ReadTemplates: TemplatesRead, Viewer;
    WriteTemplates: Templates, Editor;
    ReadCampaigns: CampaignsRead, Viewer;
    WriteCampaigns: Campaigns, Editor;
    ReadMailbox: Mailbox, Viewer;
    ReadAudit: Audit, Admin;
    Administer: Admin, Admin;
}

/// An authenticated and authorised call in one workspace.
pub struct Call<N> {
    pub ctx: Ctx,
    pub caller: Caller,
    need: PhantomData<N>,
}

/// A caller who has proved who they are; what they may do is another question.
#[derive(Clone)]
pub struct Authenticated {
    pub ctx: Ctx,
    pub caller: Caller,
}

impl<N: Needs> FromRequestParts<Api> for Call<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self> {
        // The idempotency layer has had to know the caller already.
        let known = parts.extensions.remove::<Authenticated>();
        let Authenticated { ctx, caller } = match known {
            Some(known) => known,
            None => authenticate(&parts.headers, &parts.method, api).await?,
        };
        caller.authorise(N::NEED)?;
        Ok(Call { ctx, caller, need: PhantomData })
    }
}

/// Finds out who calls, by token or by session, and in which workspace.
pub fn authenticate<'a>(
    headers: &'a HeaderMap,
    method: &'a Method,
    api: &'a Api,
) -> BoxFuture<'a, Result<Authenticated>> {
    Box::pin(async move {
        if let Some(token) = bearer(headers) {
            let (caller, workspace) = accounts::authenticate_token(&api.hub, token).await?;
            let ctx = api.hub.ctx(workspace).await?;
            if workspace_header(headers).is_some_and(|slug| slug != ctx.workspace.row.slug) {
                return Err(
                    Error::Forbidden("this token is for another workspace".to_owned()).into()
                );
            }
            return Ok(Authenticated { ctx, caller });
        }
        let secret = session_secret(headers, api).ok_or(Error::Unauthenticated)?;
        let session = accounts::session(&api.hub, secret).await?;
        if !method.is_safe() {
            check_same_site(headers, &session.csrf, api)?;
        }
        let slug = workspace_header(headers).ok_or_else(|| {
            Problem::unreadable(
                "invalid",
                "expected the header Tidings-Workspace with its short name",
            )
        })?;
        // A workspace that is not theirs looks like one that does not exist.
        let found = session.workspaces.iter().find(|(workspace, _)| workspace.slug == slug);
        let (workspace, access) = found.ok_or_else(|| Problem::not_found("the workspace"))?;
        if workspace.totp_required && !session.totp {
            let detail =
                "this workspace asks for a second factor; set yours up by PUT /v1/session/totp";
            return Err(Problem::new(StatusCode::FORBIDDEN, "totp_needed", detail));
        }
        let ctx = api.hub.ctx(workspace.id).await?;
        let caller = Caller::User { id: session.user, mail: session.mail, access: access.clone() };
        Ok(Authenticated { ctx, caller })
    })
}

/// Somebody who is signed in, whichever workspace they work in; for what is about themselves.
pub struct Person(pub SignedIn);

impl FromRequestParts<Api> for Person {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self> {
        let secret = session_secret(&parts.headers, api).ok_or(Error::Unauthenticated)?;
        let session = accounts::session(&api.hub, secret).await?;
        if !parts.method.is_safe() {
            check_same_site(&parts.headers, &session.csrf, api)?;
        }
        Ok(Person(session))
    }
}

fn text(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = text(headers, header::AUTHORIZATION)?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn workspace_header(headers: &HeaderMap) -> Option<&str> {
    text(headers, "tidings-workspace")
}

/// The name of the session's cookie. Over HTTPS the prefix ties it to this host and path.
pub fn cookie_name(api: &Api) -> &'static str {
    if is_https(api) { "__Host-tidings_session" } else { "tidings_session" }
}

pub fn is_https(api: &Api) -> bool {
    api.hub.settings.public_url.starts_with("https://")
}

/// Refuses a password that came without encryption although the hub is reached by HTTPS, as a
/// trusted proxy says. The browser would not keep the cookie either.
pub fn check_encrypted(scheme: Option<&Scheme>, url: &str) -> Result<()> {
    if url.starts_with("https://") && scheme == Some(&Scheme::HTTP) {
        let detail = format!("this call came without encryption; use {url}");
        return Err(Error::Forbidden(detail).into());
    }
    Ok(())
}

/// The secret that the browser keeps.
pub fn session_secret<'h>(headers: &'h HeaderMap, api: &Api) -> Option<&'h str> {
    let name = cookie_name(api);
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// A call that changes something by the cookie must come from our own pages: the browser says
/// where it comes from, and the page repeats what only it can have read.
pub fn check_same_site(headers: &HeaderMap, csrf: &str, api: &Api) -> Result<()> {
    check_origin(headers, api)?;
    let given = text(headers, "tidings-csrf").unwrap_or_default();
    if !same(given.as_bytes(), csrf.as_bytes()) {
        let detail = "expected the header Tidings-CSRF as GET /v1/session gives it";
        return Err(Error::Forbidden(detail.to_owned()).into());
    }
    Ok(())
}

/// Refuses a call that another site's page made.
pub fn check_origin(headers: &HeaderMap, api: &Api) -> Result<()> {
    let foreign = match text(headers, header::ORIGIN) {
        Some(origin) => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            origin != api.hub.settings.public_url && authority != text(headers, header::HOST)
        }
        None => match text(headers, "sec-fetch-site") {
            Some(site) => site != "same-origin" && site != "none",
            None => false,
        },
    };
    if foreign {
        let detail = "this call comes from another site".to_owned();
        return Err(Error::Forbidden(detail).into());
    }
    Ok(())
}

/// Compares without saying by its time where the first difference is.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).fold(0_u8, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// The address a call comes from, as the listener says.
pub struct Peer {
    address: Option<IpAddr>,
    /// By which scheme, where that is known.
    pub scheme: Option<Scheme>,
}

impl Peer {
    /// The address as text, for back-off.
    pub fn text(&self) -> String {
        self.address.map_or_else(|| "unknown".to_owned(), |address| address.to_string())
    }

    pub fn is_loopback(&self) -> bool {
        self.address.is_some_and(|address| address.to_canonical().is_loopback())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let info = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let address = info.map(|ConnectInfo(address)| address.ip());
        Ok(Peer { address, scheme: parts.extensions.get::<Scheme>().cloned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_the_clear_is_refused_where_a_proxy_says_that_it_is() {
        let (https, http) = (Some(&Scheme::HTTPS), Some(&Scheme::HTTP));
        for (scheme, url, taken) in [
            (https, "https://hub.example", true),
            (http, "https://hub.example", false),
            (None, "https://hub.example", true),
            (http, "http://hub.example", true),
        ] {
            assert_eq!(check_encrypted(scheme, url).is_ok(), taken, "{scheme:?} {url}");
        }
    }
}
