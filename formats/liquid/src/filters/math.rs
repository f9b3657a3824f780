//! Sums. Text counts as the number it starts with, everything else as 0.

use super::{Call, Filtered};
use crate::number::{self, Number, Operation, calculate, to_number};
use crate::value::Value;

fn operand(call: &Call<'_, '_>) -> Number {
    call.argument(0).map_or(Number::Int(0), to_number)
}

pub(super) fn abs(input: Value, _: &mut Call<'_, '_>) -> Filtered {
    Ok(match to_number(&input) {
        Number::Int(number) => Value::Int(number.saturating_abs()),
        Number::Float(number) => Value::Float(number.abs()),
    })
}

pub(super) fn plus(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    Ok(calculate(Operation::Plus, to_number(&input), operand(call)).into())
}

pub(super) fn minus(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    Ok(calculate(Operation::Minus, to_number(&input), operand(call)).into())
}

pub(super) fn times(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    Ok(calculate(Operation::Times, to_number(&input), operand(call)).into())
}

pub(super) fn divided_by(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    match number::divide(to_number(&input), operand(call)) {
        Some(quotient) => Ok(quotient.into()),
        None => Err("divided by 0".into()),
    }
}

pub(super) fn modulo(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let divisor = operand(call);
    if divisor.is_zero() {
        return Err("divided by 0".into());
    }
    Ok(calculate(Operation::Modulo, to_number(&input), divisor).into())
}

pub(super) fn round(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let places = match operand(call) {
        Number::Int(places) => places,
        Number::Float(places) => places as i64,
    };
    Ok(number::round(to_number(&input), places).into())
}

pub(super) fn ceil(input: Value, _: &mut Call<'_, '_>) -> Filtered {
    whole(&input, f64::ceil)
}

pub(super) fn floor(input: Value, _: &mut Call<'_, '_>) -> Filtered {
    whole(&input, f64::floor)
}

fn whole(input: &Value, cut: fn(f64) -> f64) -> Filtered {
    match to_number(input) {
        Number::Int(number) => Ok(Value::Int(number)),
        Number::Float(number) if number.is_finite() => Ok(Value::Int(cut(number) as i64)),
        Number::Float(_) => Err("not a finite number".into()),
    }
}

pub(super) fn at_least(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let (number, bound) = (to_number(&input), operand(call));
    Ok(if bound.as_f64() > number.as_f64() { bound } else { number }.into())
}

pub(super) fn at_most(input: Value, call: &mut Call<'_, '_>) -> Filtered {
    let (number, bound) = (to_number(&input), operand(call));
    Ok(if bound.as_f64() < number.as_f64() { bound } else { number }.into())
}
