//! A text that nobody else has, planted wherever something of a customer is kept.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tidings_domain::change::{
    Change, CustomerRef, FieldChange, Identity, IdentityKind, Outcome, RecordEvent, UpsertCustomer,
    UpsertRecord,
};
use tidings_domain::consent::{Channel, ConsentState, Proof, Via};
use tidings_domain::schema::Owner;
use tidings_domain::value::Kind;
use tidings_domain::{ImportId, SignUpId};
use tidings_engine::idempotency::{self, Start, Work};
use tidings_engine::imports::named::{self, NewNamed};
use tidings_engine::imports::{self, Import, Mapping, Upload, trial, undo};
use tidings_engine::{Ctx, changes, mailbox};
use tidings_store::forms::{MailLimit, SignUp};

use crate::common::Sending;

pub const PLANT: &str = "zq7plant";
pub const EMAIL: &str = "zq7plant@mail.example";
/// A number that nobody else has, and no other number of a test holds.
pub const PHONE: &str = "+49301987654";

pub fn planted() -> CustomerRef {
    let value = EMAIL.to_owned();
    CustomerRef::Identity(Identity { kind: IdentityKind::Email, value })
}

fn second() -> CustomerRef {
    let value = format!("{PLANT}-2");
    CustomerRef::Identity(Identity { kind: IdentityKind::ExternalId, value })
}

pub fn upsert() -> Change {
    let text = |name: &str| (name.to_owned(), FieldChange::SetJson(json!(PLANT)));
    Change::UpsertCustomer(UpsertCustomer {
        external_id: Some(format!("{PLANT}-1")),
        email: Some(EMAIL.to_owned()),
        phone: Some(PHONE.to_owned()),
        attributes: vec![text("name")],
        ..UpsertCustomer::default()
    })
}

pub async fn plant(sending: &Sending) {
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
            proof: Proof {
                user_agent: Some(PLANT.to_owned()),
                ip: Some(PLANT.to_owned()),
                ..Proof::by(Via::Form)
            },
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
pub async fn plant_by_imports(sending: &Sending) {
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

/// What is kept of somebody outside the tables of customers: a form that waits for their yes, a mail
/// of the demo's box, an answer kept for a call that may come again.
pub async fn plant_by_name(sending: &Sending) {
    let ctx = &sending.ctx;
    let now = ctx.now();
    let sign_up = SignUp {
        id: SignUpId::generate(),
        email: EMAIL.to_owned(),
        form: 1,
        given: json!({"values": {"name": PLANT}}).to_string(),
        ip: Some(format!("{PLANT} ip")),
        user_agent: Some(PLANT.to_owned()),
        created_at: now,
        expires_at: now.plus_secs(3_600),
        mailed_at: None,
        confirmed_at: None,
    };
    let limit = MailLimit { count: 9, since: now, pause_since: now };
    assert!(ctx.workspace.add_sign_up(sign_up, limit).await.unwrap());
    let raw = format!(
        "From: {PLANT}@shop.example\r\nTo: {EMAIL}\r\nSubject: {PLANT}\r\n\
         Message-ID: <{PLANT}@shop.example>\r\n\r\nDear {PLANT}\r\n"
    );
    mailbox::keep(ctx, vec![mailbox::incoming(EMAIL, raw.into_bytes())]).await.unwrap();
    let begun = idempotency::begin(ctx, "anybody", "key", &[b"body"], Work::Else).await.unwrap();
    let Start::Go(key) = begun else { panic!("the key is new: {begun:?}") };
    key.finish(ctx, 200, &json!({"email": EMAIL}).to_string()).await.unwrap();
    // A row that was refused, with the reason and the row itself.
    ctx.workspace.add_attribute("birthday", Kind::Date, now).await.unwrap();
    let upload = Upload { filename: "refused.csv".to_owned(), ..Upload::default() };
    let text = format!("email,birthday\n{EMAIL},{PLANT} is no day\n");
    let draft = imports::create(ctx, upload, text.as_bytes()).await.unwrap();
    let mapping = json!({"columns": [
        {"column": "email", "to": "email"}, {"column": "birthday", "to": "birthday"},
    ]});
    let mapping: Mapping = serde_json::from_value(mapping).unwrap();
    imports::set_mapping(ctx, draft.row.id, &mapping).await.unwrap();
    imports::start(ctx, draft.row.id).await.unwrap();
    until(ctx, draft.row.id, |import| import.row.state.is_finished()).await;
    assert_eq!(imports::get(ctx, draft.row.id).await.unwrap().row.counts.refused, 1);
}
