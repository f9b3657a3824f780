//! Who a request comes from where a proxy stands in between. A proxy that is trusted says whom it
//! speaks for, in a header; anybody else's word for it is not taken.

use std::net::IpAddr;
use std::str::FromStr;

use axum::http::uri::Scheme;
use axum::http::{HeaderMap, HeaderName, header};

/// The addresses of a network: `10.0.0.0/8`, or one address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

/// The header in which the trusted proxies say whom they speak for. Only one is read: a proxy sets
/// one and lets the other pass as the client sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Header {
    /// `X-Forwarded-For`, with `X-Forwarded-Proto` beside it.
    #[default]
    XForwardedFor,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

/// Which proxies are trusted, and with what.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    pub networks: Vec<Network>,
    pub header: Header,
}

/// Who asks, and whether they did so by `http` or `https` as far as that is known: behind a proxy
/// that says nothing it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub ip: IpAddr,
    pub scheme: Option<Scheme>,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let wrong = || format!("{text} is no address or network, such as 192.0.2.1 or 10.0.0.0/8");
        let (address, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, prefix)) => (address, Some(prefix)),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = bits(address).1;
        let prefix = match prefix {
            None => width,
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok().filter(|prefix| *prefix <= width).ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        let network = Network { address, prefix };
        if network.masked(address) != bits(address).0 {
            return Err(format!("{text} has bits behind its first {prefix}; set them to zero"));
        }
        Ok(network)
    }
}

/// An address as a number, and how many bits it has.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

impl Network {
    fn masked(&self, address: IpAddr) -> u128 {
        let (number, width) = bits(address);
        let behind = width - self.prefix;
        // A shift by all 128 bits does not exist.
        number.checked_shr(behind).and_then(|kept| kept.checked_shl(behind)).unwrap_or(0)
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        bits(address).1 == bits(self.address).1 && self.masked(address) == bits(self.address).0
    }
}

impl Proxies {
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// Who asks: the nearest address that is no trusted proxy, as the chain of proxies tells it.
    /// `is_tls` says whether the connection itself is encrypted.
    pub fn client(&self, peer: IpAddr, is_tls: bool, headers: &HeaderMap) -> Client {
        let scheme = is_tls.then_some(Scheme::HTTPS);
        let mut client = Client { ip: peer.to_canonical(), scheme };
        if !self.trusts(client.ip) {
            return client;
        }
        for hop in self.hops(headers).into_iter().rev() {
            client.scheme = hop.scheme.or(client.scheme);
            // What a proxy would not or could not say is the end of what is known.
            let Some(ip) = hop.ip else { break };
            client.ip = ip;
            if !self.trusts(ip) {
                break;
            }
        }
        client
    }

    /// Whether somebody who is not trusted speaks for another.
    pub fn is_unknown_proxy(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let speaks =
            headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(header::FORWARDED);
        speaks && !self.trusts(peer)
    }

    /// The chain as the header tells it, the client first.
    fn hops(&self, headers: &HeaderMap) -> Vec<Hop> {
        match self.header {
            Header::Forwarded => {
                parts(headers, header::FORWARDED).into_iter().map(forwarded).collect()
            }
            Header::XForwardedFor => {
                let addresses = parts(headers, X_FORWARDED_FOR);
                let schemes = parts(headers, X_FORWARDED_PROTO);
                // Most proxies keep one scheme whatever the length of the chain: the last one's.
                let is_each = schemes.len() == addresses.len();
                let scheme = |at: usize| schemes.get(at).and_then(|text| known_scheme(text));
                let last = addresses.len().saturating_sub(1);
                let mut hops = Vec::with_capacity(addresses.len());
                for (at, text) in addresses.iter().enumerate() {
                    let scheme = match is_each {
                        true => scheme(at),
                        false if at == last => scheme(schemes.len().saturating_sub(1)),
                        false => None,
                    };
                    hops.push(Hop { ip: node(text), scheme });
                }
                hops
            }
        }
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What one proxy says of who asked it.
struct Hop {
    ip: Option<IpAddr>,
    scheme: Option<Scheme>,
}

/// The parts of a list over all headers of a name; commas within quotes are no ends.
fn parts(headers: &HeaderMap, name: HeaderName) -> Vec<&str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| split(value, ',')).map(str::trim).collect()
}

fn split(text: &str, at: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |c| {
        is_quoted ^= c == '"';
        c == at && !is_quoted
    })
}

/// One element of `Forwarded`: `for="[2001:db8::1]:4711";proto=https;by=…`.
fn forwarded(text: &str) -> Hop {
    let mut hop = Hop { ip: None, scheme: None };
    for pair in split(text, ';') {
        let Some((name, value)) = pair.trim().split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        if name.eq_ignore_ascii_case("for") {
            hop.ip = node(value);
        } else if name.eq_ignore_ascii_case("proto") {
            hop.scheme = known_scheme(value);
        }
    }
    hop
}

/// An address, with or without a port: `192.0.2.1:80`, `[2001:db8::1]:80`, `2001:db8::1`. What a
/// proxy hides (`unknown`, `_name`) is none.
fn node(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None if text.matches(':').count() == 1 => text.split_once(':')?.0,
        None => text,
    };
    address.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

fn known_scheme(text: &str) -> Option<Scheme> {
    match text {
        _ if text.eq_ignore_ascii_case("https") => Some(Scheme::HTTPS),
        _ if text.eq_ignore_ascii_case("http") => Some(Scheme::HTTP),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(networks: &[&str], header: Header) -> Proxies {
        let networks = networks.iter().map(|text| text.parse().expect("a network")).collect();
        Proxies { networks, header }
    }

    #[track_caller]
    fn check(proxies: &Proxies, peer: &str, lines: &[(&str, &str)], expected: (&str, &str)) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, value.parse().expect("a value"));
        }
        let peer = peer.parse().expect("an address");
        let client = proxies.client(peer, false, &headers);
        let scheme = client.scheme.as_ref().map_or("", Scheme::as_str);
        assert_eq!((client.ip.to_string().as_str(), scheme), expected, "{lines:?}");
    }

    #[test]
    fn only_trusted_proxies_speak_for_others() {
        let chain = [("x-forwarded-for", "203.0.113.9, 192.0.2.7"), ("x-forwarded-proto", "https")];
        let none = Proxies::default();
        check(&none, "127.0.0.1", &chain, ("127.0.0.1", ""));
        let one = proxies(&["127.0.0.1"], Header::XForwardedFor);
        check(&one, "198.51.100.1", &chain, ("198.51.100.1", ""));
        check(&one, "127.0.0.1", &chain, ("192.0.2.7", "https"));
        check(&one, "::ffff:127.0.0.1", &chain, ("192.0.2.7", "https"));
        check(&one, "127.0.0.1", &[], ("127.0.0.1", ""));
        // Whoever is behind a proxy cannot get by with a header that the proxy lets pass.
        check(&one, "127.0.0.1", &[("forwarded", "for=1.2.3.4;proto=https")], ("127.0.0.1", ""));
    }

    #[test]
    fn the_chain_is_followed_as_far_as_it_is_trusted() {
        let two = proxies(&["10.0.0.0/8", "2001:db8::/32"], Header::XForwardedFor);
        for (chain, expected) in [
            ("203.0.113.9", "203.0.113.9"),
            ("6.6.6.6, 203.0.113.9, 10.1.1.1", "203.0.113.9"),
            ("203.0.113.9, 2001:db8::5", "203.0.113.9"),
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2a00::1]:4711, 10.3.3.3", "2a00::1"),
            ("10.4.4.4, 10.5.5.5", "10.4.4.4"),
            ("203.0.113.9, unknown, 10.5.5.5", "10.5.5.5"),
            ("nonsense", "10.0.0.1"),
            ("", "10.0.0.1"),
        ] {
            check(&two, "10.0.0.1", &[("x-forwarded-for", chain)], (expected, ""));
        }
        // Lines of one name are one list.
        let lines = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "10.1.1.1")];
        check(&two, "10.0.0.1", &lines, ("203.0.113.9", ""));
        // A scheme a hop: that of the client's own hop counts.
        let lines =
            [("x-forwarded-for", "203.0.113.9, 10.1.1.1"), ("x-forwarded-proto", "https, http")];
        check(&two, "10.0.0.1", &lines, ("203.0.113.9", "https"));
    }

    #[test]
    fn the_standard_header_is_read_where_it_is_the_one() {
        let one = proxies(&["10.0.0.0/8"], Header::Forwarded);
        for (value, expected) in [
            ("for=192.0.2.43;proto=https", ("192.0.2.43", "https")),
            ("For=\"[2001:db8:cafe::17]:4711\";by=10.0.0.1", ("2001:db8:cafe::17", "")),
            ("for=6.6.6.6, for=192.0.2.1 ; Proto=HTTPS, for=10.9.9.9", ("192.0.2.1", "https")),
            ("for=\"_hidden,;x\";proto=https", ("10.0.0.1", "https")),
            ("proto=https", ("10.0.0.1", "https")),
            ("=;;=", ("10.0.0.1", "")),
        ] {
            check(&one, "10.0.0.1", &[("forwarded", value)], expected);
        }
        check(&one, "10.0.0.1", &[("x-forwarded-for", "192.0.2.7")], ("10.0.0.1", ""));
    }

    #[test]
    fn networks_are_read_strictly() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32", "192.0.2.1", "::1"] {
            assert!(text.parse::<Network>().is_ok(), "{text}");
        }
        for text in [
            "",
            "localhost",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "10.0.0.1/8",
            "::1/64",
            "10/8",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        let all: Network = "0.0.0.0/0".parse().expect("a network");
        assert!(all.contains(IpAddr::from([255, 1, 1, 1])));
        assert!(!all.contains("2001:db8::1".parse().expect("an address")));
        let every: Network = "::/0".parse().expect("a network");
        assert!(every.contains("2001:db8::1".parse().expect("an address")));
    }

    #[test]
    fn a_proxy_that_was_forgotten_is_noticed() {
        let one = proxies(&["10.0.0.0/8"], Header::XForwardedFor);
        let mut headers = HeaderMap::new();
        assert!(!one.is_unknown_proxy(IpAddr::from([192, 168, 0, 1]), &headers));
        headers.insert(X_FORWARDED_FOR, "192.0.2.7".parse().expect("a value"));
        assert!(one.is_unknown_proxy(IpAddr::from([192, 168, 0, 1]), &headers));
        assert!(!one.is_unknown_proxy(IpAddr::from([10, 0, 0, 1]), &headers));
    }
}
