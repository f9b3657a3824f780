//! Undoing: what still is as the import left it goes back, and everything else stays and is listed.

use serde_json::{Value as Json, json};
use tidings_domain::change::IdentityKind::{Email, ExternalId};
use tidings_domain::change::{
    Change, CustomerRef, FieldChange, Identity, RecordEvent, UpsertCustomer,
};
use tidings_domain::consent::{Channel, ConsentState, Proof, Via};
use tidings_domain::schema::Owner;
use tidings_domain::value::Kind;
use tidings_engine::imports::undo::{self, UndoState};
use tidings_engine::imports::{self, Import, Upload};
use tidings_engine::{changes, consents, customers, segments};
use tidings_testkit::hub::{START, TestHub};
use tidings_testkit::on_both_engines;
use tokio::sync::watch;

use super::files::{customer, customer_count, finished, imported, imported_by, outcome, upload};

on_both_engines!(
    an_import_is_undone_as_if_it_had_not_been,
    what_was_changed_since_stays_and_is_listed,
    names_go_back_with_their_identities,
    consents_go_back_too,
    records_are_undone,
    a_customer_in_many_chunks_goes_back_to_the_first,
    an_undo_goes_on_after_a_crash,
    what_cannot_be_undone_is_refused,
    journals_are_forgotten_in_time,
    memberships_follow_an_undo,
    what_somebody_did_since_keeps_a_made_customer,
    the_history_of_consents_tells_of_an_undo,
    a_late_holder_of_an_undo_is_turned_away,
    the_search_follows_an_undo,
);

async fn undone(test: &TestHub, import: &Import) -> Import {
    undo::start(&test.ctx, import.row.id).await.expect("start the undo");
    test.run_due_jobs().await;
    let import = imports::get(&test.ctx, import.row.id).await.expect("the import");
    let undo = import.undo.as_ref().expect("an undo");
    assert_eq!((undo.state, undo.done), (UndoState::Done, undo.total));
    import
}

/// Restored, deleted, kept.
fn counts(import: &Import) -> (u64, u64, u64) {
    let undo = import.undo.as_ref().expect("an undo");
    (undo.restored, undo.deleted, undo.kept)
}

/// Key, field, reason, imported and current value of everything that stayed.
async fn kept(test: &TestHub, import: &Import) -> Vec<(String, String, String, String, String)> {
    let (items, next) = undo::kept(&test.ctx, import.row.id, None, 100).await.expect("a list");
    assert_eq!(next, None);
    let shown = |text: Option<String>| text.unwrap_or_default();
    let items = items.into_iter();
    let mut items: Vec<_> = items
        .map(|one| (one.key, one.field, one.reason, shown(one.imported), shown(one.current)))
        .collect();
    items.sort();
    items
}

fn row(parts: [&str; 5]) -> (String, String, String, String, String) {
    let [a, b, c, d, e] = parts.map(str::to_owned);
    (a, b, c, d, e)
}

async fn attributes(test: &TestHub, email: &str) -> Json {
    customer(test, Email, email).await.expect("a customer").attributes().into()
}

async fn set(test: &TestHub, email: &str, name: &str, value: Json) {
    test.clock.advance_ms(1_000);
    let change = Change::UpsertCustomer(UpsertCustomer {
        email: Some(email.to_owned()),
        attributes: vec![(name.to_owned(), FieldChange::SetJson(value))],
        ..UpsertCustomer::default()
    });
    changes::apply(&test.ctx, vec![change]).await.expect("a change");
}

async fn put_tag(test: &TestHub, email: &str) {
    let identity = Identity { kind: Email, value: email.to_owned() };
    let customer = CustomerRef::Identity(identity);
    let change = Change::PutTag { customer, tag: "vip".to_owned(), until: None };
    changes::apply(&test.ctx, vec![change]).await.expect("a tag");
}

async fn an_import_is_undone_as_if_it_had_not_been(test: TestHub) {
    test.ctx.workspace.add_attribute("likes", Kind::List, START).await.unwrap();
    imported(&test, "email,city,score,likes\nann@example.com,Oslo,7,tea\nbo@example.com,,,\n")
        .await;
    let before =
        [attributes(&test, "ann@example.com").await, attributes(&test, "bo@example.com").await];
    test.clock.advance_ms(1_000);
    let file = "email,city,score,likes\n\
        ann@example.com,Bergen,8,jam\nbo@example.com,Bergen,1,\ncy@example.com,Bergen,,tea;jam\n";
    let import = imported(&test, file).await;
    assert_eq!(outcome(&import), (1, 2, 0, 0));
    test.clock.advance_ms(1_000);
    let import = undone(&test, &import).await;
    assert_eq!(counts(&import), (2, 1, 0));
    assert_eq!(kept(&test, &import).await, []);
    let after =
        [attributes(&test, "ann@example.com").await, attributes(&test, "bo@example.com").await];
    assert_eq!(after, before);
    assert!(customer(&test, Email, "cy@example.com").await.is_none());
    assert_eq!(customer_count(&test).await, 2);
    // The address is free again, and the same file does the same again.
    let again = imported(&test, file).await;
    assert_eq!(outcome(&again), (1, 2, 0, 0));
}

async fn what_was_changed_since_stays_and_is_listed(test: TestHub) {
    imported(&test, "email,city,score\nann@example.com,Oslo,7\n").await;
    test.clock.advance_ms(1_000);
    let file = "email,city,score\nann@example.com,Bergen,8\ncy@example.com,Bergen,1\n\
        di@example.com,,2\ned@example.com,,\n";
    let import = imported(&test, file).await;
    set(&test, "ann@example.com", "score", json!(9)).await;
    set(&test, "cy@example.com", "score", json!(3)).await;
    put_tag(&test, "di@example.com").await;
    let import = undone(&test, &import).await;
    assert_eq!(counts(&import), (1, 1, 3));
    assert_eq!(
        kept(&test, &import).await,
        [
            row(["", "", "touched", "", ""]),
            row(["", "", "touched", "", ""]),
            row(["", "score", "changed", "8", "9"]),
        ]
    );
    assert_eq!(attributes(&test, "ann@example.com").await, json!({"city": "Oslo", "score": 9}));
    assert_eq!(attributes(&test, "cy@example.com").await, json!({"city": "Bergen", "score": 3}));
    assert!(customer(&test, Email, "di@example.com").await.is_some());
    assert!(customer(&test, Email, "ed@example.com").await.is_none());
}

async fn names_go_back_with_their_identities(test: TestHub) {
    imported(&test, "customer number,email\n1,ann@example.com\n2,bo@example.com\n3,\n").await;
    test.clock.advance_ms(1_000);
    let file = "customer number,email\n1,ann@new.example\n2,bo@new.example\n3,cy@example.com\n";
    let import = imported(&test, file).await;
    assert_eq!(outcome(&import), (0, 3, 0, 0));
    test.clock.advance_ms(1_000);
    // Somebody else has taken Bo's old address meanwhile.
    imported(&test, "customer number,email\n4,bo@example.com\n").await;
    let import = undone(&test, &import).await;
    assert_eq!(counts(&import), (2, 0, 1));
    let expected = row(["", "email", "taken", "bo@new.example", "bo@new.example"]);
    assert_eq!(kept(&test, &import).await, [expected]);
    let number = |found: Option<tidings_store::customers::Customer>| {
        found.and_then(|found| found.external_id).unwrap_or_default()
    };
    for (email, expected) in [
        ("ann@example.com", "1"),
        ("ann@new.example", ""),
        ("bo@example.com", "4"),
        ("bo@new.example", "2"),
        ("cy@example.com", ""),
    ] {
        assert_eq!(number(customer(&test, Email, email).await), expected, "{email}");
    }
    let three = customer(&test, ExternalId, "3").await.expect("the third");
    assert_eq!(three.email, None);
}

async fn consents_go_back_too(test: TestHub) {
    let mapping = |wish: &str| {
        let file = format!("email,wish\nann@example.com,{wish}\n");
        let mapping = json!({"columns": [
            {"column": "email", "to": "email"}, {"column": "wish", "to": "consent.email"},
        ]});
        (file, mapping)
    };
    let states = async || {
        let identity = Identity { kind: Email, value: "ann@example.com".to_owned() };
        let profile = test.ctx.workspace.profile(CustomerRef::Identity(identity)).await.unwrap();
        let consents = profile.expect("Ann").consents;
        consents.iter().map(|consent| format!("{:?}", consent.state)).collect::<Vec<_>>()
    };
    imported(&test, "email\nann@example.com\n").await;
    let (file, yes) = mapping("yes");
    test.clock.advance_ms(1_000);
    let first = imported_by(&test, &file, yes).await;
    assert_eq!(states().await, ["Granted"]);
    let (file, no) = mapping("no");
    test.clock.advance_ms(1_000);
    let second = imported_by(&test, &file, no).await;
    assert_eq!(states().await, ["Withdrawn"]);
    test.clock.advance_ms(1_000);
    assert_eq!(counts(&undone(&test, &first).await), (0, 0, 1));
    assert_eq!(states().await, ["Withdrawn"], "a later no is not undone with an earlier yes");
    assert_eq!(counts(&undone(&test, &second).await), (1, 0, 0));
    assert_eq!(states().await, ["Granted"]);
}

async fn records_are_undone(test: TestHub) {
    imported(&test, "email\nann@example.com\n").await;
    let fields = vec![("total".to_owned(), Kind::Decimal { scale: 2 })];
    test.ctx.workspace.add_table("orders", Owner::Customer, fields, START).await.unwrap();
    let import = async |text: &str| {
        test.clock.advance_ms(1_000);
        let table = Some("orders".to_owned());
        let new = Upload { filename: "orders.csv".to_owned(), table, ..Upload::default() };
        let import = imports::create(&test.ctx, new, text.as_bytes()).await.unwrap();
        finished(&test, &import).await
    };
    let head = "order id,email,total\n";
    import(&format!("{head}o1,ann@example.com,1\no2,ann@example.com,2\n")).await;
    let second = format!(
        "{head}o1,ann@example.com,10\no2,ann@example.com,20\no3,ann@example.com,30\no4,ann@example.com,40\n"
    );
    let second = import(&second).await;
    import(&format!("{head}o2,ann@example.com,21\no4,ann@example.com,41\n")).await;
    test.clock.advance_ms(1_000);
    let second = undone(&test, &second).await;
    assert_eq!(counts(&second), (1, 1, 2));
    assert_eq!(
        kept(&test, &second).await,
        [row(["o2", "total", "changed", "20.00", "21.00"]), row(["o4", "", "touched", "", ""])]
    );
    let again = import(&format!("{head}o1,ann@example.com,1\no3,ann@example.com,30\n")).await;
    assert_eq!(outcome(&again), (1, 0, 1, 0), "the first is as it was, the third is gone");
}

async fn a_customer_in_many_chunks_goes_back_to_the_first(test: TestHub) {
    imported(&test, "customer number,city\n3,Oslo\n").await;
    test.clock.advance_ms(1_000);
    let mut file = "customer number,city\n".to_owned();
    for row in 0..6_000 {
        file.push_str(&format!("{},city {row}\n", row % 7));
    }
    let import = imported(&test, file).await;
    assert_eq!(outcome(&import), (6, 5_994, 0, 0));
    test.clock.advance_ms(1_000);
    assert_eq!(counts(&undone(&test, &import).await), (1, 6, 0));
    let three = customer(&test, ExternalId, "3").await.expect("the third");
    assert_eq!(three.attribute("city"), Some(json!("Oslo")));
    assert_eq!(customer_count(&test).await, 1);
}

async fn an_undo_goes_on_after_a_crash(test: TestHub) {
    let mut file = "customer number,city\n".to_owned();
    for row in 0..2_500 {
        file.push_str(&format!("{row},Oslo\n"));
    }
    let import = imported(&test, file).await;
    test.clock.advance_ms(1_000);
    let id = import.row.id;
    undo::start(&test.ctx, id).await.unwrap();
    // One slice, then the holder is gone.
    let job = loop {
        let job = test.claim_job().await.expect("the job");
        if job.kind == "undo_import" {
            break job;
        }
        let done = tidings_store::jobs::Next::Done;
        test.ctx.workspace.let_go_of_job(&job, done, None).await.unwrap();
    };
    let before = imports::get(&test.ctx, id).await.unwrap().undo.unwrap();
    let report = move |undone: &tidings_store::undo::Undone| {
        let (done, deleted) = (undone.rows, undone.deleted);
        Ok(json!(undo::Undo { done, deleted, ..before }).to_string())
    };
    let slice = test.ctx.workspace.undo_slice(&job, id, import.row.number, START, report);
    let deleted = slice.await.unwrap().deleted as usize;
    assert!(deleted > 100, "{deleted}");
    assert_eq!(customer_count(&test).await, 2_500 - deleted);
    test.free_jobs().await;
    test.run_due_jobs().await;
    let import = imports::get(&test.ctx, id).await.unwrap();
    assert_eq!(counts(&import), (0, 2_500, 0));
    assert_eq!(import.undo.unwrap().done, 2_500);
    assert_eq!(customer_count(&test).await, 0);
}

async fn what_cannot_be_undone_is_refused(test: TestHub) {
    let refused = async |import: &Import, word: &str| {
        let error = undo::start(&test.ctx, import.row.id).await.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    };
    let draft = upload(&test.ctx, "email\nann@example.com\n").await.unwrap();
    refused(&draft, "the import is draft").await;
    let import = finished(&test, &draft).await;
    assert_eq!(import.undoable_until(test.ctx.now()), Some(START.plus_secs(30 * 24 * 3_600)));
    let same = imported(&test, "email\nann@example.com\n").await;
    refused(&same, "nothing to undo").await;
    let import = undone(&test, &import).await;
    assert_eq!(import.undoable_until(test.ctx.now()), None);
    refused(&import, "undone already").await;
    let late = imported(&test, "email\nbo@example.com\n").await;
    test.clock.advance_ms(30 * 24 * 3_600 * 1_000);
    refused(&late, "kept for 30 days").await;
}

async fn journals_are_forgotten_in_time(test: TestHub) {
    let old = imported(&test, "email\nann@example.com\n").await;
    test.clock.advance_ms(31 * 24 * 3_600 * 1_000);
    let young = imported(&test, "email\nbo@example.com\n").await;
    let rows =
        async |import: &Import| test.ctx.workspace.journal_rows(import.row.id).await.unwrap();
    assert_eq!((rows(&old).await, rows(&young).await), (1, 1));
    let (_stop, stopped) = watch::channel(false);
    let hub = tokio::spawn(tidings_engine::jobs::run(test.hub.clone(), stopped));
    while rows(&old).await > 0 {
        tokio::task::yield_now().await;
    }
    hub.abort();
    assert_eq!(rows(&young).await, 1);
    assert!(customer(&test, Email, "ann@example.com").await.is_some());
}

async fn memberships_follow_an_undo(test: TestHub) {
    imported(&test, "email,city\nann@example.com,Oslo\nbo@example.com,Bergen\n").await;
    let rule = json!({"attribute": "city", "op": "eq", "value": "Bergen"});
    let segment = segments::create(&test.ctx, "Bergen", &rule).await.unwrap();
    test.run_due_jobs().await;
    let members = async || {
        let page = segments::customers(&test.ctx, segment, None, 100).await.unwrap();
        let emails = page.items.into_iter().filter_map(|one| one.customer.email);
        let mut emails: Vec<String> = emails.collect();
        emails.sort();
        emails
    };
    assert_eq!(members().await, ["bo@example.com"]);
    test.clock.advance_ms(1_000);
    // Entering a segment is an event of theirs; it follows from the import and goes with it.
    let file = "email,city\nann@example.com,Bergen\nbo@example.com,Oslo\ncy@example.com,Bergen\n";
    let import = imported(&test, file).await;
    assert_eq!(members().await, ["ann@example.com", "cy@example.com"]);
    test.clock.advance_ms(1_000);
    assert_eq!(counts(&undone(&test, &import).await), (2, 1, 0));
    assert_eq!(members().await, ["bo@example.com"]);
    let today = segments::days(&test.ctx, segment, 1).await.unwrap();
    assert_eq!(today.last().map(|day| day.size), Some(1));
    assert_eq!(customer_count(&test).await, 2);
}

async fn what_somebody_did_since_keeps_a_made_customer(test: TestHub) {
    let file = "email\nann@example.com\nbo@example.com\ncy@example.com\ndi@example.com\n";
    let import = imported(&test, file).await;
    test.clock.advance_ms(1_000);
    let who =
        |email: &str| CustomerRef::Identity(Identity { kind: Email, value: email.to_owned() });
    let event = RecordEvent {
        customer: who("ann@example.com"),
        name: "seen".to_owned(),
        at: None,
        properties: json!({}),
        id: None,
    };
    let member =
        Change::PutGroupMember { customer: who("bo@example.com"), group: "staff".to_owned() };
    let consent = Change::ChangeConsent {
        customer: who("cy@example.com"),
        channel: Channel::Email,
        topic: String::new(),
        state: ConsentState::Granted,
        source: "shop".to_owned(),
        proof: Proof::by(Via::Form),
    };
    let changed = vec![Change::RecordEvent(event), member, consent];
    changes::apply(&test.ctx, changed).await.unwrap();
    let import = undone(&test, &import).await;
    assert_eq!(counts(&import), (0, 1, 3));
    for (email, stays) in [
        ("ann@example.com", true),
        ("bo@example.com", true),
        ("cy@example.com", true),
        ("di@example.com", false),
    ] {
        assert_eq!(customer(&test, Email, email).await.is_some(), stays, "{email}");
    }
}

async fn the_history_of_consents_tells_of_an_undo(test: TestHub) {
    imported(&test, "email\nann@example.com\n").await;
    test.clock.advance_ms(1_000);
    let mapping = json!({"columns": [
        {"column": "email", "to": "email"}, {"column": "wish", "to": "consent.email"},
    ]});
    let import = imported_by(&test, "email,wish\nann@example.com,yes\n", mapping).await;
    test.clock.advance_ms(1_000);
    assert_eq!(counts(&undone(&test, &import).await), (1, 0, 0));
    let ann = customer(&test, Email, "ann@example.com").await.unwrap();
    let said = consents::history(&test.ctx, ann.id, None, 10).await.unwrap().items;
    let said: Vec<(&str, &str)> =
        said.iter().map(|one| (one.state.as_str(), one.source.as_str())).collect();
    let expected = format!("undo of import {}", import.row.number);
    assert_eq!(said, [("undone", expected.as_str()), ("granted", "import")]);
}

async fn a_late_holder_of_an_undo_is_turned_away(test: TestHub) {
    let import = imported(&test, "email\nann@example.com\n").await;
    test.clock.advance_ms(1_000);
    undo::start(&test.ctx, import.row.id).await.unwrap();
    let late = loop {
        let job = test.claim_job().await.expect("the job");
        if job.kind == "undo_import" {
            break job;
        }
        let done = tidings_store::jobs::Next::Done;
        test.ctx.workspace.let_go_of_job(&job, done, None).await.unwrap();
    };
    test.free_jobs().await;
    test.run_due_jobs().await;
    let report = |_: &tidings_store::undo::Undone| Ok("{}".to_owned());
    let (id, number) = (import.row.id, import.row.number);
    let slice = test.ctx.workspace.undo_slice(&late, id, number, START, report).await;
    assert!(matches!(slice, Err(tidings_store::Error::Fenced)), "{slice:?}");
    assert_eq!(counts(&imports::get(&test.ctx, id).await.unwrap()), (0, 1, 0));
}

async fn the_search_follows_an_undo(test: TestHub) {
    async fn found(test: &TestHub, text: &str) -> Vec<Option<String>> {
        let page = customers::search(&test.ctx, text, None, 10).await.expect("a page");
        page.items.into_iter().map(|one| one.customer.email).collect()
    }
    let ann = [Some("ann@example.com".to_owned())];
    test.ctx.workspace.add_attribute("first_name", Kind::Text, START).await.unwrap();
    imported(&test, "email,first_name\nann@example.com,Anneke\n").await;
    test.clock.advance_ms(1_000);
    let file = "email,first_name\nann@example.com,Berta\ncy@example.com,Cyrille\n";
    let import = imported(&test, file).await;
    test.run_due_jobs().await;
    assert_eq!(found(&test, "erta").await, ann);
    test.clock.advance_ms(1_000);
    undone(&test, &import).await;
    for gone in ["erta", "yrill", "cy@"] {
        assert_eq!(found(&test, gone).await, [], "{gone}");
    }
    assert_eq!(found(&test, "nneke").await, ann);
}
