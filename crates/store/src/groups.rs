//! Groups: lists kept by hand or by API.

use serde::{Deserialize, Serialize};
use tidings_domain::schema::checked_name;
use tidings_domain::{CustomerId, GroupId, Timestamp};

use crate::customers::Customer;
use crate::engines::{Priority, Tx};
use crate::sql::{Dialect, Row, Sql};
use crate::workspace::Workspace;
use crate::{Error, Page, Result};

/// A group and how many customers are in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub number: i32,
    pub id: GroupId,
    pub name: String,
    pub size: i64,
}

static BY_NAME: Sql =
    Sql::reference("group_of_name", "select number, id, name, 0 from {s}groups where name = ?1");
static PAGE: Sql = Sql::fan_out(
    "groups",
    "select g.number, g.id, g.name,
       (select count(*) from {s}group_members m where m.group_number = g.number)
     from {s}groups g where g.number > ?1 order by g.number limit ?2",
);

static BY_ID: Sql = Sql::fan_out(
    "group_of_id",
    "select g.number, g.id, g.name,
       (select count(*) from {s}group_members m where m.group_number = g.number)
     from {s}groups g where g.id = ?1",
);
static MEMBERS: Sql = Sql::fan_out(
    "group_customers",
    "select customer_id from {s}group_members
     where group_number = ?1 and customer_id > ?2 order by customer_id limit ?3",
);
static DROP_MEMBERS: Sql = Sql::fan_out(
    "drop_group_members",
    "delete from {s}group_members where (bucket, customer_id, group_number) in
       (select bucket, customer_id, group_number from {s}group_members
        where group_number = ?1 limit ?2)",
);
static DROP_MEMBERS_SQLITE: Sql = Sql::fan_out(
    "drop_group_members",
    "delete from {s}group_members where group_number = ?1 and customer_id in
       (select customer_id from {s}group_members where group_number = ?1 limit ?2)",
);
static DROP: Sql = Sql::reference("drop_group", "delete from {s}groups where number = ?1");

pub(crate) static SQL: &[&Sql] = &[&BY_NAME, &PAGE, &BY_ID, &MEMBERS, &DROP_MEMBERS, &DROP];

fn group(row: &Row) -> Result<Group> {
    Ok(Group {
        number: row.small(0)?,
        id: GroupId(row.uuid(1)?),
        name: row.text(2)?,
        size: row.int(3)?,
    })
}

/// Makes a group in the caller's transaction; a taken name is a conflict.
pub(crate) async fn add(tx: &mut Tx, name: &str, at: Timestamp) -> Result<Group> {
    checked_name(name).map_err(Error::Invalid)?;
    if tx.first(&BY_NAME, crate::params![name]).await?.is_some() {
        return Err(Error::Conflict(format!("a group named {name} exists")));
    }
    let mut known = std::collections::HashMap::new();
    crate::changes::group_number(tx, &mut known, name, at).await?;
    let row = tx.first(&BY_NAME, crate::params![name]).await?;
    group(&row.ok_or_else(|| Error::Corrupt("a new group is missing".to_owned()))?)
}

impl Workspace {
    /// Makes a group; a taken name is a conflict.
    pub async fn add_group(&self, name: &str, at: Timestamp) -> Result<Group> {
        let name = name.to_owned();
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { add(tx, &name, at).await })
        })
        .await
    }

    /// A group by its id.
    pub async fn group(&self, id: GroupId) -> Result<Option<Group>> {
        self.find(&BY_ID, crate::params![id], group).await
    }

    /// The customers of a group by id.
    pub async fn group_customers(
        &self,
        group: i32,
        after: Option<CustomerId>,
        limit: usize,
    ) -> Result<Page<Customer, CustomerId>> {
        self.members_page(&MEMBERS, group, after, limit).await
    }

    /// Drops a group: its members in slices, and in the end the group. No rule may read it.
    pub async fn drop_group(&self, number: i32) -> Result<()> {
        const AT_ONCE: i64 = 1_000;
        let mut dropped = AT_ONCE as u64;
        while dropped == AT_ONCE as u64 {
            dropped = self
                .write(Priority::Bulk, move |tx| {
                    Box::pin(async move {
                        let sql = match tx.dialect() {
                            Dialect::Sqlite => &DROP_MEMBERS_SQLITE,
                            Dialect::Postgres => &DROP_MEMBERS,
                        };
                        tx.execute(sql, crate::params![number, AT_ONCE]).await
                    })
                })
                .await?;
        }
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move {
                // Whoever joined since the last slice.
                let sql = match tx.dialect() {
                    Dialect::Sqlite => &DROP_MEMBERS_SQLITE,
                    Dialect::Postgres => &DROP_MEMBERS,
                };
                tx.execute(sql, crate::params![number, i64::MAX]).await?;
                tx.execute(&DROP, crate::params![number]).await.map(|_| ())
            })
        })
        .await
    }

    /// A page of groups in the order of their numbers.
    pub async fn groups(&self, after: Option<i32>, limit: usize) -> Result<Page<Group, i32>> {
        let after = after.unwrap_or(0);
        self.find_page(&PAGE, crate::params![after], limit, group, |group| group.number).await
    }
}
