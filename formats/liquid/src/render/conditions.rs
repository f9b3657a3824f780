//! `if`, `unless`, `case`, and how values compare.

use super::{Flow, Renderer, Run, failed};
use crate::ast::{Block, Comparison, Condition, Expression, Join, Offset, Test, WhenBranch};
use crate::shown::write_as_text;
use crate::value::{Value, range_len};

impl Renderer<'_> {
    pub(super) fn if_tag(
        &mut self,
        at: Offset,
        branches: &[(Option<Condition>, Block)],
    ) -> Run<Flow> {
        for (condition, body) in branches {
            let holds = match condition {
                Some(condition) => self.holds(condition)?,
                None => true,
            };
            if holds {
                return self.inner_block(at, body);
            }
        }
        Ok(Flow::Next)
    }

    /// `and` and `or` have one rank and are read from the right.
    fn holds(&mut self, condition: &Condition) -> Run<bool> {
        self.charge(condition.tests[0].at, condition.joins.len() as u64)?;
        // `a and rest` is decided by a when a is false, `a or rest` when a is true.
        for (test, join) in condition.tests.iter().zip(&condition.joins) {
            let result = self.test(test)?;
            if result == (*join == Join::Or) {
                return Ok(result != condition.negated);
            }
        }
        let last = &condition.tests[condition.tests.len() - 1];
        Ok(self.test(last)? != condition.negated)
    }

    fn test(&self, test: &Test) -> Run<bool> {
        let left = self.value(&test.left)?;
        let Some((comparison, right)) = &test.comparison else { return Ok(left.is_truthy()) };
        let right = self.value(right)?;
        match compare(&left, *comparison, &right) {
            Ok(result) => Ok(result),
            Err(message) => failed(test.at, message),
        }
    }

    pub(super) fn case(
        &mut self,
        at: Offset,
        subject: &Expression,
        branches: &[WhenBranch],
    ) -> Run<Flow> {
        let subject = self.value(subject)?.into_owned();
        let mut matched = false;
        for branch in branches {
            match branch {
                WhenBranch::Else(body) if !matched => {
                    let flow = self.inner_block(at, body)?;
                    if flow != Flow::Next {
                        return Ok(flow);
                    }
                }
                WhenBranch::Else(_) => {}
                WhenBranch::When(values, body) => {
                    for value in values {
                        if !self.value(value)?.equals(&subject) {
                            continue;
                        }
                        matched = true;
                        let flow = self.inner_block(at, body)?;
                        if flow != Flow::Next {
                            return Ok(flow);
                        }
                    }
                }
            }
        }
        Ok(Flow::Next)
    }
}

fn compare(left: &Value, comparison: Comparison, right: &Value) -> Result<bool, String> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let accepted: &[_] = match comparison {
        Comparison::Equal => return Ok(left.equals(right)),
        Comparison::NotEqual => return Ok(!left.equals(right)),
        Comparison::Contains => return Ok(contains(left, right)),
        Comparison::Less => &[Less],
        Comparison::LessOrEqual => &[Less, Equal],
        Comparison::Greater => &[Greater],
        Comparison::GreaterOrEqual => &[Greater, Equal],
    };
    let order = match (left, right) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Float(b)) => (*a as f64).partial_cmp(b),
        (Value::Float(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Text(a), Value::Text(b)) => Some(a.as_str().cmp(b.as_str())),
        (Value::Text(_) | Value::Int(_) | Value::Float(_), Value::Text(_) | Value::Int(_))
        | (Value::Text(_), Value::Float(_)) => {
            return Err(format!("cannot compare {} with {}", left.kind(), right.kind()));
        }
        // Values without an order are neither less nor more than anything.
        _ => None,
    };
    Ok(order.is_some_and(|order| accepted.contains(&order)))
}

fn contains(left: &Value, right: &Value) -> bool {
    if !right.is_truthy() {
        return false;
    }
    match left {
        Value::Text(text) => match right {
            Value::Text(part) => text.as_str().contains(part.as_str()),
            other => {
                let mut part = String::new();
                write_as_text(other, &mut part, text.as_str().len())
                    && text.as_str().contains(&part)
            }
        },
        Value::Array(items) => items.iter().any(|item| item.equals(right)),
        Value::Object(object) => right.as_str().is_some_and(|name| object.get(name).is_some()),
        Value::Range(start, end) => match right {
            Value::Int(number) => range_len(*start, *end) > 0 && (start..=end).contains(&number),
            _ => false,
        },
        _ => false,
    }
}
