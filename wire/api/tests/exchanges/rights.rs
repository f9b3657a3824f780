//! Every route against every scope, and against another workspace: made from the OpenAPI document,
//! so that a new route is tested by being there.

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;
use tidings_engine::accounts::Scope;

use crate::home::{Engine, TestApi};

struct Route {
    method: String,
    path: String,
    /// The scope that the document says it needs.
    scope: Scope,
}

fn routes() -> Vec<Route> {
    let document = serde_json::to_value(tidings_wire_api::document()).unwrap();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(scopes) = operation["security"][0]["token"].as_array() else {
                assert!(path.ends_with("/session"), "{method} {path} names no scope");
                continue;
            };
            let scope = scopes[0].as_str().and_then(Scope::parse);
            routes.push(Route {
                method: method.to_uppercase(),
                path: with_ids(path, operation),
                scope: scope.unwrap_or_else(|| panic!("{method} {path}: unknown scope")),
            });
        }
    }
    routes
}

/// A path with something in each of its variable parts.
fn with_ids(path: &str, operation: &Value) -> String {
    let mut path = path.to_owned();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        if parameter["in"] == "path" {
            let name = format!("{{{}}}", parameter["name"].as_str().unwrap());
            path = path.replace(&name, "00000000-0000-7000-8000-000000000001");
        }
    }
    assert!(!path.contains('{'), "{path} has a part that is not described");
    path
}

async fn status(api: &TestApi, route: &Route, token: Option<&str>) -> u16 {
    let mut request = Request::builder().method(route.method.as_str()).uri(&route.path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    api.send(request.body(Body::empty()).unwrap()).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_route_needs_a_token_with_its_own_scope() {
    let api = TestApi::on(Engine::Sqlite).await;
    let routes = routes();
    assert!(routes.len() > 50, "only {} routes", routes.len());
    for scope in Scope::ALL {
        let token = api.token_for(&[*scope]).await;
        for route in &routes {
            let status = status(&api, route, Some(&token)).await;
            let allowed = *scope == Scope::Admin || *scope == route.scope;
            let named = format!("{} {} with {}", route.method, route.path, scope.name());
            assert_eq!(status == 403, !allowed, "{named}: {status}");
            assert!(status < 500 && status != 401, "{named}: {status}");
        }
    }
    for route in &routes {
        for token in [None, Some("tdg_wrong"), Some(&*format!("tdg_{}", "x".repeat(40)))] {
            assert_eq!(status(&api, route, token).await, 401, "{} {}", route.method, route.path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_of_the_document_have_one_meaning_each() {
    let document = serde_json::to_value(tidings_wire_api::document()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    for reference in references {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    assert!(schemas.contains_key("CustomerInput") && schemas.contains_key("Problem"));
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                found.push(reference.clone());
            }
            fields.values().for_each(|value| collect_references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_worth_nothing_at_once() {
    let api = TestApi::on(Engine::Sqlite).await;
    let made = api.call("POST", "/v1/tokens", r#"{"name":"x","scopes":["customers:read"]}"#).await;
    let made = made.json();
    let token = made["token"].as_str().unwrap();
    assert!(token.starts_with("tdg_") && token.len() == 44);
    let route =
        Route { method: "GET".into(), path: "/v1/customers".into(), scope: Scope::CustomersRead };
    assert_eq!(status(&api, &route, Some(token)).await, 200);
    let path = format!("/v1/tokens/{}", made["id"].as_str().unwrap());
    assert_eq!(api.call("DELETE", &path, "").await.status, 204);
    assert_eq!(status(&api, &route, Some(token)).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_workspace_sees_nothing() {
    let api = TestApi::on(Engine::Sqlite).await;
    let made = api.call("POST", "/v1/customers", r#"{"email":"ann@example.com"}"#).await.json();
    let id = made["id"].as_str().unwrap();
    let other = api.ctx.hub.ctx_by_slug("other").await.unwrap();
    let scopes = [Scope::Admin.name().to_owned()];
    let foreign = tidings_engine::accounts::create_token(&other, "x", &scopes).await.unwrap();
    for path in [format!("/v1/customers/{id}"), "/v1/customers/email:ann@example.com".to_owned()] {
        let route = Route { method: "GET".into(), path, scope: Scope::CustomersRead };
        assert_eq!(status(&api, &route, Some(&foreign.secret)).await, 404, "{}", route.path);
        let own = api.token.clone();
        assert_eq!(status(&api, &route, Some(&own)).await, 200, "{}", route.path);
    }
}
