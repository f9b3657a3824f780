//! The values a template works with, and how they are shown, compared and looked into.
//! Cloning a value never copies text, arrays or objects.

use std::collections::HashMap;
use std::sync::Arc;

/// A Liquid value.
#[derive(Debug, Clone, Default)]
pub enum Value {
    #[default]
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Text),
    Array(Arc<Vec<Value>>),
    Object(Arc<Object>),
    /// `(1..5)`, both ends included; empty when the second is smaller.
    Range(i64, i64),
    /// The literal `empty`, which equals any empty text, array or object.
    Empty,
    /// The literal `blank`, which also equals nil, false and white space.
    Blank,
}

/// Text, with a mark that says it is already fit for the place it is printed in.
#[derive(Debug, Clone)]
pub struct Text {
    text: Arc<str>,
    finished: bool,
}

impl Text {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True when automatic escaping leaves this text alone.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    pub(crate) fn finish(self) -> Text {
        Text { finished: true, ..self }
    }
}

/// Names and values in the order given; a later entry of the same name wins.
#[derive(Debug, Default)]
pub struct Object {
    entries: Vec<(Arc<str>, Value)>,
    // Only filled for objects too wide for a linear search to be the faster one.
    index: HashMap<Arc<str>, usize>,
}

const LINEAR_SEARCH_ENTRIES: usize = 12;

impl Object {
    pub fn new(entries: Vec<(Arc<str>, Value)>) -> Object {
        let mut index = HashMap::new();
        if entries.len() > LINEAR_SEARCH_ENTRIES {
            for (position, (name, _)) in entries.iter().enumerate() {
                index.insert(name.clone(), position);
            }
        }
        Object { entries, index }
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        if self.index.is_empty() {
            return self
                .entries
                .iter()
                .rev()
                .find(|(key, _)| &**key == name)
                .map(|(_, value)| value);
        }
        self.index.get(name).map(|&position| &self.entries[position].1)
    }

    pub fn entries(&self) -> &[(Arc<str>, Value)] {
        &self.entries
    }
}

impl Value {
    pub fn text(text: impl Into<Arc<str>>) -> Value {
        Value::Text(Text { text: text.into(), finished: false })
    }

    /// Text that automatic escaping must leave alone, such as markup the caller built itself.
    pub fn finished_text(text: impl Into<Arc<str>>) -> Value {
        Value::Text(Text { text: text.into(), finished: true })
    }

    pub fn array(items: Vec<Value>) -> Value {
        Value::Array(Arc::new(items))
    }

    /// An object from names and values.
    pub fn object<N: Into<Arc<str>>>(entries: impl IntoIterator<Item = (N, Value)>) -> Value {
        let entries = entries.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Value::Object(Arc::new(Object::new(entries)))
    }

    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Nil)
    }

    /// Everything is true but nil and false.
    pub fn is_truthy(&self) -> bool {
        !matches!(self, Value::Nil | Value::Bool(false))
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// True for empty text, arrays and objects; nil is not empty.
    pub fn is_empty(&self) -> bool {
        match self {
            Value::Text(text) => text.as_str().is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(object) => object.entries.is_empty(),
            Value::Empty | Value::Blank => true,
            _ => false,
        }
    }

    pub fn is_blank(&self) -> bool {
        match self {
            Value::Nil | Value::Bool(false) | Value::Blank => true,
            Value::Text(text) => text.as_str().trim().is_empty(),
            other => other.is_empty(),
        }
    }

    /// `value.name`, with `size`, `first` and `last` answered for collections.
    pub fn property(&self, name: &str) -> Option<Value> {
        if let Value::Object(object) = self
            && let Some(value) = object.get(name)
        {
            return Some(value.clone());
        }
        match name {
            "size" => self.size(),
            "first" => self.first(),
            "last" => self.last(),
            _ => None,
        }
    }

    /// `value[key]`: an object by name, an array by position (negative counts from the end).
    pub fn index(&self, key: &Value) -> Option<Value> {
        match (self, key) {
            (Value::Object(object), Value::Text(name)) => object.get(name.as_str()).cloned(),
            (Value::Object(object), Value::Int(number)) => object.get(&number.to_string()).cloned(),
            (Value::Array(items), Value::Int(position)) => {
                let position = absolute_position(*position, items.len())?;
                items.get(position).cloned()
            }
            (Value::Range(start, end), Value::Int(position)) => {
                let position = absolute_position(*position, range_len(*start, *end))?;
                let number = start.checked_add(i64::try_from(position).ok()?)?;
                (number <= *end).then_some(Value::Int(number))
            }
            _ => None,
        }
    }

    pub(crate) fn size(&self) -> Option<Value> {
        let size = match self {
            Value::Text(text) => text.as_str().chars().count(),
            Value::Array(items) => items.len(),
            Value::Object(object) => object.entries.len(),
            Value::Range(start, end) => range_len(*start, *end),
            _ => return None,
        };
        Some(Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))
    }

    pub(crate) fn first(&self) -> Option<Value> {
        match self {
            Value::Array(items) => items.first().cloned(),
            Value::Object(object) => object.entries.first().map(pair),
            Value::Range(start, end) => (start <= end).then_some(Value::Int(*start)),
            _ => None,
        }
    }

    pub(crate) fn last(&self) -> Option<Value> {
        match self {
            Value::Array(items) => items.last().cloned(),
            Value::Range(start, end) => (start <= end).then_some(Value::Int(*end)),
            _ => None,
        }
    }

    /// Liquid's `==`: numbers by amount, everything else only with its own kind.
    pub fn equals(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Empty, Value::Empty) | (Value::Blank, Value::Blank) => true,
            (Value::Empty, Value::Blank) | (Value::Blank, Value::Empty) => false,
            (Value::Empty, value) | (value, Value::Empty) => value.is_empty(),
            (Value::Blank, value) | (value, Value::Blank) => value.is_blank(),
            (Value::Nil, Value::Nil) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a == b,
            (Value::Int(a), Value::Float(b)) | (Value::Float(b), Value::Int(a)) => *a as f64 == *b,
            (Value::Text(a), Value::Text(b)) => a.text == b.text,
            (Value::Range(a, b), Value::Range(c, d)) => (a, b) == (c, d),
            (Value::Array(a), Value::Array(b)) => {
                Arc::ptr_eq(a, b)
                    || a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.equals(b))
            }
            (Value::Object(a), Value::Object(b)) => {
                Arc::ptr_eq(a, b)
                    || a.entries.len() == b.entries.len()
                        && a.entries.iter().all(|(name, value)| {
                            b.get(name).is_some_and(|other| value.equals(other))
                        })
            }
            _ => false,
        }
    }

    /// What the kind is called in error messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Bool(_) => "boolean",
            Value::Int(_) | Value::Float(_) => "number",
            Value::Text(_) => "text",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
            Value::Range(..) => "range",
            Value::Empty => "empty",
            Value::Blank => "blank",
        }
    }
}

/// An object's entry as a loop over the object sees it: an array of name and value.
pub(crate) fn pair((name, value): &(Arc<str>, Value)) -> Value {
    Value::array(vec![Value::text(name.clone()), value.clone()])
}

pub(crate) fn range_len(start: i64, end: i64) -> usize {
    if end < start {
        return 0;
    }
    usize::try_from(end.abs_diff(start)).unwrap_or(usize::MAX).saturating_add(1)
}

fn absolute_position(position: i64, len: usize) -> Option<usize> {
    if position >= 0 {
        return usize::try_from(position).ok();
    }
    len.checked_sub(usize::try_from(position.unsigned_abs()).ok()?)
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::text(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Float(number)
    }
}

impl From<&serde_json::Value> for Value {
    /// Whole numbers outside 64 bits become floats.
    fn from(json: &serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::Nil,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(whole) => Value::Int(whole),
                None => number.as_f64().map_or(Value::Nil, Value::Float),
            },
            serde_json::Value::String(text) => Value::text(text.as_str()),
            serde_json::Value::Array(items) => {
                Value::array(items.iter().map(Value::from).collect())
            }
            serde_json::Value::Object(map) => {
                Value::object(map.iter().map(|(name, value)| (name.as_str(), Value::from(value))))
            }
        }
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Value {
        Value::from(&json)
    }
}
