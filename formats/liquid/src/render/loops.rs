//! `for`, `tablerow` and `cycle`, with `forloop` and `tablerowloop`.

use std::sync::Arc;

use super::{Flow, Renderer, Run, failed};
use crate::ast::{Block, Cycle, Expression, For, LoopOffset, Offset, Root, Segment, TableRow};
use crate::number::to_integer;
use crate::shown::write_as_text;
use crate::value::{Object, Value, pair, range_len};

/// Where a running loop stands.
pub(super) struct LoopState {
    pub name: Arc<str>,
    pub length: i64,
    pub index0: i64,
    /// Only of a `tablerow`.
    pub columns: Option<i64>,
}

/// What a loop goes over, without copying it.
pub(super) enum Items {
    Array(Arc<Vec<Value>>),
    Object(Arc<Object>),
    Range(i64, i64),
    One(Value),
    None,
}

impl Items {
    pub fn of(value: &Value) -> Items {
        match value {
            Value::Array(items) => Items::Array(items.clone()),
            Value::Object(object) => Items::Object(object.clone()),
            Value::Range(start, end) => Items::Range(*start, *end),
            Value::Text(text) if !text.as_str().is_empty() => Items::One(value.clone()),
            _ => Items::None,
        }
    }

    pub fn len(&self) -> i64 {
        let len = match self {
            Items::Array(items) => items.len(),
            Items::Object(object) => object.entries().len(),
            Items::Range(start, end) => range_len(*start, *end),
            Items::One(_) => 1,
            Items::None => 0,
        };
        i64::try_from(len).unwrap_or(i64::MAX)
    }

    /// The item at `index`, which is within the length.
    pub fn get(&self, index: i64) -> Value {
        let position = usize::try_from(index).unwrap_or(usize::MAX);
        match self {
            Items::Array(items) => items.get(position).cloned().unwrap_or_default(),
            Items::Object(object) => object.entries().get(position).map(pair).unwrap_or_default(),
            Items::Range(start, _) => Value::Int(start.saturating_add(index)),
            Items::One(value) => value.clone(),
            Items::None => Value::Nil,
        }
    }
}

/// The part of a collection a loop goes over: items `start..start + length`.
struct Slice {
    start: i64,
    length: i64,
}

fn slice(items: &Items, offset: i64, limit: Option<i64>) -> Slice {
    // A text is one item, whatever the limits say.
    if let Items::One(_) = items {
        return Slice { start: 0, length: 1 };
    }
    let start = offset.clamp(0, items.len());
    let end = limit.map_or(i64::MAX, |limit| offset.saturating_add(limit));
    Slice { start, length: end.min(items.len()).saturating_sub(start).max(0) }
}

impl Renderer<'_> {
    pub(super) fn for_tag(&mut self, at: Offset, node: &For) -> Run<Flow> {
        let items = Items::of(&*self.value(&node.collection)?);
        let limit = self.whole(at, node.limit.as_ref())?;
        let offset = match &node.offset {
            Some(LoopOffset::Continue) => *self.frame.continues.get(&node.name).unwrap_or(&0),
            Some(LoopOffset::Items(offset)) => self.whole(at, Some(offset))?.unwrap_or(0),
            None => 0,
        };
        let slice = slice(&items, offset, limit);
        self.frame.continues.insert(node.name.clone(), offset.saturating_add(slice.length));
        if slice.length == 0 {
            return self.inner_block(at, &node.otherwise);
        }
        let position = self.frame.scoped.len();
        self.frame.scoped.push((node.variable.clone(), Value::Nil));
        self.frame.loops.push(LoopState {
            name: node.name.clone(),
            length: slice.length,
            index0: 0,
            columns: None,
        });
        for index0 in 0..slice.length {
            let step = if node.reversed { slice.length - 1 - index0 } else { index0 };
            self.enter_round(position, index0, items.get(slice.start + step));
            self.charge(at, 1)?;
            if self.inner_block(at, &node.body)? == Flow::Break {
                break;
            }
        }
        self.frame.loops.pop();
        self.frame.scoped.truncate(position);
        Ok(Flow::Next)
    }

    fn enter_round(&mut self, position: usize, index0: i64, item: Value) {
        self.frame.scoped[position].1 = item;
        if let Some(state) = self.frame.loops.last_mut() {
            state.index0 = index0;
        }
    }

    /// An optional whole number; nil is none.
    fn whole(&self, at: Offset, expression: Option<&Expression>) -> Run<Option<i64>> {
        let Some(expression) = expression else { return Ok(None) };
        let value = self.value(expression)?;
        if value.is_nil() {
            return Ok(None);
        }
        match to_integer(&value) {
            Some(number) => Ok(Some(number)),
            None => failed(at, "expected a whole number"),
        }
    }

    pub(super) fn tablerow(&mut self, at: Offset, node: &TableRow) -> Run<Flow> {
        let value = self.value(&node.collection)?.into_owned();
        if value.is_nil() {
            return Ok(Flow::Next);
        }
        let items = Items::of(&value);
        let limit = self.whole(at, node.limit.as_ref())?;
        let offset = self.whole(at, node.offset.as_ref())?.unwrap_or(0);
        let slice = slice(&items, offset, limit);
        let columns = self.whole(at, node.columns.as_ref())?.unwrap_or(slice.length);
        let position = self.frame.scoped.len();
        self.frame.scoped.push((node.variable.clone(), Value::Nil));
        self.frame.loops.push(LoopState {
            name: node.variable.clone(),
            length: slice.length,
            index0: 0,
            columns: Some(columns.max(1)),
        });
        self.out.push_str("<tr class=\"row1\">\n");
        for index0 in 0..slice.length {
            self.enter_round(position, index0, items.get(slice.start + index0));
            if self.cell(at, index0, slice.length, columns, &node.body)? == Flow::Break {
                break;
            }
        }
        self.out.push_str("</tr>\n");
        self.frame.loops.pop();
        self.frame.scoped.truncate(position);
        self.check_size(at)?;
        Ok(Flow::Next)
    }

    fn cell(
        &mut self,
        at: Offset,
        index0: i64,
        length: i64,
        columns: i64,
        body: &Block,
    ) -> Run<Flow> {
        self.charge(at, 1)?;
        let columns = columns.max(1);
        self.out.push_str(&format!("<td class=\"col{}\">", index0 % columns + 1));
        let flow = self.inner_block(at, body)?;
        self.out.push_str("</td>");
        if flow != Flow::Break && (index0 + 1) % columns == 0 && index0 + 1 < length {
            let row = index0 / columns + 2;
            self.out.push_str(&format!("</tr>\n<tr class=\"row{row}\">"));
        }
        self.check_size(at)?;
        Ok(flow)
    }

    pub(super) fn cycle(&mut self, at: Offset, node: &Cycle) -> Run<()> {
        let group = match &node.group {
            Some(group) => {
                let mut name = String::from("named ");
                let limit = self.budget.max_text_bytes;
                write_as_text(&*self.value(group)?, &mut name, limit);
                name
            }
            None => node.source.to_string(),
        };
        let turn = self.frame.cycles.entry(group).or_insert(0);
        let position = *turn;
        *turn = if position + 1 >= node.values.len() { 0 } else { position + 1 };
        // Cycles of one name may differ in length; past the end there is nothing.
        match node.values.get(position) {
            Some(value) => {
                let value = self.value(value)?.into_owned();
                self.print(at, &value)
            }
            None => Ok(()),
        }
    }

    /// A property of the running loop, and how many segments it used up. `None` outside loops.
    pub(super) fn loop_property(
        &self,
        root: &Root,
        segments: &[Segment],
    ) -> Option<(Value, usize)> {
        let wanted_table = matches!(root, Root::TableRowLoop);
        let mut outward =
            self.frame.loops.iter().rev().filter(|state| state.columns.is_some() == wanted_table);
        let mut state = outward.next()?;
        let mut used = 0;
        while let Some(Segment::Name(name)) = segments.get(used) {
            used += 1;
            if &**name != "parentloop" {
                return Some((state.property(name), used));
            }
            match outward.next() {
                Some(parent) => state = parent,
                None => return Some((Value::Nil, used)),
            }
        }
        Some((state.to_object(), used))
    }
}

const FOR_PROPERTIES: [&str; 8] =
    ["name", "length", "index", "index0", "rindex", "rindex0", "first", "last"];

impl LoopState {
    fn property(&self, name: &str) -> Value {
        let number = match (name, self.columns) {
            ("name", None) => return Value::text(self.name.clone()),
            ("first", _) => return Value::Bool(self.index0 == 0),
            ("last", _) => return Value::Bool(self.index0 + 1 == self.length),
            ("col_first", Some(columns)) => return Value::Bool(self.index0 % columns == 0),
            ("col_last", Some(columns)) => return Value::Bool((self.index0 + 1) % columns == 0),
            ("length", _) => self.length,
            ("index", _) => self.index0 + 1,
            ("index0", _) => self.index0,
            ("rindex", _) => self.length - self.index0,
            ("rindex0", _) => self.length - self.index0 - 1,
            ("col", Some(columns)) => self.index0 % columns + 1,
            ("col0", Some(columns)) => self.index0 % columns,
            ("row", Some(columns)) => self.index0 / columns + 1,
            _ => return Value::Nil,
        };
        Value::Int(number)
    }

    fn to_object(&self) -> Value {
        Value::object(FOR_PROPERTIES.map(|name| (name, self.property(name))))
    }
}
