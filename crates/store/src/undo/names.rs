//! The identities by which customers are found: the imported ones go, the earlier ones come back,
//! unless somebody else has them by now.

use std::collections::{HashMap, HashSet};

use serde_json::Value as Json;
use tidings_domain::change::{Identity, IdentityKind};
use tidings_domain::identity_bucket;
use uuid::Uuid;

use super::stories::{Back, Story};
use super::values::Standing;
use crate::Result;
use crate::bulk::{Column, ColumnType, OnConflict, column, delete_many, insert_many};
use crate::changes::journal::NAMES;
use crate::changes::{find_identities, sort_identities};
use crate::engines::Tx;
use crate::sql::Param;

/// The identity that a field holds.
pub(super) fn identity(name: &str, value: &Json) -> Option<Identity> {
    let kind = NAMES.into_iter().find(|kind| kind.name() == name)?;
    Some(Identity { kind, value: value.as_str()?.to_owned() })
}

/// Names that the journal would give back and that belong to somebody by now.
pub(super) async fn taken(tx: &mut Tx, stories: &[&Story]) -> Result<HashSet<Identity>> {
    let mut wanted: Vec<Identity> = Vec::new();
    let mut owners: HashMap<Identity, Uuid> = HashMap::new();
    for story in stories.iter().filter(|story| !story.created) {
        for (name, (before, _)) in &story.changes {
            if let Some(identity) = identity(name, before) {
                owners.insert(identity.clone(), story.subject.customer);
                wanted.push(identity);
            }
        }
    }
    let found = find_identities(tx, &wanted).await?;
    let others = found.into_iter().filter(|(name, id)| owners.get(name) != Some(&id.0));
    Ok(others.map(|(name, _)| name).collect())
}

pub(super) const IDENTITY_OF: [Column<'static>; 4] = [
    column("ibucket", ColumnType::SmallInt),
    column("kind", ColumnType::SmallInt),
    column("value", ColumnType::Text),
    column("customer_id", ColumnType::Uuid),
];

pub(super) fn identity_row(kind: IdentityKind, value: &str, customer: Uuid) -> Vec<Param> {
    let bucket = identity_bucket(kind, value);
    vec![bucket.into(), kind.number().into(), value.into(), customer.into()]
}

/// The rows by which customers are found: the imported names go, the earlier ones come back.
pub(super) async fn restore(
    tx: &mut Tx,
    back: &[Back<'_>],
    standing: &HashMap<Uuid, Standing>,
) -> Result<()> {
    let (mut drop, mut add): (Vec<Vec<Param>>, Vec<Vec<Param>>) = Default::default();
    for (story, fields) in back {
        let customer = story.subject.customer;
        for (name, before) in fields {
            let Some(kind) = NAMES.into_iter().find(|kind| kind.name() == *name) else { continue };
            let now = standing.get(&customer).and_then(|now| now.values.get(*name));
            if let Some(Json::String(imported)) = now {
                drop.push(identity_row(kind, imported, customer));
            }
            if let Json::String(value) = before {
                let mut row = identity_row(kind, value, customer);
                row.push(story.subject.bucket.into());
                add.push(row);
            }
        }
    }
    sort_identities(tx, &mut drop);
    sort_identities(tx, &mut add);
    delete_many(tx, "identities", &IDENTITY_OF, &drop).await?;
    let [ibucket, kind, value, customer] = IDENTITY_OF;
    let columns = [ibucket, kind, value, customer, column("bucket", ColumnType::SmallInt)];
    insert_many(tx, "identities", &columns, &add, OnConflict::Keep, "").await?;
    Ok(())
}
