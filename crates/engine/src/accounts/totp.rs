//! The second factor: codes by time after RFC 6238, as authenticator apps show them, and recovery
//! codes for those who lost the app.
//!
//! Codes have six digits of HMAC-SHA1 and live for 30 seconds, because that is what every app
//! knows. A code of the step before or after is taken too, for clocks that differ; none is taken
//! twice. The secret is sealed with the master key, recovery codes are kept as hashes.

use std::sync::Arc;

use ring::hmac;
use subtle::ConstantTimeEq;
use tidings_domain::{Timestamp, UserId};

use super::{SignedIn, checked_mail, random, sha256};
use crate::{Error, Fault, Hub, Result, audit};

/// What the secrets are sealed for.
pub(crate) const PURPOSE: &str = "totp";
const STEP_SECS: i64 = 30;
/// Steps before and after now whose codes are taken.
const DRIFT: i64 = 1;
const SECRET_BYTES: usize = 20;
const RECOVERY_CODES: usize = 10;
/// Letters and digits of a recovery code: 60 bits.
const RECOVERY_CHARS: usize = 12;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A secret that is shown and not in use yet.
#[derive(Clone, Debug)]
pub struct Proposed {
    /// In base 32, to be typed.
    pub secret: String,
    /// To be shown as a picture that an app reads.
    pub uri: String,
}

/// Shows somebody a new secret; it is in use once [`confirm`] has seen a code of it. Refused where
/// one is in use, which has to be taken away first.
pub async fn propose(hub: &Arc<Hub>, who: &SignedIn) -> Result<Proposed> {
    if who.totp {
        return Err(Error::Conflict("a second factor is set up already".to_owned()));
    }
    let secret = random::<SECRET_BYTES>();
    let sealed = hub.sealer.seal(who.user.0, PURPOSE, &secret)?;
    hub.store.system.propose_totp(who.user, sealed).await?;
    let secret = base32(&secret);
    let label = escaped(&who.mail);
    let uri = format!(
        "otpauth://totp/Tidings:{label}?secret={secret}&issuer=Tidings&algorithm=SHA1&digits=6\
         &period={STEP_SECS}"
    );
    Ok(Proposed { secret, uri })
}

/// Puts the proposed secret to use, as the code shows that the app has it. Gives the recovery
/// codes, which are seen only now.
pub async fn confirm(hub: &Arc<Hub>, who: &SignedIn, code: &str) -> Result<Vec<String>> {
    let pending = hub.store.system.totp(who.user).await?.pending;
    let pending = pending.ok_or_else(|| Error::Conflict("no secret was shown yet".to_owned()))?;
    let secret = hub.sealer.open(who.user.0, PURPOSE, &pending)?;
    let Some(step) = matching_step(&secret, code, hub.now()) else {
        return Err(wrong_code("not the code that the app shows now"));
    };
    let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| recovery_code()).collect();
    let hashes = codes.iter().map(|code| sha256(&plain(code)).to_vec()).collect();
    if !hub.store.system.confirm_totp(who.user, pending, step, hashes).await? {
        return Err(Error::Conflict("another secret was shown meanwhile".to_owned()));
    }
    audit::record_for(hub, who.user, "totp.create").await;
    Ok(codes)
}

/// Takes somebody's second factor away, by their own wish: it takes a code. Refused where one of
/// their workspaces asks for it.
pub async fn remove(hub: &Arc<Hub>, who: &SignedIn, code: &str) -> Result<()> {
    if !who.totp {
        return Err(Error::NotFound("the second factor".to_owned()));
    }
    if let Some((workspace, _)) = who.workspaces.iter().find(|(one, _)| one.totp_required) {
        let text = format!("the workspace {} asks for a second factor", workspace.name);
        return Err(Error::Conflict(text));
    }
    hub.accounts.attempts.begin(&who.mail, "a session", hub.now()).map_err(Error::Limited)?;
    match check(hub, who.user, Some(code)).await {
        Err(Error::SecondFactor { .. }) => {
            return Err(wrong_code("not a code of the app, nor a recovery code that is left"));
        }
        other => other?,
    }
    hub.accounts.attempts.succeeded(&who.mail, "a session");
    hub.store.system.drop_totp(who.user, true).await?;
    audit::record_for(hub, who.user, "totp.delete").await;
    Ok(())
}

/// Takes the second factor of somebody away who lost everything, and signs them out everywhere.
/// For whoever runs the hub.
pub async fn reset(hub: &Arc<Hub>, mail: &str) -> Result<()> {
    let mail = checked_mail(mail)?;
    let user = hub.store.system.user_by_mail(&mail).await?;
    let user = user.ok_or_else(|| Error::NotFound(format!("user {mail}")))?;
    hub.store.system.drop_totp(user.id, false).await?;
    audit::record_for(hub, user.id, "totp.reset").await;
    Ok(())
}

/// How many recovery codes somebody has left.
pub async fn codes_left(hub: &Arc<Hub>, user: UserId) -> Result<i64> {
    Ok(hub.store.system.totp(user).await?.codes)
}

/// Takes a code, or a recovery code, at a sign-in; a code that was taken before is refused.
pub(super) async fn check(hub: &Arc<Hub>, user: UserId, code: Option<&str>) -> Result<()> {
    let code = plain(code.unwrap_or_default());
    if code.is_empty() {
        return Err(Error::SecondFactor { given: false });
    }
    let system = &hub.store.system;
    let Some(sealed) = system.totp(user).await?.secret else { return Ok(()) };
    let right = if code.len() == RECOVERY_CHARS {
        system.take_recovery_code(user, sha256(&code).to_vec()).await?
    } else {
        let secret = hub.sealer.open(user.0, PURPOSE, &sealed)?;
        match matching_step(&secret, &code, hub.now()) {
            Some(step) => system.take_totp_step(user, step).await?,
            None => false,
        }
    };
    if right { Ok(()) } else { Err(Error::SecondFactor { given: true }) }
}

fn wrong_code(message: &str) -> Error {
    Error::Invalid(vec![Fault::new("code", "wrong_code", message)])
}

/// A code without what people put between its parts.
fn plain(code: &str) -> String {
    code.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Twelve letters and digits that are not taken for one another, in three parts.
fn recovery_code() -> String {
    let letters: Vec<char> = random::<RECOVERY_CHARS>()
        .iter()
        .map(|byte| char::from(BASE32[usize::from(byte & 31)]).to_ascii_lowercase())
        .collect();
    let parts: Vec<String> = letters.chunks(4).map(|part| part.iter().collect()).collect();
    parts.join("-")
}

/// The step whose code this is, of those that are taken now. Every one is compared, so that the
/// time says nothing.
fn matching_step(secret: &[u8], code: &str, now: Timestamp) -> Option<i64> {
    let step = now.0.div_euclid(1_000_000 * STEP_SECS);
    let code = plain(code);
    let mut found = None;
    for step in (step - DRIFT)..=(step + DRIFT) {
        let right = code_of(secret, step, 6);
        if bool::from(right.as_bytes().ct_eq(code.as_bytes())) {
            found = Some(step);
        }
    }
    found
}

/// The code of a step: RFC 4226, section 5.3.
fn code_of(secret: &[u8], step: i64, digits: u32) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag[tag.len() - 1] & 15);
    let four = [tag[offset] & 0x7f, tag[offset + 1], tag[offset + 2], tag[offset + 3]];
    let number = u32::from_be_bytes(four) % 10_u32.pow(digits);
    format!("{number:0width$}", width = digits as usize)
}

fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(char::from(BASE32[(bits >> held & 31) as usize]));
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        text.push(char::from(BASE32[(bits << (5 - held) & 31) as usize]));
    }
    text
}

/// A part of an address with everything but letters, digits and a few signs as `%` and digits.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'@' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of RFC 6238, appendix B.
    const SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_standard() {
        for (secs, code) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            assert_eq!(code_of(SECRET, secs / STEP_SECS, 8), code, "at {secs}");
        }
    }

    #[test]
    fn a_code_is_taken_within_one_step_of_now() {
        let now = Timestamp(1_111_111_111_000_000);
        let step = 1_111_111_111 / STEP_SECS;
        for (of, taken) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
            let code = code_of(SECRET, step + of, 6);
            assert_eq!(matching_step(SECRET, &code, now), taken.then_some(step + of), "{of}");
        }
        let spaced = code_of(SECRET, step, 6);
        let spaced = format!("{} {}", &spaced[..3], &spaced[3..]);
        assert_eq!(matching_step(SECRET, &spaced, now), Some(step));
        for wrong in ["", "12345", "abcdef", "0000000"] {
            assert_eq!(matching_step(SECRET, wrong, now), None, "{wrong}");
        }
    }

    #[test]
    fn secrets_are_written_in_base_32() {
        for (bytes, text) in
            [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foobar", "MZXW6YTBOI")]
        {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
        assert_eq!(base32(SECRET), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    }

    #[test]
    fn recovery_codes_are_read_as_people_type_them() {
        let code = recovery_code();
        assert_eq!((code.len(), plain(&code).len()), (14, RECOVERY_CHARS));
        assert_eq!(plain(&code.to_uppercase().replace('-', " ")), plain(&code));
        assert_ne!(code, recovery_code());
    }
}
