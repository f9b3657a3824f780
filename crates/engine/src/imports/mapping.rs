//! Which column of a file means what: the mapping as people and programs give it, and the one that
//! is suggested from the names in the header and the first rows.

mod kinds;
mod names;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use tidings_delimited::{DateOrder, DecimalMark, Form};
use tidings_domain::change::Mode;
use tidings_domain::schema::{Owner, Schema, Table, checked_attribute_name};
use tidings_domain::value::Kind;

pub use names::normalised;

use super::transform::Transform;

/// How the columns of a file become changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Columns that are not named here are ignored.
    #[serde(default)]
    pub columns: Vec<MappedColumn>,
    #[serde(default)]
    pub mode: ImportMode,
    /// The identity that alone names the customer: `external_id`, `email` or `phone`. Without it
    /// the first known one does.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub match_by: Option<String>,
    /// With `replace`: the yes-or-no attribute that says who was in the file. Every row sets it, and
    /// customers who are not in the file get *no*.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<String>,
}

/// One column of the file, several of them or a constant, and what it becomes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappedColumn {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<ColumnName>,
    /// Several columns in place of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<Join>,
    /// The same text for every row, in place of a column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constant: Option<String>,
    /// An attribute or field, `external_id`, `email`, `phone`, `id`, `consent.email`, or `ignore`; for a table also
    /// `key` and `customer.external_id`, `customer.email`, `customer.phone`, `customer.id`.
    pub to: String,
    /// What is done to each value, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transforms: Vec<Transform>,
    /// How numbers are written, where not plainly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimal: Option<DecimalMark>,
    /// How dates are written, where not year first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<DateOrder>,
    /// Makes the attribute or field first, with this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<NewKind>,
}

/// Columns that become one value, those that are blank left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    pub columns: Vec<ColumnName>,
    /// What stands between them; a blank unless said.
    #[serde(default = "blank")]
    pub with: String,
}

fn blank() -> String {
    " ".to_owned()
}

/// A column by its header or by its place, counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ColumnName {
    Index(usize),
    Header(String),
}

/// The kind of an attribute or field to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKind {
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

impl NewKind {
    /// The kind, or what is wrong with it.
    pub fn kind(&self) -> Result<Kind, String> {
        Kind::from_parts(&self.kind, self.scale, self.currency.as_deref())
    }
}

impl From<&Kind> for NewKind {
    fn from(kind: &Kind) -> NewKind {
        NewKind {
            kind: kind.name().to_owned(),
            scale: kind.scale(),
            currency: kind.currency().map(str::to_owned),
        }
    }
}

/// Whether rows may make what is not there yet, change what is, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportMode {
    /// Add who is new and update who is known.
    #[default]
    #[serde(alias = "both")]
    Upsert,
    /// Update only: who is not known is refused.
    Update,
    /// Add only: who is known is refused.
    #[serde(alias = "create")]
    Add,
    /// Add and update, and what the file has no value for is emptied.
    Replace,
}

impl ImportMode {
    pub const ALL: [ImportMode; 4] =
        [ImportMode::Upsert, ImportMode::Update, ImportMode::Add, ImportMode::Replace];

    pub fn name(self) -> &'static str {
        match self {
            ImportMode::Upsert => "upsert",
            ImportMode::Update => "update",
            ImportMode::Add => "add",
            ImportMode::Replace => "replace",
        }
    }
}

impl From<ImportMode> for Mode {
    fn from(mode: ImportMode) -> Mode {
        match mode {
            ImportMode::Upsert | ImportMode::Replace => Mode::Upsert,
            ImportMode::Update => Mode::Update,
            ImportMode::Add => Mode::Create,
        }
    }
}

/// What a column looks like, judged by its name and its first values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggestion {
    pub to: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<NewKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimal: Option<DecimalMark>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<DateOrder>,
    /// The values could be read in another form too, so somebody should look.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ambiguous: bool,
}

impl Suggestion {
    /// A place for a column, with the form of its values where that place has use for it.
    fn new(to: String, create: Option<NewKind>, kind: Option<&Kind>, form: Form) -> Suggestion {
        let decimal = form.decimal.filter(|_| kind.is_some_and(is_number));
        let date = form.date.filter(|_| kind.is_some_and(is_date));
        let ambiguous = form.ambiguous && (decimal.is_some() || date.is_some());
        Suggestion { to, create, decimal, date, ambiguous }
    }
}

pub(super) fn is_number(kind: &Kind) -> bool {
    matches!(kind, Kind::Integer | Kind::Decimal { .. } | Kind::Money { .. })
}

pub(super) fn is_date(kind: &Kind) -> bool {
    matches!(kind, Kind::Date | Kind::Timestamp)
}

/// A column of a file: its name, empty without a header, and values of its first rows.
#[derive(Clone, Copy, Debug)]
pub struct Sampled<'a> {
    pub header: &'a str,
    pub values: &'a [String],
    /// How its numbers and dates are written.
    pub form: Form,
}

/// One suggestion a column; `None` where nothing can be said. No two columns are led to the same
/// place.
pub fn suggest(
    columns: &[Sampled<'_>],
    schema: &Schema,
    table: Option<&Table>,
) -> Vec<Option<Suggestion>> {
    let mut taken: HashSet<String> = HashSet::new();
    let mut suggested: Vec<Option<Suggestion>> = vec![None; columns.len()];
    // The surest first, so that an exact name is not taken by a guess to its left.
    for step in [exact, known_name, by_values, weak_name] {
        for (column, slot) in columns.iter().zip(&mut suggested) {
            if slot.is_none()
                && let Some(to) = step(column, schema, table)
                && taken.insert(to.clone())
            {
                let known = fields(schema, table).iter().find(|field| field.name == to);
                let kind = known.map(|field| &field.kind);
                *slot = Some(Suggestion::new(to, None, kind, column.form));
            }
        }
    }
    for (column, slot) in columns.iter().zip(&mut suggested) {
        if slot.is_none()
            && let Some(name) = new_name(column.header, table, &taken)
        {
            taken.insert(name.clone());
            let plain = kinds::plainly(column.values, column.form);
            let kind = kinds::sniff(&plain, names::concept(column.header));
            let create = Some(NewKind::from(&kind));
            *slot = Some(Suggestion::new(name, create, Some(&kind), column.form));
        }
    }
    suggested
}

/// The mapping that follows the suggestions.
pub fn suggested_mapping(headers: &[String], suggestions: &[Option<Suggestion>]) -> Mapping {
    let columns = suggestions.iter().zip(headers).enumerate();
    let columns = columns.map(|(index, (suggestion, header))| MappedColumn {
        column: Some(match header.as_str() {
            "" => ColumnName::Index(index),
            name => ColumnName::Header(name.to_owned()),
        }),
        to: suggestion.as_ref().map_or_else(|| "ignore".to_owned(), |one| one.to.clone()),
        create: suggestion.as_ref().and_then(|one| one.create.clone()),
        decimal: suggestion.as_ref().and_then(|one| one.decimal),
        date: suggestion.as_ref().and_then(|one| one.date),
        ..MappedColumn::default()
    });
    Mapping { columns: columns.collect(), ..Mapping::default() }
}

fn fields<'s>(
    schema: &'s Schema,
    table: Option<&'s Table>,
) -> &'s [tidings_domain::schema::Attribute] {
    table.map_or(&schema.attributes, |table| &table.fields)
}

/// An attribute or field whose name is the header, however it is written.
fn exact(column: &Sampled<'_>, schema: &Schema, table: Option<&Table>) -> Option<String> {
    let name = normalised(column.header);
    if name.is_empty() {
        return None;
    }
    if let Some(field) = fields(schema, table).iter().find(|field| normalised(&field.name) == name)
    {
        return Some(field.name.clone());
    }
    match (table, name.as_str()) {
        (Some(_), "key") => Some("key".to_owned()),
        (Some(table), _) if table.owner == Owner::Customer => {
            let owned = ["customer.id", "customer.external_id", "customer.email", "customer.phone"];
            owned.into_iter().find(|own| normalised(own) == name).map(str::to_owned)
        }
        (Some(_), _) => None,
        // The hub's own number, as its exports write it.
        (None, _) => None,
    }
}

/// A name that says in one of a few languages what the column is.
fn known_name(column: &Sampled<'_>, schema: &Schema, table: Option<&Table>) -> Option<String> {
    let identity = names::identity(column.header).filter(|identity| match *identity {
        "email" => kinds::mostly(column.values, &Kind::Email),
        "phone" => kinds::mostly(column.values, &Kind::Phone),
        _ => true,
    });
    match (identity, table) {
        (Some(identity), None) => return Some(identity.to_owned()),
        (Some(identity), Some(table)) if table.owner == Owner::Customer => {
            return Some(format!("customer.{identity}"));
        }
        _ => {}
    }
    if let Some(table) = table
        && names::is_key_of(column.header, &table.name)
    {
        return Some("key".to_owned());
    }
    let concept = names::concept(column.header)?;
    let field = fields(schema, table).iter();
    let mut same = field.filter(|field| names::concept(&field.name) == Some(concept));
    same.next().map(|field| field.name.clone())
}

/// Addresses are e-mail addresses whatever the column is called.
fn by_values(column: &Sampled<'_>, _: &Schema, table: Option<&Table>) -> Option<String> {
    if names::concept(column.header).is_some() || !kinds::all(column.values, &Kind::Email) {
        return None;
    }
    match table {
        None => Some("email".to_owned()),
        Some(table) if table.owner == Owner::Customer => Some("customer.email".to_owned()),
        Some(_) => None,
    }
}

/// `id` alone means a number of theirs, if nothing better does.
fn weak_name(column: &Sampled<'_>, _: &Schema, table: Option<&Table>) -> Option<String> {
    let weak = ["id", "nr", "no", "number", "nummer", "numero", "code"];
    let is_weak = weak.contains(&normalised(column.header).as_str());
    is_weak.then(|| if table.is_some() { "key" } else { "external_id" }.to_owned())
}

/// A name for a new attribute: the header in the form that templates can speak of.
fn new_name(header: &str, table: Option<&Table>, taken: &HashSet<String>) -> Option<String> {
    let name = names::snake(header);
    let usable = checked_attribute_name(&name).is_ok() && !taken.contains(&name);
    let reserved = table.is_some() && name == "key";
    (usable && !reserved).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_domain::schema::Attribute;

    fn attribute(number: i32, name: &str, kind: Kind) -> Attribute {
        Attribute { number, name: name.to_owned(), kind, column: format!("c_{number}") }
    }

    fn schema() -> Schema {
        let attributes =
            vec![attribute(1, "first_name", Kind::Text), attribute(2, "Land", Kind::Country)];
        let orders = Table {
            number: 3,
            name: "orders".to_owned(),
            physical: "t_orders_3".to_owned(),
            owner: Owner::Customer,
            fields: vec![attribute(4, "total", Kind::Decimal { scale: 2 })],
        };
        Schema::new(1, attributes, vec![orders])
    }

    #[track_caller]
    fn check(table: Option<&str>, columns: &[(&str, &[&str])], expected: &[&str]) {
        let schema = schema();
        let values: Vec<Vec<String>> = columns
            .iter()
            .map(|(_, values)| values.iter().map(|v| (*v).to_owned()).collect())
            .collect();
        let sampled: Vec<Sampled<'_>> = columns
            .iter()
            .zip(&values)
            .zip(tidings_delimited::detect_forms(&values, b','))
            .map(|(((header, _), values), form)| Sampled { header, values, form })
            .collect();
        let table = table.and_then(|name| schema.table(name)).map(|table| &**table);
        let found: Vec<String> = suggest(&sampled, &schema, table)
            .into_iter()
            .map(|one| {
                let Some(one) = one else { return "-".to_owned() };
                let kind = one.create.map(|kind| match kind.scale {
                    Some(scale) => format!("+{}/{scale}", kind.kind),
                    None => format!("+{}", kind.kind),
                });
                let decimal = one.decimal.map(|mark| format!(" {mark:?}"));
                let date = one.date.map(|order| format!(" {order:?}"));
                let parts = [kind, decimal, date].map(Option::unwrap_or_default);
                format!("{}{}", one.to, parts.concat())
            })
            .collect();
        assert_eq!(found, expected, "{columns:?}");
    }

    #[test]
    fn columns_of_customers_are_recognised_in_several_languages() {
        let mails: &[&str] = &["ann@example.com", "bo@example.com"];
        check(
            None,
            &[
                ("Klantnummer", &["1", "2"]),
                ("E-mailadres", mails),
                ("Voornaam", &["Ann"]),
                ("Country code", &["NL"]),
                ("Geboortedatum", &["1980-02-01", ""]),
                ("Saldo €", &["12.5", "3.125"]),
                ("", &["x"]),
            ],
            &[
                "external_id",
                "email",
                "first_name",
                "Land",
                "geboortedatum+date",
                "saldo+decimal/3",
                "-",
            ],
        );
        check(
            None,
            &[("Kundennr.", &[]), ("E-Mail-Adresse", mails), ("Prénom", &[])],
            &["external_id", "email", "first_name"],
        );
        check(None, &[("id", &["7"]), ("contact", mails)], &["external_id", "email"]);
        check(None, &[("id", &[]), ("customer_id", &[])], &["-", "external_id"]);
    }

    #[test]
    fn phone_numbers_name_a_customer_only_with_their_country_code() {
        check(None, &[("Mobile", &["+31612345678"])], &["phone"]);
        check(None, &[("Mobile", &["0612345678"])], &["mobile+text"]);
    }

    #[test]
    fn two_columns_never_lead_to_the_same_place() {
        let mails: &[&str] = &["ann@example.com"];
        check(
            None,
            &[("email", mails), ("E-mail", mails), ("First name", &["A"]), ("voornaam", &["A"])],
            &["email", "e_mail+email", "first_name", "voornaam+text"],
        );
    }

    #[test]
    fn the_form_of_values_is_suggested_where_the_place_has_use_for_it() {
        check(
            None,
            &[
                ("Geburtsdatum", &["31.12.1999", "1.2.2000"]),
                ("Umsatz", &["1.234,50", "7"]),
                ("Besuche", &["1.234"]),
                ("first name", &["1,5"]),
                ("postcode", &["1.234"]),
                ("seen", &["12/31/1999 11:59 PM"]),
            ],
            &[
                "geburtsdatum+date Dmy",
                "umsatz+decimal/2 Comma",
                "besuche+integer Comma",
                "first_name",
                "postcode+text",
                "seen+timestamp Mdy",
            ],
        );
        check(
            Some("orders"),
            &[("order id", &["o1"]), ("total", &["9,95"])],
            &["key", "total Comma"],
        );
    }

    #[test]
    fn columns_of_records_name_key_owner_and_fields() {
        check(
            Some("orders"),
            &[
                ("Order ID", &["o1"]),
                ("customer number", &["1"]),
                ("Total", &["9.95"]),
                ("placed at", &["2026-01-02T03:04:05Z"]),
            ],
            &["key", "customer.external_id", "total", "placed_at+timestamp"],
        );
    }
}
