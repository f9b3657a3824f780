//! The workspace's own schema: attributes as columns, tables as tables.

use tidings_domain::Timestamp;
use tidings_domain::schema::{
    Attribute, MAX_ATTRIBUTES, Owner, Schema, Table, checked_attribute_name, checked_name,
    physical_name,
};
use tidings_domain::value::{Kind, Storage};

use crate::engines::{Priority, Tx};
use crate::sql::{Dialect, Row, Sql, quoted};
use crate::workspace::Workspace;
use crate::{Error, Result};

static VERSION: Sql =
    Sql::reference("schema_version", "select value from {s}meta where key = 'schema_version'");
static BUMP: Sql = Sql::reference(
    "bump_schema_version",
    "update {s}meta set value = cast(cast(value as bigint) + 1 as text)
     where key = 'schema_version'",
);
static ATTRIBUTES: Sql = Sql::reference(
    "attributes",
    "select number, name, kind, scale, currency, column_name from {s}attributes order by number",
);
static ADD_ATTRIBUTE: Sql = Sql::reference(
    "add_attribute",
    "insert into {s}attributes (number, name, kind, scale, currency, column_name, created_at)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
);
static RENAME_ATTRIBUTE: Sql =
    Sql::reference("rename_attribute", "update {s}attributes set name = ?2 where number = ?1");
static DROP_ATTRIBUTE: Sql =
    Sql::reference("drop_attribute", "delete from {s}attributes where number = ?1");
static NEXT_NUMBER: Sql = Sql::reference(
    "next_number",
    "update {s}meta set value = cast(cast(value as bigint) + 1 as text)
     where key = 'next_schema_number' returning value",
);
static TABLES: Sql = Sql::reference(
    "user_tables",
    "select number, name, physical, owner from {s}user_tables order by number",
);
static FIELDS: Sql = Sql::reference(
    "user_fields",
    "select number, name, kind, scale, currency, column_name, table_number
     from {s}user_fields order by table_number, number",
);
static ADD_TABLE: Sql = Sql::reference(
    "add_user_table",
    "insert into {s}user_tables (number, name, physical, owner, created_at)
     values (?1, ?2, ?3, ?4, ?5)",
);
static ADD_FIELD: Sql = Sql::reference(
    "add_user_field",
    "insert into {s}user_fields
       (table_number, number, name, kind, scale, currency, column_name, created_at)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
);

pub(crate) static SQL: &[&Sql] = &[
    &VERSION,
    &BUMP,
    &ATTRIBUTES,
    &ADD_ATTRIBUTE,
    &RENAME_ATTRIBUTE,
    &DROP_ATTRIBUTE,
    &NEXT_NUMBER,
    &TABLES,
    &FIELDS,
    &ADD_TABLE,
    &ADD_FIELD,
];

/// The version of the schema as it stands.
pub async fn version(tx: &mut Tx) -> Result<i64> {
    let row = tx.first(&VERSION, &[]).await?;
    let text = row.ok_or_else(|| Error::Corrupt("schema_version is missing".into()))?.text(0)?;
    text.parse().map_err(|_| Error::Corrupt("schema_version is not a number".into()))
}

/// The whole schema.
pub async fn load(tx: &mut Tx) -> Result<Schema> {
    let version = version(tx).await?;
    let attributes =
        tx.query(&ATTRIBUTES, &[]).await?.iter().map(attribute).collect::<Result<Vec<_>>>()?;
    let mut tables = Vec::new();
    for row in tx.query(&TABLES, &[]).await? {
        tables.push(Table {
            number: row.small(0)?,
            name: row.text(1)?,
            physical: row.text(2)?,
            owner: Owner::parse(&row.text(3)?)
                .ok_or_else(|| Error::Corrupt("a table's owner is unknown".into()))?,
            fields: Vec::new(),
        });
    }
    for row in tx.query(&FIELDS, &[]).await? {
        let number = row.int(6)?;
        if let Some(table) = tables.iter_mut().find(|table| i64::from(table.number) == number) {
            table.fields.push(attribute(&row)?);
        }
    }
    Ok(Schema::new(version, attributes, tables))
}

fn attribute(row: &Row) -> Result<Attribute> {
    let scale = row.opt_int(3)?.and_then(|scale| u8::try_from(scale).ok());
    let kind = Kind::from_parts(&row.text(2)?, scale, row.opt_text(4)?.as_deref());
    Ok(Attribute {
        number: row.small(0)?,
        name: row.text(1)?,
        kind: kind.map_err(Error::Corrupt)?,
        column: row.text(5)?,
    })
}

pub(crate) fn column_type(kind: &Kind, dialect: Dialect) -> &'static str {
    match (kind.storage(), dialect) {
        (Storage::Text, Dialect::Sqlite) => "text",
        (Storage::Text, Dialect::Postgres) => "text collate \"C\"",
        (Storage::Integer, Dialect::Sqlite) => "integer",
        (Storage::Integer, Dialect::Postgres) => "bigint",
        (Storage::Boolean, Dialect::Sqlite) => "integer",
        (Storage::Boolean, Dialect::Postgres) => "boolean",
        (Storage::List, Dialect::Sqlite) => "text",
        (Storage::List, Dialect::Postgres) => "text[]",
    }
}

/// The next number of an attribute, table or field.
pub(crate) async fn next_number(tx: &mut Tx) -> Result<i32> {
    let row = tx.first(&NEXT_NUMBER, &[]).await?;
    let text =
        row.ok_or_else(|| Error::Corrupt("next_schema_number is missing".into()))?.text(0)?;
    text.parse().map_err(|_| Error::Corrupt("next_schema_number is not a number".into()))
}

/// DDL waits for running statements only so long, so that it never stands in everyone's way.
pub(crate) async fn limit_lock_wait(tx: &mut Tx) -> Result<()> {
    match tx.dialect() {
        Dialect::Sqlite => Ok(()),
        Dialect::Postgres => tx.script("set local lock_timeout = '5s'").await,
    }
}

/// Adds an attribute: a column and its entry in the catalogue.
pub async fn add_attribute(
    tx: &mut Tx,
    name: &str,
    kind: &Kind,
    at: Timestamp,
) -> Result<Attribute> {
    checked_attribute_name(name).map_err(Error::Invalid)?;
    let known = tx.query(&ATTRIBUTES, &[]).await?;
    if known.len() >= MAX_ATTRIBUTES {
        return Err(Error::Invalid(format!("a workspace has at most {MAX_ATTRIBUTES} attributes")));
    }
    if known.iter().any(|row| row.text(1).is_ok_and(|known| known == name)) {
        return Err(Error::Conflict(format!("an attribute named {name} exists")));
    }
    let number = next_number(tx).await?;
    let column = physical_name(name, number);
    limit_lock_wait(tx).await?;
    let kind_name = kind.name();
    let text = format!(
        "alter table {{s}}customers add column {} {}",
        quoted(&column),
        column_type(kind, tx.dialect())
    );
    tx.execute_once(&text, &[]).await?;
    let scale = kind.scale().map(i64::from);
    let params = crate::params![number, name, kind_name, scale, kind.currency(), &column, at];
    tx.execute(&ADD_ATTRIBUTE, params).await?;
    tx.execute(&BUMP, &[]).await?;
    Ok(Attribute { number, name: name.to_owned(), kind: kind.clone(), column })
}

/// Renames an attribute; only the catalogue changes.
pub async fn rename_attribute(tx: &mut Tx, number: i32, name: &str) -> Result<()> {
    checked_attribute_name(name).map_err(Error::Invalid)?;
    tx.execute(&RENAME_ATTRIBUTE, crate::params![number, name]).await?;
    tx.execute(&BUMP, &[]).await?;
    Ok(())
}

/// Drops an attribute and its values.
pub async fn drop_attribute(tx: &mut Tx, attribute: &Attribute) -> Result<()> {
    limit_lock_wait(tx).await?;
    let text = format!("alter table {{s}}customers drop column {}", quoted(&attribute.column));
    tx.execute_once(&text, &[]).await?;
    tx.execute(&DROP_ATTRIBUTE, crate::params![attribute.number]).await?;
    tx.execute(&BUMP, &[]).await?;
    Ok(())
}

/// Adds a table; its records are keyed by bucket, owner and their own key.
pub async fn add_table(
    tx: &mut Tx,
    name: &str,
    owner: Owner,
    fields: &[(String, Kind)],
    at: Timestamp,
) -> Result<()> {
    checked_name(name).map_err(Error::Invalid)?;
    let known = tx.query(&TABLES, &[]).await?;
    if known.iter().any(|row| row.text(1).is_ok_and(|known| known == name)) {
        return Err(Error::Conflict(format!("a table named {name} exists")));
    }
    let number = next_number(tx).await?;
    let physical = format!("t_{}", physical_name(name, number));
    create_table(tx, &physical).await?;
    tx.execute(&ADD_TABLE, crate::params![number, name, &physical, owner.name(), at]).await?;
    let table = Table { number, name: name.to_owned(), physical, owner, fields: Vec::new() };
    let mut names = std::collections::HashSet::new();
    for (field, kind) in fields {
        if !names.insert(field) {
            return Err(Error::Conflict(format!("the field {field} is given twice")));
        }
        add_field(tx, &table, field, kind, at).await?;
    }
    tx.execute(&BUMP, &[]).await?;
    Ok(())
}

/// Makes the physical table, still without fields.
pub(crate) async fn create_table(tx: &mut Tx, physical: &str) -> Result<()> {
    let schema = tx.schema().to_owned();
    let table = quoted(physical);
    let script = match tx.dialect() {
        Dialect::Sqlite => format!(
            "create table {schema}{table} (bucket integer not null, customer_id blob not null, \
             record_key text not null, created_at integer not null, updated_at integer not null, \
             primary key (customer_id, record_key)) without rowid;"
        ),
        Dialect::Postgres => format!(
            "create table {schema}{table} (bucket smallint not null, customer_id uuid not null, \
             record_key text collate \"C\" not null, created_at bigint not null, \
             updated_at bigint not null, primary key (bucket, customer_id, record_key)){}",
            crate::migrate::partitioned(&schema, physical, "bucket", tx.layout())
        ),
    };
    tx.script(&script).await
}

/// Makes the columns and tables that the catalogue names, in a database that has the catalogue's
/// rows and nothing else yet.
pub(crate) async fn rebuild(tx: &mut Tx) -> Result<()> {
    let schema = load(tx).await?;
    for attribute in &schema.attributes {
        add_column(tx, "customers", attribute).await?;
    }
    for table in &schema.tables {
        create_table(tx, &table.physical).await?;
        for field in &table.fields {
            add_column(tx, &table.physical, field).await?;
        }
    }
    Ok(())
}

pub(crate) async fn add_column(tx: &mut Tx, table: &str, attribute: &Attribute) -> Result<()> {
    let kind = column_type(&attribute.kind, tx.dialect());
    let text = format!(
        "alter table {{s}}{} add column {} {kind}",
        quoted(table),
        quoted(&attribute.column)
    );
    tx.execute_once(&text, &[]).await.map(|_| ())
}

/// Adds a field to a table.
pub async fn add_field(
    tx: &mut Tx,
    table: &Table,
    name: &str,
    kind: &Kind,
    at: Timestamp,
) -> Result<()> {
    checked_attribute_name(name).map_err(Error::Invalid)?;
    if table.field(name).is_some() {
        return Err(Error::Conflict(format!("a field named {name} exists")));
    }
    if table.fields.len() >= MAX_ATTRIBUTES {
        return Err(Error::Invalid(format!("a table has at most {MAX_ATTRIBUTES} fields")));
    }
    let number = next_number(tx).await?;
    let column = physical_name(name, number);
    limit_lock_wait(tx).await?;
    let text = format!(
        "alter table {{s}}{} add column {} {}",
        quoted(&table.physical),
        quoted(&column),
        column_type(kind, tx.dialect())
    );
    tx.execute_once(&text, &[]).await?;
    let scale = kind.scale().map(i64::from);
    let kind_name = kind.name();
    let params =
        crate::params![table.number, number, name, kind_name, scale, kind.currency(), &column, at];
    tx.execute(&ADD_FIELD, params).await?;
    Ok(())
}

/// Says that the schema has changed, so that whoever has read it reads it again.
pub(crate) async fn bump(tx: &mut Tx) -> Result<()> {
    tx.execute(&BUMP, &[]).await.map(drop)
}

impl Workspace {
    /// Adds an attribute to the customers of this workspace.
    pub async fn add_attribute(&self, name: &str, kind: Kind, at: Timestamp) -> Result<Attribute> {
        let name = name.to_owned();
        let number = self
            .write_kept(Priority::Interactive, move |tx| {
                Box::pin(async move { Ok(add_attribute(tx, &name, &kind, at).await?.number) })
            })
            .await?;
        let schema = self.fresh_schema().await?;
        let added = schema.attributes.iter().find(|attribute| attribute.number == number);
        added.cloned().ok_or_else(|| Error::NotFound("the attribute, which was dropped".to_owned()))
    }

    /// Renames an attribute.
    pub async fn rename_attribute(&self, name: &str, new_name: &str) -> Result<()> {
        let (name, new_name) = (name.to_owned(), new_name.to_owned());
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let schema = load(tx).await?;
                rename_attribute(tx, known(&schema, &name)?.number, &new_name).await?;
                if crate::search::schema_matters(&[&name, &new_name]) {
                    crate::search::index_all(tx).await?;
                }
                Ok(())
            })
        })
        .await?;
        self.fresh_schema().await.map(|_| ())
    }

    /// Drops an attribute with its values.
    pub async fn drop_attribute(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let schema = load(tx).await?;
                drop_attribute(tx, known(&schema, &name)?).await?;
                if crate::search::schema_matters(&[&name]) {
                    crate::search::index_all(tx).await?;
                }
                Ok(())
            })
        })
        .await?;
        self.fresh_schema().await.map(|_| ())
    }

    /// Adds a table.
    pub async fn add_table(
        &self,
        name: &str,
        owner: Owner,
        fields: Vec<(String, Kind)>,
        at: Timestamp,
    ) -> Result<()> {
        let name = name.to_owned();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { add_table(tx, &name, owner, &fields, at).await })
        })
        .await?;
        self.fresh_schema().await.map(|_| ())
    }

    /// Adds a field to a table.
    pub async fn add_field(
        &self,
        table: &str,
        name: &str,
        kind: Kind,
        at: Timestamp,
    ) -> Result<()> {
        let (table, name) = (table.to_owned(), name.to_owned());
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                let schema = load(tx).await?;
                let table = schema.table(&table).cloned();
                let table = table.ok_or_else(|| Error::NotFound("the table".to_owned()))?;
                add_field(tx, &table, &name, &kind, at).await?;
                tx.execute(&BUMP, &[]).await
            })
        })
        .await?;
        self.fresh_schema().await.map(|_| ())
    }
}

fn known<'s>(schema: &'s Schema, name: &str) -> Result<&'s Attribute> {
    schema.attribute(name).ok_or_else(|| Error::NotFound(format!("attribute {name}")))
}
