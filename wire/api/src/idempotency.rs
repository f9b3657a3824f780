//! `Idempotency-Key`: a call that is sent twice is done once.
//!
//! One layer for every route: without the header it does nothing. Answers that say *try again*
//! (401, 403, 408, 429 and 5xx) are not kept, nor are answers that carry a secret. An answer that
//! went lost is made again, by the handler itself, from what its transactions have kept.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use tidings_engine::idempotency::{
    self, Key, MAX_ANSWER_BYTES, Overtaken, RENEW_EVERY, Start, Work,
};
use tidings_engine::{Ctx, Error};

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
    let path = request.uri().path();
    if path == "/v1/session" || path.starts_with("/v1/session/") {
        // What somebody does to themselves names no workspace, and doing it twice is harmless.
        return Ok(next.run(request).await);
    }
    let caller = authenticate(request.headers(), request.method(), api).await?;
    let key = key.to_str().unwrap_or_default().to_owned();
    let (request, fingerprint) = fingerprinted(request).await?;
    let (method, uri) = (request.method().to_string(), request.uri().to_string());
    let parts: [&[u8]; 3] = [method.as_bytes(), uri.as_bytes(), &fingerprint];
    let (ctx, owner) = (caller.ctx.clone(), caller.caller.key());
    let work = work(request.uri().path());
    let held = match idempotency::begin(&ctx, &owner, &key, &parts, work).await? {
        Start::Go(key) => key,
        Start::Replay { status, answer } => return Ok(replayed(status, answer)),
        Start::Mismatch => return Err(mismatch()),
    };
    // A caller who hangs up must not leave a call half done: it is finished and kept without them.
    match tokio::spawn(run(caller, held, request, next)).await {
        Ok(Ok(Ran::Answer(response))) => return Ok(response),
        Ok(Ok(Ran::Overtaken(Overtaken::Mismatch))) => return Err(mismatch()),
        Ok(Ok(Ran::Overtaken(Overtaken::Answered))) => {}
        Ok(Err(problem)) => return Err(problem),
        Err(error) => return Err(Error::Internal(format!("a call with a key: {error}")).into()),
    }
    match idempotency::begin(&ctx, &owner, &key, &parts, work).await? {
        Start::Replay { status, answer } => Ok(replayed(status, answer)),
        _ => Err(Error::Unavailable("the kept answer was dropped just now".to_owned()).into()),
    }
}

/// Routes whose work is more than transactions of the workspace: files and the job that reads them,
/// a mail that goes out at once, people and tokens, which are in another database, and what is
/// compared with all that stands.
fn work(path: &str) -> Work {
    let path = path.strip_prefix("/v1/").unwrap_or(path);
    let noun = path.split('/').next().unwrap_or_default();
    match noun {
        "definitions" | "imports" | "users" | "tokens" | "roles" | "security" => Work::Else,
        "templates" | "relays" if path.ends_with("/test") => Work::Else,
        _ => Work::Transactions,
    }
}

fn mismatch() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency_mismatch",
        "this Idempotency-Key was used for another request",
    )
}

/// How a call ended.
enum Ran {
    Answer(Response),
    Overtaken(Overtaken),
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

/// Does the call and keeps its answer.
async fn run(caller: Authenticated, key: Key, mut request: Request, next: Next) -> Result<Ran> {
    let ctx = caller.ctx.clone();
    request.extensions_mut().insert(caller);
    let response = renewed(&ctx, &key, next.run(request)).await?;
    if let Some(overtaken) = key.overtaken() {
        return Ok(Ran::Overtaken(overtaken));
    }
    if !is_final(&response) {
        key.forget(&ctx).await?;
        return Ok(Ran::Answer(response));
    }
    let is_replayed = key.is_replayed();
    let (mut parts, body) = response.into_parts();
    let bytes = match body.collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) => return Err(Error::Internal(format!("an answer broke off: {error}")).into()),
    };
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.len() <= MAX_ANSWER_BYTES => {
            key.finish(&ctx, parts.status.as_u16(), text).await?;
        }
        // It is made again from what was kept of the work.
        _ => key.forget(&ctx).await?,
    }
    if is_replayed {
        parts.headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(Ran::Answer(Response::from_parts(parts, Body::from(bytes))))
}

/// Waits for the answer, and says from time to time that it is being worked on.
async fn renewed(ctx: &Ctx, key: &Key, answer: impl Future<Output = Response>) -> Result<Response> {
    let mut answer = std::pin::pin!(key.run(answer));
    let mut renewal = tokio::time::interval(RENEW_EVERY);
    renewal.reset();
    loop {
        tokio::select! {
            response = &mut answer => return Ok(response),
            _ = renewal.tick() => key.renew(ctx).await?,
        }
    }
}

/// The header of an answer to a call whose work was done before.
const REPLAYED: &str = "idempotency-replayed";

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
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
