//! A picture as a mail reader asks for it.

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use tidings_engine::images;
use tidings_testkit::hub::{Engine, TestHub};
use tower::ServiceExt;

const DOT: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00";

async fn get(hub: &TestHub, path: &str) -> Response<Body> {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    tidings_wire_mail::router(hub.hub.clone()).oneshot(request).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_may_be_kept_for_ever_and_runs_nothing() {
    let hub = TestHub::on(Engine::Sqlite).await;
    let id = images::create(&hub.ctx, "dot.png", DOT.to_vec()).await.expect("a picture");
    let image = images::get(&hub.ctx, id).await.expect("the picture");
    let url = images::url(&hub.ctx, &image);
    let path = &url[url.find("/i/").expect("the path")..];

    let answer = get(&hub, path).await;

    assert_eq!(answer.status(), StatusCode::OK);
    let headers = answer.headers().clone();
    assert_eq!(headers[header::CONTENT_TYPE], "image/gif");
    assert_eq!(headers[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
    assert_eq!(headers[header::CONTENT_SECURITY_POLICY], "default-src 'none'; sandbox");
    assert_eq!(headers["cross-origin-resource-policy"], "cross-origin");
    let body = answer.into_body().collect().await.expect("the body").to_bytes();
    assert_eq!(&body[..], DOT);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_else_is_there_and_its_absence_is_not_kept() {
    let hub = TestHub::on(Engine::Sqlite).await;
    let number = hub.ctx.workspace.row.number;
    for path in [
        format!("/i/{number}/AAAAAAAAAAAAAAAAAAAAAAAA.gif"),
        format!("/i/{number}/..%2F..%2Fmaster.key"),
        format!("/i/{number}/a%00.gif"),
        format!("/i/{number}/.gif"),
        "/i/999999/a.gif".to_owned(),
    ] {
        let answer = get(&hub, &path).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store", "{path}");
    }
}
