//! Mappings kept under a name: checked when they are kept, taken by name, and taken by themselves
//! where a file has their columns.

use serde_json::json;
use tidings_engine::Error;
use tidings_engine::imports::named::{self, Named, NamedChange, NewNamed};
use tidings_engine::imports::{self, Mapping, Upload};
use tidings_testkit::hub::{START, TestHub};
use tidings_testkit::on_both_engines;

use super::files::{customer, faults, finished, imported, upload};
use tidings_domain::change::IdentityKind::Email;
use tidings_domain::value::Kind;

on_both_engines!(
    a_kept_mapping_is_taken_by_files_with_its_columns,
    the_one_that_was_taken_last_is_the_default,
    a_kept_mapping_is_taken_by_name,
    names_are_changed_and_dropped,
    what_does_not_fit_is_refused,
);

fn mapping(text: serde_json::Value) -> Mapping {
    serde_json::from_value(text).expect("a mapping")
}

/// A mapping of places, as the console makes it: the second column is upper case in `town`.
fn towns() -> Mapping {
    mapping(json!({"columns": [
        {"column": 0, "to": "email"}, {"column": 1, "to": "town", "transforms": ["upper"]},
    ]}))
}

async fn keep(test: &TestHub, name: &str, mapping: Mapping) -> Result<Named, Error> {
    let headers = ["mail", "place"].map(str::to_owned).to_vec();
    let new = NewNamed { name: name.to_owned(), table: None, headers, mapping };
    named::save(&test.ctx, new).await
}

async fn town(test: &TestHub) {
    test.ctx.workspace.add_attribute("town", Kind::Text, START).await.unwrap();
}

async fn a_kept_mapping_is_taken_by_files_with_its_columns(test: TestHub) {
    town(&test).await;
    keep(&test, "towns", towns()).await.unwrap();
    // The same columns, in another order.
    let import = upload(&test.ctx, "place,mail\nOslo,ann@example.com\n").await.unwrap();
    assert_eq!(import.source.mapped_by.as_deref(), Some("towns"));
    finished(&test, &import).await;
    let ann = customer(&test, Email, "ann@example.com").await.unwrap();
    assert_eq!(ann.attribute("town"), Some(json!("OSLO")));
    // One column more is another kind of file.
    let other = upload(&test.ctx, "place,mail,x\nOslo,ann@example.com,1\n").await.unwrap();
    assert_eq!(other.source.mapped_by, None);
}

async fn the_one_that_was_taken_last_is_the_default(test: TestHub) {
    town(&test).await;
    keep(&test, "towns", towns()).await.unwrap();
    test.clock.advance_ms(1_000);
    let plain = json!({"columns": [{"column": "mail", "to": "email"}]});
    keep(&test, "addresses", mapping(plain)).await.unwrap();
    let file = "mail,place\nann@example.com,Oslo\n";
    let by = async || upload(&test.ctx, file).await.unwrap().source.mapped_by.unwrap();
    assert_eq!(by().await, "addresses");
    test.clock.advance_ms(1_000);
    let draft = upload(&test.ctx, file).await.unwrap();
    let draft = named::take(&test.ctx, draft.row.id, "towns").await.unwrap();
    assert_eq!(by().await, "addresses", "a draft alone is no use");
    finished(&test, &draft).await;
    assert_eq!(by().await, "towns");
    // It comes before the mapping of an earlier import with these columns.
    let import = upload(&test.ctx, file).await.unwrap();
    assert_eq!(import.source.mapped_as, None);
}

async fn a_kept_mapping_is_taken_by_name(test: TestHub) {
    town(&test).await;
    keep(&test, "towns", towns()).await.unwrap();
    let by = |name: &str| Upload {
        filename: "a.csv".to_owned(),
        mapping: Some(name.to_owned()),
        ..Upload::default()
    };
    let file = "mail,place,more\nann@example.com,Oslo,1\n";
    let import = imports::create(&test.ctx, by("towns"), file.as_bytes()).await.unwrap();
    assert_eq!(import.mapping.columns[1].to, "town");
    let unknown = faults(imports::create(&test.ctx, by("rivers"), file.as_bytes()).await);
    assert_eq!((unknown[0].path.as_str(), unknown[0].code), ("mapping_name", "unknown_mapping"));
    // A file without its columns is refused, and leaves nothing behind.
    let other = imports::create(&test.ctx, by("towns"), &b"mail\nann@example.com\n"[..]).await;
    let found = faults(other);
    assert_eq!(
        (found[0].path.as_str(), found[0].code),
        ("mapping.columns[1].column", "unknown_column")
    );
    let (all, _) = imports::list(&test.ctx, None, 10).await.unwrap();
    assert_eq!(all.len(), 1);
    let folder = test.folder.path().join("blobs").join("imports");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1);
}

async fn names_are_changed_and_dropped(test: TestHub) {
    town(&test).await;
    let kept = keep(&test, "towns", towns()).await.unwrap();
    let taken = keep(&test, "towns", towns()).await;
    assert!(matches!(taken, Err(Error::Conflict(_))), "{taken:?}");
    keep(&test, "places", towns()).await.unwrap();
    let rename = |name: &str| NamedChange { name: Some(name.to_owned()), ..NamedChange::default() };
    let taken = named::change(&test.ctx, kept.id, rename("places")).await;
    assert!(matches!(taken, Err(Error::Conflict(_))), "{taken:?}");
    let renamed = named::change(&test.ctx, kept.id, rename("cities")).await.unwrap();
    assert_eq!((renamed.name.as_str(), &renamed.mapping), ("cities", &kept.mapping));
    let names = async || {
        let all = named::list(&test.ctx).await.unwrap();
        all.into_iter().map(|one| one.name).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["cities", "places"]);
    named::drop(&test.ctx, kept.id).await.unwrap();
    assert_eq!(names().await, ["places"]);
    let gone = named::drop(&test.ctx, kept.id).await;
    assert!(matches!(gone, Err(Error::NotFound(_))), "{gone:?}");
}

async fn what_does_not_fit_is_refused(test: TestHub) {
    // The attribute is not there.
    let found = faults(keep(&test, "towns", towns()).await);
    assert_eq!(found[0].code, "unknown_attribute");
    town(&test).await;
    for name in ["", " x", "a\nb"] {
        let found = faults(keep(&test, name, towns()).await);
        assert_eq!(found[0].path, "name");
    }
    let none =
        NewNamed { name: "none".to_owned(), table: None, headers: Vec::new(), mapping: towns() };
    assert_eq!(faults(named::save(&test.ctx, none).await)[0].path, "headers");
    keep(&test, "towns", towns()).await.unwrap();
    let done = imported(&test, "email\nann@example.com\n").await;
    let late = named::take(&test.ctx, done.row.id, "towns").await;
    assert!(matches!(late, Err(Error::Conflict(_))), "{late:?}");
}
