//! Replacing: what the file has no value for is emptied, and an undo brings it back.

use serde_json::json;
use tidings_domain::change::IdentityKind::Email;
use tidings_domain::schema::Owner;
use tidings_domain::value::Kind;
use tidings_engine::imports::{self, Mapping, Upload, undo};
use tidings_testkit::hub::{START, TestHub};
use tidings_testkit::on_both_engines;

use super::files::{customer, finished, imported, imported_by, outcome};

on_both_engines!(blank_cells_empty_attributes, blank_cells_empty_fields_of_records,);

async fn blank_cells_empty_attributes(test: TestHub) {
    let before =
        "customer number,email,city,score\n1,ann@example.com,Oslo,7\n2,bo@example.com,Oslo,8\n";
    imported(&test, before).await;
    test.clock.advance_ms(1_000);
    let mapping = json!({"mode": "replace", "columns": [
        {"column": "email", "to": "email"}, {"column": "city", "to": "city"},
    ]});
    let file = "email,city\nann@example.com,\nbo@example.com,Bergen\ncy@example.com,\n";
    let import = imported_by(&test, file, mapping).await;
    assert_eq!(outcome(&import), (1, 2, 0, 0));
    let ann = customer(&test, Email, "ann@example.com").await.unwrap();
    // Only what the mapping names is emptied, and nobody loses a name by a blank.
    assert_eq!((ann.attribute("city"), ann.attribute("score")), (None, Some(json!(7))));
    assert_eq!(ann.external_id.as_deref(), Some("1"));
    let bo = customer(&test, Email, "bo@example.com").await.unwrap();
    assert_eq!(bo.attribute("city"), Some(json!("Bergen")));
    test.clock.advance_ms(1_000);
    undo::start(&test.ctx, import.row.id).await.unwrap();
    test.run_due_jobs().await;
    let ann = customer(&test, Email, "ann@example.com").await.unwrap();
    assert_eq!(ann.attribute("city"), Some(json!("Oslo")));
    assert!(customer(&test, Email, "cy@example.com").await.is_none());
}

async fn blank_cells_empty_fields_of_records(test: TestHub) {
    imported(&test, "email\nann@example.com\n").await;
    let fields = vec![("note".to_owned(), Kind::Text)];
    test.ctx.workspace.add_table("orders", Owner::Customer, fields, START).await.unwrap();
    let import = async |text: &str, mode: &str| {
        test.clock.advance_ms(1_000);
        let table = Some("orders".to_owned());
        let new = Upload { filename: "orders.csv".to_owned(), table, ..Upload::default() };
        let import = imports::create(&test.ctx, new, text.as_bytes()).await.unwrap();
        let mode = serde_json::from_value(json!(mode)).unwrap();
        let mapping = Mapping { mode, ..import.mapping.clone() };
        let import = imports::set_mapping(&test.ctx, import.row.id, &mapping).await.unwrap();
        outcome(&finished(&test, &import).await)
    };
    let head = "order id,email,note\n";
    assert_eq!(import(&format!("{head}o1,ann@example.com,red\n"), "upsert").await, (1, 0, 0, 0));
    assert_eq!(import(&format!("{head}o1,ann@example.com,\n"), "upsert").await, (0, 0, 1, 0));
    assert_eq!(import(&format!("{head}o1,ann@example.com,\n"), "replace").await, (0, 1, 0, 0));
    assert_eq!(import(&format!("{head}o1,ann@example.com,\n"), "replace").await, (0, 0, 1, 0));
}
