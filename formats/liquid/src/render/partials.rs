//! `render` and `include`.

use std::sync::Arc;

use super::loops::{Items, LoopState};
use super::{Flow, Frame, Renderer, Run, Stop, failed, located};
use crate::ast::{Offset, Partial};
use crate::template::Template;
use crate::value::Value;

impl Renderer<'_> {
    pub(super) fn partial(&mut self, at: Offset, node: &Partial) -> Run<Flow> {
        if self.frame.isolated && !node.isolated {
            return failed(at, "'include' is not allowed inside 'render'");
        }
        let name = self.value(&node.name)?.into_owned();
        let Some(name) = name.as_str() else {
            return failed(at, "the template's name is not a text");
        };
        let Some(template) = self.context.templates.and_then(|find| find(name)) else {
            return failed(at, format!("no template is named '{name}'"));
        };
        let mut arguments = Vec::with_capacity(node.arguments.len() + 1);
        for (name, value) in &node.arguments {
            arguments.push((name.clone(), self.value(value)?.into_owned()));
        }
        let own_name = name.rsplit('/').next().unwrap_or(name);
        let with = match &node.with {
            Some(with) => Some(self.value(with)?.into_owned()),
            None if node.isolated => None,
            None => self.variable(own_name).map(|value| value.into_owned()),
        };
        let call = PartialCall {
            at,
            name,
            template: &template,
            alias: node.alias.clone().unwrap_or_else(|| Arc::from(own_name)),
            arguments,
            with,
        };
        if node.isolated { self.render_partial(call, node.each) } else { self.include(call) }
    }

    /// A content block sees and sets what the text around it does.
    pub(super) fn content_block(&mut self, at: Offset, name: &Arc<str>) -> Run<Flow> {
        let Some(template) = self.context.templates.and_then(|find| find(name)) else {
            return failed(at, format!("no content block is named '{name}'"));
        };
        let call = PartialCall {
            at,
            name,
            template: &template,
            alias: name.clone(),
            arguments: Vec::new(),
            with: None,
        };
        let Some(opaque) = self.context.opaque.filter(|_| self.captures == 0) else {
            return self.render_once(&call, None);
        };
        let outer = std::mem::take(&mut self.out);
        self.captures += 1;
        let flow = self.render_once(&call, None);
        self.captures -= 1;
        let text = std::mem::replace(&mut self.out, outer);
        self.out.push_str(&opaque.keep(text));
        flow
    }

    fn render_partial(&mut self, call: PartialCall<'_>, each: bool) -> Run<Flow> {
        let outer =
            std::mem::replace(&mut self.frame, Frame { isolated: true, ..Frame::default() });
        let result = match &call.with {
            Some(value @ (Value::Array(_) | Value::Range(..))) if each => {
                self.render_each(&call, value)
            }
            Some(Value::Nil) | None => self.render_once(&call, None).map(drop),
            Some(value) => self.render_once(&call, Some(value.clone())).map(drop),
        };
        self.frame = outer;
        // A `break` inside does not reach the caller's loop.
        result.map(|()| Flow::Next)
    }

    fn render_each(&mut self, call: &PartialCall<'_>, value: &Value) -> Run<()> {
        let items = Items::of(value);
        for index0 in 0..items.len() {
            self.charge(call.at, 1)?;
            self.frame = Frame { isolated: true, ..Frame::default() };
            self.frame.loops.push(LoopState {
                name: call.alias.clone(),
                length: items.len(),
                index0,
                columns: None,
            });
            if self.render_once(call, Some(items.get(index0)))? == Flow::Break {
                break;
            }
        }
        Ok(())
    }

    fn include(&mut self, call: PartialCall<'_>) -> Run<Flow> {
        let Some(Value::Array(items)) = &call.with else {
            return self.render_once(&call, call.with.clone());
        };
        for item in items.iter() {
            self.charge(call.at, 1)?;
            let flow = self.render_once(&call, Some(item.clone()))?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn render_once(&mut self, call: &PartialCall<'_>, with: Option<Value>) -> Run<Flow> {
        let position = self.frame.scoped.len();
        if let Some(value) = with {
            self.frame.scoped.push((call.alias.clone(), value));
        }
        self.frame.scoped.extend(call.arguments.iter().cloned());
        let outer = std::mem::replace(&mut self.source, call.template.source.clone());
        let flow = self.inner_block(call.at, &call.template.nodes);
        self.source = outer;
        self.frame.scoped.truncate(position);
        flow.map_err(|stop| match *stop {
            Stop::Failed { message, at } => {
                let message = format!("in '{}': {message}", call.name);
                Box::new(Stop::FailedWithin(located(&call.template.source, at, message)))
            }
            other => Box::new(other),
        })
    }
}

/// A named template about to be rendered.
struct PartialCall<'c> {
    at: Offset,
    name: &'c str,
    template: &'c Template,
    /// Under which name the `with` value is seen.
    alias: Arc<str>,
    arguments: Vec<(Arc<str>, Value)>,
    with: Option<Value>,
}
