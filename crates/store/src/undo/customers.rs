//! Customers: fields, names and consents that still are as the import left them go back.

use std::collections::{HashMap, HashSet};

use serde_json::Value as Json;
use tidings_domain::CustomerId;
use tidings_domain::change::Identity;
use tidings_domain::value::Storage;
use uuid::Uuid;

use super::stories::{Back, Outcome, Story};
use super::values::{self, Standing, attribute_columns};
use super::{Undoing, consents, made, names};
use crate::bulk::lock_many;
use crate::changes::journal::{self, NAMES, value_json};
use crate::changes::{CUSTOMER_KEY, customer_key, sort_rows};
use crate::engines::Tx;
use crate::sql::{Param, quoted};
use crate::{Result, search};

/// Takes the stories of customers back, as far as they still stand.
pub(super) async fn undo(
    tx: &mut Tx,
    how: &Undoing<'_>,
    stories: &[&Story],
    out: &mut Outcome,
) -> Result<()> {
    if stories.is_empty() {
        return Ok(());
    }
    let columns = attribute_columns(&how.schema.attributes, stories);
    let (standing, system_ids) = load(tx, stories, &columns).await?;
    let touched = made::touched(tx, how.schema, stories).await?;
    // Names that go back must be free, and no two may go back to the same one.
    let mut taken = names::taken(tx, stories).await?;
    let mut gone: Vec<&Story> = Vec::new();
    let mut back: Vec<Back<'_>> = Vec::new();
    for story in stories {
        let Some(now) = standing.get(&story.subject.customer) else {
            out.keep_whole(story, "gone");
            continue;
        };
        if story.created {
            match !touched.contains(&story.subject.customer) && is_as_made(story, now) {
                true => gone.push(story),
                false => out.keep_whole(story, "touched"),
            }
            continue;
        }
        let fields = unchanged(story, now, &mut taken, out);
        if !fields.is_empty() {
            out.undone.restored += 1;
            back.push((story, fields));
        }
    }
    let numbers = back.iter().filter_map(|(story, _)| {
        let customer = story.subject.customer;
        system_ids.get(&customer).map(|number| (*number, CustomerId(customer)))
    });
    search::touched(tx, &numbers.collect(), true).await?;
    made::delete(tx, how, &gone, &standing).await?;
    out.undone.deleted += gone.len() as u64;
    names::restore(tx, &back, &standing).await?;
    consents::restore(tx, how, &back).await?;
    values::restore(tx, "customers", &CUSTOMER_KEY, &columns, &back, how.at, |story| {
        customer_key(CustomerId(story.subject.customer))
    })
    .await
}

/// The customers as they stand, locked, as far as the journal speaks of them, and their system ids.
async fn load(
    tx: &mut Tx,
    stories: &[&Story],
    columns: &[(String, &str, Storage)],
) -> Result<(HashMap<Uuid, Standing>, HashMap<Uuid, i64>)> {
    let mut wanted = "t.id, t.updated_at, t.system_id, t.external_id, t.email, t.phone".to_owned();
    for (_, column, _) in columns {
        wanted.push_str(", t.");
        wanted.push_str(&quoted(column));
    }
    let ids = || stories.iter().map(|story| CustomerId(story.subject.customer));
    let mut keys: Vec<Vec<Param>> = ids().map(customer_key).collect();
    sort_rows(&mut keys);
    let mut standing: HashMap<Uuid, Standing> = HashMap::new();
    let mut system_ids = HashMap::new();
    for row in lock_many(tx, "customers", &wanted, &CUSTOMER_KEY, &keys).await? {
        let mut values = HashMap::new();
        for (offset, kind) in NAMES.iter().enumerate() {
            let name = row.opt_text(3 + offset)?.map_or(Json::Null, Json::from);
            values.insert(kind.name().to_owned(), name);
        }
        for (offset, (name, _, storage)) in columns.iter().enumerate() {
            let value = row.value(6 + offset, *storage)?;
            values.insert(name.clone(), value_json(value.as_ref()));
        }
        standing.insert(row.uuid(0)?, Standing { updated_at: row.int(1)?, values });
        system_ids.insert(row.uuid(0)?, row.int(2)?);
    }
    for ((customer, name), consent) in journal::consents(tx, ids()).await? {
        if let Some(one) = standing.get_mut(&customer.0) {
            one.values.insert(name, consent);
        }
    }
    Ok((standing, system_ids))
}

/// Whether a made customer's row and consents are what the import left.
fn is_as_made(story: &Story, now: &Standing) -> bool {
    let consents_are_ours = now.values.iter().all(|(name, json)| {
        !name.starts_with("consent:")
            || story.changes.get(name).is_some_and(|(_, after)| after == json)
    });
    now.updated_at == story.at && consents_are_ours
}

/// The fields that still are as the import left them; the others are listed with their reason.
fn unchanged<'s>(
    story: &'s Story,
    now: &Standing,
    taken: &mut HashSet<Identity>,
    out: &mut Outcome,
) -> Vec<(&'s String, &'s Json)> {
    let mut fields = Vec::new();
    for (name, (before, after)) in &story.changes {
        let current = now.values.get(name);
        let is_known = current.is_some() || name.starts_with("consent:");
        let said = (Some(after), current);
        if !is_known {
            out.keep(story, name, "gone", said);
        } else if current.unwrap_or(&Json::Null) != after {
            out.keep(story, name, "changed", said);
        } else if let Some(identity) = names::identity(name, before)
            && !taken.insert(identity)
        {
            out.keep(story, name, "taken", said);
        } else {
            fields.push((name, before));
        }
    }
    fields
}
