//! Groups: lists kept by hand or by API.

use serde::{Deserialize, Serialize};
use tidings_domain::schema::checked_name;
use tidings_domain::{GroupId, Timestamp};

use crate::engines::{Priority, Tx};
use crate::sql::{Row, Sql};
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

pub(crate) static SQL: &[&Sql] = &[&BY_NAME, &PAGE];

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

    /// A page of groups in the order of their numbers.
    pub async fn groups(&self, after: Option<i32>, limit: usize) -> Result<Page<Group, i32>> {
        let params = crate::params![after.unwrap_or(0), limit as i64 + 1].to_vec();
        let items = self
            .read(move |tx| {
                Box::pin(async move {
                    tx.query(&PAGE, &params).await?.iter().map(group).collect::<Result<Vec<_>>>()
                })
            })
            .await?;
        Ok(Page::cut(items, limit, |group| group.number))
    }
}
