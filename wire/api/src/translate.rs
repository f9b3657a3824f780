//! Their words and ours: customers, events and records as callers write them become changes, and
//! outcomes become answers.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;
use tidings_domain::change::{
    Change, CustomerRef, FieldChange, Identity, IdentityKind, Mark, Mode, Outcome, RecordEvent,
    UpsertCustomer, UpsertRecord,
};
use tidings_domain::consent::{Channel, ConsentState, Proof};
use tidings_domain::schema::MAX_ATTRIBUTES;
use tidings_domain::{CustomerId, EventId, Timestamp};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::errors::{FieldProblem, Problem, Result};

/// Where a consent that came by this API came from, unless the caller says.
pub const SOURCE: &str = "api";

/// A customer to create or update. At least one of `id`, `external_id`, `email`, `phone` and
/// `anonymous_id` names the customer; the first known one counts, in that order, and the others are
/// set. A null is as if the field were not there.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerInput {
    pub id: Option<Uuid>,
    #[schema(example = "10001")]
    pub external_id: Option<String>,
    #[schema(example = "ann@example.com")]
    pub email: Option<String>,
    #[schema(example = "+31612345678")]
    pub phone: Option<String>,
    /// A visitor's or device's id, also of somebody who is not known otherwise.
    pub anonymous_id: Option<String>,
    /// By name: a value, null to clear, or `{"$increment": n}`, `{"$add": [texts]}`,
    /// `{"$remove": [texts]}`. A name that the schema does not have is refused.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, Json>)]
    pub attributes: Fields,
    /// Tags to put.
    #[serde(default)]
    #[schema(example = json!(["vip"]))]
    pub tags: Vec<String>,
    /// Groups to join.
    #[serde(default)]
    pub groups: Vec<String>,
    /// By channel.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, Consent>, example = json!({"email": "granted"}))]
    pub consents: BTreeMap<Channel, Consent>,
}

/// What a customer said about a channel.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    Granted,
    Withdrawn,
}

impl From<Consent> for ConsentState {
    fn from(consent: Consent) -> ConsentState {
        match consent {
            Consent::Granted => ConsentState::Granted,
            Consent::Withdrawn => ConsentState::Withdrawn,
        }
    }
}

impl From<ConsentState> for Consent {
    fn from(state: ConsentState) -> Consent {
        match state {
            ConsentState::Granted => Consent::Granted,
            ConsentState::Withdrawn => Consent::Withdrawn,
        }
    }
}

/// Changes of fields by name, in the order they were written. A name given twice is a fault.
#[derive(Debug, Default)]
pub struct Fields(pub Vec<(String, FieldChange)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of values by name")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
                use serde::de::Error;
                let mut fields: Vec<(String, FieldChange)> = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if fields.len() >= MAX_ATTRIBUTES {
                        return Err(M::Error::custom(format!("at most {MAX_ATTRIBUTES} fields")));
                    }
                    if fields.iter().any(|(known, _)| *known == name) {
                        return Err(M::Error::custom(format!("{name} is given twice")));
                    }
                    let change = field_change(map.next_value()?).map_err(M::Error::custom)?;
                    fields.push((name, change));
                }
                Ok(Fields(fields))
            }

            // A null is as if the object were not there.
            fn visit_unit<E>(self) -> Result<Fields, E> {
                Ok(Fields::default())
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

fn field_change(json: Json) -> Result<FieldChange, String> {
    let Json::Object(object) = &json else { return Ok(FieldChange::SetJson(json)) };
    let expected = || {
        "expected a value, or one of $increment with a number, $add and $remove with texts"
            .to_owned()
    };
    let mut entries = object.iter();
    let (Some((operator, operand)), None) = (entries.next(), entries.next()) else {
        return Err(expected());
    };
    let texts = || {
        let items = operand.as_array().ok_or_else(expected)?;
        let text = |item: &Json| match item {
            Json::String(text) if !text.contains('\0') => Ok(text.clone()),
            _ => Err(expected()),
        };
        items.iter().map(text).collect::<Result<Vec<String>, String>>()
    };
    match operator.as_str() {
        "$increment" if operand.is_number() || operand.is_string() => {
            Ok(FieldChange::Increment(operand.clone()))
        }
        "$add" => texts().map(FieldChange::AddToList),
        "$remove" => texts().map(FieldChange::RemoveFromList),
        _ => Err(expected()),
    }
}

/// An upsert of a customer.
pub fn customer(input: CustomerInput, mode: Mode) -> Change {
    Change::UpsertCustomer(upsert(input, mode))
}

pub fn upsert(input: CustomerInput, mode: Mode) -> UpsertCustomer {
    let tag = |tag| Mark::Tag { tag, until: None };
    let group = |group| Mark::Group { group };
    let consent = |(channel, state): (Channel, Consent)| Mark::Consent {
        channel,
        topic: String::new(),
        state: state.into(),
        source: SOURCE.to_owned(),
        proof: Proof::default(),
    };
    let marks = input
        .tags
        .into_iter()
        .map(tag)
        .chain(input.groups.into_iter().map(group))
        .chain(input.consents.into_iter().map(consent))
        .collect();
    UpsertCustomer {
        id: input.id.map(CustomerId),
        external_id: input.external_id,
        email: input.email,
        phone: input.phone,
        anonymous_id: input.anonymous_id,
        match_by: None,
        mode,
        attributes: input.attributes.0,
        marks,
    }
}

/// Names a customer by exactly one of these.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerRefInput {
    pub id: Option<Uuid>,
    pub external_id: Option<String>,
    #[schema(example = "ann@example.com")]
    pub email: Option<String>,
    pub phone: Option<String>,
    /// A visitor's or device's id; an event of one that nobody has seen before makes an anonymous
    /// customer.
    pub anonymous_id: Option<String>,
    pub system_id: Option<i64>,
}

/// The customer that an object names.
pub fn customer_ref(input: CustomerRefInput) -> Result<CustomerRef> {
    let by = |kind, text: Option<String>| text.map(|text| identity(kind, &text));
    let mut given = [
        input.id.map(|id| Ok(CustomerRef::Id(CustomerId(id)))),
        by(IdentityKind::ExternalId, input.external_id),
        by(IdentityKind::Email, input.email),
        by(IdentityKind::Phone, input.phone),
        by(IdentityKind::AnonymousId, input.anonymous_id),
        input.system_id.map(|number| Ok(CustomerRef::SystemId(number))),
    ]
    .into_iter()
    .flatten();
    match (given.next(), given.next()) {
        (Some(reference), None) => reference.map_err(|mut field: FieldProblem| {
            field.path = format!("customer.{}", field.path);
            Problem::invalid(vec![field])
        }),
        _ => {
            let expected =
                "expected one of id, external_id, email, phone, anonymous_id and system_id";
            Err(Problem::field("customer", "no_identity", expected))
        }
    }
}

fn identity(kind: IdentityKind, text: &str) -> Result<CustomerRef, FieldProblem> {
    match kind.normalise(text) {
        Ok(value) => Ok(CustomerRef::Identity(Identity { kind, value })),
        Err(expected) => Err(FieldProblem::new(kind.name(), "invalid_value", expected)),
    }
}

/// The customer that a path names: an id, or `external_id:…`, `email:…`, `phone:…`,
/// `anonymous_id:…`, `system_id:…`.
pub fn path_ref(text: &str) -> Result<CustomerRef> {
    let nobody = |_| Problem::not_found("the customer");
    let Some((name, value)) = text.split_once(':') else {
        return text.parse().map(CustomerRef::Id).map_err(|_| Problem::not_found("the customer"));
    };
    match name {
        "external_id" => identity(IdentityKind::ExternalId, value).map_err(nobody),
        "email" => identity(IdentityKind::Email, value).map_err(nobody),
        "phone" => identity(IdentityKind::Phone, value).map_err(nobody),
        "anonymous_id" => identity(IdentityKind::AnonymousId, value).map_err(nobody),
        "system_id" => {
            value.parse().map(CustomerRef::SystemId).map_err(|_| Problem::not_found("the customer"))
        }
        _ => Err(Problem::not_found("the customer")),
    }
}

/// Something that happened to a customer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventInput {
    pub customer: CustomerRefInput,
    #[schema(example = "order_placed")]
    pub name: String,
    /// When it happened; now unless given.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// Free-form, at most 64 KB.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub properties: Json,
    /// Your id of the event: the same one is kept once.
    pub id: Option<Uuid>,
}

/// An event to record.
pub fn event(input: EventInput) -> Result<Change> {
    check_keys(&input.properties, "properties")?;
    Ok(Change::RecordEvent(RecordEvent {
        customer: customer_ref(input.customer)?,
        name: input.name,
        at: input.at,
        properties: input.properties,
        id: input.id.map(EventId),
    }))
}

/// PostgreSQL has no place for a NUL, in names as little as in values.
fn check_keys(json: &Json, path: &str) -> Result<()> {
    match json {
        Json::Object(fields) => {
            for (name, value) in fields {
                if name.contains('\0') {
                    let message = "a name contains a NUL character";
                    return Err(Problem::field(path, "invalid_value", message));
                }
                check_keys(value, path)?;
            }
            Ok(())
        }
        Json::Array(items) => items.iter().try_for_each(|item| check_keys(item, path)),
        _ => Ok(()),
    }
}

/// A record of one of the workspace's tables.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordInput {
    /// Your key of the record.
    #[schema(example = "A-1001")]
    pub key: String,
    /// Whose it is; only for tables whose records belong to a customer.
    pub customer: Option<CustomerRefInput>,
    /// As a customer's attributes.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, Json>)]
    pub fields: Fields,
}

/// An upsert of a record.
pub fn record(input: RecordInput, table: &str, mode: Mode) -> Result<Change> {
    Ok(Change::UpsertRecord(UpsertRecord {
        table: table.to_owned(),
        key: input.key,
        customer: input.customer.map(customer_ref).transpose()?,
        mode,
        fields: input.fields.0,
    }))
}

/// Whether a call may create.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModeInput {
    /// Create or update.
    #[default]
    Upsert,
    /// Refuse what does not exist.
    Update,
    /// Refuse what exists.
    Create,
}

impl From<ModeInput> for Mode {
    fn from(mode: ModeInput) -> Mode {
        match mode {
            ModeInput::Upsert => Mode::Upsert,
            ModeInput::Update => Mode::Update,
            ModeInput::Create => Mode::Create,
        }
    }
}

/// What became of one item.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Done {
    Created(Touched),
    Updated(Touched),
    Unchanged(Touched),
    Refused(FieldProblem),
}

/// The customer that an outcome is about.
#[derive(Debug, Serialize, ToSchema)]
pub struct Touched {
    pub id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_id: Option<i64>,
}

impl From<Outcome> for Done {
    fn from(outcome: Outcome) -> Done {
        let touched = |customer: Option<CustomerId>, system_id| Touched {
            id: customer.map(|id| id.0),
            system_id,
        };
        match outcome {
            Outcome::Created { customer, system_id } => Done::Created(touched(customer, system_id)),
            Outcome::Updated { customer, system_id } => Done::Updated(touched(customer, system_id)),
            Outcome::Unchanged { customer, system_id } => {
                Done::Unchanged(touched(customer, system_id))
            }
            Outcome::Refused(refusal) => Done::Refused(refusal.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn attributes_are_values_or_operators() {
        let texts = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        for (json, expected) in [
            (json!(null), Some(FieldChange::SetJson(json!(null)))),
            (json!("a"), Some(FieldChange::SetJson(json!("a")))),
            (json!({"$increment": 2}), Some(FieldChange::Increment(json!(2)))),
            (json!({"$add": ["a"]}), Some(FieldChange::AddToList(texts(&["a"])))),
            (json!({"$remove": []}), Some(FieldChange::RemoveFromList(vec![]))),
            (json!({"$increment": null}), None),
            (json!({"$add": "a"}), None),
            (json!({"$add": ["a\0"]}), None),
            (json!({"$add": ["a"], "$remove": ["b"]}), None),
            (json!({}), None),
            (json!({"name": 1}), None),
        ] {
            assert_eq!(field_change(json.clone()).ok(), expected, "{json}");
        }
    }

    #[test]
    fn paths_name_customers_by_id_or_identity() {
        let id = CustomerId::generate();
        let by = |kind, value: &str| CustomerRef::Identity(Identity { kind, value: value.into() });
        for (text, expected) in [
            (id.to_string(), Some(CustomerRef::Id(id))),
            ("email:Ann@Example.com".into(), Some(by(IdentityKind::Email, "ann@example.com"))),
            ("external_id:a:b".into(), Some(by(IdentityKind::ExternalId, "a:b"))),
            ("system_id:12".into(), Some(CustomerRef::SystemId(12))),
            ("system_id:x".into(), None),
            ("email:nonsense".into(), None),
            ("shoe:42".into(), None),
            ("nonsense".into(), None),
        ] {
            assert_eq!(path_ref(&text).ok(), expected, "{text}");
        }
    }
}
