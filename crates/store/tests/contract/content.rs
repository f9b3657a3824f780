//! Templates and blocks in their versions, and pictures.

use tidings_domain::Timestamp;
use tidings_store::Error;
use tidings_store::images::NewImage;
use tidings_store::templates::{Format, TemplateDraft, Variant};

use crate::home::TestStore;
use crate::on_every_engine;

on_every_engine!(
    every_version_of_a_template_stays,
    a_block_is_what_it_was_at_a_time,
    pictures_are_kept_up_to_a_limit,
);

const AT: Timestamp = Timestamp(1_700_000_000_000_000);

async fn every_version_of_a_template_stays(test: TestStore) {
    let workspace = &test.workspace;
    let variant = Variant {
        language: "de".to_owned(),
        subject: "Hallo".to_owned(),
        html: "<p>„Ja“</p>".to_owned(),
        text: String::new(),
    };
    let first = TemplateDraft {
        name: "letter".to_owned(),
        subject: "Hi".to_owned(),
        html: "<p>x</p>".to_owned(),
        variants: vec![variant],
        ..TemplateDraft::default()
    };
    let second = TemplateDraft {
        name: "note".to_owned(),
        format: Format::Mjml,
        variants: Vec::new(),
        ..first.clone()
    };
    let id = workspace.add_template(first.clone(), AT).await.unwrap();
    let put = workspace.put_template(id, second.clone(), AT.plus_secs(60)).await.unwrap();
    assert_eq!(put, Some(2));

    let newest = workspace.template(id).await.unwrap().unwrap();
    assert_eq!((newest.version, newest.format), (2, Format::Mjml));
    assert_eq!(TemplateDraft::from(newest), second);
    let old = workspace.template_at(1, 1).await.unwrap().unwrap();
    // The name is the template's, not the version's.
    assert_eq!(TemplateDraft::from(old), TemplateDraft { name: "note".to_owned(), ..first });
    let page = workspace.template_versions(id, i32::MAX, 1).await.unwrap();
    assert_eq!((page.items[0].version, page.items[0].created_at), (2, AT.plus_secs(60)));
    let page = workspace.template_versions(id, page.next.unwrap(), 1).await.unwrap();
    assert_eq!((page.items[0].version, page.next), (1, None));
    assert_eq!(workspace.pinned_templates().await.unwrap(), []);
}

async fn a_block_is_what_it_was_at_a_time(test: TestStore) {
    let workspace = &test.workspace;
    let id = workspace.add_block("footer", "one", AT).await.unwrap();
    let taken = workspace.add_block("footer", "other", AT).await;
    assert!(matches!(taken, Err(Error::Conflict(text)) if text.contains("footer")));
    assert_eq!(workspace.put_block(id, "two", AT.plus_secs(60)).await.unwrap(), Some(2));
    for (secs, body) in [(-60, "one"), (0, "one"), (59, "one"), (60, "two"), (600, "two")] {
        let found = workspace.block_named("footer", AT.plus_secs(secs)).await.unwrap().unwrap();
        assert_eq!(found.body, body, "{secs} s");
    }
    assert_eq!(workspace.block_named("nothing", AT).await.unwrap(), None);
    assert_eq!(workspace.block(id).await.unwrap().unwrap().version, 2);
    assert_eq!(workspace.block_at(id, 1).await.unwrap().unwrap().body, "one");
    assert_eq!(workspace.blocks(0, 10).await.unwrap().items.len(), 1);
    assert_eq!(workspace.block_versions(id, i32::MAX, 10).await.unwrap().items.len(), 2);
    assert!(workspace.drop_block(id).await.unwrap());
    assert!(!workspace.drop_block(id).await.unwrap());
    assert_eq!(workspace.put_block(id, "three", AT).await.unwrap(), None);
    assert_eq!(workspace.block_versions(id, i32::MAX, 10).await.unwrap().items, []);
}

async fn pictures_are_kept_up_to_a_limit(test: TestStore) {
    let workspace = &test.workspace;
    let new = |secret: &str, bytes: &[u8]| NewImage {
        secret: secret.to_owned(),
        name: "a.png".to_owned(),
        kind: "png".to_owned(),
        width: 3,
        height: 4,
        bytes: bytes.to_vec(),
    };
    let first = workspace.add_image(new("one", b"\0\xff"), 5, AT).await.unwrap();
    workspace.add_image(new("two", b"123"), 5, AT).await.unwrap();
    let full = workspace.add_image(new("three", b"4"), 5, AT).await;
    assert!(matches!(full, Err(Error::Conflict(_))));
    let known = workspace.image(first).await.unwrap().unwrap();
    assert_eq!((known.number, known.width, known.height, known.size_bytes), (1, 3, 4, 2));
    let page = workspace.images(i32::MAX, 1).await.unwrap();
    assert_eq!((page.items[0].secret.as_str(), page.next), ("two", Some(2)));
    let bytes = workspace.image_bytes("one").await.unwrap();
    assert_eq!(bytes, Some(("png".to_owned(), b"\0\xff".to_vec())));
    assert!(workspace.drop_image(first).await.unwrap());
    assert!(!workspace.drop_image(first).await.unwrap());
    assert_eq!(workspace.image_bytes("one").await.unwrap(), None);
    workspace.add_image(new("three", b"45"), 5, AT).await.unwrap();
}
