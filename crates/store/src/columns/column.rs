//! One attribute of everybody, or everybody with one mark, and the tests on them. It agrees with
//! `tidings_domain::judge`, which it asks for every value that differs.

use std::collections::HashMap;

use roaring::RoaringBitmap;
use tidings_domain::Timestamp;
use tidings_domain::judge::holds;
use tidings_domain::rule::calendar::Zone;
use tidings_domain::rule::{BoundTest, Comparison};
use tidings_domain::value::{Storage, Value};

use super::bits::Bits;
use super::words::Words;

/// Values by position.
#[derive(Debug)]
pub(super) enum Column {
    Words(Words),
    Numbers {
        values: Vec<i64>,
        known: Bits,
    },
    Truths {
        yes: RoaringBitmap,
        no: RoaringBitmap,
        length: usize,
    },
    /// Who has each item of a list, and who has a list.
    Lists {
        items: HashMap<String, RoaringBitmap>,
        known: RoaringBitmap,
        length: usize,
    },
    /// Who carries a mark, and until when if it ends.
    Marks {
        open: RoaringBitmap,
        ending: HashMap<u32, i64>,
        length: usize,
    },
}

/// When a test is asked, and in which zone that is a date.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    pub(super) now: Timestamp,
    pub(super) zone: &'a Zone,
}

impl Column {
    pub(super) fn of(storage: Storage, length: usize) -> Column {
        match storage {
            Storage::Text => Column::Words(Words::new(length)),
            Storage::Integer => {
                Column::Numbers { values: vec![0; length], known: Bits::none(length) }
            }
            Storage::Boolean => {
                Column::Truths { yes: RoaringBitmap::new(), no: RoaringBitmap::new(), length }
            }
            Storage::List => {
                Column::Lists { items: HashMap::new(), known: RoaringBitmap::new(), length }
            }
        }
    }

    pub(super) fn marks(length: usize) -> Column {
        Column::Marks { open: RoaringBitmap::new(), ending: HashMap::new(), length }
    }

    /// How its values are kept in the store; `None` for marks.
    pub(super) fn storage(&self) -> Option<Storage> {
        Some(match self {
            Column::Words(_) => Storage::Text,
            Column::Numbers { .. } => Storage::Integer,
            Column::Truths { .. } => Storage::Boolean,
            Column::Lists { .. } => Storage::List,
            Column::Marks { .. } => return None,
        })
    }

    pub(super) fn resize(&mut self, to: usize) {
        match self {
            Column::Words(words) => words.resize(to),
            Column::Numbers { values, known } => {
                values.resize(to, 0);
                known.resize(to);
            }
            Column::Truths { length, .. }
            | Column::Lists { length, .. }
            | Column::Marks { length, .. } => *length = to,
        }
    }

    /// Sets the value of one customer; a value of another storage is taken for none.
    pub(super) fn put(&mut self, at: u32, value: Option<Value>) {
        match self {
            Column::Words(words) => match &value {
                Some(Value::Text(text)) => words.put(at as usize, Some(text)),
                _ => words.put(at as usize, None),
            },
            Column::Numbers { values, known } => {
                let number = match value {
                    Some(Value::Integer(number)) => Some(number),
                    _ => None,
                };
                values[at as usize] = number.unwrap_or_default();
                known.put(at as usize, number.is_some());
            }
            Column::Truths { yes, no, .. } => {
                yes.remove(at);
                no.remove(at);
                match value {
                    Some(Value::Boolean(true)) => _ = yes.insert(at),
                    Some(Value::Boolean(false)) => _ = no.insert(at),
                    _ => {}
                }
            }
            Column::Lists { items, known, .. } => {
                if known.remove(at) {
                    items.values_mut().for_each(|set| _ = set.remove(at));
                }
                if let Some(Value::List(list)) = value {
                    known.insert(at);
                    for item in list {
                        items.entry(item).or_default().insert(at);
                    }
                }
            }
            Column::Marks { .. } => self.put_mark(at, None),
        }
    }

    /// Sets whether one customer carries the mark, with its end if it has one.
    pub(super) fn put_mark(&mut self, at: u32, mark: Option<Option<i64>>) {
        let Column::Marks { open, ending, .. } = self else { return };
        open.remove(at);
        ending.remove(&at);
        match mark {
            Some(None) => _ = open.insert(at),
            Some(Some(until)) => _ = ending.insert(at, until),
            None => {}
        }
    }

    /// Who carries the mark now.
    pub(super) fn marked(&self, now: Timestamp) -> Option<Bits> {
        let Column::Marks { open, ending, length } = self else { return None };
        let mut bits = Bits::of_set(open, *length);
        for (at, until) in ending {
            if *until > now.0 {
                bits.put(*at as usize, true);
            }
        }
        Some(bits)
    }

    /// Whose value passes a test; `None` for a test that is not asked of such a column.
    pub(super) fn select(&self, test: &BoundTest, moment: Moment<'_>) -> Option<Bits> {
        Some(match self {
            Column::Words(words) => select_words(words, test, moment),
            Column::Numbers { values, known } => {
                let mut bits = select_numbers(values, test, moment);
                bits.and(known);
                bits
            }
            Column::Truths { yes, no, length } => {
                let mut bits = Bits::none(*length);
                for (truth, set) in [(true, yes), (false, no)] {
                    if holds(test, &Value::Boolean(truth), moment.now, moment.zone) {
                        bits.or(&Bits::of_set(set, *length));
                    }
                }
                bits
            }
            Column::Lists { items, known, length } => match test {
                BoundTest::Exists => Bits::of_set(known, *length),
                BoundTest::Has(item) => match items.get(item) {
                    Some(set) => Bits::of_set(set, *length),
                    None => Bits::none(*length),
                },
                _ => return None,
            },
            Column::Marks { .. } => return None,
        })
    }

    pub(super) fn bytes(&self) -> u64 {
        let set = |set: &RoaringBitmap| set.serialized_size() as u64 + 64;
        match self {
            Column::Words(words) => words.bytes(),
            Column::Numbers { values, known } => values.capacity() as u64 * 8 + known.bytes(),
            Column::Truths { yes, no, .. } => set(yes) + set(no),
            Column::Lists { items, known, .. } => {
                let items = items.iter().map(|(item, members)| item.len() as u64 + set(members));
                items.sum::<u64>() + set(known)
            }
            Column::Marks { open, ending, .. } => set(open) + ending.capacity() as u64 * 20,
        }
    }

    /// Whether so much of it is no longer anybody's that it should be read anew.
    pub(super) fn is_worn(&self, customers: u64) -> bool {
        match self {
            Column::Words(words) => words.different() as u64 > 2 * customers + 10_000,
            _ => false,
        }
    }
}

fn select_words(words: &Words, test: &BoundTest, moment: Moment<'_>) -> Bits {
    match test {
        BoundTest::Exists => words.select(|_| true),
        BoundTest::Compare(Comparison::Eq, Value::Text(text)) => words.select_one(text),
        _ => {
            // One text that is filled again and again, so that asking costs no allocation.
            let mut value = Value::Text(String::new());
            words.select(|word| {
                if let Value::Text(text) = &mut value {
                    text.clear();
                    text.push_str(word);
                }
                holds(test, &value, moment.now, moment.zone)
            })
        }
    }
}

fn select_numbers(values: &[i64], test: &BoundTest, moment: Moment<'_>) -> Bits {
    match test {
        BoundTest::Exists => Bits::of(values, |_| true),
        BoundTest::Compare(comparison, Value::Integer(constant)) => {
            let constant = *constant;
            match comparison {
                Comparison::Eq => Bits::of(values, |value| value == constant),
                Comparison::Ne => Bits::of(values, |value| value != constant),
                Comparison::Gt => Bits::of(values, |value| value > constant),
                Comparison::Gte => Bits::of(values, |value| value >= constant),
                Comparison::Lt => Bits::of(values, |value| value < constant),
                Comparison::Lte => Bits::of(values, |value| value <= constant),
            }
        }
        BoundTest::Within(period) => {
            let (now, window) = (moment.now.0, period.micros());
            Bits::of(values, |value| value <= now && value.saturating_add(window) > now)
        }
        _ => Bits::of(values, |value| holds(test, &Value::Integer(value), moment.now, moment.zone)),
    }
}
