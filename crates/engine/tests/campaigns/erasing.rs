//! Erasing a person: a text is planted in every place, and afterwards found in none, on both
//! engines. Which places there are is asked of the database, so that a new column is not forgotten.

use tidings_domain::CustomerId;
use tidings_domain::campaign::{CampaignState, MessageClass};
use tidings_domain::change::{Identity, IdentityKind, Outcome};
use tidings_domain::consent::{Channel, SuppressionReason};
use tidings_engine::{Error, campaigns, changes, customers, personal, suppressions};
use tidings_store::Home;
use tidings_testkit::mail_sink::Script;

use crate::common::{Engine, Sending};
use crate::places::{columns_with, files_with, keep_log, log};
use crate::planting::{
    EMAIL, PHONE, PLANT, plant, plant_by_imports, plant_by_name, planted, upsert,
};

mod sqlite {
    #[tokio::test(flavor = "multi_thread")]
    async fn row_61_62_63_what_is_planted_is_told_and_then_gone_from_tables_files_and_log() {
        super::row_61_62_63_what_is_planted_is_told_and_then_gone_from_tables_files_and_log(
            super::Engine::Sqlite,
        )
        .await;
    }
}
mod postgres {
    #[tokio::test(flavor = "multi_thread")]
    async fn row_61_62_63_what_is_planted_is_told_and_then_gone_from_tables_files_and_log() {
        super::row_61_62_63_what_is_planted_is_told_and_then_gone_from_tables_files_and_log(
            super::Engine::Postgres,
        )
        .await;
    }
}

/// Everything that the workspace keeps, as an archive of it would hold it, and its files.
async fn everything(sending: &Sending) -> String {
    let mut all = sending.ctx.workspace.all_rows().await.unwrap();
    let uploads = sending.folder.path().join("blobs").join("imports");
    for file in std::fs::read_dir(uploads).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        all.push_str(&String::from_utf8_lossy(&bytes).replace('\0', ""));
    }
    all.to_lowercase()
}

/// Tables and columns that hold nothing of a customer. A new column is here, or a text is planted in
/// it above; what is filled by neither fails the test.
const HARMLESS: &[(&str, &str)] = &[
    (
        "what colleagues define and read",
        "alerts attributes blocks block_versions campaigns \
      campaign_links dkim_keys event_names forms groups images image_files own_roles \
      recipient_limits relays sender_domains segment_days segments storage_samples settings templates \
      template_versions topics topic_versions user_fields user_tables",
    ),
    (
        "who works with the hub, and what they did by id",
        "audit audit_head nodes recovery_codes \
      roles sessions tokens users workspaces",
    ),
    (
        "the store's own",
        "meta migrations search_texts_config search_texts_data \
      search_texts_docsize search_texts_idx search_texts_content.c1 erasures jobs tombstones \
      suppressed_hashes",
    ),
    (
        "keys, kinds and figures beside what is planted",
        "consent_history.state \
      consent_history.topic consent_history.via consents.state consents.topic consents.via \
      deliveries.reason dirty_customers.changed idempotency.key idempotency.request_hash \
      import_journal.record_key import_kept.field import_kept.reason import_kept.record_key \
      import_mappings.header_key import_mappings.headers import_mappings.name \
      import_mappings.target_table import_refusals.code import_refusals.column_name imports.error \
      imports.filename imports.layout imports.mapping imports.position imports.state \
      imports.target_table imports.trial imports.trial_run imports.undo merge_rows.table_name \
      merges.filled search_texts.grams suppressions.reason",
    ),
    ("never written", "customers.extra"),
    ("holds the name of another kind", "customers.phone customers.birthday"),
    (
        "an answer of the mail server that names nobody here",
        "deliveries.reply suppressions.detail \
      import_refusals.message",
    ),
];

/// Every column of the database holds what was planted, or is known to hold nothing of customers.
async fn everywhere(sending: &Sending) {
    let harmless: Vec<&str> =
        HARMLESS.iter().flat_map(|(_, names)| names.split_whitespace()).collect();
    let mut wrong = Vec::new();
    for (place, holds) in columns_with(sending, PLANT).await {
        let (table, column) = place.split_once('.').expect("a table and a column");
        // Columns of attributes and fields carry their number, ids are no texts.
        let column = column.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
        let is_id = column == "id" || column.ends_with("_id") || column == "owner";
        let is_known = harmless.contains(&table)
            || harmless.contains(&place.as_str())
            || harmless.contains(&format!("{table}.{column}").as_str());
        match (holds, is_known) {
            (false, false) if !is_id => {
                wrong.push(format!("{place} is neither planted nor harmless"))
            }
            (true, true) => wrong.push(format!("{place} does hold something of customers")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Tables that hold something of a person and are no part of what they are shown.
const NOT_TOLD: &[(&str, &str)] = &[
    ("told in words beside the rows", "customers"),
    ("made of what is told", "search_texts search_texts_content"),
    (
        "files and texts of colleagues, which name others too",
        "imports import_refusals \
      import_mappings idempotency",
    ),
    ("the box of the demo, which shows mails that nobody else got", "mailbox"),
];

/// Row 62: whatever holds something of a person is told to them, but for what is known not to be.
async fn told_by_export(sending: &Sending, customer: CustomerId) {
    let rows = personal::rows(&sending.ctx, customer).await.unwrap();
    let left_out: Vec<&str> =
        NOT_TOLD.iter().flat_map(|(_, names)| names.split_whitespace()).collect();
    for (place, _) in columns_with(sending, PLANT).await.into_iter().filter(|(_, holds)| *holds) {
        let (table, column) = place.split_once('.').expect("a table and a column");
        if left_out.contains(&table) {
            continue;
        }
        let told = serde_json::to_string(&rows.get(table)).unwrap();
        assert!(told.contains(PLANT), "{table} is not told: {told}");
        let names = |row: &serde_json::Value| row.get(column).is_some();
        assert!(rows[table].iter().all(names), "{place} is not told");
    }
}

/// Lets the database itself hold what was planted, and not only its log: the page of a hub that has
/// run for a while.
async fn settle(sending: &Sending) {
    if let Home::Folder(folder) = &sending.home {
        let file = folder.join(format!("workspaces/w{}.db", sending.ctx.workspace.row.number));
        let db = rusqlite::Connection::open(&file).unwrap();
        db.query_row("pragma wal_checkpoint(passive)", [], |_| Ok(())).unwrap();
        assert!(files_with(&folder.join("workspaces"), PLANT).len() >= 2, "database and log");
    }
}

/// No file of the hub holds what was planted: not the database, whose free room is overwritten, nor
/// its log, which is emptied as soon as no reader needs it.
async fn not_in_files(sending: &Sending) {
    let mut found = files_with(sending.folder.path(), PLANT);
    for _ in 0..100 {
        if found.is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        sending.customers(1).await;
        found = files_with(sending.folder.path(), PLANT);
    }
    panic!("{found:?} still hold it");
}

async fn row_61_62_63_what_is_planted_is_told_and_then_gone_from_tables_files_and_log(
    engine: Engine,
) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    let ctx = &sending.ctx;
    keep_log();
    sending.customers(3).await;
    plant(&sending).await;
    plant_by_imports(&sending).await;
    plant_by_name(&sending).await;
    let id = sending.campaign(MessageClass::Marketing, None).await;
    campaigns::launch(ctx, id, None).await.unwrap();
    let sent = sending.until(id, CampaignState::Done).await;
    assert_eq!(sent.counts.sent, 1);
    let reason = SuppressionReason::Complaint;
    suppressions::add(ctx, Channel::Email, EMAIL, reason).await.unwrap();
    let customer = customers::find(ctx, planted()).await.unwrap();
    told_by_export(&sending, customer).await;
    let told = everything(&sending).await;
    assert!(told.matches(PLANT).count() >= 15);
    for table in ["merges ", "merge_rows ", "identities "] {
        let holds = |line: &str| line.starts_with(table) && line.contains(PLANT);
        assert!(told.lines().any(holds), "{table}");
    }
    everywhere(&sending).await;
    // The search knows them as soon as its job has run.
    while !everything(&sending).await.contains("search_texts   zq7plant") {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }

    settle(&sending).await;
    personal::erase(ctx, planted()).await.unwrap();

    let left = everything(&sending).await;
    assert!(!left.contains(PLANT), "{}", left.lines().find(|one| one.contains(PLANT)).unwrap());
    assert!(!left.contains(PHONE), "the number went too");
    let known = columns_with(&sending, PLANT).await.into_iter().filter(|(_, holds)| *holds);
    assert_eq!(known.count(), 0, "no column of any table holds it");
    not_in_files(&sending).await;
    let told: Vec<String> = log().into_iter().filter(|line| line.contains(PLANT)).collect();
    assert!(told.is_empty(), "the log names nobody: {told:?}");
    assert!(log().iter().any(|line| line.contains("the log is kept")));
    assert!(matches!(customers::find(ctx, planted()).await, Err(Error::NotFound(_))));
    let uploads = sending.folder.path().join("blobs").join("imports");
    assert_eq!(std::fs::read_dir(uploads).unwrap().count(), 0, "the packed file went too");
    let others = customers::page(ctx, None, None, 10).await.unwrap().items;
    assert_eq!(others.len(), 3, "nobody else is touched");
    let counts = campaigns::progress(ctx, id).await.unwrap().counts;
    assert_eq!(counts, sent.counts, "the figures still add up");
    // No import brings them back, and the suppression holds.
    let Outcome::Refused(refusal) = changes::apply_one(ctx, upsert()).await.unwrap() else {
        panic!("somebody who was erased is not known again")
    };
    assert_eq!(refusal.code, "erased");
    let reason = ctx.workspace.suppression_of(EMAIL).await.unwrap();
    assert_eq!(reason.as_deref(), Some("complaint"));
    for (kind, value) in [
        (IdentityKind::Email, EMAIL.to_owned()),
        (IdentityKind::Phone, PHONE.to_owned()),
        (IdentityKind::ExternalId, format!("{PLANT}-1")),
    ] {
        personal::readmit(ctx, Identity { kind, value }).await.unwrap();
    }
    let back = changes::apply_one(ctx, upsert()).await.unwrap();
    assert!(matches!(back, Outcome::Created { .. }), "{back:?}");
}
