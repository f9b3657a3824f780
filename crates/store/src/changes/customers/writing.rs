//! What a batch of upserts writes once it has worked.

use std::collections::{BTreeMap, HashMap};

use tidings_domain::change::Identity;
use tidings_domain::schema::Schema;
use tidings_domain::search::searched_attributes;
use tidings_domain::{CustomerId, bucket_of, identity_bucket};

use super::{Batch, Working};
use crate::bulk::{Column, ColumnType, OnConflict, column, delete_many, insert_many, update_many};
use crate::changes::journal::{self, Journal, NAMES, Subject};
use crate::changes::{Applying, CUSTOMER_KEY, Dirty, customer_key, sort_identities, sort_rows};
use crate::engines::Tx;
use crate::sql::{Param, Sql};
use crate::{Error, Result, search};

const IDENTITY_KEY: [Column<'static>; 3] = [
    column("ibucket", ColumnType::SmallInt),
    column("kind", ColumnType::SmallInt),
    column("value", ColumnType::Text),
];

impl Batch {
    /// Inserts the identities that are wanted; false where another node has just taken one.
    pub(super) async fn claim_identities(&mut self, tx: &mut Tx) -> Result<bool> {
        let row = |(identity, id): (&Identity, &CustomerId)| {
            vec![
                identity_bucket(identity.kind, &identity.value).into(),
                identity.kind.number().into(),
                identity.value.as_str().into(),
                bucket_of(*id).into(),
                (*id).into(),
            ]
        };
        let mut dropped: Vec<Vec<Param>> = self
            .dropped
            .iter()
            .map(row)
            .map(|mut row: Vec<Param>| {
                let id = row.swap_remove(4);
                row.truncate(3);
                row.push(id);
                row
            })
            .collect();
        sort_identities(tx, &mut dropped);
        let [bucket, kind, value] = IDENTITY_KEY;
        let keys = [bucket, kind, value, column("customer_id", ColumnType::Uuid)];
        delete_many(tx, "identities", &keys, &dropped).await?;
        let mut rows: Vec<Vec<Param>> = self.wanted.iter().map(row).collect();
        sort_identities(tx, &mut rows);
        let columns = [
            bucket,
            kind,
            value,
            column("bucket", ColumnType::SmallInt),
            column("customer_id", ColumnType::Uuid),
        ];
        if tx.dialect() == crate::sql::Dialect::Sqlite {
            // One writer: what was free at our look is still free.
            insert_many(tx, "identities", &columns, &rows, OnConflict::Fail, "").await?;
            return Ok(true);
        }
        let written =
            insert_many(tx, "identities", &columns, &rows, OnConflict::Keep, "t.kind").await?;
        Ok(written.len() == rows.len())
    }

    pub(super) async fn write(
        &mut self,
        tx: &mut Tx,
        how: &mut Applying,
        dirty: &mut Dirty,
    ) -> Result<()> {
        let mut created: Vec<CustomerId> =
            self.customers.values().filter(|one| one.is_new).map(|one| one.id).collect();
        created.sort_unstable();
        take_system_ids(tx, how, &mut self.customers, &created).await?;
        self.update_known(tx, how).await?;
        self.tell_search(tx, how).await?;
        if how.judge {
            for one in self.customers.values() {
                if one.is_new {
                    dirty.mark(one.id, "new".to_owned());
                } else if one.changed_names {
                    dirty.mark(one.id, "name".to_owned());
                }
                for (position, changed) in self.positions.iter().zip(&one.changed) {
                    if *changed {
                        let number = how.schema.attributes[*position].number;
                        dirty.mark(one.id, format!("a{number}"));
                    }
                }
            }
        }
        if let Some(journal) = &mut how.journal {
            self.note(&how.schema, journal);
        }
        self.insert_new(tx, how, &created).await
    }

    /// Says whose texts the search must look at again.
    async fn tell_search(&self, tx: &mut Tx, how: &Applying) -> Result<()> {
        let searched = searched_attributes(&how.schema);
        let slots: Vec<usize> = (0..self.positions.len())
            .filter(|slot| searched.contains(&self.positions[*slot]))
            .collect();
        let mut touched = search::Touched::new();
        for one in self.customers.values() {
            let renamed = one.changed_names || slots.iter().any(|slot| one.changed[*slot]);
            if let Some(number) = one.system_id.filter(|_| one.is_new || renamed) {
                touched.insert(number, one.id);
            }
        }
        search::touched(tx, &touched, !how.judge).await
    }

    /// Notes what is made and changed.
    fn note(&self, schema: &Schema, journal: &mut Journal) {
        for one in self.customers.values() {
            let subject = Subject::customer(one.id);
            let Some(before) = &one.before else {
                if one.is_new {
                    journal.created(subject);
                }
                continue;
            };
            for (kind, (was, is)) in NAMES.iter().zip(before.names.iter().zip(&one.names)) {
                let name = kind.name().to_owned();
                journal.changed(&subject, name, was.clone().into(), is.clone().into());
            }
            for (slot, position) in self.positions.iter().enumerate() {
                if one.changed[slot] {
                    let name = journal::field(schema.attributes[*position].number);
                    let was = journal::value_json(before.values[slot].as_ref());
                    let is = journal::value_json(one.values[slot].as_ref());
                    journal.changed(&subject, name, was, is);
                }
            }
        }
    }

    /// Inserts the new customers; their values move into the rows.
    async fn insert_new(
        &mut self,
        tx: &mut Tx,
        how: &Applying,
        created: &[CustomerId],
    ) -> Result<()> {
        let mut columns = vec![
            column("bucket", ColumnType::SmallInt),
            column("id", ColumnType::Uuid),
            column("system_id", ColumnType::BigInt),
            column("external_id", ColumnType::Text),
            column("email", ColumnType::Text),
            column("phone", ColumnType::Text),
            column("created_at", ColumnType::BigInt),
            column("updated_at", ColumnType::BigInt),
        ];
        columns.extend(attribute_columns(&how.schema, &self.positions));
        let mut rows: Vec<Vec<Param>> = Vec::with_capacity(created.len());
        for id in created {
            let Some(one) = self.customers.get_mut(id) else { continue };
            let mut row: Vec<Param> = Vec::with_capacity(columns.len());
            row.extend([bucket_of(*id).into(), (*id).into(), one.system_id.into()]);
            row.extend(one.names.iter().cloned().map(Param::from));
            row.extend([how.at.into(), how.at.into()]);
            row.extend(one.values.iter_mut().map(|value| Param::from(value.take())));
            rows.push(row);
        }
        insert_many(tx, "customers", &columns, &rows, OnConflict::Fail, "").await?;
        Ok(())
    }

    /// Updates customers, those with the same changed columns together.
    async fn update_known(&self, tx: &mut Tx, how: &Applying) -> Result<()> {
        let mut groups: BTreeMap<(bool, &[bool]), Vec<&Working>> = BTreeMap::new();
        for one in self.customers.values().filter(|one| !one.is_new) {
            if one.changed_names || one.changed.contains(&true) {
                groups.entry((one.changed_names, &one.changed)).or_default().push(one);
            }
        }
        for ((names, changed), group) in groups {
            let slots: Vec<usize> = (0..changed.len()).filter(|slot| changed[*slot]).collect();
            let positions: Vec<usize> = slots.iter().map(|slot| self.positions[*slot]).collect();
            let mut set = vec![column("updated_at", ColumnType::BigInt)];
            if names {
                set.push(column("external_id", ColumnType::Text));
                set.push(column("email", ColumnType::Text));
                set.push(column("phone", ColumnType::Text));
            }
            set.extend(attribute_columns(&how.schema, &positions));
            let mut rows: Vec<Vec<Param>> = group
                .iter()
                .map(|one| {
                    let mut row = customer_key(one.id);
                    row.push(how.at.into());
                    if names {
                        row.extend(one.names.iter().cloned().map(Param::from));
                    }
                    row.extend(slots.iter().map(|slot| Param::from(one.values[*slot].clone())));
                    row
                })
                .collect();
            sort_rows(&mut rows);
            update_many(tx, "customers", &CUSTOMER_KEY, &set, &rows, "", "").await?;
        }
        Ok(())
    }
}

fn attribute_columns<'s>(schema: &'s Schema, positions: &[usize]) -> Vec<Column<'s>> {
    positions
        .iter()
        .map(|at| {
            let attribute = &schema.attributes[*at];
            column(&attribute.column, attribute.kind.storage().into())
        })
        .collect()
}

static TAKE_SYSTEM_IDS: Sql = Sql::reference(
    "take_system_ids",
    "update {s}meta set value = cast(cast(value as bigint) + ?1 as text)
     where key = 'next_system_id' returning value",
);

/// Gives new customers their numbers: from the lease of this node, or counted in this transaction.
async fn take_system_ids(
    tx: &mut Tx,
    how: &mut Applying,
    customers: &mut HashMap<CustomerId, Working>,
    created: &[CustomerId],
) -> Result<()> {
    if created.is_empty() {
        return Ok(());
    }
    let mut numbers: Vec<i64> = Vec::with_capacity(created.len());
    while numbers.len() < created.len() {
        match how.system_ids.pop() {
            Some(number) => numbers.push(number),
            None => break,
        }
    }
    let missing = created.len() - numbers.len();
    if missing > 0 {
        numbers.extend(lease_system_ids(tx, missing).await?);
    }
    for (id, number) in created.iter().zip(numbers) {
        if let Some(one) = customers.get_mut(id) {
            one.system_id = Some(number);
        }
    }
    Ok(())
}

/// The next `count` system ids of the workspace, in order.
pub async fn lease_system_ids(tx: &mut Tx, count: usize) -> Result<std::ops::Range<i64>> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let row = tx.first(&TAKE_SYSTEM_IDS, crate::params![count]).await?;
    let next = row.ok_or_else(|| Error::Corrupt("next_system_id is missing".to_owned()))?;
    let next: i64 = next
        .text(0)?
        .parse()
        .map_err(|_| Error::Corrupt("next_system_id is not a number".to_owned()))?;
    Ok(next - count..next)
}

pub(crate) static SQL: &[&Sql] = &[&TAKE_SYSTEM_IDS];
