//! Imports: chunks are applied once and in order, under the lease of their job.

use std::sync::Arc;

use tidings_domain::change::{Change, UpsertCustomer};
use tidings_domain::{ImportId, NodeId, Timestamp};
use tidings_store::changes::Ready;
use tidings_store::imports::{Advance, Chunk, ImportState, NewImport, RefusedRow, Source};
use tidings_store::jobs::Job;
use tidings_store::{Error, Workspace};

use crate::home::TestStore;
use crate::on_every_engine;

on_every_engine!(
    drafts_are_kept_and_listed,
    a_chunk_is_one_transaction,
    a_chunk_is_applied_once,
    a_late_holder_is_fenced,
    a_cancelled_import_goes_no_further,
    a_failed_import_says_why,
);

const AT: Timestamp = Timestamp(1_700_000_000_000_000);

async fn draft(workspace: &Workspace, filename: &str) -> ImportId {
    let new = NewImport {
        id: ImportId::generate(),
        filename: filename.to_owned(),
        table: None,
        layout: "{}".to_owned(),
        columns: "[]".to_owned(),
        mapping: "{}".to_owned(),
        bytes_total: 1_000,
        at: AT,
    };
    workspace.add_import(new).await.unwrap().id
}

/// A started import and the job that its holder runs it by.
async fn started(workspace: &Workspace) -> (ImportId, Job) {
    let id = draft(workspace, "a.csv").await;
    workspace.start_import(id, "{}".to_owned(), AT).await.unwrap();
    let job = workspace.claim_job(NodeId::generate()).await.unwrap().unwrap();
    assert_eq!((job.kind.as_str(), job.subject.as_str()), ("run_import", &*id.to_string()));
    assert!(workspace.begin_import(&job, id, AT).await.unwrap().is_some());
    (id, job)
}

/// A chunk of customers with these numbers as external ids; an empty one is refused.
async fn chunk(workspace: &Workspace, from: &str, to: &str, ids: &[&str]) -> Arc<Chunk> {
    let mut raw = Vec::new();
    let mut sources = Vec::new();
    let mut changes = Vec::new();
    let first_row = from.parse().unwrap_or(0_u64) + 1;
    for (row, id) in (first_row..).zip(ids) {
        raw.extend_from_slice(id.as_bytes());
        raw.extend_from_slice(b",x\0");
        sources.push(Source { row, line: row + 1, end: raw.len() });
        changes.push(Change::UpsertCustomer(UpsertCustomer {
            external_id: Some((*id).to_owned()),
            ..Default::default()
        }));
    }
    Arc::new(Chunk {
        from: from.to_owned(),
        to: to.to_owned(),
        bytes_done: raw.len() as u64,
        changes: Ready::new(&workspace.schema().await.unwrap(), changes),
        sources,
        raw,
        sets_new: Vec::new(),
        refused: Vec::new(),
        columns: Arc::new(vec![("external_id".to_owned(), "Number".to_owned())]),
        last: false,
        marks_absent: false,
    })
}

async fn drafts_are_kept_and_listed(test: TestStore) {
    let workspace = &test.workspace;
    let mut ids = Vec::new();
    for name in ["a.csv", "b.csv", "c.csv"] {
        ids.push(draft(workspace, name).await);
    }
    let first = workspace.imports(None, 2).await.unwrap();
    let names: Vec<&str> = first.items.iter().map(|one| one.filename.as_str()).collect();
    assert_eq!(names, ["c.csv", "b.csv"]);
    let second = workspace.imports(first.next, 2).await.unwrap();
    assert_eq!((second.items[0].number, second.next), (1, None));
    let changed = workspace.set_import_mapping(ids[0], r#"{"x":1}"#.to_owned()).await.unwrap();
    assert_eq!((changed.mapping.as_str(), changed.state), (r#"{"x":1}"#, ImportState::Draft));
    workspace.start_import(ids[0], "{}".to_owned(), AT).await.unwrap();
    for refused in [
        workspace.set_import_mapping(ids[0], "{}".to_owned()).await,
        workspace.start_import(ids[0], "{}".to_owned(), AT).await,
    ] {
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    }
    let missing = workspace.cancel_import(ImportId::generate(), AT).await;
    assert!(matches!(missing, Err(Error::NotFound(_))), "{missing:?}");
    assert_eq!(workspace.import(ImportId::generate()).await.unwrap(), None);
}

async fn a_chunk_is_one_transaction(test: TestStore) {
    let workspace = &test.workspace;
    let (id, job) = started(workspace).await;
    let mut first = chunk(workspace, "", "4", &["1", "", "2"]).await;
    Arc::get_mut(&mut first).unwrap().refused.push(RefusedRow {
        row: 4,
        line: 5,
        column: "Number".to_owned(),
        code: "nul_byte".to_owned(),
        message: "a cell with \0".to_owned(),
        raw: b"\xff\0".to_vec(),
    });
    let advance = workspace.advance_import(&job, id, &first, AT).await.unwrap();
    assert!(matches!(advance, Advance::Written { .. }));
    let import = workspace.import(id).await.unwrap().unwrap();
    assert_eq!(import.state, ImportState::Running);
    assert_eq!((import.position.as_str(), import.started_at), ("4", Some(AT)));
    let counts = import.counts;
    assert_eq!((counts.read, counts.created, counts.refused), (4, 2, 2));
    let page = workspace.import_refusals(id, None, 1, 100).await.unwrap();
    let (refused, next) = (&page.items[0], page.next);
    assert_eq!((refused.row, refused.line, next), (2, 3, Some(2)));
    assert_eq!((refused.code.as_str(), refused.raw.as_slice()), ("no_identity", &b",x\0"[..]));
    let page = workspace.import_refusals(id, next, 1, 1).await.unwrap();
    assert_eq!((page.items[0].row, page.next), (4, None));
    assert_eq!(page.items[0].message, "a cell with \u{fffd}");
    assert_eq!(page.items[0].raw, b"\xff", "cut to one byte");
    let mut last = chunk(workspace, "4", "6", &["2", "3"]).await;
    Arc::get_mut(&mut last).unwrap().last = true;
    workspace.advance_import(&job, id, &last, AT.plus_secs(2)).await.unwrap();
    let import = workspace.import(id).await.unwrap().unwrap();
    assert_eq!(import.state, ImportState::Done);
    assert_eq!(import.finished_at, Some(AT.plus_secs(2)));
    let counts = import.counts;
    assert_eq!((counts.read, counts.created, counts.unchanged), (6, 3, 1));
    let next = workspace.claim_job(NodeId::generate()).await.unwrap().unwrap();
    assert_eq!((next.kind.as_str(), next.subject.as_str()), ("refresh_segments", "all"));
}

async fn a_chunk_is_applied_once(test: TestStore) {
    let workspace = &test.workspace;
    let (id, job) = started(workspace).await;
    let first = chunk(workspace, "", "2", &["1", "2"]).await;
    workspace.advance_import(&job, id, &first, AT).await.unwrap();
    let ahead = chunk(workspace, "3", "4", &["4"]).await;
    for misplaced in [&first, &ahead] {
        let refused = workspace.advance_import(&job, id, misplaced, AT).await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    }
    let import = workspace.import(id).await.unwrap().unwrap();
    assert_eq!((import.counts.read, import.position.as_str()), (2, "2"));
    assert_eq!(workspace.customers(None, None, 10).await.unwrap().items.len(), 2);
}

async fn a_late_holder_is_fenced(test: TestStore) {
    let workspace = &test.workspace;
    let id = draft(workspace, "a.csv").await;
    workspace.start_import(id, "{}".to_owned(), AT).await.unwrap();
    let (one, two) = (NodeId::generate(), NodeId::generate());
    let late = workspace.claim_job(one).await.unwrap().unwrap();
    workspace.begin_import(&late, id, AT).await.unwrap();
    workspace.release_jobs(one).await.unwrap();
    let job = workspace.claim_job(two).await.unwrap().unwrap();
    let first = chunk(workspace, "", "1", &["1"]).await;
    let refused = workspace.advance_import(&late, id, &first, AT).await;
    assert!(matches!(refused, Err(Error::Fenced)), "{refused:?}");
    let refused = workspace.fail_import(&late, id, "late".to_owned(), AT).await;
    assert!(matches!(refused, Err(Error::Fenced)), "{refused:?}");
    assert_eq!(workspace.customers(None, None, 10).await.unwrap().items.len(), 0);
    workspace.advance_import(&job, id, &first, AT).await.unwrap();
    let import = workspace.import(id).await.unwrap().unwrap();
    assert_eq!((import.state, import.counts.created), (ImportState::Running, 1));
}

async fn a_cancelled_import_goes_no_further(test: TestStore) {
    let workspace = &test.workspace;
    let (id, job) = started(workspace).await;
    let first = chunk(workspace, "", "1", &["1"]).await;
    workspace.advance_import(&job, id, &first, AT).await.unwrap();
    assert_eq!(workspace.cancel_import(id, AT).await.unwrap().state, ImportState::Cancelled);
    let second = chunk(workspace, "1", "2", &["2"]).await;
    let advance = workspace.advance_import(&job, id, &second, AT).await.unwrap();
    assert_eq!(advance, Advance::Stopped(ImportState::Cancelled));
    assert_eq!(workspace.customers(None, None, 10).await.unwrap().items.len(), 1);
    assert!(workspace.begin_import(&job, id, AT).await.unwrap().is_none());
    assert!(matches!(workspace.cancel_import(id, AT).await, Err(Error::Conflict(_))));
}

async fn a_failed_import_says_why(test: TestStore) {
    let workspace = &test.workspace;
    let (id, job) = started(workspace).await;
    workspace.note_import_trouble(&job, id, "disk full".to_owned()).await.unwrap();
    let import = workspace.import(id).await.unwrap().unwrap();
    assert_eq!((import.state, import.error.as_deref()), (ImportState::Running, Some("disk full")));
    let first = chunk(workspace, "", "1", &["1"]).await;
    workspace.advance_import(&job, id, &first, AT).await.unwrap();
    assert_eq!(workspace.import(id).await.unwrap().unwrap().error, None);
    workspace.fail_import(&job, id, "the file is gone".to_owned(), AT).await.unwrap();
    let import = workspace.import(id).await.unwrap().unwrap();
    assert_eq!(import.state, ImportState::Failed);
    assert_eq!(import.error.as_deref(), Some("the file is gone"));
}
