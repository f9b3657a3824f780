//! PostgreSQL has no place for a NUL in a text. Wherever a caller puts one, in a name or in a value,
//! the answer says so or the NUL is made harmless, and both engines say the same.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::home::{Answer, Engine, TestApi};

const NOBODY: &str = "00000000-0000-7000-8000-000000000001";

/// Calls that are right, or at least of the right shape, one or more of each kind of body.
fn calls() -> Vec<(&'static str, String, Value)> {
    let rule = json!({"all": [
        {"attribute": "city", "op": "eq", "value": "Oslo"},
        {"any": [{"tag": "vip"}, {"not": {"group": "staff"}}]},
        {"attribute": "likes", "op": "contains", "value": "tea"},
        {"event": "seen", "where": [{"property": "page", "op": "eq", "value": "a"}], "within": "30d"},
        {"table": "orders", "where": [{"field": "status", "op": "eq", "value": "paid"}],
         "sum": "total", "gte": 1},
    ]});
    let variant = json!({"language": "de", "subject": "Hallo", "html": "<p>y</p>", "text": "y"});
    let template = json!({"name": "t", "subject": "Hi", "html": "<p>x</p>", "text": "x",
        "format": "html", "variants": [variant]});
    let sender =
        json!({"name": "Shop", "address": "shop@shop.example", "reply_to": "a@shop.example"});
    let campaign = json!({"name": "c", "template_id": NOBODY, "segment_id": null,
        "sender": sender, "class": "marketing", "scheduled_at": null,
        "link_parameters": {"utm_source": "tidings"}});
    let customer = json!({"external_id": "1", "email": "ann@example.com", "phone": "+31612345678",
        "attributes": {"city": "Oslo", "likes": {"$add": ["tea"]}}, "tags": ["vip"],
        "groups": ["staff"], "consents": {"email": "granted"}});
    let event = json!({"customer": {"external_id": "1"}, "name": "seen",
        "properties": {"page": "a", "deep": [{"x": {"y": "z"}}]}});
    let record = json!({"key": "o1", "customer": {"external_id": "1"},
        "fields": {"status": "paid", "total": 7}});
    vec![
        ("POST", "/v1/customers".into(), customer.clone()),
        ("POST", "/v1/customers".into(), json!([customer])),
        ("POST", "/v1/events".into(), event.clone()),
        ("POST", "/v1/events".into(), json!([event])),
        ("POST", "/v1/tables/orders/records".into(), record),
        (
            "PUT",
            "/v1/customers/external_id:1/tags/vip".into(),
            json!({"until": "2030-01-01T00:00:00Z"}),
        ),
        (
            "POST",
            "/v1/topics".into(),
            json!({"channel": "email", "name": "news", "description": "x",
                   "texts": {"en": {"title": "News", "text": "x"}}}),
        ),
        (
            "PUT",
            "/v1/customers/external_id:1/consents/email".into(),
            json!({"state": "granted", "source": "form", "topic": "news", "via": "form",
                   "ip": "192.0.2.1", "user_agent": "x"}),
        ),
        (
            "POST",
            "/v1/suppressions/import".into(),
            json!({"channel": "email", "entries": ["a@example.com"], "reason": "manual"}),
        ),
        (
            "POST",
            "/v1/forms".into(),
            json!({"name": "f", "title": "t", "intro": "i", "language": "en",
                   "fields": [{"to": "city", "label": "City"}], "topics": ["news"],
                   "sender": {"name": "Shop", "address": "shop@shop.example"},
                   "redirect_url": "https://shop.example"}),
        ),
        (
            "PUT",
            "/v1/public-pages".into(),
            json!({"default_language": "en", "texts": {"en": {"save": "x"}}}),
        ),
        ("POST", "/v1/groups".into(), json!({"name": "g"})),
        (
            "POST",
            "/v1/suppressions".into(),
            json!({"channel": "email", "address": "a@example.com", "reason": "manual"}),
        ),
        ("POST", "/v1/attributes".into(), json!({"name": "new", "kind": "text"})),
        ("PATCH", "/v1/attributes/city".into(), json!({"name": "city"})),
        (
            "POST",
            "/v1/tables".into(),
            json!({"name": "visits", "owner": "customer", "fields": [{"name": "shop", "kind": "text"}]}),
        ),
        ("POST", "/v1/tables/orders/fields".into(), json!({"name": "size", "kind": "text"})),
        ("POST", "/v1/segments".into(), json!({"name": "s", "rule": rule})),
        ("POST", "/v1/segments/count".into(), json!({"rule": rule})),
        ("POST", "/v1/templates".into(), template.clone()),
        (
            "POST",
            "/v1/templates/preview".into(),
            json!({"subject": "Hi", "html": "<p>x</p>", "text": "x", "customer": "external_id:1",
                   "data": {"a": {"b": "c"}}}),
        ),
        (
            "POST",
            "/v1/templates/check".into(),
            json!({"subject": "Hi", "html": "<p>x</p>", "text": "x", "language": "de"}),
        ),
        ("PUT", format!("/v1/templates/{NOBODY}"), template),
        ("POST", "/v1/blocks".into(), json!({"name": "b", "body": "<p>x</p>"})),
        ("PUT", format!("/v1/blocks/{NOBODY}"), json!({"body": "<p>x</p>"})),
        (
            "POST",
            format!("/v1/templates/{NOBODY}/test"),
            json!({"to": "a@example.com", "customer": "external_id:1", "sender": sender}),
        ),
        ("POST", "/v1/campaigns".into(), campaign.clone()),
        ("PATCH", format!("/v1/campaigns/{NOBODY}"), campaign),
        (
            "POST",
            "/v1/users".into(),
            json!({"mail": "a@example.com", "role": "viewer", "password": "correct horse"}),
        ),
        (
            "POST",
            "/v1/relays".into(),
            json!({"name": "r", "url": "smtp://u:p@mail.example", "username": "u", "password": "p"}),
        ),
        (
            "PUT",
            "/v1/sender-domains/shop.example".into(),
            json!({"tracking_url": "https://t.example"}),
        ),
        (
            "POST",
            "/v1/sender-domains/shop.example/keys".into(),
            json!({"algorithm": "ed25519", "selector": "s"}),
        ),
        ("PATCH", "/v1/sender-domains/shop.example/keys/s".into(), json!({"active": true})),
        (
            "PUT",
            "/v1/recipient-limits".into(),
            json!({"items": [{"domain": "b.example", "open_max": 1}]}),
        ),
        ("POST", "/v1/tokens".into(), json!({"name": "t", "scopes": ["imports"]})),
        ("POST", "/v1/session".into(), json!({"mail": "a@example.com", "password": "x"})),
    ]
}

/// The body with a NUL in each of its texts and names in turn.
fn spoilt(body: &Value) -> Vec<Value> {
    match body {
        Value::String(text) => {
            vec![json!(format!("{text}\0")), json!(format!("\0{text}")), json!("\0")]
        }
        Value::Array(items) => {
            let mut all = Vec::new();
            for (at, item) in items.iter().enumerate() {
                for spoilt in spoilt(item) {
                    let mut items = items.clone();
                    items[at] = spoilt;
                    all.push(Value::Array(items));
                }
            }
            all
        }
        Value::Object(fields) => {
            let mut all = Vec::new();
            for (name, value) in fields {
                for spoilt in spoilt(value) {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), spoilt);
                    all.push(Value::Object(fields));
                }
                let mut renamed = fields.clone();
                renamed.remove(name);
                renamed.insert(format!("{name}\0"), value.clone());
                all.push(Value::Object(renamed));
            }
            all
        }
        _ => Vec::new(),
    }
}

async fn prepared(engine: Engine) -> TestApi {
    let api = TestApi::on(engine).await;
    for body in [r#"{"name":"city","kind":"text"}"#, r#"{"name":"likes","kind":"list"}"#] {
        assert_eq!(api.call("POST", "/v1/attributes", body).await.status, 201);
    }
    let orders = r#"{"name":"orders","owner":"customer","fields":[
        {"name":"status","kind":"text"},{"name":"total","kind":"integer"}]}"#;
    assert_eq!(api.call("POST", "/v1/tables", orders).await.status, 201);
    let customer = r#"{"external_id":"1","email":"ann@example.com"}"#;
    assert_eq!(api.call("POST", "/v1/customers", customer).await.status, 201);
    api
}

#[tokio::test(flavor = "multi_thread")]
async fn no_nul_in_a_body_is_a_fault_of_ours() {
    let (sqlite, postgres) = tokio::join!(prepared(Engine::Sqlite), prepared(Engine::Postgres));
    let mut faults = Vec::new();
    let mut sent = 0;
    for (method, path, body) in calls() {
        // A body that is wrong anyhow would be refused before anybody came to its texts.
        let right = sqlite.call(method, &path, &body.to_string()).await;
        if [400, 422].contains(&right.status.as_u16()) {
            faults.push(format!("{method} {path}: {:?}", right.body));
        }
        postgres.call(method, &path, &body.to_string()).await;
        for body in spoilt(&body) {
            let text = body.to_string();
            let one = sqlite.call(method, &path, &text).await;
            let other = postgres.call(method, &path, &text).await;
            sent += 1;
            let statuses = (one.status.as_u16(), other.status.as_u16());
            if statuses.0 != statuses.1 || statuses.0 >= 500 {
                faults.push(format!("{statuses:?} {method} {path} {text}"));
            } else if path == "/v1/customers" && statuses.0 == 200 {
                let counts = [one, other].map(|answer| answer.json()["counts"].clone());
                if counts[0] != counts[1] {
                    faults.push(format!("{counts:?} {text}"));
                }
            }
        }
    }
    assert!(sent > 200, "only {sent} calls");
    assert!(faults.is_empty(), "{} of {sent}:\n{}", faults.len(), faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_nul_outside_a_body_is_a_fault_of_ours() {
    let (sqlite, postgres) = tokio::join!(prepared(Engine::Sqlite), prepared(Engine::Postgres));
    let filter = |rule: Value| {
        let text = rule.to_string();
        let bytes = text.bytes().map(|byte| format!("%{byte:02X}"));
        format!("/v1/customers?filter={}", bytes.collect::<String>())
    };
    let paths = [
        "/v1/customers/external_id:a%00".to_owned(),
        "/v1/customers/email:a%00@example.com".to_owned(),
        "/v1/customers?q=a%00".to_owned(),
        "/v1/customers/external_id:1/events?name=a%00".to_owned(),
        "/v1/customers/external_id:1/records?table=a%00".to_owned(),
        "/v1/customers/external_id:1/tags/a%00".to_owned(),
        "/v1/suppressions/email/a%00@example.com".to_owned(),
        "/v1/audit?action=a%00".to_owned(),
        "/v1/audit?thing=a%00".to_owned(),
        "/v1/audit/check?head=1:a%00".to_owned(),
        "/v1/attributes/a%00".to_owned(),
        "/v1/roles/a%00".to_owned(),
        "/v1/users/a%00".to_owned(),
        "/v1/sender-domains/a%00.example".to_owned(),
        "/v1/sender-domains/shop.example/keys/a%00".to_owned(),
        filter(json!({"tag": "a\0"})),
        filter(json!({"group": "a\0"})),
        filter(json!({"segment": "a\0"})),
        filter(json!({"event": "a\0"})),
        filter(json!({"table": "a\0"})),
        filter(json!({"attribute": "a\0", "op": "exists"})),
        filter(json!({"attribute": "email", "op": "in", "value": ["a\0"]})),
        filter(json!({"attribute": "likes", "op": "contains", "value": "a\0"})),
    ];
    for path in paths {
        for method in ["GET", "PUT", "DELETE"] {
            let one = sqlite.call(method, &path, "").await.status;
            let other = postgres.call(method, &path, "").await.status;
            assert_eq!(one, other, "{method} {path}");
            assert!(!other.is_server_error(), "{method} {path}: {other}");
        }
    }
    // A file's name and its text come as they are.
    for name in ["a%00.csv", "a.csv"] {
        let text = "external_id,c\0ity\r\n1,a\0b\r\n";
        let one = upload(&sqlite, name, text).await.status;
        let other = upload(&postgres, name, text).await.status;
        assert_eq!(one, other);
        assert!(!other.is_server_error(), "{other}");
    }
}

async fn upload(api: &TestApi, name: &str, text: &str) -> Answer {
    let request = Request::post(format!("/v1/imports?filename={name}"))
        .header("authorization", format!("Bearer {}", api.token))
        .header("content-type", "text/csv")
        .body(Body::from(text.to_owned()))
        .unwrap();
    api.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_nul_in_a_mapping_is_a_fault_of_ours() {
    let (sqlite, postgres) = tokio::join!(prepared(Engine::Sqlite), prepared(Engine::Postgres));
    let mut paths = Vec::new();
    for api in [&sqlite, &postgres] {
        let draft = upload(
            api,
            "a.csv",
            "Id,E-mail,Points\r\n1,ann@example.com,10\r\n2,ben@example.com,20",
        )
        .await;
        assert_eq!(draft.status, 201, "{:?}", draft.body);
        paths.push(format!("/v1/imports/{}", draft.json()["id"].as_str().unwrap()));
    }
    let mapping = json!({"mapping": {"columns": [
        {"column": "Id", "to": "external_id"},
        {"column": "E-mail", "to": "email"},
        {"column": "Points", "to": "points", "create": {"kind": "text"}},
    ]}});
    let right = sqlite.call("PATCH", &paths[0], &mapping.to_string()).await;
    assert_eq!(right.status, 200, "{:?}", right.body);
    for body in spoilt(&mapping) {
        let one = sqlite.call("PATCH", &paths[0], &body.to_string()).await.status;
        let other = postgres.call("PATCH", &paths[1], &body.to_string()).await.status;
        assert_eq!(one, other, "{body}");
        assert!(!other.is_server_error(), "{other} {body}");
    }
}
