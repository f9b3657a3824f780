//! What reaches a hub over HTTP: calls of the API, and the public pages.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::BodyExt;
use serde_json::Value as Json;
use tidings_domain::CustomerId;
use tidings_domain::campaign::MessageClass;
use tidings_engine::accounts::{self, Scope};
use tidings_engine::links::{Link, Purpose};
use tidings_engine::{Ctx, campaigns, templates};
use tidings_store::campaigns::{CampaignDraft, Sender};
use tidings_store::templates::TemplateDraft;
use tower::ServiceExt;

use super::hub::{hub, kept};
use crate::corpus;
use crate::{Feed, Target};

pub fn targets() -> Vec<Target> {
    vec![
        Target { name: "requests", short: 1_500, open: requests, seeds: request_seeds },
        Target { name: "pages", short: 800, open: pages, seeds: page_seeds },
    ]
}

/// One call of the API as a text: method and path, headers, a blank line, the body. Whatever is
/// asked, the answer is no fault of ours and has the shape that answers have.
fn requests() -> Feed {
    let (runtime, test) = hub();
    let scopes: Vec<String> = Scope::ALL.iter().map(|scope| scope.name().to_owned()).collect();
    let token = runtime.block_on(accounts::create_token(&test.ctx, "fuzz", &scopes));
    let token = token.expect("a token").secret;
    let router = tidings_wire_api::router(test.hub.clone());
    runtime.block_on(prepare(&test.ctx));
    Box::new(move |input: &[u8]| {
        kept(&test);
        let Some(mut request) = read_request(input) else { return };
        let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a token");
        request.headers_mut().entry(header::AUTHORIZATION).or_insert(value);
        let shown = format!("{} {}", request.method(), request.uri());
        // What ends this very token or takes long by design is left out.
        if shown.contains("/tokens/") || shown.starts_with("POST /v1/session") {
            return;
        }
        let (status, kind, body) = runtime.block_on(answer(&router, request));
        let told = || format!("{shown} was answered {status}: {}", String::from_utf8_lossy(&body));
        assert!(status < 500, "{}", told());
        if status >= 400 && shown.contains(" /v1/") && !shown.contains("HEAD ") {
            assert_eq!(kind, "application/problem+json", "{}", told());
        }
        if kind.ends_with("json") {
            assert!(serde_json::from_slice::<Json>(&body).is_ok() || body.is_empty(), "{}", told());
        }
    })
}

/// A few things that calls can name.
async fn prepare(ctx: &Ctx) {
    let router = tidings_wire_api::router(ctx.hub.clone());
    let scopes: Vec<String> = Scope::ALL.iter().map(|scope| scope.name().to_owned()).collect();
    let token = accounts::create_token(ctx, "prepare", &scopes).await.expect("a token").secret;
    for (path, body) in [
        ("/v1/attributes", r#"{"name":"city","kind":"text"}"#),
        ("/v1/attributes", r#"{"name":"points","kind":"integer"}"#),
        (
            "/v1/tables",
            r#"{"name":"orders","owner":"customer","fields":[{"name":"total","kind":"decimal"}]}"#,
        ),
        ("/v1/groups", r#"{"name":"staff"}"#),
        (
            "/v1/customers",
            r#"{"external_id":"1","email":"ann@example.com","attributes":{"city":"Oslo"}}"#,
        ),
        ("/v1/segments", r#"{"name":"all","rule":{"all":[]}}"#),
    ] {
        let request = Request::post(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Body::from(body))
            .expect("a request");
        let (status, _, body) = answer(&router, request).await;
        assert!(status < 300, "{path}: {}", String::from_utf8_lossy(&body));
    }
}

async fn answer(router: &Router, request: Request<Body>) -> (u16, String, Vec<u8>) {
    let response = router.clone().oneshot(request).await.expect("an answer");
    let status = response.status().as_u16();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    let body = response.into_body().collect().await.expect("a whole answer").to_bytes();
    (status, kind, body.to_vec())
}

fn read_request(input: &[u8]) -> Option<Request<Body>> {
    let end = input.windows(2).position(|two| two == b"\n\n");
    let (head, body) = match end {
        Some(end) => (&input[..end], &input[end + 2..]),
        None => (input, &b""[..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut first = lines.next()?.splitn(2, |byte| *byte == b' ');
    let method = Method::from_bytes(first.next()?).ok()?;
    let uri = Uri::try_from(first.next()?).ok()?;
    let mut request = Request::new(Body::from(body.to_vec()));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    for line in lines {
        let at = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..at]).ok()?;
        let value = line[at + 1..].strip_prefix(b" ").unwrap_or(&line[at + 1..]);
        request.headers_mut().append(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(request)
}

/// The calls that the API's own tests make.
fn request_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (_, text) in corpus::texts("wire/api/tests/exchanges/exchanges", ".txt") {
        for exchange in text.split("\n====\n") {
            let Some((request, _)) = exchange.split_once("\n---\n") else { continue };
            let lines: Vec<&str> =
                request.trim().lines().filter(|line| !line.starts_with("# ")).collect();
            let Some((first, rest)) = lines.split_first() else { continue };
            let is_header = |line: &&&str| {
                line.split_once(": ").is_some_and(|(name, _)| {
                    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                })
            };
            let headers: Vec<&str> = rest.iter().take_while(is_header).copied().collect();
            let body = rest[headers.len()..].join("\n");
            let mut seed = format!("{first}\n");
            if !headers.iter().any(|line| line.to_ascii_lowercase().starts_with("content-type")) {
                seed.push_str("content-type: application/json\n");
            }
            for line in headers
                .iter()
                .filter(|line| !line.to_ascii_lowercase().starts_with("authorization"))
            {
                seed.push_str(&format!("{line}\n"));
            }
            seeds.push(format!("{seed}\n{body}").into_bytes());
        }
    }
    // Cursors, whose inside is ours.
    for path in
        ["customers", "segments", "templates", "campaigns", "imports", "audit", "suppressions"]
    {
        seeds.push(format!("GET /v1/{path}?limit=1&cursor=WzEsMl0").into_bytes());
        seeds.push(
            format!("GET /v1/{path}?cursor=IjAxYTIwODZlLTc0MGMtNzJkZS1hM2VjLTA0NDYwMmQ4MmJhYSI")
                .into_bytes(),
        );
    }
    seeds
}

/// Public pages: a link leads where it was made to lead or nowhere, and nothing is a fault of ours.
fn pages() -> Feed {
    let (runtime, test) = hub();
    let router = tidings_wire_mail::router(test.hub.clone());
    // The first campaign, which the links of the corpus are of.
    let draft = TemplateDraft {
        name: "letter".to_owned(),
        subject: "Hello".to_owned(),
        html: "x".to_owned(),
        ..TemplateDraft::default()
    };
    runtime.block_on(async {
        let draft = CampaignDraft {
            name: "letter".to_owned(),
            segment: None,
            template: templates::create(&test.ctx, draft).await.expect("a template"),
            sender: Sender {
                name: "Shop".to_owned(),
                address: "shop@shop.example".to_owned(),
                reply_to: None,
            },
            class: MessageClass::Marketing,
            topic: None,
            scheduled_at: None,
            link_parameters: Vec::new(),
            plan: Default::default(),
        };
        campaigns::create(&test.ctx, draft).await.expect("a campaign");
    });
    Box::new(move |input: &[u8]| {
        kept(&test);
        let Some(request) = read_request(input) else { return };
        let shown = format!("{} {}", request.method(), request.uri());
        let response = runtime.block_on(router.clone().oneshot(request)).expect("an answer");
        let status = response.status().as_u16();
        assert!(status < 500, "{shown} was answered {status}");
        if (300..400).contains(&status) {
            let location = response.headers().get(header::LOCATION);
            assert_eq!(location.and_then(|to| to.to_str().ok()), Some(TARGET), "{shown}");
        }
    })
}

const TARGET: &str = "https://shop.example/x?y=1";

fn page_seeds() -> Vec<Vec<u8>> {
    // The keys of every test hub are the same.
    let keys = tidings_engine::links::LinkKeys::new(&[7; 32]);
    let token = |purpose| {
        let customer = CustomerId(uuid::Uuid::from_u128(7));
        keys.token(&Link { workspace: 1, campaign: 1, customer, purpose })
    };
    let form = "content-type: application/x-www-form-urlencoded";
    let mut seeds = Vec::new();
    for (method, path, body) in [
        ("GET", format!("/t/o/{}.gif", token(Purpose::Open)), ""),
        ("GET", format!("/t/c/{}", token(Purpose::ClickTo(TARGET.to_owned()))), ""),
        ("GET", format!("/t/c/{}", token(Purpose::Click(1))), ""),
        ("GET", format!("/t/u/{}", token(Purpose::Unsubscribe)), ""),
        ("POST", format!("/t/u/{}", token(Purpose::Unsubscribe)), "List-Unsubscribe=One-Click"),
        ("GET", format!("/t/p/{}", token(Purpose::Unsubscribe)), ""),
        ("POST", format!("/t/p/{}", token(Purpose::Unsubscribe)), "topic=news&all=on&a=%zz&b"),
        ("GET", "/i/1/AAAAAAAAAAAAAAAAAAAAAAAA.gif".to_owned(), ""),
        ("GET", "/f/test/00000000-0000-0000-0000-000000000001".to_owned(), ""),
        (
            "POST",
            "/f/test/00000000-0000-0000-0000-000000000001".to_owned(),
            "email=a%40b.example&topic=x",
        ),
        ("GET", "/f/embed.js".to_owned(), ""),
        ("GET", "/t/s/abc".to_owned(), ""),
    ] {
        let head = format!(
            "{method} {path}\n{form}\naccept-language: de-AT,en;q=0.5\nx-forwarded-for: 1.2.3.4"
        );
        seeds.push(format!("{head}\n\n{body}").into_bytes());
    }
    seeds
}
