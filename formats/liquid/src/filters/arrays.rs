//! Filters on lists as a whole.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::items::{items, order, property};
use super::{Call, Failure, Filtered};
use crate::number::{Number, Operation, calculate, to_number};
use crate::render::budget::TOO_LONG;
use crate::shown::write_as_text;
use crate::value::Value;

pub(super) fn size(input: Value, _: &mut Call<'_, '_>) -> Filtered {
    Ok(input.size().unwrap_or(Value::Int(0)))
}

pub(super) fn first(input: Value, _: &mut Call<'_, '_>) -> Filtered {
    Ok(input.first().unwrap_or_default())
}

pub(super) fn last(input: Value, _: &mut Call<'_, '_>) -> Filtered {
    Ok(input.last().unwrap_or_default())
}

pub(super) fn join(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let list = items(&input, call)?;
    let glue = match call.argument(0) {
        Some(glue) => call.text(glue)?,
        None => " ".into(),
    };
    let limit = call.budget.max_text_bytes;
    let mut out = String::new();
    for (position, item) in list.iter().enumerate() {
        if position > 0 {
            out.push_str(&glue);
        }
        if !write_as_text(item, &mut out, limit) {
            return Err(TOO_LONG.into());
        }
    }
    Ok(Value::text(out))
}

pub(super) fn reverse(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let mut list = items(&input, call)?;
    list.reverse();
    Ok(Value::array(list))
}

pub(super) fn concat(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let mut list = items(&input, call)?;
    match call.argument(0) {
        Some(other @ (Value::Array(_) | Value::Range(..))) => {
            let other = other.clone();
            list.append(&mut items(&other, call)?);
            Ok(Value::array(list))
        }
        _ => Err("expected an array".into()),
    }
}

pub(super) fn map(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let mut list = items(&input, call)?;
    let name = call.argument(0).cloned().unwrap_or_default();
    for item in &mut list {
        *item = property(item, &name)?;
    }
    Ok(Value::array(list))
}

pub(super) fn compact(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let list = keyed(&input, call)?;
    let kept = list.into_iter().filter(|(key, _)| !key.is_nil());
    Ok(Value::array(kept.map(|(_, item)| item).collect()))
}

/// Each item with the property named by the first argument, or with itself.
fn keyed(input: &Value, call: &mut Call<'_, '_>) -> Result<Vec<(Value, Value)>, Failure> {
    let mut list = Vec::new();
    for item in items(input, call)? {
        let key = match call.given(0) {
            Some(name) => property(&item, name)?,
            None => item.clone(),
        };
        list.push((key, item));
    }
    Ok(list)
}

pub(super) fn uniq(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let mut texts = HashSet::new();
    let mut whole = HashSet::new();
    let mut others: Vec<Value> = Vec::new();
    let mut kept = Vec::new();
    for (key, item) in keyed(&input, call)? {
        let is_new = match &key {
            Value::Text(text) => texts.insert(text.as_str().to_owned()),
            Value::Int(number) => whole.insert(*number),
            key => {
                // Values without a hash are compared one by one, and paid for.
                call.budget.spend_items(others.len())?;
                let is_new = !others.iter().any(|other| other.equals(key));
                if is_new {
                    others.push(key.clone());
                }
                is_new
            }
        };
        if is_new {
            kept.push(item);
        }
    }
    Ok(Value::array(kept))
}

pub(super) fn sort(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let list = keyed(&input, call)?;
    check_sortable(&list)?;
    sorted(list, |a, b| order(a, b).unwrap_or(Ordering::Equal))
}

/// Sorting needs one kind of value, nil aside: mixed kinds have no order to agree on.
fn check_sortable(list: &[(Value, Value)]) -> Result<(), Failure> {
    let mut kinds = list.iter().filter(|(key, _)| !key.is_nil());
    let Some((first, _)) = kinds.next() else { return Ok(()) };
    let sortable = matches!(first, Value::Int(_) | Value::Float(_) | Value::Text(_));
    if list.len() > 1 && !sortable {
        return Err(format!("cannot sort a list of {}s", first.kind()).into());
    }
    match kinds.find(|(key, _)| key.kind() != first.kind()) {
        Some((other, _)) => {
            Err(format!("cannot sort {} with {}", first.kind(), other.kind()).into())
        }
        None => Ok(()),
    }
}

pub(super) fn sort_natural(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let mut list = keyed(&input, call)?;
    for (key, _) in &mut list {
        if !key.is_nil() {
            *key = Value::text(call.text(key)?.to_lowercase());
        }
    }
    sorted(list, |a, b| order(a, b).unwrap_or(Ordering::Equal))
}

fn sorted(mut list: Vec<(Value, Value)>, by: fn(&Value, &Value) -> Ordering) -> Filtered {
    list.sort_by(|(a, _), (b, _)| by(a, b));
    Ok(Value::array(list.into_iter().map(|(_, item)| item).collect()))
}

pub(super) fn sum(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let mut total = Number::Int(0);
    for (key, _) in keyed(&input, call)? {
        total = calculate(Operation::Plus, total, to_number(&key));
    }
    Ok(total.into())
}

/// Part of a list or a text: from an offset (negative counts from the end), one or more long.
pub(super) fn slice(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let offset = call.integer_argument(0)?.unwrap_or(0);
    let length = match call.given(1) {
        Some(_) => call.integer_argument(1)?.unwrap_or(1),
        None => 1,
    };
    if let Value::Array(list) = &input {
        let part = part(offset, length, list.len()).map(|range| list[range].to_vec());
        return Ok(Value::array(part.unwrap_or_default()));
    }
    let text = call.text(&input)?;
    let range = part(offset, length, text.chars().count()).unwrap_or(0..0);
    Ok(Value::text(text.chars().skip(range.start).take(range.len()).collect::<String>()))
}

fn part(offset: i64, length: i64, available: usize) -> Option<std::ops::Range<usize>> {
    let length = usize::try_from(length).ok()?;
    let start = match usize::try_from(offset) {
        Ok(start) => start,
        Err(_) => available.checked_sub(usize::try_from(offset.unsigned_abs()).ok()?)?,
    };
    (start <= available).then(|| start..start.saturating_add(length).min(available))
}
