//! Replacing: what the file has no value for is emptied, and an undo brings it back.

use serde_json::json;
use tidings_domain::change::IdentityKind::{Email, ExternalId};
use tidings_domain::schema::Owner;
use tidings_domain::value::Kind;
use tidings_engine::imports::{self, Mapping, Upload, undo};
use tidings_store::imports::ImportState;
use tidings_testkit::hub::{START, TestHub};
use tidings_testkit::on_both_engines;
use tokio::sync::watch;

use super::files::{customer, faults, finished, imported, imported_by, outcome, upload};

on_both_engines!(
    blank_cells_empty_attributes,
    blank_cells_empty_fields_of_records,
    who_is_not_in_the_file_is_marked,
    nobody_is_marked_where_a_row_was_refused,
    marking_goes_on_after_a_crash,
    who_can_be_marked_is_checked,
);

async fn blank_cells_empty_attributes(test: TestHub) {
    let before =
        "customer number,email,city,score\n1,ann@example.com,Oslo,7\n2,bo@example.com,Oslo,8\n";
    imported(&test, before).await;
    test.clock.advance_ms(1_000);
    let mapping = json!({"mode": "replace", "columns": [
        {"column": "email", "to": "email"}, {"column": "city", "to": "city"},
    ]});
    let file = "email,city\nann@example.com,\nbo@example.com,Bergen\ncy@example.com,\n";
    let import = imported_by(&test, file, mapping).await;
    assert_eq!(outcome(&import), (1, 2, 0, 0));
    let ann = customer(&test, Email, "ann@example.com").await.unwrap();
    // Only what the mapping names is emptied, and nobody loses a name by a blank.
    assert_eq!((ann.attribute("city"), ann.attribute("score")), (None, Some(json!(7))));
    assert_eq!(ann.external_id.as_deref(), Some("1"));
    let bo = customer(&test, Email, "bo@example.com").await.unwrap();
    assert_eq!(bo.attribute("city"), Some(json!("Bergen")));
    test.clock.advance_ms(1_000);
    undo::start(&test.ctx, import.row.id).await.unwrap();
    test.run_due_jobs().await;
    let ann = customer(&test, Email, "ann@example.com").await.unwrap();
    assert_eq!(ann.attribute("city"), Some(json!("Oslo")));
    assert!(customer(&test, Email, "cy@example.com").await.is_none());
}

async fn blank_cells_empty_fields_of_records(test: TestHub) {
    imported(&test, "email\nann@example.com\n").await;
    let fields = vec![("note".to_owned(), Kind::Text)];
    test.ctx.workspace.add_table("orders", Owner::Customer, fields, START).await.unwrap();
    let import = async |text: &str, mode: &str| {
        test.clock.advance_ms(1_000);
        let table = Some("orders".to_owned());
        let new = Upload { filename: "orders.csv".to_owned(), table, ..Upload::default() };
        let import = imports::create(&test.ctx, new, text.as_bytes()).await.unwrap();
        let mode = serde_json::from_value(json!(mode)).unwrap();
        let mapping = Mapping { mode, ..import.mapping.clone() };
        let import = imports::set_mapping(&test.ctx, import.row.id, &mapping).await.unwrap();
        outcome(&finished(&test, &import).await)
    };
    let head = "order id,email,note\n";
    assert_eq!(import(&format!("{head}o1,ann@example.com,red\n"), "upsert").await, (1, 0, 0, 0));
    assert_eq!(import(&format!("{head}o1,ann@example.com,\n"), "upsert").await, (0, 0, 1, 0));
    assert_eq!(import(&format!("{head}o1,ann@example.com,\n"), "replace").await, (0, 1, 0, 0));
    assert_eq!(import(&format!("{head}o1,ann@example.com,\n"), "replace").await, (0, 0, 1, 0));
}

/// A mapping that marks by the attribute `active`.
fn marking() -> serde_json::Value {
    json!({"mode": "replace", "present": "active", "columns": [{"column": "number", "to": "external_id"}]})
}

/// Who is said to be active, by number.
async fn active(test: &TestHub, numbers: &[&str]) -> Vec<Option<bool>> {
    let mut found = Vec::new();
    for number in numbers {
        let one = customer(test, ExternalId, number).await.expect("a customer");
        found.push(one.attribute("active").and_then(|value| value.as_bool()));
    }
    found
}

async fn who_is_not_in_the_file_is_marked(test: TestHub) {
    imported(&test, "customer number,city\n1,Oslo\n2,Oslo\n3,Oslo\n").await;
    test.clock.advance_ms(1_000);
    let import = imported_by(&test, "number\n1\n4\n", marking()).await;
    assert_eq!((import.row.state, import.row.absent), (ImportState::Done, 2));
    let (yes, no) = (Some(true), Some(false));
    assert_eq!(active(&test, &["1", "2", "3", "4"]).await, [yes, no, no, yes]);
    let two = customer(&test, ExternalId, "2").await.unwrap();
    assert_eq!(two.attribute("city"), Some(json!("Oslo")), "their data stays");
    test.clock.advance_ms(1_000);
    let second = imported_by(&test, "number\n1\n2\n", marking()).await;
    assert_eq!(second.row.absent, 1, "who is marked already is not marked again");
    assert_eq!(active(&test, &["1", "2", "3", "4"]).await, [yes, yes, no, no]);
    test.clock.advance_ms(1_000);
    for (import, expected) in [(second, [yes, no, no, yes]), (import, [None, None, None, yes])] {
        undo::start(&test.ctx, import.row.id).await.unwrap();
        test.run_due_jobs().await;
        // The fourth was made by the first import and touched by both.
        assert_eq!(active(&test, &["1", "2", "3", "4"]).await, expected);
    }
    assert!(!test.ctx.workspace.all_rows().await.unwrap().contains("import_seen"));
}

async fn nobody_is_marked_where_a_row_was_refused(test: TestHub) {
    imported(&test, "customer number\n1\n2\n").await;
    test.clock.advance_ms(1_000);
    let import = imported_by(&test, "number\n1\na,b\n", marking()).await;
    assert_eq!((import.row.state, import.row.absent), (ImportState::Done, 0));
    assert!(import.row.error.as_deref().is_some_and(|text| text.contains("1 rows were refused")));
    assert_eq!(active(&test, &["1", "2"]).await, [Some(true), None]);
}

async fn marking_goes_on_after_a_crash(test: TestHub) {
    let mut file = "customer number\n".to_owned();
    for row in 0..1_500 {
        file.push_str(&format!("{row}\n"));
    }
    imported(&test, &file).await;
    test.clock.advance_ms(1_000);
    let import = upload(&test.ctx, "number\n7\n").await.unwrap();
    let mapping: Mapping = serde_json::from_value(marking()).unwrap();
    imports::set_mapping(&test.ctx, import.row.id, &mapping).await.unwrap();
    imports::start(&test.ctx, import.row.id).await.unwrap();
    let id = import.row.id;
    // The holder is gone while it marks, or just before.
    let job = test.claim_job().await.expect("the job");
    assert_eq!(job.kind, "run_import");
    let (ctx, held) = (test.ctx.clone(), job.clone());
    let (_keep, stop) = watch::channel(false);
    let run = tokio::spawn(async move { imports::run(&ctx, &held, &stop).await });
    while imports::get(&test.ctx, id).await.unwrap().row.position.is_empty() {
        tokio::task::yield_now().await;
    }
    run.abort();
    let _ = run.await;
    let at = test.ctx.now();
    test.free_jobs().await;
    let late = test.ctx.workspace.mark_absent(&job, id, "active", at).await;
    assert!(matches!(late, Err(tidings_store::Error::Fenced)), "{late:?}");
    test.run_due_jobs().await;
    let import = imports::get(&test.ctx, id).await.unwrap();
    assert_eq!((import.row.state, import.row.absent), (ImportState::Done, 1_499));
    assert_eq!(active(&test, &["7", "8"]).await, [Some(true), Some(false)]);
}

async fn who_can_be_marked_is_checked(test: TestHub) {
    test.ctx.workspace.add_attribute("note", Kind::Text, START).await.unwrap();
    let import = upload(&test.ctx, "number\n1\n").await.unwrap();
    for (mode, present) in [("upsert", "active"), ("replace", "note"), ("replace", "email")] {
        let mapping: Mapping = serde_json::from_value(json!({"mode": mode, "present": present,
            "columns": [{"column": "number", "to": "external_id"}]}))
        .unwrap();
        let found = faults(imports::set_mapping(&test.ctx, import.row.id, &mapping).await);
        assert_eq!(found[0].path, "mapping.present", "{mode} {present}: {found:?}");
    }
}
