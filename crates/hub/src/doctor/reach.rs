//! Whether an address leads to a hub: one plain request, as a mail reader would make it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::settings::host_of;

const PATIENCE: Duration = Duration::from_secs(5);
/// More of an answer is not read.
const MAX_ANSWER: u64 = 64 * 1024;

/// Asks `/healthz` of an address; an error says why that is not a hub's answer.
pub async fn hub_at(url: &str) -> Result<()> {
    let asked = tokio::time::timeout(PATIENCE, ask(url)).await;
    asked.context("no answer within five seconds")?
}

async fn ask(url: &str) -> Result<()> {
    let (scheme, rest) = url.split_once("://").context("expected http:// or https://")?;
    let host = host_of(url);
    let authority = rest.split('/').next().unwrap_or(rest);
    let port = match authority.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port.parse().context("read the port")?,
        _ if scheme == "https" => 443,
        _ => 80,
    };
    let path = rest.strip_prefix(authority).unwrap_or_default().trim_end_matches('/');
    let stream = TcpStream::connect((host, port))
        .await
        .with_context(|| format!("connect to {host}:{port}"))?;
    let request = format!(
        "GET {path}/healthz HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: tidings-doctor\r\n\
         Connection: close\r\n\r\n"
    );
    let answer = match scheme {
        "https" => {
            let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .context("set up TLS")?
                .with_root_certificates(roots)
                .with_no_client_auth();
            let name = ServerName::try_from(host.to_owned()).context("read the host")?;
            let connector = TlsConnector::from(Arc::new(config));
            exchange(connector.connect(name, stream).await.context("TLS handshake")?, &request)
                .await?
        }
        _ => exchange(stream, &request).await?,
    };
    let status = answer.split_whitespace().nth(1).unwrap_or("nothing");
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.trim()).unwrap_or_default();
    if status != "200" || !body.ends_with("ok") {
        bail!("it answers /healthz with {status}, which is not what a hub says");
    }
    Ok(())
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
) -> Result<String> {
    stream.write_all(request.as_bytes()).await.context("ask")?;
    let mut answer = Vec::new();
    // Some end the connection without a goodbye of TLS; what came is what counts.
    let read = stream.take(MAX_ANSWER).read_to_end(&mut answer).await;
    if answer.is_empty() {
        read.context("read the answer")?;
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Answers one connection with a text; gives its address.
    async fn answering(text: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut asked = [0; 1_024];
            let count = stream.read(&mut asked).await.expect("read");
            assert!(asked[..count].starts_with(b"GET /healthz HTTP/1.1\r\n"));
            stream.write_all(text.as_bytes()).await.expect("write");
        });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn only_a_hub_answers_like_one() {
        let hub = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        hub_at(&hub).await.expect("it is a hub");
        for other in [
            "HTTP/1.1 200 OK\r\n\r\n<html>Welcome</html>",
            "HTTP/1.1 502 Bad Gateway\r\n\r\nok",
            "SSH-2.0-OpenSSH\r\n",
            "",
        ] {
            let address = answering(other).await;
            assert!(hub_at(&address).await.is_err(), "{other}");
        }
        let gone = hub_at("http://127.0.0.1:1").await.expect_err("nobody is there");
        assert!(format!("{gone:#}").contains("connect to 127.0.0.1:1"), "{gone:#}");
        assert!(hub_at("ftp").await.is_err());
    }
}
