//! `Idempotency-Key`: a call that is sent twice is done once.
//!
//! One layer for every route: without the header it does nothing. Answers that say *try again*
//! (401, 403, 408, 429 and 5xx) are not kept, nor are answers that carry a secret.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use tidings_engine::Error;
use tidings_engine::idempotency::{self, Key, MAX_ANSWER_BYTES, RENEW_EVERY, Start};

use crate::call::{Api, Authenticated, authenticate};
use crate::errors::{PROBLEM_JSON, Problem, Result};
use crate::input::content_type;
use crate::many::MAX_BODY;

/// Runs a call with a key once; later calls with it get the first one's answer.
pub async fn layer(State(api): State<Api>, request: Request, next: Next) -> Response {
    let key = match request.headers().get("idempotency-key") {
        Some(key) if !request.method().is_safe() => key.clone(),
        _ => return next.run(request).await,
    };
    match keyed(&api, &key, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn keyed(api: &Api, key: &HeaderValue, request: Request, next: Next) -> Result<Response> {
    let has_session = request.uri().path().ends_with("/session");
    if has_session {
        // Signing in and out names no workspace, and doing it twice is harmless.
        return Ok(next.run(request).await);
    }
    let caller = authenticate(request.headers(), request.method(), api).await?;
    let key = key.to_str().unwrap_or_default().to_owned();
    let (request, fingerprint) = fingerprinted(request).await?;
    let (method, uri) = (request.method().to_string(), request.uri().to_string());
    let parts: [&[u8]; 3] = [method.as_bytes(), uri.as_bytes(), &fingerprint];
    match idempotency::begin(&caller.ctx, &caller.caller.key(), &key, &parts).await? {
        // A caller who hangs up must not leave a call half done: it is finished and kept without them.
        Start::Go(key) => match tokio::spawn(run(caller, key, request, next)).await {
            Ok(result) => result,
            Err(error) => Err(Error::Internal(format!("a call with a key: {error}")).into()),
        },
        Start::Replay { status, answer } => Ok(replayed(status, answer)),
        Start::Mismatch => Err(Problem::new(
            StatusCode::CONFLICT,
            "idempotency_mismatch",
            "this Idempotency-Key was used for another request",
        )),
    }
}

/// What makes two bodies the same: their bytes, or for a file its type and length, because a file
/// is too large to be kept until its end is seen.
async fn fingerprinted(request: Request) -> Result<(Request, Bytes)> {
    match content_type(request.headers()) {
        Some("application/x-ndjson" | "application/ndjson" | "application/jsonl") => {
            let message = "a stream of lines has no answer that could be kept; send an array";
            Err(Problem::field("Idempotency-Key", "unsupported", message))
        }
        Some("application/json") | None => {
            let (parts, body) = request.into_parts();
            let body = http_body_util::Limited::new(body, MAX_BODY);
            let bytes = match body.collect().await {
                Ok(collected) => collected.to_bytes(),
                Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                    return Err(Problem::too_large(MAX_BODY));
                }
                Err(_) => return Err(Problem::unreadable("unreadable", "the body broke off")),
            };
            Ok((Request::from_parts(parts, Body::from(bytes.clone())), bytes))
        }
        Some(other) => {
            let length = request.headers().get(header::CONTENT_LENGTH);
            let length = length.and_then(|value| value.to_str().ok()).unwrap_or("unknown");
            let bytes = Bytes::from(format!("{other} {length}"));
            Ok((request, bytes))
        }
    }
}

/// Does the call while its key is held.
async fn run(
    caller: Authenticated,
    key: Key,
    mut request: Request,
    next: Next,
) -> Result<Response> {
    let ctx = caller.ctx.clone();
    request.extensions_mut().insert(caller);
    let mut answer = std::pin::pin!(next.run(request));
    let mut renewal = tokio::time::interval(RENEW_EVERY);
    renewal.reset();
    let response = loop {
        tokio::select! {
            response = &mut answer => break response,
            _ = renewal.tick() => key.renew(&ctx).await?,
        }
    };
    if !is_final(&response) {
        key.forget(&ctx).await?;
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let collected = http_body_util::Limited::new(body, MAX_ANSWER_BYTES).collect().await;
    let bytes = match collected {
        Ok(collected) => collected.to_bytes(),
        Err(_) => {
            key.forget(&ctx).await?;
            let detail = "the answer is too large to be kept; send fewer items with a key";
            return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail));
        }
    };
    match std::str::from_utf8(&bytes) {
        Ok(text) => key.finish(&ctx, parts.status.as_u16(), text).await?,
        Err(_) => key.forget(&ctx).await?,
    }
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

/// Whether an answer stays the same when the call is repeated.
fn is_final(response: &Response) -> bool {
    let status = response.status();
    let again = [401, 403, 408, 429].contains(&status.as_u16()) || status.is_server_error();
    !again && response.extensions().get::<Secret>().is_none()
}

/// Marks an answer with a secret in it, which is shown once and kept nowhere: put it into the
/// response's extensions.
#[derive(Clone)]
pub struct Secret;

fn replayed(status: u16, answer: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let kind = if status.is_success() { "application/json" } else { PROBLEM_JSON };
    let mut response = (status, answer.clone()).into_response();
    let headers = response.headers_mut();
    if answer.is_empty() {
        headers.remove(header::CONTENT_TYPE);
    } else {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    response
}
