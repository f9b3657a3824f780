//! Merging customers, undoing it, and anonymous visitors who become known.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use tidings_domain::change::{
    Change, CustomerRef, FieldChange, Identity, IdentityKind, Outcome, RecordEvent, UpsertCustomer,
    UpsertRecord,
};
use tidings_domain::consent::{Channel, ConsentState, Proof, Via};
use tidings_domain::schema::Owner;
use tidings_domain::value::Kind;
use tidings_domain::{CustomerId, EventId, Timestamp};
use tidings_store::Error;

use crate::home::TestStore;
use crate::on_every_engine;

on_every_engine!(
    a_merge_moves_everything_and_undoing_puts_it_back,
    old_names_find_the_kept_one_who_is_not_called_by_them,
    what_came_after_a_merge_stays_and_a_no_stays_with_both,
    merges_are_refused_and_undone_once_and_in_turn,
    erasing_reaches_whoever_was_merged,
    visitors_become_known,
);

const AT: Timestamp = Timestamp(1_700_000_000_000_000);
const LATER: Timestamp = Timestamp(1_700_000_100_000_000);

fn by(kind: IdentityKind, value: &str) -> CustomerRef {
    CustomerRef::Identity(Identity { kind, value: value.to_owned() })
}

fn number(value: &str) -> CustomerRef {
    by(IdentityKind::ExternalId, value)
}

fn upsert(external_id: &str, email: &str, attributes: &[(&str, Json)]) -> UpsertCustomer {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let set =
        |(name, value): &(&str, Json)| ((*name).to_owned(), FieldChange::SetJson(value.clone()));
    UpsertCustomer {
        external_id: some(external_id),
        email: some(email),
        attributes: attributes.iter().map(set).collect(),
        ..Default::default()
    }
}

fn event(customer: &CustomerRef, name: &str, at: Timestamp) -> Change {
    Change::RecordEvent(RecordEvent {
        customer: customer.clone(),
        name: name.to_owned(),
        at: Some(at),
        properties: json!({"of": name}),
        id: None,
    })
}

fn consent(customer: &CustomerRef, topic: &str, state: ConsentState) -> Change {
    Change::ChangeConsent {
        customer: customer.clone(),
        channel: Channel::Email,
        topic: topic.to_owned(),
        state,
        source: "test".to_owned(),
        proof: Proof::by(Via::Form),
    }
}

fn order(customer: &CustomerRef, key: &str, total: i64) -> Change {
    Change::UpsertRecord(UpsertRecord {
        table: "orders".to_owned(),
        key: key.to_owned(),
        customer: Some(customer.clone()),
        mode: Default::default(),
        fields: vec![("total".to_owned(), FieldChange::SetJson(json!(total)))],
    })
}

fn tag(customer: &CustomerRef, tag: &str, until: Option<Timestamp>) -> Change {
    Change::PutTag { customer: customer.clone(), tag: tag.to_owned(), until }
}

fn merge(customer: &CustomerRef, other: &CustomerRef) -> Change {
    Change::MergeCustomers { customer: customer.clone(), other: other.clone() }
}

async fn apply(test: &TestStore, changes: Vec<Change>, at: Timestamp) -> Vec<Outcome> {
    let outcomes = test.workspace.apply(changes, at).await.unwrap();
    for outcome in &outcomes {
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    }
    outcomes
}

async fn refused(test: &TestStore, change: Change) -> String {
    match test.workspace.apply(vec![change], LATER).await.unwrap().pop() {
        Some(Outcome::Refused(refusal)) => format!("{} {}", refusal.code, refusal.path),
        other => panic!("{other:?}"),
    }
}

async fn id(test: &TestStore, who: &CustomerRef) -> CustomerId {
    test.workspace.customer(who.clone()).await.unwrap().unwrap().id
}

/// Everything of a customer but when they were changed and what is judged anew.
async fn all_of(test: &TestStore, who: CustomerId) -> BTreeMap<String, Vec<Json>> {
    let mut rows = test.workspace.personal_rows(who).await.unwrap();
    for table in ["dirty_customers", "segment_members", "merges", "merge_rows"] {
        rows.remove(table);
    }
    for list in rows.values_mut() {
        list.sort_by_key(Json::to_string);
    }
    let customer = test.workspace.customer(CustomerRef::Id(who)).await.unwrap().unwrap();
    let own = json!([
        customer.system_id,
        customer.external_id,
        customer.email,
        customer.phone,
        customer.attributes(),
        customer.created_at
    ]);
    rows.insert("customer".to_owned(), vec![own]);
    let names = test.workspace.names_of(who).await.unwrap();
    let names = names.into_iter().map(|name| json!([name.kind.name(), name.value])).collect();
    rows.insert("names".to_owned(), names);
    rows
}

/// Ann and Anna, who are one.
async fn two(test: &TestStore) -> (CustomerRef, CustomerRef) {
    let workspace = &test.workspace;
    for (name, kind) in [
        ("first_name", Kind::Text),
        ("score", Kind::Integer),
        ("colours", Kind::List),
        ("vip", Kind::Boolean),
    ] {
        workspace.add_attribute(name, kind, AT).await.unwrap();
    }
    let fields = vec![("total".to_owned(), Kind::Integer)];
    workspace.add_table("orders", Owner::Customer, fields, AT).await.unwrap();
    let (ann, anna) = (number("1"), number("2"));
    let changes = vec![
        Change::UpsertCustomer(upsert("1", "ann@example.com", &[("first_name", json!("Ann"))])),
        Change::UpsertCustomer(UpsertCustomer {
            phone: Some("+31612345678".to_owned()),
            ..upsert(
                "2",
                "anna@example.com",
                &[
                    ("first_name", json!("Anna")),
                    ("score", json!(7)),
                    ("colours", json!(["red"])),
                    ("vip", json!(true)),
                ],
            )
        }),
        event(&ann, "seen", AT),
        event(&anna, "seen", AT.plus_secs(-10)),
        order(&ann, "o1", 1),
        order(&anna, "o1", 10),
        order(&anna, "o2", 20),
        tag(&ann, "gold", None),
        tag(&anna, "gold", Some(LATER)),
        tag(&anna, "new", None),
        Change::PutGroupMember { customer: anna.clone(), group: "staff".to_owned() },
        consent(&ann, "", ConsentState::Granted),
        consent(&anna, "", ConsentState::Withdrawn),
    ];
    apply(test, changes, AT).await;
    (ann, anna)
}

async fn a_merge_moves_everything_and_undoing_puts_it_back(test: TestStore) {
    let (ann, anna) = two(&test).await;
    let (kept, lost) = (id(&test, &ann).await, id(&test, &anna).await);
    let before = (all_of(&test, kept).await, all_of(&test, lost).await);
    let customers = test.workspace.figures(AT, AT).await.unwrap().customers;

    let outcomes = apply(&test, vec![merge(&ann, &anna)], LATER).await;
    assert!(matches!(&outcomes[0], Outcome::Updated { customer: Some(id), .. } if *id == kept));

    let profile = test.workspace.profile(CustomerRef::Id(kept)).await.unwrap().unwrap();
    let attributes = Json::Object(profile.customer.attributes());
    let filled = json!({"first_name": "Ann", "score": 7, "colours": ["red"], "vip": true});
    assert_eq!(attributes, filled, "gaps are filled, and nothing else");
    assert_eq!(profile.customer.email.as_deref(), Some("ann@example.com"));
    assert_eq!(profile.customer.phone.as_deref(), Some("+31612345678"));
    let tags: Vec<_> = profile.tags.iter().map(|tag| (tag.tag.as_str(), tag.until)).collect();
    assert_eq!(tags, [("gold", None), ("new", None)]);
    assert_eq!(profile.groups, ["staff"]);
    assert_eq!(profile.consents[0].state, ConsentState::Withdrawn, "the stricter wins");
    let events = test.workspace.events(kept, None, None, 10).await.unwrap().items;
    assert_eq!(events.len(), 2);
    let orders = test.workspace.records(kept, "orders", None, 10).await.unwrap().unwrap().items;
    let orders: Vec<_> =
        orders.iter().map(|one| (one.key.as_str(), &one.fields["total"])).collect();
    assert_eq!(orders, [("o1", &json!(1)), ("o2", &json!(20))]);
    assert_eq!(test.workspace.figures(AT, AT).await.unwrap().customers, customers - 1);
    // Again, it is done.
    let again = apply(&test, vec![merge(&ann, &anna)], LATER).await;
    assert!(matches!(&again[0], Outcome::Unchanged { customer: Some(id), .. } if *id == kept));

    let merges = test.workspace.merges(kept, None, 10).await.unwrap().items;
    assert_eq!((merges.len(), merges[0].lost, merges[0].at), (1, lost, LATER));
    let back = test.workspace.undo_merge(kept, merges[0].id, LATER.plus_secs(60)).await.unwrap();
    assert_eq!(back, lost);

    let (mut ours, theirs) = (all_of(&test, kept).await, all_of(&test, lost).await);
    assert_eq!(theirs, before.1);
    // A *no* stays, and the history says why.
    for table in ["consents", "consent_history"] {
        let was = before.0[table].clone();
        assert_ne!(ours.insert(table.to_owned(), was), None);
    }
    assert_eq!(ours, before.0);
    let profile = test.workspace.profile(CustomerRef::Id(kept)).await.unwrap().unwrap();
    assert_eq!(profile.consents[0].state, ConsentState::Withdrawn);
    let text = test.workspace.all_rows().await.unwrap();
    assert!(!text.lines().any(|line| line.starts_with("merge") && line.contains("anna@")));
}

async fn old_names_find_the_kept_one_who_is_not_called_by_them(test: TestStore) {
    let (ann, anna) = two(&test).await;
    let (kept, lost) = (id(&test, &ann).await, id(&test, &anna).await);
    let lost_number = test.workspace.customer(anna.clone()).await.unwrap().unwrap().system_id;
    apply(&test, vec![merge(&ann, &anna)], LATER).await;
    for name in [
        CustomerRef::Id(lost),
        CustomerRef::SystemId(lost_number),
        anna.clone(),
        by(IdentityKind::Email, "anna@example.com"),
        by(IdentityKind::Email, "ann@example.com"),
    ] {
        assert_eq!(id(&test, &name).await, kept, "{name:?}");
    }
    // Changes by an old name change the kept one, and do not rename them.
    let changes = vec![
        Change::UpsertCustomer(upsert("2", "", &[("score", json!(8))])),
        Change::UpsertCustomer(upsert("", "anna@example.com", &[("vip", json!(false))])),
        Change::UpsertCustomer(UpsertCustomer {
            id: Some(lost),
            ..upsert("", "", &[("first_name", json!("Anne"))])
        }),
        event(&CustomerRef::Id(lost), "clicked", LATER),
    ];
    for outcome in apply(&test, changes, LATER).await {
        assert_eq!(outcome.customer(), Some(kept), "{outcome:?}");
    }
    let customer = test.workspace.customer(ann).await.unwrap().unwrap();
    let expected = json!({"first_name": "Anne", "score": 8, "colours": ["red"], "vip": false});
    assert_eq!(Json::Object(customer.attributes()), expected);
    assert_eq!(customer.external_id.as_deref(), Some("1"));
    assert_eq!(customer.email.as_deref(), Some("ann@example.com"));
    for text in ["anna@", "ann@", "+316", "anne"] {
        let found = test.workspace.search_customers(text, None, 10).await.unwrap().items;
        assert_eq!(found.iter().map(|one| one.id).collect::<Vec<_>>(), [kept], "{text}");
    }
}

async fn what_came_after_a_merge_stays_and_a_no_stays_with_both(test: TestStore) {
    let (ann, anna) = two(&test).await;
    let (kept, lost) = (id(&test, &ann).await, id(&test, &anna).await);
    apply(&test, vec![merge(&ann, &anna)], LATER).await;
    let after = LATER.plus_secs(10);
    let mut changes = vec![
        event(&anna, "later", after),
        Change::UpsertCustomer(upsert("2", "", &[("score", json!(9))])),
        Change::RemoveTag { customer: ann.clone(), tag: "new".to_owned() },
        tag(&ann, "late", None),
        // The number that filled a gap is given up; it is the lost one's all the same.
        Change::UpsertCustomer(UpsertCustomer {
            phone: Some("+31687654321".to_owned()),
            ..upsert("1", "", &[])
        }),
    ];
    changes.push(consent(&ann, "", ConsentState::Granted));
    changes.push(consent(&ann, "", ConsentState::Withdrawn));
    apply(&test, changes, after).await;
    let merges = test.workspace.merges(kept, None, 10).await.unwrap().items;
    test.workspace.undo_merge(kept, merges[0].id, after.plus_secs(10)).await.unwrap();
    let ours = test.workspace.profile(CustomerRef::Id(kept)).await.unwrap().unwrap();
    let theirs = test.workspace.profile(CustomerRef::Id(lost)).await.unwrap().unwrap();
    let tags = |profile: &tidings_store::customers::Profile| {
        profile.tags.iter().map(|tag| tag.tag.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (tags(&ours), tags(&theirs)),
        (vec!["gold".to_owned(), "late".to_owned()], vec!["gold".to_owned(), "new".to_owned()],)
    );
    assert_eq!(ours.customer.attribute("score"), Some(json!(9)), "changed since, so kept");
    assert_eq!(theirs.customer.attribute("score"), Some(json!(7)));
    assert_eq!(ours.customer.attribute("vip"), None);
    assert_eq!(ours.customer.phone.as_deref(), Some("+31687654321"));
    assert_eq!(id(&test, &by(IdentityKind::Phone, "+31612345678")).await, lost);
    for profile in [&ours, &theirs] {
        assert_eq!(profile.consents[0].state, ConsentState::Withdrawn);
    }
    let names = |events: Vec<tidings_store::customers::Event>| {
        events.into_iter().map(|event| event.name).collect::<Vec<_>>()
    };
    let events = test.workspace.events(kept, None, None, 10).await.unwrap().items;
    assert_eq!(names(events), ["later", "seen"]);
    let events = test.workspace.events(lost, None, None, 10).await.unwrap().items;
    assert_eq!(names(events), ["seen"]);
}

async fn merges_are_refused_and_undone_once_and_in_turn(test: TestStore) {
    let (ann, anna) = two(&test).await;
    let workspace = &test.workspace;
    apply(&test, vec![Change::UpsertCustomer(upsert("3", "", &[]))], AT).await;
    let third = number("3");
    assert_eq!(refused(&test, merge(&number("9"), &ann)).await, "unknown_customer customer");
    assert_eq!(refused(&test, merge(&ann, &number("9"))).await, "unknown_customer other");
    let (a, b) = (id(&test, &ann).await, id(&test, &anna).await);
    let c = id(&test, &third).await;
    // Anna into Ann, and Ann into the third.
    apply(&test, vec![merge(&ann, &anna), merge(&third, &ann)], LATER).await;
    for lost in [a, b] {
        assert_eq!(id(&test, &CustomerRef::Id(lost)).await, c);
    }
    let first = workspace.merges(a, None, 10).await.unwrap().items[0].id;
    let second = workspace.merges(c, None, 10).await.unwrap().items[0].id;
    let conflict = |done: Result<CustomerId, Error>| match done {
        Err(Error::Conflict(text)) => text,
        other => panic!("{other:?}"),
    };
    let soon = LATER.plus_secs(1);
    assert!(conflict(workspace.undo_merge(a, first, soon).await).contains("merged into another"));
    assert!(matches!(workspace.undo_merge(a, second, soon).await, Err(Error::NotFound(_))));
    let late = LATER.plus_secs(31 * 24 * 3_600);
    assert!(conflict(workspace.undo_merge(c, second, late).await).contains("is over"));
    assert_eq!(workspace.undo_merge(c, second, soon).await.unwrap(), a);
    assert!(conflict(workspace.undo_merge(c, second, soon).await).contains("undone before"));
    assert_eq!(id(&test, &CustomerRef::Id(b)).await, a);
    assert_eq!(workspace.undo_merge(a, first, soon).await.unwrap(), b);
    assert_eq!(id(&test, &anna).await, b);
    // When the time is over, what undoing would need is let go of.
    apply(&test, vec![merge(&ann, &anna)], soon).await;
    let rows = |text: String| text.lines().filter(|line| line.starts_with("merge_rows")).count();
    assert!(rows(workspace.all_rows().await.unwrap()) > 5);
    assert!(!workspace.expire_merges(soon).await.unwrap());
    assert!(rows(workspace.all_rows().await.unwrap()) > 5);
    workspace.expire_merges(late).await.unwrap();
    assert_eq!(rows(workspace.all_rows().await.unwrap()), 0);
    assert_eq!(id(&test, &CustomerRef::Id(b)).await, a, "old ids lead on");
}

async fn erasing_reaches_whoever_was_merged(test: TestStore) {
    let (ann, anna) = two(&test).await;
    apply(&test, vec![merge(&ann, &anna)], LATER).await;
    let lost_too = test.workspace.all_rows().await.unwrap();
    assert!(lost_too.contains("anna@example.com"));
    let kept = id(&test, &ann).await;
    let lost = test.workspace.merges(kept, None, 1).await.unwrap().items[0].lost;
    test.workspace.erase(kept, LATER).await.unwrap();
    let left = test.workspace.all_rows().await.unwrap();
    for text in ["ann@", "anna@", "Anna", "+31612345678"] {
        assert!(!left.contains(text), "{text}");
    }
    // In the list of who was erased, for an archive from before.
    assert_eq!(left.matches(&lost.to_string()).count(), 1);
    assert_eq!(test.workspace.customer(CustomerRef::Id(lost)).await.unwrap().map(|c| c.id), None);
    assert_eq!(
        refused(&test, Change::UpsertCustomer(upsert("2", "", &[]))).await,
        "erased external_id"
    );
}

fn alias(anonymous_id: &str, customer: UpsertCustomer) -> Change {
    let value = anonymous_id.to_owned();
    let anonymous_id = Identity { kind: IdentityKind::AnonymousId, value };
    Change::Alias { anonymous_id, customer }
}

fn visitor(value: &str) -> CustomerRef {
    by(IdentityKind::AnonymousId, value)
}

async fn visitors_become_known(test: TestStore) {
    test.workspace.add_attribute("score", Kind::Integer, AT).await.unwrap();
    let anonymous = |value: &str, score: i64| {
        Change::UpsertCustomer(UpsertCustomer {
            anonymous_id: Some(value.to_owned()),
            ..upsert("", "", &[("score", json!(score))])
        })
    };
    let seen = EventId::generate();
    let with_id = Change::RecordEvent(RecordEvent {
        customer: visitor("d1"),
        name: "page_seen".to_owned(),
        at: Some(AT),
        properties: Json::Null,
        id: Some(seen),
    });
    let changes = vec![
        with_id.clone(),
        with_id,
        event(&visitor("d1"), "page_seen", LATER),
        anonymous("d2", 5),
        Change::UpsertCustomer(upsert("1", "ann@example.com", &[])),
        Change::UpsertCustomer(upsert("2", "bob@example.com", &[])),
    ];
    apply(&test, changes, AT).await;
    let (ann, d1) = (id(&test, &number("1")).await, id(&test, &visitor("d1")).await);
    assert_ne!(ann, d1);
    assert_eq!(test.workspace.events(d1, None, None, 10).await.unwrap().items.len(), 2);
    for (change, expected, who) in [
        // A visitor who is known by nothing else joins somebody who is.
        (alias("d1", upsert("1", "", &[])), "updated", number("1")),
        (alias("d1", upsert("1", "", &[])), "unchanged", number("1")),
        // An id that nobody has seen is theirs too.
        (
            alias("d3", upsert("", "ann@example.com", &[("score", json!(1))])),
            "updated",
            number("1"),
        ),
        // A visitor whom nobody knew becomes known, with what they had.
        (alias("d2", upsert("", "cem@example.com", &[])), "updated", visitor("d2")),
        // Neither was there.
        (alias("d4", upsert("4", "", &[])), "created", number("4")),
        // By the upsert's own field as well.
        (
            Change::UpsertCustomer(UpsertCustomer {
                anonymous_id: Some("d5".to_owned()),
                ..upsert("2", "", &[])
            }),
            "updated",
            visitor("d5"),
        ),
    ] {
        let outcomes = apply(&test, vec![change.clone()], LATER).await;
        assert_eq!(outcomes[0].name(), expected, "{change:?}");
        assert_eq!(outcomes[0].customer(), Some(id(&test, &who).await), "{change:?}");
    }
    assert_eq!(id(&test, &CustomerRef::Id(d1)).await, ann);
    assert_eq!(test.workspace.events(ann, None, None, 10).await.unwrap().items.len(), 2);
    assert!(test.workspace.merges(ann, None, 10).await.unwrap().items.is_empty(), "no undo");
    let cem = test.workspace.customer(by(IdentityKind::Email, "cem@example.com")).await.unwrap();
    assert_eq!(cem.unwrap().attribute("score"), Some(json!(5)));
    for (change, expected) in [
        (alias("d1", upsert("2", "", &[])), "alias_taken anonymous_id"),
        (alias("d1", upsert("new", "", &[])), "alias_taken anonymous_id"),
        (alias("d9", upsert("", "nonsense", &[])), "invalid_email email"),
        (alias("d9", upsert("1", "", &[("shoe", json!(1))])), "unknown_attribute attributes.shoe"),
    ] {
        assert_eq!(refused(&test, change.clone()).await, expected, "{change:?}");
    }
    // On a device that a known one has used, somebody with a name of their own is somebody else.
    let other = Change::UpsertCustomer(UpsertCustomer {
        anonymous_id: Some("d1".to_owned()),
        ..upsert("7", "", &[])
    });
    let outcomes = apply(&test, vec![other], LATER).await;
    assert_eq!(outcomes[0].name(), "created");
    assert_eq!(id(&test, &visitor("d1")).await, ann);
}
