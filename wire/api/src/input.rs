//! Reading requests: bodies, query strings and paths, with faults that name the field.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::errors::{FieldProblem, Problem, Result};

/// How long a body that is read as a whole may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(60);
/// Bodies that name no limit of their own.
pub const SMALL_BODY: usize = 1024 * 1024;

/// Reads JSON. A text that is no JSON is 400, JSON of another shape is 422 with the field's path.
pub fn parse<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| explain::<T>(bytes, &error))
}

/// Reads a JSON object. A list of its values in their order, which serde would take too, is refused.
pub fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_some_and(|first| *first != b'{')
        && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
    {
        return Err(Problem::field("", "invalid_type", "expected an object"));
    }
    parse(bytes)
}

/// Reads again, slowly, to find out which field is wrong.
fn explain<'b, T: Deserialize<'b>>(bytes: &'b [u8], error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        return Problem::unreadable("invalid_json", format!("the body is no JSON: {error}"));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let (path, message) = match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Ok(_) => (String::new(), error.to_string()),
        Err(error) => {
            let path = error.path().to_string();
            (if path == "." { String::new() } else { path }, error.into_inner().to_string())
        }
    };
    // The place in the text helps nobody once the field is named.
    let message = match message.rfind(" at line ") {
        Some(at) => message[..at].to_owned(),
        None => message,
    };
    // A field that is given twice is known by its name in the message alone.
    let path =
        match message.strip_prefix("duplicate field `").and_then(|name| name.split('`').next()) {
            Some(name) if path.is_empty() => name.to_owned(),
            Some(name) => format!("{path}.{name}"),
            None => path,
        };
    let code = if message.starts_with("unknown field") {
        "unknown_field"
    } else if message.starts_with("missing field") {
        "required"
    } else {
        "invalid_type"
    };
    Problem::invalid(vec![FieldProblem::new(path, code, message)])
}

/// A JSON body.
pub struct Input<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        if content_type(request.headers()) != Some("application/json") {
            return Err(unsupported("application/json"));
        }
        Ok(Input(object(&whole_body(request, state).await?)?))
    }
}

/// A JSON body that may be left out.
pub struct OptionalInput<T>(pub T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalInput<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let body = whole_body(request, state).await?;
        Ok(OptionalInput(if body.is_empty() { T::default() } else { object(&body)? }))
    }
}

/// A body of any kind, as it is.
pub struct Whole(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        whole_body(request, state).await.map(Whole)
    }
}

/// One object, an array, or a stream of lines.
pub enum Incoming {
    Whole(Bytes),
    Lines(Body),
}

impl<S: Send + Sync> FromRequest<S> for Incoming {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        match content_type(request.headers()) {
            Some("application/json") => Ok(Incoming::Whole(whole_body(request, state).await?)),
            Some("application/x-ndjson" | "application/ndjson" | "application/jsonl") => {
                Ok(Incoming::Lines(request.into_body()))
            }
            _ => Err(unsupported("application/json or application/x-ndjson")),
        }
    }
}

fn unsupported(expected: &str) -> Problem {
    let detail = format!("expected a body of type {expected}");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_type", detail)
}

/// The content type without its parameters.
pub fn content_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim())
}

async fn whole_body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes> {
    match tokio::time::timeout(BODY_TIME, Bytes::from_request(request, state)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(BytesRejection::FailedToBufferBody(rejection)))
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE =>
        {
            let detail = "the body is larger than this route takes";
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail))
        }
        Ok(Err(_)) => Err(Problem::unreadable("unreadable", "the body broke off")),
        Err(_) => {
            let detail = "the body took too long to arrive";
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", detail))
        }
    }
}

/// The query string.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let query = parts.uri.query().unwrap_or_default();
        let read = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        if query.contains("%00") {
            return Err(Problem::field("", "invalid", "the query contains a NUL character"));
        }
        match read {
            Ok(axum::extract::Query(value)) => Ok(Query(value)),
            Err(rejection) => {
                let text = rejection.body_text();
                let text = text.rsplit_once("string: ").map_or(text.as_str(), |(_, fault)| fault);
                let code =
                    if text.contains("unknown field") { "unknown_field" } else { "invalid_type" };
                let path = text.split_once(": ").map_or("", |(path, _)| path);
                Err(Problem::field(path, code, text))
            }
        }
    }
}

/// The variable parts of a path.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        if parts.uri.path().contains("%00") {
            return Err(Problem::not_found("a path with a NUL character"));
        }
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Path(value)),
            // An id that is no id names nothing.
            Err(_) => Err(Problem::not_found("what this path names")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code)]
    struct Outer {
        inner: Vec<Inner>,
    }
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code)]
    struct Inner {
        size: u8,
    }

    #[track_caller]
    fn check(body: &str, status: u16, code: &str, path: &str) {
        let problem = object::<Outer>(body.as_bytes()).unwrap_err();
        let field = problem.errors.first();
        let (found_code, found_path) = match field {
            Some(field) => (field.code.as_ref(), field.path.as_str()),
            None => (problem.code, ""),
        };
        assert_eq!(
            (problem.status.as_u16(), found_code, found_path),
            (status, code, path),
            "{body}"
        );
    }

    #[test]
    fn faults_name_the_field() {
        check("{", 400, "invalid_json", "");
        check("", 400, "invalid_json", "");
        check(r#"{"inner":[{"size":1e400}]}"#, 400, "invalid_json", "");
        check(r#"{"inner":[{"size":"\ud800"}]}"#, 400, "invalid_json", "");
        check("[1]", 422, "invalid_type", "");
        check("[[]]", 422, "invalid_type", "");
        check("null", 422, "invalid_type", "");
        check(r#"{"inner":[{"size":1},{"size":"x"}]}"#, 422, "invalid_type", "inner[1].size");
        check(r#"{"inner":[{"size":256}]}"#, 422, "invalid_type", "inner[0].size");
        check(r#"{"inner":[{"size":1,"colour":2}]}"#, 422, "unknown_field", "inner[0].colour");
        check(r#"{"inner":[{}]}"#, 422, "required", "inner[0]");
        check(r#"{"inner":[],"inner":[]}"#, 422, "invalid_type", "inner");
    }
}
