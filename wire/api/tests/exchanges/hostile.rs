//! Callers that mean ill: bodies made to break a reader, texts made to break SQL, and pages of
//! other sites. The numbers are those of the table in `docs/promises.md`.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tidings_engine::Hub;
use tidings_engine::accounts::Role;
use tower::ServiceExt;

use crate::home::{Engine, TestApi};

/// Whatever JSON is sent, it is refused by what is wrong with it, and nothing of it is kept.
#[tokio::test(flavor = "multi_thread")]
async fn row_35_json_made_to_break_its_reader_is_refused() {
    let api = TestApi::on(Engine::Sqlite).await;
    let nested = |open: &str, close: &str, times: usize| {
        format!(
            "{{\"external_id\":\"1\",\"attributes\":{}1{}}}",
            open.repeat(times),
            close.repeat(times)
        )
    };
    let event = |properties: String| {
        format!(
            "{{\"customer\":{{\"external_id\":\"1\"}},\"name\":\"seen\",\"properties\":{properties}}}"
        )
    };
    let many_keys: String = (0..1_000_000).map(|at| format!("\"k{at}\":1,")).collect();
    let customers = "/v1/customers";
    let cases: Vec<(&str, &str, Vec<u8>, &[u16])> = vec![
        ("arrays 100,000 deep", customers, nested("[", "]", 100_000).into(), &[400, 422]),
        ("objects 100,000 deep", customers, nested("{\"a\":", "}", 100_000).into(), &[400]),
        ("an array 100,000 deep", customers, "[".repeat(100_000).into(), &[400]),
        (
            "properties 100 deep",
            "/v1/events",
            event(format!("{}1{}", "[".repeat(100), "]".repeat(100))).into(),
            &[422],
        ),
        (
            "a million keys",
            "/v1/events",
            event(format!("{{{many_keys}\"z\":1}}")).into(),
            &[413, 422],
        ),
        (
            "a number beyond all",
            customers,
            br#"{"external_id":"1","attributes":{"n":1e400}}"#.to_vec(),
            &[400],
        ),
        ("half a surrogate", customers, br#"{"external_id":"\ud800"}"#.to_vec(), &[400]),
        ("bytes that are no text", customers, b"{\"external_id\":\"\xff\xfe\"}".to_vec(), &[400]),
        (
            "a field that is given twice",
            customers,
            br#"{"external_id":"1","external_id":"2"}"#.to_vec(),
            &[422],
        ),
        ("a byte order mark", customers, b"\xef\xbb\xbf{\"external_id\":\"1\"}".to_vec(), &[400]),
        ("two objects", customers, br#"{"external_id":"1"}{"external_id":"2"}"#.to_vec(), &[400]),
        ("NaN", customers, br#"{"external_id":"1","attributes":{"n":NaN}}"#.to_vec(), &[400]),
        ("33 MB", customers, vec![b' '; 33 << 20], &[413]),
        ("a little more than 1 MB", "/v1/groups", vec![b' '; (1 << 20) + 1], &[413]),
        ("10,001 items", customers, format!("[{}1]", "1,".repeat(10_000)).into(), &[413]),
    ];
    for (what, path, body, expected) in cases {
        let request = Request::post(path)
            .header("authorization", format!("Bearer {}", api.token))
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap();
        let answer = api.send(request).await;
        let status = answer.status.as_u16();
        assert!(expected.contains(&status), "{what}: {status} {:?}", answer.json());
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
    }
    let list = api.call("GET", customers, "").await.json();
    assert_eq!(list["items"], json!([]), "nothing was kept");
    // The counter-test: what is just within the limits is taken.
    let deep = event(format!("{}1{}", "{\"a\":".repeat(5), "}".repeat(5)));
    assert_eq!(api.call("POST", customers, r#"{"external_id":"1"}"#).await.status, 201);
    assert_eq!(api.call("POST", "/v1/events", &deep).await.status, 201);
}

/// Texts that would be more than texts if any of them came into a statement.
const FOR_SQL: [&str; 12] = [
    "' or '1'='1",
    "'; drop table customers; --",
    "\"; drop table customers; --",
    "\\'; select 1; --",
    "x' union select name, 1, 1, 1 from sqlite_master --",
    "1) or (1=1",
    "?1 $1 :a @b",
    "{s}customers",
    "%' or 1=1 --",
    "`customers`",
    "$$; drop schema public cascade; $$",
    "a'||(select 1)||'b",
];

#[tokio::test(flavor = "multi_thread")]
async fn row_41_no_text_becomes_sql_on_sqlite() {
    no_text_becomes_sql(TestApi::on(Engine::Sqlite).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_41_no_text_becomes_sql_on_postgres() {
    no_text_becomes_sql(TestApi::on(Engine::Postgres).await).await;
}

/// Every text, in every place that takes one: it is refused, or comes back as it was sent and finds
/// what it names and nothing else.
async fn no_text_becomes_sql(api: TestApi) {
    let others = ["ann", "bob"];
    for name in others {
        let body = json!({"external_id": name}).to_string();
        assert_eq!(api.call("POST", "/v1/customers", &body).await.status, 201);
    }
    for (at, text) in FOR_SQL.iter().enumerate() {
        // As the name of what becomes a column, a table and a field.
        let attribute = json!({"name": text, "kind": "text"}).to_string();
        let table = json!({"name": text, "owner": "customer",
            "fields": [{"name": text, "kind": "text"}]});
        let made = api.call("POST", "/v1/attributes", &attribute).await.status;
        let tabled = api.call("POST", "/v1/tables", &table.to_string()).await.status;
        assert!([201, 422].contains(&made.as_u16()), "{text}: {made}");
        assert!([201, 422].contains(&tabled.as_u16()), "{text}: {tabled}");
        // As a value, a tag, a group, an event with its property.
        let id = format!("hostile-{at}");
        let mut customer = json!({"external_id": id, "attributes": {}});
        if made == 201 {
            customer["attributes"][*text] = json!(text);
        }
        let saved = api.call("POST", "/v1/customers", &customer.to_string()).await;
        assert_eq!(saved.status, 201, "{text}: {:?}", saved.json());
        let named = json!({"external_id": text}).to_string();
        assert_eq!(api.call("POST", "/v1/customers", &named).await.status, 201, "{text}");
        let event =
            json!({"customer": {"external_id": text}, "name": text, "properties": {*text: text}});
        let event = api.call("POST", "/v1/events", &event.to_string()).await;
        assert!([201, 422].contains(&event.status.as_u16()), "{text}: {:?}", event.json());
        if tabled == 201 {
            let record =
                json!({"key": text, "customer": {"external_id": id}, "fields": {*text: text}});
            let path = format!("/v1/tables/{}/records", escaped(text));
            let saved = api.call("POST", &path, &record.to_string()).await;
            assert_eq!(saved.status, 201, "{text}: {:?}", saved.json());
        }
        // As what is looked for.
        let mut rules = vec![
            json!({"tag": text}),
            json!({"segment": text}),
            json!({"group": text}),
            json!({"event": text, "where": [{"property": text, "eq": text}]}),
        ];
        if made == 201 {
            for op in ["eq", "matches", "contains"] {
                rules.push(json!({"attribute": text, op: text}));
            }
        }
        for rule in rules {
            let path = format!("/v1/customers?limit=1000&filter={}", escaped(&rule.to_string()));
            let found = api.call("GET", &path, "").await;
            assert!([200, 422].contains(&found.status.as_u16()), "{rule}: {:?}", found.json());
            let items = found.json()["items"].as_array().cloned().unwrap_or_default();
            let found: Vec<&str> =
                items.iter().filter_map(|one| one["external_id"].as_str()).collect();
            assert!(others.iter().all(|other| !found.contains(other)), "{rule} finds {found:?}");
        }
        let search = api.call("GET", &format!("/v1/customers?q={}", escaped(text)), "").await;
        assert_eq!(search.status, 200, "{text}: {:?}", search.json());
        let path = format!("/v1/customers/{}", escaped(&format!("external_id:{text}")));
        let found = api.call("GET", &path, "").await;
        assert_eq!(found.status, 200, "{text}");
        assert_eq!(found.json()["external_id"], *text);
        if made == 201 {
            let found = api.call("GET", &format!("/v1/customers/external_id:{id}"), "").await;
            assert_eq!(found.json()["attributes"][*text], *text, "as it was sent");
        }
        let path = format!("/v1/customers/{}", escaped(&format!("email:{text}")));
        let found = api.call("GET", &path, "").await;
        assert!([404, 422].contains(&found.status.as_u16()), "{text}: {:?}", found.json());
    }
    let all = api.call("GET", "/v1/customers?limit=1000", "").await.json();
    assert_eq!(all["items"].as_array().unwrap().len(), others.len() + 2 * FOR_SQL.len());
}

/// As a part of a path or a query.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

async fn signed_in(router: &axum::Router, host: &str, mail: &str) -> (Vec<String>, Value) {
    let body = json!({"mail": mail, "password": "correct horse"}).to_string();
    let request = Request::post("/v1/session")
        .header("host", host)
        .header("content-type", "application/json")
        .body(Body::from(body))
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let cookies = response.headers().get_all("set-cookie");
    let cookies = cookies.iter().map(|cookie| cookie.to_str().unwrap().to_owned()).collect();
    let bytes = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    (cookies, serde_json::from_slice(&bytes).unwrap())
}

/// Every route that changes something, called by a cookie: from a page that does not know the
/// session's token, and from one of another site that does.
#[tokio::test(flavor = "multi_thread")]
async fn row_50_no_route_is_called_by_the_cookie_alone() {
    let api = TestApi::on(Engine::Sqlite).await;
    api.user("admin@example.com", Role::Admin).await;
    let (cookies, session) = signed_in(&api.router, "hub.example", "admin@example.com").await;
    let cookie = cookies[0].split(';').next().unwrap();
    let csrf = session["csrf"].as_str().unwrap();
    let document = serde_json::to_value(tidings_wire_api::document()).unwrap();
    let mut count = 0;
    for (template, item) in document["paths"].as_object().unwrap() {
        let path: String = template
            .split('/')
            .map(|part| if part.starts_with('{') { "/1" } else { part })
            .map(|part| {
                if part.starts_with('/') || part.is_empty() {
                    part.to_owned()
                } else {
                    format!("/{part}")
                }
            })
            .collect();
        for method in item.as_object().unwrap().keys().filter(|method| *method != "get") {
            // To sign in there is no session yet; where it is called from counts all the same.
            let is_sign_in = template == "/v1/session" && method == "post";
            for (token, origin) in
                [(None, None), (Some("wrong"), None), (Some(csrf), Some("http://evil.example"))]
            {
                if is_sign_in && origin.is_none() {
                    continue;
                }
                let mut request = Request::builder()
                    .method(method.to_uppercase().as_str())
                    .uri(&path)
                    .header("host", "hub.example")
                    .header("cookie", cookie)
                    .header("tidings-workspace", "test")
                    .header("content-type", "application/json");
                for (name, value) in [("tidings-csrf", token), ("origin", origin)] {
                    if let Some(value) = value {
                        request = request.header(name, value);
                    }
                }
                let body = r#"{"mail":"admin@example.com","password":"correct horse"}"#;
                let answer = api.send(request.body(Body::from(body)).unwrap()).await;
                assert_eq!(answer.status, 403, "{method} {path} with {token:?} from {origin:?}");
                count += 1;
            }
        }
    }
    assert!(count > 200, "{count} calls");
    // The counter-test: with the token and from here it is done.
    let request = Request::post("/v1/groups")
        .header("host", "hub.example")
        .header("cookie", cookie)
        .header("tidings-workspace", "test")
        .header("tidings-csrf", csrf)
        .header("origin", "http://hub.example")
        .header("content-type", "application/json");
    let answer = api.send(request.body(Body::from(r#"{"name":"staff"}"#)).unwrap()).await;
    assert_eq!(answer.status, 201);
}

/// Over HTTPS the cookie is tied to this host, to its root and to HTTPS; and an id that somebody
/// set before signing in is worth nothing afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn row_51_the_cookie_is_tied_to_its_host_and_never_taken_from_outside() {
    let api = TestApi::on(Engine::Sqlite).await;
    api.user("ann@example.com", Role::Viewer).await;
    let mut settings = api.ctx.hub.settings.clone();
    settings.public_url = "https://hub.example".to_owned();
    let hub = Hub::new(api.ctx.hub.store.clone(), settings, api.clock.clone());
    let router = tidings_wire_api::router(hub);
    let (cookies, _) = signed_in(&router, "hub.example", "ann@example.com").await;
    assert_eq!(cookies.len(), 1);
    for part in ["__Host-tidings_session=", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"]
    {
        assert!(cookies[0].contains(part), "{part} in {}", cookies[0]);
    }
    assert!(!cookies[0].to_lowercase().contains("domain="));
    let status = async |cookie: &str| {
        let request = Request::get("/v1/session").header("host", "hub.example");
        let request = request.header("cookie", cookie).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    let own = cookies[0].split(';').next().unwrap();
    assert_eq!(status(own).await, 200);
    assert_eq!(status(&own.replace("__Host-", "")).await, 401, "the name without the prefix");
    assert_eq!(status("__Host-tidings_session=chosen-by-somebody-else").await, 401);
}
