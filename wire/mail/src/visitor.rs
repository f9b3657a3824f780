//! Who asks, as far as a request says.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use tidings_engine::tracking::Visitor;

/// The address and the program that a request comes from, as the listener found them out.
pub struct From(pub Visitor);

impl<S: Send + Sync> FromRequestParts<S> for From {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        // From this machine itself nobody in particular asks.
        let ip = peer.map(|ConnectInfo(address)| address.ip().to_canonical());
        let ip = ip.filter(|ip| !ip.is_loopback());
        let user_agent = text(&parts.headers, header::USER_AGENT).map(str::to_owned);
        Ok(From(Visitor { ip, user_agent }))
    }
}

fn text(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
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
}
