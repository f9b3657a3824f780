//! A mapping made ready for rows: every column's target is known, and each row becomes one change.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tidings_delimited::{Row, restore};
use tidings_domain::change::{
    Change, CustomerRef, FieldChange, Identity, IdentityKind, Mark, Mode, Refusal, UpsertCustomer,
    UpsertRecord,
};
use tidings_domain::consent::{Channel, ConsentState, Proof, Via};
use tidings_domain::schema::{Owner, Schema, Table};
use tidings_domain::value::{Kind, Value};

use super::mapping::{ColumnName, Mapping};
use crate::{Error, Fault, Result};

/// How rows become changes.
#[derive(Clone, Debug)]
pub struct Plan {
    target: Target,
    mode: Mode,
    /// Attributes or fields to make before the first row.
    pub create: Vec<(String, Kind)>,
    /// What a refusal's path is called in the file.
    pub paths: Arc<Vec<(String, String)>>,
}

#[derive(Clone, Debug)]
enum Target {
    Customers {
        id: Option<usize>,
        /// Columns of external id, e-mail and phone.
        names: [Option<usize>; 3],
        match_by: Option<IdentityKind>,
        attributes: Vec<(usize, String)>,
        /// The column that says whether the customer wants e-mail.
        consent: Option<usize>,
    },
    Records {
        table: String,
        key: usize,
        /// Columns that may name the owner, the surest first.
        owners: Vec<(OwnerName, usize)>,
        fields: Vec<(usize, String)>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnerName {
    Id,
    Identity(IdentityKind),
}

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
        for (at, mapped) in mapping.columns.iter().enumerate() {
            let path = |field: &str| format!("mapping.columns[{at}].{field}");
            let Some(index) = checked.column(&mapped.column, headers, &path("column")) else {
                continue;
            };
            if mapped.to == "ignore" {
                continue;
            }
            if !checked.targets.insert(mapped.to.clone()) {
                let message = format!("{} is given by two columns; ignore one", mapped.to);
                checked.fault(path("to"), "duplicate_target", message);
                continue;
            }
            let own = own_names(table.as_deref()).contains(&mapped.to.as_str());
            if own && mapped.create.is_some() {
                let message = format!("{} is a name of the hub's own", mapped.to);
                checked.fault(path("create"), "invalid", message);
            } else if !own {
                checked.attribute(mapped, schema, table.as_deref(), &path);
            }
            checked.places.insert(mapped.to.clone(), index);
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
                create: checked.create,
            }),
            _ => Err(Error::Invalid(checked.faults)),
        }
    }

    /// The change that a row asks for, or why it asks for none.
    pub fn change(&self, row: &Row<'_>) -> Result<Change, Refusal> {
        let cell = |index: usize| restore(row.cell(index).unwrap_or_default());
        let given = |index: &usize| Some(cell(*index)).filter(|text| !text.trim().is_empty());
        let values = |columns: &[(usize, String)]| {
            let given = columns.iter().filter_map(|(index, name)| {
                let text = given(index)?;
                Some((name.clone(), FieldChange::SetText(text.to_owned())))
            });
            given.collect::<Vec<_>>()
        };
        match &self.target {
            Target::Customers { id, names, match_by, attributes, consent } => {
                let id = id.as_ref().and_then(given).map(customer_id).transpose()?;
                let [external_id, email, phone] =
                    names.each_ref().map(|name| name.as_ref().and_then(given).map(str::to_owned));
                Ok(Change::UpsertCustomer(UpsertCustomer {
                    id,
                    external_id,
                    email,
                    phone,
                    anonymous_id: None,
                    match_by: *match_by,
                    mode: self.mode,
                    attributes: values(attributes),
                    marks: match consent.as_ref().and_then(given) {
                        Some(text) => vec![consent_mark(text)?],
                        None => Vec::new(),
                    },
                }))
            }
            Target::Records { table, key, owners, fields } => {
                let mut customer = None;
                for (name, index) in owners {
                    let Some(text) = given(index) else { continue };
                    customer = Some(owner(*name, text)?);
                    break;
                }
                Ok(Change::UpsertRecord(UpsertRecord {
                    table: table.clone(),
                    key: cell(*key).trim().to_owned(),
                    customer,
                    mode: self.mode,
                    fields: values(fields),
                }))
            }
        }
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

/// What has been found while a mapping is checked.
#[derive(Default)]
struct Checked {
    faults: Vec<Fault>,
    columns: HashSet<usize>,
    targets: HashSet<String>,
    /// The column of each target.
    places: HashMap<String, usize>,
    attributes: Vec<String>,
    create: Vec<(String, Kind)>,
}

impl Checked {
    fn fault(&mut self, path: String, code: &'static str, message: impl Into<String>) {
        self.faults.push(Fault::new(path, code, message));
    }

    fn column(&mut self, name: &ColumnName, headers: &[String], path: &str) -> Option<usize> {
        let index = match name {
            ColumnName::Index(index) => Some(*index).filter(|index| *index < headers.len()),
            ColumnName::Header(name) => {
                let name = name.trim();
                headers.iter().position(|header| !name.is_empty() && header == name)
            }
        };
        let Some(index) = index else {
            let message = match name {
                ColumnName::Index(index) => {
                    format!("the file has {} columns, so none at place {index}", headers.len())
                }
                ColumnName::Header(name) => format!("the file has no column {name}"),
            };
            self.fault(path.to_owned(), "unknown_column", message);
            return None;
        };
        if !self.columns.insert(index) {
            self.fault(path.to_owned(), "duplicate_column", "this column is mapped twice");
            return None;
        }
        Some(index)
    }

    /// An attribute or field that is there, or is to be made.
    fn attribute(
        &mut self,
        mapped: &super::mapping::MappedColumn,
        schema: &Schema,
        table: Option<&Table>,
        path: &dyn Fn(&str) -> String,
    ) {
        let known = match table {
            None => schema.attribute(&mapped.to),
            Some(table) => table.field(&mapped.to),
        };
        let word = if table.is_some() { "field" } else { "attribute" };
        self.attributes.push(mapped.to.clone());
        let kind = mapped.create.as_ref().map(super::mapping::NewKind::kind);
        match (known, kind) {
            (_, Some(Err(message))) => self.fault(path("create"), "invalid_kind", message),
            (Some(known), Some(Ok(kind))) if known.kind != kind => {
                let there = known.kind.name();
                let message = format!("{word} {} exists and is of kind {there}", mapped.to);
                self.fault(path("create"), "exists", message);
            }
            (Some(_), _) => {}
            (None, Some(Ok(kind))) => {
                match tidings_domain::schema::checked_attribute_name(&mapped.to) {
                    Ok(_) => self.create.push((mapped.to.clone(), kind)),
                    Err(message) => self.fault(path("to"), "invalid_name", message),
                }
            }
            (None, None) => {
                let message =
                    format!("unknown {word} {}; add it to the schema or create it", mapped.to);
                self.fault(path("to"), unknown_code(word), message);
            }
        }
    }

    /// The columns of attributes or fields in the order of the mapping.
    fn fields(&self) -> Vec<(usize, String)> {
        let placed = self.attributes.iter();
        placed.filter_map(|name| Some((*self.places.get(name)?, name.clone()))).collect()
    }

    fn customers(&mut self, mapping: &Mapping) -> Option<Target> {
        let place = |name: &str| self.places.get(name).copied();
        let id = place("id");
        let names = IDENTITIES.map(|kind| place(kind.name()));
        let match_by = match mapping.match_by.as_deref() {
            None => None,
            Some(name) => {
                let kind = IDENTITIES.into_iter().find(|kind| kind.name() == name);
                if kind.is_none_or(|kind| place(kind.name()).is_none()) {
                    let message = "expected external_id, email or phone, mapped to a column";
                    self.fault("mapping.match".to_owned(), "invalid", message);
                    return None;
                }
                kind
            }
        };
        if id.is_none() && names.iter().all(Option::is_none) {
            let message =
                "map a column to external_id, email or phone, so that rows name customers";
            self.fault("mapping.columns".to_owned(), "no_identity", message);
            return None;
        }
        let consent = place(CONSENT);
        Some(Target::Customers { id, names, match_by, attributes: self.fields(), consent })
    }

    fn records(&mut self, mapping: &Mapping, table: &Table) -> Option<Target> {
        let place = |name: &str| self.places.get(name).copied();
        let mut owners: Vec<(OwnerName, usize)> =
            place("customer.id").map(|at| (OwnerName::Id, at)).into_iter().collect();
        owners.extend(IDENTITIES.into_iter().filter_map(|kind| {
            let at = place(&format!("customer.{}", kind.name()))?;
            Some((OwnerName::Identity(kind), at))
        }));
        let key = place("key");
        if mapping.match_by.is_some() {
            let message = "records are matched by their key";
            self.fault("mapping.match".to_owned(), "invalid", message);
        }
        if key.is_none() {
            let message = "map a column to key, so that rows name records";
            self.fault("mapping.columns".to_owned(), "no_key", message);
        }
        match (table.owner, owners.is_empty()) {
            (Owner::Customer, true) => {
                let message = "map a column to customer.external_id, customer.email or \
                               customer.phone: records of this table belong to a customer";
                self.fault("mapping.columns".to_owned(), "no_customer", message);
            }
            (Owner::Nobody, false) => {
                let message = "records of this table belong to nobody";
                self.fault("mapping.columns".to_owned(), "unexpected_customer", message);
            }
            _ => {}
        }
        let (table, fields) = (table.name.clone(), self.fields());
        key.map(|key| Target::Records { table, key, owners, fields })
    }

    /// The header behind each path that a refusal may carry.
    fn paths(&self, headers: &[String], is_table: bool) -> Vec<(String, String)> {
        let prefix = if is_table { "fields." } else { "attributes." };
        let named = self.places.iter().map(|(target, index)| {
            let path = match self.attributes.contains(target) {
                true => format!("{prefix}{target}"),
                false => target.clone(),
            };
            (path, column_name(headers, *index))
        });
        let mut paths: Vec<(String, String)> = named.collect();
        // The store speaks of the owner as a whole.
        let owner = self.places.iter().find(|(target, _)| target.starts_with("customer."));
        if let Some((_, index)) = owner {
            paths.push(("customer".to_owned(), column_name(headers, *index)));
        }
        paths
    }
}

fn unknown_code(word: &str) -> &'static str {
    if word == "field" { "unknown_field" } else { "unknown_attribute" }
}

/// What a column is called in reports: its header, or its number from 1.
pub fn column_name(headers: &[String], index: usize) -> String {
    match headers.get(index).map(String::as_str) {
        Some("") | None => (index + 1).to_string(),
        Some(name) => name.to_owned(),
    }
}
