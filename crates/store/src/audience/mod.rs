//! Segment rules as SQL over the whole base.
//!
//! This room writes text and parameters and runs nothing. What it writes agrees with
//! `tidings_domain::judge` on both engines, customer by customer; a property test holds the two
//! together.
//!
//! The two engines want different forms. SQLite has no statistics here and would pick a wrong index
//! for a correlated look-up, so it always gets `id in (select …)`, which costs one pass over what
//! the condition names. PostgreSQL gets `exists` over bucket and id, which it joins where the
//! condition stands in a conjunction and looks up row by row where it stands under *any* or *not*;
//! a large `in` there would be searched from front to end for every customer.

use tidings_domain::Timestamp;
use tidings_domain::rule::calendar::Zone;
use tidings_domain::rule::{Bound, BoundRule, CountRange};

use crate::sql::{Dialect, Param, quoted};

mod event;
mod table;
mod turns;
mod value;

pub use turns::{Slice, turns};

#[cfg(test)]
pub(crate) mod tests;

/// PostgreSQL plans joins of so many conditions together; more of them become look-ups, because
/// planning time grows faster than what a better order could save.
const MAX_JOINS: usize = 8;
/// Parts joined side by side. SQLite limits how deep an expression may be, and `a or b or c` is
/// one level deeper for every part.
const MAX_SIDE_BY_SIDE: usize = 50;

/// A boolean expression over `customers` under the alias `c` that holds for the members.
///
/// For others it is false or null, so use it as it stands in `where`, and `(…) is not true` for its
/// opposite. `schema` goes before every table name (`{s}` and `main.` both do). The expression's
/// parameters are added to `params` and numbered from there on.
pub fn condition(
    rule: &BoundRule,
    dialect: Dialect,
    schema: &str,
    now: Timestamp,
    params: &mut Vec<Param>,
) -> String {
    Writer { dialect, schema, now, zone: rule.zone(), params, joins: 0 }.part(&rule.root, true)
}

/// A statement that counts the members.
pub fn count_sql(
    rule: &BoundRule,
    dialect: Dialect,
    schema: &str,
    now: Timestamp,
    params: &mut Vec<Param>,
) -> String {
    let condition = condition(rule, dialect, schema, now, params);
    format!("select count(*) from {schema}customers c where {condition}")
}

struct Writer<'a> {
    dialect: Dialect,
    schema: &'a str,
    now: Timestamp,
    zone: &'a Zone,
    params: &'a mut Vec<Param>,
    /// How many joins PostgreSQL has been given.
    joins: usize,
}

/// Rows of one table that belong to the customer, under an alias.
struct Rows<'a> {
    /// The table's name as it stands in SQL, quoted where it must be.
    table: &'a str,
    alias: &'a str,
    /// What must hold of a row.
    filter: String,
    /// What must hold of the rows together, if anything; never true for no rows.
    having: Option<String>,
}

impl Writer<'_> {
    /// Adds a parameter and gives its mark.
    fn param(&mut self, value: impl Into<Param>) -> String {
        self.params.push(value.into());
        format!("?{}", self.params.len())
    }

    /// `in_conjunction` says that the customer is out if this part is not true.
    fn part(&mut self, bound: &Bound, in_conjunction: bool) -> String {
        match bound {
            Bound::All(parts) => self.joined(parts, "and", in_conjunction),
            // One part alone is no alternative; the planner would see through it and join it.
            Bound::Any(parts) => self.joined(parts, "or", in_conjunction && parts.len() == 1),
            Bound::Not(part) => self.negated(part, in_conjunction),
            Bound::Constant(truth) => constant(*truth).to_owned(),
            Bound::Attribute { column, test } => {
                let column = format!("c.{}", quoted(column.name()));
                self.value_test(&column, test)
            }
            Bound::Tag(tag) => {
                let (tag, now) = (self.param(tag), self.param(self.now));
                let filter = format!("g.tag = {tag} and (g.until is null or g.until > {now})");
                self.some(&Rows { table: "tags", alias: "g", filter, having: None }, in_conjunction)
            }
            Bound::Group(number) => {
                let filter = format!("g.group_number = {}", self.param(*number));
                let rows = Rows { table: "group_members", alias: "g", filter, having: None };
                self.some(&rows, in_conjunction)
            }
            Bound::Segment(number) => {
                let filter = format!("g.segment_number = {}", self.param(*number));
                let rows = Rows { table: "segment_members", alias: "g", filter, having: None };
                self.some(&rows, in_conjunction)
            }
            Bound::Consent { channel, topic, state } => {
                let channel = self.param(channel.number());
                let (topic, state) = (self.param(topic), self.param(state.name()));
                let filter =
                    format!("g.channel = {channel} and g.topic = {topic} and g.state = {state}");
                let rows = Rows { table: "consents", alias: "g", filter, having: None };
                self.some(&rows, in_conjunction)
            }
            Bound::Event(rule) => self.event(rule, in_conjunction),
            Bound::Table(rule) => self.table(rule, in_conjunction),
        }
    }

    fn joined(&mut self, parts: &[Bound], word: &str, in_conjunction: bool) -> String {
        if parts.is_empty() {
            return constant(word == "and").to_owned();
        }
        let texts = parts.iter().map(|part| self.part(part, in_conjunction)).collect();
        side_by_side(texts, word)
    }

    /// The opposite of a part, in two truths: of null it is true.
    fn negated(&mut self, part: &Bound, in_conjunction: bool) -> String {
        let text = self.part(part, false);
        match part {
            // These are never null, and PostgreSQL knows how to join a plain `not exists`.
            Bound::Tag(_) | Bound::Group(_) | Bound::Segment(_) | Bound::Consent { .. } => {
                self.unjoined(format!("not {text}"), in_conjunction)
            }
            Bound::Event(_) | Bound::Table(_) | Bound::Constant(_) => {
                self.unjoined(format!("not ({text})"), in_conjunction)
            }
            _ => format!("({text}) is not true"),
        }
    }

    /// That the customer has rows such as these.
    fn some(&mut self, rows: &Rows, in_conjunction: bool) -> String {
        match self.dialect {
            Dialect::Sqlite => self.some_on_sqlite(rows),
            Dialect::Postgres => self.some_on_postgres(rows, in_conjunction),
        }
    }

    fn some_on_sqlite(&self, rows: &Rows) -> String {
        let Rows { table, alias, filter, having } = rows;
        let schema = self.schema;
        let grouped = match having {
            None => String::new(),
            Some(having) => format!(" group by {alias}.customer_id having {having}"),
        };
        format!(
            "c.id in (select {alias}.customer_id from {schema}{table} {alias} \
             where {filter}{grouped})"
        )
    }

    fn some_on_postgres(&mut self, rows: &Rows, in_conjunction: bool) -> String {
        let Rows { table, alias, filter, having } = rows;
        let schema = self.schema;
        let own = format!("{alias}.bucket = c.bucket and {alias}.customer_id = c.id");
        let Some(having) = having else {
            let text =
                format!("exists (select 1 from {schema}{table} {alias} where {own} and {filter})");
            return self.unjoined(text, in_conjunction);
        };
        let groups = format!(
            "select {alias}.bucket, {alias}.customer_id from {schema}{table} {alias} \
             where {filter} group by {alias}.bucket, {alias}.customer_id having {having}"
        );
        if in_conjunction && self.joins < MAX_JOINS {
            self.joins += 1;
            return format!("(c.bucket, c.id) in ({groups})");
        }
        // In this form the planner may hash the groups once where they fit in memory, and else
        // narrow them to the customer in question.
        let text = format!("exists (select 1 from ({groups}) {alias} where {own})");
        self.unjoined(text, in_conjunction)
    }

    /// Leaves an `exists` to be joined while there is room for it, and else keeps it from being.
    fn unjoined(&mut self, text: String, in_conjunction: bool) -> String {
        if self.dialect == Dialect::Sqlite || !in_conjunction {
            return text;
        }
        self.joins += 1;
        if self.joins <= MAX_JOINS { text } else { format!("({text}) is true") }
    }

    /// That the number of such rows lies in a range; `certain` has been asked before.
    fn counted(&mut self, mut rows: Rows, range: CountRange, in_conjunction: bool) -> String {
        match range {
            CountRange { min: 0, max: Some(max) } => {
                rows.having = (max > 0).then(|| format!("count(*) > {max}"));
                let text = format!("not {}", self.some(&rows, false));
                self.unjoined(text, in_conjunction)
            }
            CountRange { min, max: Some(max) } => {
                rows.having = Some(format!("count(*) between {min} and {max}"));
                self.some(&rows, in_conjunction)
            }
            CountRange { min, max: None } => {
                rows.having = (min > 1).then(|| format!("count(*) >= {min}"));
                self.some(&rows, in_conjunction)
            }
        }
    }
}

/// What a range says whatever the count is. It is asked before a condition adds its parameters,
/// since a parameter that the text does not use is an error.
fn certain(range: CountRange) -> Option<bool> {
    match range {
        CountRange { min: 0, max: None } => Some(true),
        CountRange { min, max: Some(max) } if min > max => Some(false),
        _ => None,
    }
}

fn constant(truth: bool) -> &'static str {
    if truth { "(1 = 1)" } else { "(1 = 0)" }
}

/// Joins parts with a word, in groups so that no expression grows too deep.
fn side_by_side(mut texts: Vec<String>, word: &str) -> String {
    let between = format!(" {word} ");
    while texts.len() > MAX_SIDE_BY_SIDE {
        let groups = texts.chunks(MAX_SIDE_BY_SIDE);
        texts = groups.map(|group| format!("({})", group.join(&between))).collect();
    }
    format!("({})", texts.join(&between))
}
