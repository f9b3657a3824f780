//! Filters that Braze has beside Shopify's.

use sha2::{Digest, Sha512};

use super::encoding::{hex, json};
use super::{Call, Filtered};
use crate::value::Value;

/// The value as JSON.
pub(super) fn as_json_string(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    json(input, call)
}

/// What a JSON text says.
pub(super) fn json_parse(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let text = call.text(&input)?;
    // As if each part of it had been made by a tag.
    call.budget.spend(text.len() as u64 / 4)?;
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(&text);
    parsed.map(|json| Value::from(&json)).map_err(|_| "not JSON".into())
}

/// A whole number, or one with a fraction, with a comma before each three digits.
pub(super) fn number_with_delimiter(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let text = call.text(&input)?;
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Value::text(text.as_ref()));
    }
    let mut out = whole[..whole.len() - digits.len()].to_owned();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out.push_str(fraction);
    Ok(Value::text(out))
}

/// `object | property_accessor: name`: what an object has under a name that is computed.
pub(super) fn property_accessor(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let name = call.text_argument(0)?;
    Ok(input.index(&Value::text(name.as_ref())).unwrap_or_default())
}

/// Lower-case letters and digits, with one hyphen in the place of everything between them.
pub(super) fn slugify(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let text = call.text(&input)?;
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_alphanumeric() {
            out.extend(character.to_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.truncate(out.trim_end_matches('-').len());
    Ok(Value::text(out))
}

const BLOCK_BYTES: usize = 128;

/// RFC 2104 over SHA-512, as hexadecimal digits.
pub(super) fn hmac_sha512(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let key = call.text_argument(0)?;
    let mut block = [0_u8; BLOCK_BYTES];
    if key.len() > BLOCK_BYTES {
        block[..64].copy_from_slice(&Sha512::digest(key.as_bytes()));
    } else {
        block[..key.len()].copy_from_slice(key.as_bytes());
    }
    let keyed = |pad: u8| Sha512::new().chain_update(block.map(|byte| byte ^ pad));
    let inner = keyed(0x36).chain_update(call.text(&input)?.as_bytes()).finalize();
    Ok(Value::text(hex(&keyed(0x5c).chain_update(inner).finalize())))
}
