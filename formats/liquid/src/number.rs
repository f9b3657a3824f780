//! Numbers as Liquid sees them: what text counts as a number, exact decimal sums, Ruby's way of
//! printing floats.

use std::fmt::Write;

use crate::value::Value;

/// A value read as a number. `Float` stands for anything with a decimal point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(number) => number as f64,
            Number::Float(number) => number,
        }
    }

    pub fn is_zero(self) -> bool {
        self.as_f64() == 0.0
    }
}

impl From<Number> for Value {
    fn from(number: Number) -> Value {
        match number {
            Number::Int(number) => Value::Int(number),
            Number::Float(number) => Value::Float(number),
        }
    }
}

/// Numbers are themselves, text counts when it starts with one, everything else is 0.
pub(crate) fn to_number(value: &Value) -> Number {
    match value {
        Value::Int(number) => Number::Int(*number),
        Value::Float(number) => Number::Float(*number),
        Value::Text(text) => text_to_number(text.as_str()),
        _ => Number::Int(0),
    }
}

fn text_to_number(text: &str) -> Number {
    let text = text.trim();
    if is_decimal(text)
        && let Ok(number) = text.parse::<f64>()
    {
        return Number::Float(number);
    }
    Number::Int(leading_integer(text))
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let Some((whole, fraction)) = digits.split_once('.') else { return false };
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    all_digits(whole) && all_digits(fraction)
}

/// The integer a text starts with, 0 when it starts with none.
pub(crate) fn leading_integer(text: &str) -> i64 {
    let text = text.trim_start();
    let signed = usize::from(text.starts_with(['-', '+']));
    let digits = text[signed..].bytes().take_while(u8::is_ascii_digit).count();
    let number = &text[..signed + digits];
    number.parse().unwrap_or(match digits {
        0 => 0,
        _ if number.starts_with('-') => i64::MIN,
        _ => i64::MAX,
    })
}

/// A whole number given as an argument. Floats and other text are refused, as Shopify does.
pub(crate) fn to_integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Text(text) => text.as_str().trim().parse().ok(),
        _ => None,
    }
}

/// An end of a range: text and floats are cut to whole numbers, nil is 0.
pub(crate) fn range_end(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Float(number) => Some(*number as i64),
        Value::Text(text) => Some(leading_integer(text.as_str())),
        Value::Nil => Some(0),
        _ => None,
    }
}

/// A decimal number `digits * 10^-scale`, so that 0.1 + 0.2 is 0.3.
#[derive(Debug, Clone, Copy)]
struct Decimal {
    digits: i128,
    scale: u32,
}

const MAX_SCALE: u32 = 30;
const MAX_SHORT_SCALE: u32 = 4;
/// Below this, floats hold every whole number.
const EXACT_WHOLE: f64 = 9_007_199_254_740_992.0;
/// Floats hold these exactly.
const POWERS_OF_TEN: [f64; 9] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];

impl Decimal {
    fn from_number(number: Number) -> Option<Decimal> {
        match number {
            Number::Int(number) => Some(Decimal { digits: i128::from(number), scale: 0 }),
            Number::Float(number) => {
                Decimal::from_short(number).or_else(|| Decimal::from_printed(number))
            }
        }
    }

    /// Floats of a few decimals, which prices are. A quotient of two whole numbers that floats
    /// hold exactly is the float nearest to that decimal, so equality proves the digits.
    fn from_short(number: f64) -> Option<Decimal> {
        for (scale, unit) in (0..=MAX_SHORT_SCALE).zip(POWERS_OF_TEN) {
            let digits = (number * unit).round();
            if digits.abs() >= EXACT_WHOLE {
                return None;
            }
            if digits / unit == number {
                return Some(Decimal { digits: digits as i128, scale });
            }
        }
        None
    }

    fn from_printed(number: f64) -> Option<Decimal> {
        // Display prints the shortest digits that read back as the same float.
        let printed = format!("{number}");
        let (whole, fraction) = printed.split_once('.').unwrap_or((&printed, ""));
        let scale = u32::try_from(fraction.len()).ok().filter(|s| *s <= MAX_SCALE)?;
        let digits = format!("{whole}{fraction}").parse().ok()?;
        Some(Decimal { digits, scale })
    }

    fn at_scale(self, scale: u32) -> Option<i128> {
        self.digits.checked_mul(10_i128.checked_pow(scale.checked_sub(self.scale)?)?)
    }

    fn to_f64(self) -> Option<f64> {
        let unit = POWERS_OF_TEN.get(self.scale as usize);
        match unit {
            Some(unit) if self.digits.unsigned_abs() < EXACT_WHOLE as u128 => {
                Some(self.digits as f64 / unit)
            }
            _ => format!("{}e-{}", self.digits, self.scale).parse().ok(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Operation {
    Plus,
    Minus,
    Times,
    Modulo,
}

/// Whole numbers stay whole; a result outside 64 bits becomes a float. The caller has refused a
/// modulo by zero.
pub(crate) fn calculate(operation: Operation, a: Number, b: Number) -> Number {
    if let (Number::Int(a), Number::Int(b)) = (a, b) {
        let whole = match operation {
            Operation::Plus => a.checked_add(b),
            Operation::Minus => a.checked_sub(b),
            Operation::Times => a.checked_mul(b),
            Operation::Modulo => i64::try_from(floored_modulo(a.into(), b.into())).ok(),
        };
        if let Some(whole) = whole {
            return Number::Int(whole);
        }
    }
    Number::Float(exact(operation, a, b).unwrap_or_else(|| {
        let (a, b) = (a.as_f64(), b.as_f64());
        match operation {
            Operation::Plus => a + b,
            Operation::Minus => a - b,
            Operation::Times => a * b,
            Operation::Modulo => a - b * (a / b).floor(),
        }
    }))
}

fn exact(operation: Operation, a: Number, b: Number) -> Option<f64> {
    let (a, b) = (Decimal::from_number(a)?, Decimal::from_number(b)?);
    if operation == Operation::Times {
        let digits = a.digits.checked_mul(b.digits)?;
        return Decimal { digits, scale: a.scale + b.scale }.to_f64();
    }
    let scale = a.scale.max(b.scale);
    let (a, b) = (a.at_scale(scale)?, b.at_scale(scale)?);
    let digits = match operation {
        Operation::Plus => a.checked_add(b)?,
        Operation::Minus => a.checked_sub(b)?,
        _ => floored_modulo(a, b),
    };
    Decimal { digits, scale }.to_f64()
}

fn floored_modulo(a: i128, b: i128) -> i128 {
    let rest = a % b;
    if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }
}

/// Whole numbers divide towards minus infinity. `None` for a zero divisor.
pub(crate) fn divide(a: Number, b: Number) -> Option<Number> {
    if b.is_zero() {
        return None;
    }
    if let (Number::Int(a), Number::Int(b)) = (a, b)
        && let Some(quotient) = a.checked_div(b)
    {
        let inexact = a % b != 0 && (a < 0) != (b < 0);
        return Some(Number::Int(if inexact { quotient - 1 } else { quotient }));
    }
    Some(Number::Float(a.as_f64() / b.as_f64()))
}

/// Rounds half away from zero to `places` decimals (negative places round to tens, hundreds, …).
pub(crate) fn round(number: Number, places: i64) -> Number {
    match number {
        Number::Int(whole) if places >= 0 => Number::Int(whole),
        Number::Int(whole) => {
            let rounded = round_digits(i128::from(whole), places.unsigned_abs());
            i64::try_from(rounded).map_or(number, Number::Int)
        }
        Number::Float(float) => {
            let Some(decimal) = Decimal::from_number(number) else {
                return whole_when_asked(float.round(), places);
            };
            if places >= i64::from(decimal.scale) {
                return whole_when_asked(float, places);
            }
            let dropped = i64::from(decimal.scale).saturating_sub(places).unsigned_abs();
            let digits = round_digits(decimal.digits, dropped);
            let rounded = Decimal { digits, scale: decimal.scale }.to_f64().unwrap_or(float);
            whole_when_asked(rounded, places)
        }
    }
}

fn whole_when_asked(float: f64, places: i64) -> Number {
    if places <= 0 && float.is_finite() && float.abs() < 9.2e18 {
        return Number::Int(float as i64);
    }
    Number::Float(float)
}

fn round_digits(digits: i128, dropped: u64) -> i128 {
    let Some(unit) = u32::try_from(dropped).ok().and_then(|n| 10_i128.checked_pow(n)) else {
        return 0;
    };
    let half = if digits < 0 { -(unit / 2) } else { unit / 2 };
    (digits + half) / unit * unit
}

pub(crate) fn write_int(number: i64, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{number}");
}

/// As Ruby prints floats: `1.0`, `0.5`, and `1.0e+16` outside 1e-4..1e16.
pub(crate) fn write_float(number: f64, out: &mut String) {
    let size = number.abs();
    let written = if number.is_nan() {
        write!(out, "NaN")
    } else if number.is_infinite() {
        write!(out, "{}", if number > 0.0 { "Infinity" } else { "-Infinity" })
    } else if size == 0.0 || (1e-4..1e16).contains(&size) {
        write!(out, "{number:?}")
    } else {
        let printed = format!("{number:e}");
        let (digits, exponent) = printed.split_once('e').unwrap_or((&printed, "0"));
        let point = if digits.contains('.') { "" } else { ".0" };
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        write!(out, "{digits}{point}e{sign}{exponent:0>2}")
    };
    debug_assert!(written.is_ok());
}
