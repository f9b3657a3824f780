//! Finding customers while somebody types.
//!
//! First come those with an external id, e-mail address or phone number that begins with the text,
//! in the order of these values; they are found by the identities themselves. After them come all
//! whose searched text holds what was typed, in the order they came in; they are found by the
//! index next door, and what the index does not know yet is looked through.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidings_domain::CustomerId;
use tidings_domain::change::IdentityKind;
use tidings_domain::schema::Schema;
use tidings_domain::search::Wanted;

use crate::Result;
use crate::bulk::select_many;
use crate::changes::{OWNER_KEY, customer_key, sort_rows};
use crate::customers::{Customer, Page, Tag, load_customers};
use crate::engines::Tx;
use crate::sql::{Param, Sql};
use crate::workspace::Workspace;

mod identities;
mod index;
mod texts;

pub use index::INDEX_SEARCH;
pub(crate) use index::{Touched, forget, index_all, schema_matters, touched};

/// The statements of this folder, one list a file.
pub(crate) static SQLS: &[&[&Sql]] = &[identities::SQL, index::SQL];

/// How often the index is asked for one page at most; a page may then be short and have a next.
const MOST_ROUNDS: usize = 20;

/// Where the next page of a search starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Among the identities, after this value of this kind.
    Identity(String, IdentityKind),
    /// Among the texts, after this system id.
    Text(i64),
}

impl Workspace {
    /// Customers who are found by a typed text, each once.
    pub async fn search_customers(
        &self,
        text: &str,
        after: Option<Found>,
        limit: usize,
    ) -> Result<Page<Customer, Found>> {
        let Some(wanted) = Wanted::read(text) else {
            return Ok(Page { items: Vec::new(), next: None });
        };
        let search = Arc::new(Search { wanted, prefixes: identities::prefixes(text) });
        self.by_schema(|schema| {
            let (search, after) = (search.clone(), after.clone());
            self.read(move |tx| {
                Box::pin(async move { page(tx, &schema, &search, after, limit).await })
            })
        })
        .await
    }

    /// The tags of customers that have any.
    pub async fn tags_of(&self, ids: Vec<CustomerId>) -> Result<HashMap<CustomerId, Vec<Tag>>> {
        self.read(move |tx| {
            Box::pin(async move {
                let mut keys: Vec<Vec<Param>> = ids.iter().map(|id| customer_key(*id)).collect();
                sort_rows(&mut keys);
                keys.dedup();
                let wanted = "t.customer_id, t.tag, t.until";
                let mut tags: HashMap<CustomerId, Vec<Tag>> = HashMap::new();
                for row in select_many(tx, "tags", wanted, &OWNER_KEY, &keys, "").await? {
                    let tag = Tag { tag: row.text(1)?, until: row.opt_time(2)? };
                    tags.entry(CustomerId(row.uuid(0)?)).or_default().push(tag);
                }
                for list in tags.values_mut() {
                    list.sort_by(|a, b| a.tag.cmp(&b.tag));
                }
                Ok(tags)
            })
        })
        .await
    }
}

struct Search {
    wanted: Wanted,
    prefixes: Vec<(IdentityKind, String)>,
}

async fn page(
    tx: &mut Tx,
    schema: &Arc<Schema>,
    search: &Search,
    after: Option<Found>,
    limit: usize,
) -> Result<Page<Customer, Found>> {
    let (mut items, after) = match after {
        Some(Found::Text(number)) => (Vec::new(), number),
        first => {
            let place = match first {
                Some(Found::Identity(value, kind)) => Some((value, kind)),
                _ => None,
            };
            let page = identities::page(tx, schema, &search.prefixes, place, limit).await?;
            if let Some((value, kind)) = page.next {
                let next = Some(Found::Identity(value, kind));
                return Ok(Page { items: page.items, next });
            }
            (page.items, 0)
        }
    };
    let room = limit - items.len();
    let (mut rest, reached) = by_text(tx, schema, search, after, room + 1).await?;
    let next = if rest.len() > room {
        rest.truncate(room);
        Some(Found::Text(rest.last().map_or(after, |last| last.system_id)))
    } else {
        reached.map(Found::Text)
    };
    items.append(&mut rest);
    Ok(Page { items, next })
}

/// Those found by their text and not by an identity, after a system id, at least `count` of them
/// where there are so many; and where to go on if the work of one page was used up before.
async fn by_text(
    tx: &mut Tx,
    schema: &Arc<Schema>,
    search: &Search,
    after: i64,
    count: usize,
) -> Result<(Vec<Customer>, Option<i64>)> {
    let is_found = |customer: &Customer| search.wanted.is_in(&index::text_of(customer));
    let mut unknown: BTreeMap<i64, Customer> = index::not_indexed(tx, schema)
        .await?
        .into_iter()
        .filter(|customer| customer.system_id > after && is_found(customer))
        .map(|customer| (customer.system_id, customer))
        .collect();
    let mut found: Vec<Customer> = Vec::new();
    let mut place = texts::Place::new(after);
    for _ in 0..MOST_ROUNDS {
        let round = texts::next(tx, &search.wanted, &mut place, count).await?;
        let loaded = load_customers(tx, schema, &round).await?;
        let mut these: BTreeMap<i64, Customer> = loaded
            .into_iter()
            .filter(is_found)
            .map(|customer| (customer.system_id, customer))
            .collect();
        let later = unknown.split_off(&place.reached.saturating_add(1));
        these.append(&mut unknown);
        unknown = later;
        // They were given before, in the order of their identities.
        let given = identities::begin_so(tx, these.values(), &search.prefixes).await?;
        these.retain(|_, customer| !given.contains(&customer.id));
        found.extend(these.into_values());
        if found.len() >= count || place.is_at_end {
            return Ok((found, None));
        }
    }
    Ok((found, Some(place.reached)))
}
