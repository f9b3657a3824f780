//! Erasing a person: a text is planted in every place, and afterwards found in none, on both
//! engines.

use crate::common::{Engine, Sending};
use serde_json::json;
use tidings_domain::campaign::{CampaignState, MessageClass};
use tidings_domain::change::{
    Change, CustomerRef, FieldChange, Identity, IdentityKind, Outcome, RecordEvent, UpsertCustomer,
    UpsertRecord,
};
use tidings_domain::consent::{Channel, ConsentState, Proof, SuppressionReason, Via};
use tidings_domain::schema::Owner;
use tidings_domain::value::Kind;
use tidings_engine::{Error, campaigns, changes, customers, personal, suppressions};
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

/// Everything that the workspace keeps, as an archive of it would hold it.
async fn everything(sending: &Sending) -> String {
    let tables = sending.ctx.workspace.all_rows().await.unwrap();
    tables.to_lowercase()
}

async fn row_61_a_planted_text_is_gone(engine: Engine) {
    let sending = Sending::on(engine, Script::accept_all()).await;
    let ctx = &sending.ctx;
    sending.customers(3).await;
    plant(&sending).await;
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
