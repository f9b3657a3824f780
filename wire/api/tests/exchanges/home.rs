//! A hub of its own with the API in front and tokens to call it.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use tidings_domain::{Clock, Timestamp, WorkspaceId};
use tidings_engine::accounts::{self, Role, Scope};
use tidings_engine::{Ctx, Hub, Settings};
use tidings_store::{Home, Store};
pub use tidings_testkit::hub::Engine;
use tidings_testkit::hub::home;
use tower::ServiceExt;

pub struct TestApi {
    pub ctx: Ctx,
    pub clock: Clock,
    pub router: Router,
    /// A token that may do everything.
    pub token: String,
    home: Home,
    folder: Arc<tempfile::TempDir>,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }
}

impl TestApi {
    pub async fn on(engine: Engine) -> TestApi {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = home(engine, folder.path()).await;
        let store = Arc::new(Store::open(&home).await.expect("open the store"));
        let workspace = store.create_workspace("Test", "UTC", false).await.expect("a workspace");
        store.create_workspace("Other", "UTC", false).await.expect("another workspace");
        let clock = Clock::fixed(Timestamp::now());
        let id = workspace.row.id;
        let folder = Arc::new(folder);
        let mut api = TestApi::over(store, id, clock, home, folder).await;
        api.token = api.token_for(&[Scope::Admin]).await;
        api
    }

    /// Another node over the same data.
    pub async fn beside(&self) -> TestApi {
        let store = Arc::new(Store::open(&self.home).await.expect("open the store"));
        let id = self.ctx.workspace.row.id;
        let (clock, home) = (self.clock.clone(), self.home.clone());
        let mut api = TestApi::over(store, id, clock, home, self.folder.clone()).await;
        api.token = self.token.clone();
        api
    }

    async fn over(
        store: Arc<Store>,
        id: WorkspaceId,
        clock: Clock,
        home: Home,
        folder: Arc<tempfile::TempDir>,
    ) -> TestApi {
        let settings = Settings {
            data_dir: folder.path().to_owned(),
            public_url: "http://hub.example".to_owned(),
            smtp_url: None,
            smtp_open_max: 4,
            master_key: [7; 32],
            demo: false,
        };
        let hub = Hub::new(store, settings, clock.clone());
        let ctx = hub.ctx(id).await.expect("a context");
        let router = tidings_wire_api::router(hub);
        TestApi { ctx, clock, router, token: String::new(), home, folder }
    }

    /// A token of the first workspace.
    pub async fn token_for(&self, scopes: &[Scope]) -> String {
        let scopes: Vec<String> = scopes.iter().map(|scope| scope.name().to_owned()).collect();
        accounts::create_token(&self.ctx, "test", &scopes).await.expect("a token").secret
    }

    /// A person of the first workspace; the password is `correct horse`.
    pub async fn user(&self, mail: &str, role: Role) {
        self.user_named(mail, role.name()).await;
    }

    /// The same with the name of a role, which may be one of the workspace's own.
    pub async fn user_named(&self, mail: &str, role: &str) {
        let password = Some("correct horse".to_owned());
        accounts::create_user(&self.ctx, mail, role, password).await.expect("a user");
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole answer").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// A call with the token that may do everything, and a JSON body.
    pub async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .expect("a request");
        self.send(request).await
    }
}
