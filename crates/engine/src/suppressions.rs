//! Suppressions: addresses that are never written to again.

use tidings_domain::change::IdentityKind;
use tidings_domain::consent::{Channel, SuppressionReason};
pub use tidings_store::suppressions::Suppression;

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

/// Lifts a suppression.
pub async fn remove(ctx: &Ctx, channel: Channel, address: &str) -> Result<()> {
    let address = normalised(channel, address)?;
    if ctx.workspace.unsuppress(channel, &address).await? {
        Ok(())
    } else {
        Err(Error::NotFound("the suppression".to_owned()))
    }
}

/// A page of suppressions by channel and address.
pub async fn page(
    ctx: &Ctx,
    after: Option<(Channel, String)>,
    limit: usize,
) -> Result<Page<Suppression, (Channel, String)>> {
    Ok(ctx.workspace.suppressions(after, limit).await?)
}
