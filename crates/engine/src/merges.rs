//! Two customers who are one, and the way back.

use tidings_domain::change::{Change, CustomerRef, Outcome};
use tidings_domain::{CustomerId, Timestamp};
use uuid::Uuid;

pub use tidings_store::merges::{Merge, UNDO_DAYS};

use crate::customers::{self, Page};
use crate::{Ctx, Result, changes};

/// Merges `other` into `customer`; nothing is done where they are one already.
pub async fn merge(ctx: &Ctx, customer: CustomerRef, other: CustomerRef) -> Result<Outcome> {
    changes::apply_one(ctx, Change::MergeCustomers { customer, other }).await
}

/// The merges into a customer, newest first.
pub async fn page(
    ctx: &Ctx,
    customer: CustomerRef,
    before: Option<(Timestamp, Uuid)>,
    limit: usize,
) -> Result<Page<Merge, (Timestamp, Uuid)>> {
    let id = customers::find(ctx, customer).await?;
    Ok(ctx.workspace.merges(id, before, limit).await?)
}

/// Undoes a merge into a customer; gives who is there again.
pub async fn undo(ctx: &Ctx, customer: CustomerRef, merge: Uuid) -> Result<CustomerId> {
    let id = customers::find(ctx, customer).await?;
    let back = ctx.workspace.undo_merge(id, merge, ctx.now()).await?;
    ctx.wake();
    Ok(back)
}
