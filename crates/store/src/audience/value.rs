//! Tests on columns, whose kind is known, and on texts wherever they come from.

use tidings_domain::rule::calendar::{self, MonthDays};
use tidings_domain::rule::{BoundTest, Comparison, Pattern, Piece};
use tidings_domain::value::Value;

use super::Writer;
use crate::sql::{Dialect, Param};

/// Lists up to this length are given value by value. Longer ones are one parameter, so that the
/// largest rule stays far from the number of parameters that a statement may have.
pub(super) const SHORT_LIST: usize = 4;

pub(super) fn sign(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Eq => "=",
        Comparison::Ne => "<>",
        Comparison::Gt => ">",
        Comparison::Gte => ">=",
        Comparison::Lt => "<",
        Comparison::Lte => "<=",
    }
}

impl Writer<'_> {
    /// A test on a column; null where the value is missing.
    pub(super) fn value_test(&mut self, column: &str, test: &BoundTest) -> String {
        match test {
            BoundTest::Exists => format!("{column} is not null"),
            BoundTest::Compare(comparison, value) => {
                format!("{column} {} {}", sign(*comparison), self.param(value.clone()))
            }
            BoundTest::In(list) => self.value_in(column, list),
            BoundTest::Contains(part) => self.contains(column, part),
            BoundTest::StartsWith(part) => self.starts_with(column, part),
            BoundTest::EndsWith(part) => self.ends_with(column, part),
            BoundTest::Matches(pattern) => self.matches(column, pattern),
            BoundTest::Has(item) => {
                let item = self.param(item);
                match self.dialect {
                    Dialect::Sqlite => {
                        format!(
                            "exists (select 1 from json_each({column}) j where j.value = {item})"
                        )
                    }
                    Dialect::Postgres => format!("cast({item} as text) = any({column})"),
                }
            }
            BoundTest::Within(period) => {
                let from = self.param(self.now.0.saturating_sub(period.micros()));
                let now = self.param(self.now);
                format!("({column} > {from} and {column} <= {now})")
            }
            BoundTest::WithinDays(days) => {
                let today = self.zone.today(self.now);
                let before = calendar::plus_days(today, -days);
                let from = self.param(before.map_or_else(String::new, |date| date.to_string()));
                let today = self.param(today.to_string());
                format!("({column} > {from} and {column} <= {today})")
            }
            BoundTest::AnniversaryWithin(days) => self.anniversary(column, *days),
        }
    }

    fn anniversary(&mut self, column: &str, days: i32) -> String {
        match calendar::month_days(self.zone.today(self.now), days) {
            MonthDays::All => format!("{column} is not null"),
            MonthDays::Run { first, last, leap_day } => {
                // A run over the turn of the year is what lies at either end of it.
                let word = if first <= last { "and" } else { "or" };
                let day = format!("substr({column}, 6, 5)");
                let (first, last) = (self.param(first), self.param(last));
                let leap_day =
                    if leap_day { format!(" or {day} = '02-29'") } else { String::new() };
                format!("(({day} >= {first} {word} {day} <= {last}){leap_day})")
            }
        }
    }

    fn value_in(&mut self, column: &str, list: &[Value]) -> String {
        if list.len() <= SHORT_LIST {
            let marks: Vec<String> = list.iter().map(|value| self.param(value.clone())).collect();
            return format!("{column} in ({})", marks.join(", "));
        }
        let integers = matches!(list[0], Value::Integer(_));
        let texts = list.iter().map(|value| match value {
            Value::Text(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            // Both truths fit the short list, and lists are not compared as wholes.
            Value::Boolean(_) | Value::List(_) => String::new(),
        });
        let texts = texts.collect();
        if integers {
            self.in_list(column, texts, "integer", "bigint")
        } else {
            self.in_texts(column, texts)
        }
    }

    /// Membership in a long list of texts.
    pub(super) fn in_texts(&mut self, column: &str, texts: Vec<String>) -> String {
        let list = self.param(Param::List(texts));
        match self.dialect {
            Dialect::Sqlite => format!("{column} in (select j.value from json_each({list}) j)"),
            Dialect::Postgres => format!("{column} = any(cast({list} as text[]))"),
        }
    }

    /// Membership in a long list of numbers, given as texts and cast by the engine.
    pub(super) fn in_list(
        &mut self,
        column: &str,
        texts: Vec<String>,
        sqlite_type: &str,
        postgres_type: &str,
    ) -> String {
        let list = self.param(Param::List(texts));
        match self.dialect {
            Dialect::Sqlite => format!(
                "{column} in (select cast(j.value as {sqlite_type}) from json_each({list}) j)"
            ),
            Dialect::Postgres => {
                format!("{column} = any(cast(cast({list} as text[]) as {postgres_type}[]))")
            }
        }
    }

    pub(super) fn contains(&mut self, text: &str, part: &str) -> String {
        let part = self.param(part);
        match self.dialect {
            Dialect::Sqlite => format!("instr({text}, {part}) > 0"),
            Dialect::Postgres => format!("strpos({text}, {part}) > 0"),
        }
    }

    pub(super) fn starts_with(&mut self, text: &str, part: &str) -> String {
        let length = part.chars().count();
        format!("substr({text}, 1, {length}) = {}", self.param(part))
    }

    pub(super) fn ends_with(&mut self, text: &str, part: &str) -> String {
        let length = part.chars().count();
        let part = self.param(part);
        match self.dialect {
            Dialect::Sqlite => format!("substr({text}, -{length}) = {part}"),
            Dialect::Postgres => format!("right({text}, {length}) = {part}"),
        }
    }

    pub(super) fn matches(&mut self, text: &str, pattern: &Pattern) -> String {
        match self.dialect {
            Dialect::Sqlite => format!("{text} glob {}", self.param(glob(pattern))),
            Dialect::Postgres => format!("{text} like {}", self.param(like(pattern))),
        }
    }
}

/// A pattern for `GLOB`, which knows `*`, `?` and classes in brackets.
fn glob(pattern: &Pattern) -> String {
    let mut text = String::new();
    for piece in pattern.pieces() {
        match piece {
            Piece::Many => text.push('*'),
            Piece::One => text.push('?'),
            Piece::Literal(c @ ('*' | '?' | '[')) => text.extend(['[', *c, ']']),
            Piece::Literal(c) => text.push(*c),
        }
    }
    text
}

/// A pattern for `LIKE`, which knows `%`, `_` and the backslash.
fn like(pattern: &Pattern) -> String {
    let mut text = String::new();
    for piece in pattern.pieces() {
        match piece {
            Piece::Many => text.push('%'),
            Piece::One => text.push('_'),
            Piece::Literal(c @ ('%' | '_' | '\\')) => text.extend(['\\', *c]),
            Piece::Literal(c) => text.push(*c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_spelled_for_each_engine() {
        for (source, for_glob, for_like) in [
            ("a*b?c", "a*b?c", "a%b_c"),
            ("50%_[x]", "50%_[[]x]", "50\\%\\_[x]"),
            ("\\*\\?\\\\", "[*][?]\\", "*?\\\\"),
        ] {
            let pattern = Pattern::parse(source).unwrap();
            assert_eq!((glob(&pattern).as_str(), like(&pattern).as_str()), (for_glob, for_like));
        }
    }
}
