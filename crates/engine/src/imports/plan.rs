//! A mapping made ready for rows: every column's target is known, and each row becomes one change.

mod checked;

use std::borrow::Cow;
use std::sync::Arc;

use tidings_delimited::Row;
use tidings_domain::change::{
    Change, CustomerRef, FieldChange, Identity, IdentityKind, Mark, Mode, Refusal, UpsertCustomer,
    UpsertRecord,
};
use tidings_domain::consent::{Channel, ConsentState, Proof, Via};
use tidings_domain::schema::{Schema, Table};
use tidings_domain::value::{Kind, Value};

use self::checked::Checked;
use super::cell::Cell;
use super::mapping::{ImportMode, MappedColumn, Mapping, NewKind};
use crate::{Error, Fault, Result};

/// How rows become changes.
#[derive(Clone, Debug)]
pub struct Plan {
    target: Target,
    mode: Mode,
    /// Whether attributes and fields that the file has no value for are emptied.
    empties: bool,
    /// The attribute that says who was in the file.
    pub present: Option<String>,
    /// Attributes or fields to make before the first row.
    pub create: Vec<(String, Kind)>,
    /// What a refusal's path is called in the file.
    pub paths: Arc<Vec<(String, String)>>,
    /// Values of attributes and fields that are not there yet, which a trial only checks.
    unmade: Vec<(Cell, String, Kind)>,
}

#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for a whole import")]
enum Target {
    Customers {
        id: Option<Cell>,
        /// External id, e-mail and phone.
        names: [Option<Cell>; 3],
        match_by: Option<IdentityKind>,
        attributes: Vec<(Cell, String)>,
        /// What says whether the customer wants e-mail.
        consent: Option<Cell>,
    },
    Records {
        table: String,
        key: Cell,
        /// What may name the owner, the surest first.
        owners: Vec<(OwnerName, Cell)>,
        fields: Vec<(Cell, String)>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnerName {
    Id,
    Identity(IdentityKind),
}

/// Columns that may be joined into one value.
const MAX_JOINED: usize = 20;

const IDENTITIES: [IdentityKind; 3] =
    [IdentityKind::ExternalId, IdentityKind::Email, IdentityKind::Phone];

impl Plan {
    /// Checks a mapping against the file's columns and the schema. Every fault names its place,
    /// such as `mapping.columns[2].to`.
    pub fn new(
        mapping: &Mapping,
        headers: &[String],
        schema: &Schema,
        table: Option<&str>,
    ) -> Result<Plan> {
        let table = match table {
            Some(name) => Some(schema.table(name).cloned().ok_or_else(|| {
                let message = format!("unknown table {name}; add it to the schema first");
                Error::Invalid(vec![Fault::new("table", "unknown_table", message)])
            })?),
            None => None,
        };
        let mut checked = Checked::default();
        let present = mapping.present.as_deref().map(|name| marking(name, schema));
        let replaces = mapping.mode == ImportMode::Replace && table.is_none();
        if mapping.present.as_deref().is_some_and(|name| !replaces || name == "ignore") {
            let message = "only an import that replaces customers says who was in the file";
            checked.fault("mapping.present".to_owned(), "invalid", message);
        }
        for (at, mapped) in mapping.columns.iter().chain(&present).enumerate() {
            let path = |field: &str| match at < mapping.columns.len() {
                true => format!("mapping.columns[{at}].{field}"),
                false => "mapping.present".to_owned(),
            };
            if mapped.to == "ignore" {
                checked.source(mapped, headers, &path);
                continue;
            }
            let own = own_names(table.as_deref()).contains(&mapped.to.as_str());
            let kind = match own {
                true if mapped.create.is_some() => {
                    let message = format!("{} is a name of the hub's own", mapped.to);
                    checked.fault(path("create"), "invalid", message);
                    None
                }
                true => None,
                false => checked.attribute(mapped, schema, table.as_deref(), &path),
            };
            let marks = at == mapping.columns.len();
            if marks && kind.as_ref().is_some_and(|kind| *kind != Kind::Boolean) {
                let message = format!("{} is no yes-or-no attribute", mapped.to);
                checked.fault("mapping.present".to_owned(), "invalid", message);
            }
            let Some(cell) = checked.cell(mapped, headers, kind.as_ref(), &path) else { continue };
            if checked.places.contains_key(&mapped.to) {
                let (field, code) = match checked.places[&mapped.to].from == cell.from {
                    true => ("column", "duplicate_column"),
                    false => ("to", "duplicate_target"),
                };
                let message = format!("{} is given twice; ignore one", mapped.to);
                checked.fault(path(field), code, message);
                continue;
            }
            if !own {
                checked.attributes.push(mapped.to.clone());
            }
            checked.places.insert(mapped.to.clone(), cell);
        }
        let target = match &table {
            None => checked.customers(mapping),
            Some(table) => checked.records(mapping, table),
        };
        match target {
            Some(target) if checked.faults.is_empty() => Ok(Plan {
                paths: Arc::new(checked.paths(headers, table.is_some())),
                target,
                mode: mapping.mode.into(),
                empties: mapping.mode == ImportMode::Replace,
                present: mapping.present.clone(),
                create: checked.create,
                unmade: Vec::new(),
            }),
            _ => Err(Error::Invalid(checked.faults)),
        }
    }

    /// The same plan for a schema that still lacks what the mapping would make: those values are
    /// checked and not set.
    pub fn without_new(mut self) -> Plan {
        let create = std::mem::take(&mut self.create);
        let fields = match &mut self.target {
            Target::Customers { attributes, .. } => attributes,
            Target::Records { fields, .. } => fields,
        };
        for (name, kind) in create {
            if let Some(at) = fields.iter().position(|(_, field)| *field == name) {
                let (cell, name) = fields.remove(at);
                self.unmade.push((cell, name, kind));
            }
        }
        self
    }

    /// Whether a row has values for attributes or fields that are not there yet.
    pub fn sets_new(&self, row: &Row<'_>) -> Result<bool, Refusal> {
        let mut sets = false;
        for (cell, name, kind) in &self.unmade {
            let path = || self.field_path(name);
            let value = match cell.change(row, &path)? {
                Some(FieldChange::SetText(text)) => kind.parse_text(&text),
                Some(FieldChange::SetJson(json)) => kind.parse_json(&json),
                _ => continue,
            };
            let value = value.map_err(|text| Refusal::new("invalid_value", path(), text))?;
            sets |= value.is_some();
        }
        Ok(sets)
    }

    fn field_path(&self, name: &str) -> String {
        match &self.target {
            Target::Customers { .. } => format!("attributes.{name}"),
            Target::Records { .. } => format!("fields.{name}"),
        }
    }

    /// The change that a row asks for, or why it asks for none.
    pub fn change(&self, row: &Row<'_>) -> Result<Change, Refusal> {
        let text = |cell: &Option<Cell>, path: &str| match cell {
            Some(cell) => cell.text(row, &|| path.to_owned()),
            None => Ok(None),
        };
        let values = |columns: &[(Cell, String)]| {
            let mut given = Vec::with_capacity(columns.len());
            for (cell, name) in columns {
                let change = cell.change(row, &|| self.field_path(name))?;
                let change = change.or_else(|| self.empties.then_some(FieldChange::Clear));
                if let Some(change) = change {
                    given.push((name.clone(), change));
                }
            }
            Ok(given)
        };
        match &self.target {
            Target::Customers { id, names, match_by, attributes, consent } => {
                let id = text(id, "id")?.as_deref().map(customer_id).transpose()?;
                let [external_id, email, phone] = names;
                Ok(Change::UpsertCustomer(UpsertCustomer {
                    id,
                    external_id: text(external_id, "external_id")?.map(Cow::into_owned),
                    email: text(email, "email")?.map(Cow::into_owned),
                    phone: text(phone, "phone")?.map(Cow::into_owned),
                    anonymous_id: None,
                    match_by: *match_by,
                    mode: self.mode,
                    attributes: values(attributes)?,
                    marks: match text(consent, CONSENT)? {
                        Some(text) => vec![consent_mark(&text)?],
                        None => Vec::new(),
                    },
                }))
            }
            Target::Records { table, key, owners, fields } => {
                let mut customer = None;
                for (name, cell) in owners {
                    let Some(text) = cell.text(row, &|| "customer".to_owned())? else { continue };
                    customer = Some(owner(*name, &text)?);
                    break;
                }
                let key = key.text(row, &|| "key".to_owned())?.unwrap_or_default();
                Ok(Change::UpsertRecord(UpsertRecord {
                    table: table.clone(),
                    key: key.trim().to_owned(),
                    customer,
                    mode: self.mode,
                    fields: values(fields)?,
                }))
            }
        }
    }
}

impl Plan {
    /// What each target gets of a row, as text.
    pub fn shown(&self, row: &Row<'_>) -> Vec<(String, Result<Option<String>, Refusal>)> {
        let mut cells: Vec<(String, &Cell)> = Vec::new();
        match &self.target {
            Target::Customers { id, names, attributes, consent, .. } => {
                let own = ["id", "external_id", "email", "phone", CONSENT];
                let given = [id, &names[0], &names[1], &names[2], consent];
                for (name, cell) in own.into_iter().zip(given) {
                    cells.extend(cell.as_ref().map(|cell| (name.to_owned(), cell)));
                }
                cells.extend(attributes.iter().map(|(cell, name)| (name.clone(), cell)));
            }
            Target::Records { key, owners, fields, .. } => {
                cells.push(("key".to_owned(), key));
                for (owner, cell) in owners {
                    let name = match owner {
                        OwnerName::Id => "customer.id".to_owned(),
                        OwnerName::Identity(kind) => format!("customer.{}", kind.name()),
                    };
                    cells.push((name, cell));
                }
                cells.extend(fields.iter().map(|(cell, name)| (name.clone(), cell)));
            }
        }
        let shown = cells.into_iter().map(|(name, cell)| {
            let text = cell.text(row, &|| name.clone()).map(|text| text.map(Cow::into_owned));
            (name, text)
        });
        shown.collect()
    }
}

/// The attribute that every row sets, as a column of the mapping would.
fn marking(name: &str, schema: &Schema) -> MappedColumn {
    let boolean = || NewKind { kind: Kind::Boolean.name().to_owned(), scale: None, currency: None };
    MappedColumn {
        constant: Some("true".to_owned()),
        to: name.to_owned(),
        create: schema.attribute(name).is_none().then(boolean),
        ..MappedColumn::default()
    }
}

fn customer_id(text: &str) -> Result<tidings_domain::CustomerId, Refusal> {
    let expected = "expected an id such as 01931f2e-7a3b-7c4d-9e5f-a1b2c3d4e5f6";
    text.trim().parse().map_err(|_| Refusal::new("invalid_id", "id", expected))
}

/// What a cell says of consent: any form of yes or no.
fn consent_mark(text: &str) -> Result<Mark, Refusal> {
    let state = match Kind::Boolean.parse_text(text) {
        Ok(Some(Value::Boolean(true))) => ConsentState::Granted,
        Ok(Some(Value::Boolean(false))) => ConsentState::Withdrawn,
        _ => return Err(Refusal::new("invalid_value", CONSENT, "expected yes or no")),
    };
    Ok(Mark::Consent {
        channel: Channel::Email,
        topic: String::new(),
        state,
        source: "import".to_owned(),
        proof: Proof::by(Via::Import),
    })
}

fn owner(name: OwnerName, text: &str) -> Result<CustomerRef, Refusal> {
    match name {
        OwnerName::Id => customer_id(text)
            .map(CustomerRef::Id)
            .map_err(|refusal| Refusal { path: "customer.id".to_owned(), ..refusal }),
        OwnerName::Identity(kind) => match kind.normalise(text) {
            Ok(value) => Ok(CustomerRef::Identity(Identity { kind, value })),
            Err(expected) => {
                let code = match kind {
                    IdentityKind::Email => "invalid_email",
                    IdentityKind::Phone => "invalid_phone",
                    _ => "invalid_external_id",
                };
                Err(Refusal::new(code, format!("customer.{}", kind.name()), expected))
            }
        },
    }
}

/// The target of a column with yes or no: consent to e-mail.
pub const CONSENT: &str = "consent.email";

/// Targets that are no attribute or field.
fn own_names(table: Option<&Table>) -> &'static [&'static str] {
    match table {
        None => &["id", "external_id", "email", "phone", CONSENT],
        Some(_) => {
            &["key", "customer.id", "customer.external_id", "customer.email", "customer.phone"]
        }
    }
}

/// What a column is called in reports: its header, or its number from 1.
pub fn column_name(headers: &[String], index: usize) -> String {
    match headers.get(index).map(String::as_str) {
        Some("") | None => (index + 1).to_string(),
        Some(name) => name.to_owned(),
    }
}
