//! A workspace with something in every table that the store can fill, and values at the edges.

use serde_json::json;
use tidings_domain::campaign::MessageClass;
use tidings_domain::change::{
    Change, CustomerRef, FieldChange, Identity, IdentityKind, Outcome, RecordEvent, UpsertCustomer,
    UpsertRecord,
};
use tidings_domain::consent::{Channel, ConsentState, Proof};
use tidings_domain::schema::Owner;
use tidings_domain::value::Kind;
use tidings_domain::{EventId, Timestamp, TokenId, UserId};
use tidings_store::campaigns::{CampaignDraft, Sender};
use tidings_store::images::NewImage;
use tidings_store::mailbox::NewMail;
use tidings_store::senders::RecipientLimit;
use tidings_store::system::{TokenRow, UserRow};
use tidings_store::templates::TemplateDraft;

use crate::home::TestStore;

pub const AT: Timestamp = Timestamp(1_700_000_000_000_000);
pub const CUSTOMERS: usize = 60;

pub fn named(number: usize) -> CustomerRef {
    CustomerRef::Identity(Identity { kind: IdentityKind::ExternalId, value: format!("c{number}") })
}

const TEXTS: &[&str] = &[
    "plain",
    "O'Brien \"the\" \\ back",
    "Grüße 日本 🙂 \u{200f}rtl",
    "line\nend\ttab",
    " blanks ",
    "{\"looks\": \"like json\"}",
    "[1,2]",
    "null",
];

async fn people(test: &TestStore) {
    let workspace = &test.workspace;
    for (name, kind) in [
        ("city", Kind::Text),
        ("score", Kind::Integer),
        ("share", Kind::Decimal { scale: 4 }),
        ("member", Kind::Boolean),
        ("born", Kind::Date),
        ("seen", Kind::Timestamp),
        ("likes", Kind::List),
        ("spent", Kind::Money { currency: "EUR".into(), scale: 2 }),
        ("gone", Kind::Text),
        ("Größe \"x\"; --", Kind::Integer),
    ] {
        workspace.add_attribute(name, kind, AT).await.unwrap();
    }
    workspace.drop_attribute("gone").await.unwrap();
    let fields = vec![("status".into(), Kind::Text), ("lines".into(), Kind::List)];
    workspace.add_table("orders", Owner::Customer, fields, AT).await.unwrap();
    workspace.add_field("orders", "paid", Kind::Boolean, AT).await.unwrap();
    let fields = vec![("city".into(), Kind::Text)];
    workspace.add_table("shops", Owner::Nobody, fields, AT).await.unwrap();
    let set = |name: &str, value| (name.to_owned(), FieldChange::SetJson(value));
    let mut changes = Vec::new();
    for number in 0..CUSTOMERS {
        let text = TEXTS[number % TEXTS.len()];
        let mut attributes = vec![
            set("city", json!(text)),
            set("score", json!([i64::MIN, -1, 0, i64::MAX][number % 4])),
            set("share", json!("12.3456")),
            set("member", json!(number % 2 == 0)),
            set("born", json!("1999-12-31")),
            set("seen", json!("2024-02-29T23:59:59.999999Z")),
            set("likes", json!([text, "", "a,b"])),
            set("spent", json!("-0.01")),
        ];
        // Some have nothing but their name.
        attributes.truncate(number % 9);
        changes.push(Change::UpsertCustomer(UpsertCustomer {
            external_id: Some(format!("c{number}")),
            email: (number % 3 > 0).then(|| format!("c{number}@example.com")),
            phone: (number % 5 == 0).then(|| format!("+316123{number:05}")),
            attributes,
            ..Default::default()
        }));
        changes.push(Change::UpsertRecord(UpsertRecord {
            table: "orders".into(),
            key: format!("{text} {number}").trim().replace(['\n', '\t'], " "),
            customer: Some(named(number)),
            mode: Default::default(),
            fields: vec![set("status", json!(text)), set("lines", json!(["a", text]))],
        }));
    }
    changes.push(Change::UpsertRecord(UpsertRecord {
        table: "shops".into(),
        key: "s1".into(),
        customer: None,
        mode: Default::default(),
        fields: vec![set("city", json!("Utrecht"))],
    }));
    apply(test, changes).await;
}

async fn marks(test: &TestStore) {
    let properties = [
        json!({"b": 1.0, "a": [2.5, 1e3, 1e300, -0.0], "z": {"y": null, "x": true}}),
        json!({"total": 0.1, "tiny": 1e-7, "big": 123456789012345678_i64, "text": TEXTS[2]}),
        json!({"huge": 1e20, "max": u64::MAX, "third": 1.0 / 3.0, "escaped": "\u{1}\u{7f}\\\""}),
        json!({}),
    ];
    let mut changes = Vec::new();
    for number in 0..CUSTOMERS {
        changes.push(Change::RecordEvent(RecordEvent {
            customer: named(number),
            name: ["order_placed", "seen"][number % 2].into(),
            at: Some(AT.plus_secs(number as i64)),
            properties: properties[number % properties.len()].clone(),
            id: Some(EventId::generate()),
        }));
        let until = (number % 2 == 0).then(|| AT.plus_secs(60));
        changes.push(Change::PutTag { customer: named(number), tag: "vip".into(), until });
        let group = "staff".to_owned();
        changes.push(Change::PutGroupMember { customer: named(number), group });
        changes.push(Change::ChangeConsent {
            customer: named(number),
            channel: Channel::Email,
            topic: String::new(),
            state: [ConsentState::Granted, ConsentState::Withdrawn][number % 2],
            source: "form".into(),
            proof: Proof::default(),
        });
    }
    apply(test, changes).await;
}

async fn apply(test: &TestStore, changes: Vec<Change>) {
    let outcomes = test.workspace.apply(changes, AT).await.unwrap();
    let refused = outcomes.iter().find(|one| matches!(one, Outcome::Refused(_)));
    assert_eq!(refused, None);
}

/// Fills the store. Gives the number of the campaign, which has not begun.
pub async fn fill(test: &TestStore) -> i32 {
    people(test).await;
    marks(test).await;
    let workspace = &test.workspace;
    let rule = json!({"all": [{"tag": "vip"}]});
    let segment = workspace.add_segment("VIPs", rule, AT).await.unwrap();
    let draft = TemplateDraft {
        name: "Hello".into(),
        subject: "Hi {{ city }}".into(),
        html: "<p>Grüße</p>".into(),
        text: String::new(),
        ..TemplateDraft::default()
    };
    let template = workspace.add_template(draft, AT).await.unwrap();
    workspace.add_block("footer", "<p>Grüße</p>", AT).await.unwrap();
    let image = NewImage {
        secret: "secret".into(),
        name: "dot.gif".into(),
        kind: "gif".into(),
        width: 1,
        height: 1,
        bytes: vec![0, 255, 10, 13],
    };
    workspace.add_image(image, 100, AT).await.unwrap();
    let sender = Sender { name: "Shop".into(), address: "shop@example.com".into(), reply_to: None };
    let draft = CampaignDraft {
        name: "First".into(),
        segment: Some(segment),
        template,
        sender,
        class: MessageClass::Marketing,
        topic: None,
        scheduled_at: None,
        link_parameters: vec![("utm_source".into(), TEXTS[2].into())],
        plan: Default::default(),
    };
    let campaign = workspace.add_campaign(draft, AT).await.unwrap();
    let mail = |raw: &[u8]| NewMail {
        recipient: "c1@example.com".into(),
        sender: "shop@example.com".into(),
        subject: TEXTS[2].into(),
        message_id: "<1@example.com>".into(),
        raw: raw.to_vec(),
    };
    // Sixteen bytes are as long as an id, and bytes need not be text.
    let mails = vec![mail(b"0123456789abcdef"), mail(&[0, 255, 10, 13]), mail(b"")];
    workspace.add_mails(mails, AT).await.unwrap();
    workspace.add_relay(crate::email::relay("one"), AT).await.unwrap();
    workspace.put_sender_domain("shop.example", Some(1), None, AT).await.unwrap();
    workspace.add_dkim_key(crate::email::key("shop.example", "s1")).await.unwrap();
    let limit = RecipientLimit { domain: "*".into(), open_max: 3 };
    workspace.put_recipient_limits(vec![limit]).await.unwrap();
    system(test).await;
    workspace.campaign(campaign).await.unwrap().unwrap().number
}

async fn system(test: &TestStore) {
    let system = &test.store.system;
    let user = UserRow {
        id: UserId::generate(),
        mail: "ann@example.com".into(),
        name: "Ann".into(),
        password_hash: "$argon2id$…".into(),
        totp: false,
    };
    system.add_user(&user, AT).await.unwrap();
    system.put_role(user.id, test.workspace.row.id, "admin").await.unwrap();
    system.add_session(vec![7; 32], user.id, "csrf", AT, AT.plus_secs(60)).await.unwrap();
    let token = TokenRow {
        id: TokenId::generate(),
        workspace: test.workspace.row.id,
        name: "ci".into(),
        scopes: vec!["customers:read".into(), "imports".into()],
        created_at: AT,
        last_used_at: None,
    };
    system.add_token(&token, vec![9; 32]).await.unwrap();
    system.put_setting("public_name", "Größe").await.unwrap();
    test.store.create_workspace("Second", "Europe/Amsterdam", false).await.unwrap();
}
