//! A full disk in the middle of an import.

use std::sync::Arc;

use tidings_domain::change::{Change, UpsertCustomer};
use tidings_domain::{ImportId, NodeId, Timestamp};

use super::{Chunk, Counts, ImportState, NewImport, Source};
use crate::changes::Ready;
use crate::engines::Priority;
use crate::workspace::Workspace;
use crate::{Error, Home, Store};

const AT: Timestamp = Timestamp(1_700_000_000_000_000);

/// Lets the writer's file grow to so many pages and no further, as a full disk would.
async fn limit_pages(workspace: &Workspace, pages: i64) {
    workspace
        .write(Priority::Interactive, move |tx| {
            Box::pin(async move {
                tx.query_text(&format!("pragma max_page_count = {pages}"), &[]).await?;
                Ok(())
            })
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_full_disk_leaves_nothing_half_written_and_the_import_goes_on_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Home::Folder(folder.path().to_owned())).await.unwrap();
    let workspace = store.create_workspace("Full", "UTC", false).await.unwrap();
    let new = NewImport {
        id: ImportId::generate(),
        filename: "a.csv".to_owned(),
        table: None,
        layout: "{}".to_owned(),
        columns: "[]".to_owned(),
        mapping: "{}".to_owned(),
        bytes_total: 1,
        at: AT,
    };
    let id = workspace.add_import(new).await.unwrap().id;
    workspace.start_import(id, "{}".to_owned(), AT).await.unwrap();
    let job = workspace.claim_job(NodeId::generate()).await.unwrap().unwrap();
    workspace.begin_import(&job, id, AT).await.unwrap();
    let upsert = |number: usize| {
        Change::UpsertCustomer(UpsertCustomer {
            external_id: Some(format!("{number:0>200}")),
            ..Default::default()
        })
    };
    let chunk = Arc::new(Chunk {
        from: String::new(),
        to: "2000".to_owned(),
        bytes_done: 1,
        changes: Ready::new(&workspace.schema().await.unwrap(), (0..2_000).map(upsert).collect()),
        sources: vec![Source { row: 1, line: 1, end: 0 }; 2_000],
        raw: Vec::new(),
        sets_new: Vec::new(),
        refused: Vec::new(),
        columns: Arc::default(),
        last: true,
        marks_absent: false,
    });
    limit_pages(&workspace, 1).await;
    for _ in 0..2 {
        let full = workspace.advance_import(&job, id, &chunk, AT).await;
        assert!(matches!(full, Err(Error::DiskFull(_))), "{full:?}");
        let import = workspace.import(id).await.unwrap().unwrap();
        assert_eq!((import.position.as_str(), import.counts), ("", Counts::default()));
        let customers = workspace.customers(None, None, 1).await.unwrap();
        assert!(customers.items.is_empty());
    }
    limit_pages(&workspace, 1_000_000).await;
    workspace.advance_import(&job, id, &chunk, AT).await.unwrap();
    let import = workspace.import(id).await.unwrap().unwrap();
    assert_eq!((import.state, import.counts.created), (ImportState::Done, 2_000));
}
