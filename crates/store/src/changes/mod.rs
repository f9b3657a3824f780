//! Applying changes: the one way in.
//!
//! A batch is one transaction. Runs of changes of the same kind are applied together, so that a
//! file of ten million rows and a single call take the same path; each change gets one outcome,
//! and a refused one touches nothing.

mod consents;
pub(crate) use consents::withdraw_for_merge;
mod customers;
pub(crate) use customers::lease_system_ids;
mod events;
mod joins;
pub(crate) use events::{DeliveryEvent, event_names, insert_own_events, record_delivery_events};
pub mod journal;
mod marks;
pub(crate) use marks::group_number;
mod records;
pub(crate) use records::RECORD_KEY;

use std::collections::HashMap;
use std::sync::Arc;

use tidings_domain::change::{Change, CustomerRef, Identity, Outcome, Refusal};
use tidings_domain::schema::Schema;
use tidings_domain::upsert::Prepared;
use tidings_domain::{Bucket, CustomerId, Timestamp, bucket_of, identity_bucket};

use crate::Result;
use crate::bulk::{ColumnType, OnConflict, column, insert_many, select_many};
use crate::engines::Tx;
use crate::sql::{Param, Sql};

/// How a batch is applied.
#[derive(Clone, Debug)]
pub struct Applying {
    pub schema: Arc<Schema>,
    /// When the batch was received: the time written on everything it touches.
    pub at: Timestamp,
    /// Whether memberships are judged customer by customer afterwards; a bulk import runs one
    /// difference per segment at its end instead.
    pub judge: bool,
    /// System ids that new customers may take, at least one per upsert; empty on SQLite, which
    /// counts in the transaction itself.
    pub system_ids: Vec<i64>,
    /// What the batch changes is noted here, so that it can be undone; `None` where nobody asks.
    pub journal: Option<journal::Journal>,
}

/// Applies changes in their order and gives one outcome each.
pub async fn apply(tx: &mut Tx, how: &mut Applying, changes: &[Change]) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::with_capacity(changes.len());
    let mut dirty = Dirty::default();
    let mut rest = changes;
    while let Some(first) = rest.first() {
        let same =
            |change: &&Change| std::mem::discriminant(*change) == std::mem::discriminant(first);
        let run = rest.iter().take_while(same).count();
        let (now, later) = rest.split_at(run);
        let mut done = match first {
            Change::UpsertCustomer(_) => customers::apply(tx, how, now, &mut dirty).await?,
            Change::UpsertRecord(_) => records::apply(tx, how, now, &mut dirty).await?,
            Change::RecordEvent(_) => {
                joins::make_visitors(tx, how, now, &mut dirty).await?;
                events::apply(tx, how, now, &mut dirty).await?
            }
            Change::MergeCustomers { .. } | Change::Alias { .. } => {
                joins::apply(tx, how, now, &mut dirty).await?
            }
            _ => marks::apply(tx, how, now, &mut dirty).await?,
        };
        outcomes.append(&mut done);
        rest = later;
    }
    if how.judge {
        dirty.write(tx, how.at).await?;
    }
    Ok(outcomes)
}

/// Changes that were checked against a schema before their transaction began, so that the writer's
/// turn is spent on writing alone.
#[derive(Debug)]
pub enum Ready {
    Customers { schema: Arc<Schema>, upserts: Vec<Result<Prepared, Refusal>> },
    Others { schema: Arc<Schema>, changes: Vec<Change> },
}

impl Ready {
    /// Checks what can be checked without the database.
    pub fn new(schema: &Arc<Schema>, changes: Vec<Change>) -> Ready {
        let schema = schema.clone();
        if changes.iter().all(|change| matches!(change, Change::UpsertCustomer(_))) {
            Ready::Customers { upserts: customers::prepare_all(&schema, &changes), schema }
        } else {
            Ready::Others { schema, changes }
        }
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        match self {
            Ready::Customers { upserts, .. } => upserts.len(),
            Ready::Others { changes, .. } => changes.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many customers it may create.
    pub(crate) fn upserts(&self) -> usize {
        match self {
            Ready::Customers { upserts, .. } => upserts.len(),
            Ready::Others { changes, .. } => {
                changes.iter().filter(|change| matches!(change, Change::UpsertCustomer(_))).count()
            }
        }
    }

    pub(crate) fn schema(&self) -> &Arc<Schema> {
        match self {
            Ready::Customers { schema, .. } | Ready::Others { schema, .. } => schema,
        }
    }
}

/// Applies changes that are ready, in their order; `how` carries the schema they were checked by.
pub(crate) async fn apply_ready(
    tx: &mut Tx,
    how: &mut Applying,
    ready: &Ready,
) -> Result<Vec<Outcome>> {
    match ready {
        Ready::Others { changes, .. } => apply(tx, how, changes).await,
        Ready::Customers { upserts, .. } => {
            let mut dirty = Dirty::default();
            let outcomes = customers::apply_prepared(tx, how, upserts, &mut dirty).await?;
            if how.judge {
                dirty.write(tx, how.at).await?;
            }
            Ok(outcomes)
        }
    }
}

/// What has changed of whom, for the judging that follows.
#[derive(Default)]
pub(crate) struct Dirty {
    customers: HashMap<CustomerId, Vec<String>>,
}

impl Dirty {
    /// `what` is `a<number>` for an attribute, or `tag`, `group`, `consent`, `e<number>` for an
    /// event name, `t<number>` for a table, `s<number>` for a segment they came into or left, `new`
    /// for a new customer.
    pub(crate) fn mark(&mut self, customer: CustomerId, what: String) {
        let list = self.customers.entry(customer).or_default();
        if !list.contains(&what) {
            list.push(what);
        }
    }

    /// Somebody is not there any more.
    pub(crate) fn forget(&mut self, customer: CustomerId) {
        self.customers.remove(&customer);
    }

    pub(crate) async fn write(self, tx: &mut Tx, at: Timestamp) -> Result<()> {
        let mut rows: Vec<Vec<Param>> = self
            .customers
            .into_iter()
            .map(|(customer, changed)| {
                vec![
                    bucket_of(customer).into(),
                    customer.into(),
                    at.into(),
                    changed.join(" ").into(),
                ]
            })
            .collect();
        sort_rows(&mut rows);
        let columns = [
            column("bucket", ColumnType::SmallInt),
            column("customer_id", ColumnType::Uuid),
            column("seq", ColumnType::BigInt),
            column("changed", ColumnType::Text),
        ];
        // A second change before the first was judged adds to what the judge must look at; the
        // sequence moves, so that a judge at work does not delete what it has not seen.
        let clause = match tx.dialect() {
            crate::sql::Dialect::Sqlite => {
                "(customer_id) do update set changed = t.changed || ' ' || excluded.changed, \
                 seq = max(t.seq + 1, excluded.seq)"
            }
            crate::sql::Dialect::Postgres => {
                "(bucket, customer_id) do update set \
                 changed = t.changed || ' ' || excluded.changed, \
                 seq = greatest(t.seq + 1, excluded.seq)"
            }
        };
        insert_many(tx, "dirty_customers", &columns, &rows, OnConflict::Clause(clause), "").await?;
        Ok(())
    }
}

/// Rows are written in key order, so that two batches never wait for each other in a circle.
pub(crate) fn sort_rows(rows: &mut [Vec<Param>]) {
    rows.sort_unstable_by(|a, b| in_order(a, b));
}

/// Rows of `identities` in the order of their key, whose bucket is no part of it on SQLite.
pub(crate) fn sort_identities(tx: &Tx, rows: &mut [Vec<Param>]) {
    match tx.dialect() {
        crate::sql::Dialect::Sqlite => rows.sort_unstable_by(|a, b| in_order(&a[1..], &b[1..])),
        crate::sql::Dialect::Postgres => sort_rows(rows),
    }
}

fn in_order(a: &[Param], b: &[Param]) -> std::cmp::Ordering {
    for (left, right) in a.iter().zip(b) {
        let order = match (left, right) {
            (Param::Int(l), Param::Int(r)) => l.cmp(r),
            (Param::Uuid(l), Param::Uuid(r)) => l.cmp(r),
            (Param::Text(l), Param::Text(r)) => l.cmp(r),
            _ => std::cmp::Ordering::Equal,
        };
        if order.is_ne() {
            return order;
        }
    }
    std::cmp::Ordering::Equal
}

/// A customer that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub id: CustomerId,
    pub bucket: Bucket,
}

/// Finds customers by identity in one statement.
pub async fn find_identities<'i>(
    tx: &mut Tx,
    identities: impl IntoIterator<Item = &'i Identity>,
) -> Result<HashMap<Identity, CustomerId>> {
    let mut rows: Vec<Vec<Param>> = identities
        .into_iter()
        .map(|identity| {
            vec![
                identity_bucket(identity.kind, &identity.value).into(),
                identity.kind.number().into(),
                identity.value.as_str().into(),
            ]
        })
        .collect();
    sort_identities(tx, &mut rows);
    rows.dedup();
    let keys = [
        column("ibucket", ColumnType::SmallInt),
        column("kind", ColumnType::SmallInt),
        column("value", ColumnType::Text),
    ];
    let wanted = "t.kind, t.value, t.customer_id";
    let mut found = HashMap::with_capacity(rows.len());
    for row in select_many(tx, "identities", wanted, &keys, &rows, "").await? {
        let kind = row.int(0)?;
        let Some(kind) = identity_kind(kind) else { continue };
        let identity = Identity { kind, value: row.text(1)? };
        found.insert(identity, CustomerId(row.uuid(2)?));
    }
    Ok(found)
}

const IDENTITY_KINDS: [tidings_domain::change::IdentityKind; 4] = {
    use tidings_domain::change::IdentityKind::{AnonymousId, Email, ExternalId, Phone};
    [ExternalId, Email, Phone, AnonymousId]
};

/// The kind of identity that a number stands for.
pub(crate) fn identity_kind(number: i64) -> Option<tidings_domain::change::IdentityKind> {
    IDENTITY_KINDS.into_iter().find(|kind| i64::from(kind.number()) == number)
}

static BY_SYSTEM_ID: Sql =
    Sql::fan_out("customer_by_system_id", "select id from {s}customers where system_id = ?1");

/// Finds the customers that references name, in one pass; `None` where there is none.
pub async fn find_customers(
    tx: &mut Tx,
    wanted: &[&CustomerRef],
) -> Result<Vec<Option<CustomerId>>> {
    let identities: Vec<Identity> = wanted
        .iter()
        .filter_map(|reference| match reference {
            CustomerRef::Identity(identity) => Some(identity.clone()),
            _ => None,
        })
        .collect();
    let by_identity = find_identities(tx, &identities).await?;
    let mut ids: Vec<Option<CustomerId>> = Vec::with_capacity(wanted.len());
    for reference in wanted {
        ids.push(match reference {
            CustomerRef::Id(id) => Some(*id),
            CustomerRef::Identity(identity) => by_identity.get(identity).copied(),
            CustomerRef::SystemId(number) => {
                let row = tx.first(&BY_SYSTEM_ID, crate::params![*number]).await?;
                match row {
                    Some(row) => Some(CustomerId(row.uuid(0)?)),
                    None => crate::merges::resolve_system_id(tx, *number).await?,
                }
            }
        });
    }
    // An id counts only if its row is there: an identity may stand before its customer does.
    let mut there = existing(tx, ids.iter().flatten().copied()).await?;
    let gone: Vec<CustomerId> =
        ids.iter().flatten().copied().filter(|id| !there.contains(id)).collect();
    if !gone.is_empty() {
        let moved = crate::merges::resolve(tx, &gone).await?;
        for id in ids.iter_mut().flatten() {
            *id = moved.get(id).copied().unwrap_or(*id);
        }
        there.extend(existing(tx, moved.into_values()).await?);
    }
    Ok(ids.into_iter().map(|id| id.filter(|id| there.contains(id))).collect())
}

/// Which of these customers exist.
pub(crate) async fn existing(
    tx: &mut Tx,
    ids: impl Iterator<Item = CustomerId>,
) -> Result<std::collections::HashSet<CustomerId>> {
    let mut rows: Vec<Vec<Param>> = ids.map(customer_key).collect();
    sort_rows(&mut rows);
    rows.dedup();
    let found = select_many(tx, "customers", "t.id", &CUSTOMER_KEY, &rows, "").await?;
    found.iter().map(|row| row.uuid(0).map(CustomerId)).collect()
}

/// The key columns of `customers`.
pub(crate) const CUSTOMER_KEY: [crate::bulk::Column<'static>; 2] =
    [column("bucket", ColumnType::SmallInt), column("id", ColumnType::Uuid)];

/// The first key columns of every table that hangs on a customer.
pub(crate) const OWNER_KEY: [crate::bulk::Column<'static>; 2] =
    [column("bucket", ColumnType::SmallInt), column("customer_id", ColumnType::Uuid)];

pub(crate) fn customer_key(id: CustomerId) -> Vec<Param> {
    vec![bucket_of(id).into(), id.into()]
}

fn unknown_customer() -> Outcome {
    Outcome::Refused(Refusal::new(
        "unknown_customer",
        "customer",
        "no customer has this id; create the customer first",
    ))
}

pub(crate) static SQL: &[&Sql] = &[&BY_SYSTEM_ID];
/// The statements of this folder, one list a file.
pub(crate) static SQLS: &[&[&Sql]] =
    &[SQL, consents::SQL, customers::SQL, events::SQL, joins::SQL, marks::SQL];
