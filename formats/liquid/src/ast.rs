//! A template after reading: what the renderer walks. Offsets are bytes into the source.

use std::sync::Arc;

use crate::filters::Filter;
use crate::value::Value;

pub(crate) type Offset = u32;
pub(crate) type Block = Vec<Node>;

#[derive(Debug)]
pub(crate) struct Node {
    pub at: Offset,
    pub kind: NodeKind,
}

#[derive(Debug)]
pub(crate) enum NodeKind {
    /// From `at` up to `end`. What stands in `raw` is never taken for mere white space.
    Text {
        end: Offset,
        raw: bool,
    },
    Output(Filtered),
    Assign {
        name: Arc<str>,
        value: Filtered,
    },
    Capture {
        name: Arc<str>,
        body: Block,
    },
    /// The first branch that holds; `else` is a branch without a condition.
    If(Vec<(Option<Condition>, Block)>),
    Case {
        subject: Expression,
        branches: Vec<WhenBranch>,
    },
    For(Box<For>),
    TableRow(Box<TableRow>),
    Cycle(Box<Cycle>),
    Increment(Arc<str>),
    Decrement(Arc<str>),
    IfChanged(Block),
    Partial(Box<Partial>),
    /// `{{content_blocks.${name}}}`: another template, in the scope it stands in.
    ContentBlock(Arc<str>),
    Break,
    Continue,
    Abort(Block),
    Fetch(Box<Fetch>),
}

#[derive(Debug)]
pub(crate) enum Expression {
    Literal(Value),
    Path(Box<Path>),
    Range(Box<(Expression, Expression)>),
}

#[derive(Debug)]
pub(crate) struct Path {
    pub at: Offset,
    pub root: Root,
    pub segments: Vec<Segment>,
}

#[derive(Debug)]
pub(crate) enum Root {
    Name(Arc<str>),
    /// `${name}`
    Dollar(Arc<str>),
    /// `[expression]`: a variable whose name is computed.
    Computed(Expression),
    ForLoop,
    TableRowLoop,
}

#[derive(Debug)]
pub(crate) enum Segment {
    Name(Arc<str>),
    Dollar(Arc<str>),
    Index(Expression),
}

/// An expression and the filters it goes through.
#[derive(Debug)]
pub(crate) struct Filtered {
    pub input: Expression,
    pub filters: Vec<FilterCall>,
}

#[derive(Debug)]
pub(crate) struct FilterCall {
    pub at: Offset,
    pub filter: &'static Filter,
    pub positional: Vec<Expression>,
    pub named: Vec<(Arc<str>, Expression)>,
}

/// `a and b or c`, read from the right: `a and (b or c)`.
#[derive(Debug)]
pub(crate) struct Condition {
    pub negated: bool,
    pub tests: Vec<Test>,
    /// Joins test `n` with what follows it; one fewer than tests.
    pub joins: Vec<Join>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Join {
    And,
    Or,
}

#[derive(Debug)]
pub(crate) struct Test {
    pub at: Offset,
    pub left: Expression,
    pub comparison: Option<(Comparison, Expression)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Contains,
}

#[derive(Debug)]
pub(crate) enum WhenBranch {
    /// The body is rendered once for every value that matches.
    When(Vec<Expression>, Block),
    /// Rendered when nothing before it matched.
    Else(Block),
}

#[derive(Debug)]
pub(crate) struct For {
    pub variable: Arc<str>,
    pub collection: Expression,
    /// Variable and collection as written; `forloop.name`, and the key of `offset: continue`.
    pub name: Arc<str>,
    pub limit: Option<Expression>,
    pub offset: Option<LoopOffset>,
    pub reversed: bool,
    pub body: Block,
    pub otherwise: Block,
}

#[derive(Debug)]
pub(crate) enum LoopOffset {
    Continue,
    Items(Expression),
}

#[derive(Debug)]
pub(crate) struct TableRow {
    pub variable: Arc<str>,
    pub collection: Expression,
    pub limit: Option<Expression>,
    pub offset: Option<Expression>,
    pub columns: Option<Expression>,
    pub body: Block,
}

#[derive(Debug)]
pub(crate) struct Cycle {
    pub group: Option<Expression>,
    /// The values as written, the group of a cycle without a name.
    pub source: Arc<str>,
    pub values: Vec<Expression>,
}

#[derive(Debug)]
pub(crate) struct Partial {
    /// `render` sees only what it is given and the caller's data; `include` shares everything.
    pub isolated: bool,
    pub name: Expression,
    pub with: Option<Expression>,
    /// `for`: once per item of the `with` value.
    pub each: bool,
    pub alias: Option<Arc<str>>,
    pub arguments: Vec<(Arc<str>, Expression)>,
}

/// `connected_content`: each part is a small template of its own.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub url: Block,
    pub save: Arc<str>,
    pub has_save: bool,
    pub method: Option<Block>,
    pub headers: Option<Block>,
    pub body: Option<Block>,
    pub content_type: Option<Block>,
    pub basic_auth: Option<Block>,
    pub retry: bool,
    pub no_cache: bool,
    pub cache_max_age_seconds: Option<u32>,
}
