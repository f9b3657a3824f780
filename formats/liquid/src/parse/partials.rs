//! `render` and `include`: other templates by name.

use std::ops::Range;
use std::sync::Arc;

use super::{Parsed, Parser};
use crate::ast::{Expression, NodeKind, Partial, Root, Segment};
use crate::lexer::Tag;
use crate::value::Value;

impl Parser<'_> {
    pub(super) fn partial(&mut self, tag: &Tag, isolated: bool) -> Parsed<NodeKind> {
        let mut expressions = self.expressions(tag.arguments.clone())?;
        let at = expressions.at();
        let name = expressions.value()?;
        if isolated && !matches!(name, Expression::Literal(Value::Text(_))) {
            return Err((at, "'render' needs the template's name in quotes".into()));
        }
        match &name {
            Expression::Literal(Value::Text(text)) => {
                expressions.usage().note_include(text.as_str(), tag.at);
            }
            _ => {
                expressions.usage().computed_include.get_or_insert(tag.at);
            }
        }
        let mut node =
            Partial { isolated, name, with: None, each: false, alias: None, arguments: Vec::new() };
        if expressions.take_word("with") {
            node.with = Some(expressions.value()?);
        } else if expressions.take_word("for") {
            node.with = Some(expressions.value()?);
            node.each = true;
        }
        if node.with.is_some() && expressions.take_word("as") {
            node.alias = Some(Arc::from(expressions.expect_word()?));
        }
        loop {
            while expressions.take_sign(",") {}
            if expressions.is_done() {
                break;
            }
            let Some(name) = expressions.take_argument_name() else {
                return expressions.unexpected("an argument like 'name: value'");
            };
            node.arguments.push((Arc::from(name), expressions.value()?));
        }
        Ok(NodeKind::Partial(Box::new(node)))
    }

    /// The name in `content_blocks.${name}`, if an output is that and nothing more. Braze writes
    /// `| id: 'cb1'` behind it for its own use.
    pub(super) fn content_block(&mut self, content: Range<usize>) -> Parsed<Option<Arc<str>>> {
        if !self.source[content.clone()].starts_with("content_blocks") {
            return Ok(None);
        }
        let mut expressions = self.expressions(content)?;
        let Expression::Path(path) = expressions.value()? else { return Ok(None) };
        let name = match (&path.root, path.segments.as_slice()) {
            (Root::Name(root), [segment]) if &**root == "content_blocks" => match segment {
                Segment::Dollar(name) | Segment::Name(name) => name.clone(),
                Segment::Index(Expression::Literal(Value::Text(name))) => Arc::from(name.as_str()),
                Segment::Index(_) => return Ok(None),
            },
            _ => return Ok(None),
        };
        while expressions.take_sign("|") {
            if !expressions.take_word("id") {
                let message = "a content block takes no filters; put it into a capture first";
                return Err((expressions.at(), message.into()));
            }
            if expressions.take_sign(":") {
                expressions.value()?;
            }
        }
        expressions.finish()?;
        Ok(Some(name))
    }
}
