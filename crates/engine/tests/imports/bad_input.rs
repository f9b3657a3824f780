//! Bad files and bad mappings: a clear sentence, nothing half-written, the good rows kept.

use serde_json::json;
use tidings_domain::change::IdentityKind::ExternalId;
use tidings_domain::value::Kind;
use tidings_engine::imports;
use tidings_store::imports::ImportState;
use tidings_testkit::hub::{START, TestHub};
use tidings_testkit::on_both_engines;

use super::files::{
    customer, customer_count, error_file, faults, finished, imported, outcome, refused, upload,
};

on_both_engines!(
    files_that_cannot_be_read_are_refused_whole,
    a_header_alone_is_an_import_of_nothing,
    broken_rows_are_refused_and_the_others_kept,
    an_open_quote_takes_the_rest_of_the_file,
    a_line_of_ten_megabytes_is_refused_and_the_others_kept,
    values_that_do_not_fit_are_refused,
    mappings_are_checked_before_anything_is_made,
    a_file_that_vanished_fails_the_import,
    a_file_that_was_changed_fails_the_import,
    a_schema_that_lost_an_attribute_fails_the_import,
);

async fn files_that_cannot_be_read_are_refused_whole(test: TestHub) {
    let wide: String = (0..2_000).map(|n| format!("c{n},")).collect::<String>() + "end\n1\n";
    let cases: [(&[u8], &str); 8] = [
        (b"", "empty_file"),
        (b" \r\n\r\n", "empty_file"),
        (b"PK\x03\x04 and so on", "damaged_archive"),
        (b"%PDF-1.7 and so on", "not_delimited_text"),
        // A workbook with a password is no archive any more.
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and so on", "unreadable_workbook"),
        (b"email,city,email\nann@example.com,Oslo,x\n", "duplicate_headers"),
        (b"email,\"city\nann@example.com,Oslo\n", "unclosed_quote"),
        (wide.as_bytes(), "too_many_file_columns"),
    ];
    for (file, code) in cases {
        let found = faults(upload(&test.ctx, file).await);
        assert_eq!((found[0].path.as_str(), found[0].code), ("file", code));
        assert!(found[0].message.len() > 30, "{}", found[0].message);
    }
    let folder = test.folder.path().join("blobs/imports");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "refused files leave nothing");
    assert_eq!(imports::list(&test.ctx, None, 10).await.unwrap().0.len(), 0);
}

async fn a_header_alone_is_an_import_of_nothing(test: TestHub) {
    let import = imported(&test, "customer number,email,first name\n").await;
    assert_eq!((import.row.state, outcome(&import)), (ImportState::Done, (0, 0, 0, 0)));
    assert_eq!(customer_count(&test).await, 0);
}

async fn broken_rows_are_refused_and_the_others_kept(test: TestHub) {
    let file = b"customer number,city\n\
        1,Oslo\n\
        2,Os\0lo\n\
        3,Oslo,Norway\n\
        4\n\
        5,M\xfcnchen\n\
        6,K\xc3\xb8benhavn \xe2\x82\xac\n\
        7,Troms\xc3\xb8\n";
    let import = imported(&test, file).await;
    assert_eq!(import.row.state, ImportState::Done);
    assert_eq!(outcome(&import), (3, 0, 0, 4));
    let found = refused(&test, &import).await;
    let found: Vec<(u64, &str, &str)> =
        found.iter().map(|(row, column, code)| (*row, column.as_str(), code.as_str())).collect();
    assert_eq!(
        found,
        [
            (2, "city", "nul_byte"),
            (3, "", "too_many_columns"),
            (4, "", "too_few_columns"),
            (5, "city", "invalid_utf8"),
        ]
    );
    let six = customer(&test, ExternalId, "6").await.expect("the sixth");
    assert_eq!(six.attribute("city"), Some(json!("København €")));
    let errors = error_file(&test, &import).await;
    assert_eq!(errors.lines().count(), 5, "{errors}");
}

async fn an_open_quote_takes_the_rest_of_the_file(test: TestHub) {
    let mut file = "customer number,city\n1,Oslo\n2,\"Bergen\n".to_owned();
    for row in 3..2_000 {
        file.push_str(&format!("{row},Oslo\n"));
    }
    let import = imported(&test, file).await;
    assert_eq!(outcome(&import), (1, 0, 0, 1));
    let (row, column, code) = refused(&test, &import).await.remove(0);
    assert_eq!((row, column.as_str(), code.as_str()), (2, "city", "unclosed_quote"));
}

async fn a_line_of_ten_megabytes_is_refused_and_the_others_kept(test: TestHub) {
    let mut file = b"customer number,city\n1,Oslo\n2,".to_vec();
    file.resize(file.len() + 10_000_000, b'x');
    file.extend_from_slice(b"\n3,");
    file.resize(file.len() + 2_000_000, b'y');
    file.extend_from_slice(b"\n4,Bergen\n");
    let import = imported(&test, file).await;
    assert_eq!(outcome(&import), (2, 0, 0, 2));
    let found = refused(&test, &import).await;
    assert_eq!((found[0].0, found[0].2.as_str()), (2, "record_too_long"));
    assert_eq!((found[1].0, found[1].2.as_str()), (3, "field_too_long"));
    assert!(customer(&test, ExternalId, "4").await.is_some());
}

async fn values_that_do_not_fit_are_refused(test: TestHub) {
    for (name, kind) in [
        ("score", Kind::Integer),
        ("spent", Kind::Decimal { scale: 2 }),
        ("born", Kind::Date),
        ("land", Kind::Country),
    ] {
        test.ctx.workspace.add_attribute(name, kind, START).await.unwrap();
    }
    let file = "customer number,email,phone,score,spent,born,land\n\
        1,ann@example.com,+31612345678,7,12.5,1980-02-01,nl\n\
        2,bo@example,,,,,\n\
        3,,0612345678,,,,\n\
        4,,,many,,,\n\
        5,,,,1.234,,\n\
        6,,,,,1980-02-30,\n\
        7,,,,,,Holland\n\
        ,,,7,,,\n";
    let import = imported(&test, file).await;
    assert_eq!(outcome(&import), (1, 0, 0, 7));
    let found = refused(&test, &import).await;
    let found: Vec<(u64, &str, &str)> =
        found.iter().map(|(row, column, code)| (*row, column.as_str(), code.as_str())).collect();
    assert_eq!(
        found,
        [
            (2, "email", "invalid_email"),
            (3, "phone", "invalid_phone"),
            (4, "score", "invalid_value"),
            (5, "spent", "invalid_value"),
            (6, "born", "invalid_value"),
            (7, "land", "invalid_value"),
            (8, "", "no_identity"),
        ]
    );
    assert_eq!(customer_count(&test).await, 1, "a refused row leaves nothing of itself");
}

async fn mappings_are_checked_before_anything_is_made(test: TestHub) {
    let import = upload(&test.ctx, "customer number,email,city\n1,a@example.com,Oslo\n").await;
    let id = import.unwrap().row.id;
    let number = json!({"column": "customer number", "to": "external_id"});
    for (columns, extra, code, path) in [
        (
            json!([number, {"column": "city", "to": "town"}]),
            json!({}),
            "unknown_attribute",
            "[1].to",
        ),
        (
            json!([number, {"column": "nope", "to": "city"}]),
            json!({}),
            "unknown_column",
            "[1].column",
        ),
        (json!([number, {"column": 9, "to": "city"}]), json!({}), "unknown_column", "[1].column"),
        (json!([number, number]), json!({}), "duplicate_column", "[1].column"),
        (
            json!([number, {"column": "email", "to": "external_id"}]),
            json!({}),
            "duplicate_target",
            "[1].to",
        ),
        (
            json!([number, {"column": "city", "to": "city", "create": {"kind": "place"}}]),
            json!({}),
            "invalid_kind",
            "[1].create",
        ),
        (
            json!([number, {"column": "city", "to": "system_id", "create": {"kind": "text"}}]),
            json!({}),
            "invalid_name",
            "[1].to",
        ),
        (
            json!([{"column": "city", "to": "city", "create": {"kind": "text"}}]),
            json!({}),
            "no_identity",
            "",
        ),
        (json!([number]), json!({"match": "email"}), "invalid", "match"),
    ] {
        let mut mapping = json!({"columns": columns});
        mapping.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let parsed = serde_json::from_value(mapping.clone()).unwrap();
        let found = faults(imports::set_mapping(&test.ctx, id, &parsed).await);
        let fault = found.iter().find(|fault| fault.code == code);
        assert!(fault.is_some_and(|fault| fault.path.ends_with(path)), "{mapping}: {found:?}");
    }
    let schema = test.ctx.workspace.fresh_schema().await.unwrap();
    assert_eq!(schema.attributes.len(), 0);
    let after = imports::get(&test.ctx, id).await.unwrap();
    assert_eq!(after.row.state, ImportState::Draft);
}

async fn a_file_that_vanished_fails_the_import(test: TestHub) {
    let import = upload(&test.ctx, "customer number\n1\n").await.unwrap();
    let folder = test.folder.path().join("blobs/imports");
    std::fs::remove_file(folder.join(import.row.id.to_string())).unwrap();
    let import = finished(&test, &import).await;
    assert_eq!(import.row.state, ImportState::Failed);
    assert_eq!(import.row.error.as_deref(), Some("the uploaded file is gone; send it again"));
    assert_eq!(import.row.finished_at, Some(START));
}

async fn a_file_that_was_changed_fails_the_import(test: TestHub) {
    let import = upload(&test.ctx, "customer number\n1\n").await.unwrap();
    let folder = test.folder.path().join("blobs/imports");
    std::fs::write(folder.join(import.row.id.to_string()), "other\n").unwrap();
    let import = finished(&test, &import).await;
    assert_eq!(import.row.state, ImportState::Failed);
    assert_eq!(customer_count(&test).await, 0);
}

async fn a_schema_that_lost_an_attribute_fails_the_import(test: TestHub) {
    let import = upload(&test.ctx, "customer number,city\n1,Oslo\n").await.unwrap();
    imports::start(&test.ctx, import.row.id).await.unwrap();
    test.ctx.workspace.drop_attribute("city").await.unwrap();
    test.run_due_jobs().await;
    let import = imports::get(&test.ctx, import.row.id).await.unwrap();
    assert_eq!(import.row.state, ImportState::Failed);
    assert_eq!(import.row.error.as_deref(), Some("the schema has lost city"));
}
