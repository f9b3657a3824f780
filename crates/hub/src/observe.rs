//! What an operator's tools ask: is it alive, is it ready, how is it doing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tidings_engine::Hub;

#[derive(Clone)]
pub struct Observed {
    hub: Arc<Hub>,
    prometheus: PrometheusHandle,
    closed: Arc<AtomicBool>,
}

impl Observed {
    pub fn new(hub: Arc<Hub>) -> Result<Observed> {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0])
            .context("set up metrics")?
            .build_recorder();
        let prometheus = recorder.handle();
        metrics::set_global_recorder(recorder).context("set up metrics")?;
        Ok(Observed { hub, prometheus, closed: Arc::new(AtomicBool::new(false)) })
    }

    /// Whether anybody should be sent here: not before a start is through, and not once it stops.
    pub fn set_ready(&self, ready: bool) {
        self.closed.store(!ready, Ordering::Release);
    }

    pub fn routes(&self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "ok" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(show_metrics))
            .with_state(self.clone())
    }
}

/// How long the database may take for the answer that a probe waits for.
const READY_WITHIN: Duration = Duration::from_secs(3);

/// Ready means that the database answers and that the node is not stopping.
async fn ready(State(observed): State<Observed>) -> Response {
    if observed.closed.load(Ordering::Acquire) {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting or stopping").into_response();
    }
    let asked =
        tokio::time::timeout(READY_WITHIN, observed.hub.store.system.setting("ready")).await;
    let fault = match asked {
        Ok(Ok(_)) => return "ready".into_response(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer of the database within {READY_WITHIN:?}"),
    };
    tracing::warn!(error = fault, "not ready");
    (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer").into_response()
}

async fn show_metrics(State(observed): State<Observed>) -> Response {
    metrics::gauge!("tidings_column_cache_bytes").set(observed.hub.store.columns.bytes() as f64);
    observed.prometheus.run_upkeep();
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(axum::http::header::CONTENT_TYPE, content_type)], observed.prometheus.render())
        .into_response()
}

/// Counts requests by route and status, and how long they took.
pub async fn count(request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let began = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    metrics::counter!("tidings_http_requests_total", "route" => route.clone(), "status" => status)
        .increment(1);
    metrics::histogram!("tidings_http_seconds", "route" => route)
        .record(began.elapsed().as_secs_f64());
    response
}
