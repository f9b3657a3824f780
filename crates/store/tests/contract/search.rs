//! Finding customers by the beginning of an identity, marks that come with upserts, and figures.

use tidings_domain::Timestamp;
use tidings_domain::change::{
    Change, CustomerRef, Identity, IdentityKind, Mark, Mode, Outcome, RecordEvent, UpsertCustomer,
};
use tidings_domain::consent::{Channel, ConsentState, Proof, SuppressionReason};

use crate::home::TestStore;
use crate::on_every_engine;

on_every_engine!(
    customers_are_found_by_the_beginning_of_an_identity,
    pages_of_a_rule_hold_everyone_once_in_the_order_they_came_in,
    marks_come_with_the_upsert_or_not_at_all,
    figures_count_what_is_there,
);

const AT: Timestamp = Timestamp(1_700_000_000_000_000);

fn upsert(external_id: &str, email: &str) -> UpsertCustomer {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    UpsertCustomer { external_id: some(external_id), email: some(email), ..Default::default() }
}

fn by_external_id(value: &str) -> CustomerRef {
    CustomerRef::Identity(Identity { kind: IdentityKind::ExternalId, value: value.to_owned() })
}

async fn pages_of_a_rule_hold_everyone_once_in_the_order_they_came_in(test: TestStore) {
    for round in 0..3 {
        let changes = (0..20).map(|at| {
            let id = format!("{}{}", if at % 4 == 0 { "x" } else { "y" }, round * 20 + at);
            Change::UpsertCustomer(upsert(&id, ""))
        });
        test.workspace.apply(changes.collect(), AT).await.unwrap();
    }
    let rule = || ("c.external_id < ?1".to_owned(), vec![tidings_store::sql::Param::from("y")]);
    for (matching, expected) in [(None, 60), (Some(rule()), 15)] {
        for limit in [1, 7, 15, 100] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = test.workspace.customers(matching.clone(), after, limit).await.unwrap();
                found.extend(page.items.into_iter().filter_map(|one| one.external_id));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found.len(), expected, "by {limit}");
            assert!(found.is_sorted_by_key(|id| id[1..].parse::<u32>().unwrap()), "{found:?}");
        }
    }
}

async fn customers_are_found_by_the_beginning_of_an_identity(test: TestStore) {
    let rows = [
        ("an-1", "zoe@example.com"),
        ("an-2", "ann@example.com"),
        ("", "anna@example.com"),
        ("b", "ben@example.com"),
        ("+31", ""),
    ];
    let changes = rows.iter().map(|(id, mail)| Change::UpsertCustomer(upsert(id, mail))).collect();
    test.workspace.apply(changes, AT).await.unwrap();
    for (text, expected) in [
        ("an", vec!["zoe@example.com", "ann@example.com", "anna@example.com"]),
        ("AN", vec!["ann@example.com", "anna@example.com"]),
        ("ann@", vec!["ann@example.com"]),
        ("anna@example.com", vec!["anna@example.com"]),
        ("a%", vec![]),
        ("", vec![]),
        ("nobody", vec![]),
    ] {
        for limit in [1, 2, 10] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = test.workspace.search_customers(text, after, limit).await.unwrap();
                found.extend(page.items.into_iter().filter_map(|one| one.email));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{text:?} by {limit}");
        }
    }
}

async fn marks_come_with_the_upsert_or_not_at_all(test: TestStore) {
    let tag = |tag: &str| Mark::Tag { tag: tag.to_owned(), until: None };
    let marked = |external_id: &str, mode, marks| {
        Change::UpsertCustomer(UpsertCustomer { mode, marks, ..upsert(external_id, "") })
    };
    let consent = Mark::Consent {
        channel: Channel::Email,
        topic: String::new(),
        state: ConsentState::Granted,
        source: "test".to_owned(),
        proof: Proof::default(),
    };
    let group = Mark::Group { group: "staff".to_owned() };
    let changes = vec![
        marked("1", Mode::Upsert, vec![tag("vip"), group, consent]),
        marked("1", Mode::Upsert, vec![tag("vip")]),
        marked("1", Mode::Upsert, vec![tag("gold")]),
        marked("1", Mode::Create, vec![tag("late")]),
        marked("1", Mode::Upsert, vec![tag("fine"), tag(" bad")]),
        marked("2", Mode::Update, vec![tag("late")]),
    ];
    let outcomes = test.workspace.apply(changes, AT).await.unwrap();
    let names: Vec<&str> = outcomes.iter().map(Outcome::name).collect();
    assert_eq!(names, ["created", "unchanged", "updated", "refused", "refused", "refused"]);
    let profile = test.workspace.profile(by_external_id("1")).await.unwrap().unwrap();
    let tags: Vec<&str> = profile.tags.iter().map(|tag| tag.tag.as_str()).collect();
    assert_eq!(tags, ["gold", "vip"]);
    assert_eq!(profile.groups, ["staff"]);
    assert_eq!(profile.consents.len(), 1);
    let id = profile.customer.id;
    let of_page = test.workspace.tags_of(vec![id, id]).await.unwrap();
    assert_eq!(of_page[&id], profile.tags);
}

async fn figures_count_what_is_there(test: TestStore) {
    let event = |at| {
        Change::RecordEvent(RecordEvent {
            customer: by_external_id("1"),
            name: "visited".to_owned(),
            at: Some(at),
            properties: serde_json::Value::Null,
            id: None,
        })
    };
    let changes = vec![
        Change::UpsertCustomer(upsert("1", "ann@example.com")),
        Change::UpsertCustomer(upsert("2", "bob@example.com")),
        Change::UpsertCustomer(upsert("3", "")),
        event(AT),
        event(AT.plus_secs(-10)),
    ];
    test.workspace.apply(changes, AT).await.unwrap();
    let manual = SuppressionReason::Manual;
    test.workspace.suppress(Channel::Email, "bob@example.com", manual, AT).await.unwrap();
    let figures = test.workspace.figures(AT.plus_secs(-5), AT).await.unwrap();
    assert_eq!((figures.customers, figures.reachable_by_email, figures.events), (3, 1, 1));
    assert_eq!(figures.days, []);
}
