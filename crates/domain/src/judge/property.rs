//! Tests on properties of events, which have no kind.

use std::cmp::Ordering;

use serde_json::Value as Json;

use crate::rule::{PropertyTest, Scalar};

/// Whether a test holds of a property; of a missing one and of null, none does.
pub(super) fn test(test: &PropertyTest, property: Option<&Json>) -> bool {
    let Some(property) = property.filter(|property| !property.is_null()) else {
        return false;
    };
    match test {
        PropertyTest::Exists => true,
        PropertyTest::Compare(comparison, constant) => {
            compare(property, constant).is_some_and(|ordering| comparison.holds(ordering))
        }
        PropertyTest::In(list) => {
            list.iter().any(|constant| compare(property, constant) == Some(Ordering::Equal))
        }
        PropertyTest::Contains(part) => match property {
            Json::Array(items) => items.iter().any(|item| item.as_str() == Some(part)),
            Json::String(text) => text.contains(part.as_str()),
            _ => false,
        },
        PropertyTest::StartsWith(part) => {
            property.as_str().is_some_and(|text| text.starts_with(part.as_str()))
        }
        PropertyTest::EndsWith(part) => {
            property.as_str().is_some_and(|text| text.ends_with(part.as_str()))
        }
        PropertyTest::Matches(pattern) => {
            property.as_str().is_some_and(|text| pattern.matches(text))
        }
    }
}

/// How a property stands to a constant of the same type; `None` for another type.
fn compare(property: &Json, constant: &Scalar) -> Option<Ordering> {
    match (property, constant) {
        (Json::Number(number), Scalar::Number(constant)) => number.as_f64()?.partial_cmp(constant),
        (Json::String(text), Scalar::Text(constant)) => Some(text.as_str().cmp(constant)),
        (Json::Bool(flag), Scalar::Boolean(constant)) => Some(flag.cmp(constant)),
        _ => None,
    }
}
