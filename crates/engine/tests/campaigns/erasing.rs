//! Erasing a person: a text is planted in every place, and afterwards found in none, on both
//! engines.

use std::io::Write;

use crate::common::{Engine, Sending};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tidings_domain::ImportId;
use tidings_domain::campaign::{CampaignState, MessageClass};
use tidings_domain::change::{
    Change, CustomerRef, FieldChange, Identity, IdentityKind, Outcome, RecordEvent, UpsertCustomer,
    UpsertRecord,
};
use tidings_domain::consent::{Channel, ConsentState, Proof, SuppressionReason, Via};
use tidings_domain::schema::Owner;
use tidings_domain::value::Kind;
use tidings_engine::imports::named::{self, NewNamed};
use tidings_engine::imports::{self, Import, Mapping, Upload, trial, undo};
use tidings_engine::{Ctx, Error, campaigns, changes, customers, personal, suppressions};
use tidings_testkit::mail_sink::Script;

mod sqlite {
    #[tokio::test(flavor = "multi_thread")]
    async fn row_61_a_planted_text_is_gone() {
        super::row_61_a_planted_text_is_gone(super::Engine::Sqlite).await;
    }
}
mod postgres {
    #[tokio::test(flavor = "multi_thread")]
    async fn row_61_a_planted_text_is_gone() {
        super::row_61_a_planted_text_is_gone(super::Engine::Postgres).await;
    }
}

const PLANT: &str = "zq7plant";
const EMAIL: &str = "zq7plant@mail.example";

fn planted() -> CustomerRef {
    let value = EMAIL.to_owned();
    CustomerRef::Identity(Identity { kind: IdentityKind::Email, value })
}

fn second() -> CustomerRef {
    let value = format!("{PLANT}-2");
    CustomerRef::Identity(Identity { kind: IdentityKind::ExternalId, value })
}

fn upsert() -> Change {
    let text = |name: &str| (name.to_owned(), FieldChange::SetJson(json!(PLANT)));
    Change::UpsertCustomer(UpsertCustomer {
        external_id: Some(format!("{PLANT}-1")),
        email: Some(EMAIL.to_owned()),
        attributes: vec![text("name")],
        ..UpsertCustomer::default()
    })
}

async fn plant(sending: &Sending) {
    let ctx = &sending.ctx;
    let fields = vec![("note".to_owned(), Kind::Text)];
    ctx.workspace.add_table("orders", Owner::Customer, fields, ctx.now()).await.unwrap();
    let customer = planted();
    let changes = vec![
        upsert(),
        Change::RecordEvent(RecordEvent {
            customer: customer.clone(),
            name: "seen".to_owned(),
            at: None,
            properties: json!({"page": PLANT}),
            id: None,
        }),
        Change::UpsertRecord(UpsertRecord {
            table: "orders".to_owned(),
            key: format!("{PLANT}-order"),
            customer: Some(customer.clone()),
            mode: Default::default(),
            fields: vec![("note".to_owned(), FieldChange::SetJson(json!(PLANT)))],
        }),
        // Somebody who was merged, and a visitor who became known.
        Change::UpsertCustomer(UpsertCustomer {
            external_id: Some(format!("{PLANT}-2")),
            email: Some(format!("{PLANT}-2@mail.example")),
            ..UpsertCustomer::default()
        }),
        Change::PutTag { customer: second(), tag: format!("{PLANT}-2"), until: None },
        Change::MergeCustomers { customer: customer.clone(), other: second() },
        Change::Alias {
            anonymous_id: Identity {
                kind: IdentityKind::AnonymousId,
                value: format!("{PLANT}-device"),
            },
            customer: UpsertCustomer { email: Some(EMAIL.to_owned()), ..UpsertCustomer::default() },
        },
        Change::PutTag { customer: customer.clone(), tag: PLANT.to_owned(), until: None },
        Change::PutGroupMember { customer: customer.clone(), group: "staff".to_owned() },
        Change::ChangeConsent {
            customer,
            channel: Channel::Email,
            topic: String::new(),
            state: ConsentState::Granted,
            source: PLANT.to_owned(),
            proof: Proof { user_agent: Some(PLANT.to_owned()), ..Proof::by(Via::Form) },
        },
    ];
    for outcome in changes::apply(ctx, changes).await.unwrap() {
        assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    }
}

/// Waits for the hub's own jobs.
async fn until(ctx: &Ctx, id: ImportId, is_there: impl Fn(&Import) -> bool) {
    while !is_there(&imports::get(ctx, id).await.unwrap()) {
        tokio::task::yield_now().await;
    }
}

/// What imports leave: a journal, what an undo could not take back, a draft with its files and its
/// trial, and a kept mapping.
async fn plant_by_imports(sending: &Sending) {
    let ctx = &sending.ctx;
    let draft = async |text: &str| {
        let upload = Upload { filename: "people.csv".to_owned(), ..Upload::default() };
        imports::create(ctx, upload, text.as_bytes()).await.unwrap()
    };
    let import = async |name: &str| {
        sending.clock.advance_ms(1_000);
        let draft = draft(&format!("email,name\n{EMAIL},{name}\n")).await;
        imports::start(ctx, draft.row.id).await.unwrap();
        until(ctx, draft.row.id, |import| import.row.state.is_finished()).await;
        draft.row.id
    };
    let first = import(&format!("{PLANT} the first")).await;
    import(&format!("{PLANT} the second")).await;
    // The journal keeps the earlier value, the undo lists what it leaves.
    undo::start(ctx, first).await.unwrap();
    let is_undone = |import: &Import| {
        import.undo.as_ref().is_some_and(|undo| undo.state == undo::UndoState::Done)
    };
    until(ctx, first, is_undone).await;
    assert_eq!(undo::kept(ctx, first, None, 10).await.unwrap().0.len(), 1);
    let mapping: Mapping = serde_json::from_value(json!({"columns": [
        {"column": "email", "to": "email"}, {"constant": EMAIL, "to": "name"},
    ]}))
    .unwrap();
    let headers = vec!["email".to_owned()];
    let new = NewNamed { name: "kept".to_owned(), table: None, headers, mapping };
    named::save(ctx, new).await.unwrap();
    // Packed, so that the upload itself does not show whom it names.
    let text = format!("email;name\r\n{EMAIL};Zo\u{eb}\r\n");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    gzip.write_all(&utf16).unwrap();
    let upload = Upload { filename: "people.csv.gz".to_owned(), ..Upload::default() };
    let packed = imports::create(ctx, upload, &gzip.finish().unwrap()[..]).await.unwrap();
    trial::start(ctx, packed.row.id).await.unwrap();
    let is_tried = |import: &Import| {
        import.trial.as_ref().is_some_and(|trial| trial.state == trial::TrialState::Done)
    };
    until(ctx, packed.row.id, is_tried).await;
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

async fn row_61_a_planted_text_is_gone(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    let ctx = &sending.ctx;
    sending.customers(3).await;
    plant(&sending).await;
    plant_by_imports(&sending).await;
    let id = sending.campaign(MessageClass::Marketing, None).await;
    campaigns::launch(ctx, id, None).await.unwrap();
    let sent = sending.until(id, CampaignState::Done).await;
    assert_eq!(sent.counts.sent, 1);
    let reason = SuppressionReason::Complaint;
    suppressions::add(ctx, Channel::Email, EMAIL, reason).await.unwrap();
    let customer = customers::find(ctx, planted()).await.unwrap();
    let rows = serde_json::to_string(&personal::rows(ctx, customer).await.unwrap()).unwrap();
    assert!(rows.matches(PLANT).count() >= 8, "the export tells all: {rows}");
    let told = everything(&sending).await;
    assert!(told.matches(PLANT).count() >= 15);
    for table in ["merges ", "merge_rows ", "identities "] {
        let holds = |line: &str| line.starts_with(table) && line.contains(PLANT);
        assert!(told.lines().any(holds), "{table}");
    }
    // The search knows them as soon as its job has run.
    while !everything(&sending).await.contains("search_texts   zq7plant") {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }

    personal::erase(ctx, planted()).await.unwrap();

    let left = everything(&sending).await;
    assert!(!left.contains(PLANT), "{}", left.lines().find(|one| one.contains(PLANT)).unwrap());
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
    for kind in [IdentityKind::Email, IdentityKind::ExternalId] {
        let value = match kind {
            IdentityKind::Email => EMAIL.to_owned(),
            _ => format!("{PLANT}-1"),
        };
        personal::readmit(ctx, Identity { kind, value }).await.unwrap();
    }
    let back = changes::apply_one(ctx, upsert()).await.unwrap();
    assert!(matches!(back, Outcome::Created { .. }), "{back:?}");
}
