//! How values look: as outputs print them and as text filters read them.

use crate::number;
use crate::value::Value;

/// Writes `value` as `{{ value }}` shows it. False when `out` grew past `limit` bytes.
pub(crate) fn write_shown(value: &Value, out: &mut String, limit: usize) -> bool {
    match value {
        Value::Nil | Value::Empty | Value::Blank => {}
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(number) => number::write_int(*number, out),
        Value::Float(number) => number::write_float(*number, out),
        Value::Text(text) => out.push_str(text.as_str()),
        Value::Array(items) => {
            for item in items.iter() {
                if !write_shown(item, out, limit) {
                    return false;
                }
            }
        }
        Value::Object(_) => return write_inspected(value, out, limit),
        Value::Range(start, end) => out.push_str(&format!("{start}..{end}")),
    }
    out.len() <= limit
}

/// Writes `value` as text filters see it: arrays and objects in Ruby's notation.
pub(crate) fn write_as_text(value: &Value, out: &mut String, limit: usize) -> bool {
    match value {
        Value::Array(_) => write_inspected(value, out, limit),
        other => write_shown(other, out, limit),
    }
}

fn write_inspected(value: &Value, out: &mut String, limit: usize) -> bool {
    match value {
        Value::Nil => out.push_str("nil"),
        Value::Text(text) => write_quoted(text.as_str(), out),
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push_str(", ");
                }
                if !write_inspected(item, out, limit) {
                    return false;
                }
            }
            out.push(']');
        }
        Value::Object(object) => {
            out.push('{');
            for (position, (name, value)) in object.entries().iter().enumerate() {
                if position > 0 {
                    out.push_str(", ");
                }
                write_quoted(name, out);
                out.push_str(" => ");
                if !write_inspected(value, out, limit) {
                    return false;
                }
            }
            out.push('}');
        }
        other => return write_shown(other, out, limit),
    }
    out.len() <= limit
}

fn write_quoted(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other => out.push(other),
        }
    }
    out.push('"');
}
