//! The HTTP listener over real sockets: TLS with a certificate that is renewed, and who asks.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::http::uri::Scheme;
use axum::routing::get;
use axum::{Extension, Router};
use jiff::Timestamp;
use rcgen::{CertificateParams, KeyPair};
use tidings_listeners::http::{self, Front};
use tidings_listeners::proxies::{Header, Proxies};
use tidings_listeners::tls::{Pair, Tls};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Files {
        Files { folder: tempfile::tempdir().expect("a folder") }
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    fn put(&self, certificate: &str, key: &str) {
        std::fs::write(self.certificate(), certificate).expect("write");
        std::fs::write(self.key(), key).expect("write");
    }

    fn refused(&self) -> String {
        let opened = Tls::open(&self.certificate(), &self.key(), Timestamp::now());
        let fault = opened.err().expect("it is refused").to_string();
        fault.replace(self.folder.path().to_str().expect("a path in UTF-8"), "…")
    }
}

/// A certificate of these years and its key, as PEM.
fn made(from: i32, to: i32) -> (String, String) {
    let mut wish = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    wish.not_before = rcgen::date_time_ymd(from, 1, 1);
    wish.not_after = rcgen::date_time_ymd(to, 1, 1);
    let key = KeyPair::generate().expect("a key");
    (wish.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

async fn start(front: Front) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("an address");
    let who = |ConnectInfo(peer): ConnectInfo<SocketAddr>, scheme: Option<Extension<Scheme>>| async move {
        format!(
            "{} {}",
            peer.ip(),
            scheme.map_or(String::new(), |Extension(scheme)| scheme.to_string())
        )
    };
    let (stop, stopped) = watch::channel(false);
    let router = Router::new().route("/", get(who));
    Server { address, stop, running: tokio::spawn(http::serve(listener, router, front, stopped)) }
}

impl Server {
    async fn stop(self) {
        self.stop.send(true).expect("it listens");
        self.running.await.expect("it ends in order");
    }
}

/// Asks over TLS with this certificate trusted alone; each time over a new connection.
async fn ask(server: &Server, trusted: &str) -> Result<String, reqwest::Error> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = reqwest::Certificate::from_pem(trusted.as_bytes())?;
    let client = reqwest::Client::builder().tls_certs_only([root]).no_proxy().build()?;
    let url = format!("https://localhost:{}/", server.address.port());
    client.get(url).send().await?.text().await
}

#[tokio::test]
async fn a_renewed_certificate_is_served_without_a_restart() {
    let files = Files::new();
    let (first, first_key) = made(2020, 2090);
    files.put(&first, &first_key);
    let now = Timestamp::now();
    let tls = Arc::new(Tls::open(&files.certificate(), &files.key(), now).expect("it fits"));
    let server = start(Front::new(Some(tls.clone()), Proxies::default())).await;
    assert_eq!(ask(&server, &first).await.expect("answered"), "127.0.0.1 https");
    assert!(!tls.reload(now).expect("nothing changed"));

    let (second, second_key) = made(2020, 2091);
    assert!(ask(&server, &second).await.is_err(), "it is not served yet");
    // Half of a renewal, and an old one, leave the first in place; each is told once.
    std::fs::write(files.certificate(), &second).expect("write");
    assert!(tls.reload(now).is_err());
    assert!(!tls.reload(now).expect("told once"));
    let (old, old_key) = made(2020, 2021);
    files.put(&old, &old_key);
    assert!(tls.reload(now).is_err());
    assert_eq!(ask(&server, &first).await.expect("answered"), "127.0.0.1 https");

    files.put(&second, &second_key);
    assert!(tls.reload(now).expect("it fits"));
    assert_eq!(ask(&server, &second).await.expect("answered"), "127.0.0.1 https");
    assert!(ask(&server, &first).await.is_err(), "the first is served no longer");
    server.stop().await;
}

#[test]
fn what_cannot_be_served_is_told_plainly() {
    let (good, good_key) = made(2020, 2090);
    let (_, other_key) = made(2020, 2090);
    let (over, over_key) = made(2020, 2021);
    let (early, early_key) = made(2080, 2090);
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (certificate, key, expected) in [
        (good.as_str(), other_key.as_str(), "…/key.pem is not the key of …/cert.pem"),
        (&over, &over_key, "…/cert.pem ended on 2021-01-01T00:00:00Z; renew it"),
        (&early, &early_key, "…/cert.pem begins on 2080-01-01T00:00:00Z; is this machine's clock"),
        (&good_key, &good_key, "…/cert.pem holds no certificate"),
        ("", &good_key, "…/cert.pem holds no certificate"),
        (garbage, &good_key, "…/cert.pem is damaged: no X.509 certificate"),
        (&good, &good, "…/key.pem holds no private key"),
        (&good, locked, "one with a password has to be decrypted first"),
        (&good[..good.len() / 2], &good_key, "…/cert.pem is damaged"),
    ] {
        let files = Files::new();
        files.put(certificate, key);
        let text = files.refused();
        assert!(text.contains(expected), "expected {expected:?} in {text:?}");
    }
    assert_eq!(Files::new().refused(), "read …/cert.pem");
}

#[test]
fn a_certificate_says_for_whom_and_how_long_it_is() {
    let files = Files::new();
    let (good, key) = made(2020, 2090);
    files.put(&good, &key);
    let pair = Pair::read(&files.certificate(), &files.key()).expect("it fits");
    assert!(pair.is_for("localhost"));
    assert!(!pair.is_for("hub.example"));
    assert!(!pair.is_for("no host"));
    let day_before: Timestamp = "2089-12-31T00:00:00Z".parse().expect("a time");
    assert_eq!(pair.days_left(day_before), 1);
}

#[tokio::test]
async fn a_trusted_proxy_says_who_asks() {
    let trusted = Proxies {
        networks: vec!["127.0.0.0/8".parse().expect("a network")],
        header: Header::XForwardedFor,
    };
    for (proxies, expected) in [(trusted, "192.0.2.7 https"), (Proxies::default(), "127.0.0.1 ")] {
        let server = start(Front::new(None, proxies)).await;
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = client
            .get(format!("http://{}/", server.address))
            .header("x-forwarded-for", "6.6.6.6, 192.0.2.7")
            .header("x-forwarded-proto", "https");
        let text = request.send().await.expect("answered").text().await.expect("text");
        assert_eq!(text, expected);
        server.stop().await;
    }
}
