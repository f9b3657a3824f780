//! A template that has been read once and can be rendered any number of times, from any thread.

use std::sync::Arc;

use crate::ast::Block;
use crate::context::Context;
use crate::error::{ParseError, RenderError};
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
        variables::collect(&self.nodes)
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
