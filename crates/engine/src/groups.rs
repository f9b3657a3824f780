//! Groups: lists of customers kept by hand or by API.

use tidings_domain::rule::Rule;
use tidings_domain::schema::checked_name;
use tidings_domain::{CustomerId, GroupId};
pub use tidings_store::groups::Group;

use crate::customers::{Listed, Page, with_tags};
use crate::{Ctx, Error, Fault, Result};

/// Makes a group.
pub async fn create(ctx: &Ctx, name: &str) -> Result<Group> {
    if let Err(expected) = checked_name(name) {
        return Err(Error::Invalid(vec![Fault::new("name", "invalid_name", expected)]));
    }
    Ok(ctx.workspace.add_group(name, ctx.now()).await?)
}

fn missing() -> Error {
    Error::NotFound("the group".to_owned())
}

/// A group by its id.
pub async fn get(ctx: &Ctx, id: GroupId) -> Result<Group> {
    ctx.workspace.group(id).await?.ok_or_else(missing)
}

/// The customers of a group.
pub async fn customers(
    ctx: &Ctx,
    id: GroupId,
    after: Option<CustomerId>,
    limit: usize,
) -> Result<Page<Listed, CustomerId>> {
    let group = get(ctx, id).await?;
    let page = ctx.workspace.group_customers(group.number, after, limit).await?;
    Ok(Page { items: with_tags(ctx, page.items).await?, next: page.next })
}

/// Drops a group with its list; the customers stay. It is a conflict where a segment reads it.
pub async fn remove(ctx: &Ctx, id: GroupId) -> Result<()> {
    if ctx.workspace.is_done_already().await? {
        // The group is gone, so nothing is left to look at.
        return Ok(ctx.workspace.drop_group(0).await?);
    }
    let group = get(ctx, id).await?;
    for segment in ctx.workspace.segments().await? {
        let reads = Rule::parse(&segment.rule).is_ok_and(|rule| reads_group(&rule, &group.name));
        if reads {
            let text = format!("segment {} reads the group {}", segment.name, group.name);
            return Err(Error::Conflict(text));
        }
    }
    Ok(ctx.workspace.drop_group(group.number).await?)
}

fn reads_group(rule: &Rule, group: &str) -> bool {
    match rule {
        Rule::All(parts) | Rule::Any(parts) => parts.iter().any(|part| reads_group(part, group)),
        Rule::Not(part) => reads_group(part, group),
        Rule::Group(name) => name == group,
        Rule::Attribute { .. }
        | Rule::Tag(_)
        | Rule::Segment(_)
        | Rule::Consent { .. }
        | Rule::Event(_)
        | Rule::Table(_) => false,
    }
}

/// A page of groups in the order of their numbers.
pub async fn page(ctx: &Ctx, after: Option<i32>, limit: usize) -> Result<Page<Group, i32>> {
    Ok(ctx.workspace.groups(after, limit).await?)
}
