//! The settings themselves: where the hub listens, how it is reached, its certificate.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use jiff::Timestamp;
use tidings_listeners::tls::{Pair, WARN_DAYS};

use super::Report;
use crate::config::Config;

pub fn examine(config: &Config, report: &mut Report) {
    listening(config, report);
    public_address(config, report);
    if let (Some(certificate), Some(key)) = (&config.tls_cert, &config.tls_key) {
        tls(certificate, key, &config.public_url(), report);
    }
}

fn listening(config: &Config, report: &mut Report) {
    let is_open = !config.listen.ip().is_loopback();
    let proxies = config.proxies().map(|proxies| proxies.networks.len()).unwrap_or_default();
    let how = if config.tls_cert.is_some() { "TLS" } else { "plain HTTP" };
    let found = format!("{how} on {}, {proxies} trusted proxies", config.listen);
    if is_open && config.tls_cert.is_none() && proxies == 0 {
        report.warn(
            "listener",
            format!("{found}: passwords and tokens travel in the clear"),
            "give tls_cert and tls_key, or put a proxy in front and name it in trusted_proxies",
        );
    } else {
        report.ok("listener", found);
    }
}

fn public_address(config: &Config, report: &mut Report) {
    let url = config.public_url();
    if config.public_url.is_none() {
        report.warn(
            "public address",
            format!("{url}, which only this machine reaches; it stands in every link of a mail"),
            "set public_url to what browsers and mail readers use",
        );
    } else if url.starts_with("http://") {
        report.warn(
            "public address",
            format!("{url} is not encrypted"),
            "use https://, by a certificate of its own or a proxy",
        );
    } else {
        report.ok("public address", url);
    }
}

fn tls(certificate: &Path, key: &Path, public_url: &str, report: &mut Report) {
    let now = Timestamp::now();
    let pair =
        match Pair::read(certificate, key).and_then(|pair| pair.check_time(now).map(|()| pair)) {
            Ok(pair) => pair,
            Err(fault) => {
                let text = format!("{:#}", anyhow::Error::from(fault));
                report.fail(
                    "certificate",
                    text,
                    "put a good pair of files in place; the hub takes them up by itself",
                );
                return;
            }
        };
    let days = pair.days_left(now);
    let found = format!("ends on {}, in {days} days", pair.ends_at);
    match days < WARN_DAYS {
        true => report.warn("certificate", found, "renew it; the hub takes it up by itself"),
        false => report.ok("certificate", found),
    }
    let host = host_of(public_url);
    if !pair.is_for(host) {
        report.warn(
            "certificate name",
            format!("the certificate is not for {host}"),
            "get one for the host of public_url, or correct public_url",
        );
    }
    if is_open_to_others(key) {
        report.warn(
            "certificate key",
            format!("everybody on this machine may read {}", key.display()),
            format!("chmod o-rwx {}", key.display()),
        );
    }
}

/// The host of a URL, without port and brackets.
pub fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

pub fn is_open_to_others(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|found| found.permissions().mode() & 0o007 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn hosts_are_found_in_urls() {
        for (url, expected) in [
            ("https://hub.example", "hub.example"),
            ("https://hub.example:8443/x?y", "hub.example"),
            ("http://[::1]:8080", "::1"),
            ("http://127.0.0.1:8080/", "127.0.0.1"),
        ] {
            assert_eq!(host_of(url), expected);
        }
    }

    #[track_caller]
    fn check(config: Config, check: &str, expected: State) {
        let mut report = Report::default();
        examine(&config, &mut report);
        let line = report.lines.iter().find(|line| line.check == check).expect("it is checked");
        assert_eq!(line.state, expected, "{line:?}");
    }

    #[test]
    fn what_travels_in_the_clear_is_warned_of() {
        let open =
            || Config { listen: "0.0.0.0:80".parse().expect("an address"), ..Config::default() };
        check(Config::default(), "listener", State::Ok);
        check(open(), "listener", State::Warn);
        let proxies = crate::config::Words::Text("10.0.0.1".to_owned());
        check(Config { trusted_proxies: proxies, ..open() }, "listener", State::Ok);
        for (url, expected) in [
            (None, State::Warn),
            (Some("http://hub.example"), State::Warn),
            (Some("https://hub.example"), State::Ok),
        ] {
            let public_url = url.map(str::to_owned);
            check(Config { public_url, ..Config::default() }, "public address", expected);
        }
    }

    #[test]
    fn a_certificate_is_looked_at_with_its_key_and_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let (cert, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        let config = || Config {
            tls_cert: Some(cert.clone()),
            tls_key: Some(key.clone()),
            public_url: Some("https://hub.example".to_owned()),
            ..Config::default()
        };
        check(config(), "certificate", State::Fail);
        let put = |name: &str, until: i32| {
            let mut wish = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
            wish.not_after = rcgen::date_time_ymd(until, 1, 1);
            let pair = rcgen::KeyPair::generate().expect("a key");
            let made = wish.self_signed(&pair).expect("a certificate");
            std::fs::write(&cert, made.pem()).expect("written");
            std::fs::write(&key, pair.serialize_pem()).expect("written");
        };
        put("hub.example", 2090);
        check(config(), "certificate", State::Ok);
        check(config(), "certificate key", State::Warn);
        put("hub.example", 2001);
        check(config(), "certificate", State::Fail);
        put("other.example", 2090);
        check(config(), "certificate name", State::Warn);
    }
}
