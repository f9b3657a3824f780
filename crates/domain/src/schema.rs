//! A workspace's own schema: the attributes of its customers and its tables.

use std::collections::HashMap;
use std::sync::Arc;

use crate::value::Kind;

/// At most so many attributes a workspace, and fields a table.
pub const MAX_ATTRIBUTES: usize = 1_000;

/// Names that belong to the hub and cannot be given to an attribute or field.
pub const RESERVED: &[&str] = &[
    "id",
    "system_id",
    "external_id",
    "email",
    "phone",
    "created_at",
    "updated_at",
    "bucket",
    "extra",
    "key",
    "customer",
    "customer_id",
];

/// An attribute of the customer, or a field of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// The number that never changes; the physical column carries it.
    pub number: i32,
    pub name: String,
    pub kind: Kind,
    /// The physical column, an ASCII slug and the number.
    pub column: String,
}

/// Who a table's records belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Customer,
    Nobody,
}

impl Owner {
    pub fn name(self) -> &'static str {
        match self {
            Owner::Customer => "customer",
            Owner::Nobody => "none",
        }
    }

    pub fn parse(text: &str) -> Option<Owner> {
        match text {
            "customer" => Some(Owner::Customer),
            "none" => Some(Owner::Nobody),
            _ => None,
        }
    }
}

/// A table of the workspace's own, such as orders. Every record has a text key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub number: i32,
    pub name: String,
    /// The physical table.
    pub physical: String,
    pub owner: Owner,
    pub fields: Vec<Attribute>,
}

impl Table {
    pub fn field(&self, name: &str) -> Option<&Attribute> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// The whole schema of a workspace at one version; cheap to clone and share.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    pub version: i64,
    pub attributes: Vec<Attribute>,
    pub tables: Vec<Arc<Table>>,
    by_name: HashMap<String, usize>,
}

impl Schema {
    pub fn new(version: i64, attributes: Vec<Attribute>, tables: Vec<Table>) -> Schema {
        let by_name = attributes.iter().enumerate().map(|(i, a)| (a.name.clone(), i)).collect();
        let tables = tables.into_iter().map(Arc::new).collect();
        Schema { version, attributes, tables, by_name }
    }

    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.position(name).map(|at| &self.attributes[at])
    }

    /// Where an attribute stands in `attributes`; customers carry their values in that order.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub fn table(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables.iter().find(|table| table.name == name)
    }
}

/// Checks a name that a user gives to an attribute, table, field, tag or group: 1 to 100
/// characters, no control characters, no surrounding blanks.
pub fn checked_name(name: &str) -> Result<&str, String> {
    let length = name.chars().count();
    if length == 0 || length > 100 {
        return Err("a name has 1 to 100 characters".to_owned());
    }
    if name.trim() != name || name.chars().any(char::is_control) {
        return Err("a name has no control characters and no blanks around it".to_owned());
    }
    Ok(name)
}

/// The name of an attribute or field: also not one of the hub's own.
pub fn checked_attribute_name(name: &str) -> Result<&str, String> {
    checked_name(name)?;
    if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(format!("{name} is a name of the hub's own"));
    }
    Ok(name)
}

/// The physical name of an attribute or table: an ASCII slug of at most 40 characters and the
/// number, so that it is unique and needs no second thought when quoted.
pub fn physical_name(name: &str, number: i32) -> String {
    let mut slug = String::new();
    for c in name.chars() {
        match c {
            'a'..='z' | '0'..='9' => slug.push(c),
            'A'..='Z' => slug.push(c.to_ascii_lowercase()),
            _ if !slug.ends_with('_') => slug.push('_'),
            _ => {}
        }
        if slug.len() == 40 {
            break;
        }
    }
    let slug = slug.trim_matches('_');
    let slug = if slug.is_empty() { "x" } else { slug };
    format!("{slug}_{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn physical_names_are_ascii_slugs_with_the_number() {
        for (name, expected) in [
            ("First name", "first_name_7"),
            ("Größe\"; drop table", "gr_e_drop_table_7"),
            ("日本", "x_7"),
            (&"a".repeat(80), &format!("{}_7", "a".repeat(40))),
        ] {
            assert_eq!(physical_name(name, 7), expected);
        }
    }

    #[test]
    fn names_are_checked() {
        for (name, ok) in [("ok", true), ("", false), (" a", false), ("a\nb", false)] {
            assert_eq!(checked_name(name).is_ok(), ok, "{name:?}");
        }
        assert!(checked_attribute_name("Email").is_err());
    }
}
