//! Letting go of what is old, and of who was erased, in archives too: what goes, what stays, and what
//! a change would let go of.

use serde_json::{Value as Json, json};
use tidings_domain::change::{
    Change, CustomerRef, Identity, IdentityKind, Outcome, RecordEvent, UpsertCustomer,
};
use tidings_domain::retention::Retention;
use tidings_domain::{CustomerId, Timestamp};
use tidings_engine::imports::{self, Upload};
use tidings_engine::personal::{self, again};
use tidings_engine::retention::{self, Kept};
use tidings_engine::{Ctx, Error, Hub, Settings, changes, customers, segments};
use tidings_store::Store;
use tidings_store::archive::{self, Restoring};
use tidings_store::retention::ToGo;
use tidings_testkit::hub::{Engine, START, TestHub, home};
use tidings_testkit::on_both_engines;

on_both_engines!(
    old_events_go_but_those_that_a_segment_counts,
    files_of_imports_go_and_their_figures_stay,
    customers_of_whom_nothing_is_heard_go_when_asked,
    periods_that_do_not_fit_are_refused,
    whoever_was_erased_after_an_archive_is_erased_from_what_it_restores,
);

const DAY: i64 = 24 * 3_600;

fn number(value: &str) -> CustomerRef {
    let value = value.to_owned();
    CustomerRef::Identity(Identity { kind: IdentityKind::ExternalId, value })
}

fn upsert(value: &str) -> Change {
    let external_id = Some(value.to_owned());
    Change::UpsertCustomer(UpsertCustomer { external_id, ..UpsertCustomer::default() })
}

/// An event so many days before the test's beginning.
fn event(customer: &str, name: &str, days: i64) -> Change {
    Change::RecordEvent(RecordEvent {
        customer: number(customer),
        name: name.to_owned(),
        at: Some(START.plus_secs(-days * DAY)),
        properties: Json::Null,
        id: None,
    })
}

async fn id(ctx: &Ctx, customer: &str) -> CustomerId {
    customers::find(ctx, number(customer)).await.unwrap()
}

/// The names of a customer's events with their age in days.
async fn events(ctx: &Ctx, customer: &str) -> Vec<(String, i64)> {
    let id = id(ctx, customer).await;
    let page = customers::events(ctx, id, None, None, 1_000).await.unwrap();
    let age = |at: Timestamp| (START.0 - at.0) / (DAY * 1_000_000);
    let mut all: Vec<(String, i64)> = page
        .items
        .into_iter()
        .filter(|event| !event.name.starts_with("segment_"))
        .map(|event| (event.name, age(event.at)))
        .collect();
    all.sort();
    all
}

async fn old_events_go_but_those_that_a_segment_counts(test: TestHub) {
    let ctx = &test.ctx;
    let mut all = vec![
        upsert("1"),
        event("1", "bought", 400),
        event("1", "left", 100),
        event("1", "seen", 400),
        event("1", "seen", 40),
        event("1", "seen", 1),
    ];
    // More than one slice.
    all.extend((0..1_200).map(|at| event("1", "noise", 50 + at % 10)));
    changes::apply(ctx, all).await.unwrap();
    for (name, rule) in [
        ("Buyers", json!({"event": "bought"})),
        ("Seen", json!({"event": "seen", "within": "90d", "count": {"gte": 2}})),
    ] {
        segments::create(ctx, name, &rule).await.unwrap();
    }
    test.run_due_jobs().await;
    let periods = Retention { events_days: Some(30), ..Retention::default() };
    let preview = retention::preview(ctx, periods).await.unwrap();
    assert_eq!(preview.to_go, ToGo { events: 1_202, ..ToGo::default() });
    let kept = |event: &str, segment: &str, days| Kept {
        event: event.to_owned(),
        segment: segment.to_owned(),
        days,
    };
    let mut found = preview.kept;
    found.sort_by(|a, b| a.event.cmp(&b.event));
    assert_eq!(found, [kept("bought", "Buyers", None), kept("seen", "Seen", Some(90))]);
    assert_eq!(events(ctx, "1").await.len(), 1_000, "a count lets go of nothing");

    retention::set(ctx, periods).await.unwrap();
    test.run_due_jobs().await;

    let left =
        [("bought", 400), ("seen", 1), ("seen", 40)].map(|(name, age)| (name.to_owned(), age));
    assert_eq!(events(ctx, "1").await, left);
    let members = |profile: customers::Profile| {
        profile.segments.into_iter().map(|one| one.name).collect::<Vec<_>>()
    };
    let profile = customers::profile(ctx, number("1")).await.unwrap();
    assert_eq!(members(profile), ["Buyers", "Seen"]);
    assert_eq!(retention::preview(ctx, periods).await.unwrap().to_go, ToGo::default());
    // The next day, by itself.
    test.clock.advance_ms(60 * DAY * 1_000);
    ctx.workspace.add_job("apply_retention", "all", Timestamp(0)).await.unwrap();
    test.run_due_jobs().await;
    let left = [("bought", 400), ("seen", 1)].map(|(name, age)| (name.to_owned(), age));
    assert_eq!(events(ctx, "1").await, left);
}

async fn files_of_imports_go_and_their_figures_stay(test: TestHub) {
    let ctx = &test.ctx;
    let upload = |name: &str| Upload {
        filename: name.to_owned(),
        table: None,
        adjust: Default::default(),
        mapping: None,
    };
    let good = (1..=20).map(|at| format!("{at},c{at}@example.com\n")).collect::<String>();
    let bad = format!("external_id,email\n{good}21,nonsense\n22,worse\n");
    let ran = imports::create(ctx, upload("ran.csv"), bad.as_bytes()).await.unwrap();
    imports::start(ctx, ran.row.id).await.unwrap();
    test.run_due_jobs().await;
    let draft = imports::create(ctx, upload("draft.csv"), bad.as_bytes()).await.unwrap();
    let path = test.folder.path().join("blobs/imports").join(draft.row.id.to_string());
    assert!(path.is_file());
    let periods = Retention { import_files_days: Some(7), ..Retention::default() };
    retention::set(ctx, periods).await.unwrap();
    test.run_due_jobs().await;
    assert!(path.is_file(), "it is not old yet");
    test.clock.advance_ms(8 * DAY * 1_000);
    let to_go = retention::preview(ctx, periods).await.unwrap().to_go;
    assert_eq!(to_go, ToGo { import_files: 2, ..ToGo::default() });
    ctx.workspace.add_job("apply_retention", "all", Timestamp(0)).await.unwrap();
    test.run_due_jobs().await;
    assert!(!path.exists());
    let (refusals, _) = imports::refusals(ctx, ran.row.id, None, 10).await.unwrap();
    assert!(refusals.is_empty());
    let row = imports::get(ctx, ran.row.id).await.unwrap().row;
    assert_eq!((row.counts.created, row.counts.refused), (20, 2));
    assert_eq!(retention::preview(ctx, periods).await.unwrap().to_go, ToGo::default());
    assert!(!ctx.workspace.all_rows().await.unwrap().contains("nonsense"));
}

async fn customers_of_whom_nothing_is_heard_go_when_asked(test: TestHub) {
    let ctx = &test.ctx;
    let all = (1..=4).map(|at| upsert(&at.to_string())).collect();
    changes::apply(ctx, all).await.unwrap();
    test.clock.advance_ms(100 * DAY * 1_000);
    // One is changed since, and one was seen.
    let seen = Change::RecordEvent(RecordEvent {
        customer: number("2"),
        name: "seen".to_owned(),
        at: None,
        properties: Json::Null,
        id: None,
    });
    let email = Some("ann@example.com".to_owned());
    let changed =
        UpsertCustomer { external_id: Some("1".to_owned()), email, ..UpsertCustomer::default() };
    changes::apply(ctx, vec![Change::UpsertCustomer(changed), seen]).await.unwrap();
    test.clock.advance_ms(20 * DAY * 1_000);
    let periods = Retention { inactive_customers_days: Some(90), ..Retention::default() };
    let to_go = retention::preview(ctx, periods).await.unwrap().to_go;
    assert_eq!(to_go, ToGo { inactive_customers: 2, ..ToGo::default() });
    test.run_due_jobs().await;
    assert_eq!(customers::page(ctx, None, None, 10).await.unwrap().items.len(), 4, "only if asked");
    retention::set(ctx, periods).await.unwrap();
    test.run_due_jobs().await;
    for (who, is_there) in [("1", true), ("2", true), ("3", false), ("4", false)] {
        assert_eq!(customers::find(ctx, number(who)).await.is_ok(), is_there, "{who}");
    }
    // They were not erased: whoever comes again is known again.
    let back = changes::apply_one(ctx, upsert("3")).await.unwrap();
    assert_eq!(back.name(), "created");
}

async fn periods_that_do_not_fit_are_refused(test: TestHub) {
    let ctx = &test.ctx;
    for (periods, field) in [
        (Retention { events_days: Some(0), ..Retention::default() }, "events_days"),
        (
            Retention {
                events_days: Some(50),
                inactive_customers_days: Some(60),
                ..Retention::default()
            },
            "inactive_customers_days",
        ),
    ] {
        for refused in
            [retention::set(ctx, periods).await, retention::preview(ctx, periods).await.map(|_| ())]
        {
            let Err(Error::Invalid(faults)) = refused else { panic!("{periods:?}") };
            assert_eq!(faults[0].path, field);
        }
    }
    assert_eq!(retention::retention(ctx).await.unwrap(), Retention::default());
}

async fn whoever_was_erased_after_an_archive_is_erased_from_what_it_restores(test: TestHub) {
    // Given an archive, and somebody who was in it and somebody who was not, both erased since.
    for customer in ["ann", "bob"] {
        changes::apply_one(&test.ctx, upsert(customer)).await.unwrap();
    }
    let archive = test.folder.path().join("all.tidings");
    archive::backup(&test.hub.store, &archive, None, |_| {}).await.unwrap();
    changes::apply_one(&test.ctx, upsert("cat")).await.unwrap();
    for customer in ["bob", "cat"] {
        personal::erase(&test.ctx, number(customer)).await.unwrap();
    }
    let lists = again::folder(test.folder.path());
    let list = std::fs::read_dir(&lists).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&list).unwrap();
    assert!(!text.contains("bob") && !text.contains("cat"), "the list names nobody: {text}");

    for engine in [Engine::Sqlite, Engine::Postgres] {
        // When it is restored elsewhere and given the list.
        let folder = tempfile::tempdir().unwrap();
        let target = home(engine, folder.path()).await;
        archive::restore(&target, &archive, Restoring::default(), |_| {}).await.unwrap();
        again::take(&lists, folder.path()).unwrap();
        let settings = Settings { data_dir: folder.path().to_owned(), ..test.hub.settings.clone() };
        let store = Store::open(&target).await.unwrap().into();
        let hub = Hub::new(store, settings, test.clock.clone());
        let ctx = hub.ctx_by_slug("test").await.unwrap();
        customers::find(&ctx, number("bob")).await.unwrap();
        assert_eq!(again::erase_again(&hub).await.unwrap(), 2);

        // Then they are gone, and no import brings them back.
        customers::find(&ctx, number("ann")).await.unwrap();
        assert!(matches!(customers::find(&ctx, number("bob")).await, Err(Error::NotFound(_))));
        for customer in ["bob", "cat"] {
            let back = changes::apply_one(&ctx, upsert(customer)).await.unwrap();
            assert!(matches!(&back, Outcome::Refused(one) if one.code == "erased"), "{back:?}");
        }

        // Whom the list names is erased once: a name that was let in again stays in.
        let kind = IdentityKind::ExternalId;
        personal::readmit(&ctx, Identity { kind, value: "cat".to_owned() }).await.unwrap();
        again::take(&lists, folder.path()).unwrap();
        assert_eq!(again::erase_again(&hub).await.unwrap(), 0);
        let back = changes::apply_one(&ctx, upsert("cat")).await.unwrap();
        assert!(matches!(back, Outcome::Created { .. }), "{back:?}");

        // The next list holds them all.
        personal::erase(&ctx, number("ann")).await.unwrap();
        let name = list.file_name().unwrap();
        let text = std::fs::read_to_string(again::folder(folder.path()).join(name)).unwrap();
        assert_eq!(text.matches("\"customer\"").count(), 3, "{text}");
    }
}
