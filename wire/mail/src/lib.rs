//! What customers ask of the hub with a browser or a mail reader: pixels, links, the wish to hear
//! no more or something else, and sign-up forms.
//!
//! No cookie, no session, no script: who is meant stands in the signed token.

mod forms;
mod pages;
mod preferences;
mod visitor;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tidings_domain::consent::Via;
use tidings_engine::pages::Words;
use tidings_engine::{Error, Hub, images, tracking};

use tower_http::timeout::DeadlineBody;
use visitor::{From, language};

/// How long the small bodies that are sent here may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);
/// A transparent GIF of one dot.
const DOT: &[u8] =
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\
\x00\x00\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

/// The routes under `/t` and `/f`, and pictures under `/i`.
pub fn router(hub: Arc<Hub>) -> Router {
    Router::new()
        .route("/t/o/{token}", get(open))
        .route("/t/c/{token}", get(click))
        .route("/t/u/{token}", get(ask).post(unsubscribe))
        .route("/i/{workspace}/{file}", get(image))
        .route("/t/p/{token}", get(preferences::show).post(preferences::save))
        .route("/t/s/{token}", get(forms::ask).post(forms::confirm))
        .route("/f/embed.js", get(forms::script))
        .route("/f/{workspace}/{form}", get(forms::show).post(forms::submit))
        .layer(DefaultBodyLimit::max(64 * 1024))
        .layer(axum::middleware::map_request(in_time))
        .with_state(hub)
}

/// A body arrives in time or the request ends: anybody may call these pages, and nobody may keep
/// one by a byte now and then.
async fn in_time(request: Request) -> Request {
    request.map(|body| Body::new(DeadlineBody::new(BODY_TIME, body)))
}

/// A message was opened. The dot is shown whatever became of the token.
async fn open(State(hub): State<Arc<Hub>>, Path(token): Path<String>) -> Response {
    let token = token.strip_suffix(".gif").unwrap_or(&token);
    if let Err(error) = tracking::open(&hub, token).await
        && !matches!(error, Error::NotFound(_))
    {
        tracing::warn!(%error, "record an opening");
    }
    let headers = [(header::CONTENT_TYPE, "image/gif"), (header::CACHE_CONTROL, "no-store")];
    (headers, DOT).into_response()
}

/// A link was followed.
async fn click(State(hub): State<Arc<Hub>>, Path(token): Path<String>) -> Response {
    match tracking::click(&hub, &token).await {
        Ok(url) => match HeaderValue::from_str(&url) {
            Ok(location) => {
                let store = HeaderValue::from_static("no-store");
                let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, store)];
                (StatusCode::FOUND, headers).into_response()
            }
            Err(_) => gone(),
        },
        Err(error) => failed(&error),
    }
}

/// Asks before it unsubscribes, because scanners follow every link of a mail.
async fn ask(
    State(hub): State<Arc<Hub>>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    match tracking::unsubscribe_page(&hub, &token, language(&headers)).await {
        // A token is letters, digits, - and _ alone, or it would not have been read.
        Ok(words) => page(StatusCode::OK, pages::ask(&words, &format!("/t/p/{token}"))),
        Err(error) => failed(&error),
    }
}

/// Unsubscribes: the page's button, or the mail reader's own (RFC 8058).
async fn unsubscribe(
    State(hub): State<Arc<Hub>>,
    Path(token): Path<String>,
    From(visitor): From,
    headers: HeaderMap,
    body: String,
) -> Response {
    let source = if is_one_click(&body) { "one-click" } else { "page" };
    let proof = visitor.proof(Via::UnsubscribeLink);
    let words = tracking::unsubscribe_page(&hub, &token, language(&headers)).await;
    match (tracking::unsubscribe(&hub, &token, source, proof).await, words) {
        (Ok(()), Ok(words)) => page(StatusCode::OK, pages::unsubscribed(&words)),
        (Ok(()), Err(_)) => page(StatusCode::OK, pages::unsubscribed(&Words::plain())),
        (Err(error), _) => failed(&error),
    }
}

/// A picture of a mail. What stands at an address never changes, so it may be kept for ever; it is
/// shown inside other pages and never as a page that could run something.
async fn image(
    State(hub): State<Arc<Hub>>,
    Path((workspace, file)): Path<(i64, String)>,
) -> Response {
    match images::show(&hub, workspace, &file).await {
        Ok((kind, bytes)) => {
            let content_type = match kind.as_str() {
                "jpg" => "image/jpeg",
                "gif" => "image/gif",
                "webp" => "image/webp",
                _ => "image/png",
            };
            let headers = [
                (header::CONTENT_TYPE, content_type),
                (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
                (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
            ];
            let shared =
                (header::HeaderName::from_static("cross-origin-resource-policy"), "cross-origin");
            (headers, [shared], bytes).into_response()
        }
        Err(error) => failed(&error),
    }
}

/// Whether a mail reader asks, without a person who could answer a question. It may send the pair
/// as a form of either type.
fn is_one_click(body: &str) -> bool {
    body.contains("List-Unsubscribe=One-Click")
        || (body.contains("name=\"List-Unsubscribe\"") && body.contains("One-Click"))
}

fn failed(error: &Error) -> Response {
    match error {
        Error::NotFound(_) => gone(),
        other => {
            tracing::warn!(error = %other, "answer a public page");
            page(StatusCode::SERVICE_UNAVAILABLE, pages::later(&Words::plain()))
        }
    }
}

/// One answer for every token that is not ours.
fn gone() -> Response {
    page(StatusCode::NOT_FOUND, pages::gone(&Words::plain()))
}

fn page(status: StatusCode, html: String) -> Response {
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; \
             frame-ancestors 'none'",
        ),
    ];
    (status, headers, Html(html)).into_response()
}
