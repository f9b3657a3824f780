//! Giving tests their types: which operator fits which kind, and the constant in that kind.

use serde_json::Value as Json;

use super::{BoundTest, Comparison, Operator, Pattern, Period, PropertyTest, Scalar, Test};
use crate::value::{Kind, Value, checked_text};

/// What is wrong with a test: the part of it (`op`, `value`, `value[3]`) and a sentence.
pub(super) type TestFault = (String, String);

fn at_value<T>(message: impl Into<String>) -> Result<T, TestFault> {
    Err(("value".to_owned(), message.into()))
}

/// Whether values of this kind have an order that means something to a person.
fn ordered(kind: &Kind) -> bool {
    !matches!(
        kind,
        Kind::Boolean | Kind::List | Kind::Email | Kind::Phone | Kind::Country | Kind::Language
    )
}

fn is_text(kind: &Kind) -> bool {
    matches!(kind, Kind::Text | Kind::Email | Kind::Phone | Kind::Country | Kind::Language)
}

fn fits(op: Operator, kind: &Kind) -> bool {
    match op {
        Operator::Exists => true,
        Operator::Eq | Operator::Ne | Operator::In => *kind != Kind::List,
        Operator::Gt | Operator::Gte | Operator::Lt | Operator::Lte => ordered(kind),
        Operator::Contains => is_text(kind) || *kind == Kind::List,
        Operator::StartsWith | Operator::EndsWith | Operator::Matches => is_text(kind),
        Operator::Before | Operator::After | Operator::Within => {
            matches!(kind, Kind::Date | Kind::Timestamp)
        }
        Operator::AnniversaryWithin => *kind == Kind::Date,
    }
}

/// The comparison that an operator is, if it is one.
fn comparison(op: Operator) -> Option<Comparison> {
    Some(match op {
        Operator::Eq => Comparison::Eq,
        Operator::Ne => Comparison::Ne,
        Operator::Gt | Operator::After => Comparison::Gt,
        Operator::Gte => Comparison::Gte,
        Operator::Lt | Operator::Before => Comparison::Lt,
        Operator::Lte => Comparison::Lte,
        _ => return None,
    })
}

/// The operators that fit a kind, in the order they are offered.
pub fn operators(kind: &Kind) -> Vec<Operator> {
    Operator::ALL.iter().copied().filter(|op| fits(*op, kind)).collect()
}

pub(super) fn bind_test(kind: &Kind, test: &Test) -> Result<BoundTest, TestFault> {
    let Test { op, value } = test;
    if !fits(*op, kind) {
        let words: Vec<&str> = operators(kind).into_iter().map(Operator::name).collect();
        let message = format!("{} does not fit {}: {}", op.name(), kind.name(), words.join(", "));
        return Err(("op".to_owned(), message));
    }
    if let Some(comparison) = comparison(*op) {
        let constant = constant(kind, value).or_else(at_value)?;
        return Ok(BoundTest::Compare(comparison, constant));
    }
    Ok(match op {
        Operator::Exists => BoundTest::Exists,
        Operator::In => BoundTest::In(constants(kind, value)?),
        Operator::Contains if *kind == Kind::List => BoundTest::Has(item(value)?),
        Operator::Contains => BoundTest::Contains(part(value)?),
        Operator::StartsWith => BoundTest::StartsWith(part(value)?),
        Operator::EndsWith => BoundTest::EndsWith(part(value)?),
        Operator::Matches => BoundTest::Matches(pattern(value)?),
        Operator::Within if *kind == Kind::Date => BoundTest::WithinDays(days(value)?),
        Operator::Within => BoundTest::Within(period(value)?),
        _ => BoundTest::AnniversaryWithin(days(value)?),
    })
}

/// A test on a property; operators on dates have no meaning there, since JSON has no dates.
pub(super) fn bind_property(test: &Test) -> Result<PropertyTest, TestFault> {
    let Test { op, value } = test;
    let date_operators =
        [Operator::Before, Operator::After, Operator::Within, Operator::AnniversaryWithin];
    if date_operators.contains(op) {
        return Err(("op".to_owned(), format!("{} does not fit a property", op.name())));
    }
    if let Some(comparison) = comparison(*op) {
        let constant = scalar(value).or_else(at_value)?;
        let equality = matches!(comparison, Comparison::Eq | Comparison::Ne);
        if matches!(constant, Scalar::Boolean(_)) && !equality {
            return Err(("op".to_owned(), format!("{} does not fit true and false", op.name())));
        }
        return Ok(PropertyTest::Compare(comparison, constant));
    }
    Ok(match op {
        Operator::Exists => PropertyTest::Exists,
        Operator::In => {
            let mut list = Vec::new();
            for (at, value) in value.as_array().into_iter().flatten().enumerate() {
                list.push(scalar(value).map_err(|message| (format!("value[{at}]"), message))?);
            }
            PropertyTest::In(list)
        }
        Operator::Contains => PropertyTest::Contains(part(value)?),
        Operator::StartsWith => PropertyTest::StartsWith(part(value)?),
        Operator::EndsWith => PropertyTest::EndsWith(part(value)?),
        _ => PropertyTest::Matches(pattern(value)?),
    })
}

/// A constant in the kind of its column.
pub(super) fn constant(kind: &Kind, json: &Json) -> Result<Value, String> {
    kind.parse_json(json)?.ok_or_else(|| format!("expected {}", kind.expected()))
}

fn constants(kind: &Kind, json: &Json) -> Result<Vec<Value>, TestFault> {
    let mut list = Vec::new();
    for (at, value) in json.as_array().into_iter().flatten().enumerate() {
        list.push(constant(kind, value).map_err(|message| (format!("value[{at}]"), message))?);
    }
    list.sort_unstable();
    list.dedup();
    Ok(list)
}

fn scalar(json: &Json) -> Result<Scalar, String> {
    match json {
        Json::Bool(flag) => Ok(Scalar::Boolean(*flag)),
        Json::String(text) => checked_text(text).map(Scalar::Text),
        Json::Number(number) => {
            let finite = number.as_f64().filter(|number| number.is_finite());
            finite.map(Scalar::Number).ok_or_else(|| "number is too large".to_owned())
        }
        _ => Err("expected a text, a number, true or false".to_owned()),
    }
}

fn item(json: &Json) -> Result<String, TestFault> {
    match json.as_str().map(checked_text) {
        Some(Ok(text)) => Ok(text),
        Some(Err(message)) => at_value(message),
        None => at_value("expected a text"),
    }
}

/// A part of a text; an empty one would be part of every text.
fn part(json: &Json) -> Result<String, TestFault> {
    match item(json)? {
        text if text.is_empty() => at_value("expected a text of at least one character"),
        text => Ok(text),
    }
}

fn pattern(json: &Json) -> Result<Pattern, TestFault> {
    Pattern::parse(&item(json)?).or_else(at_value)
}

fn period(json: &Json) -> Result<Period, TestFault> {
    json.as_str()
        .and_then(|text| Period::parse(text).ok())
        .ok_or_else(|| ("value".to_owned(), Period::EXPECTED.to_owned()))
}

fn days(json: &Json) -> Result<i32, TestFault> {
    period(json)?.days().ok_or_else(|| {
        ("value".to_owned(), "expected whole days or weeks for a date, such as 7d".to_owned())
    })
}
