//! Upserting customers.

mod loading;
mod writing;

use std::collections::HashMap;

use tidings_domain::CustomerId;
use tidings_domain::change::{Change, CustomerRef, Identity, IdentityKind, Mode, Outcome, Refusal};
use tidings_domain::schema::Schema;
use tidings_domain::upsert::{Edit, Prepared, edited, prepare};
use tidings_domain::value::Value;

pub(crate) use self::writing::{SQL, lease_system_ids};
use super::journal::{self, Subject};
use super::{Applying, Dirty};
use crate::engines::Tx;
use crate::{Error, Result};

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
