//! Finding customers while somebody types, marks that come with upserts, and figures.

use tidings_domain::change::{
    Change, CustomerRef, FieldChange, Identity, IdentityKind, Mark, Mode, Outcome, RecordEvent,
    UpsertCustomer,
};
use tidings_domain::consent::{Channel, ConsentState, Proof, SuppressionReason};
use tidings_domain::value::Kind;
use tidings_domain::{NodeId, Timestamp};
use tidings_store::jobs::Next;
use tidings_store::search::INDEX_SEARCH;

use crate::home::TestStore;
use crate::on_every_engine;

on_every_engine!(
    customers_are_found_by_the_beginning_of_an_identity,
    customers_are_found_by_words_before_and_after_they_are_indexed,
    the_index_follows_changes_and_forgets_who_is_erased,
    a_frequent_text_is_given_in_pages_that_hold_everyone_once,
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
        // Addresses in any case; a number is begun as it is written, and else found as a text.
        ("an", vec!["zoe@example.com", "ann@example.com", "anna@example.com"]),
        ("AN", vec!["ann@example.com", "anna@example.com", "zoe@example.com"]),
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

/// Makes the index know everything that is pending.
async fn index(test: &TestStore) {
    let workspace = &test.workspace;
    workspace.add_job(INDEX_SEARCH, "all", AT).await.unwrap();
    let job = workspace.claim_job(NodeId::generate()).await.unwrap().unwrap();
    while workspace.index_search(&job).await.unwrap() {}
    assert!(!workspace.search_wants_index().await.unwrap());
    workspace.let_go_of_job(&job, Next::Done, None).await.unwrap();
}

/// Everybody whom a text finds, read in pages.
async fn found(test: &TestStore, text: &str, limit: usize) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = test.workspace.search_customers(text, after, limit).await.unwrap();
        assert!(page.items.len() <= limit);
        found.extend(page.items.into_iter().filter_map(|one| one.external_id));
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

fn person(external_id: &str, name: &str, email: &str, phone: &str) -> Change {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let name = FieldChange::SetJson(name.into());
    Change::UpsertCustomer(UpsertCustomer {
        phone: some(phone),
        attributes: vec![("last_name".to_owned(), name)],
        ..upsert(external_id, email)
    })
}

async fn people(test: &TestStore) {
    for name in ["last_name", "city"] {
        test.workspace.add_attribute(name, Kind::Text, AT).await.unwrap();
    }
    let changes = vec![
        person("c1", "Müller", "zoe@example.com", ""),
        person("c2", "Van den Berg", "joann@example.com", "+31612345678"),
        person("c3", "O'Neil", "bergen@example.org", ""),
        person("c4", "Łukasz \"Luk\" Żak", "", ""),
    ];
    for outcome in test.workspace.apply(changes, AT).await.unwrap() {
        assert_eq!(outcome.name(), "created");
    }
}

async fn customers_are_found_by_words_before_and_after_they_are_indexed(test: TestStore) {
    people(&test).await;
    for round in ["before", "after"] {
        for (text, expected) in [
            ("mull", vec!["c1"]),
            ("MÜLLER zoe", vec!["c1"]),
            ("ülle", vec!["c1"]),
            ("v", vec!["c2"]),
            ("va", vec!["c2"]),
            ("an", vec![]),
            ("ann", vec!["c2"]),
            // An address that begins so comes first.
            ("berg", vec!["c3", "c2"]),
            ("berg den", vec!["c2"]),
            ("06 1234", vec!["c2"]),
            ("5678", vec!["c2"]),
            ("@example.com", vec!["c1", "c2"]),
            ("example", vec!["c1", "c2", "c3"]),
            ("o'n", vec!["c3"]),
            ("zak luk", vec!["c4"]),
            ("\"luk\"", vec!["c4"]),
            ("\" or \"", vec![]),
            ("%", vec![]),
            ("muller berg", vec![]),
            ("c", vec!["c1", "c2", "c3", "c4"]),
        ] {
            for limit in [1, 2, 10] {
                assert_eq!(found(&test, text, limit).await, expected, "{text} {round}, by {limit}");
            }
        }
        index(&test).await;
    }
}

async fn the_index_follows_changes_and_forgets_who_is_erased(test: TestStore) {
    people(&test).await;
    index(&test).await;
    let to_city = UpsertCustomer {
        attributes: vec![("city".to_owned(), FieldChange::SetJson("Muller".into()))],
        ..upsert("c3", "")
    };
    let changes = vec![person("c1", "Schmidt", "", ""), Change::UpsertCustomer(to_city)];
    test.workspace.apply(changes, AT).await.unwrap();
    for round in ["before", "after"] {
        assert_eq!(found(&test, "muller", 10).await, [""; 0], "{round}");
        assert_eq!(found(&test, "schmidt", 10).await, ["c1"], "{round}");
        index(&test).await;
    }
    // Called otherwise, an attribute begins or ends to count.
    for (name, new_name, expected) in
        [("city", "nickname", vec!["c3"]), ("nickname", "place", vec![])]
    {
        test.workspace.rename_attribute(name, new_name).await.unwrap();
        index(&test).await;
        assert_eq!(found(&test, "muller", 10).await, expected, "{new_name}");
    }
    let who = test.workspace.customer(by_external_id("c2")).await.unwrap().unwrap();
    assert!(test.workspace.all_rows().await.unwrap().contains("van  den  berg"));
    test.workspace.erase(who.id, AT).await.unwrap();
    assert_eq!(found(&test, "joann", 10).await, [""; 0]);
    assert!(!test.workspace.all_rows().await.unwrap().contains("joann"));
}

async fn a_frequent_text_is_given_in_pages_that_hold_everyone_once(test: TestStore) {
    test.workspace.add_attribute("last_name", Kind::Text, AT).await.unwrap();
    for part in 0..8_u32 {
        let changes = (part * 500..part * 500 + 500).map(|at| {
            let name = if at % 1_000 == 999 { "Rarely Jansen" } else { "Jansen" };
            person(&format!("c{at:05}"), name, "", "")
        });
        test.workspace.apply(changes.collect(), AT).await.unwrap();
        if part == 5 {
            index(&test).await;
        }
    }
    assert_eq!(found(&test, "rare ansen", 3).await, ["c00999", "c01999", "c02999", "c03999"]);
    let all = found(&test, "jan", 700).await;
    assert_eq!(all.len(), 4_000);
    assert!(all.is_sorted());
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
