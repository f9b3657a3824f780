//! Undoing a merge: what was moved goes back, as far as it is still there.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value as Json};
use tidings_domain::{CustomerId, Timestamp, bucket_of, identity_bucket};
use uuid::Uuid;

use super::rows::{Line, key_of, line_of, own_key, remove, write};
use super::{customer_row, hand_over, moved, object_of, withdraw};
use crate::archive::tables::{Stored, columns, param, tables};
use crate::bulk::{Column, ColumnType, OnConflict, column, insert_many, lock_many};
use crate::changes::{CUSTOMER_KEY, Dirty, customer_key, identity_kind, sort_identities};
use crate::engines::{Priority, Tx};
use crate::sql::{Param, Sql, quoted};
use crate::workspace::Workspace;
use crate::{Error, Result, search};

static FIND: Sql = Sql::bucket(
    "merge_to_undo",
    "select lost_id, undo_until, undone_at, lost, filled, names, at from {s}merges
     where bucket = ?1 and customer_id = ?2 and id = ?3",
);
static ROWS: Sql = Sql::bucket(
    "rows_to_give_back",
    "select table_name, moved, line from {s}merge_rows
     where bucket = ?1 and customer_id = ?2 and merge_id = ?3 order by number",
);
static DROP_ROWS: Sql = Sql::bucket(
    "drop_merge_rows",
    "delete from {s}merge_rows where bucket = ?1 and customer_id = ?2 and merge_id = ?3",
);
/// What is kept of it says nothing of the person any more.
static UNDONE: Sql = Sql::bucket(
    "merge_undone",
    "update {s}merges set undone_at = ?4, lost = '{}', filled = '[]', names = '[]'
     where bucket = ?1 and customer_id = ?2 and id = ?3",
);
static WITHDRAWN: Sql = Sql::bucket(
    "withdrawn_of",
    "select channel, topic from {s}consents
     where bucket = ?1 and customer_id = ?2 and state = 'withdrawn' and at > ?3",
);
static EXPIRED: Sql = Sql::fan_out(
    "expired_merges",
    "select customer_id, id from {s}merges
     where undo_until < ?1 and lost <> '{}' limit ?2",
);
static EXPIRE: Sql = Sql::bucket(
    "expire_merge",
    "update {s}merges set lost = '{}', filled = '[]', names = '[]'
     where bucket = ?1 and customer_id = ?2 and id = ?3",
);

pub(super) static SQL: &[&Sql] =
    &[&FIND, &ROWS, &DROP_ROWS, &UNDONE, &WITHDRAWN, &EXPIRED, &EXPIRE];

impl Workspace {
    /// Undoes a merge into a customer; gives who is there again. It is a conflict where the time is
    /// over, where it was undone before, and where the kept one was merged into another since.
    pub async fn undo_merge(
        &self,
        kept: CustomerId,
        merge: Uuid,
        at: Timestamp,
    ) -> Result<CustomerId> {
        self.write_kept(Priority::Interactive, move |tx| {
            Box::pin(async move { undo(tx, kept, merge, at).await })
        })
        .await
    }

    /// Lets go of what undoing would need where its time is over; gives whether there may be more.
    pub async fn expire_merges(&self, now: Timestamp) -> Result<bool> {
        const AT_ONCE: i64 = 20;
        self.write(Priority::Bulk, move |tx| {
            Box::pin(async move {
                let rows = tx.query(&EXPIRED, crate::params![now, AT_ONCE]).await?;
                for row in &rows {
                    let (kept, merge) = (CustomerId(row.uuid(0)?), row.uuid(1)?);
                    let key = crate::params![bucket_of(kept), kept, merge];
                    tx.execute(&DROP_ROWS, key).await?;
                    tx.execute(&EXPIRE, key).await?;
                }
                Ok(rows.len() as i64 == AT_ONCE)
            })
        })
        .await
    }
}

async fn undo(tx: &mut Tx, kept: CustomerId, merge: Uuid, at: Timestamp) -> Result<CustomerId> {
    lock_many(tx, "customers", "t.id", &CUSTOMER_KEY, &[customer_key(kept)]).await?;
    let key = crate::params![bucket_of(kept), kept, merge];
    let found = tx.first(&FIND, key).await?;
    let found = found.ok_or_else(|| Error::NotFound("the merge".to_owned()))?;
    let conflict = |text: &str| Err(Error::Conflict(text.to_owned()));
    if found.opt_time(2)?.is_some() {
        return conflict("this merge was undone before");
    }
    if found.time(1)? < at {
        return conflict("the time to undo this merge is over");
    }
    let stored = columns(tx, "customers").await?;
    let Some(ours) = customer_row(tx, &stored, kept).await? else {
        return conflict("the customer was merged into another; undo that merge first");
    };
    let lost = CustomerId(found.uuid(0)?);
    let merged_at = found.time(6)?;
    let theirs = line_of(&found.text(3)?);
    let filled: Vec<String> = serde_json::from_str(&found.text(4)?).unwrap_or_default();
    let names: Vec<(i64, String)> = serde_json::from_str(&found.text(5)?).unwrap_or_default();
    moved::forget(tx, lost).await?;
    put_customer(tx, &stored, &theirs).await?;
    empty(tx, &stored, kept, (&ours, &theirs), &filled, at).await?;
    hand_over(tx, &names, kept, lost).await?;
    name_again(tx, &names, lost).await?;
    give_back(tx, kept, lost, merge).await?;
    // What was taken back since was taken back by both.
    for row in tx.query(&WITHDRAWN, crate::params![bucket_of(kept), kept, merged_at]).await? {
        withdraw(tx, lost, row.small(0)?, &row.text(1)?, at).await?;
    }
    tx.execute(&UNDONE, crate::params![bucket_of(kept), kept, merge, at]).await?;
    let number = |row: &Line| row.get("system_id").and_then(Json::as_i64).unwrap_or_default();
    let both = [(number(&ours), kept), (number(&theirs), lost)].into();
    search::touched(tx, &both, false).await?;
    let mut dirty = Dirty::default();
    for one in [kept, lost] {
        dirty.mark(one, "new".to_owned());
    }
    dirty.write(tx, at).await?;
    Ok(lost)
}

/// Writes the lost customer's row as it was.
async fn put_customer(tx: &mut Tx, stored: &[Stored], line: &Line) -> Result<()> {
    let columns: Vec<Column<'_>> = std::iter::once("bucket")
        .chain(stored.iter().map(|one| one.name.as_str()).filter(|name| *name != "bucket"))
        .filter_map(|name| stored.iter().find(|one| one.name == name))
        .map(|one| column(&one.name, super::rows::column_type(one, "customers")))
        .collect();
    let mut row: Vec<Param> = Vec::with_capacity(columns.len());
    for one in &columns {
        let Some(stored) = stored.iter().find(|stored| stored.name == one.name) else { continue };
        row.push(param(line.get(one.name).unwrap_or(&Json::Null), stored)?);
    }
    insert_many(tx, "customers", &columns, &[row], OnConflict::Fail, "").await.map(|_| ())
}

/// Names that were given up since are the lost one's again, where nobody else has taken them.
async fn name_again(tx: &mut Tx, names: &[(i64, String)], lost: CustomerId) -> Result<()> {
    let columns = [
        column("ibucket", ColumnType::SmallInt),
        column("kind", ColumnType::SmallInt),
        column("value", ColumnType::Text),
        column("bucket", ColumnType::SmallInt),
        column("customer_id", ColumnType::Uuid),
    ];
    let mut rows: Vec<Vec<Param>> = Vec::with_capacity(names.len());
    for (number, value) in names {
        let Some(kind) = identity_kind(*number) else { continue };
        rows.push(vec![
            identity_bucket(kind, value).into(),
            (*number).into(),
            value.as_str().into(),
            bucket_of(lost).into(),
            lost.into(),
        ]);
    }
    sort_identities(tx, &mut rows);
    insert_many(tx, "identities", &columns, &rows, OnConflict::Keep, "").await.map(|_| ())
}

/// Empties the gaps that were filled, where they still hold what filled them.
async fn empty(
    tx: &mut Tx,
    stored: &[Stored],
    kept: CustomerId,
    (ours, theirs): (&Line, &Line),
    filled: &[String],
    at: Timestamp,
) -> Result<()> {
    let mut set = vec!["updated_at = ?3".to_owned()];
    let mut params: Vec<Param> = vec![bucket_of(kept).into(), kept.into(), at.into()];
    for column in stored.iter().filter(|one| filled.contains(&one.name)) {
        if ours.get(&column.name) == theirs.get(&column.name) {
            set.push(format!("{} = null", quoted(&column.name)));
        }
    }
    let (mut extra, given) = (object_of(ours.get("extra")), object_of(theirs.get("extra")));
    let before = extra.len();
    extra.retain(|key, value: &mut Json| {
        !(filled.contains(&format!("extra.{key}")) && given.get(key) == Some(value))
    });
    if extra.len() < before {
        params.push(if extra.is_empty() { Param::Null } else { Param::Json(Json::Object(extra)) });
        set.push(format!("extra = ?{}", params.len()));
    }
    let text =
        format!("update {{s}}customers set {} where bucket = ?1 and id = ?2", set.join(", "));
    tx.execute_once(&text, &params).await.map(|_| ())
}

/// Gives the rows back; what has been deleted since comes back as it was.
async fn give_back(tx: &mut Tx, kept: CustomerId, lost: CustomerId, merge: Uuid) -> Result<()> {
    let key = crate::params![bucket_of(kept), kept, merge];
    let mut by_table: BTreeMap<String, Vec<(bool, Line)>> = BTreeMap::new();
    for row in tx.query(&ROWS, key).await? {
        let line = line_of(&row.text(2)?);
        by_table.entry(row.text(0)?).or_default().push((row.int(1)? == 1, line));
    }
    let there: HashSet<String> = tables(tx).await?.into_iter().collect();
    for (table, rows) in by_table {
        // A table that was dropped since has nothing to come back to.
        if !there.contains(&table) {
            continue;
        }
        let stored = columns(tx, &table).await?;
        let own = own_key(tx, &table).await?;
        let moved: Vec<Line> =
            rows.iter().filter(|(moved, _)| *moved).map(|(_, line)| line.clone()).collect();
        let mut taken = moved;
        if table == "consents" {
            // A *no* that the kept one has said since stays with them.
            taken = still_granted(tx, kept, taken, &own).await?;
        }
        remove(tx, &table, &stored, &own, kept, &taken).await?;
        let lines: Vec<Line> = rows.into_iter().map(|(_, line)| line).collect();
        write(tx, &table, &stored, &own, lost, &lines).await?;
    }
    tx.execute(&DROP_ROWS, key).await.map(|_| ())
}

/// The consents that the kept one does not withhold now.
async fn still_granted(
    tx: &mut Tx,
    kept: CustomerId,
    lines: Vec<Line>,
    key: &[String],
) -> Result<Vec<Line>> {
    let rows = tx.query(&WITHDRAWN, crate::params![bucket_of(kept), kept, 0_i64]).await?;
    let mut withheld = HashSet::new();
    for row in rows {
        let mut line = Map::new();
        line.insert("channel".to_owned(), Json::from(row.int(0)?));
        line.insert("topic".to_owned(), Json::from(row.text(1)?));
        withheld.insert(key_of(&line, key));
    }
    let said_no = |line: &Line| line.get("state").and_then(Json::as_str) == Some("withdrawn");
    // What they had taken over as a *no* stays a *no* with both.
    Ok(lines
        .into_iter()
        .filter(|line| !said_no(line) && !withheld.contains(&key_of(line, key)))
        .collect())
}
