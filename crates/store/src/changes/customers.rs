//! Upserting customers.

use std::collections::{BTreeMap, HashMap, HashSet};

use tidings_domain::change::{Change, CustomerRef, Identity, IdentityKind, Mode, Outcome, Refusal};
use tidings_domain::schema::Schema;
use tidings_domain::search::searched_attributes;
use tidings_domain::upsert::{Edit, Prepared, edited, prepare};
use tidings_domain::value::Value;
use tidings_domain::{CustomerId, bucket_of, identity_bucket};

use super::journal::{self, Journal, NAMES, Subject};
use super::{
    Applying, CUSTOMER_KEY, Dirty, customer_key, find_identities, sort_identities, sort_rows,
};
use crate::bulk::{
    Column, ColumnType, OnConflict, column, delete_many, insert_many, lock_many, update_many,
};
use crate::engines::Tx;
use crate::sql::{Param, Sql, quoted};
use crate::{Error, Result, search};

/// A customer while a batch works on it.
struct Working {
    id: CustomerId,
    system_id: Option<i64>,
    is_new: bool,
    /// External id, e-mail and phone as they stand, in the order of `IdentityKind`.
    names: [Option<String>; 3],
    /// Only the attributes that this batch may touch, in the order of `Batch::positions`.
    values: Vec<Option<Value>>,
    changed_names: bool,
    /// Which of `values` are not what is stored.
    changed: Vec<bool>,
    /// Names and values as they were; only where a journal is kept.
    before: Option<Box<Before>>,
}

struct Before {
    names: [Option<String>; 3],
    values: Vec<Option<Value>>,
}

/// What became of a change before the new rows have their system ids.
enum Done {
    Touched { customer: CustomerId, kind: Touched },
    Refused(Refusal),
}

#[derive(Clone, Copy)]
enum Touched {
    Created,
    Updated,
    Unchanged,
}

pub(super) async fn apply(
    tx: &mut Tx,
    how: &mut Applying,
    changes: &[Change],
    dirty: &mut Dirty,
) -> Result<Vec<Outcome>> {
    let prepared = prepare_all(&how.schema, changes);
    apply_prepared(tx, how, &prepared, dirty).await
}

/// Checks upserts against the schema; needs no database.
pub(super) fn prepare_all(schema: &Schema, changes: &[Change]) -> Vec<Result<Prepared, Refusal>> {
    changes
        .iter()
        .map(|change| match change {
            Change::UpsertCustomer(upsert) => prepare(schema, upsert),
            _ => Err(Refusal::new("internal", "", "not an upsert of a customer")),
        })
        .collect()
}

pub(super) async fn apply_prepared(
    tx: &mut Tx,
    how: &mut Applying,
    prepared: &[Result<Prepared, Refusal>],
    dirty: &mut Dirty,
) -> Result<Vec<Outcome>> {
    let without_erased = crate::personal::refuse_erased(tx, prepared).await?;
    let prepared = without_erased.as_deref().unwrap_or(prepared);
    // Another node may take an identity between our look and our insert. Then its customer is the
    // winner and we look again; the rows we already wrote point at the ids they still have.
    for _ in 0..4 {
        let mut batch = Batch::load(tx, how, prepared).await?;
        let done = batch.work(&how.schema, prepared);
        if !batch.claim_identities(tx).await? {
            continue;
        }
        batch.write(tx, how, dirty).await?;
        let mut outcomes: Vec<Outcome> = done.into_iter().map(|done| batch.outcome(done)).collect();
        put_marks(tx, how, prepared, &mut outcomes, dirty).await?;
        return Ok(outcomes);
    }
    Err(Error::Unavailable("identities keep moving under this batch".to_owned()))
}

/// Puts the marks that came with upserts on the customers they named. A mark that changes an
/// otherwise unchanged customer makes its outcome *updated*.
async fn put_marks(
    tx: &mut Tx,
    how: &mut Applying,
    prepared: &[Result<Prepared, Refusal>],
    outcomes: &mut [Outcome],
    dirty: &mut Dirty,
) -> Result<()> {
    let mut changes = Vec::new();
    let mut of_outcome = Vec::new();
    for (at, (one, outcome)) in prepared.iter().zip(outcomes.iter()).enumerate() {
        let (Ok(one), Some(customer)) = (one, outcome.customer()) else { continue };
        for mark in &one.marks {
            changes.push(mark.on(CustomerRef::Id(customer)));
            of_outcome.push(at);
        }
    }
    if changes.is_empty() {
        return Ok(());
    }
    let consenting = match how.journal {
        Some(_) => journal::consenting(&changes),
        None => Vec::new(),
    };
    let before = journal::consents(tx, consenting.iter().copied()).await?;
    let marked = super::marks::apply(tx, how, &changes, dirty).await?;
    let after = journal::consents(tx, consenting.into_iter()).await?;
    if let Some(journal) = &mut how.journal {
        for ((customer, field), consent) in after {
            let was = before.get(&(customer, field.clone())).cloned().unwrap_or_default();
            journal.changed(&Subject::customer(customer), field, was, consent);
        }
    }
    for (at, mark) in of_outcome.into_iter().zip(marked) {
        if let (Outcome::Unchanged { customer, system_id }, Outcome::Updated { .. }) =
            (&outcomes[at], mark)
        {
            outcomes[at] = Outcome::Updated { customer: *customer, system_id: *system_id };
        }
    }
    Ok(())
}

struct Batch {
    /// Customers by id; those that are new have no row yet.
    customers: HashMap<CustomerId, Working>,
    /// Where the ids went that the batch names and that were merged into others.
    moved: HashMap<CustomerId, CustomerId>,
    by_identity: HashMap<Identity, CustomerId>,
    /// Identities to insert, and whose they become.
    wanted: HashMap<Identity, CustomerId>,
    /// Identities that their customer gave up.
    dropped: HashMap<Identity, CustomerId>,
    /// Attributes that the batch may touch, by their place in the schema, in order.
    positions: Vec<usize>,
    /// Where in `positions` each attribute of the schema stands.
    slots: Vec<usize>,
}

impl Batch {
    async fn load(
        tx: &mut Tx,
        how: &Applying,
        prepared: &[Result<Prepared, Refusal>],
    ) -> Result<Batch> {
        let good = || prepared.iter().flatten();
        let firsts = good().filter(|one| one.id.is_none()).filter_map(first_name);
        let mut by_identity = find_identities(tx, firsts).await?;
        let ids: HashSet<CustomerId> =
            by_identity.values().copied().chain(good().filter_map(|one| one.id)).collect();
        let mut touched = vec![false; how.schema.attributes.len()];
        for (position, _) in good().flat_map(|one| &one.edits) {
            touched[*position] = true;
        }
        let positions: Vec<usize> = (0..touched.len()).filter(|at| touched[*at]).collect();
        let mut slots = vec![0; touched.len()];
        for (slot, position) in positions.iter().enumerate() {
            slots[*position] = slot;
        }
        let keep = how.journal.is_some();
        let mut customers = load_working(tx, &how.schema, &ids, &positions, keep).await?;
        let gone: Vec<CustomerId> =
            good().filter_map(|one| one.id).filter(|id| !customers.contains_key(id)).collect();
        let mut moved = HashMap::new();
        if !gone.is_empty() {
            moved = crate::merges::resolve(tx, &gone).await?;
            let ids = moved.values().copied().collect();
            customers.extend(load_working(tx, &how.schema, &ids, &positions, keep).await?);
        }
        let (wanted, dropped) = (HashMap::new(), HashMap::new());
        let mut batch = Batch { customers, moved, by_identity, wanted, dropped, positions, slots };
        let others = batch.other_names(prepared);
        batch.wanted.reserve(others.len());
        by_identity = find_identities(tx, others).await?;
        let is_new = |id: &CustomerId| !batch.customers.contains_key(id);
        let ids: HashSet<CustomerId> = by_identity.values().copied().filter(is_new).collect();
        let more = load_working(tx, &how.schema, &ids, &batch.positions, keep).await?;
        batch.customers.extend(more);
        batch.by_identity.extend(by_identity);
        Ok(batch)
    }

    /// The names of a batch that are still to be looked up. One that its customer is called by
    /// already is not, where no other change names it: then only they can have it, or whoever else
    /// has it keeps it.
    fn other_names<'p>(&mut self, prepared: &'p [Result<Prepared, Refusal>]) -> Vec<&'p Identity> {
        let mut named: HashMap<&Identity, u32> = HashMap::with_capacity(prepared.len() * 2);
        for identity in prepared.iter().flatten().flat_map(|one| &one.identities) {
            *named.entry(identity).or_default() += 1;
        }
        let mut others = Vec::new();
        for one in prepared.iter().flatten() {
            let first = match one.id {
                Some(_) => None,
                None => first_name(one),
            };
            let id = match one.id {
                Some(id) => Some(self.moved.get(&id).copied().unwrap_or(id)),
                None => first.and_then(|name| self.by_identity.get(name)).copied(),
            };
            let customer = id.and_then(|id| self.customers.get(&id));
            for identity in one.identities.iter().filter(|identity| first != Some(identity)) {
                let own = customer.and_then(|customer| customer.names.get(slot_of(identity.kind)));
                match (id, own) {
                    (Some(id), Some(Some(own)))
                        if *own == identity.value && named[identity] == 1 =>
                    {
                        self.by_identity.insert(identity.clone(), id);
                    }
                    _ => others.push(identity),
                }
            }
        }
        others
    }

    /// Applies every change in memory, in order.
    fn work(&mut self, schema: &Schema, prepared: &[Result<Prepared, Refusal>]) -> Vec<Done> {
        prepared
            .iter()
            .map(|one| match one {
                Err(refusal) => Done::Refused(refusal.clone()),
                Ok(one) => self.work_one(schema, one).unwrap_or_else(Done::Refused),
            })
            .collect()
    }

    fn work_one(&mut self, schema: &Schema, one: &Prepared) -> Result<Done, Refusal> {
        let (found, found_by) = match self.find(one)? {
            Some((id, by)) => (Some(id), by),
            None => (None, None),
        };
        let known = found.filter(|id| self.customers.contains_key(id));
        match (known, one.mode) {
            (None, Mode::Update) => {
                return Err(Refusal::new("unknown_customer", "", "no customer has this identity"));
            }
            (Some(_), Mode::Create) => {
                return Err(Refusal::new("exists", "", "a customer with this identity exists"));
            }
            _ => {}
        }
        // Everything is worked out before anything is kept, so that a refusal touches nothing.
        let mut edits: Vec<(usize, Option<Value>)> = Vec::with_capacity(one.edits.len());
        for (position, edit) in &one.edits {
            let slot = self.slots[*position];
            let new = match edit {
                Edit::Set(value) => Some(value.clone()),
                Edit::Clear => None,
                edit => {
                    let at_hand = edits.iter().rev().find(|(at, _)| *at == slot).map(|(_, v)| v);
                    let stored = known.map(|id| &self.customers[&id].values[slot]);
                    let old = at_hand.or(stored).and_then(Option::as_ref);
                    edited(old, edit).map_err(|expected| {
                        let path = format!("attributes.{}", schema.attributes[*position].name);
                        Refusal::new("invalid_value", path, expected)
                    })?
                }
            };
            edits.push((slot, new));
        }
        let id = known.or(found).unwrap_or_else(CustomerId::generate);
        let created = known.is_none();
        let width = self.positions.len();
        let working = self.customers.entry(id).or_insert_with(|| Working::new(id, width));
        let mut touched = false;
        for identity in &one.identities {
            if identity.kind == IdentityKind::AnonymousId {
                if !self.by_identity.contains_key(identity) {
                    self.by_identity.insert(identity.clone(), id);
                    self.wanted.insert(identity.clone(), id);
                    touched = true;
                }
                continue;
            }
            let slot = &mut working.names[slot_of(identity.kind)];
            // A name that came with a merge finds the customer, who is not called by it.
            if found_by == Some(identity) && slot.as_ref().is_some_and(|own| *own != identity.value)
            {
                continue;
            }
            if slot.as_ref() != Some(&identity.value) {
                if let Some(old) = slot.replace(identity.value.clone()) {
                    let old = Identity { kind: identity.kind, value: old };
                    // An old value that this batch does not mention was not looked up; the delete
                    // checks whose it is.
                    if self.by_identity.get(&old).is_none_or(|owner| *owner == id) {
                        self.by_identity.remove(&old);
                        // One that this batch only meant to insert has no row yet.
                        if self.wanted.remove(&old).is_none() {
                            self.dropped.insert(old, id);
                        }
                    }
                }
                working.changed_names = true;
                touched = true;
            }
            // An identity that another customer has stays with that customer.
            if !self.by_identity.contains_key(identity) {
                self.by_identity.insert(identity.clone(), id);
                // Taken back by the one who gave it up, its row is still there.
                if self.dropped.get(identity) == Some(&id) {
                    self.dropped.remove(identity);
                } else {
                    self.wanted.insert(identity.clone(), id);
                }
            }
        }
        for (slot, value) in edits {
            if working.values[slot] != value {
                working.values[slot] = value;
                working.changed[slot] = true;
                touched = true;
            }
        }
        let kind = match (created, touched) {
            (true, _) => Touched::Created,
            (false, true) => Touched::Updated,
            (false, false) => Touched::Unchanged,
        };
        Ok(Done::Touched { customer: id, kind })
    }

    /// The customer that a change names, and by which name; an id without a row is given to the one
    /// that is made.
    fn find<'p>(
        &self,
        one: &'p Prepared,
    ) -> Result<Option<(CustomerId, Option<&'p Identity>)>, Refusal> {
        if let Some(id) = one.id {
            let id = self.moved.get(&id).copied().unwrap_or(id);
            if self.customers.contains_key(&id) {
                return Ok(Some((id, None)));
            }
            return Err(Refusal::new("unknown_customer", "id", "no customer has this id"));
        }
        let names = |identity: &&Identity| one.match_by.is_none_or(|kind| kind == identity.kind);
        let mut candidates = one.identities.iter().filter(names);
        // A customer number of somebody new is somebody new, even when the e-mail is known:
        // profiles with different external ids are never merged by themselves.
        for identity in candidates.by_ref() {
            let Some(&id) = self.by_identity.get(identity) else { continue };
            if identity.kind == IdentityKind::AnonymousId && one.identities.len() > 1 {
                // Somebody with a name of their own, on a device that another known one has used.
                let names = self.customers.get(&id).map(|customer| &customer.names);
                if names.is_some_and(|names| names.iter().any(Option::is_some)) {
                    continue;
                }
            }
            let by_number = identity.kind == IdentityKind::ExternalId;
            let own_number = one.identities.iter().find(|i| i.kind == IdentityKind::ExternalId);
            let their_number =
                self.customers.get(&id).and_then(|customer| customer.names[0].as_ref());
            match (own_number, their_number) {
                (Some(own), Some(theirs))
                    if &own.value != theirs && one.match_by.is_none() && !by_number => {}
                _ => return Ok(Some((id, Some(identity)))),
            }
        }
        Ok(None)
    }

    /// Inserts the identities that are wanted; false where another node has just taken one.
    async fn claim_identities(&mut self, tx: &mut Tx) -> Result<bool> {
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

    async fn write(&mut self, tx: &mut Tx, how: &mut Applying, dirty: &mut Dirty) -> Result<()> {
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

    fn outcome(&self, done: Done) -> Outcome {
        match done {
            Done::Refused(refusal) => Outcome::Refused(refusal),
            Done::Touched { customer, kind } => {
                let system_id = self.customers.get(&customer).and_then(|one| one.system_id);
                let customer = Some(customer);
                match kind {
                    Touched::Created => Outcome::Created { customer, system_id },
                    Touched::Updated => Outcome::Updated { customer, system_id },
                    Touched::Unchanged => Outcome::Unchanged { customer, system_id },
                }
            }
        }
    }
}

/// The name by which an upsert looks for its customer first.
fn first_name(one: &Prepared) -> Option<&Identity> {
    one.identities.iter().find(|name| one.match_by.is_none_or(|kind| kind == name.kind))
}

/// Where a kind of name stands in `Working::names`.
fn slot_of(kind: IdentityKind) -> usize {
    kind.number() as usize - 1
}

impl Working {
    fn new(id: CustomerId, width: usize) -> Working {
        Working {
            id,
            system_id: None,
            is_new: true,
            names: [None, None, None],
            values: vec![None; width],
            changed_names: false,
            changed: vec![false; width],
            before: None,
        }
    }
}

const IDENTITY_KEY: [Column<'static>; 3] = [
    column("ibucket", ColumnType::SmallInt),
    column("kind", ColumnType::SmallInt),
    column("value", ColumnType::Text),
];

fn attribute_columns<'s>(schema: &'s Schema, positions: &[usize]) -> Vec<Column<'s>> {
    positions
        .iter()
        .map(|at| {
            let attribute = &schema.attributes[*at];
            column(&attribute.column, attribute.kind.storage().into())
        })
        .collect()
}

async fn load_working(
    tx: &mut Tx,
    schema: &Schema,
    ids: &HashSet<CustomerId>,
    positions: &[usize],
    keep: bool,
) -> Result<HashMap<CustomerId, Working>> {
    let mut wanted = "t.id, t.system_id, t.external_id, t.email, t.phone".to_owned();
    for at in positions {
        wanted.push_str(", t.");
        wanted.push_str(&quoted(&schema.attributes[*at].column));
    }
    let mut rows: Vec<Vec<Param>> = ids.iter().map(|id| customer_key(*id)).collect();
    sort_rows(&mut rows);
    // Locked, so that two nodes cannot both add to the same old value.
    let found = lock_many(tx, "customers", &wanted, &CUSTOMER_KEY, &rows).await?;
    let mut customers = HashMap::with_capacity(found.len());
    for row in found {
        let id = CustomerId(row.uuid(0)?);
        let mut values = Vec::with_capacity(positions.len());
        for (offset, at) in positions.iter().enumerate() {
            values.push(row.value(5 + offset, schema.attributes[*at].kind.storage())?);
        }
        let names = [row.opt_text(2)?, row.opt_text(3)?, row.opt_text(4)?];
        let before = || Box::new(Before { names: names.clone(), values: values.clone() });
        let one = Working {
            id,
            system_id: Some(row.int(1)?),
            is_new: false,
            before: keep.then(before),
            names,
            values,
            changed_names: false,
            changed: vec![false; positions.len()],
        };
        customers.insert(id, one);
    }
    Ok(customers)
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
