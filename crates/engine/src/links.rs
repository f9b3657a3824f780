//! Signed links: what a mail carries to tell us who opened, clicked or unsubscribed.
//!
//! A token names the workspace, campaign and customer and, for a click, the link; its signature
//! covers all of it, so a link can lead nowhere but where the campaign's author pointed it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tidings_domain::CustomerId;
use uuid::Uuid;

/// What a signed link stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    Open,
    /// A link of the template, by its number in the campaign.
    Click(u32),
    /// A link that differs per customer; the address travels inside the token.
    ClickTo(String),
    Unsubscribe,
}

/// Who a signed link belongs to, and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The workspace's number.
    pub workspace: u32,
    /// The campaign's number in the workspace.
    pub campaign: u32,
    pub customer: CustomerId,
    pub purpose: Purpose,
}

/// The keys that links are signed with, made from the master key.
#[derive(Clone)]
pub struct LinkKeys {
    links: [u8; 32],
    return_paths: [u8; 32],
}

const SIGNATURE: usize = 16;
const VERSION: u8 = 1;
/// Version, purpose, workspace, campaign, customer, link number.
const FIXED: usize = 1 + 1 + 4 + 4 + 16 + 4;
const RETURN_SIGNATURE: usize = 8;
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl LinkKeys {
    pub fn new(master_key: &[u8; 32]) -> LinkKeys {
        LinkKeys {
            links: hmac(master_key, b"links"),
            return_paths: hmac(master_key, b"return paths"),
        }
    }

    /// The token of a link: letters, digits, `-` and `_`.
    pub fn token(&self, link: &Link) -> String {
        let (purpose, number, url) = match &link.purpose {
            Purpose::Open => (b'o', 0, ""),
            Purpose::Click(number) => (b'c', *number, ""),
            Purpose::ClickTo(url) => (b'd', 0, url.as_str()),
            Purpose::Unsubscribe => (b'u', 0, ""),
        };
        let mut bytes = Vec::with_capacity(FIXED + url.len() + SIGNATURE);
        bytes.push(VERSION);
        bytes.push(purpose);
        bytes.extend(link.workspace.to_be_bytes());
        bytes.extend(link.campaign.to_be_bytes());
        bytes.extend(link.customer.0.as_bytes());
        bytes.extend(number.to_be_bytes());
        bytes.extend(url.as_bytes());
        let signature = hmac(&self.links, &bytes);
        bytes.extend(&signature[..SIGNATURE]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token; `None` for anything we did not sign, whatever is wrong with it.
    pub fn read(&self, token: &str) -> Option<Link> {
        if token.len() > 8_192 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        if bytes.len() < FIXED + SIGNATURE {
            return None;
        }
        let (signed, signature) = bytes.split_at(bytes.len() - SIGNATURE);
        let expected = hmac(&self.links, signed);
        if !bool::from(expected[..SIGNATURE].ct_eq(signature)) || signed[0] != VERSION {
            return None;
        }
        let number = |at: usize| {
            u32::from_be_bytes([signed[at], signed[at + 1], signed[at + 2], signed[at + 3]])
        };
        let purpose = match signed[1] {
            b'o' => Purpose::Open,
            b'c' => Purpose::Click(number(26)),
            b'd' => Purpose::ClickTo(String::from_utf8(signed[FIXED..].to_vec()).ok()?),
            b'u' => Purpose::Unsubscribe,
            _ => return None,
        };
        Some(Link {
            workspace: number(2),
            campaign: number(6),
            customer: CustomerId(Uuid::from_slice(&signed[10..26]).ok()?),
            purpose,
        })
    }

    /// A token for what is no link of a campaign: `space` keeps those of different meaning apart.
    pub fn sign(&self, space: &str, body: &[u8]) -> String {
        let signature = hmac(&hmac(&self.links, space.as_bytes()), body);
        let mut bytes = body.to_vec();
        bytes.extend(&signature[..SIGNATURE]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a token of this space carries; `None` for anything we did not sign.
    pub fn unsign(&self, space: &str, token: &str) -> Option<Vec<u8>> {
        if token.len() > 512 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let at = bytes.len().checked_sub(SIGNATURE)?;
        let (body, signature) = bytes.split_at(at);
        let expected = hmac(&hmac(&self.links, space.as_bytes()), body);
        bool::from(expected[..SIGNATURE].ct_eq(signature)).then(|| body.to_vec())
    }

    /// The local part of a delivery's own return path: where a bounce of it comes back to. At most
    /// 64 octets, in lower case, because some servers fold it.
    pub fn return_path(&self, workspace: u32, campaign: u32, customer: CustomerId) -> String {
        let mut bytes = Vec::with_capacity(32);
        bytes.extend(workspace.to_be_bytes());
        bytes.extend(campaign.to_be_bytes());
        bytes.extend(customer.0.as_bytes());
        let signature = hmac(&self.return_paths, &bytes);
        bytes.extend(&signature[..RETURN_SIGNATURE]);
        format!("b-{}", base32(&bytes))
    }

    /// Reads the local part of a return path; `None` for anything we did not sign.
    pub fn read_return_path(&self, local: &str) -> Option<(u32, u32, CustomerId)> {
        let bytes = unbase32(local.strip_prefix("b-")?)?;
        if bytes.len() != 24 + RETURN_SIGNATURE {
            return None;
        }
        let (signed, signature) = bytes.split_at(24);
        let expected = hmac(&self.return_paths, signed);
        if !bool::from(expected[..RETURN_SIGNATURE].ct_eq(signature)) {
            return None;
        }
        let number = |at: usize| {
            u32::from_be_bytes([signed[at], signed[at + 1], signed[at + 2], signed[at + 3]])
        };
        Some((number(0), number(4), CustomerId(Uuid::from_slice(&signed[8..24]).ok()?)))
    }
}

pub(crate) fn hmac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(BASE32[((held >> bits) & 31) as usize]));
        }
    }
    if bits > 0 {
        text.push(char::from(BASE32[((held << (5 - bits)) & 31) as usize]));
    }
    text
}

fn unbase32(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for c in text.bytes() {
        let value = BASE32.iter().position(|known| *known == c.to_ascii_lowercase())? as u32;
        held = (held << 5) | value;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> LinkKeys {
        LinkKeys::new(&[7; 32])
    }

    fn link(purpose: Purpose) -> Link {
        let customer = "01931f2e-7a3b-7c4d-9e5f-a1b2c3d4e5f6".parse().unwrap();
        Link { workspace: 3, campaign: 9, customer, purpose }
    }

    #[test]
    fn tokens_are_read_back() {
        for purpose in [
            Purpose::Open,
            Purpose::Click(12),
            Purpose::ClickTo("https://example.com/?a=1&b=ü".into()),
            Purpose::Unsubscribe,
        ] {
            let link = link(purpose);
            assert_eq!(keys().read(&keys().token(&link)), Some(link));
        }
    }

    #[test]
    fn no_changed_byte_and_no_other_key_is_accepted() {
        let token = keys().token(&link(Purpose::ClickTo("https://example.com".into())));
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(keys().read(&URL_SAFE_NO_PAD.encode(changed)), None, "byte {at}");
            }
        }
        for cut in 0..bytes.len() {
            assert_eq!(keys().read(&URL_SAFE_NO_PAD.encode(&bytes[..cut])), None);
        }
        assert_eq!(LinkKeys::new(&[8; 32]).read(&token), None);
        assert_eq!(keys().read("https://evil.example"), None);
    }

    #[test]
    fn a_token_of_one_space_opens_no_other() {
        let token = keys().sign("form", b"body");
        assert_eq!(keys().unsign("form", &token).as_deref(), Some(&b"body"[..]));
        assert_eq!(keys().unsign("sign-up", &token), None);
        assert_eq!(LinkKeys::new(&[8; 32]).unsign("form", &token), None);
        for strange in ["", "x", "%%%", &token[1..]] {
            assert_eq!(keys().unsign("form", strange), None, "{strange}");
        }
    }

    #[test]
    fn return_paths_are_read_back_in_any_case_and_fit() {
        let customer = link(Purpose::Open).customer;
        let local = keys().return_path(3, 9, customer);
        assert!(local.len() <= 64, "{local}");
        assert_eq!(keys().read_return_path(&local), Some((3, 9, customer)));
        let shouted = format!("b-{}", local[2..].to_ascii_uppercase());
        assert_eq!(keys().read_return_path(&shouted), Some((3, 9, customer)));
        assert_eq!(keys().read_return_path(&local.replacen('a', "b", 1)), None);
        assert_eq!(keys().read_return_path("b-"), None);
    }
}
