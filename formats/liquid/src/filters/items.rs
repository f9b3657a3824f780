//! How filters see collections: any input becomes a list, nested lists become flat, and every item
//! looked at is paid for.

use std::cmp::Ordering;

use super::{Call, Failure};
use crate::value::{Value, range_len};

/// The input as a flat list: nil is empty, anything but an array or range is one item.
pub(super) fn items(input: &Value, call: &mut Call<'_, '_>) -> Result<Vec<Value>, Failure> {
    let mut list = Vec::new();
    match input {
        Value::Nil | Value::Empty | Value::Blank => {}
        Value::Array(nested) => flatten(nested, &mut list, call)?,
        Value::Range(start, end) => {
            call.budget.spend_items(range_len(*start, *end))?;
            list.extend((*start..=*end).map(Value::Int));
        }
        other => list.push(other.clone()),
    }
    Ok(list)
}

fn flatten(
    nested: &[Value],
    list: &mut Vec<Value>,
    call: &mut Call<'_, '_>,
) -> Result<(), Failure> {
    call.budget.spend_items(nested.len())?;
    for item in nested {
        match item {
            Value::Array(deeper) => flatten(deeper, list, call)?,
            other => list.push(other.clone()),
        }
    }
    Ok(())
}

/// `item[property]`, as the filters that take a property name read it.
pub(super) fn property(item: &Value, name: &Value) -> Result<Value, Failure> {
    match (item, name) {
        (Value::Object(_), Value::Text(_)) => Ok(item.index(name).unwrap_or_default()),
        // Ruby's `"text"["part"]` is the part when the text has it.
        (Value::Text(text), Value::Text(part)) => {
            let found = text.as_str().contains(part.as_str());
            Ok(if found { name.clone() } else { Value::Nil })
        }
        (Value::Object(_) | Value::Text(_), _) => Ok(Value::Nil),
        _ => {
            let name = name.as_str().unwrap_or("");
            Err(format!("cannot read the property '{name}' of a {}", item.kind()).into())
        }
    }
}

/// Orders numbers and texts; nil comes last. `None` for values that have no common order.
pub(super) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Nil, Value::Nil) => Some(Ordering::Equal),
        (Value::Nil, _) => Some(Ordering::Greater),
        (_, Value::Nil) => Some(Ordering::Less),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Float(b)) => (*a as f64).partial_cmp(b),
        (Value::Float(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Text(a), Value::Text(b)) => Some(a.as_str().cmp(b.as_str())),
        (a, b) if a.equals(b) => Some(Ordering::Equal),
        _ => None,
    }
}
