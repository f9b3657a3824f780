//! JSON lines, workbooks, and files that come packed.

use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tidings_domain::change::IdentityKind::Email;
use tidings_domain::value::Kind;
use tidings_engine::imports::{self, FileKind, Packing, Upload};
use tidings_store::imports::ImportState;
use tidings_testkit::hub::{START, TestHub};
use tidings_testkit::on_both_engines;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::files::{customer, error_file, faults, finished, imported, outcome, refused, upload};

on_both_engines!(
    packed_files_are_unpacked,
    archives_beyond_the_limits_are_refused,
    json_lines_become_customers,
    a_workbook_becomes_customers,
    error_files_are_named_by_what_they_hold,
);

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::best());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

async fn packed_files_are_unpacked(test: TestHub) {
    let csv = "email,city\nann@example.com,Oslo\nno address,\n";
    let utf16: Vec<u8> = csv.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (file, packing) in [
        (gzip(csv.as_bytes()), Packing::Gzip),
        (gzip(&utf16), Packing::Gzip),
        (archive(&[("a/people.csv", csv.as_bytes())]), Packing::Zip),
        (archive(&[("x/", b""), ("people.csv", &utf16), ("__MACOSX/._p", b"x")]), Packing::Zip),
    ] {
        let import = imported(&test, &file).await;
        assert_eq!(import.row.state, ImportState::Done, "{:?}", import.row.error);
        assert_eq!(import.source.packing, Some(packing));
        assert_eq!((import.row.counts.read, import.row.counts.refused), (2, 1));
        let city = customer(&test, Email, "ann@example.com").await.unwrap().attribute("city");
        assert_eq!(city, Some(json!("Oslo")));
        let left = std::fs::read_dir(test.folder.path().join("blobs/imports")).unwrap().count();
        assert_eq!(left, 0, "everything that was made of the upload is gone");
    }
}

async fn archives_beyond_the_limits_are_refused(test: TestHub) {
    let bomb = vec![b'a'; 60 << 20];
    let nested = gzip(&gzip(b"email\nann@example.com\n"));
    let cut = &gzip(b"email\nann@example.com\nbo@example.com\n")[..20];
    for (file, code) in [
        (gzip(&bomb), "archive_ratio"),
        (archive(&[("a.csv", &bomb)]), "archive_ratio"),
        (nested, "nested_archive"),
        (archive(&[("a.zip", &archive(&[("b.csv", b"x")]))]), "nested_archive"),
        (archive(&[("a.csv", b"email\n"), ("b.csv", b"email\n")]), "archive_files"),
        (archive(&[]), "empty_file"),
        (archive(&[("a/", b"")]), "empty_file"),
        (gzip(b""), "empty_file"),
        (cut.to_vec(), "damaged_archive"),
        (b"{}\n".to_vec(), "empty_file"),
    ] {
        let found = faults(upload(&test.ctx, &file).await);
        assert_eq!((found[0].path.as_str(), found[0].code), ("file", code));
    }
    let left = std::fs::read_dir(test.folder.path().join("blobs/imports")).unwrap().count();
    assert_eq!(left, 0, "refused files leave nothing");
}

async fn json_lines_become_customers(test: TestHub) {
    test.ctx.workspace.add_attribute("likes", Kind::List, START).await.unwrap();
    let file = "{\"email\": \"ann@example.com\", \"score\": 7, \"address\": {\"city\": \"Oslo\"}}\n\
        \n\
        {\"email\": \"bo@example.com\", \"likes\": [\"tea; green\", \"jam\"], \"vip\": true}\n\
        not json\n\
        [1]\n\
        {\"email\": \"no address\", \"likes\": [\"a\"], \"score\": null, \"note\": \"=1+1\"}\n";
    let import = upload(&test.ctx, file).await.unwrap();
    assert_eq!(import.source.kind, FileKind::JsonLines);
    assert_eq!(import.headers(), ["email", "score", "address.city", "likes", "vip", "note"]);
    let import = finished(&test, &import).await;
    assert_eq!(import.row.state, ImportState::Done, "{:?}", import.row.error);
    assert_eq!(outcome(&import), (2, 0, 0, 3));
    let ann = customer(&test, Email, "ann@example.com").await.unwrap().attributes();
    assert_eq!(serde_json::Value::from(ann), json!({"score": 7, "address_city": "Oslo"}));
    let bo = customer(&test, Email, "bo@example.com").await.unwrap().attributes();
    assert_eq!(serde_json::Value::from(bo), json!({"likes": ["tea; green", "jam"], "vip": true}));
    let codes: Vec<_> = refused(&test, &import).await.into_iter().map(|one| one.2).collect();
    assert_eq!(codes, ["invalid_json", "invalid_json", "invalid_email"]);
    let errors = error_file(&test, &import).await;
    let lines: Vec<serde_json::Value> =
        errors.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["line"], &lines[1]["line"]), (&json!("not json"), &json!("[1]")));
    assert_eq!(lines[2]["email"], "no address");
    assert_eq!(lines[2]["likes"], json!(["a"]));
    assert_eq!(lines[2]["note"], "=1+1");
    assert!(lines[2]["reason"].as_str().unwrap().contains("expected an address"), "{errors}");
}

async fn a_workbook_becomes_customers(test: TestHub) {
    let sheet = "<worksheet><sheetData>\
        <row r=\"1\"><c r=\"A1\" t=\"inlineStr\"><is><t>email</t></is></c>\
          <c r=\"B1\" t=\"inlineStr\"><is><t>born</t></is></c>\
          <c r=\"C1\" t=\"inlineStr\"><is><t>score</t></is></c></row>\
        <row r=\"2\"><c r=\"A2\" t=\"s\"><v>0</v></c><c r=\"B2\" s=\"1\"><v>36525</v></c>\
          <c r=\"C2\"><v>7</v></c></row>\
        <row r=\"5\"><c r=\"A5\" t=\"s\"><v>1</v></c></row>\
        </sheetData></worksheet>";
    let book = archive(&[
        ("[Content_Types].xml", b"<Types/>"),
        ("xl/workbook.xml", b"<workbook><sheets><sheet name=\"People\" r:id=\"r1\"/></sheets></workbook>"),
        ("xl/_rels/workbook.xml.rels", b"<Relationships><Relationship Id=\"r1\" Target=\"worksheets/sheet1.xml\"/></Relationships>"),
        ("xl/styles.xml", b"<styleSheet><cellXfs><xf numFmtId=\"0\"/><xf numFmtId=\"14\"/></cellXfs></styleSheet>"),
        ("xl/sharedStrings.xml", b"<sst><si><t>ann@example.com</t></si><si><t>no address</t></si></sst>"),
        ("xl/worksheets/sheet1.xml", sheet.as_bytes()),
    ]);
    let upload = Upload { filename: "people.xlsx".to_owned(), ..Upload::default() };
    let import = imports::create(&test.ctx, upload, &book[..]).await.unwrap();
    assert_eq!(import.source.kind, FileKind::Workbook);
    assert_eq!(import.headers(), ["email", "born", "score"]);
    let import = finished(&test, &import).await;
    assert_eq!(outcome(&import), (1, 0, 0, 1));
    let ann = customer(&test, Email, "ann@example.com").await.unwrap().attributes();
    assert_eq!(serde_json::Value::from(ann), json!({"born": "1999-12-31", "score": 7}));
    let errors = error_file(&test, &import).await;
    assert!(errors.starts_with("email,born,score,reason\nno address,,,"), "{errors}");
}

async fn error_files_are_named_by_what_they_hold(test: TestHub) {
    let csv = b"email\nann@example.com\nbo@example.com\nno address\n".to_vec();
    for (name, file, expected) in [
        ("people.csv", csv.clone(), "people errors.csv"),
        ("people.csv.gz", gzip(&csv), "people errors.csv"),
        ("people", csv.clone(), "people errors.csv"),
        (
            "people.ndjson",
            b"{\"email\": \"ann@example.com\"}\n{\"email\": \"x\"}\n".to_vec(),
            "people errors.ndjson",
        ),
    ] {
        let upload = Upload { filename: name.to_owned(), ..Upload::default() };
        let import = imports::create(&test.ctx, upload, &file[..]).await.unwrap();
        let import = finished(&test, &import).await;
        let (found, _) = imports::error_file(&test.ctx, import.row.id).await.unwrap();
        assert_eq!(found, expected);
    }
}
