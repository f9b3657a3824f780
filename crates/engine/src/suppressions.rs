//! Suppressions: addresses that are never written to again.

use tidings_domain::change::IdentityKind;
use tidings_domain::consent::{Channel, SuppressionReason};
use tidings_store::suppressions::Named;
pub use tidings_store::suppressions::{Added, SuppressedHash, Suppression};

use crate::customers::Page;
use crate::{Ctx, Error, Fault, Result};

fn normalised(channel: Channel, address: &str) -> Result<String> {
    let (kind, code) = match channel {
        Channel::Email => (IdentityKind::Email, "invalid_email"),
        Channel::Sms => (IdentityKind::Phone, "invalid_phone"),
    };
    kind.normalise(address)
        .map_err(|expected| Error::Invalid(vec![Fault::new("address", code, expected)]))
}

/// Suppresses an address; what is planned for it and has not begun is called off with it.
pub async fn add(
    ctx: &Ctx,
    channel: Channel,
    address: &str,
    reason: SuppressionReason,
) -> Result<Suppression> {
    let one = Suppression {
        channel,
        address: normalised(channel, address)?,
        reason: reason.name().to_owned(),
        detail: String::new(),
        at: ctx.now(),
    };
    ctx.workspace.suppress(channel, &one.address, reason, one.at).await?;
    Ok(one)
}

/// How many entries one list may have.
pub const MAX_LIST: usize = 10_000;
/// How many are written in one transaction, so that a list never holds others up for long.
const AT_ONCE: usize = 500;

/// One entry of a list that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its place in the list, from 0.
    pub index: usize,
    pub message: String,
}

/// Suppresses a list of addresses and of hashes: an entry of 64 hexadecimal digits is the SHA-256
/// of a normalised address, anything else is an address. What cannot be read is given back.
pub async fn import(
    ctx: &Ctx,
    channel: Channel,
    entries: &[String],
    reason: SuppressionReason,
) -> Result<(Added, Vec<Refused>)> {
    if entries.len() > MAX_LIST {
        let message = format!("expected at most {MAX_LIST} entries; send the rest in other calls");
        return Err(Error::Invalid(vec![Fault::new("entries", "too_many", message)]));
    }
    let mut list = Vec::with_capacity(entries.len());
    let mut refused = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        match named(channel, entry) {
            Ok(named) => list.push(named),
            Err(message) => refused.push(Refused { index, message }),
        }
    }
    list.sort_unstable();
    let all = list.len();
    list.dedup();
    let mut sum = Added { added: 0, known: (all - list.len()) as u64 };
    for part in list.chunks(AT_ONCE) {
        let done = ctx.workspace.suppress_many(channel, part.to_vec(), reason, ctx.now()).await?;
        sum.added += done.added;
        sum.known += done.known;
    }
    Ok((sum, refused))
}

fn named(channel: Channel, entry: &str) -> Result<Named, String> {
    let entry = entry.trim();
    if let Some(hash) = hash(entry) {
        return Ok(Named::Hash(hash));
    }
    let kind = match channel {
        Channel::Email => IdentityKind::Email,
        Channel::Sms => IdentityKind::Phone,
    };
    kind.normalise(entry)
        .map(Named::Address)
        .map_err(|expected| format!("{expected}, or 64 hexadecimal digits of its SHA-256"))
}

/// A SHA-256 in hexadecimal, in lower case.
fn hash(text: &str) -> Option<String> {
    let text = text.strip_prefix("sha256:").unwrap_or(text);
    let is_hash = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_hash.then(|| text.to_ascii_lowercase())
}

/// Lifts a suppression, of an address or of a hash.
pub async fn remove(ctx: &Ctx, channel: Channel, address: &str) -> Result<()> {
    let was_there = match hash(address) {
        Some(hash) => ctx.workspace.unsuppress_hash(channel, &hash).await?,
        None => ctx.workspace.unsuppress(channel, &normalised(channel, address)?).await?,
    };
    if was_there { Ok(()) } else { Err(Error::NotFound("the suppression".to_owned())) }
}

/// A page of suppressed hashes by channel and hash.
pub async fn hashes(
    ctx: &Ctx,
    after: Option<(Channel, String)>,
    limit: usize,
) -> Result<Page<SuppressedHash, (Channel, String)>> {
    Ok(ctx.workspace.suppressed_hashes(after, limit).await?)
}

/// A page of suppressions by channel and address.
pub async fn page(
    ctx: &Ctx,
    after: Option<(Channel, String)>,
    limit: usize,
) -> Result<Page<Suppression, (Channel, String)>> {
    Ok(ctx.workspace.suppressions(after, limit).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_an_address_or_a_hash() {
        let digits = "AB".repeat(32);
        let lower = digits.to_ascii_lowercase();
        for (entry, expected) in [
            (" Ann@Example.com ", Some(Named::Address("ann@example.com".to_owned()))),
            (digits.as_str(), Some(Named::Hash(lower.clone()))),
            (&format!("sha256:{digits}"), Some(Named::Hash(lower.clone()))),
            (&digits[1..], None),
            ("nonsense", None),
            ("", None),
        ] {
            assert_eq!(named(Channel::Email, entry).ok(), expected, "{entry}");
        }
    }
}
