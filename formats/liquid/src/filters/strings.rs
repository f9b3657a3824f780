//! Filters on text. Whatever comes in is read as text first.

use super::{Call, Failure, Filtered};
use crate::context::Escape;
use crate::number::to_integer;
use crate::value::Value;

pub(super) fn append(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    joined(&input, call.argument(0).unwrap_or(&Value::Nil), call)
}

pub(super) fn prepend(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    joined(call.argument(0).unwrap_or(&Value::Nil), &input, call)
}

fn joined(first: &Value, second: &Value, call: &Call<'_, '_>) -> Filtered {
    let text = [call.text(first)?, call.text(second)?].concat();
    let finished = |value: &Value| matches!(value, Value::Text(text) if text.is_finished());
    Ok(match finished(first) && finished(second) {
        true => Value::finished_text(text),
        false => Value::text(text),
    })
}

pub(super) fn upcase(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    Ok(Value::text(call.text(&input)?.to_uppercase()))
}

pub(super) fn downcase(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    Ok(Value::text(call.text(&input)?.to_lowercase()))
}

pub(super) fn capitalize(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let text = call.text(&input)?;
    let mut characters = text.chars();
    let mut out: String = characters.next().into_iter().flat_map(char::to_uppercase).collect();
    out.push_str(&characters.as_str().to_lowercase());
    Ok(Value::text(out))
}

pub(super) fn strip(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    Ok(Value::text(call.text(&input)?.trim()))
}

pub(super) fn lstrip(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    Ok(Value::text(call.text(&input)?.trim_start()))
}

pub(super) fn rstrip(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    Ok(Value::text(call.text(&input)?.trim_end()))
}

/// Trims, and makes every run of white space one space.
pub(super) fn squish(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let text = call.text(&input)?;
    Ok(Value::text(text.split_whitespace().collect::<Vec<_>>().join(" ")))
}

pub(super) fn strip_newlines(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let text = call.text(&input)?;
    Ok(Value::text(text.replace("\r\n", "").replace('\n', "")))
}

/// The line breaks it adds are markup, so where outputs are escaped it escapes the text first and
/// marks the whole as done.
pub(super) fn newline_to_br(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let finished = matches!(&input, Value::Text(text) if text.is_finished());
    let text = call.text(&input)?;
    let mut safe = String::with_capacity(text.len() + text.len() / 8);
    if call.escape == Escape::Html && !finished {
        push_escaped(&text, &mut safe);
    } else {
        safe.push_str(&text);
    }
    let broken = safe.replace("\r\n", "\n").replace('\n', "<br />\n");
    Ok(match call.escape {
        Escape::Html => Value::finished_text(broken),
        Escape::None => Value::text(broken),
    })
}

/// Writes text fit for HTML and quoted attributes.
pub(crate) fn push_escaped(text: &str, out: &mut String) {
    let mut written = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escaped = match byte {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' => "&quot;",
            b'\'' => "&#39;",
            _ => continue,
        };
        out.push_str(&text[written..at]);
        out.push_str(escaped);
        written = at + 1;
    }
    out.push_str(&text[written..]);
}

/// Removes scripts, styles and comments with what they hold, then all other tags.
pub(super) fn strip_html(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let text = call.text(&input)?;
    let mut out = String::with_capacity(text.len());
    let mut rest: &str = &text;
    let blocks = [("<script", "</script>"), ("<!--", "-->"), ("<style", "</style>")];
    // An end that was not found once is not searched for again, which keeps this linear.
    let mut missing = [false; 3];
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let mut skipped = None;
        for (index, (open, close)) in blocks.iter().enumerate() {
            if rest.starts_with(open) && !missing[index] {
                skipped = rest.find(close).map(|end| end + close.len());
                missing[index] = skipped.is_none();
            }
        }
        match skipped.or_else(|| rest.find('>').map(|end| end + 1)) {
            Some(end) => rest = &rest[end..],
            None => break,
        }
    }
    out.push_str(rest);
    Ok(Value::text(out))
}

pub(super) fn replace(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let (text, from, to) = (call.text(&input)?, call.text_argument(0)?, call.text_argument(1)?);
    replaced(&text, &from, &to, call)
}

pub(super) fn remove(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let (text, part) = (call.text(&input)?, call.text_argument(0)?);
    replaced(&text, &part, "", call)
}

fn replaced(text: &str, from: &str, to: &str, call: &Call<'_, '_>) -> Filtered {
    // The size is known before it is made: each hit may be one byte and its replacement a book.
    let hits = text.matches(from).count();
    call.check_len(text.len().saturating_add(hits.saturating_mul(to.len())))?;
    Ok(Value::text(text.replace(from, to)))
}

pub(super) fn replace_first(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let (text, from, to) = (call.text(&input)?, call.text_argument(0)?, call.text_argument(1)?);
    Ok(Value::text(text.replacen(&*from, &to, 1)))
}

pub(super) fn remove_first(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let (text, part) = (call.text(&input)?, call.text_argument(0)?);
    Ok(Value::text(text.replacen(&*part, "", 1)))
}

pub(super) fn replace_last(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let (text, from, to) = (call.text(&input)?, call.text_argument(0)?, call.text_argument(1)?);
    Ok(last_replaced(&text, &from, &to))
}

pub(super) fn remove_last(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let (text, part) = (call.text(&input)?, call.text_argument(0)?);
    Ok(last_replaced(&text, &part, ""))
}

fn last_replaced(text: &str, from: &str, to: &str) -> Value {
    match text.rfind(from) {
        Some(at) => Value::text([&text[..at], to, &text[at + from.len()..]].concat()),
        None => Value::text(text),
    }
}

/// Splits as Ruby does: a single space means runs of white space, nothing means characters, and
/// empty parts at the end are dropped.
pub(super) fn split(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let (text, separator) = (call.text(&input)?, call.text_argument(0)?.into_owned());
    // Paid for before they are made.
    call.budget.spend_items(text.matches(&*separator).count())?;
    let mut parts: Vec<Value> = match separator.as_str() {
        " " => text.split_whitespace().map(Value::from).collect(),
        "" => text.chars().map(|c| Value::from(c.encode_utf8(&mut [0; 4]) as &str)).collect(),
        separator => text.split(separator).map(Value::from).collect(),
    };
    while parts.last().is_some_and(Value::is_empty) {
        parts.pop();
    }
    Ok(Value::array(parts))
}

const ELLIPSIS: &str = "...";

/// The text, cut so that with the ellipsis it has at most so many characters.
pub(super) fn truncate(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    if input.is_nil() {
        return Ok(Value::Nil);
    }
    let (length, ellipsis) = (length_or(call, 50)?, ellipsis(call)?);
    let text = call.text(&input)?;
    let kept = length.saturating_sub(ellipsis.chars().count());
    if text.chars().count() <= length {
        return Ok(Value::text(text));
    }
    let kept: String = text.chars().take(kept).collect();
    Ok(Value::text(kept + &ellipsis))
}

pub(super) fn truncatewords(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    if input.is_nil() {
        return Ok(Value::Nil);
    }
    let (length, ellipsis) = (length_or(call, 15)?.max(1), ellipsis(call)?);
    let text = call.text(&input)?;
    let mut words = text.split_whitespace();
    let kept: Vec<&str> = words.by_ref().take(length).collect();
    if words.next().is_none() {
        return Ok(Value::text(text));
    }
    Ok(Value::text(kept.join(" ") + &ellipsis))
}

fn length_or(call: &Call<'_, '_>, usual: usize) -> Result<usize, Failure> {
    match call.argument(0) {
        None => Ok(usual),
        Some(value) => match to_integer(value) {
            Some(length) => Ok(usize::try_from(length).unwrap_or(0)),
            None => Err("expected a whole number".into()),
        },
    }
}

fn ellipsis(call: &Call<'_, '_>) -> Result<String, Failure> {
    match call.argument(1) {
        Some(value) => Ok(call.text(value)?.into_owned()),
        None => Ok(ELLIPSIS.into()),
    }
}
