//! What expressions, paths and filters come to.

use std::borrow::Cow;

use super::{Renderer, Run, failed};
use crate::ast::{Expression, FilterCall, Filtered, Path, Root, Segment};
use crate::filters::Call;
use crate::number::range_end;
use crate::value::Value;

impl Renderer<'_> {
    pub(super) fn value<'v>(&'v self, expression: &'v Expression) -> Run<Cow<'v, Value>> {
        self.value_or_nil(expression, self.context.strict)
    }

    fn value_or_nil<'v>(&'v self, expression: &'v Expression, strict: bool) -> Run<Cow<'v, Value>> {
        match expression {
            Expression::Literal(value) => Ok(Cow::Borrowed(value)),
            Expression::Range(ends) => self.range(&ends.0, &ends.1).map(Cow::Owned),
            Expression::Path(path) => match self.path(path)? {
                Some(value) => Ok(value),
                None if strict => failed(path.at, format!("undefined variable '{path}'")),
                None => Ok(Cow::Owned(Value::Nil)),
            },
        }
    }

    fn range(&self, start: &Expression, end: &Expression) -> Run<Value> {
        let (start, end) = (self.value(start)?, self.value(end)?);
        // Ends that are no numbers count as 0, as text without digits does.
        Ok(Value::Range(range_end(&start).unwrap_or(0), range_end(&end).unwrap_or(0)))
    }

    /// What a path leads to, `None` when it leads nowhere.
    fn path<'v>(&'v self, path: &'v Path) -> Run<Option<Cow<'v, Value>>> {
        let mut segments = path.segments.as_slice();
        let mut current = match &path.root {
            Root::Name(name) => self.variable(name),
            Root::Dollar(name) => self.dollar(name),
            Root::Computed(name) => {
                let name = self.value(name)?;
                name.as_str().and_then(|name| {
                    // The name may be computed on the fly, so nothing can be borrowed from it.
                    self.variable(name).map(|value| Cow::Owned(value.into_owned()))
                })
            }
            Root::ForLoop | Root::TableRowLoop => match self.loop_property(&path.root, segments) {
                Some((value, used)) => {
                    segments = &segments[used..];
                    Some(Cow::Owned(value))
                }
                None if path.root.is_for() => self.variable("forloop"),
                None => self.variable("tablerowloop"),
            },
        };
        for segment in segments {
            let Some(value) = current else { return Ok(None) };
            current = self.step(value, segment)?;
        }
        Ok(current)
    }

    fn step<'v>(
        &'v self,
        value: Cow<'v, Value>,
        segment: &'v Segment,
    ) -> Run<Option<Cow<'v, Value>>> {
        let computed;
        let name = match segment {
            Segment::Name(name) => name,
            Segment::Dollar(name) => name,
            Segment::Index(index) => {
                computed = self.value(index)?;
                return Ok(value.index(&computed).map(Cow::Owned));
            }
        };
        if let Cow::Borrowed(Value::Object(object)) = value
            && let Some(member) = object.get(name)
        {
            return Ok(Some(Cow::Borrowed(member)));
        }
        Ok(value.property(name).map(Cow::Owned))
    }

    /// Innermost scope first, the caller's data after everything the template set.
    pub(super) fn variable(&self, name: &str) -> Option<Cow<'_, Value>> {
        let frame = &self.frame;
        let local = frame.scoped.iter().rev().chain(frame.locals.iter());
        if let Some((_, value)) = local.into_iter().find(|(local, _)| &**local == name) {
            return Some(Cow::Borrowed(value));
        }
        if let Some((_, value)) = self.context.variables.iter().find(|(given, _)| *given == name) {
            return Some(Cow::Borrowed(value));
        }
        if let Value::Object(root) = &self.context.root
            && let Some(value) = root.get(name)
        {
            return Some(Cow::Borrowed(value));
        }
        let counter = frame.counters.iter().find(|(counter, _)| &**counter == name);
        counter.map(|(_, number)| Cow::Owned(Value::Int(*number)))
    }

    fn dollar(&self, name: &str) -> Option<Cow<'_, Value>> {
        match &self.context.dollar {
            Value::Object(object) => object.get(name).map(Cow::Borrowed),
            _ => None,
        }
    }

    pub(super) fn filtered<'v>(&'v mut self, filtered: &'v Filtered) -> Run<Cow<'v, Value>> {
        let Some(first) = filtered.filters.first() else { return self.value(&filtered.input) };
        let strict = self.context.strict && first.filter.name != "default";
        let mut value = self.value_or_nil(&filtered.input, strict)?.into_owned();
        for call in &filtered.filters {
            value = self.apply(value, call)?;
        }
        Ok(Cow::Owned(value))
    }

    fn apply(&mut self, input: Value, call: &FilterCall) -> Run<Value> {
        self.charge(call.at, 1)?;
        let mut positional = Vec::with_capacity(call.positional.len());
        for argument in &call.positional {
            positional.push(self.value(argument)?.into_owned());
        }
        let mut named = Vec::with_capacity(call.named.len());
        for (name, argument) in &call.named {
            named.push((name.clone(), self.value(argument)?.into_owned()));
        }
        let mut arguments = Call {
            positional: &positional,
            named: &named,
            now: &self.context.now,
            escape: self.escape,
            budget: &mut self.budget,
        };
        let result = (call.filter.run)(input, &mut arguments).and_then(|value| {
            if let Value::Text(text) = &value {
                self.budget.spend_text(text.as_str().len())?;
            }
            Ok(value)
        });
        match result {
            Ok(value) => Ok(value),
            Err(message) => failed(call.at, format!("{}: {message}", call.filter.name)),
        }
    }
}

impl Root {
    fn is_for(&self) -> bool {
        matches!(self, Root::ForLoop)
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.root {
            Root::Name(name) => out.write_str(name)?,
            Root::Dollar(name) => write!(out, "${{{name}}}")?,
            Root::Computed(_) => out.write_str("[…]")?,
            Root::ForLoop => out.write_str("forloop")?,
            Root::TableRowLoop => out.write_str("tablerowloop")?,
        }
        for segment in &self.segments {
            match segment {
                Segment::Name(name) => write!(out, ".{name}")?,
                Segment::Dollar(name) => write!(out, ".${{{name}}}")?,
                Segment::Index(Expression::Literal(Value::Text(name))) => {
                    write!(out, "['{}']", name.as_str())?;
                }
                Segment::Index(Expression::Literal(Value::Int(index))) => write!(out, "[{index}]")?,
                Segment::Index(_) => out.write_str("[…]")?,
            }
        }
        Ok(())
    }
}
