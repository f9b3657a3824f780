//! `render` and `include`: other templates by name.

use std::sync::Arc;

use super::{Parsed, Parser};
use crate::ast::{Expression, NodeKind, Partial};
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
}
