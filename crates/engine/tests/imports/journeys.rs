//! Good files.

use serde_json::json;
use tidings_domain::change::IdentityKind::{Email, ExternalId};
use tidings_domain::schema::Owner;
use tidings_domain::value::Kind;
use tidings_engine::imports::{self, Upload};
use tidings_store::imports::ImportState;
use tidings_testkit::hub::{START, TestHub};
use tidings_testkit::on_both_engines;
use tokio::sync::watch;

use super::files::{
    customer, customer_count, error_file, finished, imported, imported_by, outcome, refused, upload,
};

on_both_engines!(
    a_messy_file_becomes_customers,
    the_same_file_again_changes_nothing,
    update_mode_makes_nobody,
    one_identity_alone_may_name_the_customer,
    records_find_their_owners,
    the_same_key_twice_is_applied_in_order,
    a_file_without_a_header_is_mapped_by_place,
    refused_rows_come_back_to_be_corrected,
    the_upload_goes_away_at_the_end,
    a_command_runs_its_own_import,
    the_file_of_next_month_maps_itself,
);

const PEOPLE: &str = "\u{feff}Klantnummer;E-mail;Voornaam;Geboortedatum;Punten;Nieuwsbrief\r\n\
    1;Ann@Example.com;Ann;1980-02-01;12;yes\r\n\
    2;bo@example.com;\"Bo; the second\";;7;no\r\n\
    3;;Cy;1999-12-31;;yes\r\n";

async fn a_messy_file_becomes_customers(test: TestHub) {
    let import = imported(&test, PEOPLE).await;
    assert_eq!(import.row.state, ImportState::Done, "{:?}", import.row.error);
    assert_eq!(outcome(&import), (3, 0, 0, 0));
    assert_eq!(import.row.bytes_done, import.row.bytes_total);
    assert_eq!((import.row.started_at, import.row.finished_at), (Some(START), Some(START)));
    assert_eq!(import.columns[1].samples, ["Ann@Example.com", "bo@example.com"]);
    let ann = customer(&test, Email, "ann@example.com").await.expect("Ann");
    assert_eq!(ann.external_id.as_deref(), Some("1"));
    assert_eq!(
        serde_json::Value::from(ann.attributes()),
        json!({"voornaam": "Ann", "geboortedatum": "1980-02-01", "punten": 12, "nieuwsbrief": true})
    );
    let bo = customer(&test, ExternalId, "2").await.expect("Bo");
    assert_eq!(bo.attribute("voornaam"), Some(json!("Bo; the second")));
    assert_eq!(bo.attribute("geboortedatum"), None);
    // Every segment is compared once at the end, not customer by customer.
    assert_eq!(test.ctx.workspace.failed_jobs().await.unwrap(), []);
}

async fn the_same_file_again_changes_nothing(test: TestHub) {
    imported(&test, PEOPLE).await;
    let again = imported(&test, PEOPLE).await;
    assert_eq!(outcome(&again), (0, 0, 3, 0));
    assert_eq!(again.row.number, 2);
    assert_eq!(customer_count(&test).await, 3);
    let moved = imported(&test, PEOPLE.replace(";12;", ";13;")).await;
    assert_eq!(outcome(&moved), (0, 1, 2, 0));
}

async fn update_mode_makes_nobody(test: TestHub) {
    imported(&test, "email,city\nann@example.com,Oslo\n").await;
    let mapping = json!({
        "columns": [{"column": "email", "to": "email"}, {"column": "city", "to": "city"}],
        "mode": "update",
    });
    let file = "email,city\nann@example.com,Bergen\nbo@example.com,Oslo\n";
    let import = imported_by(&test, file, mapping).await;
    assert_eq!(outcome(&import), (0, 1, 0, 1));
    assert_eq!(refused(&test, &import).await, [(2, String::new(), "unknown_customer".to_owned())]);
    assert_eq!(customer_count(&test).await, 1);
}

async fn one_identity_alone_may_name_the_customer(test: TestHub) {
    imported(&test, "customer number,email\n1,ann@example.com\n").await;
    let mapping = json!({
        "columns": [
            {"column": "customer number", "to": "external_id"},
            {"column": 1, "to": "email"},
        ],
        "match": "email",
    });
    let import =
        imported_by(&test, "customer number,email\n77,ann@example.com\n8,\n", mapping).await;
    assert_eq!(outcome(&import), (0, 1, 0, 1));
    let ann = customer(&test, ExternalId, "77").await.expect("Ann under her new number");
    assert_eq!(ann.email.as_deref(), Some("ann@example.com"));
    let expected = [(2, "email".to_owned(), "no_identity".to_owned())];
    assert_eq!(refused(&test, &import).await, expected);
}

async fn records_find_their_owners(test: TestHub) {
    imported(&test, PEOPLE).await;
    let fields = vec![("total".to_owned(), Kind::Decimal { scale: 2 })];
    test.ctx.workspace.add_table("orders", Owner::Customer, fields, START).await.unwrap();
    let file = "Order ID,E-mail,Total,Placed at\n\
        o1,ann@example.com,9.95,2026-01-02T03:04:05Z\n\
        o2,ANN@example.com,10.5,\n\
        o3,nobody@example.com,1,\n\
        o4,not an address,1,\n\
        ,bo@example.com,1,\n\
        o5,bo@example.com,lots,\n\
        o1,ann@example.com,11,\n";
    let table = Some("orders".to_owned());
    let new = Upload { filename: "orders.csv".to_owned(), table, ..Upload::default() };
    let import = imports::create(&test.ctx, new, file.as_bytes()).await.unwrap();
    let to: Vec<&str> = import.mapping.columns.iter().map(|column| column.to.as_str()).collect();
    assert_eq!(to, ["key", "customer.email", "total", "placed_at"]);
    let import = finished(&test, &import).await;
    assert_eq!(import.row.state, ImportState::Done, "{:?}", import.row.error);
    assert_eq!(outcome(&import), (2, 1, 0, 4));
    let mail = || "E-mail".to_owned();
    assert_eq!(
        refused(&test, &import).await,
        [
            (3, mail(), "unknown_customer".to_owned()),
            (4, mail(), "invalid_email".to_owned()),
            (5, "Order ID".to_owned(), "invalid_key".to_owned()),
            (6, "Total".to_owned(), "invalid_value".to_owned()),
        ]
    );
}

async fn the_same_key_twice_is_applied_in_order(test: TestHub) {
    let mut file = "customer number,city\n".to_owned();
    for row in 0..3_000 {
        file.push_str(&format!("{},city {row}\n", row % 7));
    }
    let import = imported(&test, file).await;
    assert_eq!(outcome(&import), (7, 2_993, 0, 0));
    let last = customer(&test, ExternalId, "3").await.expect("number 3");
    assert_eq!(last.attribute("city"), Some(json!("city 2999")));
}

async fn a_file_without_a_header_is_mapped_by_place(test: TestHub) {
    let import = upload(&test.ctx, "1,ann@example.com\n2,bo@example.com\n").await.unwrap();
    assert!(!import.layout.header);
    let mapping = serde_json::from_value(json!({
        "columns": [{"column": 0, "to": "external_id"}, {"column": 1, "to": "email"}]
    }));
    imports::set_mapping(&test.ctx, import.row.id, &mapping.unwrap()).await.unwrap();
    let import = finished(&test, &import).await;
    assert_eq!(outcome(&import), (2, 0, 0, 0));
}

async fn refused_rows_come_back_to_be_corrected(test: TestHub) {
    let file = "customer number;email;phone\r\n\
        1;ann@example.com;+31612345678\r\n\
        2;not an address;+31612345678\r\n\
        3;cy@example.com;12\r\n\
        4;dee@example.com\r\n";
    let import = imported(&test, file).await;
    assert_eq!(outcome(&import), (1, 0, 0, 3));
    let expected = [(2, "email", "invalid_email"), (3, "phone", "invalid_phone")];
    let found = refused(&test, &import).await;
    for ((row, column, code), expected) in found.iter().zip(expected) {
        assert_eq!((*row, column.as_str(), code.as_str()), expected);
    }
    assert_eq!((found[2].0, found[2].2.as_str()), (4, "too_few_columns"));
    let errors = error_file(&test, &import).await;
    let lines: Vec<&str> = errors.split("\r\n").collect();
    assert_eq!(lines[0], "customer number;email;phone;reason");
    assert!(lines[1].starts_with("2;not an address;+31612345678;"), "{}", lines[1]);
    assert!(lines[1].contains("email: expected an address"), "{}", lines[1]);
    assert!(lines[3].starts_with("4;dee@example.com;;"), "{}", lines[3]);
    // Corrected in place and sent again, the file is taken; its reason column is ignored.
    let corrected = errors.replace("not an address", "bo@example.com").replace(";12;", ";;");
    let again = upload(&test.ctx, corrected).await.unwrap();
    let mapping = serde_json::from_value(json!({"columns": [
        {"column": "customer number", "to": "external_id"},
        {"column": "email", "to": "email"},
        {"column": "reason", "to": "ignore"},
    ]}));
    imports::set_mapping(&test.ctx, again.row.id, &mapping.unwrap()).await.unwrap();
    let again = finished(&test, &again).await;
    assert_eq!(outcome(&again), (3, 0, 0, 0), "{:?}", refused(&test, &again).await);
}

async fn the_upload_goes_away_at_the_end(test: TestHub) {
    let folder = test.folder.path().join("blobs/imports");
    let files = || std::fs::read_dir(&folder).map_or(0, Iterator::count);
    let import = upload(&test.ctx, PEOPLE).await.unwrap();
    assert_eq!(files(), 1);
    imports::cancel(&test.ctx, import.row.id).await.unwrap();
    assert_eq!(files(), 0);
    imported(&test, PEOPLE).await;
    assert_eq!(files(), 0);
}

async fn a_command_runs_its_own_import(test: TestHub) {
    let import = upload(&test.ctx, PEOPLE).await.unwrap();
    imports::start(&test.ctx, import.row.id).await.unwrap();
    let (stop_it, stop) = watch::channel(true);
    let stopped = imports::run_here(&test.ctx, import.row.id, &stop).await.unwrap();
    assert_eq!((stopped.row.state, stopped.row.counts.read), (ImportState::Running, 0));
    stop_it.send(false).unwrap();
    let ended = imports::run_here(&test.ctx, import.row.id, &stop).await.unwrap();
    assert_eq!((ended.row.state, outcome(&ended)), (ImportState::Done, (3, 0, 0, 0)));
    assert_eq!(test.run_due_jobs().await, 0, "what follows from it is done too");
}

async fn the_file_of_next_month_maps_itself(test: TestHub) {
    let mapping = json!({"columns": [
        {"column": "id", "to": "external_id", "transforms": ["upper"]},
        {"column": "town", "to": "city", "create": {"kind": "text"}},
    ]});
    imported_by(&test, "id,town\na1,Oslo\n", mapping.clone()).await;
    let next = upload(&test.ctx, "id,town\na1,Bergen\n").await.unwrap();
    assert_eq!(next.source.mapped_as, Some(1));
    assert_eq!(serde_json::to_value(&next.mapping).unwrap()["columns"], mapping["columns"]);
    assert_eq!(outcome(&finished(&test, &next).await), (0, 1, 0, 0));
    let other = upload(&test.ctx, "id,town,shop\na1,Bergen,x\n").await.unwrap();
    assert_eq!(other.source.mapped_as, None, "other columns are another file");
    // A mapping that no longer fits is not taken over.
    test.ctx.workspace.drop_attribute("city").await.unwrap();
    test.ctx.workspace.add_attribute("city", Kind::Date, START).await.unwrap();
    let later = upload(&test.ctx, "id,town\na1,Bergen\n").await.unwrap();
    assert_eq!(later.source.mapped_as, None);
}
