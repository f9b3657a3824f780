//! Serves the built web console under `/console/` from the binary itself.
//! It knows files and HTTP caching; it knows nothing of customers, sessions or the API, which the console calls like any other client.

mod answer;

use axum::{
    Router,
    extract::Path,
    http::HeaderMap,
    response::{Redirect, Response},
    routing::get,
};
use rust_embed::RustEmbed;

/// What `npm run build` left in `console/dist`; empty but for `.keep` in a checkout that has not built it.
#[derive(RustEmbed)]
#[folder = "../../console/dist"]
struct Dist;

/// Routes of the console: `/` and `/console` lead to `/console/`, under which files of the build are served.
/// Any other path below it answers the console's one page, because the console does its own routing.
pub fn router() -> Router {
    Router::new()
        .route("/", get(to_console))
        .route("/console", get(to_console))
        .route("/console/", get(page))
        .route("/console/{*path}", get(file))
}

async fn to_console() -> Redirect {
    Redirect::temporary("/console/")
}

async fn page(headers: HeaderMap) -> Response {
    answer::answer(embedded, "index.html", &headers)
}

async fn file(Path(path): Path<String>, headers: HeaderMap) -> Response {
    answer::answer(embedded, &path, &headers)
}

fn embedded(path: &str) -> Option<answer::File> {
    let file = Dist::get(path)?;
    Some(answer::File { hash: file.metadata.sha256_hash(), data: file.data })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{
        body::Body,
        http::{Request, StatusCode, header},
    };
    use tower::ServiceExt;

    async fn call(path: &str) -> Response {
        let request = Request::get(path).body(Body::empty()).unwrap();
        router().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn the_root_leads_to_the_console() {
        for path in ["/", "/console"] {
            let response = call(path).await;
            assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT, "{path}");
            assert_eq!(response.headers()[header::LOCATION], "/console/", "{path}");
        }
    }

    #[tokio::test]
    async fn every_screen_answers_a_page_with_or_without_a_build() {
        for path in ["/console/", "/console/campaigns/0197", "/console/customers?q=ann"] {
            let response = call(path).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(
                response.headers()[header::CONTENT_TYPE],
                "text/html; charset=utf-8",
                "{path}"
            );
            assert!(response.headers().contains_key(header::CONTENT_SECURITY_POLICY), "{path}");
        }
    }

    #[tokio::test]
    async fn other_paths_are_not_the_consoles() {
        assert_eq!(call("/v1/customers").await.status(), StatusCode::NOT_FOUND);
    }
}
