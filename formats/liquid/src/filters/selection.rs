//! Filters that pick by a condition: `where` and its family, and `default`.

use super::items::{items, property};
use super::{Call, Failure, Filtered};
use crate::value::Value;

/// Does the item's property equal the second argument (or, without one, count as true)?
fn matches(item: &Value, call: &Call<'_, '_>) -> Result<bool, Failure> {
    let name = call.argument(0).cloned().unwrap_or_default();
    let value = property(item, &name)?;
    Ok(match call.given(1) {
        Some(wanted) => value.equals(wanted),
        None => value.is_truthy(),
    })
}

fn select(input: &Value, call: &mut Call<'_, '_>, wanted: bool) -> Filtered {
    let mut kept = Vec::new();
    for item in items(input, call)? {
        if matches(&item, call)? == wanted {
            kept.push(item);
        }
    }
    Ok(Value::array(kept))
}

pub(super) fn where_filter(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    select(&input, call, true)
}

pub(super) fn reject(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    select(&input, call, false)
}

fn first_match(input: &Value, call: &mut Call<'_, '_>) -> Result<Option<(usize, Value)>, Failure> {
    for (position, item) in items(input, call)?.into_iter().enumerate() {
        if matches(&item, call)? {
            return Ok(Some((position, item)));
        }
    }
    Ok(None)
}

pub(super) fn find(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    Ok(first_match(&input, call)?.map(|(_, item)| item).unwrap_or_default())
}

pub(super) fn find_index(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let found = first_match(&input, call)?;
    let position = found.and_then(|(position, _)| i64::try_from(position).ok());
    Ok(position.map(Value::Int).unwrap_or_default())
}

pub(super) fn has(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    Ok(Value::Bool(first_match(&input, call)?.is_some()))
}

/// The argument in place of nil, false and anything empty; `allow_false: true` keeps false.
pub(super) fn default(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let allow_false = call.named("allow_false").is_some_and(Value::is_truthy);
    let keeps = match &input {
        Value::Nil => false,
        Value::Bool(false) => allow_false,
        other => !other.is_empty(),
    };
    if keeps {
        return Ok(input);
    }
    Ok(call.argument(0).cloned().unwrap_or_else(|| Value::text("")))
}
