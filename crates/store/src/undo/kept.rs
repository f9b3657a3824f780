//! What an undo left as it is, and why.

use serde_json::Value as Json;
use tidings_domain::schema::{Attribute, Schema};
use tidings_domain::value::Kind;
use tidings_domain::{CustomerId, ImportId};

use crate::Result;
use crate::bulk::{ColumnType, OnConflict, column, insert_many};
use crate::changes::journal::{field, json_value};
use crate::customers::Page;
use crate::engines::Tx;
use crate::sql::{Param, Row, Sql};
use crate::workspace::Workspace;

static KEPT: Sql = Sql::reference(
    "import_kept",
    "select customer_id, table_number, record_key, field, reason, imported, current, place
     from {s}import_kept
     where import_number = (select number from {s}imports where id = ?1) and place > ?2
     order by place limit ?3",
);
static LAST_KEPT: Sql = Sql::reference(
    "last_import_kept",
    "select coalesce(max(place), 0) from {s}import_kept where import_number = ?1",
);

pub(super) static SQL: &[&Sql] = &[&KEPT, &LAST_KEPT];

/// What an undo left as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// `None` for a record of nobody.
    pub customer: Option<CustomerId>,
    /// The record's key; blank for the customer itself.
    pub key: String,
    /// The field's name; blank where a made customer or record stays.
    pub field: String,
    /// `changed`, `touched`, `taken` or `gone`.
    pub reason: String,
    pub imported: Option<String>,
    pub current: Option<String>,
    /// Where it stands in the list.
    pub place: i64,
}

impl Workspace {
    /// A page of what an undo left as it is; the cursor is a place.
    pub async fn import_kept(
        &self,
        id: ImportId,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Page<Kept, i64>> {
        let schema = self.schema().await?;
        let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let rows = self
            .read(move |tx| {
                Box::pin(async move {
                    tx.query(&KEPT, crate::params![id, after.unwrap_or(0), most]).await
                })
            })
            .await?;
        let items = rows.iter().map(|row| kept(&schema, row)).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(items, limit, |kept| kept.place))
    }
}

fn kept(schema: &Schema, row: &Row) -> Result<Kept> {
    let owner = row.uuid(0)?;
    let (table, name) = (row.int(1)?, row.text(3)?);
    let known = fields(schema, table).iter().find(|one| field(one.number) == name);
    let kind = known.map(|one| &one.kind);
    Ok(Kept {
        customer: (!owner.is_nil()).then_some(CustomerId(owner)),
        key: row.text(2)?,
        field: known.map_or_else(|| shown_field(&name), |one| one.name.clone()),
        reason: row.text(4)?,
        imported: row.opt_text(5)?.map(|text| shown_value(kind, &text)),
        current: row.opt_text(6)?.map(|text| shown_value(kind, &text)),
        place: row.int(7)?,
    })
}

fn fields(schema: &Schema, table: i64) -> &[Attribute] {
    match table {
        0 => &schema.attributes,
        number => match schema.tables.iter().find(|one| i64::from(one.number) == number) {
            Some(table) => &table.fields,
            None => &[],
        },
    }
}

/// The name of what is no attribute, as mappings say it.
fn shown_field(name: &str) -> String {
    let Some(consent) = name.strip_prefix("consent:") else { return name.to_owned() };
    let (channel, topic) = consent.split_once(':').unwrap_or((consent, ""));
    let channel = if channel == "2" { "sms" } else { "email" };
    match topic {
        "" => format!("consent.{channel}"),
        topic => format!("consent.{channel}.{topic}"),
    }
}

/// A value of the journal as people read it.
fn shown_value(kind: Option<&Kind>, text: &str) -> String {
    let json: Json = serde_json::from_str(text).unwrap_or_default();
    let value = kind.and_then(|kind| json_value(&json, kind.storage()).flatten());
    let json = match (kind, value) {
        (Some(kind), Some(value)) => kind.to_json(&value),
        _ if json["state"].is_string() => json["state"].clone(),
        _ => json,
    };
    match json {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

/// Adds to the list.
pub(super) async fn write(tx: &mut Tx, import: i64, kept: Vec<Vec<Param>>) -> Result<()> {
    if kept.is_empty() {
        return Ok(());
    }
    let last = tx.first(&LAST_KEPT, crate::params![import]).await?;
    let mut place = last.map_or(Ok(0), |row| row.int(0))?;
    let mut rows: Vec<Vec<Param>> = Vec::with_capacity(kept.len());
    for kept in kept {
        place += 1;
        let mut row: Vec<Param> = vec![import.into(), place.into()];
        row.extend(kept);
        rows.push(row);
    }
    let columns = [
        column("import_number", ColumnType::BigInt),
        column("place", ColumnType::BigInt),
        column("bucket", ColumnType::SmallInt),
        column("customer_id", ColumnType::Uuid),
        column("table_number", ColumnType::BigInt),
        column("record_key", ColumnType::Text),
        column("field", ColumnType::Text),
        column("reason", ColumnType::Text),
        column("imported", ColumnType::Text),
        column("current", ColumnType::Text),
    ];
    insert_many(tx, "import_kept", &columns, &rows, OnConflict::Fail, "").await?;
    Ok(())
}
