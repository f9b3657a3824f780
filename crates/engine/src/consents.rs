//! Looking at what customers said. Changing it is [`crate::changes`].

use tidings_domain::{CustomerId, Timestamp};
pub use tidings_store::consents::Spoken;
use uuid::Uuid;

use crate::customers::Page;
use crate::{Ctx, Result};

/// What a customer said, newest first.
pub async fn history(
    ctx: &Ctx,
    customer: CustomerId,
    before: Option<(Timestamp, Uuid)>,
    limit: usize,
) -> Result<Page<Spoken, (Timestamp, Uuid)>> {
    Ok(ctx.workspace.consent_history(customer, before, limit).await?)
}
