//! Changes of attributes, tables and fields: the catalogue's rows and the real columns and tables.

use tidings_domain::Timestamp;
use tidings_domain::schema::{Attribute as Column, physical_name};
use tidings_domain::value::Kind;

use super::{Attribute, Conversion, Edit, Edits, TableHead, read};
use crate::engines::Tx;
use crate::schema::{add_column, create_table, limit_lock_wait};
use crate::sql::{Sql, quoted};
use crate::{Error, Result};

static RESERVE: Sql = Sql::reference(
    "reserve_schema_number",
    "update {s}meta set value = ?1
     where key = 'next_schema_number' and cast(value as bigint) < ?2",
);
static ADD_ATTRIBUTE: Sql = Sql::reference(
    "add_known_attribute",
    "insert into {s}attributes
       (number, name, kind, scale, currency, column_name, created_at, id)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
);
static CHANGE_ATTRIBUTE: Sql = Sql::reference(
    "change_attribute",
    "update {s}attributes set name = ?2, kind = ?3, scale = ?4, currency = ?5 where number = ?1",
);
static ADD_TABLE: Sql = Sql::reference(
    "add_known_table",
    "insert into {s}user_tables (number, name, physical, owner, created_at, id)
     values (?1, ?2, ?3, ?4, ?5, ?6)",
);
static RENAME_TABLE: Sql =
    Sql::reference("rename_table", "update {s}user_tables set name = ?2 where number = ?1");
static DROP_TABLE: Sql =
    Sql::reference("drop_table", "delete from {s}user_tables where number = ?1");
static DROP_FIELDS: Sql =
    Sql::reference("drop_fields", "delete from {s}user_fields where table_number = ?1");
static ADD_FIELD: Sql = Sql::reference(
    "add_known_field",
    "insert into {s}user_fields
       (number, name, kind, scale, currency, column_name, created_at, id, table_number)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
);
static CHANGE_FIELD: Sql = Sql::reference(
    "change_field",
    "update {s}user_fields set name = ?3, kind = ?4, scale = ?5, currency = ?6
     where table_number = ?1 and number = ?2",
);
static DROP_FIELD: Sql = Sql::reference(
    "drop_field",
    "delete from {s}user_fields where table_number = ?1 and number = ?2",
);
static TABLE_OF_ID: Sql =
    Sql::reference("table_of_id", "select number from {s}user_tables where id = ?1");
static PARK_ATTRIBUTE: Sql =
    Sql::reference("park_attribute", "update {s}attributes set name = ?2 where number = ?1");
static PARK_FIELD: Sql = Sql::reference(
    "park_field",
    "update {s}user_fields set name = ?3 where table_number = ?1 and number = ?2",
);

pub(super) static SQL: &[&Sql] = &[
    &RESERVE,
    &ADD_ATTRIBUTE,
    &CHANGE_ATTRIBUTE,
    &ADD_TABLE,
    &RENAME_TABLE,
    &DROP_TABLE,
    &DROP_FIELDS,
    &ADD_FIELD,
    &CHANGE_FIELD,
    &DROP_FIELD,
    &TABLE_OF_ID,
    &PARK_ATTRIBUTE,
    &PARK_FIELD,
];

/// A name that nobody can give, so that two things may swap theirs.
pub(super) fn parked(number: i32) -> String {
    format!("\u{1}{number}")
}

/// The number that was asked for, after which the next ones are larger; or the next one.
async fn take_number(tx: &mut Tx, wanted: Option<i32>) -> Result<i32> {
    match wanted {
        None => crate::schema::next_number(tx).await,
        Some(number) => {
            let row = crate::params![number.to_string(), i64::from(number)];
            tx.execute(&RESERVE, row).await?;
            Ok(number)
        }
    }
}

/// Makes all changes of the schema.
pub(super) async fn apply(tx: &mut Tx, edits: &Edits, at: Timestamp) -> Result<()> {
    if edits.attributes.is_empty() && edits.tables.is_empty() && edits.fields.is_empty() {
        return Ok(());
    }
    limit_lock_wait(tx).await?;
    let before = crate::schema::load(tx).await?;
    for edit in &edits.attributes {
        if let Edit::Change { number, .. } | Edit::Drop { number, .. } = edit {
            tx.execute(&PARK_ATTRIBUTE, crate::params![*number, parked(*number)]).await?;
        }
    }
    for edit in &edits.attributes {
        let number = match edit {
            Edit::Drop { number, .. } | Edit::Change { number, .. } => *number,
            Edit::Add { .. } => 0,
        };
        let old = before.attributes.iter().find(|one| one.number == number);
        attribute(tx, edit, old, at).await?;
    }
    tables(tx, &edits.tables, &before.tables, at).await?;
    for fields in &edits.fields {
        let table = match fields.number {
            Some(number) => number,
            None => {
                let row = tx.first(&TABLE_OF_ID, crate::params![fields.table]).await?;
                read::number(row, "a table")?
            }
        };
        field_edits(tx, table, &fields.edits, at).await?;
    }
    crate::schema::bump(tx).await
}

fn parts(kind: &Kind) -> (&'static str, Option<i64>, Option<String>) {
    (kind.name(), kind.scale().map(i64::from), kind.currency().map(str::to_owned))
}

async fn attribute(
    tx: &mut Tx,
    edit: &Edit<(Attribute, Conversion)>,
    old: Option<&Column>,
    at: Timestamp,
) -> Result<()> {
    let gone = || Error::Conflict("an attribute is not there any more".to_owned());
    match edit {
        Edit::Add { id, number, value: (one, _) } => {
            let number = take_number(tx, *number).await?;
            let column = column(number, one);
            add_column(tx, "customers", &column).await?;
            let (kind, scale, currency) = parts(&one.kind);
            let row =
                crate::params![number, &one.name, kind, scale, currency, &column.column, at, *id];
            tx.execute(&ADD_ATTRIBUTE, row).await?;
        }
        Edit::Change { number, value: (one, how), .. } => {
            convert(tx, "customers", old.ok_or_else(gone)?, &one.kind, *how).await?;
            let (kind, scale, currency) = parts(&one.kind);
            let row = crate::params![*number, &one.name, kind, scale, currency];
            tx.execute(&CHANGE_ATTRIBUTE, row).await?;
        }
        Edit::Drop { .. } => {
            crate::schema::drop_attribute(tx, old.ok_or_else(gone)?).await?;
        }
    }
    Ok(())
}

fn column(number: i32, one: &Attribute) -> Column {
    let column = physical_name(&one.name, number);
    Column { number, name: one.name.clone(), kind: one.kind.clone(), column }
}

/// Brings a column to another kind.
async fn convert(
    tx: &mut Tx,
    table: &str,
    old: &Column,
    kind: &Kind,
    how: Conversion,
) -> Result<()> {
    let (table_name, name) = (quoted(table), quoted(&old.column));
    match how {
        Conversion::Keep | Conversion::Scale(0) => Ok(()),
        Conversion::Scale(steps) => {
            let factor = 10_i64.pow(u32::from(steps));
            let most = i64::MAX / factor;
            let text = format!(
                "select count(*) from {{s}}{table_name} where {name} > {most} or {name} < -{most}"
            );
            let rows = tx.query_once(&text, &[]).await?;
            if rows.first().map_or(Ok(0), |row| row.int(0))? > 0 {
                let text = format!("{} has numbers that are too large for its new kind", old.name);
                return Err(Error::Conflict(text));
            }
            let text = format!(
                "update {{s}}{table_name} set {name} = {name} * {factor} where {name} is not null"
            );
            tx.execute_once(&text, &[]).await.map(drop)
        }
        Conversion::Empty => {
            let text = format!("alter table {{s}}{table_name} drop column {name}");
            tx.execute_once(&text, &[]).await?;
            let new = Column { kind: kind.clone(), ..old.clone() };
            add_column(tx, table, &new).await
        }
    }
}

async fn tables(
    tx: &mut Tx,
    edits: &[Edit<TableHead>],
    before: &[std::sync::Arc<tidings_domain::schema::Table>],
    at: Timestamp,
) -> Result<()> {
    for edit in edits {
        if let Edit::Change { number, .. } | Edit::Drop { number, .. } = edit {
            tx.execute(&RENAME_TABLE, crate::params![*number, parked(*number)]).await?;
        }
    }
    for edit in edits {
        match edit {
            Edit::Add { id, number, value } => {
                let number = take_number(tx, *number).await?;
                let physical = format!("t_{}", physical_name(&value.name, number));
                create_table(tx, &physical).await?;
                let owner = value.owner.name();
                let row = crate::params![number, &value.name, &physical, owner, at, *id];
                tx.execute(&ADD_TABLE, row).await?;
            }
            Edit::Change { number, value, .. } => {
                tx.execute(&RENAME_TABLE, crate::params![*number, &value.name]).await?;
            }
            Edit::Drop { number, .. } => {
                let gone = || Error::Conflict("a table is not there any more".to_owned());
                let old = before.iter().find(|one| one.number == *number).ok_or_else(gone)?;
                let text = format!("drop table {{s}}{}", quoted(&old.physical));
                tx.execute_once(&text, &[]).await?;
                tx.execute(&DROP_FIELDS, crate::params![*number]).await?;
                tx.execute(&DROP_TABLE, crate::params![*number]).await?;
            }
        }
    }
    Ok(())
}

async fn field_edits(
    tx: &mut Tx,
    table: i32,
    edits: &[Edit<(Attribute, Conversion)>],
    at: Timestamp,
) -> Result<()> {
    let schema = crate::schema::load(tx).await?;
    let gone = || Error::Conflict("a table or field is not there any more".to_owned());
    let known = schema.tables.iter().find(|one| one.number == table).ok_or_else(gone)?;
    for edit in edits {
        if let Edit::Change { number, .. } | Edit::Drop { number, .. } = edit {
            tx.execute(&PARK_FIELD, crate::params![table, *number, parked(*number)]).await?;
        }
    }
    for edit in edits {
        match edit {
            Edit::Add { id, number, value: (one, _) } => {
                let number = take_number(tx, *number).await?;
                let column = column(number, one);
                add_column(tx, &known.physical, &column).await?;
                let (kind, scale, currency) = parts(&one.kind);
                let (name, stored) = (&one.name, &column.column);
                let row =
                    crate::params![number, name, kind, scale, currency, stored, at, *id, table];
                tx.execute(&ADD_FIELD, row).await?;
            }
            Edit::Change { number, value: (one, how), .. } => {
                let old = known.fields.iter().find(|field| field.number == *number);
                convert(tx, &known.physical, old.ok_or_else(gone)?, &one.kind, *how).await?;
                let (kind, scale, currency) = parts(&one.kind);
                let row = crate::params![table, *number, &one.name, kind, scale, currency];
                tx.execute(&CHANGE_FIELD, row).await?;
            }
            Edit::Drop { number, .. } => {
                let old = known.fields.iter().find(|field| field.number == *number);
                let (physical, name) =
                    (quoted(&known.physical), quoted(&old.ok_or_else(gone)?.column));
                let text = format!("alter table {{s}}{physical} drop column {name}");
                tx.execute_once(&text, &[]).await?;
                tx.execute(&DROP_FIELD, crate::params![table, *number]).await?;
            }
        }
    }
    Ok(())
}
