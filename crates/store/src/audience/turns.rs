//! When the clock could first change what a rule says of each customer, as SQL over a slice of the
//! base.
//!
//! The times here are never too late, but may be too early: they are when the first of the rule's
//! conditions may turn, whether or not the whole rule turns with it. Whoever is judged at that time
//! gets an exact one. Tests that turn at midnight are left out, because the whole segment is
//! evaluated anew then.

use tidings_domain::Timestamp;
use tidings_domain::rule::{Bound, BoundEvent, BoundRule, BoundTable, BoundTest, Period};

use super::{Writer, certain, side_by_side};
use crate::sql::{Dialect, Param, quoted};

/// A range of system ids on SQLite, of buckets on PostgreSQL; the upper end is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    pub low: i64,
    pub high: i64,
}

impl Slice {
    /// That rows of a table which hang on customers belong to this slice.
    pub fn of_owned(self, alias: &str, dialect: Dialect, params: &mut Vec<Param>) -> String {
        params.extend([self.low.into(), self.high.into()]);
        let (low, high) = (params.len() - 1, params.len());
        match dialect {
            Dialect::Sqlite => format!(
                "{alias}.customer_id in (select s.id from {{s}}customers s \
                 where s.system_id >= ?{low} and s.system_id < ?{high})"
            ),
            Dialect::Postgres => {
                format!("{alias}.bucket >= ?{low} and {alias}.bucket < ?{high}")
            }
        }
    }

    /// That customers belong to it.
    pub fn of_customers(self, alias: &str, dialect: Dialect, params: &mut Vec<Param>) -> String {
        params.extend([self.low.into(), self.high.into()]);
        let (low, high) = (params.len() - 1, params.len());
        let by = match dialect {
            Dialect::Sqlite => "system_id",
            Dialect::Postgres => "bucket",
        };
        format!("{alias}.{by} >= ?{low} and {alias}.{by} < ?{high}")
    }
}

/// So many conditions go into one statement; SQLite joins at most 500 selects.
const AT_ONCE: usize = 100;

/// Statements with their parameters, each giving rows of bucket, customer_id and at: the times after
/// now at which a condition may turn, several a customer. None where no condition reads the clock
/// but at midnight. The parameters `first` stand before those of every statement.
pub fn turns(
    rule: &BoundRule,
    dialect: Dialect,
    now: Timestamp,
    slice: Slice,
    first: &[Param],
) -> Vec<(String, Vec<Param>)> {
    let mut turning = Turning {
        rule,
        dialect,
        now,
        slice,
        first,
        texts: Vec::new(),
        params: first.to_vec(),
        done: Vec::new(),
    };
    turning.part(&rule.root);
    turning.finish();
    turning.done
}

struct Turning<'a> {
    rule: &'a BoundRule,
    dialect: Dialect,
    now: Timestamp,
    slice: Slice,
    first: &'a [Param],
    texts: Vec<String>,
    params: Vec<Param>,
    done: Vec<(String, Vec<Param>)>,
}

impl Turning<'_> {
    fn writer(&mut self) -> Writer<'_> {
        Writer {
            dialect: self.dialect,
            schema: "{s}",
            now: self.now,
            zone: self.rule.zone(),
            params: &mut self.params,
            joins: 0,
        }
    }

    fn add(&mut self, text: String) {
        self.texts.push(text);
        if self.texts.len() == AT_ONCE {
            self.finish();
        }
    }

    fn finish(&mut self) {
        let params = std::mem::replace(&mut self.params, self.first.to_vec());
        if !self.texts.is_empty() {
            self.done.push((self.texts.join(" union all "), params));
            self.texts.clear();
        }
    }

    fn part(&mut self, bound: &Bound) {
        match bound {
            Bound::All(parts) | Bound::Any(parts) => parts.iter().for_each(|part| self.part(part)),
            Bound::Not(part) => self.part(part),
            Bound::Attribute { column, test: BoundTest::Within(period) } => {
                let slice = self.slice.of_customers("c", self.dialect, &mut self.params);
                let column = format!("c.{}", quoted(column.name()));
                let (at, after) = self.passing(&column, *period);
                self.add(format!(
                    "select c.bucket, c.id as customer_id, {at} as at from {{s}}customers c \
                     where {slice} and {after}"
                ));
            }
            Bound::Tag(tag) => {
                let slice = self.slice.of_owned("g", self.dialect, &mut self.params);
                let (at, mut writer) = (self.now, self.writer());
                let (tag, now) = (writer.param(tag), writer.param(at));
                self.add(format!(
                    "select g.bucket, g.customer_id, g.until as at from {{s}}tags g \
                     where {slice} and g.tag = {tag} and g.until > {now}"
                ));
            }
            Bound::Event(rule) => self.event(rule),
            Bound::Table(rule) => self.table(rule),
            Bound::Attribute { .. }
            | Bound::Constant(_)
            | Bound::Group(_)
            | Bound::Segment(_)
            | Bound::Consent { .. } => {}
        }
    }

    /// When a time next comes into a window that ends now, or falls out of it, and that it does.
    fn passing(&mut self, column: &str, period: Period) -> (String, String) {
        let micros = period.micros();
        let (at, mut writer) = (self.now, self.writer());
        let now = writer.param(at);
        let from = writer.param(at.0.saturating_sub(micros));
        let at = format!("case when {column} > {now} then {column} else {column} + {micros} end");
        (at, format!("{column} > {from}"))
    }

    fn event(&mut self, rule: &BoundEvent) {
        let Some(window) = rule.span.within.filter(|_| certain(rule.count).is_none()) else {
            return;
        };
        let slice = self.slice.of_owned("e", self.dialect, &mut self.params);
        // On SQLite the sign keeps the index by name out of it: every slice would read the whole of
        // that name's events by it, and by the key it reads those of its own customers.
        let name = match self.dialect {
            Dialect::Sqlite => "+e.name",
            Dialect::Postgres => "e.name",
        };
        let (at, after) = self.passing("e.at", window);
        let mut writer = self.writer();
        let mut filters = vec![slice, format!("{name} = {}", writer.param(rule.name)), after];
        writer.event_filters(rule, &mut filters);
        let filter = side_by_side(filters, "and");
        self.add(format!(
            "select e.bucket, e.customer_id, {at} as at from {{s}}events e where {filter}"
        ));
    }

    fn table(&mut self, rule: &BoundTable) {
        for filter in &rule.filters {
            let BoundTest::Within(period) = filter.test else { continue };
            let slice = self.slice.of_owned("r", self.dialect, &mut self.params);
            let column = format!("r.{}", quoted(&filter.field.column));
            let (at, after) = self.passing(&column, period);
            self.add(format!(
                "select r.bucket, r.customer_id, {at} as at from {{s}}{} r \
                 where {slice} and {after}",
                quoted(&rule.physical)
            ));
        }
    }
}
