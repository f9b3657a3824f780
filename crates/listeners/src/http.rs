//! HTTP in: one port, plain or TLS, with limits on how long a client may dawdle.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderName, HeaderValue, Request};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutBody;

use crate::patience::Patience;

use crate::proxies::Proxies;
use crate::tls::Tls;

/// How long a client may take over the head of a request, and over a TLS handshake.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// How long a client may pause within a body.
const BODY_PAUSE: Duration = Duration::from_secs(30);
/// Connections open at once.
const CONNECTIONS: usize = 4_096;
/// How long requests in hand may take to finish after the order to stop.
pub const DRAIN: Duration = Duration::from_secs(25);

/// What stands between the network and the routes.
#[derive(Clone, Default)]
pub struct Front {
    /// Plain HTTP without it.
    pub tls: Option<Arc<Tls>>,
    pub proxies: Arc<Proxies>,
    /// Whether a proxy that is not trusted has been told of; once is enough.
    told: Arc<AtomicBool>,
}

impl Front {
    pub fn new(tls: Option<Arc<Tls>>, proxies: Proxies) -> Front {
        Front { tls, proxies: Arc::new(proxies), told: Arc::default() }
    }

    /// Puts who asks, and by which `http::uri::Scheme` where it is known, where the handlers find it.
    fn introduce<B>(&self, peer: SocketAddr, request: &mut Request<B>) {
        let client = self.proxies.client(peer.ip(), self.tls.is_some(), request.headers());
        if self.proxies.is_unknown_proxy(peer.ip(), request.headers())
            && is_near(peer.ip())
            && !self.told.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                proxy = %peer.ip(),
                "a proxy that is not in trusted_proxies passes requests on; all of them count as its own"
            );
        }
        // The port is that of the connection, which is the proxy's where one stands in between.
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(client.ip, peer.port())));
        if let Some(scheme) = client.scheme {
            request.extensions_mut().insert(scheme);
        }
    }
}

/// Whether an address is of this machine or of a private network, as those of proxies are.
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

/// Serves a router until told to stop; then takes no new connections, lets the requests in hand
/// finish, and returns.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    front: Front,
    mut stop: watch::Receiver<bool>,
) {
    let router = guarded(router);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: wait for some to come free.
                tracing::warn!(%error, "accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (router, front, stop) = (router.clone(), front.clone(), stop.clone());
        tokio::spawn(async move {
            connection(stream, peer, router, front, stop).await;
            drop(place);
        });
    }
    drop(listener);
    let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
    // One place is still ours only if the loop broke while holding it, which it has dropped by now.
    let _ = tokio::time::timeout(DRAIN, places.acquire_many(all)).await;
}

/// What every answer carries, and what no handler's panic may break.
fn guarded(router: Router) -> Router {
    let header = |name: &'static str, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    router.layer(
        ServiceBuilder::new()
            .layer(header("x-content-type-options", "nosniff"))
            .layer(header("referrer-policy", "same-origin"))
            .layer(header("x-frame-options", "DENY"))
            .layer(CatchPanicLayer::new()),
    )
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    front: Front,
    stop: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "set a socket to low delay");
    }
    match front.tls.as_ref().map(|tls| tls.acceptor()) {
        None => speak(TokioIo::new(stream), peer, router, front, stop).await,
        Some(tls) => match tokio::time::timeout(HEAD_TIME, tls.accept(stream)).await {
            Ok(Ok(stream)) => speak(TokioIo::new(stream), peer, router, front, stop).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        },
    }
}

async fn speak<I>(
    stream: I,
    peer: SocketAddr,
    router: Router,
    front: Front,
    mut stop: watch::Receiver<bool>,
) where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let service = tower::service_fn(move |mut request: Request<hyper::body::Incoming>| {
        front.introduce(peer, &mut request);
        let mut router = router.clone();
        async move {
            let ready = ServiceExt::<Request<Body>>::ready(&mut router).await?;
            ready.call(request.map(|body| Body::new(TimeoutBody::new(BODY_PAUSE, body)))).await
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(128 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .max_header_list_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(30));
    let stream = Patience::new(stream, HEAD_TIME);
    let connection = builder.serve_connection(stream, TowerToHyperService::new(service));
    tokio::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => quiet(result),
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            quiet(connection.await);
        }
    }
}

/// Waits for the order to stop; a sender that is gone has given it.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Clients go away all the time; that is no news.
fn quiet(result: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = result {
        tracing::debug!(error, "a connection ended badly");
    }
}
