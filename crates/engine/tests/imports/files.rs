//! Small helpers: a file in, an import out.

use futures::TryStreamExt;
use tidings_domain::change::{CustomerRef, Identity, IdentityKind};
use tidings_engine::imports::{self, Import, Mapping, Upload};
use tidings_engine::{Ctx, Error, Fault};
use tidings_store::customers::Customer;
use tidings_store::imports::Counts;
use tidings_testkit::hub::TestHub;

pub async fn upload(ctx: &Ctx, text: impl AsRef<[u8]>) -> Result<Import, Error> {
    let upload = Upload { filename: "people.csv".to_owned(), ..Upload::default() };
    imports::create(ctx, upload, text.as_ref()).await
}

/// Uploads, starts with the suggested mapping and runs to the end.
pub async fn imported(test: &TestHub, text: impl AsRef<[u8]>) -> Import {
    let import = upload(&test.ctx, text).await.expect("upload");
    finished(test, &import).await
}

/// The same with a mapping of the test's own.
pub async fn imported_by(test: &TestHub, text: &str, mapping: serde_json::Value) -> Import {
    let import = upload(&test.ctx, text).await.expect("upload");
    let mapping: Mapping = serde_json::from_value(mapping).expect("a mapping");
    imports::set_mapping(&test.ctx, import.row.id, &mapping).await.expect("set the mapping");
    finished(test, &import).await
}

pub async fn finished(test: &TestHub, import: &Import) -> Import {
    imports::start(&test.ctx, import.row.id).await.expect("start");
    test.run_due_jobs().await;
    imports::get(&test.ctx, import.row.id).await.expect("the import")
}

/// Created, updated, unchanged and refused.
pub fn outcome(import: &Import) -> (u64, u64, u64, u64) {
    let Counts { read, created, updated, unchanged, refused } = import.row.counts;
    assert_eq!(read, created + updated + unchanged + refused);
    (created, updated, unchanged, refused)
}

/// Row, column and code of every refused row.
pub async fn refused(test: &TestHub, import: &Import) -> Vec<(u64, String, String)> {
    let (items, next) =
        imports::refusals(&test.ctx, import.row.id, None, 100).await.expect("refusals");
    assert_eq!(next, None);
    items.into_iter().map(|one| (one.row, one.column, one.code)).collect()
}

pub async fn error_file(test: &TestHub, import: &Import) -> String {
    let (_, stream) = imports::error_file(&test.ctx, import.row.id).await.expect("error file");
    let parts: Vec<_> = stream.try_collect().await.expect("read the error file");
    String::from_utf8_lossy(&parts.concat()).into_owned()
}

pub async fn customer(test: &TestHub, kind: IdentityKind, value: &str) -> Option<Customer> {
    let identity = Identity { kind, value: value.to_owned() };
    test.ctx.workspace.customer(CustomerRef::Identity(identity)).await.expect("look up")
}

pub async fn customer_count(test: &TestHub) -> usize {
    test.ctx.workspace.customers(None, None, 1_000_000).await.expect("list").items.len()
}

pub fn faults<T>(result: Result<T, Error>) -> Vec<Fault> {
    match result {
        Err(Error::Invalid(faults)) => faults,
        Err(other) => panic!("expected a refusal, found {other}"),
        Ok(_) => panic!("expected a refusal"),
    }
}
