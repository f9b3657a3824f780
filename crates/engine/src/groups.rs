//! Groups: lists of customers kept by hand or by API.

use tidings_domain::schema::checked_name;
pub use tidings_store::groups::Group;

use crate::customers::Page;
use crate::{Ctx, Error, Fault, Result};

/// Makes a group.
pub async fn create(ctx: &Ctx, name: &str) -> Result<Group> {
    if let Err(expected) = checked_name(name) {
        return Err(Error::Invalid(vec![Fault::new("name", "invalid_name", expected)]));
    }
    Ok(ctx.workspace.add_group(name, ctx.now()).await?)
}

/// A page of groups in the order of their numbers.
pub async fn page(ctx: &Ctx, after: Option<i32>, limit: usize) -> Result<Page<Group, i32>> {
    Ok(ctx.workspace.groups(after, limit).await?)
}
