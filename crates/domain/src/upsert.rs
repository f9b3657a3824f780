//! How a set of field changes meets the schema and the values that are there.

use crate::CustomerId;
use crate::change::{FieldChange, Identity, IdentityKind, Mark, Mode, Refusal, UpsertCustomer};
use crate::schema::{Attribute, Schema, checked_name};
use crate::value::{Kind, Storage, Value, checked_text};

/// A change of one field after it was checked against the field's kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    Set(Value),
    Clear,
    Increment(i64),
    AddToList(Vec<String>),
    RemoveFromList(Vec<String>),
}

/// An upsert whose names are resolved and whose values are typed.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    pub id: Option<CustomerId>,
    /// In the order in which they may name the customer.
    pub identities: Vec<Identity>,
    pub match_by: Option<IdentityKind>,
    pub mode: Mode,
    /// By position in the schema's attributes.
    pub edits: Vec<(usize, Edit)>,
    /// Put on the customer in the same step.
    pub marks: Vec<Mark>,
}

/// Checks an upsert against the schema.
pub fn prepare(schema: &Schema, change: &UpsertCustomer) -> Result<Prepared, Refusal> {
    let mut identities = Vec::with_capacity(4);
    for (kind, text) in [
        (IdentityKind::ExternalId, &change.external_id),
        (IdentityKind::Email, &change.email),
        (IdentityKind::Phone, &change.phone),
        (IdentityKind::AnonymousId, &change.anonymous_id),
    ] {
        let Some(text) = text.as_deref().filter(|text| !text.trim().is_empty()) else { continue };
        let value = kind
            .normalise(text)
            .map_err(|expected| Refusal::new(invalid_code(kind), kind.name(), expected))?;
        identities.push(Identity { kind, value });
    }
    let named = match change.match_by {
        Some(kind) => identities.iter().any(|identity| identity.kind == kind),
        None => !identities.is_empty(),
    };
    if change.id.is_none() && !named {
        let (path, wanted) = match change.match_by {
            Some(kind) => (kind.name(), kind.name()),
            None => ("", "id, external_id, email, phone or anonymous_id"),
        };
        let message = format!("expected {wanted} to name the customer");
        return Err(Refusal::new("no_identity", path, message));
    }
    let mut edits = Vec::with_capacity(change.attributes.len());
    for (name, field) in &change.attributes {
        let Some(position) = schema.position(name) else {
            let message = format!("unknown attribute {name}; add it to the schema first");
            return Err(Refusal::new("unknown_attribute", format!("attributes.{name}"), message));
        };
        if let Some(edit) = prepare_field(&schema.attributes[position], field, "attributes")? {
            edits.push((position, edit));
        }
    }
    check_marks(&change.marks)?;
    Ok(Prepared {
        id: change.id,
        identities,
        match_by: change.match_by,
        mode: change.mode,
        edits,
        marks: change.marks.clone(),
    })
}

/// Names of marks are checked before anything is written, so that a bad one refuses the whole.
fn check_marks(marks: &[Mark]) -> Result<(), Refusal> {
    for mark in marks {
        let (path, checked) = match mark {
            Mark::Tag { tag, .. } => ("tags", checked_name(tag)),
            Mark::Group { group } => ("groups", checked_name(group)),
            Mark::Consent { .. } => continue,
        };
        if let Err(expected) = checked {
            return Err(Refusal::new("invalid_name", path, expected));
        }
    }
    Ok(())
}

fn invalid_code(kind: IdentityKind) -> &'static str {
    match kind {
        IdentityKind::Email => "invalid_email",
        IdentityKind::Phone => "invalid_phone",
        IdentityKind::AnonymousId => "invalid_anonymous_id",
        IdentityKind::ExternalId => "invalid_external_id",
    }
}

/// Checks one field change; `None` where there is nothing to do (a blank cell).
pub fn prepare_field(
    field: &Attribute,
    change: &FieldChange,
    prefix: &str,
) -> Result<Option<Edit>, Refusal> {
    let refuse = |expected: String| {
        Refusal::new("invalid_value", format!("{prefix}.{}", field.name), expected)
    };
    let edit = match change {
        FieldChange::SetText(text) => match field.kind.parse_text(text).map_err(refuse)? {
            Some(value) => Edit::Set(value),
            None => return Ok(None),
        },
        FieldChange::SetJson(json) => match field.kind.parse_json(json).map_err(refuse)? {
            Some(value) => Edit::Set(value),
            None => Edit::Clear,
        },
        FieldChange::Clear => Edit::Clear,
        FieldChange::Increment(json) => {
            let numeric =
                matches!(field.kind, Kind::Integer | Kind::Decimal { .. } | Kind::Money { .. });
            match (numeric, field.kind.parse_json(json)) {
                (true, Ok(Some(Value::Integer(by)))) => Edit::Increment(by),
                (true, Err(expected)) => return Err(refuse(expected)),
                _ => return Err(refuse("only a number can be incremented".to_owned())),
            }
        }
        FieldChange::AddToList(items) | FieldChange::RemoveFromList(items) => {
            if field.kind.storage() != Storage::List {
                return Err(refuse("only a list can be added to or removed from".to_owned()));
            }
            for item in items {
                checked_text(item).map_err(refuse)?;
            }
            match change {
                FieldChange::AddToList(_) => Edit::AddToList(items.clone()),
                _ => Edit::RemoveFromList(items.clone()),
            }
        }
    };
    Ok(Some(edit))
}

/// The value after an edit, or why the edit does not fit the value there.
pub fn edited(old: Option<&Value>, edit: &Edit) -> Result<Option<Value>, String> {
    Ok(match edit {
        Edit::Set(value) => Some(value.clone()),
        Edit::Clear => None,
        Edit::Increment(by) => {
            let base = match old {
                Some(Value::Integer(number)) => *number,
                _ => 0,
            };
            let sum = base.checked_add(*by).ok_or_else(|| "number is too large".to_owned())?;
            Some(Value::Integer(sum))
        }
        Edit::AddToList(items) => {
            let mut list = match old {
                Some(Value::List(list)) => list.clone(),
                _ => Vec::new(),
            };
            for item in items {
                if !list.contains(item) {
                    list.push(item.clone());
                }
            }
            if list.len() > 1_000 {
                return Err("a list holds at most 1000 texts".to_owned());
            }
            Some(Value::List(list))
        }
        Edit::RemoveFromList(items) => match old {
            Some(Value::List(list)) => {
                Some(Value::List(list.iter().filter(|i| !items.contains(i)).cloned().collect()))
            }
            _ => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Schema {
        let attribute = |number, name: &str, kind| Attribute {
            number,
            name: name.to_owned(),
            kind,
            column: format!("{name}_{number}"),
        };
        Schema::new(
            1,
            vec![
                attribute(1, "score", Kind::Integer),
                attribute(2, "colours", Kind::List),
                attribute(3, "first name", Kind::Text),
            ],
            vec![],
        )
    }

    #[test]
    fn refusals_name_the_field_and_what_was_expected() {
        for (change, code, path) in [
            (UpsertCustomer::default(), "no_identity", ""),
            (
                UpsertCustomer { email: Some("x".into()), ..Default::default() },
                "invalid_email",
                "email",
            ),
            (
                UpsertCustomer {
                    external_id: Some("1".into()),
                    attributes: vec![("shoe".into(), FieldChange::Clear)],
                    ..Default::default()
                },
                "unknown_attribute",
                "attributes.shoe",
            ),
            (
                UpsertCustomer {
                    external_id: Some("1".into()),
                    attributes: vec![("score".into(), FieldChange::SetJson(json!("x")))],
                    ..Default::default()
                },
                "invalid_value",
                "attributes.score",
            ),
            (
                UpsertCustomer {
                    external_id: Some("1".into()),
                    match_by: Some(IdentityKind::Email),
                    ..Default::default()
                },
                "no_identity",
                "email",
            ),
            (
                UpsertCustomer {
                    external_id: Some("1".into()),
                    attributes: vec![("first name".into(), FieldChange::Increment(json!(1)))],
                    ..Default::default()
                },
                "invalid_value",
                "attributes.first name",
            ),
            (
                UpsertCustomer {
                    external_id: Some("1".into()),
                    marks: vec![Mark::Tag { tag: " vip".into(), until: None }],
                    ..Default::default()
                },
                "invalid_name",
                "tags",
            ),
        ] {
            let refusal = prepare(&schema(), &change).unwrap_err();
            assert_eq!((refusal.code.as_ref(), refusal.path.as_str()), (code, path), "{change:?}");
        }
    }

    #[test]
    fn edits_change_the_value_that_is_there() {
        let list = |items: &[&str]| Value::List(items.iter().map(|i| (*i).to_owned()).collect());
        for (old, edit, expected) in [
            (None, Edit::Increment(2), Ok(Some(Value::Integer(2)))),
            (Some(Value::Integer(i64::MAX)), Edit::Increment(1), Err("number is too large".into())),
            (
                Some(list(&["a"])),
                Edit::AddToList(vec!["b".into(), "a".into()]),
                Ok(Some(list(&["a", "b"]))),
            ),
            (
                Some(list(&["a", "b"])),
                Edit::RemoveFromList(vec!["a".into()]),
                Ok(Some(list(&["b"]))),
            ),
            (Some(Value::Integer(1)), Edit::Clear, Ok(None)),
        ] {
            assert_eq!(edited(old.as_ref(), &edit), expected, "{edit:?}");
        }
    }
}
