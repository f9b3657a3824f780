//! `for`, `tablerow` and `cycle`.

use std::sync::Arc;

use super::control::{drop_white_space, is_blank};
use super::expression::Expressions;
use super::{Parsed, Parser};
use crate::ast::{Block, Cycle, Expression, For, LoopOffset, NodeKind, TableRow};
use crate::lexer::Tag;

/// `variable in collection`, shared by both loops, with the text it was written as.
struct Head {
    variable: Arc<str>,
    collection: Expression,
    name: Arc<str>,
}

impl Parser<'_> {
    pub(super) fn for_tag(&mut self, tag: &Tag) -> Parsed<NodeKind> {
        let mut expressions = self.expressions(tag.arguments.clone())?;
        let head = head(&mut expressions)?;
        let (mut limit, mut offset, mut reversed) = (None, None, false);
        loop {
            // Arguments may be parted by commas or by nothing.
            while expressions.take_sign(",") {}
            if expressions.is_done() {
                break;
            }
            if expressions.take_word("reversed") {
                reversed = true;
                continue;
            }
            match expressions.take_argument_name() {
                Some("limit") => limit = Some(expressions.value()?),
                Some("offset") if expressions.take_word("continue") => {
                    offset = Some(LoopOffset::Continue);
                }
                Some("offset") => offset = Some(LoopOffset::Items(expressions.value()?)),
                _ => return expressions.unexpected("'limit:', 'offset:' or 'reversed'"),
            }
        }
        let (body, otherwise) = self.loop_bodies(tag)?;
        let Head { variable, collection, name } = head;
        let node = For { variable, collection, name, limit, offset, reversed, body, otherwise };
        Ok(NodeKind::For(Box::new(node)))
    }

    fn loop_bodies(&mut self, tag: &Tag) -> Parsed<(Block, Block)> {
        let (mut body, ender) = self.closed_block(tag.at, "for", &["else", "endfor"])?;
        let mut otherwise = Block::new();
        if self.name(&ender) == "else" {
            otherwise = self.closed_block(tag.at, "for", &["endfor"])?.0;
        }
        if is_blank(self.source, &body) && is_blank(self.source, &otherwise) {
            drop_white_space(&mut body);
            drop_white_space(&mut otherwise);
        }
        Ok((body, otherwise))
    }

    pub(super) fn tablerow(&mut self, tag: &Tag) -> Parsed<NodeKind> {
        let mut expressions = self.expressions(tag.arguments.clone())?;
        let Head { variable, collection, .. } = head(&mut expressions)?;
        let (mut limit, mut offset, mut columns) = (None, None, None);
        loop {
            while expressions.take_sign(",") {}
            if expressions.is_done() {
                break;
            }
            match expressions.take_argument_name() {
                Some("limit") => limit = Some(expressions.value()?),
                Some("offset") => offset = Some(expressions.value()?),
                Some("cols") => columns = Some(expressions.value()?),
                _ => return expressions.unexpected("'cols:', 'limit:' or 'offset:'"),
            }
        }
        let (body, _) = self.closed_block(tag.at, "tablerow", &["endtablerow"])?;
        let node = TableRow { variable, collection, limit, offset, columns, body };
        Ok(NodeKind::TableRow(Box::new(node)))
    }

    pub(super) fn cycle(&mut self, tag: &Tag) -> Parsed<NodeKind> {
        let mut expressions = self.expressions(tag.arguments.clone())?;
        let start = expressions.at();
        let first = expressions.value()?;
        let (group, mut values) = if expressions.take_sign(":") {
            (Some(first), vec![expressions.value()?])
        } else {
            (None, vec![first])
        };
        while expressions.take_sign(",") && !expressions.is_done() {
            values.push(expressions.value()?);
        }
        expressions.finish()?;
        let source = Arc::from(expressions.text_between(start, expressions.last_end()));
        Ok(NodeKind::Cycle(Box::new(Cycle { group, source, values })))
    }
}

fn head(expressions: &mut Expressions<'_, '_>) -> Parsed<Head> {
    let variable = expressions.expect_word()?;
    if !expressions.take_word("in") {
        return expressions.unexpected("'in'");
    }
    let collection_start = expressions.at();
    let collection = expressions.value()?;
    let written = expressions.text_between(collection_start, expressions.last_end());
    let name = Arc::from(format!("{variable}-{written}"));
    Ok(Head { variable: Arc::from(variable), collection, name })
}
