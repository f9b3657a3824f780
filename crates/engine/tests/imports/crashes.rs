//! Imports that are cut off: nothing is lost and nothing doubled, whoever goes on.

use std::time::Duration;

use tidings_domain::value::Kind;
use tidings_engine::imports::{self, Import};
use tidings_engine::jobs;
use tidings_store::imports::ImportState;
use tidings_testkit::hub::{START, TestHub};
use tidings_testkit::on_both_engines;
use tokio::sync::watch;

use super::files::{customer_count, finished, outcome, refused, upload};

on_both_engines!(
    a_killed_run_goes_on_where_it_stood,
    a_stopped_run_goes_on_where_it_stood,
    a_late_holder_writes_nothing,
    a_cancelled_run_ends,
);

const ROWS: usize = 20_000;

/// New people only, so that a row applied twice would be counted as unchanged; some rows are bad.
fn file() -> String {
    let mut file = "customer number,email,city\n".to_owned();
    for row in 0..ROWS {
        match row % 1_000 {
            999 => file.push_str(&format!("{row},broken,Oslo\n")),
            998 => file.push_str(&format!("{row}\n")),
            _ => file.push_str(&format!("{row},person{row}@example.com,\"city\n{row}\"\n")),
        }
    }
    file
}

async fn uploaded(test: &TestHub) -> Import {
    let import = upload(&test.ctx, file()).await.expect("upload");
    imports::start(&test.ctx, import.row.id).await.expect("start")
}

async fn rows_read(test: &TestHub, import: &Import) -> u64 {
    imports::get(&test.ctx, import.row.id).await.expect("the import").row.counts.read
}

/// Runs due work until the import has read so many rows, then drops it where it stands.
async fn killed_after(test: &TestHub, import: &Import, rows: u64) {
    let (_keep, stop) = watch::channel(false);
    let ctx = test.ctx.clone();
    let run = tokio::spawn(async move { jobs::run_next(&ctx, &stop).await.map(|_| ()) });
    while rows_read(test, import).await < rows && !run.is_finished() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    run.abort();
    let _ = run.await;
    // The write that was on its way may still come through, as it may in a real crash.
    test.free_jobs().await;
}

async fn check_whole(test: &TestHub, import: &Import) {
    let import = imports::get(&test.ctx, import.row.id).await.expect("the import");
    assert_eq!(import.row.state, ImportState::Done, "{:?}", import.row.error);
    let bad = 2 * ROWS as u64 / 1_000;
    assert_eq!(outcome(&import), (ROWS as u64 - bad, 0, 0, bad));
    assert_eq!(refused(test, &import).await.len() as u64, bad);
    assert_eq!(customer_count(test).await as u64, ROWS as u64 - bad);
}

async fn a_killed_run_goes_on_where_it_stood(test: TestHub) {
    let import = uploaded(&test).await;
    let mut stood = Vec::new();
    for rows in [1, 4_000, 9_000] {
        killed_after(&test, &import, rows).await;
        stood.push(rows_read(&test, &import).await);
    }
    assert!(stood[0] > 0 && stood[2] < ROWS as u64, "killed in mid-run: {stood:?}");
    test.run_due_jobs().await;
    check_whole(&test, &import).await;
}

async fn a_stopped_run_goes_on_where_it_stood(test: TestHub) {
    let import = uploaded(&test).await;
    let (stop_it, stop) = watch::channel(false);
    let ctx = test.ctx.clone();
    let run = tokio::spawn(async move { jobs::run_next(&ctx, &stop).await });
    while rows_read(&test, &import).await == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stop_it.send(true).expect("the run listens");
    run.await.expect("the run ends").expect("and well");
    let stood = rows_read(&test, &import).await;
    assert!(stood < ROWS as u64, "stopped between two chunks, at {stood}");
    test.run_due_jobs().await;
    check_whole(&test, &import).await;
}

async fn a_late_holder_writes_nothing(test: TestHub) {
    let import = uploaded(&test).await;
    let late = test.claim_job().await.expect("the job of the import");
    test.free_jobs().await;
    let job = test.claim_job().await.expect("the same job again");
    assert_eq!(late.id, job.id);
    let (_keep, stop) = watch::channel(false);
    let refused = imports::run(&test.ctx, &late, &stop).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(test.ctx.workspace.fenced_writes().await.unwrap(), 1);
    assert_eq!(customer_count(&test).await, 0);
    test.free_jobs().await;
    test.run_due_jobs().await;
    check_whole(&test, &import).await;
}

async fn a_cancelled_run_ends(test: TestHub) {
    let kept = test.ctx.workspace.add_attribute("city", Kind::Text, START).await;
    kept.expect("the attribute of the file");
    let import = uploaded(&test).await;
    killed_after(&test, &import, 1).await;
    let cancelled = imports::cancel(&test.ctx, import.row.id).await.unwrap();
    assert_eq!(cancelled.row.state, ImportState::Cancelled);
    test.run_due_jobs().await;
    let after = imports::get(&test.ctx, import.row.id).await.unwrap();
    assert_eq!(after.row.counts, cancelled.row.counts);
    assert_eq!(customer_count(&test).await as u64, after.row.counts.created);
    // What was applied stays, and the same file may come again.
    let again = upload(&test.ctx, file()).await.unwrap();
    let again = finished(&test, &again).await;
    assert_eq!(again.row.counts.unchanged, after.row.counts.created);
}
