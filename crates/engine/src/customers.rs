//! Looking at customers: one, a page, a search, the timeline and records. Changing them is
//! [`crate::changes`].

use std::collections::HashMap;

use tidings_domain::change::CustomerRef;
use tidings_domain::{CustomerId, EventId, Timestamp};

pub use tidings_store::Page;
pub use tidings_store::customers::{Consent, Customer, Event, Membership, Profile, Record, Tag};
pub use tidings_store::search::Found;
use tidings_store::sql::Param;

use crate::{Ctx, Error, Result};

/// A customer in a list.
#[derive(Clone, Debug)]
pub struct Listed {
    pub customer: Customer,
    pub tags: Vec<Tag>,
}

/// A condition over customers, as the audiences make it.
pub type Matching = (String, Vec<Param>);

fn missing() -> Error {
    Error::NotFound("the customer".to_owned())
}

/// One customer with tags, groups, consents, segments and suppression.
pub async fn profile(ctx: &Ctx, reference: CustomerRef) -> Result<Profile> {
    ctx.workspace.profile(reference).await?.ok_or_else(missing)
}

/// The id of a customer that a reference names.
pub async fn find(ctx: &Ctx, reference: CustomerRef) -> Result<CustomerId> {
    Ok(ctx.workspace.customer(reference).await?.ok_or_else(missing)?.id)
}

/// A page of customers in the order they came in.
pub async fn page(
    ctx: &Ctx,
    matching: Option<Matching>,
    after: Option<i64>,
    limit: usize,
) -> Result<Page<Listed, i64>> {
    let page = ctx.workspace.customers(matching, after, limit).await?;
    Ok(Page { items: with_tags(ctx, page.items).await?, next: page.next })
}

/// A page of customers whom somebody means who types this text: first those with an identity that
/// begins with it, then all with these words in name, e-mail, phone or external id.
pub async fn search(
    ctx: &Ctx,
    text: &str,
    after: Option<Found>,
    limit: usize,
) -> Result<Page<Listed, Found>> {
    let page = ctx.workspace.search_customers(text, after, limit).await?;
    Ok(Page { items: with_tags(ctx, page.items).await?, next: page.next })
}

pub(crate) async fn with_tags(ctx: &Ctx, customers: Vec<Customer>) -> Result<Vec<Listed>> {
    let ids = customers.iter().map(|customer| customer.id).collect();
    let mut tags: HashMap<CustomerId, Vec<Tag>> = ctx.workspace.tags_of(ids).await?;
    let listed = |customer: Customer| {
        let tags = tags.remove(&customer.id).unwrap_or_default();
        Listed { customer, tags }
    };
    Ok(customers.into_iter().map(listed).collect())
}

/// The timeline of a customer, newest first.
pub async fn events(
    ctx: &Ctx,
    customer: CustomerId,
    name: Option<String>,
    before: Option<(Timestamp, EventId)>,
    limit: usize,
) -> Result<Page<Event, (Timestamp, EventId)>> {
    Ok(ctx.workspace.events(customer, name, before, limit).await?)
}

/// A customer's records in one table, by key.
pub async fn records(
    ctx: &Ctx,
    customer: CustomerId,
    table: &str,
    after: Option<String>,
    limit: usize,
) -> Result<Page<Record, String>> {
    let page = ctx.workspace.records(customer, table, after, limit).await?;
    page.ok_or_else(|| Error::NotFound(format!("table {table}")))
}
