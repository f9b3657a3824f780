//! Conditions on the customer's records in a table, and what they come to.

use tidings_domain::rule::{AVERAGE_UNIT, BoundAggregate, BoundTable, Comparison, Field, Function};
use tidings_domain::value::Value;

use super::value::sign;
use super::{Rows, Writer, certain, constant, side_by_side};
use crate::sql::{Dialect, quoted};

impl Writer<'_> {
    pub(super) fn table(&mut self, rule: &BoundTable, in_conjunction: bool) -> String {
        if let BoundAggregate::Count(range) = rule.aggregate
            && let Some(truth) = certain(range)
        {
            return constant(truth).to_owned();
        }
        let mut filters = Vec::with_capacity(rule.filters.len());
        for filter in &rule.filters {
            filters.push(self.value_test(&column(&filter.field), &filter.test));
        }
        let filter = if filters.is_empty() {
            constant(true).to_owned()
        } else {
            side_by_side(filters, "and")
        };
        let table = quoted(&rule.physical);
        let mut rows = Rows { table: &table, alias: "r", filter, having: None };
        match &rule.aggregate {
            BoundAggregate::Count(range) => self.counted(rows, *range, in_conjunction),
            BoundAggregate::Of { function, field, bounds } => {
                let column = column(field);
                let bounds = bounds.iter();
                let texts = bounds.map(|(c, bound)| self.bound(*function, &column, *c, bound));
                rows.having = Some(side_by_side(texts.collect(), "and"));
                self.some(&rows, in_conjunction)
            }
        }
    }

    /// A bound on a function of a column; null where no record has a value.
    fn bound(
        &mut self,
        function: Function,
        column: &str,
        comparison: Comparison,
        bound: &Value,
    ) -> String {
        let sign = sign(comparison);
        let number = match bound {
            Value::Integer(number) => *number,
            _ => 0,
        };
        match (function, self.dialect) {
            (Function::Min | Function::Max, _) => {
                format!("{}({column}) {sign} {}", function.name(), self.param(bound.clone()))
            }
            (Function::Sum, Dialect::Postgres) => format!("sum({column}) {sign} {number}"),
            (Function::Avg, Dialect::Postgres) => format!(
                "sum({column}) * {AVERAGE_UNIT} {sign} cast({number} as numeric) * count({column})"
            ),
            (Function::Sum, Dialect::Sqlite) => halves(column, 1, number, "1", sign),
            (Function::Avg, Dialect::Sqlite) => {
                halves(column, AVERAGE_UNIT, number, &format!("count({column})"), sign)
            }
        }
    }
}

fn column(field: &Field) -> String {
    format!("r.{}", quoted(&field.column))
}

/// `sum * unit` against `bound * times` on SQLite, whose `sum` fails beyond 64 bits: upper and
/// lower halves are summed on their own, subtracted, and the lower one's carry is added to the
/// upper. Shifts keep the sign, so this holds for negative numbers too.
fn halves(column: &str, unit: i64, bound: i64, times: &str, sign: &str) -> String {
    let (upper, lower) = (bound >> 32, bound & 0xffff_ffff);
    let upper = format!("(sum({column} >> 32) * {unit} - ({upper}) * {times})");
    let lower = format!("(sum({column} & 4294967295) * {unit} - {lower} * {times})");
    format!("({upper} + ({lower} >> 32), {lower} & 4294967295) {sign} (0, 0)")
}
