//! Typed values of attributes and fields, and how they are read from text and JSON.

use serde_json::Value as Json;

use crate::Timestamp;
use crate::checked;

/// What an attribute of a customer or a field of a record holds.
///
/// E-mail, phone, country and language are texts that passed a check; money is a decimal with a
/// fixed currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Integer,
    /// A number with `scale` digits after the point, kept as a scaled integer.
    Decimal {
        scale: u8,
    },
    Boolean,
    Date,
    Timestamp,
    List,
    Email,
    Phone,
    Country,
    Language,
    /// An amount in `currency` (ISO 4217), kept in units of 10^-scale.
    Money {
        currency: String,
        scale: u8,
    },
}

/// How a kind is kept: the column types that the store knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    Text,
    Integer,
    Boolean,
    List,
}

/// The longest text kept in one attribute, in bytes.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;
/// The largest scale of a decimal.
pub const MAX_SCALE: u8 = 9;
const MAX_LIST_ITEMS: usize = 1_000;

/// A value of an attribute or field. `None` in an `Option<Value>` is a missing value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Text, and the checked kinds; dates too, as `YYYY-MM-DD`, whose byte order is time order.
    Text(String),
    /// Integers, scaled decimals and times in microseconds.
    Integer(i64),
    Boolean(bool),
    List(Vec<String>),
}

impl Kind {
    /// The name used in the API and the console.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Integer => "integer",
            Kind::Decimal { .. } => "decimal",
            Kind::Boolean => "boolean",
            Kind::Date => "date",
            Kind::Timestamp => "timestamp",
            Kind::List => "list",
            Kind::Email => "email",
            Kind::Phone => "phone",
            Kind::Country => "country",
            Kind::Language => "language",
            Kind::Money { .. } => "money",
        }
    }

    /// A kind from its name and parameters; scale is 2 unless said.
    pub fn from_parts(
        name: &str,
        scale: Option<u8>,
        currency: Option<&str>,
    ) -> Result<Kind, String> {
        let scale = scale.unwrap_or(2);
        if scale > MAX_SCALE {
            return Err(format!("scale must be 0 to {MAX_SCALE}"));
        }
        Ok(match name {
            "text" => Kind::Text,
            "integer" => Kind::Integer,
            "decimal" => Kind::Decimal { scale },
            "boolean" => Kind::Boolean,
            "date" => Kind::Date,
            "timestamp" => Kind::Timestamp,
            "list" => Kind::List,
            "email" => Kind::Email,
            "phone" => Kind::Phone,
            "country" => Kind::Country,
            "language" => Kind::Language,
            "money" => {
                let currency = currency.unwrap_or("EUR").to_ascii_uppercase();
                if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
                    return Err("currency must be three letters, such as EUR".to_owned());
                }
                Kind::Money { currency, scale }
            }
            other => return Err(format!("unknown kind {other}")),
        })
    }

    pub fn scale(&self) -> Option<u8> {
        match self {
            Kind::Decimal { scale } | Kind::Money { scale, .. } => Some(*scale),
            _ => None,
        }
    }

    pub fn currency(&self) -> Option<&str> {
        match self {
            Kind::Money { currency, .. } => Some(currency),
            _ => None,
        }
    }

    pub fn storage(&self) -> Storage {
        match self {
            Kind::Integer | Kind::Decimal { .. } | Kind::Money { .. } | Kind::Timestamp => {
                Storage::Integer
            }
            Kind::Boolean => Storage::Boolean,
            Kind::List => Storage::List,
            _ => Storage::Text,
        }
    }

    /// Reads a value from text, as in a CSV cell. Blank text is a missing value.
    pub fn parse_text(&self, text: &str) -> Result<Option<Value>, String> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Ok(None);
        }
        let value = match self {
            Kind::Text => Value::Text(checked_text(text)?),
            Kind::Integer => Value::Integer(parse_integer(trimmed)?),
            Kind::Decimal { scale } | Kind::Money { scale, .. } => {
                Value::Integer(parse_decimal(trimmed, *scale)?)
            }
            Kind::Boolean => Value::Boolean(parse_boolean(trimmed)?),
            Kind::Date => Value::Text(parse_date(trimmed)?),
            Kind::Timestamp => Value::Integer(trimmed.parse::<Timestamp>()?.0),
            Kind::List => {
                let items = trimmed.split([',', ';', '|']).map(str::trim);
                checked_list(items.filter(|item| !item.is_empty()).map(str::to_owned).collect())?
            }
            Kind::Email => Value::Text(checked::email(trimmed)?),
            Kind::Phone => Value::Text(checked::phone(trimmed, None)?),
            Kind::Country => Value::Text(checked::country(trimmed)?),
            Kind::Language => Value::Text(checked::language(trimmed)?),
        };
        Ok(Some(value))
    }

    /// Reads a value from JSON. Null is a missing value; numbers may be given as text.
    pub fn parse_json(&self, json: &Json) -> Result<Option<Value>, String> {
        match (self, json) {
            (_, Json::Null) => Ok(None),
            (Kind::List, Json::Array(items)) => {
                let mut texts = Vec::with_capacity(items.len());
                for item in items {
                    match item {
                        Json::String(text) => texts.push(text.clone()),
                        Json::Number(number) => texts.push(number.to_string()),
                        _ => return Err("expected a list of texts".to_owned()),
                    }
                }
                checked_list(texts).map(Some)
            }
            (Kind::Boolean, Json::Bool(flag)) => Ok(Some(Value::Boolean(*flag))),
            (_, Json::Bool(_) | Json::Array(_) | Json::Object(_)) => {
                Err(format!("expected {}", self.expected()))
            }
            (Kind::Text, Json::String(text)) => checked_text(text).map(|t| Some(Value::Text(t))),
            (_, Json::String(text)) => self.parse_text(text),
            (Kind::Boolean | Kind::Date | Kind::Timestamp | Kind::List, Json::Number(_)) => {
                Err(format!("expected {}", self.expected()))
            }
            (_, Json::Number(number)) => self.parse_text(&number.to_string()),
        }
    }

    /// The value as JSON: decimals as text so that no digit is lost.
    pub fn to_json(&self, value: &Value) -> Json {
        match (self, value) {
            (Kind::Timestamp, Value::Integer(us)) => Json::String(Timestamp(*us).to_string()),
            (Kind::Decimal { scale } | Kind::Money { scale, .. }, Value::Integer(scaled)) => {
                Json::String(decimal_text(*scaled, *scale))
            }
            (_, Value::Integer(number)) => Json::from(*number),
            (_, Value::Text(text)) => Json::String(text.clone()),
            (_, Value::Boolean(flag)) => Json::Bool(*flag),
            (_, Value::List(items)) => Json::from(items.clone()),
        }
    }

    /// What a person should have written, for error sentences.
    pub fn expected(&self) -> &'static str {
        match self {
            Kind::Text => "a text",
            Kind::Integer => "a whole number",
            Kind::Decimal { .. } => "a number such as 12.50",
            Kind::Boolean => "true or false",
            Kind::Date => "a date such as 2026-11-23",
            Kind::Timestamp => "a time such as 2026-11-23T08:30:00Z",
            Kind::List => "a list of texts",
            Kind::Email => "an address such as ann@example.com",
            Kind::Phone => "a phone number with its country code, such as +31612345678",
            Kind::Country => "a country code of two letters, such as NL",
            Kind::Language => "a language code such as en or pt-BR",
            Kind::Money { .. } => "an amount such as 12.50",
        }
    }
}

/// Text without NUL (PostgreSQL has no place for it) and within the size limit.
pub fn checked_text(text: &str) -> Result<String, String> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(format!("text is longer than {MAX_TEXT_BYTES} bytes"));
    }
    if text.contains('\0') {
        return Err("text contains a NUL character".to_owned());
    }
    Ok(text.to_owned())
}

fn checked_list(items: Vec<String>) -> Result<Value, String> {
    if items.len() > MAX_LIST_ITEMS {
        return Err(format!("a list holds at most {MAX_LIST_ITEMS} texts"));
    }
    let mut kept: Vec<String> = Vec::with_capacity(items.len());
    for item in items {
        let item = checked_text(&item)?;
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    Ok(Value::List(kept))
}

fn parse_integer(text: &str) -> Result<i64, String> {
    text.parse::<i64>().or_else(|_| {
        // JSON writers and spreadsheets give whole numbers as 12.0 too.
        parse_decimal(text, 0).map_err(|_| "expected a whole number".to_owned())
    })
}

fn parse_boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "y" | "t" => Ok(true),
        "0" | "n" | "f" => Ok(false),
        _ => truth_word(text).ok_or_else(|| "expected true or false".to_owned()),
    }
}

/// What a word says that files write for yes and no: English, German, Dutch, French, Spanish, Italian,
/// Portuguese and Polish, in any case.
pub fn truth_word(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "yes" | "ja" | "oui" | "sí" | "sì" | "si" | "sim" | "tak" | "wahr" | "waar" | "vrai"
        | "verdadero" | "vero" | "verdadeiro" | "prawda" => Some(true),
        "false" | "no" | "nein" | "nee" | "non" | "não" | "nao" | "nie" | "falsch" | "onwaar" | "faux"
        | "falso" | "fałsz" => Some(false),
        _ => None,
    }
}

fn parse_date(text: &str) -> Result<String, String> {
    // A time is cut to its date, because exports often write dates as midnight.
    let day = text.split(['T', ' ']).next().unwrap_or(text);
    let date = day
        .parse::<jiff::civil::Date>()
        .ok()
        .filter(|date| date.year() >= 1)
        .ok_or_else(|| "expected a date such as 2026-11-23".to_owned())?;
    Ok(date.to_string())
}

/// Reads a decimal exactly into units of 10^-scale. Digits beyond the scale must be zeros, so that
/// nothing is rounded behind the user's back. An exponent is understood.
pub fn parse_decimal(text: &str, scale: u8) -> Result<i64, String> {
    let fault = || "expected a number such as 12.50".to_owned();
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| fault())?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.as_bytes().first() {
        Some(b'-') => (true, &mantissa[1..]),
        Some(b'+') => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !plain(whole) || !plain(fraction) {
        return Err(fault());
    }
    let mut shift = i32::from(scale)
        .checked_add(exponent)
        .and_then(|sum| sum.checked_sub(i32::try_from(fraction.len()).ok()?))
        .ok_or_else(fault)?;
    let mut scaled: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        scaled = scaled
            .checked_mul(10)
            .and_then(|n| n.checked_add(i128::from(digit - b'0')))
            .ok_or_else(|| "number is too large".to_owned())?;
    }
    while shift > 0 && scaled != 0 {
        scaled = scaled.checked_mul(10).ok_or_else(|| "number is too large".to_owned())?;
        shift -= 1;
    }
    while shift < 0 && scaled != 0 {
        if scaled % 10 != 0 {
            return Err(format!("expected at most {scale} digits after the point"));
        }
        scaled /= 10;
        shift += 1;
    }
    let signed = if negative { -scaled } else { scaled };
    i64::try_from(signed).map_err(|_| "number is too large".to_owned())
}

/// A scaled decimal as text: `decimal_text(1250, 2)` is `12.50`.
pub fn decimal_text(scaled: i64, scale: u8) -> String {
    if scale == 0 {
        return scaled.to_string();
    }
    let unit = 10_u64.pow(u32::from(scale));
    let magnitude = scaled.unsigned_abs();
    let sign = if scaled < 0 { "-" } else { "" };
    format!("{sign}{}.{:0width$}", magnitude / unit, magnitude % unit, width = usize::from(scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: &Kind, text: &str, expected: Result<Option<Value>, &str>) {
        assert_eq!(kind.parse_text(text), expected.map_err(str::to_owned), "{kind:?} {text:?}");
    }

    #[test]
    fn texts_are_read_by_kind() {
        let text = |t: &str| Ok(Some(Value::Text(t.to_owned())));
        let int = |n: i64| Ok(Some(Value::Integer(n)));
        check(&Kind::Text, " a ", text(" a "));
        check(&Kind::Text, "  ", Ok(None));
        check(&Kind::Integer, "42", int(42));
        check(&Kind::Integer, "42.0", int(42));
        check(&Kind::Integer, "42.5", Err("expected a whole number"));
        check(&Kind::Decimal { scale: 2 }, "12.5", int(1250));
        check(&Kind::Decimal { scale: 2 }, "-0.01", int(-1));
        check(&Kind::Decimal { scale: 2 }, "1e3", int(100_000));
        check(
            &Kind::Decimal { scale: 2 },
            "1.005",
            Err("expected at most 2 digits after the point"),
        );
        check(&Kind::Decimal { scale: 2 }, "1.500", int(150));
        check(&Kind::Decimal { scale: 2 }, "1,5", Err("expected a number such as 12.50"));
        check(&Kind::Decimal { scale: 2 }, "99999999999999999999", Err("number is too large"));
        check(&Kind::Decimal { scale: 2 }, "1e99999999", Err("number is too large"));
        check(&Kind::Boolean, "YES", Ok(Some(Value::Boolean(true))));
        check(&Kind::Boolean, "Sí", Ok(Some(Value::Boolean(true))));
        check(&Kind::Boolean, "nein", Ok(Some(Value::Boolean(false))));
        check(&Kind::Boolean, "maybe", Err("expected true or false"));
        check(&Kind::Date, "2026-02-28", text("2026-02-28"));
        check(&Kind::Date, "2026-02-28 00:00:00", text("2026-02-28"));
        check(&Kind::Date, "2026-02-30", Err("expected a date such as 2026-11-23"));
        check(&Kind::Timestamp, "1970-01-01T00:00:01Z", int(1_000_000));
        check(&Kind::List, "a; b ,a", Ok(Some(Value::List(vec!["a".into(), "b".into()]))));
        check(&Kind::Email, "Ann@Example.COM", text("ann@example.com"));
        check(&Kind::Country, "nl", text("NL"));
    }

    #[test]
    fn json_is_read_by_kind() {
        use serde_json::json;
        let money = Kind::Money { currency: "EUR".into(), scale: 2 };
        assert_eq!(money.parse_json(&json!(12.5)), Ok(Some(Value::Integer(1250))));
        assert_eq!(money.parse_json(&json!("12.50")), Ok(Some(Value::Integer(1250))));
        assert_eq!(money.to_json(&Value::Integer(1250)), json!("12.50"));
        assert_eq!(Kind::Boolean.parse_json(&json!(1)), Err("expected true or false".into()));
        assert_eq!(Kind::Text.parse_json(&json!(7)), Ok(Some(Value::Text("7".into()))));
        assert_eq!(Kind::Text.parse_json(&json!({})), Err("expected a text".into()));
        assert_eq!(Kind::Text.parse_json(&json!(null)), Ok(None));
    }
}
