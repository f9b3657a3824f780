//! A mapping made ready for rows: every column's target is known, and each row becomes one change.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use tidings_delimited::Row;
use tidings_domain::change::{
    Change, CustomerRef, FieldChange, Identity, IdentityKind, Mark, Mode, Refusal, UpsertCustomer,
    UpsertRecord,
};
use tidings_domain::consent::{Channel, ConsentState, Proof, Via};
use tidings_domain::schema::{Owner, Schema, Table};
use tidings_domain::value::{Kind, Value};

use super::cell::{Cell, From};
use super::mapping::{ColumnName, ImportMode, MappedColumn, Mapping, is_date, is_number};
use super::transform::Steps;
use crate::{Error, Fault, Result};

/// How rows become changes.
#[derive(Clone, Debug)]
pub struct Plan {
    target: Target,
    mode: Mode,
    /// Whether attributes and fields that the file has no value for are emptied.
    empties: bool,
    /// Attributes or fields to make before the first row.
    pub create: Vec<(String, Kind)>,
    /// What a refusal's path is called in the file.
    pub paths: Arc<Vec<(String, String)>>,
    /// Values of attributes and fields that are not there yet, which a trial only checks.
    unmade: Vec<(Cell, String, Kind)>,
}

#[derive(Clone, Debug)]
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
        for (at, mapped) in mapping.columns.iter().enumerate() {
            let path = |field: &str| format!("mapping.columns[{at}].{field}");
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
    /// Where the value of each target comes from.
    places: HashMap<String, Cell>,
    attributes: Vec<String>,
    create: Vec<(String, Kind)>,
}

type Path<'p> = &'p dyn Fn(&str) -> String;

impl Checked {
    fn fault(&mut self, path: String, code: &'static str, message: impl Into<String>) {
        self.faults.push(Fault::new(path, code, message));
    }

    fn column(&mut self, name: &ColumnName, headers: &[String], path: String) -> Option<usize> {
        let index = match name {
            ColumnName::Index(index) => Some(*index).filter(|index| *index < headers.len()),
            ColumnName::Header(name) => {
                let name = name.trim();
                headers.iter().position(|header| !name.is_empty() && header == name)
            }
        };
        if index.is_none() {
            let message = match name {
                ColumnName::Index(index) => {
                    format!("the file has {} columns, so none at place {index}", headers.len())
                }
                ColumnName::Header(name) => format!("the file has no column {name}"),
            };
            self.fault(path, "unknown_column", message);
        }
        index
    }

    /// Where the value comes from: exactly one of a column, several and a constant.
    fn source(
        &mut self,
        mapped: &MappedColumn,
        headers: &[String],
        path: Path<'_>,
    ) -> Option<From> {
        match (&mapped.column, &mapped.join, &mapped.constant) {
            (Some(column), None, None) => {
                self.column(column, headers, path("column")).map(From::Column)
            }
            (None, Some(join), None) => {
                if !(2..=MAX_JOINED).contains(&join.columns.len()) {
                    let message = format!("expected 2 to {MAX_JOINED} columns to join");
                    self.fault(path("join"), "invalid", message);
                    return None;
                }
                let mut columns = Vec::with_capacity(join.columns.len());
                for (at, column) in join.columns.iter().enumerate() {
                    let place = path(&format!("join.columns[{at}]"));
                    columns.push(self.column(column, headers, place)?);
                }
                Some(From::Columns { columns, with: join.with.clone() })
            }
            (None, None, Some(text)) => Some(From::Constant(text.clone())),
            _ => {
                let message = "expected exactly one of column, join and constant";
                self.fault(path("column"), "invalid", message);
                None
            }
        }
    }

    /// The value's way from the file; `kind` is that of the attribute or field it goes to.
    fn cell(
        &mut self,
        mapped: &MappedColumn,
        headers: &[String],
        kind: Option<&Kind>,
        path: Path<'_>,
    ) -> Option<Cell> {
        let from = self.source(mapped, headers, path);
        let names_rows = kind.is_none() && mapped.to != CONSENT;
        if names_rows && matches!(from, Some(From::Constant(_))) {
            let message = "with a constant here every row would be about the same one";
            self.fault(path("constant"), "invalid", message);
        }
        let steps = match Steps::new(&mapped.transforms) {
            Ok(steps) => steps,
            Err((at, message)) => {
                self.fault(path(&format!("transforms[{at}]")), "invalid_transform", message);
                return None;
            }
        };
        if steps.gives_list && kind.is_none_or(|kind| *kind != Kind::List) {
            let message = "only a list takes all the parts; say which part";
            self.fault(path("transforms"), "invalid_transform", message);
        }
        if mapped.decimal.is_some() && !kind.is_some_and(is_number) {
            let message = format!("{} is no number, so it has no decimal mark", mapped.to);
            self.fault(path("decimal"), "invalid", message);
        }
        if mapped.date.is_some() && !kind.is_some_and(is_date) {
            let message = format!("{} is no date or time", mapped.to);
            self.fault(path("date"), "invalid", message);
        }
        let list = kind == Some(&Kind::List);
        Some(Cell { from: from?, steps, decimal: mapped.decimal, date: mapped.date, list })
    }

    /// An attribute or field that is there, or is to be made; gives its kind.
    fn attribute(
        &mut self,
        mapped: &MappedColumn,
        schema: &Schema,
        table: Option<&Table>,
        path: Path<'_>,
    ) -> Option<Kind> {
        let known = match table {
            None => schema.attribute(&mapped.to),
            Some(table) => table.field(&mapped.to),
        };
        let word = if table.is_some() { "field" } else { "attribute" };
        let kind = mapped.create.as_ref().map(super::mapping::NewKind::kind);
        match (known, kind) {
            (known, Some(Err(message))) => {
                self.fault(path("create"), "invalid_kind", message);
                known.map(|known| known.kind.clone())
            }
            (Some(known), Some(Ok(kind))) if known.kind != kind => {
                let there = known.kind.name();
                let message = format!("{word} {} exists and is of kind {there}", mapped.to);
                self.fault(path("create"), "exists", message);
                Some(known.kind.clone())
            }
            (Some(known), _) => Some(known.kind.clone()),
            (None, Some(Ok(kind))) => {
                match tidings_domain::schema::checked_attribute_name(&mapped.to) {
                    Ok(_) if self.create.iter().any(|(name, _)| *name == mapped.to) => {}
                    Ok(_) => self.create.push((mapped.to.clone(), kind.clone())),
                    Err(message) => self.fault(path("to"), "invalid_name", message),
                }
                Some(kind)
            }
            (None, None) => {
                let message =
                    format!("unknown {word} {}; add it to the schema or create it", mapped.to);
                self.fault(path("to"), unknown_code(word), message);
                // One fault is enough, so any form and any transform goes with it.
                None
            }
        }
    }

    /// The columns of attributes or fields in the order of the mapping.
    fn fields(&self) -> Vec<(Cell, String)> {
        let placed = self.attributes.iter();
        placed.filter_map(|name| Some((self.places.get(name)?.clone(), name.clone()))).collect()
    }

    fn customers(&mut self, mapping: &Mapping) -> Option<Target> {
        let place = |name: &str| self.places.get(name).cloned();
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
        let place = |name: &str| self.places.get(name).cloned();
        let mut owners: Vec<(OwnerName, Cell)> =
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
        let named = self.places.iter().map(|(target, cell)| {
            let path = match self.attributes.contains(target) {
                true => format!("{prefix}{target}"),
                false => target.clone(),
            };
            (path, cell.column_name(headers))
        });
        let mut paths: Vec<(String, String)> = named.collect();
        // The store speaks of the owner as a whole.
        let owner = self.places.iter().find(|(target, _)| target.starts_with("customer."));
        if let Some((_, cell)) = owner {
            paths.push(("customer".to_owned(), cell.column_name(headers)));
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
