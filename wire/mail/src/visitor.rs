//! Who asks, as far as a request says.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use tidings_engine::tracking::Visitor;

/// The address and the program that a request comes from.
pub struct From(pub Visitor);

impl<S: Send + Sync> FromRequestParts<S> for From {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let ip = peer.and_then(|ConnectInfo(address)| client(address.ip(), &parts.headers));
        let user_agent = text(&parts.headers, header::USER_AGENT).map(str::to_owned);
        Ok(From(Visitor { ip, user_agent }))
    }
}

fn text(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A proxy on this machine says whom it speaks for in the last part of the header; anybody else's
/// word for it is not taken. From this machine itself nobody in particular asks.
fn client(peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
    if !peer.to_canonical().is_loopback() {
        return Some(peer);
    }
    let chain = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    chain.rsplit(',').next()?.trim().parse().ok()
}

/// The languages that a reader likes.
pub fn language(headers: &HeaderMap) -> Option<&str> {
    text(headers, header::ACCEPT_LANGUAGE)
}

/// The pairs of a form, `application/x-www-form-urlencoded`.
pub fn pairs(body: &str) -> Vec<(String, String)> {
    body.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

/// A plus is a blank, and a percent sign with two hexadecimal digits a byte; any other percent sign
/// stands for itself. No value holds a NUL, for which PostgreSQL has no place.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', _, _) => out.push(b' '),
            _ => out.push(*byte),
        }
        at += 1;
    }
    out.retain(|byte| *byte != 0);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded() {
        for (text, expected) in [
            ("a+b%20c", "a b c"),
            ("K%C3%B6ln", "Köln"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%00x", "x"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(decoded(text), expected, "{text}");
        }
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            pairs("a=1&&b&=2&a=x=y"),
            [pair("a", "1"), pair("b", ""), pair("", "2"), pair("a", "x=y")]
        );
    }

    #[test]
    fn only_a_proxy_on_this_machine_speaks_for_others() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "203.0.113.9, 192.0.2.7".parse().unwrap());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(client(ip("127.0.0.1"), &headers), Some(ip("192.0.2.7")));
        assert_eq!(client(ip("198.51.100.1"), &headers), Some(ip("198.51.100.1")));
        assert_eq!(client(ip("::1"), &HeaderMap::new()), None);
    }
}
