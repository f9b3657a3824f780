//! Lists what a template reads, for the check of unknown fields before a send.

use crate::ast::{
    Block, Condition, Expression, Filtered, LoopOffset, NodeKind, Offset, Path, Root, Segment,
    WhenBranch,
};
use crate::value::Value;

/// The paths that are read, each once, with the offset of its first place.
pub(crate) fn collect(nodes: &Block) -> Vec<(Vec<String>, Offset)> {
    let mut reads = Reads::default();
    reads.block(nodes);
    let own = reads.own;
    reads.paths.retain(|(path, _)| !own.contains(&path[0]));
    reads.paths
}

#[derive(Default)]
struct Reads {
    paths: Vec<(Vec<String>, Offset)>,
    /// Names the template gives to values itself.
    own: Vec<String>,
}

impl Reads {
    fn block(&mut self, nodes: &Block) {
        for node in nodes {
            self.node(&node.kind);
        }
    }

    fn node(&mut self, kind: &NodeKind) {
        match kind {
            NodeKind::Text { .. }
            | NodeKind::Break
            | NodeKind::Continue
            | NodeKind::ContentBlock(_) => {}
            NodeKind::Output(value) => self.filtered(value),
            NodeKind::Assign { name, value } => {
                self.filtered(value);
                self.own(name);
            }
            NodeKind::Capture { name, body } => {
                self.block(body);
                self.own(name);
            }
            NodeKind::If(branches) => {
                for (condition, body) in branches {
                    condition.iter().for_each(|condition| self.condition(condition));
                    self.block(body);
                }
            }
            NodeKind::Case { subject, branches } => {
                self.expression(subject);
                branches.iter().for_each(|branch| self.when(branch));
            }
            NodeKind::For(node) => {
                self.expression(&node.collection);
                self.maybe(node.limit.as_ref());
                if let Some(LoopOffset::Items(offset)) = &node.offset {
                    self.expression(offset);
                }
                self.own(&node.variable);
                self.block(&node.body);
                self.block(&node.otherwise);
            }
            NodeKind::TableRow(node) => {
                self.expression(&node.collection);
                let arguments = [&node.limit, &node.offset, &node.columns];
                arguments.into_iter().for_each(|argument| self.maybe(argument.as_ref()));
                self.own(&node.variable);
                self.block(&node.body);
            }
            NodeKind::Cycle(node) => {
                self.maybe(node.group.as_ref());
                node.values.iter().for_each(|value| self.expression(value));
            }
            NodeKind::Increment(name) | NodeKind::Decrement(name) => self.own(name),
            NodeKind::IfChanged(body) | NodeKind::Abort(body) => self.block(body),
            NodeKind::Partial(node) => {
                self.expression(&node.name);
                self.maybe(node.with.as_ref());
                node.arguments.iter().for_each(|(_, value)| self.expression(value));
            }
            NodeKind::Fetch(node) => {
                self.block(&node.url);
                let parts =
                    [&node.method, &node.headers, &node.body, &node.content_type, &node.basic_auth];
                parts.into_iter().flatten().for_each(|part| self.block(part));
                self.own(&node.save);
            }
        }
    }

    fn own(&mut self, name: &str) {
        if !self.own.iter().any(|own| own == name) {
            self.own.push(name.to_owned());
        }
    }

    fn when(&mut self, branch: &WhenBranch) {
        match branch {
            WhenBranch::When(values, body) => {
                values.iter().for_each(|value| self.expression(value));
                self.block(body);
            }
            WhenBranch::Else(body) => self.block(body),
        }
    }

    fn condition(&mut self, condition: &Condition) {
        for test in &condition.tests {
            self.expression(&test.left);
            self.maybe(test.comparison.as_ref().map(|(_, right)| right));
        }
    }

    fn filtered(&mut self, filtered: &Filtered) {
        self.expression(&filtered.input);
        for call in &filtered.filters {
            call.positional.iter().for_each(|argument| self.expression(argument));
            call.named.iter().for_each(|(_, argument)| self.expression(argument));
        }
    }

    fn maybe(&mut self, expression: Option<&Expression>) {
        if let Some(expression) = expression {
            self.expression(expression);
        }
    }

    fn expression(&mut self, expression: &Expression) {
        match expression {
            Expression::Literal(_) => {}
            Expression::Range(ends) => {
                self.expression(&ends.0);
                self.expression(&ends.1);
            }
            Expression::Path(path) => self.path(path),
        }
    }

    fn path(&mut self, path: &Path) {
        let mut names = Vec::new();
        match &path.root {
            Root::Name(name) => names.push(name.to_string()),
            Root::Dollar(name) => names.push(format!("${{{name}}}")),
            Root::Computed(Expression::Literal(Value::Text(name))) => {
                names.push(name.as_str().to_owned());
            }
            Root::Computed(name) => self.expression(name),
            Root::ForLoop | Root::TableRowLoop => {}
        }
        let mut is_fixed = !names.is_empty();
        for segment in &path.segments {
            let name = match segment {
                Segment::Name(name) => Some(name.to_string()),
                Segment::Dollar(name) => Some(format!("${{{name}}}")),
                Segment::Index(Expression::Literal(Value::Text(name))) => {
                    Some(name.as_str().to_owned())
                }
                Segment::Index(index) => {
                    self.expression(index);
                    None
                }
            };
            is_fixed &= name.is_some();
            names.extend(name.filter(|_| is_fixed));
        }
        if !names.is_empty() && !self.paths.iter().any(|(known, _)| *known == names) {
            self.paths.push((names, path.at));
        }
    }
}
