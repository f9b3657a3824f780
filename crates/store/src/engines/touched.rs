//! What a transaction writes of customers, read off its statements, so that what is held in memory
//! of them can follow. It knows nothing of who holds what.
//!
//! A statement is taken to write more than it does rather than less: one that this room cannot read
//! touches whole tables, and one that is rolled back has touched what it named all the same.

use uuid::Uuid;

use crate::bulk::Column;
use crate::sql::Param;

/// The tables that are watched.
pub(crate) const TABLES: [&str; 5] =
    ["customers", "tags", "group_members", "segment_members", "consents"];
pub(crate) const CUSTOMERS: usize = 0;
pub(crate) const TAGS: usize = 1;
pub(crate) const GROUP_MEMBERS: usize = 2;
pub(crate) const SEGMENT_MEMBERS: usize = 3;
pub(crate) const CONSENTS: usize = 4;

/// More customers than this are noted as the whole table.
pub(crate) const MOST_IDS: usize = 20_000;

/// Whose rows of one table were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    pub ids: Vec<Uuid>,
    pub all: bool,
}

impl Rows {
    pub(crate) fn add(&mut self, id: Uuid) {
        if self.all {
            return;
        }
        if self.ids.len() >= MOST_IDS {
            self.whole();
            return;
        }
        // One statement after the other often names the same customer.
        if self.ids.last() != Some(&id) {
            self.ids.push(id);
        }
    }

    pub(crate) fn whole(&mut self) {
        self.all = true;
        self.ids = Vec::new();
    }

    pub(crate) fn merge(&mut self, other: &Rows) {
        match other.all {
            true => self.whole(),
            false => other.ids.iter().for_each(|id| self.add(*id)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.all && self.ids.is_empty()
    }
}

/// What a transaction has written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// In the order of [`TABLES`].
    pub tables: [Rows; TABLES.len()],
    /// Customers whose own row was deleted; they are among the touched ones too.
    pub removed: Rows,
}

/// What a statement writes to.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Nothing,
    /// One watched table. `owner` says that the second parameter is the customer.
    Table {
        table: usize,
        owner: bool,
        removes: bool,
    },
    Everything,
}

impl Touched {
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.iter().all(Rows::is_empty)
    }

    pub(crate) fn everything(&mut self) {
        self.tables.iter_mut().for_each(Rows::whole);
        self.removed.whole();
    }

    /// Notes what a statement writes, in the shared spelling or an engine's own.
    pub(crate) fn statement(&mut self, text: &str, params: &[Param]) {
        match target(text) {
            Target::Nothing => {}
            Target::Everything => self.everything(),
            Target::Table { table, owner, removes } => {
                let id = match params.get(1) {
                    Some(Param::Uuid(id)) if owner => Some(*id),
                    _ => None,
                };
                match id {
                    Some(id) => self.tables[table].add(id),
                    None => self.tables[table].whole(),
                }
                if removes && table == CUSTOMERS {
                    match id {
                        Some(id) => self.removed.add(id),
                        None => self.removed.whole(),
                    }
                }
            }
        }
    }

    /// Notes rows that are written by their columns.
    pub(crate) fn rows(
        &mut self,
        table: &str,
        columns: &[Column<'_>],
        rows: &[Vec<Param>],
        removes: bool,
    ) {
        let Some(table) = TABLES.iter().position(|name| *name == table) else { return };
        let owner = if table == CUSTOMERS { "id" } else { "customer_id" };
        let Some(at) = columns.iter().position(|column| column.name == owner) else {
            self.everything();
            return;
        };
        for row in rows {
            let Some(Param::Uuid(id)) = row.get(at) else {
                self.everything();
                return;
            };
            self.tables[table].add(*id);
            if removes && table == CUSTOMERS {
                self.removed.add(*id);
            }
        }
    }
}

/// Statements that write no rows of a table.
const HARMLESS: [&str; 13] = [
    "select",
    "pragma",
    "begin",
    "commit",
    "rollback",
    "savepoint",
    "release",
    "set",
    "analyze",
    "lock",
    "explain",
    "create",
    "values",
];

fn target(text: &str) -> Target {
    let text = text.trim();
    if text.is_empty() {
        return Target::Nothing;
    }
    let (verb, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim_start();
    match verb {
        "insert" => match rest.split_once("into ") {
            Some((_, rest)) => named(rest, inserts_owner, false),
            None => Target::Everything,
        },
        "update" => named(rest, |rest| wants_owner(rest) && !sets_owner(rest), false),
        "delete" => match rest.strip_prefix("from ") {
            Some(rest) => named(rest, wants_owner, true),
            None => Target::Everything,
        },
        "alter" | "drop" => match rest.strip_prefix("table ") {
            // A column more changes no value that is there.
            Some(rest) if rest.contains(" add column ") => Target::Nothing,
            Some(rest) => named(rest, |_| false, true),
            None if rest.starts_with("index ") => Target::Nothing,
            None => Target::Everything,
        },
        "with" => {
            let writes = ["insert into ", "update ", "delete from "];
            match writes.iter().any(|verb| rest.contains(verb)) {
                true => Target::Everything,
                false => Target::Nothing,
            }
        }
        _ if HARMLESS.iter().any(|harmless| verb.eq_ignore_ascii_case(harmless)) => Target::Nothing,
        _ => Target::Everything,
    }
}

/// The table at the start of the rest of a statement, as it is named in any spelling.
fn named(rest: &str, owner: impl Fn(&str) -> bool, removes: bool) -> Target {
    let end = rest.find(|c: char| c.is_whitespace() || c == '(').unwrap_or(rest.len());
    let name = rest[..end].trim_end_matches(';');
    let name = name.rsplit(['.', '}']).next().unwrap_or(name).trim_matches('"');
    match TABLES.iter().position(|table| *table == name) {
        Some(table) => Target::Table { table, owner: owner(rest), removes },
        None => Target::Nothing,
    }
}

/// Whether an insert takes bucket and customer as its first two parameters.
fn inserts_owner(rest: &str) -> bool {
    let first = rest.split_once('(').is_some_and(|(_, columns)| {
        let mut names = columns.split(',').map(str::trim);
        names.next() == Some("bucket") && names.next() == Some("customer_id")
    });
    first && (rest.contains("values (?1, ?2,") || rest.contains("values ($1, $2,"))
}

/// Whether only rows of the customer in the second parameter are meant.
fn wants_owner(rest: &str) -> bool {
    let wanted = [
        "where bucket = ?1 and customer_id = ?2",
        "where bucket = ?1 and id = ?2",
        "where bucket = $1 and customer_id = $2",
        "where bucket = $1 and id = $2",
    ];
    wanted.iter().any(|condition| rest.contains(condition)) && !rest.contains(" or ")
}

/// Whether an update gives rows to another customer.
fn sets_owner(rest: &str) -> bool {
    let set = rest.split("where ").next().unwrap_or(rest);
    set.contains("customer_id =") || set.contains(" id =") || set.contains("system_id =")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bulk::{ColumnType, column};

    fn check(text: &str, expected: Target) {
        assert_eq!(target(text), expected, "{text}");
    }

    fn table(name: &str, owner: bool, removes: bool) -> Target {
        let table = TABLES.iter().position(|table| *table == name).expect("a watched table");
        Target::Table { table, owner, removes }
    }

    #[test]
    fn statements_say_what_they_write() {
        check("select 1 from {s}customers", Target::Nothing);
        check("\n  select * from {s}tags where tag = 'delete from {s}tags'", Target::Nothing);
        check("insert into {s}events (bucket, customer_id) values (?1, ?2)", Target::Nothing);
        check("update {s}campaigns set state = 1", Target::Nothing);
        check("alter table {s}customers add column \"a_1\" text", Target::Nothing);
        check(
            "insert into {s}tags as t (bucket, customer_id, tag) values (?1, ?2, ?3)",
            table("tags", true, false),
        );
        check(
            "insert into \"tidings_w1\".\"tags\" (bucket, customer_id, tag) values ($1, $2, $3)",
            table("tags", true, false),
        );
        check(
            "insert into {s}tags (tag, customer_id) values (?1, ?2)",
            table("tags", false, false),
        );
        check("insert into {s}group_members select 1", table("group_members", false, false));
        check(
            "delete from main.customers where bucket = ?1 and id = ?2",
            table("customers", true, true),
        );
        check("delete from {s}customers where id = ?2", table("customers", false, true));
        check(
            "delete from {s}tags where bucket = ?1 and customer_id = ?2 or tag = ?3",
            table("tags", false, true),
        );
        check(
            "update {s}customers set email = ?3 where bucket = ?1 and id = ?2",
            table("customers", true, false),
        );
        check(
            "update {s}tags set customer_id = ?3 where bucket = ?1 and customer_id = ?2",
            table("tags", false, false),
        );
        check("alter table {s}customers drop column x", table("customers", false, true));
        check("drop table {s}t_orders_3", Target::Nothing);
        check("with x as (delete from {s}tags returning 1) select 1 from x", Target::Everything);
        check("with x as (select 1) select * from x", Target::Nothing);
        check("merge into {s}tags using x", Target::Everything);
        check("truncate {s}tags", Target::Everything);
    }

    #[test]
    fn customers_are_noted_until_there_are_too_many() {
        let ids: Vec<Uuid> = (0..=MOST_IDS).map(|_| Uuid::now_v7()).collect();
        let rows: Vec<Vec<Param>> = ids.iter().map(|id| vec![1_i64.into(), (*id).into()]).collect();
        let columns = [column("bucket", ColumnType::SmallInt), column("id", ColumnType::Uuid)];
        let mut touched = Touched::default();
        touched.rows("customers", &columns, &rows[..2], false);
        assert_eq!((touched.tables[CUSTOMERS].ids.len(), touched.removed.ids.len()), (2, 0));
        touched.rows("customers", &columns, &rows[..1], true);
        assert_eq!(touched.removed.ids, [ids[0]]);
        touched.rows("customers", &columns, &rows, false);
        assert!(touched.tables[CUSTOMERS].all && !touched.tables[TAGS].all);
        touched.rows("orders", &columns, &rows, false);
        let mut other = Touched::default();
        other.rows("tags", &columns, &rows[..1], false);
        assert!(other.tables[CUSTOMERS].all, "rows without an owner are anybody's");
    }

    /// A statement of one bucket on a watched table names its customer, or its every use would make
    /// everything in memory stale.
    #[test]
    fn statements_of_one_customer_name_them() {
        let mut seen = 0;
        for sql in crate::statements::all() {
            if let Target::Table { table, owner, .. } = target(sql.text)
                && sql.class == crate::sql::Class::Bucket
            {
                assert!(owner, "{} on {}: {}", sql.name, TABLES[table], sql.text);
                seen += 1;
            }
        }
        assert!(seen > 8, "only {seen} statements");
    }
}
