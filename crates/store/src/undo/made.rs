//! Customers that the import made: whether anything else has touched them, and their going.

use std::collections::{HashMap, HashSet};

use serde_json::Value as Json;
use tidings_domain::CustomerId;
use tidings_domain::schema::Schema;
use uuid::Uuid;

use super::Undoing;
use super::names::{IDENTITY_OF, identity_row};
use super::stories::Story;
use super::values::Standing;
use crate::bulk::{delete_many, select_many};
use crate::changes::journal::NAMES;
use crate::changes::{CUSTOMER_KEY, OWNER_KEY, customer_key, sort_identities, sort_rows};
use crate::engines::Tx;
use crate::memberships::forget_members;
use crate::sql::Param;
use crate::{Result, search};

/// Tables whose rows say that something else has touched a customer, and which rows do.
pub(crate) const TOUCHING: [(&str, &str); 9] = [
    (
        "events",
        "t.name not in (select number from {s}event_names where name in ('segment_entered', 'segment_left'))",
    ),
    ("tags", ""),
    ("group_members", ""),
    ("deliveries", ""),
    // What customers said in person, also where it changed nothing.
    ("consent_history", "t.via <> 'import'"),
    // An anonymous visitor who turned out to be this customer.
    ("identities", "t.kind = 4"),
    // Somebody was merged into them, or they into somebody.
    ("merges", ""),
    ("merge_rows", ""),
    ("merged_customers", ""),
];

/// Tables whose rows follow from what the import wrote, and go with the customer.
pub(crate) const FOLLOWING: [&str; 6] = [
    "consents",
    "consent_history",
    "segment_members",
    "segment_checks",
    "dirty_customers",
    "events",
];

/// Made customers that something else has touched.
pub(super) async fn touched(
    tx: &mut Tx,
    schema: &Schema,
    stories: &[&Story],
) -> Result<HashSet<Uuid>> {
    let made = stories.iter().filter(|story| story.created);
    let mut keys: Vec<Vec<Param>> =
        made.map(|story| customer_key(CustomerId(story.subject.customer))).collect();
    sort_rows(&mut keys);
    let owned = schema.tables.iter().map(|table| (table.physical.as_str(), ""));
    let mut touched = HashSet::new();
    for (table, condition) in TOUCHING.into_iter().chain(owned) {
        let wanted = "distinct t.customer_id";
        for row in select_many(tx, table, wanted, &OWNER_KEY, &keys, condition).await? {
            touched.insert(row.uuid(0)?);
        }
    }
    Ok(touched)
}

/// Deletes customers with everything that follows from the import.
pub(super) async fn delete(
    tx: &mut Tx,
    how: &Undoing<'_>,
    stories: &[&Story],
    standing: &HashMap<Uuid, Standing>,
) -> Result<()> {
    if stories.is_empty() {
        return Ok(());
    }
    let mut keys: Vec<Vec<Param>> =
        stories.iter().map(|story| customer_key(CustomerId(story.subject.customer))).collect();
    sort_rows(&mut keys);
    let mut names: Vec<Vec<Param>> = Vec::new();
    for story in stories {
        let Some(now) = standing.get(&story.subject.customer) else { continue };
        for kind in NAMES {
            if let Some(Json::String(value)) = now.values.get(kind.name()) {
                names.push(identity_row(kind, value, story.subject.customer));
            }
        }
    }
    sort_identities(tx, &mut names);
    delete_many(tx, "identities", &IDENTITY_OF, &names).await?;
    forget_members(tx, how.zone, &keys, how.at).await?;
    for table in FOLLOWING {
        delete_many(tx, table, &OWNER_KEY, &keys).await?;
    }
    for story in stories {
        search::forget(tx, CustomerId(story.subject.customer)).await?;
    }
    delete_many(tx, "customers", &CUSTOMER_KEY, &keys).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Home, Store};

    /// A new table with rows of customers is told here, or an undo would overlook it.
    #[tokio::test]
    async fn every_table_of_customers_is_judged() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Home::Folder(folder.path().to_owned())).await.unwrap();
        let workspace = store.create_workspace("Tables", "UTC", false).await.unwrap();
        let owned = workspace
            .read(|tx| Box::pin(async move { crate::personal::owned(tx).await }))
            .await
            .unwrap();
        let journals = ["import_journal", "import_kept", "import_seen"];
        for table in owned {
            let known = TOUCHING.iter().any(|(name, _)| *name == table)
                || FOLLOWING.contains(&&*table)
                || journals.contains(&&*table);
            assert!(known, "{table}");
        }
    }
}
