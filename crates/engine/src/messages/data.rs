//! A customer as templates see it.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tidings_domain::Timestamp;
use tidings_domain::value::{Kind, Value as Stored};
use tidings_liquid::Value;
use tidings_store::customers::Customer;

/// `customer`: id, external id, e-mail, phone, and every attribute by its name. Decimals and money
/// are numbers, so that templates can compare and calculate; times are RFC 3339 texts, which the
/// `date` filter reads. What came without being declared is there too, and gives way to attributes.
pub fn customer_value(customer: &Customer) -> Value {
    let mut entries: Vec<(Arc<str>, Value)> = Vec::with_capacity(customer.values.len() + 5);
    if let serde_json::Value::Object(extra) = &customer.extra {
        entries.extend(extra.iter().map(|(name, value)| (name.as_str().into(), value.into())));
    }
    entries.push(("id".into(), Value::text(customer.id.to_string())));
    entries.push(("system_id".into(), Value::Int(customer.system_id)));
    for (name, text) in [
        ("external_id", &customer.external_id),
        ("email", &customer.email),
        ("phone", &customer.phone),
    ] {
        if let Some(text) = text {
            entries.push((name.into(), Value::text(text.as_str())));
        }
    }
    for (attribute, value) in customer.schema.attributes.iter().zip(&customer.values) {
        if let Some(value) = value {
            entries.push((attribute.name.as_str().into(), attribute_value(&attribute.kind, value)));
        }
    }
    Value::object(entries)
}

/// What `${name}` stands for: Braze's own names for what is known of a customer, and every attribute
/// by its name.
const BRAZE_NAMES: &[(&str, &[&str])] = &[
    ("user_id", &["external_id"]),
    ("braze_id", &["id"]),
    ("email_address", &["email"]),
    ("phone_number", &["phone"]),
    ("city", &["city", "home_city"]),
    ("date_of_birth", &["date_of_birth", "birthday", "birth_date", "dob"]),
    ("most_recent_locale", &["most_recent_locale", "language"]),
];
/// Names under `${…}` that no attribute answers.
const BRAZE_OWN: [&str; 2] = ["set_user_to_unsubscribed_url", "random_bucket_number"];

/// The object that answers `${name}`; `known` is what [`customer_value`] gave.
pub fn dollar_value(customer: &Customer, known: &Value, unsubscribe_url: &str) -> Value {
    let Value::Object(object) = known else { return Value::Nil };
    let mut entries = object.entries().to_vec();
    for (name, sources) in BRAZE_NAMES {
        if let Some(value) = sources.iter().find_map(|source| object.get(source)) {
            entries.push(((*name).into(), value.clone()));
        }
    }
    entries.push(("set_user_to_unsubscribed_url".into(), Value::text(unsubscribe_url)));
    // The same for one customer for ever, and even over all of them.
    let digest = Sha256::digest(customer.id.0.as_bytes());
    let bucket = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) % 10_000;
    entries.push(("random_bucket_number".into(), Value::Int(i64::from(bucket))));
    Value::object(entries)
}

/// Whether `${name}` stands for anything in a workspace.
pub fn is_dollar_known(name: &str, is_attribute: impl Fn(&str) -> bool) -> bool {
    let aliases = BRAZE_NAMES.iter().find(|(known, _)| *known == name);
    is_attribute(name)
        || BRAZE_OWN.contains(&name)
        || aliases.is_some_and(|(_, sources)| sources.iter().any(|source| is_attribute(source)))
}

/// The language that a customer reads: the attribute of that name, or else the first of that kind.
pub fn language(customer: &Customer) -> Option<&str> {
    let attributes = &customer.schema.attributes;
    let at = customer
        .schema
        .position("language")
        .or_else(|| attributes.iter().position(|attribute| attribute.kind == Kind::Language))?;
    match customer.values.get(at)?.as_ref()? {
        Stored::Text(text) => Some(text),
        _ => None,
    }
}

fn attribute_value(kind: &Kind, value: &Stored) -> Value {
    match (kind, value) {
        (Kind::Decimal { scale } | Kind::Money { scale, .. }, Stored::Integer(scaled)) => {
            Value::Float(*scaled as f64 / 10_f64.powi(i32::from(*scale)))
        }
        (Kind::Timestamp, Stored::Integer(us)) => Value::text(Timestamp(*us).to_string()),
        (_, Stored::Integer(number)) => Value::Int(*number),
        (_, Stored::Text(text)) => Value::text(text.as_str()),
        (_, Stored::Boolean(flag)) => Value::Bool(*flag),
        (_, Stored::List(items)) => {
            Value::array(items.iter().map(|item| Value::text(item.as_str())).collect())
        }
    }
}
