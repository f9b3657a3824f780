//! Finding customers by the beginning of an identity: what somebody who types an address or a
//! number means first.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tidings_domain::CustomerId;
use tidings_domain::change::IdentityKind;
use tidings_domain::schema::Schema;

use crate::Result;
use crate::customers::{Customer, Page, load_customers};
use crate::engines::Tx;
use crate::sql::{Param, Sql};

/// Where the next page starts: after this value of this kind of identity.
type Found = (String, IdentityKind);

static PREFIX: Sql = Sql::fan_out(
    "identities_by_prefix",
    "select kind, value, customer_id from {s}identities
     where kind = ?1 and value >= ?2 and value < ?3 order by value limit ?4",
);
pub(super) static SQL: &[&Sql] = &[&PREFIX];

const KINDS: [IdentityKind; 3] =
    [IdentityKind::ExternalId, IdentityKind::Email, IdentityKind::Phone];

async fn by_prefix(
    tx: &mut Tx,
    kind: IdentityKind,
    from: &str,
    to: &str,
    limit: usize,
) -> Result<Vec<(Found, CustomerId)>> {
    let rows = tx.query(&PREFIX, crate::params![kind.number(), from, to, limit as i64]).await?;
    rows.iter().map(|row| Ok(((row.text(1)?, kind), CustomerId(row.uuid(2)?)))).collect()
}

/// The first identity of a customer, in the order of a search, that starts with the text.
fn first_match(customer: &Customer, prefixes: &[(IdentityKind, String)]) -> Option<Found> {
    let own = |kind| match kind {
        IdentityKind::ExternalId => customer.external_id.as_deref(),
        IdentityKind::Email => customer.email.as_deref(),
        IdentityKind::Phone => customer.phone.as_deref(),
        IdentityKind::AnonymousId => None,
    };
    prefixes
        .iter()
        .filter_map(|(kind, prefix)| {
            let value = own(*kind)?;
            value.starts_with(prefix.as_str()).then(|| (value.to_owned(), *kind))
        })
        .min()
}

/// What a typed text begins, by the kind of identity; e-mail addresses are found in any case.
pub(super) fn prefixes(text: &str) -> Vec<(IdentityKind, String)> {
    KINDS
        .iter()
        .map(|kind| match kind {
            IdentityKind::Email => (*kind, text.trim().to_lowercase()),
            IdentityKind::Phone => (*kind, text.replace([' ', '-', '(', ')'], "")),
            _ => (*kind, text.trim().to_owned()),
        })
        .filter(|(_, prefix)| !prefix.is_empty())
        .collect()
}

/// Which of these customers have an identity that begins so, their own or one that came with a
/// merge.
pub(super) async fn begin_so(
    tx: &mut Tx,
    customers: impl Iterator<Item = &Customer>,
    prefixes: &[(IdentityKind, String)],
) -> Result<HashSet<CustomerId>> {
    let ids: Vec<Param> = customers.map(|customer| customer.id.into()).collect();
    let mut found = HashSet::new();
    for ids in ids.chunks(100) {
        let places: Vec<String> = (1..=ids.len()).map(|at| format!("?{at}")).collect();
        let text = format!(
            "select customer_id, kind, value from {{s}}identities where customer_id in ({})",
            places.join(", ")
        );
        for row in tx.query_text(&text, ids).await? {
            let (kind, value) = (row.int(1)?, row.text(2)?);
            let begins = |(one, prefix): &(IdentityKind, String)| {
                i64::from(one.number()) == kind && value.starts_with(prefix.as_str())
            };
            if prefixes.iter().any(begins) {
                found.insert(CustomerId(row.uuid(0)?));
            }
        }
    }
    Ok(found)
}

/// Customers with an identity that begins so, in the order of those values, each once.
pub(super) async fn page(
    tx: &mut Tx,
    schema: &Arc<Schema>,
    prefixes: &[(IdentityKind, String)],
    after: Option<Found>,
    limit: usize,
) -> Result<Page<Customer, Found>> {
    let mut after = after;
    let mut items: Vec<(Found, Customer)> = Vec::new();
    let mut seen: HashSet<CustomerId> = HashSet::new();
    // A customer who is found by two values counts once, so a round may give fewer.
    while items.len() <= limit {
        let round = next_round(tx, prefixes, after.as_ref(), limit + 1).await?;
        let Some((last, _)) = round.last() else { break };
        let full = round.len() > limit;
        after = Some(last.clone());
        let ids: Vec<CustomerId> = round.iter().map(|(_, id)| *id).collect();
        let loaded = load_customers(tx, schema, &ids).await?;
        let loaded: HashMap<CustomerId, Customer> = loaded.into_iter().map(|c| (c.id, c)).collect();
        for (found, id) in round {
            let Some(customer) = loaded.get(&id) else { continue };
            let is_first = first_match(customer, prefixes).is_none_or(|first| first == found);
            if is_first && seen.insert(id) {
                items.push((found, customer.clone()));
            }
        }
        if !full {
            break;
        }
    }
    let page = Page::cut(items, limit, |(found, _)| found.clone());
    let items = page.items.into_iter().map(|(_, customer)| customer).collect();
    Ok(Page { items, next: page.next })
}

/// The next matches after a place, over all kinds, in order.
async fn next_round(
    tx: &mut Tx,
    prefixes: &[(IdentityKind, String)],
    after: Option<&Found>,
    limit: usize,
) -> Result<Vec<(Found, CustomerId)>> {
    let mut all = Vec::new();
    for (kind, prefix) in prefixes {
        let from = match after {
            // The next text after a value is the value with the smallest character behind it;
            // values hold no control characters, so nothing lies between.
            Some((value, last)) if kind <= last && value.as_str() >= prefix.as_str() => {
                format!("{value}\u{1}")
            }
            Some((value, _)) if value.as_str() >= prefix.as_str() => value.clone(),
            _ => prefix.clone(),
        };
        let to = format!("{prefix}\u{10FFFF}");
        all.append(&mut by_prefix(tx, *kind, &from, &to, limit).await?);
    }
    all.sort();
    all.truncate(limit);
    Ok(all)
}
