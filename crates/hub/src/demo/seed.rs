//! Fills the demo's workspace: what the example shop defines, and invented customers with orders.

use anyhow::{Context as _, Result};
use serde_json::json;
use tidings_domain::Timestamp;
use tidings_domain::change::{
    Change, CustomerRef, FieldChange, Identity, IdentityKind, Mode, Outcome, RecordEvent,
    UpsertCustomer, UpsertRecord,
};
use tidings_domain::consent::{Channel, ConsentState, Proof};
use tidings_engine::definitions::{self, Agreed, Folder};
use tidings_engine::{Ctx, changes};

use super::people::{Person, people};

/// How many customers the demo has, and the seed they come from.
pub const CUSTOMERS: usize = 10_000;
const SEED: u64 = 2_026;
/// How many customers are applied at once.
const CHUNK: usize = 400;

/// What the demo defines, as text; it is in the program, so that the demo needs no file.
#[derive(rust_embed::RustEmbed)]
#[folder = "../../examples/shop/"]
struct Shop;

fn shop() -> Folder {
    let files = Shop::iter().filter_map(|path| {
        Shop::get(&path).map(|file| (path.into_owned(), file.data.into_owned()))
    });
    files.collect()
}

/// Declares what customers and their orders need, before there are any: segments follow when all of
/// them are there, so that they are evaluated once.
pub async fn schema(ctx: &Ctx) -> Result<()> {
    const FIRST: [&str; 5] = ["tidings.toml", "attributes/", "tables/", "topics/", "forms/"];
    let mut files = shop();
    files.retain(|path, _| FIRST.iter().any(|first| path.starts_with(first)));
    definitions::apply(ctx, &files, &Agreed::default()).await.context("declare the shop")?;
    Ok(())
}

/// Adds the segments, the template and the campaign, and launches it.
pub async fn campaign(ctx: &Ctx) -> Result<()> {
    let agreed = Agreed { launch: true, ..Agreed::default() };
    definitions::apply(ctx, &shop(), &agreed).await.context("fill the shop")?;
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
