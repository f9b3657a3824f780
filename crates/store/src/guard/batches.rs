//! The statements that batches make as they go: driven with rows of many buckets in a partitioned
//! workspace, each of them must touch one partition. What they read is shown by their plans, what
//! they write is counted by triggers that only this test has.

use serde_json::json;
use tidings_domain::change::{
    Change, CustomerRef, FieldChange, Identity, IdentityKind, Outcome, RecordEvent, UpsertCustomer,
    UpsertRecord,
};
use tidings_domain::consent::{Channel, ConsentState, Proof};
use tidings_domain::schema::Owner;
use tidings_domain::value::Kind;
use tidings_domain::{CustomerId, EventId, Timestamp, bucket_of};

use super::Guarded;
use super::plan::explain;
use crate::bulk::{ColumnType, OnConflict, column, delete_many, insert_many, select_many};
use crate::changes::{OWNER_KEY, customer_key};
use crate::engines::Priority;
use crate::sql::{Class, Dialect, Param, spell};
use crate::statements;

const AT: Timestamp = Timestamp(1_700_000_000_000_000);
const CUSTOMERS: usize = 40;

impl Guarded {
    /// Makes every hot table refuse a statement that writes rows of two buckets.
    async fn refuse_mixed_writes(&self) {
        self.client
            .batch_execute(
                "create function one_bucket() returns trigger language plpgsql as $$
                 declare buckets int;
                 begin
                   execute format('select count(distinct %I) from touched', tg_argv[0])
                     into buckets;
                   if buckets > 1 then
                     raise exception 'one statement wrote % buckets', buckets;
                   end if;
                   return null;
                 end $$",
            )
            .await
            .unwrap();
        for table in self.hot().await.tables() {
            let key = match table.as_str() {
                "identities" | "suppressions" | "idempotency" | "suppressed_hashes"
                | "sign_ups" | "tombstones" => "ibucket",
                _ => "bucket",
            };
            for (event, rows) in [("insert", "new"), ("update", "new"), ("delete", "old")] {
                let text = format!(
                    "create trigger one_bucket_{event} after {event} on \"{}\".\"{table}\"
                     referencing {rows} table as touched for each statement
                     execute function one_bucket('{key}')",
                    self.prefix
                );
                self.client.batch_execute(&text).await.unwrap();
            }
        }
    }

    /// The statements that the store's one connection has prepared so far.
    async fn prepared(&self) -> Vec<String> {
        let rows = self
            .workspace
            .read(|tx| {
                Box::pin(async move {
                    let text = "select statement from pg_prepared_statements where not from_sql";
                    tx.query_text(text, &[]).await
                })
            })
            .await
            .unwrap();
        rows.iter().map(|row| row.text(0).unwrap()).collect()
    }
}

fn named(number: usize) -> CustomerRef {
    let value = format!("c{number}");
    CustomerRef::Identity(Identity { kind: IdentityKind::ExternalId, value })
}

/// Changes of every kind for many customers, and what follows from each.
fn changes(round: usize) -> Vec<Change> {
    let mut all = Vec::new();
    let text = |value: &str| FieldChange::SetJson(json!(value));
    for number in 0..CUSTOMERS {
        all.push(Change::UpsertCustomer(UpsertCustomer {
            external_id: Some(format!("c{number}")),
            email: Some(format!("c{number}.{round}@example.com")),
            attributes: vec![
                ("city".into(), text(&format!("city {round}"))),
                ("score".into(), FieldChange::Increment(json!(number))),
                ("likes".into(), FieldChange::SetJson(json!(["a", format!("b{round}")]))),
            ],
            ..Default::default()
        }));
    }
    for number in 0..CUSTOMERS {
        all.push(Change::UpsertRecord(UpsertRecord {
            table: "orders".into(),
            key: format!("o{number}"),
            customer: Some(named(number)),
            fields: vec![("status".into(), text(&format!("s{round}")))],
            mode: Default::default(),
        }));
    }
    for number in 0..CUSTOMERS {
        all.push(Change::RecordEvent(RecordEvent {
            customer: named(number),
            name: "seen".into(),
            at: Some(AT.plus_secs(round as i64)),
            properties: json!({"round": round}),
            id: Some(EventId::generate()),
        }));
    }
    for number in 0..CUSTOMERS {
        let customer = named(number);
        let state = [ConsentState::Granted, ConsentState::Withdrawn][round % 2];
        all.push(Change::PutTag { customer: customer.clone(), tag: "vip".into(), until: None });
        all.push(Change::PutGroupMember { customer: customer.clone(), group: "staff".into() });
        all.push(Change::ChangeConsent {
            customer: customer.clone(),
            channel: Channel::Email,
            topic: String::new(),
            state,
            source: "test".into(),
            proof: Proof::default(),
        });
        all.push(Change::RemoveTag { customer: customer.clone(), tag: "vip".into() });
        all.push(Change::RemoveGroupMember { customer, group: "staff".into() });
    }
    all
}

#[tokio::test]
async fn batches_of_many_buckets_make_statements_of_one() {
    let guarded = Guarded::new().await;
    let workspace = &guarded.workspace;
    workspace.add_attribute("city", Kind::Text, AT).await.unwrap();
    workspace.add_attribute("score", Kind::Integer, AT).await.unwrap();
    workspace.add_attribute("likes", Kind::List, AT).await.unwrap();
    let fields = vec![("status".to_owned(), Kind::Text)];
    workspace.add_table("orders", Owner::Customer, fields, AT).await.unwrap();
    guarded.refuse_mixed_writes().await;

    for round in 0..2 {
        let outcomes = workspace.apply(changes(round), AT).await.unwrap();
        assert!(!outcomes.iter().any(|one| matches!(one, Outcome::Refused(_))), "{outcomes:?}");
    }
    let page = workspace.customers(None, None, CUSTOMERS).await.unwrap();
    let ids: Vec<CustomerId> = page.items.iter().map(|one| one.id).collect();
    assert_eq!(ids.len(), CUSTOMERS);
    let buckets: std::collections::BTreeSet<u16> = ids.iter().map(|id| bucket_of(*id)).collect();
    assert!(buckets.len() > 20, "the rows must lie in many buckets for this to prove anything");
    for id in &ids {
        workspace.profile(CustomerRef::Id(*id)).await.unwrap();
        workspace.events(*id, None, None, 5).await.unwrap();
        workspace.records(*id, "orders", None, 5).await.unwrap();
    }
    drive_helpers(&guarded, ids).await;
    check_prepared(&guarded).await;
}

/// The helpers that no change uses yet, or not in this way.
async fn drive_helpers(guarded: &Guarded, ids: Vec<CustomerId>) {
    let mut keys: Vec<Vec<Param>> = ids.into_iter().map(customer_key).collect();
    crate::changes::sort_rows(&mut keys);
    guarded
        .workspace
        .write(Priority::Bulk, move |tx| {
            Box::pin(async move {
                let [bucket, customer] = OWNER_KEY;
                let columns = [
                    bucket,
                    customer,
                    column("seq", ColumnType::BigInt),
                    column("changed", ColumnType::Text),
                ];
                delete_many(tx, "dirty_customers", &OWNER_KEY, &keys).await?;
                let rows: Vec<Vec<Param>> = keys
                    .iter()
                    .map(|key| [key.clone(), vec![1_i64.into(), "tag".into()]].concat())
                    .collect();
                let conflict = OnConflict::Keep;
                let written =
                    insert_many(tx, "dirty_customers", &columns, &rows, conflict, "seq").await?;
                assert_eq!(written.len(), CUSTOMERS);
                let condition = "t.seq > 0";
                let found =
                    select_many(tx, "dirty_customers", "t.seq", &OWNER_KEY, &keys, condition)
                        .await?;
                assert_eq!(found.len(), CUSTOMERS);
                let set = [column("changed", ColumnType::Text)];
                let rows: Vec<Vec<Param>> =
                    keys.iter().map(|key| [key.clone(), vec!["new".into()]].concat()).collect();
                let moved = crate::bulk::update_many(
                    tx,
                    "dirty_customers",
                    &OWNER_KEY,
                    &set,
                    &rows,
                    condition,
                    "seq",
                )
                .await?;
                assert_eq!(moved.len(), CUSTOMERS);
                delete_many(tx, "dirty_customers", &OWNER_KEY, &keys).await
            })
        })
        .await
        .unwrap();
}

async fn check_prepared(guarded: &Guarded) {
    let hot = guarded.hot().await;
    let prefix = format!("\"{}\".", guarded.prefix);
    let spread: Vec<String> = statements::workspace()
        .iter()
        .filter(|sql| sql.class == Class::FanOut)
        .map(|sql| spell(sql.text, Dialect::Postgres, &prefix))
        .collect();
    let listing = "customers c where (true) and c.system_id >";
    let mut faults = Vec::new();
    let mut checked = 0;
    let prepared = guarded.prepared().await;
    // A text a bucket would push everything else out of what a connection keeps prepared.
    assert!(prepared.len() < 150, "{} texts:\n{}", prepared.len(), prepared.join("\n"));
    for text in &prepared {
        // A page of customers runs over all buckets on purpose; a change of the schema has no plan.
        let is_planned = !text.starts_with("alter ");
        if !is_planned || !text.contains(&prefix) || spread.contains(text) || text.contains(listing)
        {
            continue;
        }
        checked += 1;
        match explain(&guarded.client, text).await {
            Ok(plan) if hot.partitions(&plan) > 1 => {
                faults.push(format!("{} partitions: {text}", hot.partitions(&plan)));
            }
            // A plan cannot show the bucket of rows that come from arrays; the triggers saw it.
            Ok(plan) if hot.unproven_inserts(&plan).is_empty() || text.contains("unnest(") => {}
            Ok(_) => faults.push(format!("no constant for the bucket: {text}")),
            Err(error) => faults.push(format!("{error}: {text}")),
        }
    }
    assert!(checked > 30, "only {checked} statements were prepared");
    faults.append(&mut check_generic(guarded, &prepared).await);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// PostgreSQL may come to keep one plan for all buckets. Statements over arrays must then leave out
/// the other partitions when they begin to run, as `explain` of such a plan shows.
async fn check_generic(guarded: &Guarded, prepared: &[String]) -> Vec<String> {
    let hot = guarded.hot().await;
    guarded.client.batch_execute("set plan_cache_mode = force_generic_plan").await.unwrap();
    let mut faults = Vec::new();
    let mut checked = 0;
    for text in prepared.iter().filter(|text| text.contains("unnest(")) {
        let plan = explain(&guarded.client, text).await.unwrap();
        let partitions = hot.partitions(&plan);
        checked += usize::from(partitions == 1);
        if partitions > 1 {
            faults.push(format!("{partitions} partitions by a kept plan: {text}"));
        }
    }
    guarded.client.batch_execute("set plan_cache_mode = force_custom_plan").await.unwrap();
    assert!(checked > 10, "only {checked} statements read over arrays");
    faults
}

#[tokio::test]
async fn a_write_to_two_buckets_is_caught() {
    let guarded = Guarded::new().await;
    guarded.refuse_mixed_writes().await;
    let insert = |second: i32| {
        format!(
            "insert into \"{}\".dirty_customers (bucket, customer_id, seq, changed) values
             (1, '00000000-0000-7000-8000-000000000001', 1, 'tag'),
             ({second}, '00000000-0000-7000-8000-000000000401', 1, 'tag')",
            guarded.prefix
        )
    };
    let refused = guarded.client.batch_execute(&insert(2)).await.unwrap_err();
    let message = refused.as_db_error().unwrap().message();
    assert_eq!(message, "one statement wrote 2 buckets");
    guarded.client.batch_execute(&insert(1)).await.unwrap();
    for text in ["update dirty_customers set seq = 2", "delete from dirty_customers"] {
        guarded.client.batch_execute(&insert(1).replace("000001'", "00000a'")).await.ok();
        let text = text.replace("dirty", &format!("\"{}\".dirty", guarded.prefix));
        guarded.client.batch_execute(&text).await.unwrap();
    }
}
