//! Signs mails by DKIM (RFC 6376; Ed25519 by RFC 8463): one signature for each key, over one body
//! hash, relaxed in header and body.
//!
//! Every header that a reader or a mail program acts on is signed, and *oversigned*: named once more
//! than it occurs, so that nobody can add a second From or a List-Unsubscribe of their own to a
//! signed mail.
//!
//! The signer is our own, over *ring*. mail-auth 0.13, the ready-made one, does not drop a last line
//! that holds nothing but spaces, as section 3.4.4 asks, so that such a mail is signed wrongly; and it
//! hashes the body anew for each key. What is signed here is verified in the tests by dkimpy.

mod canonical;
mod key;
mod rsa;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::digest::{SHA256, digest};

pub use key::{Algorithm, Key, NewKey, record};

/// What is signed and oversigned, in this order.
const SIGNED: [&str; 12] = [
    "from",
    "to",
    "cc",
    "reply-to",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "list-unsubscribe",
    "list-unsubscribe-post",
];
/// Where lines of the signature's own header are broken.
const LINE: usize = 72;

/// Why a key is not taken or a mail not signed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DkimError {
    #[error("the key cannot be read")]
    Key,
    #[error("the mail has no headers")]
    NoHeaders,
    #[error("the key cannot be made: {0}")]
    Generate(&'static str),
    #[error("the mail cannot be signed")]
    Sign,
}

/// Signs for one sender domain with all its keys. Keys are read once, so a signature costs a hash
/// and the arithmetic; nothing is locked.
#[derive(Debug)]
pub struct Signer {
    keys: Vec<Key>,
}

impl Signer {
    /// `None` without keys.
    pub fn new(keys: Vec<Key>) -> Option<Signer> {
        (!keys.is_empty()).then_some(Signer { keys })
    }

    /// Whether a signature takes so long (RSA: about a millisecond) that it belongs on a thread of
    /// its own.
    pub fn is_slow(&self) -> bool {
        self.keys.iter().any(|key| key.algorithm() == Algorithm::Rsa)
    }

    /// The mail with its signatures in front. `at_s` is the time of signing, seconds since 1970.
    ///
    /// Line ends are taken as they go over the wire: a bare CR or LF counts as CRLF.
    pub fn sign(&self, mail: &[u8], at_s: i64) -> Result<Vec<u8>, DkimError> {
        let (fields, body) = canonical::split(mail).ok_or(DkimError::NoHeaders)?;
        let body_hash = STANDARD.encode(digest(&SHA256, &canonical::body(body)));
        let mut headers = Vec::with_capacity(1_024);
        let mut names = Vec::with_capacity(2 * SIGNED.len());
        for name in SIGNED {
            // Of several equal fields a verifier takes the last one first.
            for field in fields.iter().rev().filter(|field| field.is(name)) {
                canonical::header(name, field.value, &mut headers);
                headers.extend_from_slice(b"\r\n");
                names.push(name);
            }
            names.push(name);
        }
        let names = broken_at_colons(&names);
        let mut signed = Vec::with_capacity(mail.len() + self.keys.len() * 1_024);
        for key in &self.keys {
            let unsigned = format!(
                " v=1; a={}; c=relaxed/relaxed; d={};\r\n\ts={}; t={at_s};\r\n\tbh={body_hash};\r\n\t\
                 h={names};\r\n\tb=",
                key.algorithm().tag(),
                key.domain(),
                key.selector(),
            );
            let mut data = headers.clone();
            canonical::header("dkim-signature", unsigned.as_bytes(), &mut data);
            let signature = STANDARD.encode(key.sign(&data)?);
            signed.extend_from_slice(b"DKIM-Signature:");
            signed.extend_from_slice(unsigned.as_bytes());
            signed.extend_from_slice(broken(&signature).as_bytes());
            signed.extend_from_slice(b"\r\n");
        }
        signed.extend_from_slice(mail);
        Ok(signed)
    }
}

fn broken_at_colons(names: &[&str]) -> String {
    let mut text = String::with_capacity(names.len() * 16);
    let mut line = 0;
    for name in names {
        if !text.is_empty() {
            text.push(':');
            if line + name.len() > LINE {
                text.push_str("\r\n\t");
                line = 0;
            }
        }
        text.push_str(name);
        line += name.len() + 1;
    }
    text
}

fn broken(base64: &str) -> String {
    let mut text = String::with_capacity(base64.len() * 11 / 10);
    let mut rest = base64;
    while rest.len() > LINE {
        let (line, tail) = rest.split_at(LINE);
        text.push_str(line);
        text.push_str("\r\n\t");
        rest = tail;
    }
    text.push_str(rest);
    text
}
