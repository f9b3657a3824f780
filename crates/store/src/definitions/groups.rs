//! Changes of groups: their names and ids, and who was in those that go.

use tidings_domain::Timestamp;

use super::Edit;
use super::schema::parked;
use crate::Result;
use crate::engines::Tx;
use crate::sql::Sql;

static ADD: Sql = Sql::reference(
    "add_known_group",
    "insert into {s}groups (number, id, name, created_at)
     select coalesce(?4, max(number) + 1, 1), ?1, ?2, ?3 from {s}groups where true",
);
static RENAME: Sql =
    Sql::reference("rename_known_group", "update {s}groups set name = ?2 where number = ?1");
static DROP_MEMBERS: Sql = Sql::fan_out(
    "drop_known_group_members",
    "delete from {s}group_members where group_number = ?1",
);
static DROP: Sql = Sql::reference("drop_known_group", "delete from {s}groups where number = ?1");

pub(super) static SQL: &[&Sql] = &[&ADD, &RENAME, &DROP_MEMBERS, &DROP];

pub(super) async fn apply(tx: &mut Tx, edits: &[Edit<String>], at: Timestamp) -> Result<()> {
    for edit in edits {
        match edit {
            Edit::Change { number, .. } => {
                tx.execute(&RENAME, crate::params![*number, parked(*number)]).await?;
            }
            Edit::Drop { number, .. } => {
                tx.execute(&DROP_MEMBERS, crate::params![*number]).await?;
                tx.execute(&DROP, crate::params![*number]).await?;
            }
            Edit::Add { .. } => {}
        }
    }
    for edit in edits {
        match edit {
            Edit::Add { id, number, value } => {
                tx.execute(&ADD, crate::params![*id, value, at, *number]).await?;
            }
            Edit::Change { number, value, .. } => {
                tx.execute(&RENAME, crate::params![*number, value]).await?;
            }
            Edit::Drop { .. } => {}
        }
    }
    Ok(())
}
