//! Where mail is handed over, read from a URL.
//!
//! | scheme | encryption | default port |
//! | --- | --- | --- |
//! | `smtp://` | none | 25 |
//! | `smtp+starttls://` | STARTTLS, required | 587 |
//! | `smtps://` | TLS from the first byte | 465 |
//!
//! `scheme://[name:password@]host[:port][?option=value&…]`; name, password and values may be percent-encoded.
//! Options: `max` (open connections), `per_connection` (messages before a connection is renewed), `hello`
//! (the name to introduce ourselves by), `ca` (a PEM file of further trusted roots), `tls=insecure-test-only`
//! (any certificate will do).

use std::{fmt, path::PathBuf, time::Duration};

/// Messages over one connection unless the URL says otherwise.
const PER_CONNECTION: u32 = 1000;

/// Settings of one relay.
#[derive(Clone)]
pub struct Relay {
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
    pub security: Security,
    /// Name and password.
    pub(super) credentials: Option<(String, String)>,
    pub max_connections: usize,
    pub messages_per_connection: u32,
    /// The name for EHLO; without one, the socket's own address is given.
    pub hello: Option<String>,
    /// A PEM file of roots trusted besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// Take any certificate. For tests.
    pub insecure: bool,
}

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    None,
    StartTls,
    Implicit,
}

/// Upper bounds of time, per phase of the dialog.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Resolving the name, connecting, and the TLS handshake, each.
    pub connect: Duration,
    pub greeting: Duration,
    /// One command and its complete reply.
    pub command: Duration,
    /// Writing the whole text.
    pub body: Duration,
    /// The reply to the final dot.
    pub after_dot: Duration,
    /// A kept connection unused for longer is asked with NOOP before it is used.
    pub noop_after: Duration,
    /// A kept connection unused for longer is closed.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            greeting: Duration::from_secs(30),
            command: Duration::from_secs(60),
            body: Duration::from_secs(180),
            after_dot: Duration::from_secs(120),
            noop_after: Duration::from_secs(10),
            idle: Duration::from_secs(60),
        }
    }
}

/// What is wrong with a relay's settings. Never contains the URL, since that holds the password.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error("smtp url must start with smtp://, smtp+starttls:// or smtps://")]
    Scheme,
    #[error("smtp url has no host")]
    Host,
    #[error("smtp url has a faulty port")]
    Port,
    #[error("smtp url has faulty credentials")]
    Credentials,
    #[error("smtp url has a path")]
    Path,
    #[error("smtp url option {0} is unknown or faulty")]
    Option(String),
    #[error("read ca file {path}: {reason}")]
    CaFile { path: PathBuf, reason: String },
    #[error("set up tls: {0}")]
    Tls(String),
}

impl Relay {
    /// Reads a URL; `default_max` is the number of open connections unless the URL says `max`.
    pub fn parse(url: &str, default_max: usize) -> Result<Self, RelayError> {
        let (scheme, rest) = url.trim().split_once("://").ok_or(RelayError::Scheme)?;
        let (security, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "smtp" => (Security::None, 25),
            "smtp+starttls" => (Security::StartTls, 587),
            "smtps" => (Security::Implicit, 465),
            _ => return Err(RelayError::Scheme),
        };
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (credentials, place) = match authority.rsplit_once('@') {
            Some((credentials, place)) => (Some(read_credentials(credentials)?), place),
            None => (None, authority),
        };
        if place.contains('/') {
            return Err(RelayError::Path);
        }
        let (host, port) = read_place(place, default_port)?;
        let mut relay = Self {
            host,
            port,
            security,
            credentials,
            max_connections: default_max.max(1),
            messages_per_connection: PER_CONNECTION,
            hello: None,
            ca_file: None,
            insecure: false,
        };
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            relay.set(name, value).ok_or_else(|| RelayError::Option(name.to_owned()))?;
        }
        Ok(relay)
    }

    /// The same relay signed in to with this name and password.
    #[must_use]
    pub fn signed_in(mut self, name: String, password: String) -> Self {
        self.credentials = Some((name, password));
        self
    }

    /// Whether the URL asks for what only the operator of this machine may decide: to read a file, or
    /// to believe any certificate.
    pub fn trusts_by_itself(&self) -> bool {
        self.ca_file.is_some() || self.insecure
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        let value = decode(value)?;
        match name {
            "max" => self.max_connections = value.parse().ok().filter(|max| *max > 0)?,
            "per_connection" => {
                self.messages_per_connection = value.parse().ok().filter(|count| *count > 0)?;
            }
            "hello" if is_name(&value) => self.hello = Some(value),
            "ca" if !value.is_empty() => self.ca_file = Some(value.into()),
            "tls" if value == "insecure-test-only" => self.insecure = true,
            _ => return None,
        }
        Some(())
    }

    /// A name and password would cross a network unencrypted.
    pub fn exposes_credentials(&self) -> bool {
        let local = self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        self.credentials.is_some() && self.security == Security::None && !local
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("security", &self.security)
            .field("signs_in", &self.credentials.is_some())
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

/// A URL without its name and password, and those apart, so that they can be kept sealed.
pub fn without_credentials(url: &str) -> Result<(String, Option<(String, String)>), RelayError> {
    let relay = Relay::parse(url, 1)?;
    let url = url.trim();
    let (scheme, rest) = url.split_once("://").ok_or(RelayError::Scheme)?;
    let (authority, query) = match rest.split_once('?') {
        Some((authority, query)) => (authority, Some(query)),
        None => (rest, None),
    };
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    Ok((format!("{scheme}://{place}{query}"), relay.credentials))
}

fn read_credentials(text: &str) -> Result<(String, String), RelayError> {
    let (name, password) = text.split_once(':').ok_or(RelayError::Credentials)?;
    let read = |part| decode(part).filter(|part| !part.contains('\0'));
    match (read(name), read(password)) {
        (Some(name), Some(password)) if !name.is_empty() => Ok((name, password)),
        _ => Err(RelayError::Credentials),
    }
}

fn read_place(place: &str, default_port: u16) -> Result<(String, u16), RelayError> {
    let (host, port) = match place.strip_prefix('[') {
        Some(inside) => {
            let (address, port) = inside.split_once(']').ok_or(RelayError::Host)?;
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(RelayError::Host);
            }
            (address, if port.is_empty() { None } else { port.strip_prefix(':').or(Some("")) })
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(RelayError::Host);
    }
    match port.map_or(Ok(default_port), str::parse) {
        Ok(port) if port > 0 => Ok((host.to_owned(), port)),
        _ => Err(RelayError::Port),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-[]:".contains(&byte))
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (hex, tail) = rest.split_at_checked(2)?;
        let hex = std::str::from_utf8(hex).ok().filter(|hex| !hex.contains('+'))?;
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        for (url, host, port, security, credentials) in [
            ("smtp://localhost", "localhost", 25, Security::None, None),
            ("smtp://127.0.0.1:2525/", "127.0.0.1", 2525, Security::None, None),
            ("smtps://u:p@mail.example", "mail.example", 465, Security::Implicit, Some(("u", "p"))),
            (
                "SMTP+STARTTLS://me%40x.example:p%3Aw%2Fd@h:26?max=3",
                "h",
                26,
                Security::StartTls,
                Some(("me@x.example", "p:w/d")),
            ),
            ("smtp://[::1]:25", "::1", 25, Security::None, None),
            ("smtp+starttls://[2001:db8::1]", "2001:db8::1", 587, Security::StartTls, None),
        ] {
            let relay = Relay::parse(url, 64).expect(url);
            assert_eq!((relay.host.as_str(), relay.port, relay.security), (host, port, security));
            let given =
                relay.credentials.as_ref().map(|(name, pass)| (name.as_str(), pass.as_str()));
            assert_eq!(given, credentials, "{url}");
        }
    }

    #[test]
    fn options_are_read() {
        let url = "smtp://h?max=16&per_connection=7&hello=hub.example&ca=%2Fetc%2Fca.pem&tls=insecure-test-only";
        let relay = Relay::parse(url, 64).expect("all options are known");
        assert_eq!((relay.max_connections, relay.messages_per_connection), (16, 7));
        assert_eq!(relay.hello.as_deref(), Some("hub.example"));
        assert_eq!(relay.ca_file, Some("/etc/ca.pem".into()));
        assert!(relay.insecure);
        let plain = Relay::parse("smtp://h", 64).expect("a host is enough");
        assert_eq!((plain.max_connections, plain.messages_per_connection), (64, 1000));
        assert!(!plain.insecure);
    }

    #[test]
    fn faulty_urls_are_refused_without_repeating_the_password() {
        for (url, expected) in [
            ("", "start with"),
            ("http://h", "start with"),
            ("smtp://", "no host"),
            ("smtp://:25", "no host"),
            ("smtp://[::1", "no host"),
            ("smtp://[h]:25", "no host"),
            ("smtp://h:", "port"),
            ("smtp://h:0", "port"),
            ("smtp://h:70000", "port"),
            ("smtp://[::1]25", "port"),
            ("smtp://secret@h", "credentials"),
            ("smtp://:secret@h", "credentials"),
            ("smtp://u:secret%zz@h", "credentials"),
            ("smtp://u:secret%00@h", "credentials"),
            ("smtp://h/inbox", "path"),
            ("smtp://h?max=0", "option max"),
            ("smtp://h?tls=off", "option tls"),
            ("smtp://h?hello=a%0d%0ab", "option hello"),
            ("smtp://u:secret@h?colour=blue", "option colour"),
        ] {
            let error = Relay::parse(url, 64).expect_err(url).to_string();
            assert!(error.contains(expected) && !error.contains("secret"), "{url}: {error}");
        }
    }

    #[test]
    fn credentials_are_taken_out_of_urls() {
        for (url, expected, credentials) in [
            ("smtps://u:p%3A@h:1?max=3", "smtps://h:1?max=3", Some(("u", "p:"))),
            (" smtp://h ", "smtp://h", None),
            ("smtp://a%40b:c@[::1]/", "smtp://[::1]/", Some(("a@b", "c"))),
        ] {
            let (url, found) = without_credentials(url).expect(url);
            assert_eq!(url, expected);
            let found = found.as_ref().map(|(name, password)| (&**name, &**password));
            assert_eq!(found, credentials, "{expected}");
        }
        assert!(without_credentials("http://u:p@h").is_err());
    }

    #[test]
    fn the_password_is_not_printed_and_exposure_is_noticed() {
        let relay = Relay::parse("smtp://hugo:secret@mail.example", 64).expect("the url is fine");
        let printed = format!("{relay:?}");
        assert!(!printed.contains("secret") && !printed.contains("hugo"), "{printed}");
        for (url, exposed) in [
            ("smtp://u:p@mail.example", true),
            ("smtp://u:p@127.0.0.1", false),
            ("smtp://mail.example", false),
            ("smtps://u:p@mail.example", false),
        ] {
            let relay = Relay::parse(url, 1).expect(url);
            assert_eq!(relay.exposes_credentials(), exposed, "{url}");
        }
    }
}
