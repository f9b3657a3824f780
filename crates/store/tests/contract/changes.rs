//! Changes: one outcome each, applied once, the same on every engine.

use serde_json::json;
use tidings_domain::Timestamp;
use tidings_domain::change::{
    Change, CustomerRef, FieldChange, Identity, IdentityKind, Mode, Outcome, RecordEvent,
    UpsertCustomer,
};
use tidings_domain::consent::{Channel, ConsentState, Proof};
use tidings_domain::value::Kind;
use tidings_store::{Error, Store};

use crate::home::TestStore;
use crate::on_every_engine;

on_every_engine!(
    upserts_by_each_identity,
    a_batch_is_applied_in_order,
    refusals_touch_nothing,
    emails_are_shared_but_customers_are_not_merged,
    an_identity_given_up_and_taken_in_one_batch,
    marks_and_events,
    a_column_that_another_node_dropped_is_not_missed,
);

const AT: Timestamp = Timestamp(1_700_000_000_000_000);

fn upsert(external_id: &str, email: &str) -> UpsertCustomer {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    UpsertCustomer { external_id: some(external_id), email: some(email), ..Default::default() }
}

fn names(outcomes: &[Outcome]) -> Vec<&'static str> {
    outcomes.iter().map(Outcome::name).collect()
}

async fn upserts_by_each_identity(test: TestStore) {
    let apply = |change| {
        let workspace = test.workspace.clone();
        async move {
            let outcomes = workspace.apply(vec![Change::UpsertCustomer(change)], AT).await.unwrap();
            outcomes.into_iter().next().unwrap()
        }
    };
    let Outcome::Created { customer, system_id } = apply(upsert("1", "ann@example.com")).await
    else {
        panic!("expected a new customer");
    };
    assert_eq!(system_id, Some(1));
    for again in [upsert("1", ""), upsert("", "Ann@Example.com"), upsert("1", "ann@example.com")] {
        let outcome = apply(again).await;
        assert_eq!(outcome, Outcome::Unchanged { customer, system_id });
    }
    let moved = apply(upsert("1", "ann@example.org")).await;
    assert_eq!(moved, Outcome::Updated { customer, system_id });
    // The old address names nobody now, so it names somebody new.
    assert!(matches!(apply(upsert("", "ann@example.com")).await, Outcome::Created { .. }));
}

async fn a_batch_is_applied_in_order(test: TestStore) {
    test.workspace.add_attribute("score", Kind::Integer, AT).await.unwrap();
    let add = |by: i64| {
        Change::UpsertCustomer(UpsertCustomer {
            attributes: vec![("score".into(), FieldChange::Increment(json!(by)))],
            ..upsert("7", "")
        })
    };
    let outcomes = test.workspace.apply(vec![add(1), add(2), add(0)], AT).await.unwrap();
    assert_eq!(names(&outcomes), ["created", "updated", "unchanged"]);
    let outcomes = test.workspace.apply(vec![add(4)], AT).await.unwrap();
    assert_eq!(names(&outcomes), ["updated"]);
    let reference =
        CustomerRef::Identity(Identity { kind: IdentityKind::ExternalId, value: "7".into() });
    let customer = test.workspace.customer(reference).await.unwrap().unwrap();
    assert_eq!(customer.attribute("score"), Some(json!(7)));
}

async fn refusals_touch_nothing(test: TestStore) {
    let changes = vec![
        Change::UpsertCustomer(upsert("1", "")),
        Change::UpsertCustomer(upsert("2", "nonsense")),
        Change::UpsertCustomer(UpsertCustomer { mode: Mode::Update, ..upsert("3", "") }),
        Change::UpsertCustomer(UpsertCustomer { mode: Mode::Create, ..upsert("1", "") }),
        Change::UpsertCustomer(UpsertCustomer {
            attributes: vec![("nope".into(), FieldChange::Clear)],
            ..upsert("4", "")
        }),
        Change::UpsertCustomer(upsert("5", "")),
    ];
    let outcomes = test.workspace.apply(changes, AT).await.unwrap();
    assert_eq!(
        names(&outcomes),
        ["created", "refused", "refused", "refused", "refused", "created"]
    );
    let page = test.workspace.customers(None, None, 10).await.unwrap();
    let ids: Vec<_> = page.items.iter().map(|one| one.external_id.clone().unwrap()).collect();
    assert_eq!(ids, ["1", "5"]);
}

async fn emails_are_shared_but_customers_are_not_merged(test: TestStore) {
    let changes = vec![
        Change::UpsertCustomer(upsert("1", "home@example.com")),
        Change::UpsertCustomer(upsert("2", "home@example.com")),
    ];
    let outcomes = test.workspace.apply(changes, AT).await.unwrap();
    assert_eq!(names(&outcomes), ["created", "created"]);
    let reference = CustomerRef::Identity(Identity {
        kind: IdentityKind::Email,
        value: "home@example.com".into(),
    });
    let first = test.workspace.customer(reference).await.unwrap().unwrap();
    assert_eq!(first.external_id.as_deref(), Some("1"));
}

async fn an_identity_given_up_and_taken_in_one_batch(test: TestStore) {
    let batch = |rows: &[(&str, &str)]| {
        let rows = rows.iter().map(|(id, email)| Change::UpsertCustomer(upsert(id, email)));
        test.workspace.apply(rows.collect(), AT)
    };
    let (x, y, z) = ("x@example.com", "y@example.com", "z@example.com");
    let named = async |email: &str| {
        let identity = Identity { kind: IdentityKind::Email, value: email.to_owned() };
        let found = test.workspace.customer(CustomerRef::Identity(identity)).await.unwrap();
        found.and_then(|customer| customer.external_id)
    };
    batch(&[("1", x), ("2", z)]).await.unwrap();
    // Away and back again: the row was never gone.
    assert_eq!(names(&batch(&[("1", y), ("1", x)]).await.unwrap()), ["updated", "updated"]);
    assert_eq!((named(x).await.as_deref(), named(y).await), (Some("1"), None));
    // One gives it up, another takes it and gives it up too, and the first takes it back.
    let rows = [("1", y), ("2", x), ("2", z), ("1", x)];
    assert_eq!(names(&batch(&rows).await.unwrap()), ["updated"; 4]);
    assert_eq!((named(x).await.as_deref(), named(z).await.as_deref()), (Some("1"), Some("2")));
    // One who only shares it gives it up without taking it from its owner.
    batch(&[("2", x), ("2", y), ("1", z)]).await.unwrap();
    assert_eq!((named(y).await.as_deref(), named(z).await.as_deref()), (Some("2"), Some("1")));
    assert_eq!(named(x).await, None);
}

async fn marks_and_events(test: TestStore) {
    let ann = CustomerRef::Identity(Identity { kind: IdentityKind::ExternalId, value: "1".into() });
    let nobody =
        CustomerRef::Identity(Identity { kind: IdentityKind::ExternalId, value: "99".into() });
    let id = tidings_domain::EventId::generate();
    let event = |customer: &CustomerRef| {
        Change::RecordEvent(RecordEvent {
            customer: customer.clone(),
            name: "order_placed".into(),
            at: Some(AT),
            properties: json!({"total": 20.0, "lines": ["a"]}),
            id: Some(id),
        })
    };
    let consent = |state| Change::ChangeConsent {
        customer: ann.clone(),
        channel: Channel::Email,
        topic: String::new(),
        state,
        source: "test".into(),
        proof: Proof::default(),
    };
    let tag = |until| Change::PutTag { customer: ann.clone(), tag: "vip".into(), until };
    let changes = vec![
        Change::UpsertCustomer(upsert("1", "ann@example.com")),
        event(&ann),
        event(&ann),
        event(&nobody),
        tag(None),
        tag(None),
        tag(Some(AT.plus_secs(60))),
        Change::PutGroupMember { customer: ann.clone(), group: "staff".into() },
        Change::PutGroupMember { customer: ann.clone(), group: "staff".into() },
        consent(ConsentState::Granted),
        consent(ConsentState::Granted),
        consent(ConsentState::Withdrawn),
    ];
    let outcomes = test.workspace.apply(changes, AT).await.unwrap();
    assert_eq!(
        names(&outcomes),
        [
            "created",
            "created",
            "unchanged",
            "refused",
            "updated",
            "unchanged",
            "updated",
            "updated",
            "unchanged",
            "updated",
            "unchanged",
            "updated",
        ]
    );
    let profile = test.workspace.profile(ann).await.unwrap().unwrap();
    assert_eq!(profile.tags.len(), 1);
    assert_eq!(profile.tags[0].until, Some(AT.plus_secs(60)));
    assert_eq!(profile.groups, ["staff"]);
    assert_eq!(profile.consents[0].state, ConsentState::Withdrawn);
    let events = test.workspace.events(profile.customer.id, None, None, 10).await.unwrap();
    assert_eq!(events.items.len(), 1);
    assert_eq!(events.items[0].properties, json!({"lines": ["a"], "total": 20}));
}

async fn a_column_that_another_node_dropped_is_not_missed(test: TestStore) {
    let store = Store::open(&test.home).await.unwrap();
    let beside = store.workspace(test.workspace.row.id).await.unwrap();
    let by_id = || {
        CustomerRef::Identity(Identity { kind: IdentityKind::ExternalId, value: "1".to_owned() })
    };
    beside.apply(vec![Change::UpsertCustomer(upsert("1", ""))], AT).await.unwrap();
    for name in ["one", "two", "three", "four", "five"] {
        test.workspace.add_attribute(name, Kind::Text, AT).await.unwrap();
        // The node beside knows the column, and does not hear that it goes.
        beside.fresh_schema().await.unwrap();
        test.workspace.drop_attribute(name).await.unwrap();
        match name {
            "one" => {
                let set = FieldChange::SetJson(json!("x"));
                let attributes = vec![(name.to_owned(), set)];
                let change = UpsertCustomer { attributes, ..upsert("1", "") };
                let outcomes = beside.apply(vec![Change::UpsertCustomer(change)], AT).await;
                let outcomes = outcomes.unwrap();
                let Outcome::Refused(refusal) = &outcomes[0] else { panic!("{outcomes:?}") };
                assert_eq!(refusal.path, "attributes.one");
            }
            "two" => assert!(beside.customer(by_id()).await.unwrap().is_some()),
            "three" => {
                assert_eq!(beside.customers(None, None, 5).await.unwrap().items.len(), 1);
            }
            "four" => {
                let found = beside.search_customers("1", None, 5).await.unwrap();
                assert_eq!(found.items.len(), 1);
            }
            _ => {
                let change = upsert("1", "ann@example.com");
                let outcomes = beside.apply(vec![Change::UpsertCustomer(change)], AT).await;
                assert!(matches!(outcomes.unwrap()[0], Outcome::Updated { .. }));
            }
        }
    }
    // A rule that was made before cannot be made again here: the caller is told to try again.
    let number = test.workspace.add_attribute("six", Kind::Text, AT).await.unwrap().number;
    test.workspace.drop_attribute("six").await.unwrap();
    let rule = (format!("c.\"six_{number}\" = 'x'"), Vec::new());
    let counted = beside.count_customers(rule).await;
    assert!(matches!(counted, Err(Error::SchemaMoved(_))), "{counted:?}");
}
