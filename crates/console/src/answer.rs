//! One request for one file: which variant to send, how long it may be kept, and what a browser may do with it.
//! It knows nothing of where the files come from.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::borrow::Cow;

/// One file of the build.
pub struct File {
    pub data: Cow<'static, [u8]>,
    /// SHA-256 of `data`.
    pub hash: [u8; 32],
}

const PLACEHOLDER: &str = include_str!("../placeholder/index.html");

/// Scripts come from the hub alone. Styles may be inline and images may come from anywhere, because a mail shown in a sandboxed
/// frame inherits this policy, and mails are full of both. Nobody may frame the console.
const POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: https: http:; \
     font-src 'self'; connect-src 'self'; frame-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'";

/// Encodings the build may hold beside a file, best first.
const ENCODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// Answers `path` (relative to the build) from `files`. A missing file below `assets/` is 404: a page that asks for it is older than
/// the hub. Any other missing path is a screen and gets the index page, or the placeholder when nothing was built.
pub fn answer(files: impl Fn(&str) -> Option<File>, path: &str, headers: &HeaderMap) -> Response {
    if let Some(response) = stored(&files, path, headers) {
        return response;
    }
    if path.starts_with("assets/") {
        return with_safety((StatusCode::NOT_FOUND, "no such file\n").into_response());
    }
    stored(&files, "index.html", headers).unwrap_or_else(placeholder)
}

fn placeholder() -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    with_safety((headers, PLACEHOLDER).into_response())
}

fn stored(
    files: &impl Fn(&str) -> Option<File>,
    path: &str,
    headers: &HeaderMap,
) -> Option<Response> {
    let plain = files(path)?;
    let encoded = ENCODINGS.into_iter().filter(|(name, _)| accepts(headers, name)).find_map(
        |(name, suffix)| {
            let file = files(&format!("{path}{suffix}"))?;
            Some((name, file))
        },
    );
    let (encoding, file) = match encoded {
        Some((name, file)) => (Some(name), file),
        None => (None, plain),
    };
    let tag = etag(&file);
    let mut response = if has_tag(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = Body::from(file.data).into_response();
        set(&mut response, header::CONTENT_TYPE, content_type(path));
        if let Some(name) = encoding {
            set(&mut response, header::CONTENT_ENCODING, name);
        }
        response
    };
    if let Ok(value) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    set(&mut response, header::VARY, "accept-encoding");
    // Names below assets/ carry a hash of their content, so they never change; the page that names them must be asked for again.
    let keep = if path.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    set(&mut response, header::CACHE_CONTROL, keep);
    Some(with_safety(response))
}

fn with_safety(mut response: Response) -> Response {
    set(&mut response, header::CONTENT_SECURITY_POLICY, POLICY);
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(&mut response, header::REFERRER_POLICY, "same-origin");
    set(&mut response, header::X_FRAME_OPTIONS, "DENY");
    set(&mut response, HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    response
}

fn set(response: &mut Response, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}

/// A strong tag over the bytes that are sent, so each encoding has its own.
fn etag(file: &File) -> String {
    let mut tag = String::from("\"");
    for byte in &file.hash[..16] {
        tag.push_str(&format!("{byte:02x}"));
    }
    tag.push('"');
    tag
}

fn has_tag(headers: &HeaderMap, tag: &str) -> bool {
    values(headers, header::IF_NONE_MATCH)
        .any(|value| value.trim_start_matches("W/") == tag || value == "*")
}

/// Whether `Accept-Encoding` names the encoding with a weight above nought.
fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    values(headers, header::ACCEPT_ENCODING).any(|value| {
        let mut parts = value.split(';');
        let named = parts.next().is_some_and(|name| name.trim().eq_ignore_ascii_case(encoding));
        let weight = parts.find_map(|part| part.trim().strip_prefix("q=")?.parse::<f32>().ok());
        named && weight.unwrap_or(1.0) > 0.0
    })
}

fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter();
    lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).map(str::trim)
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;

    const BUILD: [(&str, &str); 4] = [
        ("index.html", "<page>"),
        ("assets/a-1.js", "plain"),
        ("assets/a-1.js.br", "brotli"),
        ("assets/a-1.js.gz", "gzipped"),
    ];

    fn built(path: &str) -> Option<File> {
        let (_, text) = BUILD.iter().find(|(name, _)| *name == path)?;
        let mut hash = [0; 32];
        hash[..text.len()].copy_from_slice(text.as_bytes());
        Some(File { data: text.as_bytes().into(), hash })
    }

    fn ask(path: &str, name: HeaderName, value: &'static str) -> Response {
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
        answer(built, path, &headers)
    }

    async fn text(response: Response) -> String {
        String::from_utf8(to_bytes(response.into_body(), 100_000).await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn the_best_accepted_encoding_is_sent() {
        let cases = [
            ("gzip, deflate, br", "brotli", Some("br")),
            ("gzip", "gzipped", Some("gzip")),
            ("br;q=0, gzip;q=0.5", "gzipped", Some("gzip")),
            ("identity", "plain", None),
            ("nobr, gzipped", "plain", None),
        ];
        for (accepted, expected, encoding) in cases {
            let response = ask("assets/a-1.js", header::ACCEPT_ENCODING, accepted);
            assert_eq!(
                response.headers()[header::CONTENT_TYPE],
                "text/javascript; charset=utf-8",
                "{accepted}"
            );
            assert_eq!(response.headers()[header::VARY], "accept-encoding", "{accepted}");
            let named = response
                .headers()
                .get(header::CONTENT_ENCODING)
                .map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(named.as_deref(), encoding, "{accepted}");
            assert_eq!(text(response).await, expected, "{accepted}");
        }
    }

    #[tokio::test]
    async fn a_known_file_is_not_sent_again() {
        let first = ask("index.html", header::ACCEPT, "*/*");
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        let headers = HeaderMap::from_iter([(
            header::IF_NONE_MATCH,
            HeaderValue::from_str(&format!("\"x\", W/{tag}")).unwrap(),
        )]);
        let second = answer(built, "index.html", &headers);
        assert_eq!(second.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(text(second).await, "");
        assert_eq!(ask("index.html", header::IF_NONE_MATCH, "\"x\"").status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn encodings_have_tags_of_their_own() {
        let tags = ["br", "gzip", "identity"].map(|accepted| {
            let response = ask("assets/a-1.js", header::ACCEPT_ENCODING, accepted);
            response.headers()[header::ETAG].clone()
        });
        assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2]);
    }

    #[tokio::test]
    async fn hashed_files_are_kept_and_pages_are_asked_for_again() {
        let cases = [
            ("assets/a-1.js", StatusCode::OK, "public, max-age=31536000, immutable"),
            ("index.html", StatusCode::OK, "no-cache"),
            ("segments/42", StatusCode::OK, "no-cache"),
        ];
        for (path, status, keep) in cases {
            let response = ask(path, header::ACCEPT, "*/*");
            assert_eq!(response.status(), status, "{path}");
            assert_eq!(response.headers()[header::CACHE_CONTROL], keep, "{path}");
        }
    }

    #[tokio::test]
    async fn a_file_of_an_older_build_is_not_answered_with_a_page() {
        let response = ask("assets/a-0.js", header::ACCEPT, "*/*");
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(text(response).await, "no such file\n");
    }

    #[tokio::test]
    async fn without_a_build_the_placeholder_says_what_to_do() {
        let response = answer(|_| None, "customers", &HeaderMap::new());
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        assert!(text(response).await.contains("npm run build"));
    }

    #[test]
    fn every_answer_carries_the_safety_headers() {
        for path in ["index.html", "assets/a-1.js", "assets/missing.js", "customers"] {
            let response = ask(path, header::ACCEPT, "*/*");
            let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(
                policy.contains("script-src 'self';") && policy.contains("frame-ancestors 'none'"),
                "{path}"
            );
            assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
            assert_eq!(response.headers()[header::REFERRER_POLICY], "same-origin", "{path}");
        }
    }
}
