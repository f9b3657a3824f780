//! Tags, groups and consents: marks on a customer. What a consent does is next door.

use std::collections::HashMap;

use tidings_domain::change::{Change, CustomerRef, Outcome, Refusal};
use tidings_domain::schema::checked_name;
use tidings_domain::{CustomerId, GroupId, Timestamp, bucket_of};

use super::consents::{self, Given};
use super::{Applying, Dirty, find_customers, unknown_customer};
use crate::engines::Tx;
use crate::sql::Sql;
use crate::{Error, Result};

pub(super) async fn apply(
    tx: &mut Tx,
    how: &mut Applying,
    changes: &[Change],
    dirty: &mut Dirty,
) -> Result<Vec<Outcome>> {
    let wanted: Vec<&CustomerRef> = changes.iter().filter_map(customer_of).collect();
    let customers = find_customers(tx, &wanted).await?;
    let mut groups: HashMap<String, i64> = HashMap::new();
    let mut outcomes = Vec::with_capacity(changes.len());
    for (change, customer) in changes.iter().zip(customers) {
        let Some(customer) = customer else {
            outcomes.push(unknown_customer());
            continue;
        };
        let touched = match change {
            Change::PutTag { tag, until, .. } => match checked_name(tag) {
                Ok(tag) => {
                    dirty.mark(customer, "tag".to_owned());
                    put_tag(tx, customer, tag, *until, how.at).await?
                }
                Err(expected) => {
                    outcomes.push(refused("tag", expected));
                    continue;
                }
            },
            Change::RemoveTag { tag, .. } => {
                dirty.mark(customer, "tag".to_owned());
                tx.execute(&REMOVE_TAG, crate::params![bucket_of(customer), customer, tag.as_str()])
                    .await?
            }
            Change::PutGroupMember { group, .. } => {
                if let Err(expected) = checked_name(group) {
                    outcomes.push(refused("group", expected));
                    continue;
                }
                let number = group_number(tx, &mut groups, group, how.at).await?;
                dirty.mark(customer, "group".to_owned());
                let key = crate::params![bucket_of(customer), customer, number, how.at];
                tx.execute(&PUT_MEMBER, key).await?
            }
            Change::RemoveGroupMember { group, .. } => {
                dirty.mark(customer, "group".to_owned());
                let key = crate::params![bucket_of(customer), customer, group.as_str()];
                tx.execute(&REMOVE_MEMBER, key).await?
            }
            Change::ChangeConsent { channel, topic, state, source, proof, .. } => {
                let (channel, state, at) = (*channel, *state, how.at);
                let given = Given { customer, channel, topic, state, source, proof, at };
                match consents::change(tx, &given).await? {
                    Ok(touched) => {
                        dirty.mark(customer, "consent".to_owned());
                        touched
                    }
                    Err(refusal) => {
                        outcomes.push(Outcome::Refused(refusal));
                        continue;
                    }
                }
            }
            _ => return Err(Error::Invalid("not a mark".to_owned())),
        };
        let customer = Some(customer);
        outcomes.push(if touched > 0 {
            Outcome::Updated { customer, system_id: None }
        } else {
            Outcome::Unchanged { customer, system_id: None }
        });
    }
    Ok(outcomes)
}

fn refused(path: &str, expected: String) -> Outcome {
    Outcome::Refused(Refusal::new("invalid_name", path, expected))
}

fn customer_of(change: &Change) -> Option<&CustomerRef> {
    match change {
        Change::PutTag { customer, .. }
        | Change::RemoveTag { customer, .. }
        | Change::PutGroupMember { customer, .. }
        | Change::RemoveGroupMember { customer, .. }
        | Change::ChangeConsent { customer, .. } => Some(customer),
        _ => None,
    }
}

static PUT_TAG: Sql = Sql::bucket(
    "put_tag",
    "insert into {s}tags as t (bucket, customer_id, tag, put_at, until)
     values (?1, ?2, ?3, ?4, ?5)
     on conflict (bucket, customer_id, tag) do update
       set until = excluded.until, put_at = excluded.put_at
       where t.until is distinct from excluded.until",
);
static PUT_TAG_SQLITE: Sql = Sql::bucket(
    "put_tag",
    "insert into {s}tags as t (bucket, customer_id, tag, put_at, until)
     values (?1, ?2, ?3, ?4, ?5)
     on conflict (customer_id, tag) do update
       set until = excluded.until, put_at = excluded.put_at
       where t.until is not excluded.until",
);
static REMOVE_TAG: Sql = Sql::bucket(
    "remove_tag",
    "delete from {s}tags where bucket = ?1 and customer_id = ?2 and tag = ?3",
);

async fn put_tag(
    tx: &mut Tx,
    customer: CustomerId,
    tag: &str,
    until: Option<Timestamp>,
    at: Timestamp,
) -> Result<u64> {
    let sql = match tx.dialect() {
        crate::sql::Dialect::Sqlite => &PUT_TAG_SQLITE,
        crate::sql::Dialect::Postgres => &PUT_TAG,
    };
    tx.execute(sql, crate::params![bucket_of(customer), customer, tag, at, until]).await
}

static GROUP_BY_NAME: Sql =
    Sql::reference("group_by_name", "select number from {s}groups where name = ?1");
static ADD_GROUP: Sql = Sql::reference(
    "add_group",
    "insert into {s}groups (number, id, name, created_at)
     select coalesce(max(number), 0) + 1, ?1, ?2, ?3 from {s}groups where true
     on conflict do nothing",
);

/// The number of a group; a new name makes a new group.
pub async fn group_number(
    tx: &mut Tx,
    known: &mut HashMap<String, i64>,
    name: &str,
    at: Timestamp,
) -> Result<i64> {
    if let Some(number) = known.get(name) {
        return Ok(*number);
    }
    for _ in 0..8 {
        if let Some(row) = tx.first(&GROUP_BY_NAME, crate::params![name]).await? {
            let number = row.int(0)?;
            known.insert(name.to_owned(), number);
            return Ok(number);
        }
        tx.execute(&ADD_GROUP, crate::params![GroupId::generate(), name, at]).await?;
    }
    Err(Error::Unavailable("group numbers keep moving".to_owned()))
}

static PUT_MEMBER: Sql = Sql::bucket(
    "put_group_member",
    "insert into {s}group_members (bucket, customer_id, group_number, since)
     values (?1, ?2, ?3, ?4) on conflict do nothing",
);
static REMOVE_MEMBER: Sql = Sql::bucket(
    "remove_group_member",
    "delete from {s}group_members where bucket = ?1 and customer_id = ?2
       and group_number = (select number from {s}groups where name = ?3)",
);

pub(crate) static SQL: &[&Sql] =
    &[&PUT_TAG, &REMOVE_TAG, &GROUP_BY_NAME, &ADD_GROUP, &PUT_MEMBER, &REMOVE_MEMBER];
