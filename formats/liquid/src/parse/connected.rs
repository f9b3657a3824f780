//! `abort_message` and `connected_content`: Braze's own tags, whose insides are not Liquid
//! expressions but text with Liquid in it.

use std::ops::Range;
use std::sync::Arc;

use super::{Parsed, Parser};
use crate::ast::{Block, Fetch, NodeKind};
use crate::lexer::{Tag, trimmed};

const DEFAULT_VARIABLE: &str = "connected";

impl Parser<'_> {
    /// `abort_message`, `abort_message()` or `abort_message('reason')`.
    pub(super) fn abort_message(&mut self, tag: &Tag) -> Parsed<NodeKind> {
        let mut range = tag.arguments.clone();
        let text = self.arguments(tag);
        if text.is_empty() {
            return Ok(NodeKind::Abort(Block::new()));
        }
        if !text.starts_with('(') || !text.ends_with(')') || text.len() < 2 {
            return Err((range.start, "expected abort_message('reason')".into()));
        }
        range = trimmed(self.source, range.start + 1..range.end - 1);
        let reason = &self.source[range.clone()];
        if reason.is_empty() {
            return Ok(NodeKind::Abort(Block::new()));
        }
        let quoted = reason.len() >= 2
            && ['\'', '"']
                .iter()
                .any(|quote| reason.starts_with(*quote) && reason.ends_with(*quote));
        if !quoted {
            return Err((range.start, "the reason must stand in quotes".into()));
        }
        Ok(NodeKind::Abort(self.nested(range.start + 1..range.end - 1)?))
    }

    /// `connected_content URL :option value …`
    pub(super) fn connected_content(&mut self, tag: &Tag) -> Parsed<NodeKind> {
        let mut parts = split_options(self.source, tag.arguments.clone()).into_iter();
        let url = parts.next().unwrap_or(tag.arguments.clone());
        if url.is_empty() || self.source[url.clone()].starts_with(':') {
            return Err((tag.at, "'connected_content' needs an address".into()));
        }
        let mut fetch = Fetch {
            url: self.nested(url)?,
            save: Arc::from(DEFAULT_VARIABLE),
            has_save: false,
            method: None,
            headers: None,
            body: None,
            content_type: None,
            basic_auth: None,
            retry: false,
            no_cache: false,
            cache_max_age_seconds: None,
        };
        for part in parts {
            self.fetch_option(&mut fetch, part)?;
        }
        Ok(NodeKind::Fetch(Box::new(fetch)))
    }

    fn fetch_option(&mut self, fetch: &mut Fetch, part: Range<usize>) -> Parsed<()> {
        let text = &self.source[part.clone()];
        let name_end = text.find(char::is_whitespace).unwrap_or(text.len());
        let value = trimmed(self.source, part.start + name_end..part.end);
        let (name, value_text) = (&text[..name_end], &self.source[value.clone()]);
        let needs_value = !matches!(name, ":retry" | ":no_cache");
        if needs_value && value.is_empty() {
            return Err((part.start, format!("option '{name}' needs a value")));
        }
        match name {
            ":save" => {
                fetch.save = Arc::from(value_text);
                fetch.has_save = true;
            }
            ":method" => fetch.method = Some(self.nested(value)?),
            ":headers" => fetch.headers = Some(self.nested(value)?),
            ":body" => fetch.body = Some(self.nested(value)?),
            ":content_type" => fetch.content_type = Some(self.nested(value)?),
            ":basic_auth" => fetch.basic_auth = Some(self.nested(value)?),
            ":retry" => fetch.retry = true,
            ":no_cache" => fetch.no_cache = true,
            ":cache_max_age" | ":cache" => {
                let seconds = value_text.parse();
                fetch.cache_max_age_seconds =
                    Some(seconds.map_err(|_| (value.start, "expected whole seconds".into()))?);
            }
            _ => return Err((part.start, format!("unknown option '{name}'"))),
        }
        Ok(())
    }
}

/// The address and then each option with its value. An option starts with a colon and a letter
/// after white space, outside `{{ }}` and outside quotes within braces.
fn split_options(source: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let text = &source[range.clone()];
    let bytes = text.as_bytes();
    let mut parts = Vec::new();
    let mut start = 0;
    let mut braces = 0_usize;
    for (position, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' => braces += 1,
            b'}' => braces = braces.saturating_sub(1),
            b':' if braces == 0 && position > 0 => {
                let after_space = bytes[position - 1].is_ascii_whitespace();
                let before_letter = bytes.get(position + 1).is_some_and(u8::is_ascii_alphabetic);
                if after_space && before_letter {
                    parts.push(trimmed(source, range.start + start..range.start + position));
                    start = position;
                }
            }
            _ => {}
        }
    }
    parts.push(trimmed(source, range.start + start..range.end));
    parts
}
