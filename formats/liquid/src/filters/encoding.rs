//! Filters that make text fit for a place (HTML, addresses, JSON) or take that away again.

use std::fmt::Write;

use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use sha2::{Digest, Sha256};

use super::strings::push_escaped;
use super::{Call, Failure, Filtered};
use crate::render::budget::TOO_LONG;
use crate::value::Value;

pub(super) fn escape(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    if input.is_nil() {
        return Ok(Value::Nil);
    }
    let text = call.text(&input)?;
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    push_escaped(&text, &mut out);
    Ok(Value::finished_text(out))
}

/// Leaves entities that are already there alone.
pub(super) fn escape_once(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let text = call.text(&input)?;
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut rest: &str = &text;
    while let Some(at) = rest.find('&') {
        push_escaped(&rest[..at], &mut out);
        rest = &rest[at..];
        let length = entity_len(rest);
        if length > 0 {
            out.push_str(&rest[..length]);
        } else {
            out.push_str("&amp;");
        }
        rest = &rest[length.max(1)..];
    }
    push_escaped(rest, &mut out);
    Ok(Value::finished_text(out))
}

/// Length of the entity `text` starts with (`&name;`, `&#39;`, `&#x27;`), 0 when it is none.
fn entity_len(text: &str) -> usize {
    let Some(end) = text.bytes().take(40).position(|byte| byte == b';') else { return 0 };
    let name = &text[1..end];
    let is_entity = if let Some(hex) = name.strip_prefix("#x") {
        !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    } else if let Some(digits) = name.strip_prefix('#') {
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    } else {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    if is_entity { end + 1 } else { 0 }
}

/// Says that the value needs no escaping.
pub(super) fn raw(input: Value, _: &mut Call<'_, '_>) -> Filtered {
    Ok(match input {
        Value::Text(text) => Value::Text(text.finish()),
        other => other,
    })
}

pub(super) fn url_encode(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    percent_encoded(&input, call, "+")
}

/// As `url_encode`, with a space as `%20`.
pub(super) fn url_param_escape(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    percent_encoded(&input, call, "%20")
}

fn percent_encoded(input: &Value, call: &Call<'_, '_>, space: &str) -> Filtered {
    if input.is_nil() {
        return Ok(Value::Nil);
    }
    let text = call.text(input)?;
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push_str(space),
            other => push_hex(other, &mut out),
        }
    }
    Ok(Value::text(out))
}

fn push_hex(byte: u8, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "%{byte:02X}");
}

pub(super) fn url_decode(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    if input.is_nil() {
        return Ok(Value::Nil);
    }
    let text = call.text(&input)?;
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        let code = code.filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    match String::from_utf8(out) {
        Ok(text) => Ok(Value::text(text)),
        Err(_) => Err("the decoded bytes are not UTF-8".into()),
    }
}

fn encoded(input: &Value, call: &Call<'_, '_>, engine: &GeneralPurpose) -> Filtered {
    Ok(Value::text(engine.encode(call.text(input)?.as_bytes())))
}

fn decoded(input: &Value, call: &Call<'_, '_>, engine: &GeneralPurpose) -> Filtered {
    let Ok(bytes) = engine.decode(call.text(input)?.as_bytes()) else {
        return Err("not base64".into());
    };
    String::from_utf8(bytes).map(Value::text).map_err(|_| "the decoded bytes are not UTF-8".into())
}

pub(super) fn base64_encode(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    encoded(&input, call, &STANDARD)
}

pub(super) fn base64_decode(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    decoded(&input, call, &STANDARD)
}

pub(super) fn base64_url_safe_encode(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    encoded(&input, call, &URL_SAFE)
}

pub(super) fn base64_url_safe_decode(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    decoded(&input, call, &URL_SAFE)
}

pub(super) fn sha256(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    Ok(Value::text(hex(&Sha256::digest(call.text(&input)?.as_bytes()))))
}

const BLOCK_BYTES: usize = 64;

/// RFC 2104 over SHA-256, as hexadecimal digits.
pub(super) fn hmac_sha256(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let key = call.text_argument(0)?;
    let mut block = [0_u8; BLOCK_BYTES];
    if key.len() > BLOCK_BYTES {
        block[..32].copy_from_slice(&Sha256::digest(key.as_bytes()));
    } else {
        block[..key.len()].copy_from_slice(key.as_bytes());
    }
    let keyed = |pad: u8| Sha256::new().chain_update(block.map(|byte| byte ^ pad));
    let inner = keyed(0x36).chain_update(call.text(&input)?.as_bytes()).finalize();
    let outer = keyed(0x5c).chain_update(inner).finalize();
    Ok(Value::text(hex(&outer)))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// The value as JSON.
pub(super) fn json(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let mut out = String::new();
    write_json(&input, &mut out, call.budget.max_text_bytes)?;
    Ok(Value::text(out))
}

fn write_json(value: &Value, out: &mut String, limit: usize) -> Result<(), Failure> {
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(number) => crate::number::write_int(*number, out),
        // JSON has no word for infinities.
        Value::Float(number) if !number.is_finite() => out.push_str("null"),
        Value::Float(number) => out.push_str(&serde_json::Value::from(*number).to_string()),
        Value::Text(text) => push_json_text(text.as_str(), out),
        Value::Empty | Value::Blank => out.push_str("\"\""),
        Value::Range(start, end) => push_json_text(&format!("{start}..{end}"), out),
        Value::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                write_json(item, out, limit)?;
            }
            out.push(']');
        }
        Value::Object(object) => {
            out.push('{');
            for (position, (name, value)) in object.entries().iter().enumerate() {
                if position > 0 {
                    out.push(',');
                }
                push_json_text(name, out);
                out.push(':');
                write_json(value, out, limit)?;
            }
            out.push('}');
        }
    }
    if out.len() > limit { Err(TOO_LONG.into()) } else { Ok(()) }
}

fn push_json_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// Text fit to stand between the quotes of a JSON text.
pub(super) fn json_escape(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let mut out = String::new();
    push_json_text(&call.text(&input)?, &mut out);
    Ok(Value::text(&out[1..out.len() - 1]))
}
