//! A workspace with a schema, and short ways to change and to look at it.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};
use tidings_domain::change::{
    Change, CustomerRef, FieldChange, Identity, IdentityKind, Outcome, RecordEvent, UpsertCustomer,
    UpsertRecord,
};
use tidings_domain::schema::Owner;
use tidings_domain::value::Kind;
use tidings_domain::{SegmentId, Timestamp};
use tidings_engine::{Ctx, changes, jobs, segments};
use tidings_testkit::hub::TestHub;
use tokio::sync::watch;

pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

pub fn named(name: &str) -> CustomerRef {
    CustomerRef::Identity(Identity { kind: IdentityKind::ExternalId, value: name.to_owned() })
}

/// Customers with a birthday, a time they were seen, a score; and a table of orders.
pub async fn schema(ctx: &Ctx) {
    let ws = &ctx.workspace;
    for (name, kind) in [("born", Kind::Date), ("seen", Kind::Timestamp), ("score", Kind::Integer)]
    {
        ws.add_attribute(name, kind, ctx.now()).await.expect("add an attribute");
    }
    let fields = vec![
        ("placed".to_owned(), Kind::Timestamp),
        ("day".to_owned(), Kind::Date),
        ("total".to_owned(), Kind::Decimal { scale: 2 }),
    ];
    ws.add_table("orders", Owner::Customer, fields, ctx.now()).await.expect("add a table");
}

pub async fn apply(ctx: &Ctx, list: Vec<Change>) {
    let outcomes = changes::apply(ctx, list).await.expect("apply changes");
    let refused = outcomes.iter().find(|one| matches!(one, Outcome::Refused(_)));
    assert!(refused.is_none(), "{refused:?}");
}

pub fn customer(name: &str, attributes: &[(&str, Json)]) -> Change {
    let set =
        |(name, value): &(&str, Json)| ((*name).to_owned(), FieldChange::SetJson(value.clone()));
    Change::UpsertCustomer(UpsertCustomer {
        external_id: Some(name.to_owned()),
        attributes: attributes.iter().map(set).collect(),
        ..UpsertCustomer::default()
    })
}

pub fn event(name: &str, what: &str, at: Timestamp) -> Change {
    Change::RecordEvent(RecordEvent {
        customer: named(name),
        name: what.to_owned(),
        at: Some(at),
        properties: json!({"total": 20}),
        id: None,
    })
}

pub fn order(name: &str, key: &str, placed: Timestamp) -> Change {
    let set = |json| FieldChange::SetJson(json);
    Change::UpsertRecord(UpsertRecord {
        table: "orders".to_owned(),
        key: key.to_owned(),
        customer: Some(named(name)),
        mode: tidings_domain::change::Mode::Upsert,
        fields: vec![
            ("placed".to_owned(), set(json!(placed))),
            ("day".to_owned(), set(json!(placed.date()))),
            ("total".to_owned(), set(json!("12.50"))),
        ],
    })
}

pub fn tag(name: &str, tag: &str, until: Option<Timestamp>) -> Change {
    Change::PutTag { customer: named(name), tag: tag.to_owned(), until }
}

/// Runs what is due, and what the clock wants, until nothing is left.
pub async fn settle(ctx: &Ctx) {
    let (_keep, stop) = watch::channel(false);
    for _ in 0..1_000 {
        jobs::plan(ctx).await.expect("plan jobs");
        let ran = jobs::run_next(ctx, &stop).await.expect("run a job");
        let given_up = ctx.workspace.failed_jobs().await.expect("list jobs given up");
        assert!(given_up.is_empty(), "jobs given up: {given_up:?}");
        if ran.is_none() {
            return;
        }
    }
    panic!("the work never ends");
}

pub async fn segment(ctx: &Ctx, name: &str, rule: Json) -> SegmentId {
    segments::create(ctx, name, &rule).await.unwrap_or_else(|error| panic!("{rule}: {error:?}"))
}

/// The external ids of those whom the segment lists.
pub async fn listed(ctx: &Ctx, id: SegmentId) -> BTreeSet<String> {
    let page = segments::customers(ctx, id, None, 1_000).await.expect("list members");
    page.items.into_iter().filter_map(|one| one.customer.external_id).collect()
}

/// The external ids of those whom a full evaluation of the rule finds now.
pub async fn found(ctx: &Ctx, id: SegmentId) -> BTreeSet<String> {
    let stored = segments::get(ctx, id).await.expect("the segment");
    let condition = segments::condition(ctx, &stored.rule, ctx.now()).await.expect("a condition");
    let page = ctx.workspace.customers(Some(condition), None, 1_000).await.expect("evaluate");
    page.items.into_iter().filter_map(|one| one.external_id).collect()
}

pub fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

/// Moves the clock and lets everything follow.
pub async fn travel(hub: &TestHub, ctx: &Ctx, ms: i64) {
    hub.clock.advance_ms(ms);
    settle(ctx).await;
}

/// The customer's events of a name, the oldest first, as their segment's name.
pub async fn told(ctx: &Ctx, name: &str, what: &str) -> Vec<String> {
    let id = tidings_engine::customers::find(ctx, named(name)).await.expect("the customer");
    let page = tidings_engine::customers::events(ctx, id, Some(what.to_owned()), None, 1_000);
    let mut items = page.await.expect("the timeline").items;
    items.reverse();
    let segment = |json: &Json| json["segment"].as_str().expect("a segment's name").to_owned();
    items.iter().map(|event| segment(&event.properties)).collect()
}
