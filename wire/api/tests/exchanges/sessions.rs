//! Signing in by the console: cookies, and calls that other sites make.

use axum::body::Body;
use axum::http::Request;
use axum::http::request::Builder;
use serde_json::json;
use tidings_engine::accounts::Role;

use crate::home::{Answer, Engine, TestApi};

const PASSWORD: &str = "correct horse";

fn sign_in(mail: &str, password: &str) -> Request<Body> {
    let body = json!({"mail": mail, "password": password}).to_string();
    request("POST", "/v1/session").body(Body::from(body)).unwrap()
}

fn request(method: &str, path: &str) -> Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "hub.example")
        .header("content-type", "application/json")
}

/// The cookie as the browser sends it back.
fn cookie(answer: &Answer) -> String {
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

async fn as_browser(api: &TestApi, role: Role) -> (String, String) {
    let mail = format!("{}@example.com", role.name());
    api.user(&mail, role).await;
    let answer = api.send(sign_in(&mail, PASSWORD)).await;
    assert_eq!(answer.status, 200);
    let csrf = answer.json()["csrf"].as_str().unwrap().to_owned();
    (cookie(&answer), csrf)
}

fn add_group(cookie: &str) -> Builder {
    request("POST", "/v1/groups").header("cookie", cookie).header("tidings-workspace", "test")
}

const GROUP: &str = r#"{"name":"staff"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_needs_its_csrf_token_its_own_origin_and_its_workspace() {
    let api = TestApi::on(Engine::Sqlite).await;
    let (cookie, csrf) = as_browser(&api, Role::Editor).await;
    let build = |extra: &[(&str, &str)]| {
        let mut builder = add_group(&cookie);
        for (name, value) in extra {
            builder = builder.header(*name, *value);
        }
        builder.body(Body::from(GROUP)).unwrap()
    };
    let own = ("origin", "http://hub.example");
    for (extra, status) in [
        (vec![], 403),
        (vec![("tidings-csrf", "wrong"), own], 403),
        (vec![("tidings-csrf", csrf.as_str()), ("origin", "http://evil.example")], 403),
        (vec![("tidings-csrf", csrf.as_str()), ("origin", "null")], 403),
        (vec![("tidings-csrf", csrf.as_str()), ("sec-fetch-site", "cross-site")], 403),
        (vec![("tidings-csrf", csrf.as_str()), own], 201),
    ] {
        assert_eq!(api.send(build(&extra)).await.status, status, "{extra:?}");
    }
    for (workspace, status) in [(Some("test"), 200), (Some("other"), 404), (None, 400)] {
        let mut builder = request("GET", "/v1/groups").header("cookie", &cookie);
        if let Some(workspace) = workspace {
            builder = builder.header("tidings-workspace", workspace);
        }
        let answer = api.send(builder.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, status, "{workspace:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_look_and_editors_do_not_manage_people() {
    let api = TestApi::on(Engine::Sqlite).await;
    for (role, group, users) in
        [(Role::Viewer, 403, 403), (Role::Editor, 201, 403), (Role::Admin, 409, 200)]
    {
        let (cookie, csrf) = as_browser(&api, role).await;
        let post = add_group(&cookie).header("tidings-csrf", &csrf);
        let answer = api.send(post.body(Body::from(GROUP)).unwrap()).await;
        assert_eq!(answer.status, group, "{role:?} adds a group");
        let get = request("GET", "/v1/users").header("cookie", &cookie);
        let get = get.header("tidings-workspace", "test").body(Body::empty()).unwrap();
        assert_eq!(api.send(get).await.status, users, "{role:?} lists people");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_again_gives_a_new_session_and_signing_out_ends_it() {
    let api = TestApi::on(Engine::Sqlite).await;
    let (first, _) = as_browser(&api, Role::Viewer).await;
    let mut again = sign_in("viewer@example.com", PASSWORD);
    again.headers_mut().insert("cookie", first.parse().unwrap());
    let answer = api.send(again).await;
    let (second, csrf) = (cookie(&answer), answer.json()["csrf"].as_str().unwrap().to_owned());
    assert_ne!(first, second);
    let show = |cookie: &str| {
        request("GET", "/v1/session").header("cookie", cookie).body(Body::empty()).unwrap()
    };
    assert_eq!(api.send(show(&first)).await.status, 401);
    assert_eq!(api.send(show(&second)).await.json()["workspaces"][0]["role"], "viewer");
    let out = request("DELETE", "/v1/session").header("cookie", &second);
    assert_eq!(api.send(out.body(Body::empty()).unwrap()).await.status, 403);
    let out = request("DELETE", "/v1/session").header("cookie", &second);
    let out = out.header("tidings-csrf", &csrf).body(Body::empty()).unwrap();
    assert_eq!(api.send(out).await.status, 204);
    assert_eq!(api.send(show(&second)).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_when_nobody_calls_and_after_a_week() {
    let api = TestApi::on(Engine::Sqlite).await;
    const HOUR_MS: i64 = 3_600_000;
    let show = |cookie: &str| {
        request("GET", "/v1/session").header("cookie", cookie).body(Body::empty()).unwrap()
    };
    let (idle, _) = as_browser(&api, Role::Viewer).await;
    api.clock.advance_ms(8 * HOUR_MS - 1);
    assert_eq!(api.send(show(&idle)).await.status, 200);
    api.clock.advance_ms(8 * HOUR_MS);
    assert_eq!(api.send(show(&idle)).await.status, 401);
    let (busy, _) = as_browser(&api, Role::Editor).await;
    for _ in 0..(7 * 24 / 4 - 1) {
        api.clock.advance_ms(4 * HOUR_MS);
        assert_eq!(api.send(show(&busy)).await.status, 200);
    }
    api.clock.advance_ms(4 * HOUR_MS);
    assert_eq!(api.send(show(&busy)).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_and_unknown_people_get_one_answer_and_then_must_wait() {
    let api = TestApi::on(Engine::Sqlite).await;
    api.user("ann@example.com", Role::Admin).await;
    let wrong = api.send(sign_in("ann@example.com", "wrong")).await;
    let unknown = api.send(sign_in("bob@example.com", "wrong")).await;
    assert_eq!((wrong.status, unknown.status), (401.try_into().unwrap(), 401.try_into().unwrap()));
    assert_eq!(wrong.body, unknown.body);
    for _ in 0..4 {
        assert_eq!(api.send(sign_in("ann@example.com", "wrong")).await.status, 401);
    }
    let limited = api.send(sign_in("ann@example.com", PASSWORD)).await;
    assert_eq!(limited.status, 429);
    assert!(limited.headers.contains_key("retry-after"));
    api.clock.advance_ms(1_000);
    assert_eq!(api.send(sign_in("ann@example.com", PASSWORD)).await.status, 200);
}

/// What an app shows for a secret in base 32.
fn app(secret: &str, secs: i64) -> String {
    let script = "import sys,hmac,struct,base64\n\
         s=sys.argv[1]\nk=base64.b32decode(s+'='*(-len(s)%8))\n\
         h=hmac.new(k,struct.pack('>Q',int(sys.argv[2])//30),'sha1').digest()\n\
         o=h[-1]&15\nprint('%06d'%((struct.unpack('>I',h[o:o+4])[0]&0x7fffffff)%1000000))";
    let secs = secs.to_string();
    let out = std::process::Command::new("python3").args(["-c", script, secret, &secs]).output();
    String::from_utf8(out.expect("python3 runs").stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_may_ask_everybody_for_a_second_factor() {
    let api = TestApi::on(Engine::Sqlite).await;
    let (cookie, csrf) = as_browser(&api, Role::Admin).await;
    let call = async |method: &str, path: &str, body: serde_json::Value| {
        let request = request(method, path)
            .header("cookie", &cookie)
            .header("tidings-csrf", &csrf)
            .header("tidings-workspace", "test");
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        api.send(request.body(body).unwrap()).await
    };
    let none = serde_json::Value::Null;
    // Who has none would lock themselves out by asking for it.
    let refused = call("PUT", "/v1/security", json!({"require_totp": true})).await;
    assert_eq!(refused.status, 409);
    let shown = call("POST", "/v1/session/totp", none.clone()).await;
    assert_eq!(shown.status, 201);
    let shown = shown.json();
    let qr = shown["qr"].as_str().unwrap();
    assert!(qr.starts_with("<svg ") && !qr.contains("script") && !qr.contains("style="));
    let secret = shown["secret"].as_str().unwrap().to_owned();
    let now = || api.ctx.now().0 / 1_000_000;
    let wrong = call("PUT", "/v1/session/totp", json!({"code": "000000x"})).await;
    assert_eq!(
        (wrong.status.as_u16(), &wrong.json()["errors"][0]["code"]),
        (422, &json!("wrong_code"))
    );
    let done = call("PUT", "/v1/session/totp", json!({"code": app(&secret, now())})).await;
    assert_eq!(done.status, 200);
    let recovery = done.json()["recovery_codes"][0].as_str().unwrap().to_owned();
    assert_eq!(call("PUT", "/v1/security", json!({"require_totp": true})).await.status, 200);
    let state = call("GET", "/v1/session/totp", none.clone()).await.json();
    assert_eq!(state, json!({"active": true, "recovery_codes_left": 10}));
    // Asked for, it cannot be taken away, and nobody else gets in without.
    let kept = call("DELETE", "/v1/session/totp", json!({"code": recovery})).await;
    assert_eq!(kept.status, 409);
    let (other, _) = as_browser(&api, Role::Editor).await;
    let list = request("GET", "/v1/groups").header("cookie", &other);
    let list = list.header("tidings-workspace", "test").body(Body::empty()).unwrap();
    let answer = api.send(list).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (403, &json!("totp_needed")));
    assert_eq!(api.call("GET", "/v1/groups", "").await.status, 200, "tokens are not asked");
    // The code is asked for beside the right password alone.
    let with_code = |password: &str, code: Option<String>| {
        let body = json!({"mail": "admin@example.com", "password": password, "code": code});
        request("POST", "/v1/session").body(Body::from(body.to_string())).unwrap()
    };
    let answer = api.send(with_code(PASSWORD, None)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (401, &json!("totp_required")));
    let answer = api.send(with_code("wrong", None)).await;
    assert_eq!(answer.json()["code"], "unauthenticated");
    let answer = api.send(with_code(PASSWORD, Some("123".to_owned()))).await;
    assert_eq!(answer.json()["code"], "totp_wrong");
    api.clock.advance_ms(30_000);
    let answer = api.send(with_code(PASSWORD, Some(app(&secret, now())))).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["workspaces"][0]["totp_required"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_do_is_written_down_without_anybodys_data() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let api = TestApi::on(engine).await;
        let (cookie, csrf) = as_browser(&api, Role::Editor).await;
        let call = async |method: &str, path: &str, body: &str| {
            let request = request(method, path)
                .header("cookie", &cookie)
                .header("tidings-csrf", &csrf)
                .header("tidings-workspace", "test");
            let answer = api.send(request.body(Body::from(body.to_owned())).unwrap()).await;
            assert!(answer.status.is_success(), "{method} {path}: {:?}", answer.body);
            answer
        };
        let mail = "planted@planted.example";
        let body = format!(r#"{{"email":"{mail}","external_id":"planted"}}"#);
        let made = call("POST", "/v1/customers", &body).await.json();
        let customer = made["id"].as_str().unwrap();
        call("PUT", &format!("/v1/customers/email:{mail}/tags/planted"), "").await;
        let address = format!(r#"{{"channel":"email","address":"{mail}"}}"#);
        call("POST", "/v1/suppressions", &address).await;
        call("DELETE", &format!("/v1/suppressions/email/{mail}"), "").await;
        let found = api.call("GET", "/v1/audit", "").await;
        let text = String::from_utf8_lossy(&found.body).to_lowercase();
        assert!(!text.contains("planted"), "{text}");
        let said: Vec<(String, String)> = found.json()["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                let word = |name: &str| one[name].as_str().unwrap().to_owned();
                (word("action"), word("thing"))
            })
            .collect();
        for (at, (action, thing)) in [
            ("suppressions.delete", ""),
            ("suppressions.create", ""),
            ("customers.tags.put", customer),
            ("customers.create", customer),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!((said[at].0.as_str(), said[at].1.as_str()), (action, thing));
        }
    }
}
