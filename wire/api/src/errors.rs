//! The one place where the engine's errors become answers: RFC 9457 problems.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tidings_domain::change::Refusal;
use tidings_engine::Error;
use utoipa::ToSchema;

/// What went wrong, as `application/problem+json`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    #[schema(example = "Unprocessable Content")]
    title: &'static str,
    #[schema(example = 422)]
    status: u16,
    /// A stable word for programs.
    #[schema(example = "invalid")]
    code: &'static str,
    /// A sentence for people.
    detail: String,
    /// Which fields are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
}

/// One field that is wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FieldProblem {
    /// Such as `email` or `attributes.score`; empty where it is about the whole.
    pub path: String,
    #[schema(value_type = String, example = "invalid_email")]
    pub code: Cow<'static, str>,
    #[schema(example = "expected an address such as ann@example.com")]
    pub message: String,
    /// Where in a text, for templates, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

impl FieldProblem {
    pub fn new(
        path: impl Into<String>,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        let (code, message) = (code.into(), message.into());
        FieldProblem { path: path.into(), code, message, line: None, column: None }
    }
}

impl From<Refusal> for FieldProblem {
    fn from(refusal: Refusal) -> FieldProblem {
        FieldProblem::new(refusal.path, refusal.code, refusal.message)
    }
}

/// An answer that is not what the caller hoped for.
#[derive(Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub code: &'static str,
    pub detail: String,
    pub errors: Vec<FieldProblem>,
    /// When to try again, in seconds.
    pub retry_after: Option<u64>,
}

pub type Result<T, E = Problem> = std::result::Result<T, E>;

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, code, detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    /// 422 with the fields that are wrong.
    pub fn invalid(errors: Vec<FieldProblem>) -> Problem {
        let detail = match errors.first() {
            Some(first) if !first.path.is_empty() => format!("{}: {}", first.path, first.message),
            Some(first) => first.message.clone(),
            None => "the request is not valid".to_owned(),
        };
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Problem { status, code: "invalid", detail, errors, retry_after: None }
    }

    /// 422 with one field.
    pub fn field(
        path: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Problem {
        Problem::invalid(vec![FieldProblem::new(path, code, message)])
    }

    /// 400: not a request that could be read.
    pub fn unreadable(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub fn not_found(what: &str) -> Problem {
        Problem::from(Error::NotFound(what.to_owned()))
    }

    pub fn too_large(limit_bytes: usize) -> Problem {
        let detail = format!("the body is larger than {limit_bytes} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    /// The problem as one refused item of many.
    pub fn into_field(self) -> FieldProblem {
        let code = if self.status == StatusCode::BAD_REQUEST { "invalid_json" } else { self.code };
        let detail = self.detail;
        let first = self.errors.into_iter().next();
        first.unwrap_or_else(|| FieldProblem::new("", code, detail))
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        let text = error.to_string();
        match error {
            Error::Invalid(faults) => Problem::invalid(
                faults
                    .into_iter()
                    .map(|fault| FieldProblem {
                        line: fault.place.map(|(line, _)| line),
                        column: fault.place.map(|(_, column)| column),
                        ..FieldProblem::new(fault.path, fault.code, fault.message)
                    })
                    .collect(),
            ),
            Error::NotFound(_) => Problem::new(StatusCode::NOT_FOUND, "not_found", text),
            Error::Conflict(_) => Problem::new(StatusCode::CONFLICT, "conflict", text),
            Error::Forbidden(_) => Problem::new(StatusCode::FORBIDDEN, "forbidden", text),
            Error::Unauthenticated => {
                Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", text)
            }
            Error::SecondFactor { given } => {
                let code = if given { "totp_wrong" } else { "totp_required" };
                Problem::new(StatusCode::UNAUTHORIZED, code, text)
            }
            Error::Limited(secs) => Problem {
                retry_after: Some(secs),
                ..Problem::new(StatusCode::TOO_MANY_REQUESTS, "limited", text)
            },
            Error::Unavailable(_) => {
                tracing::warn!(error = text, "unavailable");
                Problem {
                    retry_after: Some(2),
                    ..Problem::new(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "unavailable",
                        "the store cannot be reached now; nothing was kept",
                    )
                }
            }
            Error::Internal(_) => {
                // What happened inside is for the log; the caller can only report it.
                tracing::error!(error = text, "internal");
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "an internal error")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: self.detail,
            errors: self.errors,
        };
        let text = serde_json::to_vec(&body).unwrap_or_default();
        let content_type = HeaderValue::from_static(PROBLEM_JSON);
        let mut response =
            (self.status, [(header::CONTENT_TYPE, content_type)], text).into_response();
        if let Some(secs) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let value = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }
}

/// The content type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";
