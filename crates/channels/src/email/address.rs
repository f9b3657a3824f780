//! Addresses beyond ASCII: the domain always has an ASCII form, the local part has none.

use std::borrow::Cow;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// The ASCII form of a domain (`bücher.example` is `xn--bcher-kva.example`), in lower case; `None`
/// where it has none.
pub fn ascii_domain(domain: &str) -> Option<Cow<'_, str>> {
    if domain.is_ascii() {
        return Some(match domain.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(domain.to_ascii_lowercase()),
            false => Cow::Borrowed(domain),
        });
    }
    let (deny, hyphens) = (AsciiDenyList::STD3, Hyphens::Check);
    Uts46::new().to_ascii(domain.as_bytes(), deny, hyphens, DnsLength::Verify).ok()
}

/// An address as envelopes and headers carry it: the local part as it is, the domain in ASCII.
/// What is then still beyond ASCII needs a relay with SMTPUTF8 (RFC 6531). `None` where the text is
/// no address or its domain has no ASCII form.
pub fn wire_address(address: &str) -> Option<Cow<'_, str>> {
    let (local, domain) = address.rsplit_once('@')?;
    if domain.is_ascii() {
        return Some(Cow::Borrowed(address));
    }
    Some(Cow::Owned(format!("{local}@{}", ascii_domain(domain)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_put_in_ascii_and_local_parts_stay() {
        for (address, expected) in [
            ("ann@example.com", Some("ann@example.com")),
            ("info@bücher.example", Some("info@xn--bcher-kva.example")),
            ("info@BÜCHER.example", Some("info@xn--bcher-kva.example")),
            ("jörg@faß.example", Some("jörg@xn--fa-hia.example")),
            ("用户@例え.jp", Some("用户@xn--r8jz45g.jp")),
            ("a@b@ü.example", Some("a@b@xn--tda.example")),
            ("ann", None),
            ("ann@ü..example", None),
            ("ann@-ü.example", None),
            ("ann@ü\u{200b}_.example", None),
        ] {
            assert_eq!(wire_address(address).as_deref(), expected, "{address}");
        }
        let long = format!("ann@{}.example", "ü".repeat(60));
        assert_eq!(wire_address(&long), None, "a label has at most 63 octets");
    }

    #[test]
    fn ascii_domains_are_folded() {
        assert_eq!(ascii_domain("Shop.Example").as_deref(), Some("shop.example"));
        assert!(matches!(ascii_domain("shop.example"), Some(Cow::Borrowed(_))));
    }
}
