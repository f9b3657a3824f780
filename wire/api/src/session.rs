//! `/v1/session`: signing in and out by the console.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tidings_engine::accounts::{self, Access, SignedIn};
use tidings_engine::{Ctx, Error};
use utoipa::ToSchema;

use crate::call::{
    Api, Peer, check_encrypted, check_origin, check_same_site, cookie_name, is_https,
    session_secret,
};
use crate::errors::Result;
use crate::input::Input;

/// Who is signed in, and what they may open.
#[derive(Debug, Serialize, ToSchema)]
pub struct Session {
    pub user: SessionUser,
    /// Repeat it as the header `Tidings-CSRF` in every call that changes something.
    pub csrf: String,
    pub workspaces: Vec<SessionWorkspace>,
    /// Whether this is the demo.
    pub demo: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SessionUser {
    pub mail: String,
    pub name: String,
    /// Whether they sign in with a code beside the password.
    pub totp: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SessionWorkspace {
    /// What the header `Tidings-Workspace` names.
    pub slug: String,
    pub name: String,
    /// `admin`, `editor`, `viewer` or a role of the workspace's own.
    pub role: String,
    /// What a role of the workspace's own allows; null for the other three.
    pub scopes: Option<Vec<&'static str>>,
    pub time_zone: String,
    /// Whether it can be opened only by people with a second factor.
    pub totp_required: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    #[schema(example = "ann@example.com")]
    pub mail: String,
    pub password: String,
    /// What the authenticator app shows, or a recovery code, of somebody with a second factor. It
    /// is asked for by 401 and the code `totp_required`.
    pub code: Option<String>,
}

fn session_body(api: &Api, signed_in: SignedIn) -> Session {
    let workspaces = signed_in
        .workspaces
        .into_iter()
        .map(|(workspace, access)| SessionWorkspace {
            slug: workspace.slug,
            name: workspace.name,
            role: access.name().to_owned(),
            scopes: match &access {
                Access::Role(_) => None,
                Access::Own { scopes, .. } => Some(scopes.iter().map(|one| one.name()).collect()),
            },
            time_zone: workspace.time_zone,
            totp_required: workspace.totp_required,
        })
        .collect();
    Session {
        user: SessionUser { mail: signed_in.mail, name: signed_in.name, totp: signed_in.totp },
        csrf: signed_in.csrf,
        workspaces,
        demo: api.hub.settings.demo,
    }
}

/// The answer of a sign-in, with the cookie.
fn welcomed(api: &Api, signed_in: SignedIn) -> Response {
    let cookie = signed_in.secret.as_ref().map(|secret| set_cookie(api, secret, None));
    let mut response = Json(session_body(api, signed_in)).into_response();
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

fn set_cookie(api: &Api, secret: &str, max_age: Option<u32>) -> String {
    let mut cookie = format!("{}={secret}; Path=/; HttpOnly; SameSite=Lax", cookie_name(api));
    if is_https(api) {
        cookie.push_str("; Secure");
    }
    if let Some(secs) = max_age {
        cookie.push_str(&format!("; Max-Age={secs}"));
    }
    cookie
}

/// Who is signed in.
#[utoipa::path(get, path = "/v1/session", tag = "Session",
    security(()),
    responses((status = 200, body = Session)))]
pub async fn show(State(api): State<Api>, peer: Peer, headers: HeaderMap) -> Result<Response> {
    let known = match session_secret(&headers, &api) {
        Some(secret) => accounts::session(&api.hub, secret).await,
        None => Err(Error::Unauthenticated),
    };
    match known {
        Ok(signed_in) => Ok(welcomed(&api, signed_in)),
        Err(Error::Unauthenticated) if is_demo_visit(&api, &peer, &headers) => {
            let ctx = demo_workspace(&api).await?;
            let user = accounts::ensure_demo_user(&ctx).await?;
            Ok(welcomed(&api, accounts::create_session(&api.hub, &user).await?))
        }
        Err(error) => Err(error.into()),
    }
}

/// The demo signs in whoever sits at this machine. The host must be this machine by name too, so
/// that a page elsewhere cannot have its own name point here.
fn is_demo_visit(api: &Api, peer: &Peer, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    api.hub.settings.demo
        && peer.is_loopback()
        && ["localhost", "127.0.0.1", "[::1]"].contains(&name)
        && check_origin(headers, api).is_ok()
}

async fn demo_workspace(api: &Api) -> Result<Ctx> {
    let workspaces = api.hub.store.system.workspaces().await.map_err(Error::from)?;
    let first = workspaces.first().ok_or(Error::Unauthenticated)?;
    Ok(api.hub.ctx(first.id).await?)
}

/// Sign in. A wrong password and an unknown address get the same answer in the same time.
#[utoipa::path(post, path = "/v1/session", tag = "Session", request_body = Credentials,
    security(()),
    responses((status = 200, body = Session)))]
pub async fn sign_in(
    State(api): State<Api>,
    peer: Peer,
    headers: HeaderMap,
    Input(body): Input<Credentials>,
) -> Result<Response> {
    check_encrypted(peer.scheme.as_ref(), &api.hub.settings.public_url)?;
    check_origin(&headers, &api)?;
    let Credentials { mail, password, code } = body;
    let signed_in =
        accounts::sign_in(&api.hub, &mail, password, code.as_deref(), &peer.text()).await?;
    if let Some(old) = session_secret(&headers, &api) {
        accounts::sign_out(&api.hub, old).await?;
    }
    Ok(welcomed(&api, signed_in))
}

/// Sign out.
#[utoipa::path(delete, path = "/v1/session", tag = "Session",
    security(("session" = [])),
    responses((status = 204)))]
pub async fn sign_out(State(api): State<Api>, headers: HeaderMap) -> Result<Response> {
    let secret = session_secret(&headers, &api).ok_or(Error::Unauthenticated)?;
    let session = accounts::session(&api.hub, secret).await?;
    check_same_site(&headers, &session.csrf, &api)?;
    accounts::sign_out(&api.hub, secret).await?;
    let cookie = set_cookie(&api, "", Some(0));
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}
