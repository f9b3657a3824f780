//! What a batch of upserts reads before it works: whom its names stand for, and their rows.

use std::collections::{HashMap, HashSet};

use tidings_domain::CustomerId;
use tidings_domain::change::{Identity, Refusal};
use tidings_domain::schema::Schema;
use tidings_domain::upsert::Prepared;

use super::{Batch, Before, Working, slot_of};
use crate::Result;
use crate::bulk::lock_many;
use crate::changes::{Applying, CUSTOMER_KEY, customer_key, find_identities, sort_rows};
use crate::engines::Tx;
use crate::sql::{Param, quoted};

impl Batch {
    pub(super) async fn load(
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
}

/// The name by which an upsert looks for its customer first.
fn first_name(one: &Prepared) -> Option<&Identity> {
    one.identities.iter().find(|name| one.match_by.is_none_or(|kind| kind == name.kind))
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
