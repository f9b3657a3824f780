//! Every route against every scope, every role, every role of a workspace's own, strangers, and
//! another workspace: made from the OpenAPI document, so that a new route is tested by being there,
//! and one without a rule fails.

use axum::body::Body;
use axum::http::Request;
use axum::http::request::Builder;
use serde_json::{Value, json};
use tidings_engine::accounts::{self, Role, Scope};

use crate::home::{Answer, Engine, TestApi};

/// An id that nothing has.
const NOTHING: &str = "00000000-0000-7000-8000-000000000001";

/// What the document says that a route needs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    /// Anybody may call it.
    Open,
    /// Somebody who is signed in, whatever they may do.
    Person,
    /// A scope of a token, or a role of a person.
    Workspace(Scope, Role),
}

struct Route {
    method: String,
    /// As the document has it, such as `/v1/groups/{id}`.
    template: String,
    rule: Rule,
    /// Whether it is refused without more than its path: a body, or a part of the query.
    needs_more: bool,
}

impl Route {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }

    fn is_read(&self) -> bool {
        self.method == "GET"
    }

    /// The path with something in each of its variable parts.
    fn path(&self, fill: impl Fn(&str) -> String) -> String {
        let parts = self.template.split('/').map(|part| match part.strip_prefix('{') {
            Some(name) => fill(name.trim_end_matches('}')),
            None => part.to_owned(),
        });
        parts.collect::<Vec<_>>().join("/")
    }

    /// The path about a thing: the version of it, where the path asks for one, is the first.
    fn about(&self, thing: &str) -> String {
        self.path(|name| if name == "version" { "1".to_owned() } else { thing.to_owned() })
    }

    fn nowhere(&self) -> String {
        self.path(|_| NOTHING.to_owned())
    }
}

/// The rule of an operation, or why it has none.
fn rule(operation: &Value) -> Result<Rule, String> {
    let said = operation["security"].as_array().ok_or("says nothing of who may call it")?;
    let of = |scheme: &str| said.iter().find_map(|one| one.get(scheme)?.as_array());
    let first =
        |list: &[Value]| list.first().and_then(Value::as_str).unwrap_or_default().to_owned();
    match (of("token"), of("session")) {
        (None, None) if said.iter().all(|one| one == &json!({})) => Ok(Rule::Open),
        (None, Some(role)) if role.is_empty() => Ok(Rule::Person),
        (Some(scope), Some(role)) => {
            let (scope, role) = (first(scope), first(role));
            let known = Scope::parse(&scope).ok_or(format!("needs the unknown scope {scope}"))?;
            let role = Role::parse(&role).ok_or(format!("needs the unknown role {role}"))?;
            Ok(Rule::Workspace(known, role))
        }
        _ => Err(format!("names no scope for tokens or no role for people: {said:?}")),
    }
}

fn needs_more(operation: &Value) -> bool {
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    let asks = |one: &Value| one["in"] == "query" && one["required"] == true;
    operation.get("requestBody").is_some() || parameters.iter().any(asks)
}

fn routes() -> Vec<Route> {
    let document = serde_json::to_value(tidings_wire_api::document()).unwrap();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let rule = rule(operation).unwrap_or_else(|fault| panic!("{method} {path} {fault}"));
            let is_session = path == "/v1/session" || path.starts_with("/v1/session/");
            let in_workspace = matches!(rule, Rule::Workspace(..));
            assert_ne!(in_workspace, is_session, "{method} {path} is open to all");
            let described = operation["parameters"]
                .as_array()
                .map_or(0, |all| all.iter().filter(|parameter| parameter["in"] == "path").count());
            assert_eq!(path.matches('{').count(), described, "{path} has an undescribed part");
            routes.push(Route {
                method: method.to_uppercase(),
                template: path.clone(),
                rule,
                needs_more: needs_more(operation),
            });
        }
    }
    assert!(routes.len() > 60, "only {} routes", routes.len());
    routes
}

#[test]
fn a_route_without_a_rule_is_noticed() {
    for (operation, expected) in [
        (json!({}), Err("says nothing")),
        (json!({"security": [{"token": ["segments"]}]}), Err("names no scope")),
        (json!({"security": [{"session": ["viewer"]}]}), Err("names no scope")),
        (json!({"security": [{"token": ["all"]}, {"session": ["admin"]}]}), Err("unknown scope")),
        (json!({"security": [{"token": ["admin"]}, {"session": ["root"]}]}), Err("unknown role")),
        (json!({"security": [{}]}), Ok(Rule::Open)),
        (json!({"security": [{"session": []}]}), Ok(Rule::Person)),
        (
            json!({"security": [{"token": ["audit"]}, {"session": ["admin"]}]}),
            Ok(Rule::Workspace(Scope::Audit, Role::Admin)),
        ),
    ] {
        match (rule(&operation), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(fault), Err(expected)) => assert!(fault.contains(expected), "{fault}"),
            (found, _) => panic!("{operation}: {found:?}"),
        }
    }
}

fn request(route: &Route, path: &str) -> Builder {
    Request::builder()
        .method(route.method.as_str())
        .uri(path)
        .header("host", "hub.example")
        .header("content-type", "application/json")
}

fn by_token(route: &Route, path: &str, token: &str) -> Builder {
    request(route, path).header("authorization", format!("Bearer {token}"))
}

async fn status(api: &TestApi, request: Builder) -> u16 {
    api.send(request.body(Body::empty()).unwrap()).await.status.as_u16()
}

/// A signed-in browser.
struct Browser {
    cookie: String,
    csrf: String,
}

impl Browser {
    /// Somebody with a role in the first workspace.
    async fn with_role(api: &TestApi, role: &str) -> Browser {
        let mail = format!("{}@example.com", role.replace([' ', ':'], "-"));
        api.user_named(&mail, role).await;
        Browser::of(api, &mail).await
    }

    async fn of(api: &TestApi, mail: &str) -> Browser {
        let hub = &api.ctx.hub;
        let user = hub.store.system.user_by_mail(mail).await.unwrap().unwrap();
        let session = accounts::create_session(hub, &user).await.unwrap();
        let cookie = format!("tidings_session={}", session.secret.unwrap());
        Browser { cookie, csrf: session.csrf }
    }

    fn request(&self, route: &Route, path: &str, workspace: &str) -> Builder {
        request(route, path)
            .header("cookie", &self.cookie)
            .header("tidings-csrf", &self.csrf)
            .header("tidings-workspace", workspace)
    }
}

/// Whether an answer is the one that the rights lead to: refused by them, or past them.
fn check(named: &str, status: u16, allowed: bool) {
    assert_eq!(status == 403, !allowed, "{named}: {status}");
    assert!(status < 500 && status != 401, "{named}: {status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_tokens_for_its_scope() {
    let api = TestApi::on(Engine::Sqlite).await;
    for scope in Scope::ALL {
        let token = api.token_for(&[*scope]).await;
        for route in routes() {
            let named = format!("{} with {}", route.name(), scope.name());
            let found = status(&api, by_token(&route, &route.nowhere(), &token)).await;
            match route.rule {
                Rule::Open => {}
                // A token is nobody who could be signed in.
                Rule::Person => assert_eq!(found, 401, "{named}"),
                Rule::Workspace(needed, _) => check(&named, found, scope.includes(needed)),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_people_for_their_role() {
    let api = TestApi::on(Engine::Sqlite).await;
    for role in Role::ALL {
        let browser = Browser::with_role(&api, role.name()).await;
        for route in routes() {
            let Rule::Workspace(_, needed) = route.rule else { continue };
            let named = format!("{} as {}", route.name(), role.name());
            let found = browser.request(&route, &route.nowhere(), "test");
            check(&named, status(&api, found).await, *role >= needed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_own_roles_for_their_scopes() {
    let api = TestApi::on(Engine::Sqlite).await;
    // Somebody has to stay admin while the others are tried.
    api.user("keeper@example.com", Role::Admin).await;
    for scope in Scope::ALL {
        let name = format!("only {}", scope.name());
        accounts::put_role(&api.ctx, &name, &[scope.name().to_owned()]).await.unwrap();
        let browser = Browser::with_role(&api, &name).await;
        for route in routes() {
            let Rule::Workspace(needed, _) = route.rule else { continue };
            let named = format!("{} as {name}", route.name());
            let found = browser.request(&route, &route.nowhere(), "test");
            check(&named, status(&api, found).await, scope.includes(needed));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_turned_away_from_every_route() {
    let api = TestApi::on(Engine::Sqlite).await;
    let viewer = Browser::with_role(&api, "viewer").await;
    let unknown = format!("tdg_{}", "x".repeat(40));
    for route in routes() {
        let (name, path) = (route.name(), route.nowhere());
        if route.rule == Rule::Open {
            continue;
        }
        assert_eq!(status(&api, request(&route, &path)).await, 401, "{name} with nothing");
        for token in ["", "tdg_wrong", unknown.as_str()] {
            let found = status(&api, by_token(&route, &path, token)).await;
            assert_eq!(found, 401, "{name} with the token {token:?}");
        }
        let wrong = request(&route, &path).header("cookie", "tidings_session=wrong");
        let wrong = wrong.header("tidings-workspace", "test");
        assert_eq!(status(&api, wrong).await, 401, "{name} with a wrong session");
        if !route.is_read() {
            let bare = request(&route, &path).header("cookie", &viewer.cookie);
            let bare = bare.header("tidings-workspace", "test");
            assert_eq!(status(&api, bare).await, 403, "{name} without the csrf token");
            let foreign = viewer.request(&route, &path, "test");
            let foreign = foreign.header("origin", "http://evil.example");
            assert_eq!(status(&api, foreign).await, 403, "{name} from another site");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_workspace_looks_like_none_on_every_route() {
    let api = TestApi::on(Engine::Sqlite).await;
    let other = api.ctx.hub.ctx_by_slug("other").await.unwrap();
    accounts::create_user(&other, "eve@example.com", "admin", None).await.unwrap();
    let eve = Browser::of(&api, "eve@example.com").await;
    for route in routes() {
        if !matches!(route.rule, Rule::Workspace(..)) {
            continue;
        }
        let path = route.nowhere();
        let mut answers = Vec::new();
        for workspace in ["test", "nowhere"] {
            let request = eve.request(&route, &path, workspace).body(Body::empty()).unwrap();
            let answer = api.send(request).await;
            assert_eq!(answer.status, 404, "{} in {workspace}", route.name());
            answers.push(answer.body);
        }
        assert_eq!(answers[0], answers[1], "{}", route.name());
    }
}

/// One thing of each kind in the first workspace, by the noun of its path.
struct Things(Vec<(&'static str, String)>);

impl Things {
    async fn make(api: &TestApi) -> Things {
        api.user("ann@example.com", Role::Admin).await;
        let made = async |path: &str, body: &str| -> Value {
            let answer = api.call("POST", path, body).await;
            assert!(answer.status.is_success(), "{path}: {:?}", answer.body);
            answer.json()
        };
        let id = |value: Value| value["id"].as_str().expect("an id").to_owned();
        let customer = id(made("/v1/customers", r#"{"email":"ann@example.com"}"#).await);
        let segment = id(made("/v1/segments", r#"{"name":"vips","rule":{"tag":"vip"}}"#).await);
        let template = id(made(
            "/v1/templates",
            r#"{"name":"hello","subject":"Hi","html":"<a href=\"{{unsubscribe_url}}\">x</a>"}"#,
        )
        .await);
        let campaign = json!({
            "name": "first", "segment_id": segment, "template_id": template,
            "sender": {"name": "A", "address": "a@example.com"}, "class": "marketing",
        });
        let campaign = id(made("/v1/campaigns", &campaign.to_string()).await);
        let token = id(made("/v1/tokens", r#"{"name":"x","scopes":["imports"]}"#).await);
        let group = id(made("/v1/groups", r#"{"name":"staff"}"#).await);
        let block = id(made("/v1/blocks", r#"{"name":"footer","body":"Bye"}"#).await);
        let topic = r#"{"channel":"email","name":"offers","texts":{"en":{"title":"Offers"}}}"#;
        let topic = id(made("/v1/topics", topic).await);
        let form = json!({
            "name": "footer", "title": "Letters", "language": "en", "topics": ["offers"],
            "sender": {"name": "A", "address": "a@example.com"},
        });
        let form = id(made("/v1/forms", &form.to_string()).await);
        let relay = r#"{"name":"first","url":"smtp://mail.example:25"}"#;
        let relay = id(made("/v1/relays", relay).await);
        made("/v1/attributes", r#"{"name":"secret_score","kind":"integer"}"#).await;
        let upload = Request::builder()
            .method("POST")
            .uri("/v1/imports")
            .header("authorization", format!("Bearer {}", api.token))
            .header("content-type", "text/csv")
            .body(Body::from("email\nbob@example.com\n"))
            .unwrap();
        let import = id(api.send(upload).await.json());
        made(&format!("/v1/imports/{import}/try"), "").await;
        let mapping = json!({
            "name": "shop", "headers": ["mail"],
            "mapping": {"columns": [{"column": "mail", "to": "email"}]},
        });
        let mapping = id(made("/v1/import-mappings", &mapping.to_string()).await);
        accounts::put_role(&api.ctx, "secret_role", &["imports".to_owned()]).await.unwrap();
        Things(vec![
            ("customers", customer),
            ("segments", segment),
            ("templates", template),
            ("campaigns", campaign),
            ("tokens", token),
            ("groups", group),
            ("blocks", block),
            ("topics", topic),
            ("forms", form),
            ("relays", relay),
            ("imports", import),
            ("import-mappings", mapping),
            ("attributes", "secret_score".to_owned()),
            ("roles", "secret_role".to_owned()),
            ("users", "ann@example.com".to_owned()),
        ])
    }

    /// The thing that a route is about, where there is one of its kind.
    fn of(&self, route: &Route) -> Option<&str> {
        let noun = route.template.split('/').nth(2)?;
        let is_about = route.template.split('/').nth(3)?.starts_with('{');
        let found = self.0.iter().find(|(kind, _)| *kind == noun && is_about);
        found.map(|(_, id)| id.as_str())
    }
}

/// A thing of no workspace that has the same form as this one.
fn unlike(thing: &str) -> String {
    match thing {
        "ann@example.com" => "abc@example.com".to_owned(),
        name if name.starts_with("secret") => name.replace("secret", "nosuch"),
        _ => NOTHING.to_owned(),
    }
}

/// An answer in which one thing's name and times look like another's.
fn blurred(answer: &Answer, thing: &str) -> String {
    let text = String::from_utf8_lossy(&answer.body).replace(thing, "THING");
    let mut kept = String::new();
    for part in text.split_inclusive([',', '}']) {
        if !part.contains("_at\":") {
            kept.push_str(part);
        }
    }
    format!("{} {kept}", answer.status.as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_things_answer_as_if_they_did_not_exist() {
    let api = TestApi::on(Engine::Sqlite).await;
    let things = Things::make(&api).await;
    let other = api.ctx.hub.ctx_by_slug("other").await.unwrap();
    let scopes = [Scope::Admin.name().to_owned()];
    let foreign = accounts::create_token(&other, "x", &scopes).await.unwrap().secret;
    let routes = routes();
    let own = async |route: &Route, thing: &str| {
        let path = route.about(thing);
        let request = by_token(route, &path, &api.token).body(Body::empty()).unwrap();
        api.send(request).await
    };
    let mut before = Vec::new();
    for route in routes.iter().filter(|route| route.is_read()) {
        if let Some(thing) = things.of(route) {
            let answer = own(route, thing).await;
            assert_ne!(answer.status, 404, "{}: the test's own thing is missing", route.name());
            before.push((route, thing, answer.body));
        }
    }
    let mut tried = 0;
    for route in &routes {
        let Some(thing) = things.of(route) else { continue };
        let mut answers = Vec::new();
        for one in [thing.to_owned(), unlike(thing)] {
            let path = route.about(&one);
            let body = if route.needs_more { "{}" } else { "" };
            let request = by_token(route, &path, &foreign).body(Body::from(body)).unwrap();
            let answer = api.send(request).await;
            if !route.needs_more && route.method != "PUT" {
                assert_eq!(answer.status, 404, "{} of {one}", route.name());
            }
            answers.push(blurred(&answer, &one));
        }
        assert_eq!(answers[0], answers[1], "{}", route.name());
        tried += 1;
    }
    assert!(tried > 30, "only {tried} routes are about a thing");
    for (route, thing, body) in before {
        let after = own(route, thing).await.body;
        assert_eq!(body, after, "{} was changed from elsewhere", route.name());
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

/// Two types of one name would be one schema in the document, and one of them a lie.
#[test]
fn no_two_types_of_the_document_share_a_name() {
    let mut seen = std::collections::BTreeMap::new();
    let mut folders = vec![std::path::PathBuf::from("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("read the sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("read a source");
            for part in text.split("#[derive(").skip(1) {
                let (derived, rest) = part.split_once(")]").expect("a list of derives");
                if !derived.contains("ToSchema") {
                    continue;
                }
                let mut words =
                    rest.split_whitespace().skip_while(|word| !["struct", "enum"].contains(word));
                let name = words.nth(1).expect("a type has a name");
                let name: String = name.chars().take_while(|c| c.is_alphanumeric()).collect();
                if let Some(other) = seen.insert(name.clone(), path.clone()) {
                    panic!("{name} is in {} and in {}", other.display(), path.display());
                }
            }
        }
    }
    assert!(seen.len() > 100, "the types were found");
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
    let list = || {
        Request::builder().uri("/v1/customers").header("authorization", format!("Bearer {token}"))
    };
    assert_eq!(status(&api, list()).await, 200);
    let path = format!("/v1/tokens/{}", made["id"].as_str().unwrap());
    assert_eq!(api.call("DELETE", &path, "").await.status, 204);
    assert_eq!(status(&api, list()).await, 401);
}
