//! A caller of the program's own API, and the figures under `/metrics`.

use std::sync::Once;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    pub body: Value,
}

/// A caller with a token.
#[derive(Clone)]
pub struct Api {
    base: String,
    token: String,
    http: reqwest::Client,
}

fn client(timeout: Duration) -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Everything here is plain HTTP, but the client wants to know what it would encrypt with.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let builder = reqwest::Client::builder().timeout(timeout).no_proxy();
    builder.build().expect("an HTTP client")
}

impl Api {
    pub fn new(base: String, token: String) -> Api {
        Api { base, token, http: client(Duration::from_secs(60)) }
    }

    /// The status of an open address, if somebody answers.
    pub async fn probe(base: &str, path: &str) -> Option<u16> {
        let http = client(Duration::from_secs(2));
        let answer = http.get(format!("{base}{path}")).send().await.ok()?;
        Some(answer.status().as_u16())
    }

    async fn answered(request: reqwest::RequestBuilder) -> Result<Answer> {
        let response = request.send().await.context("call the program")?;
        let status = response.status().as_u16();
        let header = response.headers().get("retry-after");
        let retry_after = header.and_then(|v| v.to_str().ok()).map(str::to_owned);
        let text = response.text().await.context("read its answer")?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, retry_after, body })
    }

    /// A call; an error where nobody answered.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let method = method.parse().context("a method")?;
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        request = request.bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        Api::answered(request).await
    }

    /// Sends a file.
    pub async fn upload(&self, path: &str, file: Vec<u8>) -> Value {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token);
        let request = request.header("content-type", "text/csv").body(file);
        let answer = Api::answered(request).await.expect("upload a file");
        assert!((200..300).contains(&answer.status), "POST {path}: {answer:?}");
        answer.body
    }

    async fn good(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = self.call(method, path, body).await;
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error:#}"));
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        answer.body
    }

    pub async fn get(&self, path: &str) -> Value {
        self.good("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.good("POST", path, Some(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Value {
        self.good("PATCH", path, Some(&body)).await
    }

    /// All items of a list, page by page.
    pub async fn all(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("{path}?limit=1000{cursor}")).await;
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    /// A figure under `/metrics`, summed over its labels; 0 where it has not been counted yet.
    pub async fn metric(&self, name: &str) -> u64 {
        let Ok(answer) = self.call("GET", "/metrics", None).await else { return 0 };
        let text = answer.body.as_str().unwrap_or_default();
        let own = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        let values = own.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum::<f64>() as u64
    }
}
