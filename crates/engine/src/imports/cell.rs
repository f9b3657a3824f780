//! One value on its way out of a row: where it comes from, what is done to it, and how its numbers
//! and dates are to be read.

use std::borrow::Cow;

use serde_json::Value as Json;
use tidings_delimited::{DateOrder, DecimalMark, Row, date, number, restore};
use tidings_domain::change::{FieldChange, Refusal};

use super::plan::column_name;
use super::transform::{Moving, Steps};

/// A value of each row.
#[derive(Clone, Debug)]
pub struct Cell {
    pub from: From,
    pub steps: Steps,
    pub decimal: Option<DecimalMark>,
    pub date: Option<DateOrder>,
    /// It goes to a list.
    pub list: bool,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    Column(usize),
    /// Those that are not blank, with a text between them.
    Columns {
        columns: Vec<usize>,
        with: String,
    },
    Constant(String),
}

/// Where the value stands in the change, for a refusal.
type Path<'p> = &'p dyn Fn() -> String;

impl Cell {
    /// The value as text; `None` where it is blank.
    pub fn text<'r>(&self, row: &Row<'r>, path: Path<'_>) -> Result<Option<Cow<'r, str>>, Refusal> {
        let text = match self.value(row, path)? {
            Some(Value::Text(text)) => text,
            Some(Value::List(items)) => items.join(" ").into(),
            None => return Ok(None),
        };
        Ok(Some(text))
    }

    /// The value as a change of an attribute or field; `None` where it is blank.
    pub fn change(&self, row: &Row<'_>, path: Path<'_>) -> Result<Option<FieldChange>, Refusal> {
        Ok(match self.value(row, path)? {
            Some(Value::List(items)) => Some(FieldChange::SetJson(Json::from(items))),
            // Lists of JSON lines come as JSON, so that their texts may hold any mark.
            Some(Value::Text(text)) if self.list && text.starts_with('[') => {
                match serde_json::from_str::<Vec<Json>>(&text) {
                    Ok(items) => Some(FieldChange::SetJson(Json::from(items))),
                    Err(_) => Some(FieldChange::SetText(text.into_owned())),
                }
            }
            Some(Value::Text(text)) => Some(FieldChange::SetText(text.into_owned())),
            None => None,
        })
    }

    fn value<'r>(&self, row: &Row<'r>, path: Path<'_>) -> Result<Option<Value<'r>>, Refusal> {
        let cell = |index: usize| restore(row.cell(index).unwrap_or_default());
        let text: Cow<'r, str> = match &self.from {
            From::Column(index) => cell(*index).into(),
            From::Columns { columns, with } => {
                let given = columns.iter().map(|index| cell(*index).trim());
                let given: Vec<&str> = given.filter(|text| !text.is_empty()).collect();
                given.join(with).into()
            }
            From::Constant(text) => text.clone().into(),
        };
        let text = match self.steps.is_empty() {
            true => text,
            false => match self.steps.apply(&text).map_err(|said| refused(path, said))? {
                Moving::Text(text) => text.into(),
                Moving::List(items) if items.is_empty() => return Ok(None),
                Moving::List(items) => return Ok(Some(Value::List(items))),
            },
        };
        if text.trim().is_empty() {
            return Ok(None);
        }
        Ok(Some(Value::Text(self.plain(text, path)?)))
    }

    /// Numbers and dates rewritten. A date that is written year first can be misread by nobody, so
    /// it is taken in any case.
    fn plain<'r>(&self, text: Cow<'r, str>, path: Path<'_>) -> Result<Cow<'r, str>, Refusal> {
        if let Some(mark) = self.decimal {
            let expected = match mark {
                DecimalMark::Comma => "expected a number such as 1.234,50",
                DecimalMark::Point => "expected a number such as 1,234.50",
            };
            let plain = number(&text, mark);
            return plain.map(Cow::Owned).ok_or_else(|| refused(path, expected.to_owned()));
        }
        if let Some(order) = self.date {
            let expected = match order {
                DateOrder::Dmy => "expected a date such as 31.12.1999",
                DateOrder::Mdy => "expected a date such as 12/31/1999",
                DateOrder::Ymd => "expected a date such as 1999-12-31",
            };
            let plain = date(&text, order).or_else(|| date(&text, DateOrder::Ymd));
            return plain.map(Cow::Owned).ok_or_else(|| refused(path, expected.to_owned()));
        }
        Ok(text)
    }

    /// What the column is called in reports; blank for a constant.
    pub fn column_name(&self, headers: &[String]) -> String {
        match &self.from {
            From::Column(index) => column_name(headers, *index),
            From::Columns { columns, .. } => {
                let names = columns.iter().map(|index| column_name(headers, *index));
                names.collect::<Vec<_>>().join(" + ")
            }
            From::Constant(_) => String::new(),
        }
    }
}

enum Value<'r> {
    Text(Cow<'r, str>),
    List(Vec<String>),
}

fn refused(path: Path<'_>, message: String) -> Refusal {
    Refusal::new("invalid_value", path(), message)
}
