//! Joining customers: two who are one, and an anonymous visitor who becomes known.

use tidings_domain::change::{
    Change, CustomerRef, Identity, IdentityKind, Outcome, Refusal, UpsertCustomer,
};
use tidings_domain::upsert::prepare;
use tidings_domain::{CustomerId, bucket_of};

use super::{Applying, Dirty, customers, find_customers, find_identities, unknown_customer};
use crate::engines::Tx;
use crate::merges::merge;
use crate::sql::Sql;
use crate::{Error, Result};

static IS_KNOWN: Sql = Sql::bucket(
    "customer_is_known",
    "select case when external_id is null and email is null and phone is null then 0 else 1 end,
       external_id
     from {s}customers where bucket = ?1 and id = ?2",
);

pub(super) static SQL: &[&Sql] = &[&IS_KNOWN];

pub(super) async fn apply(
    tx: &mut Tx,
    how: &mut Applying,
    changes: &[Change],
    dirty: &mut Dirty,
) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::with_capacity(changes.len());
    for change in changes {
        outcomes.push(match change {
            Change::MergeCustomers { customer, other } => {
                merge_two(tx, how, customer, other, dirty).await?
            }
            Change::Alias { anonymous_id, customer } => {
                alias(tx, how, anonymous_id, customer, dirty).await?
            }
            _ => return Err(Error::Invalid("not a join".to_owned())),
        });
    }
    Ok(outcomes)
}

async fn merge_two(
    tx: &mut Tx,
    how: &Applying,
    customer: &CustomerRef,
    other: &CustomerRef,
    dirty: &mut Dirty,
) -> Result<Outcome> {
    let found = find_customers(tx, &[customer, other]).await?;
    let (Some(Some(kept)), Some(Some(lost))) = (found.first(), found.get(1)) else {
        let path = if matches!(found.first(), Some(Some(_))) { "other" } else { "customer" };
        let message = "no customer has this id";
        return Ok(Outcome::Refused(Refusal::new("unknown_customer", path, message)));
    };
    if kept == lost {
        // They are one already, perhaps by this very change.
        return Ok(Outcome::Unchanged { customer: Some(*kept), system_id: None });
    }
    merge(tx, *kept, *lost, true, how.at, dirty).await
}

/// An anonymous visitor is a known customer from now on: what they did before comes along.
async fn alias(
    tx: &mut Tx,
    how: &mut Applying,
    anonymous_id: &Identity,
    customer: &UpsertCustomer,
    dirty: &mut Dirty,
) -> Result<Outcome> {
    let found = find_identities(tx, std::slice::from_ref(anonymous_id)).await?;
    let visitor = found.get(anonymous_id).copied();
    let known = known_customer(tx, customer).await?;
    if customer.id.is_some() && known.is_none() {
        return Ok(unknown_customer());
    }
    let taken = match visitor {
        Some(visitor) => Some(visitor) != known && is_known(tx, visitor).await?,
        None => false,
    };
    if taken {
        let message = "this anonymous id is another known customer's";
        return Ok(Outcome::Refused(Refusal::new("alias_taken", "anonymous_id", message)));
    }
    if let Err(refusal) =
        prepare(&how.schema, &upsert_of(known.or(visitor), anonymous_id, customer))
    {
        return Ok(Outcome::Refused(refusal));
    }
    let (kept, joined) = match (visitor, known) {
        (Some(visitor), Some(known)) if visitor != known => {
            match merge(tx, known, visitor, false, how.at, dirty).await? {
                refused @ Outcome::Refused(_) => return Ok(refused),
                joined => (Some(known), Some(joined)),
            }
        }
        (visitor, known) => (known.or(visitor), None),
    };
    let upsert = Change::UpsertCustomer(upsert_of(kept, anonymous_id, customer));
    let mut done = customers::apply(tx, how, &[upsert], dirty).await?;
    Ok(match (done.pop(), joined) {
        (Some(Outcome::Unchanged { .. }), Some(joined)) => joined,
        (Some(done), _) => done,
        (None, _) => unknown_customer(),
    })
}

fn upsert_of(
    id: Option<CustomerId>,
    anonymous_id: &Identity,
    customer: &UpsertCustomer,
) -> UpsertCustomer {
    UpsertCustomer { id, anonymous_id: Some(anonymous_id.value.clone()), ..customer.clone() }
}

/// The customer that an upsert names, by the first of its names that somebody has.
async fn known_customer(tx: &mut Tx, upsert: &UpsertCustomer) -> Result<Option<CustomerId>> {
    if let Some(id) = upsert.id {
        return Ok(find_customers(tx, &[&CustomerRef::Id(id)]).await?.into_iter().next().flatten());
    }
    let given = [
        (IdentityKind::ExternalId, &upsert.external_id),
        (IdentityKind::Email, &upsert.email),
        (IdentityKind::Phone, &upsert.phone),
    ];
    let identities: Vec<Identity> = given
        .into_iter()
        .filter_map(|(kind, text)| {
            let value = kind.normalise(text.as_deref()?).ok()?;
            Some(Identity { kind, value })
        })
        .collect();
    let found = find_identities(tx, &identities).await?;
    for identity in &identities {
        let Some(&id) = found.get(identity) else { continue };
        // A customer number of somebody new is somebody new, as with every upsert.
        let by_number = identity.kind == IdentityKind::ExternalId;
        if by_number || upsert.external_id.is_none() || !has_number(tx, id).await? {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

async fn has_number(tx: &mut Tx, customer: CustomerId) -> Result<bool> {
    let row = tx.first(&IS_KNOWN, crate::params![bucket_of(customer), customer]).await?;
    Ok(row.is_some_and(|row| !row.is_null(1)))
}

async fn is_known(tx: &mut Tx, customer: CustomerId) -> Result<bool> {
    let row = tx.first(&IS_KNOWN, crate::params![bucket_of(customer), customer]).await?;
    row.map_or(Ok(false), |row| Ok(row.int(0)? != 0))
}

/// Makes the anonymous visitors that events name and nobody has seen before.
pub(super) async fn make_visitors(
    tx: &mut Tx,
    how: &mut Applying,
    changes: &[Change],
    dirty: &mut Dirty,
) -> Result<()> {
    let mut named: Vec<Identity> = changes
        .iter()
        .filter_map(|change| match change {
            Change::RecordEvent(event) => match &event.customer {
                CustomerRef::Identity(one) if one.kind == IdentityKind::AnonymousId => {
                    Some(one.clone())
                }
                _ => None,
            },
            _ => None,
        })
        .collect();
    if named.is_empty() {
        return Ok(());
    }
    named.sort();
    named.dedup();
    let found = find_identities(tx, &named).await?;
    let upserts: Vec<Change> = named
        .into_iter()
        .filter(|one| !found.contains_key(one))
        .map(|one| {
            Change::UpsertCustomer(UpsertCustomer {
                anonymous_id: Some(one.value),
                ..UpsertCustomer::default()
            })
        })
        .collect();
    if !upserts.is_empty() {
        // Who may not be made has an event that is refused.
        customers::apply(tx, how, &upserts, dirty).await?;
    }
    Ok(())
}
