//! Fills the demo's workspace: customers, orders, segments, a template and a campaign.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::json;
use tidings_domain::campaign::MessageClass;
use tidings_domain::change::{
    Change, CustomerRef, FieldChange, Identity, IdentityKind, Mode, Outcome, RecordEvent,
    UpsertCustomer, UpsertRecord,
};
use tidings_domain::consent::{Channel, ConsentState, Proof};
use tidings_domain::schema::Owner;
use tidings_domain::value::Kind;
use tidings_domain::{CampaignId, Timestamp};
use tidings_engine::forms::{self, Definition, FormField, FormSender};
use tidings_engine::topics::{self, TopicText};
use tidings_engine::{Ctx, campaigns, changes, segments, templates};
use tidings_store::campaigns::{CampaignDraft, Sender};
use tidings_store::templates::TemplateDraft;

use super::content;
use super::people::{Person, people};

/// How many customers the demo has, and the seed they come from.
pub const CUSTOMERS: usize = 10_000;
const SEED: u64 = 2_026;
/// How many customers are applied at once.
const CHUNK: usize = 400;

/// Declares the attributes and the order table.
pub async fn schema(ctx: &Ctx) -> Result<()> {
    let at = ctx.now();
    let workspace = &ctx.workspace;
    for (name, kind) in [
        ("first_name", Kind::Text),
        ("last_name", Kind::Text),
        ("language", Kind::Language),
        ("country", Kind::Country),
        ("city", Kind::Text),
        ("birthday", Kind::Date),
        ("points", Kind::Integer),
        ("newsletter", Kind::Boolean),
        ("interests", Kind::List),
        ("joined_at", Kind::Timestamp),
    ] {
        workspace.add_attribute(name, kind, at).await.with_context(|| format!("add {name}"))?;
    }
    let fields = vec![
        ("product".to_owned(), Kind::Text),
        ("category".to_owned(), Kind::Text),
        ("total".to_owned(), Kind::Money { currency: "EUR".to_owned(), scale: 2 }),
        ("status".to_owned(), Kind::Text),
        ("placed_at".to_owned(), Kind::Timestamp),
    ];
    workspace.add_table("orders", Owner::Customer, fields, at).await.context("add orders")?;
    sign_up(ctx).await
}

/// Two topics, and a form that offers them.
async fn sign_up(ctx: &Ctx) -> Result<()> {
    let both = [
        ("offers", "Offers", "What is cheaper this week, about twice a month."),
        ("stories", "Stories", "Recipes and people of the harbour, once a month."),
    ];
    for (name, title, text) in both {
        let text = TopicText { title: title.to_owned(), text: text.to_owned() };
        let texts = BTreeMap::from([("en".to_owned(), text)]);
        topics::create(ctx, Channel::Email, name, "", &texts).await.context("add a topic")?;
    }
    let definition = Definition {
        title: "Letters from the harbour".to_owned(),
        intro: "Tell us where to write to and what you like to read.".to_owned(),
        language: "en".to_owned(),
        fields: vec![FormField {
            to: "first_name".to_owned(),
            label: "First name".to_owned(),
            required: false,
        }],
        topics: both.map(|(name, ..)| name.to_owned()).into(),
        sender: FormSender {
            name: "Harbour & Hearth".to_owned(),
            address: "letters@harbour.example".to_owned(),
        },
        redirect_url: None,
    };
    forms::create(ctx, "Footer of the shop", definition).await.context("add a form")?;
    Ok(())
}

/// Adds the customers with their orders, events and consents.
pub async fn customers(ctx: &Ctx) -> Result<()> {
    let everyone: Vec<Person> = people(SEED).take(CUSTOMERS).collect();
    for chunk in everyone.chunks(CHUNK) {
        let mut batch: Vec<Change> = chunk.iter().map(upsert).collect();
        batch.extend(chunk.iter().filter_map(consent));
        for person in chunk {
            batch.extend(person.orders.iter().map(|order| record(ctx, person, order)));
        }
        for person in chunk {
            batch.extend(person.orders.iter().map(|order| event(ctx, person, order)));
        }
        for outcome in changes::apply(ctx, batch).await? {
            if let Outcome::Refused(refusal) = outcome {
                anyhow::bail!("the demo's own data was refused: {refusal:?}");
            }
        }
    }
    Ok(())
}

fn who(person: &Person) -> CustomerRef {
    let kind = IdentityKind::ExternalId;
    CustomerRef::Identity(Identity { kind, value: person.number.clone() })
}

fn upsert(person: &Person) -> Change {
    let joined = Timestamp::now().plus_secs(-person.joined_days_ago * 86_400);
    let set = |name: &str, value: serde_json::Value| (name.to_owned(), FieldChange::SetJson(value));
    Change::UpsertCustomer(UpsertCustomer {
        external_id: Some(person.number.clone()),
        email: person.email.clone(),
        phone: person.phone.clone(),
        attributes: vec![
            set("first_name", json!(person.first_name)),
            set("last_name", json!(person.last_name)),
            set("language", json!(person.language)),
            set("country", json!(person.country)),
            set("city", json!(person.city)),
            set("birthday", json!(person.birthday)),
            set("points", json!(person.points)),
            set("newsletter", json!(person.newsletter)),
            set("interests", json!(person.interests)),
            set("joined_at", json!(joined)),
        ],
        ..UpsertCustomer::default()
    })
}

fn consent(person: &Person) -> Option<Change> {
    let state = match person.consent? {
        true => ConsentState::Granted,
        false => ConsentState::Withdrawn,
    };
    Some(Change::ChangeConsent {
        customer: who(person),
        channel: Channel::Email,
        topic: String::new(),
        state,
        source: "demo".to_owned(),
        proof: Proof::default(),
    })
}

fn record(ctx: &Ctx, person: &Person, order: &super::people::Order) -> Change {
    let set = |name: &str, value: serde_json::Value| (name.to_owned(), FieldChange::SetJson(value));
    let total = tidings_domain::value::decimal_text(order.total_cents, 2);
    let placed_at = ctx.now().plus_secs(-order.hours_ago * 3_600);
    Change::UpsertRecord(UpsertRecord {
        table: "orders".to_owned(),
        key: order.key.clone(),
        customer: Some(who(person)),
        mode: Mode::Upsert,
        fields: vec![
            set("product", json!(order.product)),
            set("category", json!(order.category)),
            set("total", json!(total)),
            set("status", json!(order.status)),
            set("placed_at", json!(placed_at)),
        ],
    })
}

fn event(ctx: &Ctx, person: &Person, order: &super::people::Order) -> Change {
    Change::RecordEvent(RecordEvent {
        customer: who(person),
        name: "order_placed".to_owned(),
        at: Some(ctx.now().plus_secs(-order.hours_ago * 3_600)),
        properties: json!({
            "order": order.key,
            "product": order.product,
            "category": order.category,
            "total": order.total_cents as f64 / 100.0,
        }),
        id: None,
    })
}

/// Adds the segments, the template and the campaign, and launches it.
pub async fn campaign(ctx: &Ctx) -> Result<CampaignId> {
    let mut audience = None;
    for (name, rule) in content::segments() {
        let id = segments::create(ctx, name, &rule).await.with_context(|| name.to_owned())?;
        audience.get_or_insert(id);
    }
    let template = TemplateDraft {
        name: content::TEMPLATE_NAME.to_owned(),
        subject: content::SUBJECT.to_owned(),
        html: content::HTML.to_owned(),
        text: String::new(),
        ..TemplateDraft::default()
    };
    let template = templates::create(ctx, template).await.context("add the template")?;
    let draft = CampaignDraft {
        name: "Autumn letter to newsletter readers".to_owned(),
        segment: audience,
        template,
        sender: Sender {
            name: "Harbour & Hearth".to_owned(),
            address: "letters@harbour.example".to_owned(),
            reply_to: None,
        },
        class: MessageClass::Marketing,
        topic: None,
        scheduled_at: None,
        link_parameters: Vec::new(),
        plan: Default::default(),
    };
    let id = campaigns::create(ctx, draft).await.context("add the campaign")?;
    campaigns::launch(ctx, id, None).await.context("launch the campaign")?;
    Ok(id)
}
