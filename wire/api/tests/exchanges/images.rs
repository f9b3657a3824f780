//! Pictures: uploaded, listed, seen where they are used, and kept out of the way of what is none.

use axum::body::Body;
use axum::http::Request;

use crate::home::{Answer, Engine, TestApi};

const DOT: &[u8] =
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\
\x00\x00\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

async fn upload(api: &TestApi, name: &str, bytes: Vec<u8>) -> Answer {
    let request = Request::post(format!("/v1/images?name={name}"))
        .header("authorization", format!("Bearer {}", api.token))
        .header("content-type", "image/png")
        .body(Body::from(bytes))
        .unwrap();
    api.send(request).await
}

async fn a_picture_lives_from_upload_to_removal(engine: Engine) {
    let api = TestApi::on(engine).await;
    let made = upload(&api, "dot.png", DOT.to_vec()).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    let made = made.json();
    // It is a GIF, whatever its name and the call say.
    assert_eq!((made["kind"].as_str(), made["width"].as_i64()), (Some("gif"), Some(1)));
    let (id, url) = (made["id"].as_str().unwrap(), made["url"].as_str().unwrap());
    let again = upload(&api, "dot.png", DOT.to_vec()).await.json();
    assert_ne!(again["url"], made["url"]);
    let listed = api.call("GET", "/v1/images?limit=1", "").await.json();
    assert_eq!(listed["items"][0]["id"], again["id"]);
    assert!(listed["next"].is_string());

    let file = url.rsplit('/').next().unwrap();
    let number = i64::from(api.ctx.workspace.row.number);
    let hub = &api.ctx.hub;
    let (kind, bytes) = tidings_engine::images::show(hub, number, file).await.unwrap();
    assert_eq!((kind.as_str(), bytes.as_slice()), ("gif", DOT));
    let other = api.ctx.hub.ctx_by_slug("other").await.unwrap().workspace.row.number;
    let secret = file.trim_end_matches(".gif");
    for (workspace, file) in [
        (i64::from(other), file.to_owned()),
        (number, format!("{secret}.png")),
        (number, secret.to_owned()),
        (number, ".gif".to_owned()),
        (number, format!("{}.gif", &secret[1..])),
        (999, file.to_owned()),
    ] {
        assert!(tidings_engine::images::show(hub, workspace, &file).await.is_err(), "{file}");
    }

    let template = serde_json::json!({"name": "Letter", "subject": "Hi",
        "html": format!("<img src='{url}' alt=''>")});
    let template = api.call("POST", "/v1/templates", &template.to_string()).await.json();
    let uses = api.call("GET", &format!("/v1/images/{id}/uses"), "").await.json();
    assert_eq!(uses["items"][0]["id"], template["id"]);
    assert_eq!(api.call("DELETE", &format!("/v1/images/{id}"), "").await.status, 409);
    let path = format!("/v1/templates/{}", template["id"].as_str().unwrap());
    assert_eq!(api.call("DELETE", &path, "").await.status, 204);
    assert_eq!(api.call("DELETE", &format!("/v1/images/{id}"), "").await.status, 204);
    assert_eq!(api.call("GET", &format!("/v1/images/{id}"), "").await.status, 404);
    assert!(tidings_engine::images::show(hub, number, file).await.is_err());
}

async fn what_is_too_large_or_no_picture_is_refused(engine: Engine) {
    let api = TestApi::on(engine).await;
    let mut large = DOT.to_vec();
    large.resize(5 * 1024 * 1024, 0);
    assert_eq!(upload(&api, "a.gif", large.clone()).await.status, 201);
    large.push(0);
    assert_eq!(upload(&api, "a.gif", large.clone()).await.status, 422);
    large.push(0);
    assert_eq!(upload(&api, "a.gif", large).await.status, 413);
    let wide = b"GIF89a\xff\xff\x01\x00\x80".to_vec();
    let flat = b"GIF89a\x00\x00\x01\x00\x80".to_vec();
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>".to_vec();
    for bytes in [wide, flat, svg, Vec::new()] {
        assert_eq!(upload(&api, "a.gif", bytes).await.status, 422);
    }
    assert_eq!(upload(&api, "%20a.gif", DOT.to_vec()).await.status, 422);
    let listed = api.call("GET", "/v1/images", "").await.json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_lives_on_sqlite() {
    a_picture_lives_from_upload_to_removal(Engine::Sqlite).await;
    what_is_too_large_or_no_picture_is_refused(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_lives_on_postgres() {
    a_picture_lives_from_upload_to_removal(Engine::Postgres).await;
    what_is_too_large_or_no_picture_is_refused(Engine::Postgres).await;
}
