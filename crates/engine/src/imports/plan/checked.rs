//! Checking a mapping against the file's columns and the schema: every fault names its place.

use std::collections::HashMap;

use tidings_domain::schema::{Owner, Schema, Table};
use tidings_domain::value::Kind;

use super::{CONSENT, IDENTITIES, MAX_JOINED, OwnerName, Target};
use crate::Fault;
use crate::imports::cell::{Cell, From};
use crate::imports::mapping::{ColumnName, MappedColumn, Mapping, NewKind, is_date, is_number};
use crate::imports::transform::Steps;

/// What has been found while a mapping is checked.
#[derive(Default)]
pub(super) struct Checked {
    pub faults: Vec<Fault>,
    /// Where the value of each target comes from.
    pub places: HashMap<String, Cell>,
    pub attributes: Vec<String>,
    pub create: Vec<(String, Kind)>,
}

type Path<'p> = &'p dyn Fn(&str) -> String;

impl Checked {
    pub fn fault(&mut self, path: String, code: &'static str, message: impl Into<String>) {
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
    pub fn source(
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
    pub fn cell(
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
    pub fn attribute(
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
        let kind = mapped.create.as_ref().map(NewKind::kind);
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

    pub fn customers(&mut self, mapping: &Mapping) -> Option<Target> {
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
            // Where a column is at fault, it may be the one that names them.
            if self.faults.is_empty() {
                let message =
                    "map a column to external_id, email or phone, so that rows name customers";
                self.fault("mapping.columns".to_owned(), "no_identity", message);
            }
            return None;
        }
        let consent = place(CONSENT);
        Some(Target::Customers { id, names, match_by, attributes: self.fields(), consent })
    }

    pub fn records(&mut self, mapping: &Mapping, table: &Table) -> Option<Target> {
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
        if key.is_none() && self.faults.is_empty() {
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
    pub fn paths(&self, headers: &[String], is_table: bool) -> Vec<(String, String)> {
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
