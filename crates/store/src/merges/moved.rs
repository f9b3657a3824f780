//! Where customers went who were merged into others.

use std::collections::HashMap;

use tidings_domain::{CustomerId, bucket_of};

use crate::Result;
use crate::bulk::select_many;
use crate::changes::{OWNER_KEY, customer_key, sort_rows};
use crate::engines::Tx;
use crate::sql::{Param, Sql};

/// How many merges may lie between an old id and who has it now.
const MOST_STEPS: usize = 32;

static REMEMBER: Sql = Sql::bucket(
    "remember_merged",
    "insert into {s}merged_customers (bucket, customer_id, system_id, into_id)
     values (?1, ?2, ?3, ?4)",
);
static FORGET: Sql = Sql::bucket(
    "forget_merged",
    "delete from {s}merged_customers where bucket = ?1 and customer_id = ?2",
);
static BY_SYSTEM_ID: Sql = Sql::fan_out(
    "merged_by_system_id",
    "select customer_id from {s}merged_customers where system_id = ?1",
);

pub(super) static SQL: &[&Sql] = &[&REMEMBER, &FORGET, &BY_SYSTEM_ID];

pub(super) async fn remember(
    tx: &mut Tx,
    lost: CustomerId,
    system_id: i64,
    kept: CustomerId,
) -> Result<()> {
    let row = crate::params![bucket_of(lost), lost, system_id, kept];
    tx.execute(&REMEMBER, row).await.map(|_| ())
}

pub(super) async fn forget(tx: &mut Tx, lost: CustomerId) -> Result<()> {
    tx.execute(&FORGET, crate::params![bucket_of(lost), lost]).await.map(|_| ())
}

/// Who has these ids now, for those that were merged; an id that never was is not in the answer.
pub(crate) async fn resolve(
    tx: &mut Tx,
    ids: &[CustomerId],
) -> Result<HashMap<CustomerId, CustomerId>> {
    // Each id asked for, and how far it was followed.
    let mut places: HashMap<CustomerId, CustomerId> = ids.iter().map(|id| (*id, *id)).collect();
    for _ in 0..MOST_STEPS {
        let mut keys: Vec<Vec<Param>> = places.values().map(|id| customer_key(*id)).collect();
        sort_rows(&mut keys);
        keys.dedup();
        let wanted = "t.customer_id, t.into_id";
        let mut steps: HashMap<CustomerId, CustomerId> = HashMap::new();
        for row in select_many(tx, "merged_customers", wanted, &OWNER_KEY, &keys, "").await? {
            steps.insert(CustomerId(row.uuid(0)?), CustomerId(row.uuid(1)?));
        }
        if steps.is_empty() {
            break;
        }
        for place in places.values_mut() {
            if let Some(next) = steps.get(place) {
                *place = *next;
            }
        }
    }
    places.retain(|from, to| from != to);
    Ok(places)
}

/// The customer who had a number before a merge.
pub(crate) async fn resolve_system_id(tx: &mut Tx, number: i64) -> Result<Option<CustomerId>> {
    let Some(row) = tx.first(&BY_SYSTEM_ID, crate::params![number]).await? else {
        return Ok(None);
    };
    let lost = CustomerId(row.uuid(0)?);
    Ok(resolve(tx, &[lost]).await?.get(&lost).copied())
}
