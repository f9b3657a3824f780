//! A template that has been read once and can be rendered any number of times, from any thread.

use std::sync::Arc;

use crate::ast::Block;
use crate::context::Context;
use crate::error::{ParseError, RenderError, locate};
use crate::fetch::FetchRequest;
use crate::parse::{self, Usage};
use crate::render;
use crate::variables;

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    pub(crate) source: Arc<str>,
    pub(crate) nodes: Block,
    usage: Usage,
}

/// How a render ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Rendered {
    Complete(String),
    /// Answers are missing: fetch them, offer them in [`Context::answers`], render again.
    Pending(Vec<FetchRequest>),
    /// The template asked that nothing be sent; the reason may be empty.
    Aborted(String),
}

/// A path of the caller's variables that a template reads, and where first, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub path: Vec<String>,
    pub line: usize,
    pub column: usize,
}

/// The name of another template that is used in a template, and where first, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Included {
    pub name: String,
    pub line: usize,
    pub column: usize,
}

impl Template {
    /// Reads a template. Unknown tags and filters are errors here, not later.
    pub fn parse(source: &str) -> Result<Template, ParseError> {
        let (nodes, usage) = parse::parse(source)?;
        Ok(Template { source: Arc::from(source), nodes, usage })
    }

    pub fn render(&self, context: &Context<'_>) -> Result<Rendered, RenderError> {
        render::render(self, context)
    }

    /// Paths of the caller's variables that this template may read, each once: `["product",
    /// "name"]`, with `${name}` as its own spelling. A path ends before a computed part. Names
    /// the template sets itself are left out wherever they stand.
    pub fn variables(&self) -> Vec<Vec<String>> {
        variables::collect(&self.nodes).into_iter().map(|(path, _)| path).collect()
    }

    /// The first thousand of these paths with the place where each is read first.
    pub fn reads(&self) -> Vec<Read> {
        let found = variables::collect(&self.nodes).into_iter().take(1_000);
        let read = |(path, at)| {
            let (line, column) = locate(&self.source, at as usize);
            Read { path, line, column }
        };
        found.map(read).collect()
    }

    /// Other templates that this one names, by `render`, `include` or `content_blocks`, each once.
    pub fn includes(&self) -> Vec<Included> {
        let included = |(name, at): &(Arc<str>, usize)| {
            let (line, column) = locate(&self.source, *at);
            Included { name: name.to_string(), line, column }
        };
        self.usage.includes.iter().map(included).collect()
    }

    /// The line and column of the first `include` whose name is computed.
    pub fn computed_include(&self) -> Option<(usize, usize)> {
        self.usage.computed_include.map(|at| locate(&self.source, at))
    }

    /// Names of the tags in use, each once.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.usage.tags.iter().map(|name| &**name)
    }

    /// Names of the filters in use, each once.
    pub fn filters(&self) -> impl Iterator<Item = &'static str> {
        self.usage.filters.iter().copied()
    }
}
