//! The example shop, which the demo begins with: it says just what it means, and its segments count
//! what they should.

use std::path::Path;

use serde_json::json;
use tidings_domain::change::{Change, FieldChange, UpsertCustomer};
use tidings_engine::definitions::{self, Agreed, Folder, disk};
use tidings_engine::{campaigns, changes, forms, segments, templates};
use tidings_testkit::hub::TestHub;
use tidings_testkit::on_both_engines;

fn shop() -> Folder {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/shop");
    let mut files = disk::read(&folder).expect("the example");
    files.remove("README.md");
    files
}

async fn it_is_written_as_an_export_would_write_it(test: TestHub) {
    let hub = &test.hub;
    let made = hub.store.create_workspace("Shop", "Europe/Amsterdam", false).await;
    let ctx = hub.ctx(made.expect("a workspace").row.id).await.expect("a context");
    definitions::apply(&ctx, &shop(), &Agreed::default()).await.expect("apply");
    let mut expected = shop();
    // It is a draft until somebody launches it, and its file would say so.
    crate::plans::edit(
        &mut expected,
        "campaigns/autumn-letter-to-newsletter-readers.toml",
        "launch = true\n",
        "",
    );
    let text = |files: &Folder| {
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        files.iter().map(|(path, bytes)| (path.clone(), text(bytes))).collect::<Vec<_>>()
    };
    assert_eq!(text(&definitions::export(&ctx).await.expect("export")), text(&expected));
}

async fn it_works_as_if_made_by_hand(test: TestHub) {
    let ctx = &test.ctx;
    let applied = definitions::apply(ctx, &shop(), &Agreed::default()).await.expect("apply");
    assert_eq!(applied.plan.launches.len(), 1, "the letter waits for --launch");
    let reader = |email: &str, reads: bool| {
        let set = vec![("newsletter".to_owned(), FieldChange::SetJson(json!(reads)))];
        let email = Some(email.to_owned());
        Change::UpsertCustomer(UpsertCustomer { email, attributes: set, ..Default::default() })
    };
    let all = vec![reader("a@shop.example", true), reader("b@shop.example", false)];
    changes::apply(ctx, all).await.expect("customers");
    test.run_due_jobs().await;
    let listed = segments::list(ctx).await.expect("segments");
    let sizes = segments::sizes(ctx).await.expect("sizes");
    let readers = listed.iter().find(|one| one.name == "Newsletter readers").expect("readers");
    assert_eq!(sizes.get(&readers.number), Some(&1));
    assert!(listed.iter().all(|one| !one.is_evaluating()));
    assert_eq!(forms::list(ctx).await.expect("forms").len(), 1);
    assert_eq!(templates::page(ctx, 0, 9).await.expect("templates").items.len(), 1);
    let letter = campaigns::page(ctx, i32::MAX, 9).await.expect("campaigns").items.remove(0);
    let review = campaigns::review(ctx, letter.campaign.id).await.expect("a review");
    assert!(review.sample.is_some(), "the letter is rendered for a reader");
}

on_both_engines!(it_is_written_as_an_export_would_write_it, it_works_as_if_made_by_hand);
