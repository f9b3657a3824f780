//! `/v1/session/totp`: the second factor of whoever is signed in.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use qrcodegen::{QrCode, QrCodeEcc};
use serde::{Deserialize, Serialize};
use tidings_engine::Error;
use tidings_engine::accounts::totp;
use utoipa::ToSchema;

use crate::call::{Api, Person};
use crate::errors::Result;
use crate::input::Input;

#[derive(Debug, Serialize, ToSchema)]
pub struct TotpState {
    pub active: bool,
    /// How many recovery codes are left.
    pub recovery_codes_left: i64,
}

/// A new secret, shown this once.
#[derive(Serialize, ToSchema)]
pub struct TotpSecret {
    /// To be typed into an app.
    pub secret: String,
    pub uri: String,
    /// The same as a picture for the app to read, as SVG.
    pub qr: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TotpCode {
    /// What the app shows now; to take the second factor away, a recovery code will do.
    #[schema(example = "123456")]
    pub code: String,
}

/// Codes for the day the app is lost, shown this once; each works one time.
#[derive(Serialize, ToSchema)]
pub struct RecoveryCodes {
    pub recovery_codes: Vec<String>,
}

/// Whether you sign in with a code beside the password.
#[utoipa::path(get, path = "/v1/session/totp", tag = "Session",
    security(("session" = [])),
    responses((status = 200, body = TotpState)))]
pub async fn show(State(api): State<Api>, Person(who): Person) -> Result<Json<TotpState>> {
    let recovery_codes_left = totp::codes_left(&api.hub, who.user).await?;
    Ok(Json(TotpState { active: who.totp, recovery_codes_left }))
}

/// Get a secret for your authenticator app. It is in use once PUT has seen a code of it.
#[utoipa::path(post, path = "/v1/session/totp", tag = "Session",
    security(("session" = [])),
    responses((status = 201, body = TotpSecret)))]
pub async fn propose(
    State(api): State<Api>,
    Person(who): Person,
) -> Result<(StatusCode, Json<TotpSecret>)> {
    let proposed = totp::propose(&api.hub, &who).await?;
    let qr = picture(&proposed.uri)?;
    let body = TotpSecret { secret: proposed.secret, uri: proposed.uri, qr };
    Ok((StatusCode::CREATED, Json(body)))
}

/// Put the secret to use: the code shows that your app has it.
#[utoipa::path(put, path = "/v1/session/totp", tag = "Session", request_body = TotpCode,
    security(("session" = [])),
    responses((status = 200, body = RecoveryCodes)))]
pub async fn confirm(
    State(api): State<Api>,
    Person(who): Person,
    Input(body): Input<TotpCode>,
) -> Result<Json<RecoveryCodes>> {
    let recovery_codes = totp::confirm(&api.hub, &who, &body.code).await?;
    Ok(Json(RecoveryCodes { recovery_codes }))
}

/// Take your second factor away; not where a workspace of yours asks for one.
#[utoipa::path(delete, path = "/v1/session/totp", tag = "Session", request_body = TotpCode,
    security(("session" = [])),
    responses((status = 204)))]
pub async fn remove(
    State(api): State<Api>,
    Person(who): Person,
    Input(body): Input<TotpCode>,
) -> Result<StatusCode> {
    totp::remove(&api.hub, &who, &body.code).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A QR code as SVG, dark on light with the quiet edge that readers need.
fn picture(text: &str) -> Result<String> {
    const EDGE: i32 = 4;
    let code = QrCode::encode_text(text, QrCodeEcc::Medium)
        .map_err(|_| Error::Internal("the address is too long for a QR code".to_owned()))?;
    let size = code.size() + 2 * EDGE;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in 0..code.size() {
            if code.get_module(x, y) {
                path.push_str(&format!("M{},{}h1v1h-1z", x + EDGE, y + EDGE));
            }
        }
    }
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {size} {size}\" \
         shape-rendering=\"crispEdges\" role=\"img\" aria-label=\"QR code\">\
         <path fill=\"#fff\" d=\"M0,0h{size}v{size}h-{size}z\"/><path fill=\"#000\" d=\"{path}\"/></svg>"
    ))
}
