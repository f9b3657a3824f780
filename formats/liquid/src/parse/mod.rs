//! Reads a template into its tree: blocks and their ends here, what stands inside tags beside it.
//! Knows nothing of data.

mod connected;
mod control;
mod expression;
mod loops;
mod partials;

use std::ops::Range;
use std::sync::Arc;

use crate::ast::{Block, Node, NodeKind, Offset};
use crate::error::{ParseError, parse_error};
use crate::lexer::{Chunk, Lexer, Tag, Unclosed};
use expression::Expressions;

/// Blocks and brackets inside each other.
const MAX_DEPTH: usize = 100;
/// Offsets are kept in 32 bits.
const MAX_SOURCE_BYTES: usize = 16 * 1024 * 1024;

type Parsed<T> = Result<T, Unclosed>;

pub(crate) fn parse(source: &str) -> Result<(Block, Usage), ParseError> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(parse_error(source, 0, "the template is longer than 16 MiB"));
    }
    let mut parser = Parser {
        source,
        lexer: Lexer::template(source, 0..source.len()),
        depth: 0,
        usage: Usage::default(),
    };
    match parser.block("", &[]) {
        Ok((block, _)) => Ok((block, parser.usage)),
        Err((at, message)) => Err(parse_error(source, at, message)),
    }
}

/// Names of the tags and filters a template uses, each once, in order of appearance.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    pub tags: Vec<Arc<str>>,
    pub filters: Vec<&'static str>,
    /// Other templates that are named in this one, and where first.
    pub includes: Vec<(Arc<str>, usize)>,
    /// Where an `include` first computes the name of what it prints.
    pub computed_include: Option<usize>,
}

impl Usage {
    fn note_tag(&mut self, name: &str) {
        if !self.tags.iter().any(|tag| &**tag == name) {
            self.tags.push(name.into());
        }
    }

    pub(super) fn note_include(&mut self, name: &str, at: usize) {
        if !self.includes.iter().any(|(known, _)| &**known == name) {
            self.includes.push((name.into(), at));
        }
    }

    fn note_filter(&mut self, name: &'static str) {
        if !self.filters.contains(&name) {
            self.filters.push(name);
        }
    }
}

struct Parser<'s> {
    source: &'s str,
    lexer: Lexer<'s>,
    depth: usize,
    usage: Usage,
}

/// The tag that ended a block; `None` at the end of the template.
type Ender = Option<Tag>;

fn offset(at: usize) -> Offset {
    // Cannot be cut: the source is at most MAX_SOURCE_BYTES long.
    at as Offset
}

impl<'s> Parser<'s> {
    /// Reads nodes up to one of the tags in `enders`, which belong to the tag `opener`.
    fn block(&mut self, opener: &str, enders: &[&str]) -> Parsed<(Block, Ender)> {
        self.depth += 1;
        let mut nodes = Block::new();
        let ender = loop {
            match self.lexer.next()? {
                Chunk::Text(range) => nodes.push(Node {
                    at: offset(range.start),
                    kind: NodeKind::Text { end: offset(range.end), raw: false },
                }),
                Chunk::Output { at, content } => self.output(at, content, &mut nodes)?,
                Chunk::Tag(tag) => {
                    let name = self.name(&tag);
                    if enders.contains(&name) {
                        break Some(tag);
                    }
                    if self.depth >= MAX_DEPTH {
                        return Err((tag.at, format!("more than {MAX_DEPTH} blocks deep")));
                    }
                    self.tag(opener, tag, &mut nodes)?;
                }
                Chunk::End => break None,
            }
        };
        self.depth -= 1;
        Ok((nodes, ender))
    }

    /// Reads a block that must end, having been opened at `opened_at` by the tag `opener`.
    fn closed_block(
        &mut self,
        opened_at: usize,
        opener: &str,
        enders: &[&str],
    ) -> Parsed<(Block, Tag)> {
        let (block, ender) = self.block(opener, enders)?;
        match ender {
            Some(tag) => Ok((block, tag)),
            None => Err((opened_at, format!("'{opener}' is not closed with 'end{opener}'"))),
        }
    }

    fn name(&self, tag: &Tag) -> &'s str {
        &self.source[tag.name.clone()]
    }

    fn arguments(&self, tag: &Tag) -> &'s str {
        &self.source[tag.arguments.clone()]
    }

    fn output(&mut self, at: usize, content: Range<usize>, nodes: &mut Block) -> Parsed<()> {
        if content.is_empty() {
            return Ok(());
        }
        if let Some(name) = self.content_block(content.clone())? {
            self.usage.note_include(&name, at);
            nodes.push(Node { at: offset(at), kind: NodeKind::ContentBlock(name) });
            return Ok(());
        }
        let mut expressions = self.expressions(content)?;
        let value = expressions.filtered()?;
        expressions.finish()?;
        nodes.push(Node { at: offset(at), kind: NodeKind::Output(value) });
        Ok(())
    }

    fn expressions(&mut self, range: Range<usize>) -> Parsed<Expressions<'s, '_>> {
        Expressions::new(self.source, range, &mut self.usage)
    }

    fn tag(&mut self, opener: &str, tag: Tag, nodes: &mut Block) -> Parsed<()> {
        let name = self.name(&tag);
        self.usage.note_tag(name);
        let kind = match name {
            "assign" => self.assign(&tag)?,
            "echo" => return self.output(tag.at, tag.arguments, nodes),
            "capture" => self.capture(&tag)?,
            "if" => self.if_tag(&tag, false)?,
            "unless" => self.if_tag(&tag, true)?,
            "case" => self.case(&tag)?,
            "for" => self.for_tag(&tag)?,
            "tablerow" => self.tablerow(&tag)?,
            "cycle" => self.cycle(&tag)?,
            "break" => NodeKind::Break,
            "continue" => NodeKind::Continue,
            "increment" => NodeKind::Increment(self.only_name(&tag)?),
            "decrement" => NodeKind::Decrement(self.only_name(&tag)?),
            "ifchanged" => {
                NodeKind::IfChanged(self.closed_block(tag.at, name, &["endifchanged"])?.0)
            }
            "render" => self.partial(&tag, true)?,
            "include" => self.partial(&tag, false)?,
            "abort_message" => self.abort_message(&tag)?,
            "connected_content" => self.connected_content(&tag)?,
            "liquid" => return self.liquid(&tag, nodes),
            "raw" => return self.raw(&tag, nodes),
            "#" => return self.inline_comment(&tag),
            "comment" => return self.comment(&tag),
            "doc" => return self.doc(&tag),
            _ => return Err((tag.at, unknown_tag(name, opener))),
        };
        nodes.push(Node { at: offset(tag.at), kind });
        Ok(())
    }

    fn liquid(&mut self, tag: &Tag, nodes: &mut Block) -> Parsed<()> {
        let lines = Lexer::lines(self.source, tag.arguments.clone());
        let outer = std::mem::replace(&mut self.lexer, lines);
        let (mut block, _) = self.block("liquid", &[])?;
        self.lexer = outer;
        nodes.append(&mut block);
        Ok(())
    }

    fn raw(&mut self, tag: &Tag, nodes: &mut Block) -> Parsed<()> {
        let Some(range) = self.lexer.take_raw_until("endraw") else {
            return Err((tag.at, "'raw' is not closed with 'endraw'".into()));
        };
        if !range.is_empty() {
            let kind = NodeKind::Text { end: offset(range.end), raw: true };
            nodes.push(Node { at: offset(range.start), kind });
        }
        Ok(())
    }

    fn inline_comment(&mut self, tag: &Tag) -> Parsed<()> {
        let broken = self.arguments(tag).lines().skip(1).any(|line| {
            let line = line.trim_start();
            !line.is_empty() && !line.starts_with('#')
        });
        if broken {
            return Err((tag.at, "every line of an inline comment must start with '#'".into()));
        }
        Ok(())
    }

    fn comment(&mut self, tag: &Tag) -> Parsed<()> {
        if self.lexer.skip_comment() {
            return Ok(());
        }
        Err((tag.at, "'comment' is not closed with 'endcomment'".into()))
    }

    fn doc(&mut self, tag: &Tag) -> Parsed<()> {
        if self.lexer.take_raw_until("enddoc").is_some() {
            return Ok(());
        }
        Err((tag.at, "'doc' is not closed with 'enddoc'".into()))
    }

    /// Parses part of the source as a template of its own, for tags that hold Liquid.
    fn nested(&mut self, range: Range<usize>) -> Parsed<Block> {
        let lexer = Lexer::template(self.source, range);
        let outer = std::mem::replace(&mut self.lexer, lexer);
        let (block, _) = self.block("", &[])?;
        self.lexer = outer;
        Ok(block)
    }
}

fn unknown_tag(name: &str, opener: &str) -> String {
    match (name, opener) {
        ("", _) => "a tag needs a name".into(),
        (_, "") => format!("unknown tag '{name}'"),
        _ if name.starts_with("end") => {
            format!("unexpected tag '{name}', '{opener}' is still open")
        }
        _ => format!("unknown tag '{name}' in '{opener}'"),
    }
}
