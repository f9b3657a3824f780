//! A customer as templates see it.

use std::sync::Arc;

use tidings_domain::Timestamp;
use tidings_domain::value::{Kind, Value as Stored};
use tidings_liquid::Value;
use tidings_store::customers::Customer;

/// `customer`: id, external id, e-mail, phone, and every attribute by its name. Decimals and money
/// are numbers, so that templates can compare and calculate; times are RFC 3339 texts, which the
/// `date` filter reads.
pub fn customer_value(customer: &Customer) -> Value {
    let mut entries: Vec<(Arc<str>, Value)> = Vec::with_capacity(customer.values.len() + 5);
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
