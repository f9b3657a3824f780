//! Files as the world writes them, and values that change on their way in.

use futures::TryStreamExt;
use serde_json::{Value as Json, json};
use tidings_domain::change::IdentityKind::ExternalId;
use tidings_domain::value::Kind;
use tidings_engine::imports::{self, Adjust, Encoding, Upload};
use tidings_store::imports::ImportState;
use tidings_testkit::hub::{START, TestHub};
use tidings_testkit::on_both_engines;

use super::files::{
    customer, error_file, faults, finished, imported, imported_by, outcome, refused, upload,
};

on_both_engines!(
    files_in_any_encoding_become_the_same_customers,
    an_encoding_is_corrected_by_hand,
    the_layout_is_corrected_by_hand,
    numbers_and_dates_are_read_as_they_are_written,
    the_form_of_a_column_is_corrected_by_hand,
    values_change_on_their_way,
    transforms_are_checked_before_anything_is_made,
    add_mode_refuses_who_is_known,
    the_first_rows_are_shown_as_they_are_read,
);

const PEOPLE: &str = "Kundennr;Vorname;Ort\r\n1;Zoë;Köln\r\n2;Jürgen;Łódź €\r\nx\r\n";

async fn attributes(test: &TestHub, number: &str) -> Json {
    customer(test, ExternalId, number).await.expect("a customer").attributes().into()
}

async fn files_in_any_encoding_become_the_same_customers(test: TestHub) {
    let utf16 = |order: fn(u16) -> [u8; 2], text: &str| -> Vec<u8> {
        text.encode_utf16().flat_map(order).collect()
    };
    let marked = format!("\u{feff}{PEOPLE}");
    let western: Vec<u8> =
        PEOPLE.replace("Łódź €", "Aix").chars().map(|c| u32::from(c) as u8).collect();
    for (file, encoding, ort) in [
        (PEOPLE.as_bytes().to_vec(), Encoding::Utf8, "Łódź €"),
        (marked.clone().into_bytes(), Encoding::Utf8, "Łódź €"),
        (utf16(u16::to_le_bytes, &marked), Encoding::Utf16Le, "Łódź €"),
        (utf16(u16::to_be_bytes, PEOPLE), Encoding::Utf16Be, "Łódź €"),
        (western, Encoding::Windows1252, "Aix"),
        (PEOPLE.replace("\r\n", "\r").into_bytes(), Encoding::Utf8, "Łódź €"),
    ] {
        let import = imported(&test, &file).await;
        assert_eq!(import.row.state, ImportState::Done, "{:?}", import.row.error);
        assert_eq!(import.layout.encoding, encoding);
        assert_eq!((import.row.counts.read, import.row.counts.refused), (3, 1), "{encoding:?}");
        assert_eq!(attributes(&test, "1").await, json!({"vorname": "Zoë", "ort": "Köln"}));
        assert_eq!(attributes(&test, "2").await["ort"], ort);
        // The refused row comes back in the encoding it came in, byte order mark and all.
        let (_, stream) = imports::error_file(&test.ctx, import.row.id).await.unwrap();
        let parts: Vec<_> = stream.try_collect().await.unwrap();
        assert_eq!(parts.concat()[..8], file[..8], "{encoding:?}");
        let left = std::fs::read_dir(test.folder.path().join("blobs/imports")).unwrap().count();
        assert_eq!(left, 0, "the file and the text made of it are gone");
    }
}

async fn an_encoding_is_corrected_by_hand(test: TestHub) {
    let import = upload(&test.ctx, b"number,city\n1,caf\x80\n").await.unwrap();
    assert_eq!(import.columns[1].samples, ["caf€"]);
    let adjust = |encoding| Adjust { encoding: Some(encoding), ..Adjust::default() };
    let id = import.row.id;
    let latin = imports::set_layout(&test.ctx, id, adjust(Encoding::Iso88591)).await.unwrap();
    assert_eq!(latin.columns[1].samples, ["caf\u{80}"]);
    let wrong = imports::set_layout(&test.ctx, id, adjust(Encoding::Utf8)).await.unwrap();
    assert_eq!(outcome(&finished(&test, &wrong).await), (0, 0, 0, 1));
    let late = imports::set_layout(&test.ctx, id, adjust(Encoding::Windows1252)).await;
    assert!(late.unwrap_err().to_string().contains("its file is read by now"));
}

async fn the_layout_is_corrected_by_hand(test: TestHub) {
    let file = "7#5\" disk\n8#x\n";
    let adjust = Adjust {
        delimiter: Some(b'#'),
        quote: Some(None),
        header: Some(false),
        ..Adjust::default()
    };
    let known = Upload { adjust, ..Upload::default() };
    let import = imports::create(&test.ctx, known, file.as_bytes()).await.unwrap();
    assert_eq!(import.columns.len(), 2);
    assert_eq!(import.columns[1].samples, ["5\" disk", "x"]);
    let header = Adjust { header: Some(true), ..Adjust::default() };
    let import = imports::set_layout(&test.ctx, import.row.id, header).await.unwrap();
    assert_eq!(import.headers(), ["7", "5\" disk"]);
    assert_eq!(import.layout.delimiter, b'#', "what was said before stays");
}

async fn numbers_and_dates_are_read_as_they_are_written(test: TestHub) {
    test.ctx.workspace.add_attribute("born", Kind::Date, START).await.unwrap();
    let mut file = "number;born;umsatz;visits;seen\n\
        1;31.12.1999;1.234,50;1.000;31.12.2025 23:59\n\
        2;1.2.2000;7;;\n"
        .to_owned();
    // What is found out stands after the first rows; a later one that does not fit is refused.
    for row in 10..300 {
        file.push_str(&format!("{row};31.01.2000;0,5;;\n"));
    }
    file.push_str("3;2000-02-01;-0,5;;\n4;12/31/1999;;;\n5;;1.5;;\n");
    let import = imported(&test, file).await;
    assert_eq!(import.row.state, ImportState::Done, "{:?}", import.row.error);
    assert_eq!(outcome(&import), (293, 0, 0, 2));
    assert_eq!(
        attributes(&test, "1").await,
        json!({"born": "1999-12-31", "umsatz": "1234.50", "visits": 1000,
               "seen": "2025-12-31T23:59:00Z"})
    );
    assert_eq!(attributes(&test, "2").await, json!({"born": "2000-02-01", "umsatz": "7.00"}));
    assert_eq!(
        attributes(&test, "3").await,
        json!({"born": "2000-02-01", "umsatz": "-0.50"}),
        "a date that is written year first is read in any case"
    );
    let expected = [(294, "born", "invalid_value"), (295, "umsatz", "invalid_value")];
    let expected = expected.map(|(row, column, code)| (row, column.to_owned(), code.to_owned()));
    assert_eq!(refused(&test, &import).await, expected);
    let errors = error_file(&test, &import).await;
    assert!(errors.contains("expected a date such as 31.12.1999"), "{errors}");
}

async fn the_form_of_a_column_is_corrected_by_hand(test: TestHub) {
    let file = "number,born\n1,1/2/2000\n";
    let import = upload(&test.ctx, file).await.unwrap();
    let suggestion = import.columns[1].suggestion.clone().unwrap();
    assert!(suggestion.ambiguous, "{suggestion:?}");
    let mapping = json!({"columns": [
        {"column": "number", "to": "external_id"},
        {"column": "born", "to": "born", "date": "mdy", "create": {"kind": "date"}},
    ]});
    let import = imported_by(&test, file, mapping).await;
    assert_eq!(outcome(&import), (1, 0, 0, 0));
    assert_eq!(attributes(&test, "1").await, json!({"born": "2000-01-02"}));
}

async fn values_change_on_their_way(test: TestHub) {
    test.ctx.workspace.add_attribute("likes", Kind::List, START).await.unwrap();
    let text = json!({"kind": "text"});
    let mapping = json!({"columns": [
        {"column": "id", "to": "external_id", "transforms": ["trim", "upper"]},
        {"column": "name", "to": "first", "create": text,
         "transforms": [{"split": {"by": ",", "part": 2}}, "capitalise"]},
        {"column": "name", "to": "last", "create": text,
         "transforms": [{"split": {"by": ",", "part": 1}}]},
        {"column": "sex", "to": "sex", "create": text,
         "transforms": [{"lookup": {"map": {"M": "male", "V": "female"}, "otherwise": "refuse"}}]},
        {"join": {"columns": ["street", 4], "with": " "}, "to": "address", "create": text},
        {"constant": "shop", "to": "source", "create": text},
        {"column": "town", "to": "postcode", "create": text,
         "transforms": [{"pattern": {"find": "^\\d{4} ?[A-Z]{2}"}}]},
        {"column": "town", "to": "town", "create": text, "transforms": [{"default": "unknown"}]},
        {"column": "likes", "to": "likes", "transforms": [{"split": {"by": "/"}}, "lower"]},
    ]});
    let file = "id,name,sex,street,house,town,likes\n\
         a1 ,\"Smit, ANN\",V,Dam,1,1012 AB Amsterdam,Tea/Jam; Toast\n\
        a2,Jansen,,Dam,,,\n\
        a3,Berg,X,,,,\n";
    let import = imported_by(&test, file, mapping).await;
    assert_eq!(import.row.state, ImportState::Done, "{:?}", import.row.error);
    assert_eq!(outcome(&import), (2, 0, 0, 1));
    assert_eq!(
        attributes(&test, "A1").await,
        json!({"first": "Ann", "last": "Smit", "sex": "female", "address": "Dam 1",
               "source": "shop", "postcode": "1012 AB", "town": "1012 AB Amsterdam",
               "likes": ["tea", "jam; toast"]})
    );
    assert_eq!(
        attributes(&test, "A2").await,
        json!({"last": "Jansen", "address": "Dam", "source": "shop", "town": "unknown"})
    );
    let expected = [(3, "sex".to_owned(), "invalid_value".to_owned())];
    assert_eq!(refused(&test, &import).await, expected);
    assert!(error_file(&test, &import).await.contains("expected one of M, V"));
}

async fn transforms_are_checked_before_anything_is_made(test: TestHub) {
    let import = upload(&test.ctx, "number,email,city\n1,a@example.com,Oslo\n").await.unwrap();
    let number = json!({"column": "number", "to": "external_id"});
    let city = |more: Json| {
        let mut column = json!({"to": "city", "create": {"kind": "text"}});
        column.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        column
    };
    for (column, code, path) in [
        (city(json!({})), "invalid", "[1].column"),
        (city(json!({"column": "city", "constant": "x"})), "invalid", "[1].column"),
        (city(json!({"join": {"columns": ["city"]}})), "invalid", "[1].join"),
        (
            city(json!({"join": {"columns": ["city", "nope"]}})),
            "unknown_column",
            "[1].join.columns[1]",
        ),
        (
            city(json!({"column": "city", "transforms": ["trim", {"pattern": {"find": "("}}]})),
            "invalid_transform",
            "[1].transforms[1]",
        ),
        (
            city(json!({"column": "city", "transforms": [{"split": {"by": ","}}]})),
            "invalid_transform",
            "[1].transforms",
        ),
        (city(json!({"column": "city", "decimal": "comma"})), "invalid", "[1].decimal"),
        (city(json!({"column": "city", "date": "dmy"})), "invalid", "[1].date"),
        (json!({"constant": "a@example.com", "to": "email"}), "invalid", "[1].constant"),
    ] {
        let mapping = json!({"columns": [number, column]});
        let parsed = serde_json::from_value(mapping.clone()).unwrap();
        let found = faults(imports::set_mapping(&test.ctx, import.row.id, &parsed).await);
        let fault = found.iter().find(|fault| fault.code == code);
        assert!(fault.is_some_and(|fault| fault.path.ends_with(path)), "{mapping}: {found:?}");
    }
}

async fn add_mode_refuses_who_is_known(test: TestHub) {
    imported(&test, "email,city\nann@example.com,Oslo\n").await;
    let mapping = json!({
        "columns": [{"column": "email", "to": "email"}, {"column": "city", "to": "city"}],
        "mode": "add",
    });
    let file = "email,city\nann@example.com,Bergen\nbo@example.com,Oslo\n";
    let import = imported_by(&test, file, mapping).await;
    assert_eq!(outcome(&import), (1, 0, 0, 1));
    assert_eq!(refused(&test, &import).await, [(1, String::new(), "exists".to_owned())]);
}

async fn the_first_rows_are_shown_as_they_are_read(test: TestHub) {
    let file = "mail;name\nANN@example.com;ann  berg\nBO@example.com;\ntoo;many;cells\n";
    let import = upload(&test.ctx, file).await.unwrap();
    let mapping = serde_json::from_value(json!({"columns": [
        {"column": "mail", "to": "email", "transforms": ["lower"]},
        {"column": "name", "to": "name", "create": {"kind": "text"},
         "transforms": [{"lookup": {"map": {"": "?"}, "otherwise": "refuse"}}]},
    ]}))
    .unwrap();
    let rows = imports::preview(&test.ctx, import.row.id, Some(&mapping)).await.unwrap();
    let shown: Vec<_> = rows.iter().map(|one| (one.row, one.cells.len())).collect();
    assert_eq!(shown, [(1, 2), (2, 2), (3, 1)]);
    assert_eq!(rows[0].becomes["email"].as_deref(), Some("ann@example.com"));
    assert!(rows[0].fault.as_deref().is_some_and(|fault| fault.starts_with("name: ")), "{rows:?}");
    assert!(rows[2].fault.is_some() && rows[2].becomes.is_empty(), "{rows:?}");
    // Nothing is kept of the mapping, and an import that runs has no first rows any more.
    let draft = imports::get(&test.ctx, import.row.id).await.unwrap();
    assert_eq!(draft.mapping, import.mapping);
    let done = finished(&test, &draft).await;
    let late = imports::preview(&test.ctx, done.row.id, None).await.unwrap_err();
    assert!(late.to_string().contains("only a draft"), "{late}");
}
