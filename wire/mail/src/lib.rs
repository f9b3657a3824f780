//! What mail readers ask of the hub: pixels, links and the wish to hear no more.
//!
//! No cookie, no session, no script: who is meant stands in the signed token.

mod pages;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tidings_engine::{Error, Hub, images, tracking};

/// A transparent GIF of one dot.
const DOT: &[u8] =
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\
\x00\x00\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

/// The routes under `/t`, and pictures under `/i`.
pub fn router(hub: Arc<Hub>) -> Router {
    Router::new()
        .route("/t/o/{token}", get(open))
        .route("/t/c/{token}", get(click))
        .route("/t/u/{token}", get(ask).post(unsubscribe))
        .route("/i/{workspace}/{file}", get(image))
        .layer(DefaultBodyLimit::max(4 * 1024))
        .with_state(hub)
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
async fn ask(State(hub): State<Arc<Hub>>, Path(token): Path<String>) -> Response {
    match tracking::unsubscribe_page(&hub, &token).await {
        Ok(name) => page(StatusCode::OK, pages::ask(&name)),
        Err(error) => failed(&error),
    }
}

/// Unsubscribes: the page's button, or the mail reader's own.
async fn unsubscribe(
    State(hub): State<Arc<Hub>>,
    Path(token): Path<String>,
    body: String,
) -> Response {
    let source = if body.contains("List-Unsubscribe=One-Click") { "one-click" } else { "page" };
    match tracking::unsubscribe(&hub, &token, source).await {
        Ok(()) => page(StatusCode::OK, pages::done()),
        Err(error) => failed(&error),
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

fn failed(error: &Error) -> Response {
    match error {
        Error::NotFound(_) => gone(),
        other => {
            tracing::warn!(error = %other, "follow a signed link");
            page(StatusCode::SERVICE_UNAVAILABLE, pages::later())
        }
    }
}

/// One answer for every token that is not ours.
fn gone() -> Response {
    page(StatusCode::NOT_FOUND, pages::gone())
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
