//! Assignments, conditions, cases and the counters: tags that decide and remember.

use std::sync::Arc;

use super::{Parsed, Parser};
use crate::ast::{Block, Expression, NodeKind, WhenBranch};
use crate::lexer::Tag;
use crate::tokens::Kind;

impl Parser<'_> {
    pub(super) fn assign(&mut self, tag: &Tag) -> Parsed<NodeKind> {
        let mut expressions = self.expressions(tag.arguments.clone())?;
        let name = Arc::from(expressions.expect_word()?);
        expressions.expect_sign("=")?;
        let value = expressions.filtered()?;
        expressions.finish()?;
        Ok(NodeKind::Assign { name, value })
    }

    pub(super) fn capture(&mut self, tag: &Tag) -> Parsed<NodeKind> {
        let name = self.only_name(tag)?;
        let (body, _) = self.closed_block(tag.at, "capture", &["endcapture"])?;
        Ok(NodeKind::Capture { name, body })
    }

    /// A tag whose whole argument is a name; quotes around it are forgiven.
    pub(super) fn only_name(&mut self, tag: &Tag) -> Parsed<Arc<str>> {
        let mut expressions = self.expressions(tag.arguments.clone())?;
        let name = match expressions.peek() {
            Some(Kind::Word(name) | Kind::Text(name)) => Arc::from(*name),
            _ => return expressions.unexpected("a name"),
        };
        expressions.advance();
        expressions.finish()?;
        Ok(name)
    }

    pub(super) fn if_tag(&mut self, tag: &Tag, negated: bool) -> Parsed<NodeKind> {
        let (opener, end) = if negated { ("unless", "endunless") } else { ("if", "endif") };
        let enders = ["elsif", "else", end];
        let mut condition = self.expressions(tag.arguments.clone())?.condition()?;
        condition.negated = negated;
        let mut condition = Some(condition);
        let mut branches = Vec::new();
        loop {
            let (body, ender) = self.closed_block(tag.at, opener, &enders)?;
            branches.push((condition, body));
            condition = match self.name(&ender) {
                "elsif" => Some(self.expressions(ender.arguments.clone())?.condition()?),
                "else" => None,
                _ => break,
            };
        }
        if branches.iter().all(|(_, body)| is_blank(self.source, body)) {
            branches.iter_mut().for_each(|(_, body)| drop_white_space(body));
        }
        Ok(NodeKind::If(branches))
    }

    pub(super) fn case(&mut self, tag: &Tag) -> Parsed<NodeKind> {
        let mut expressions = self.expressions(tag.arguments.clone())?;
        let subject = expressions.value()?;
        expressions.finish()?;
        let enders = ["when", "else", "endcase"];
        // What stands before the first `when` is never rendered.
        let (_, mut ender) = self.closed_block(tag.at, "case", &enders)?;
        let mut branches: Vec<WhenBranch> = Vec::new();
        let mut all_blank = true;
        loop {
            let values = match self.name(&ender) {
                "when" => Some(self.when_values(&ender)?),
                "else" => None,
                _ => break,
            };
            let (body, next) = self.closed_block(tag.at, "case", &enders)?;
            all_blank &= is_blank(self.source, &body);
            branches.push(match values {
                Some(values) => WhenBranch::When(values, body),
                None => WhenBranch::Else(body),
            });
            ender = next;
        }
        if all_blank {
            for branch in &mut branches {
                match branch {
                    WhenBranch::When(_, body) | WhenBranch::Else(body) => drop_white_space(body),
                }
            }
        }
        Ok(NodeKind::Case { subject, branches })
    }

    fn when_values(&mut self, tag: &Tag) -> Parsed<Vec<Expression>> {
        let mut expressions = self.expressions(tag.arguments.clone())?;
        let mut values = vec![expressions.value()?];
        while expressions.take_sign(",") || expressions.take_word("or") {
            if expressions.is_done() {
                break;
            }
            values.push(expressions.value()?);
        }
        expressions.finish()?;
        Ok(values)
    }
}

/// True for a block that can print nothing but white space.
pub(super) fn is_blank(source: &str, block: &Block) -> bool {
    block.iter().all(|node| match &node.kind {
        NodeKind::Text { end, raw } => {
            !raw && source[node.at as usize..*end as usize].trim().is_empty()
        }
        NodeKind::Assign { .. } | NodeKind::Capture { .. } | NodeKind::Abort(_) => true,
        NodeKind::If(branches) => branches.iter().all(|(_, body)| is_blank(source, body)),
        NodeKind::Case { branches, .. } => branches.iter().all(|branch| match branch {
            WhenBranch::When(_, body) | WhenBranch::Else(body) => is_blank(source, body),
        }),
        NodeKind::For(node) => is_blank(source, &node.body) && is_blank(source, &node.otherwise),
        NodeKind::IfChanged(body) => is_blank(source, body),
        _ => false,
    })
}

/// A control tag that can print nothing but white space prints nothing at all.
pub(super) fn drop_white_space(block: &mut Block) {
    block.retain(|node| !matches!(node.kind, NodeKind::Text { .. }));
}
