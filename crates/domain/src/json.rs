//! JSON without a schema: event properties and `extra`.

use serde_json::{Number, Value};

/// The one form a JSON value is stored in, so that both engines hold the same text: keys sorted,
/// numbers that are whole and exact in a double written as integers, and no NUL in names or values,
/// because PostgreSQL has no place for one.
pub fn canonical(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(canonical_number(number)),
        Value::Array(items) => Value::Array(items.into_iter().map(canonical).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(k, v)| (cleaned(k), canonical(v))).collect())
        }
        Value::String(text) => Value::String(cleaned(text)),
        other => other,
    }
}

fn cleaned(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

fn canonical_number(number: Number) -> Number {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        Some(float) if !number.is_i64() && float.fract() == 0.0 && float.abs() <= EXACT => {
            Number::from(float as i64)
        }
        _ => number,
    }
}

/// Depth and size limits for properties that arrive from outside.
pub fn within_limits(value: &Value, max_depth: usize) -> bool {
    match value {
        Value::Array(items) => {
            max_depth > 0 && items.iter().all(|item| within_limits(item, max_depth - 1))
        }
        Value::Object(fields) => {
            max_depth > 0 && fields.values().all(|item| within_limits(item, max_depth - 1))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whole_floats_become_integers_and_keys_are_sorted() {
        let stored = canonical(json!({"b": 1.0, "a": [2.5, 1e3, 1e300], "c": "x\u{0}y"}));
        assert_eq!(stored.to_string(), r#"{"a":[2.5,1000,1e+300],"b":1,"c":"x�y"}"#);
    }

    #[test]
    fn no_nul_is_left_in_names_or_values() {
        let stored = canonical(json!({"a\u{0}": [{"\u{0}b": "c\u{0}"}], "d": "e"}));
        assert_eq!(stored, json!({"a\u{fffd}": [{"\u{fffd}b": "c\u{fffd}"}], "d": "e"}));
        assert!(!stored.to_string().contains("\\u0000"));
    }

    #[test]
    fn depth_is_limited() {
        assert!(within_limits(&json!([[1]]), 2));
        assert!(!within_limits(&json!([[[1]]]), 2));
    }
}
