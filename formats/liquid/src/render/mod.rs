//! Walks a template's tree and writes its text: the state of one render and the dispatch over
//! nodes here, loops, conditions, partials and fetches beside it.

pub(crate) mod budget;
mod conditions;
mod expression;
mod fetches;
mod loops;
mod partials;

use std::collections::HashMap;
use std::sync::Arc;

use crate::ast::{Block, Filtered, Node, NodeKind, Offset};
use crate::context::{Context, Escape};
use crate::error::{RenderError, locate};
use crate::fetch::FetchRequest;
use crate::filters::strings::push_escaped;
use crate::shown::write_shown;
use crate::template::{Rendered, Template};
use crate::value::Value;
use budget::{Budget, TOO_LONG};
use loops::LoopState;

/// Why a render ended before the end of the template.
#[derive(Debug)]
enum Stop {
    Failed {
        message: String,
        at: Offset,
    },
    /// Failed inside a named template, whose lines are counted.
    FailedWithin(RenderError),
    Aborted(String),
    Pending(FetchRequest),
}

/// Boxed, so that the good way stays small.
type Run<T> = Result<T, Box<Stop>>;

/// How a block ended.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// What a `render` tag starts afresh and an `include` shares.
#[derive(Default)]
struct Frame {
    isolated: bool,
    /// Set by `assign`, `capture` and `connected_content`.
    locals: Vec<(Arc<str>, Value)>,
    /// Loop variables and arguments, innermost last.
    scoped: Vec<(Arc<str>, Value)>,
    loops: Vec<LoopState>,
    counters: Vec<(Arc<str>, i64)>,
    cycles: HashMap<String, usize>,
    /// Where `offset: continue` goes on, by loop name.
    continues: HashMap<Arc<str>, i64>,
    last_changed: Option<String>,
}

struct Renderer<'a> {
    context: &'a Context<'a>,
    source: Arc<str>,
    out: String,
    escape: Escape,
    frame: Frame,
    budget: Budget<'a>,
    depth: usize,
    /// How many texts of their own are being made around this place.
    captures: usize,
    /// How often each fetch tag ran, by its offset.
    fetches: HashMap<Offset, u32>,
}

pub(crate) fn render(template: &Template, context: &Context<'_>) -> Result<Rendered, RenderError> {
    let limits = context.limits;
    let mut renderer = Renderer {
        context,
        source: template.source.clone(),
        out: String::with_capacity(template.source.len().min(limits.output_bytes)),
        escape: context.escape,
        frame: Frame::default(),
        budget: Budget::new(limits.steps, limits.output_bytes, context.expired),
        depth: 0,
        captures: 0,
        fetches: HashMap::new(),
    };
    let result = renderer.block(&template.nodes);
    match result.map_err(|stop| *stop) {
        Ok(_) => Ok(Rendered::Complete(renderer.out)),
        Err(Stop::Aborted(reason)) => Ok(Rendered::Aborted(reason)),
        Err(Stop::Pending(request)) => Ok(Rendered::Pending(vec![request])),
        Err(Stop::FailedWithin(error)) => Err(error),
        Err(Stop::Failed { message, at }) => Err(located(&template.source, at, message)),
    }
}

fn located(source: &str, at: Offset, message: String) -> RenderError {
    let (line, column) = locate(source, at as usize);
    RenderError { message, line, column }
}

fn failed<T>(at: Offset, message: impl Into<String>) -> Run<T> {
    Err(Box::new(Stop::Failed { message: message.into(), at }))
}

impl Renderer<'_> {
    fn block(&mut self, nodes: &Block) -> Run<Flow> {
        for node in nodes {
            self.charge(node.at, 1)?;
            let flow = match &node.kind {
                // The three most frequent kinds stay in this loop.
                NodeKind::Text { end, .. } => {
                    self.out.push_str(&self.source[node.at as usize..*end as usize]);
                    self.check_size(node.at)?;
                    Flow::Next
                }
                NodeKind::Output(filtered) => {
                    self.output(node.at, filtered)?;
                    Flow::Next
                }
                NodeKind::If(branches) => self.if_tag(node.at, branches)?,
                _ => self.tag(node)?,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    /// A block inside the tag at `at`.
    fn inner_block(&mut self, at: Offset, nodes: &Block) -> Run<Flow> {
        if self.depth >= self.context.limits.depth {
            return failed(at, format!("more than {} blocks deep", self.context.limits.depth));
        }
        self.depth += 1;
        let flow = self.block(nodes);
        self.depth -= 1;
        flow
    }

    fn tag(&mut self, node: &Node) -> Run<Flow> {
        let at = node.at;
        match &node.kind {
            NodeKind::Assign { name, value } => {
                let value = self.filtered(value)?.into_owned();
                self.set_local(name, value);
            }
            NodeKind::Capture { name, body } => return self.capture(at, name, body),
            NodeKind::Case { subject, branches } => return self.case(at, subject, branches),
            NodeKind::For(node) => return self.for_tag(at, node),
            NodeKind::TableRow(node) => return self.tablerow(at, node),
            NodeKind::Cycle(node) => self.cycle(at, node)?,
            NodeKind::Increment(name) => self.count(at, name, 1)?,
            NodeKind::Decrement(name) => self.count(at, name, -1)?,
            NodeKind::IfChanged(body) => return self.if_changed(at, body),
            NodeKind::Partial(node) => return self.partial(at, node),
            NodeKind::ContentBlock(name) => return self.content_block(at, name),
            NodeKind::Break => return Ok(Flow::Break),
            NodeKind::Continue => return Ok(Flow::Continue),
            NodeKind::Abort(reason) => return self.abort(at, reason),
            NodeKind::Fetch(node) => self.fetch(at, node)?,
            NodeKind::Text { .. } | NodeKind::Output(_) | NodeKind::If(_) => {}
        }
        Ok(Flow::Next)
    }

    fn charge(&mut self, at: Offset, steps: u64) -> Run<()> {
        match self.budget.spend(steps) {
            Ok(()) => Ok(()),
            Err(message) => failed(at, message),
        }
    }

    fn check_size(&self, at: Offset) -> Run<()> {
        if self.out.len() > self.budget.max_text_bytes {
            return failed(at, TOO_LONG);
        }
        Ok(())
    }

    fn output(&mut self, at: Offset, filtered: &Filtered) -> Run<()> {
        if let Some(opaque) = self.context.opaque.filter(|_| self.captures == 0) {
            let value = self.filtered(filtered)?.into_owned();
            let mut text = String::new();
            if !write_value(&value, self.escape, &mut text, self.budget.max_text_bytes) {
                return failed(at, TOO_LONG);
            }
            self.budget.spend_text(text.len()).or_else(|message| failed(at, message))?;
            self.out.push_str(&opaque.keep(text));
            return self.check_size(at);
        }
        // The text is taken out so that a value can be written without copying it first.
        let mut out = std::mem::take(&mut self.out);
        let (escape, limit) = (self.escape, self.budget.max_text_bytes);
        let written =
            self.filtered(filtered).map(|value| write_value(&value, escape, &mut out, limit));
        self.out = out;
        if written? { Ok(()) } else { failed(at, TOO_LONG) }
    }

    fn print(&mut self, at: Offset, value: &Value) -> Run<()> {
        let limit = self.budget.max_text_bytes;
        if write_value(value, self.escape, &mut self.out, limit) {
            return Ok(());
        }
        failed(at, TOO_LONG)
    }

    fn set_local(&mut self, name: &Arc<str>, value: Value) {
        match self.frame.locals.iter_mut().find(|(local, _)| local == name) {
            Some((_, place)) => *place = value,
            None => self.frame.locals.push((name.clone(), value)),
        }
    }

    /// Renders a block into a text of its own.
    fn captured(&mut self, at: Offset, body: &Block) -> Run<(String, Flow)> {
        let outer = std::mem::take(&mut self.out);
        self.captures += 1;
        let flow = self.inner_block(at, body);
        self.captures -= 1;
        let text = std::mem::replace(&mut self.out, outer);
        let flow = flow?;
        match self.budget.spend_text(text.len()) {
            Ok(()) => Ok((text, flow)),
            Err(message) => failed(at, message),
        }
    }

    fn capture(&mut self, at: Offset, name: &Arc<str>, body: &Block) -> Run<Flow> {
        let (text, flow) = self.captured(at, body)?;
        // What was captured went through escaping already.
        let value = match self.escape {
            Escape::None => Value::text(text),
            Escape::Html => Value::finished_text(text),
        };
        self.set_local(name, value);
        Ok(flow)
    }

    fn if_changed(&mut self, at: Offset, body: &Block) -> Run<Flow> {
        let (text, flow) = self.captured(at, body)?;
        if self.frame.last_changed.as_deref() != Some(&text) {
            self.out.push_str(&text);
            self.frame.last_changed = Some(text);
            self.check_size(at)?;
        }
        Ok(flow)
    }

    /// `increment` prints and then adds, `decrement` takes away and then prints.
    fn count(&mut self, at: Offset, name: &Arc<str>, step: i64) -> Run<()> {
        let counters = &mut self.frame.counters;
        let position = counters.iter().position(|(counter, _)| counter == name);
        let position = position.unwrap_or_else(|| {
            counters.push((name.clone(), 0));
            counters.len() - 1
        });
        let counter = &mut counters[position].1;
        let before = *counter;
        *counter = before.saturating_add(step);
        let shown = if step > 0 { before } else { *counter };
        self.print(at, &Value::Int(shown))
    }
}

/// False when `out` grew past `limit`.
fn write_value(value: &Value, escape: Escape, out: &mut String, limit: usize) -> bool {
    match (value, escape) {
        (Value::Text(text), Escape::Html) if !text.is_finished() => {
            push_escaped(text.as_str(), out);
            out.len() <= limit
        }
        (Value::Array(_) | Value::Object(_), Escape::Html) => {
            let mut shown = String::new();
            let fits = write_shown(value, &mut shown, limit);
            push_escaped(&shown, out);
            fits && out.len() <= limit
        }
        _ => write_shown(value, out, limit),
    }
}
