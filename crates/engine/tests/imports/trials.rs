//! Trials: the verdict on every row, and nothing kept of it.

use serde_json::json;
use tidings_domain::change::IdentityKind::Email;
use tidings_domain::schema::Owner;
use tidings_domain::value::Kind;
use tidings_engine::imports::trial::{self, Rows, TrialState, Verdict};
use tidings_engine::imports::{self, Import, Mapping, Upload};
use tidings_store::imports::ImportState;
use tidings_testkit::hub::{START, TestHub};
use tidings_testkit::on_both_engines;

use super::files::{customer, customer_count, finished, imported, outcome, upload};

on_both_engines!(
    every_row_gets_the_verdict_that_the_import_then_fulfils,
    a_customer_who_comes_again_is_made_once,
    records_are_tried_too,
    verdicts_come_in_pages,
    a_changed_mapping_forgets_the_trial,
    a_trial_that_was_interrupted_begins_anew,
);

async fn tried(test: &TestHub, import: &Import) -> Import {
    trial::start(&test.ctx, import.row.id).await.expect("start the trial");
    test.run_due_jobs().await;
    let import = imports::get(&test.ctx, import.row.id).await.expect("the import");
    assert_eq!(import.trial.as_ref().expect("a trial").state, TrialState::Done);
    import
}

fn rows(import: &Import) -> (u64, u64, u64, u64) {
    let Rows { read, create, update, unchanged, refuse } = import.trial.as_ref().unwrap().rows;
    assert_eq!(read, create + update + unchanged + refuse);
    (create, update, unchanged, refuse)
}

async fn verdicts(test: &TestHub, import: &Import) -> Vec<(u64, Verdict, String)> {
    let page = trial::verdicts(&test.ctx, import.row.id, None, 1_000, None).await.unwrap();
    assert_eq!(page.1, None);
    page.0.into_iter().map(|one| (one.row, one.verdict, one.code)).collect()
}

async fn every_row_gets_the_verdict_that_the_import_then_fulfils(test: TestHub) {
    imported(&test, "email,city\nann@example.com,Oslo\nbo@example.com,Oslo\n").await;
    let before = customer(&test, Email, "bo@example.com").await.unwrap().updated_at;
    test.clock.advance_ms(1_000);
    // `born` is still to be made; a value for it changes whom it is for.
    let file = "email,city,born\n\
        ann@example.com,Oslo,\n\
        bo@example.com,Bergen,\n\
        cy@example.com,,\n\
        no address,,\n\
        ann@example.com,,2000-01-02\n\
        too,many,cells,here\n\
        bo@example.com,,soon\n";
    let import = upload(&test.ctx, file).await.unwrap();
    let mapping: Mapping = serde_json::from_value(json!({"columns": [
        {"column": "email", "to": "email"}, {"column": "city", "to": "city"},
        {"column": "born", "to": "born", "create": {"kind": "date"}},
    ]}))
    .unwrap();
    let import = imports::set_mapping(&test.ctx, import.row.id, &mapping).await.unwrap();
    let import = tried(&test, &import).await;
    let expected = [
        (1, Verdict::Unchanged, ""),
        (2, Verdict::Update, ""),
        (3, Verdict::Create, ""),
        (4, Verdict::Refuse, "invalid_email"),
        (5, Verdict::Update, ""),
        (6, Verdict::Refuse, "too_many_columns"),
        (7, Verdict::Refuse, "invalid_value"),
    ];
    let expected = expected.map(|(row, verdict, code)| (row, verdict, code.to_owned()));
    assert_eq!(verdicts(&test, &import).await, expected);
    assert_eq!(import.row.state, ImportState::Draft);
    assert_eq!(import.trial.as_ref().unwrap().bytes_done, import.row.bytes_total);
    // Nothing of it is kept: no customer, no value, no attribute, no refused row.
    assert_eq!(customer_count(&test).await, 2);
    assert_eq!(customer(&test, Email, "bo@example.com").await.unwrap().updated_at, before);
    assert!(test.ctx.workspace.fresh_schema().await.unwrap().attribute("born").is_none());
    assert_eq!(imports::refusals(&test.ctx, import.row.id, None, 10).await.unwrap().0, []);
    let (create, update, unchanged, refuse) = rows(&import);
    let done = finished(&test, &import).await;
    assert_eq!(outcome(&done), (create, update, unchanged, refuse));
    assert_eq!(done.row.number, 2);
    let left = std::fs::read_dir(test.folder.path().join("blobs/imports")).unwrap().count();
    assert_eq!(left, 0, "the verdicts go with the file");
}

async fn a_customer_who_comes_again_is_made_once(test: TestHub) {
    // More rows than any chunk has, so that the same customers come in several of them.
    let mut file = "customer number,city\n".to_owned();
    for row in 0..6_000 {
        file.push_str(&format!("{},city {row}\n", row % 7));
    }
    let import = upload(&test.ctx, &file).await.unwrap();
    let import = tried(&test, &import).await;
    assert_eq!(rows(&import), (7, 5_993, 0, 0));
    let mapping = Mapping { mode: imports::ImportMode::Add, ..import.mapping.clone() };
    let import = imports::set_mapping(&test.ctx, import.row.id, &mapping).await.unwrap();
    let import = tried(&test, &import).await;
    assert_eq!(rows(&import), (7, 0, 0, 5_993));
    assert_eq!(outcome(&finished(&test, &import).await), (7, 0, 0, 5_993));
}

async fn records_are_tried_too(test: TestHub) {
    imported(&test, "email,city\nann@example.com,Oslo\n").await;
    let fields = vec![("total".to_owned(), Kind::Decimal { scale: 2 })];
    test.ctx.workspace.add_table("orders", Owner::Customer, fields, START).await.unwrap();
    let file = "order id,email,total\no1,ann@example.com,9.95\no2,bo@example.com,1\n";
    let table = Some("orders".to_owned());
    let new = Upload { filename: "orders.csv".to_owned(), table, ..Upload::default() };
    let import = imports::create(&test.ctx, new, file.as_bytes()).await.unwrap();
    let import = tried(&test, &import).await;
    assert_eq!(rows(&import), (1, 0, 0, 1));
    assert_eq!(outcome(&finished(&test, &import).await), (1, 0, 0, 1));
}

async fn verdicts_come_in_pages(test: TestHub) {
    let mut file = "email\n".to_owned();
    for row in 1..=500 {
        let at = if row % 100 == 0 { "" } else { "@" };
        file.push_str(&format!("c{row}{at}example.com\n"));
    }
    let import = upload(&test.ctx, &file).await.unwrap();
    let none = trial::verdicts(&test.ctx, import.row.id, None, 10, None).await;
    assert!(none.is_err(), "there is no trial yet");
    tried(&test, &import).await;
    for (only, expected) in [(None, 500), (Some(Verdict::Refuse), 5), (Some(Verdict::Update), 0)] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = trial::verdicts(&test.ctx, import.row.id, after, 7, only).await.unwrap();
            assert!(page.0.len() <= 7);
            seen.extend(page.0.iter().map(|one| one.row));
            after = page.1;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), expected, "{only:?}");
        assert!(seen.is_sorted());
    }
}

async fn a_changed_mapping_forgets_the_trial(test: TestHub) {
    let import = upload(&test.ctx, "email\nann@example.com\n").await.unwrap();
    let import = tried(&test, &import).await;
    let mapping = Mapping { mode: imports::ImportMode::Update, ..import.mapping.clone() };
    let import = imports::set_mapping(&test.ctx, import.row.id, &mapping).await.unwrap();
    assert_eq!(import.trial, None);
    assert_eq!(rows(&tried(&test, &import).await), (0, 0, 0, 1));
    let done = finished(&test, &import).await;
    let late = trial::start(&test.ctx, done.row.id).await.unwrap_err();
    assert!(late.to_string().contains("only a draft can be tried"), "{late}");
}

async fn a_trial_that_was_interrupted_begins_anew(test: TestHub) {
    let import = upload(&test.ctx, "email\nann@example.com\n").await.unwrap();
    trial::start(&test.ctx, import.row.id).await.unwrap();
    // A holder that died in the middle of a line.
    test.claim_job().await.expect("the job");
    let path = test.folder.path().join(format!("blobs/imports/{}.verdicts", import.row.id));
    std::fs::write(path, "{\"row\":1,\"li").unwrap();
    test.free_jobs().await;
    test.run_due_jobs().await;
    let import = imports::get(&test.ctx, import.row.id).await.unwrap();
    assert_eq!(verdicts(&test, &import).await, [(1, Verdict::Create, String::new())]);
}
