//! Cuts a template into text, outputs and tags, minding white space control. Knows nothing of what
//! stands inside an output or a tag.

use std::ops::Range;

/// One piece of a template. Ranges are bytes into the source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Chunk {
    Text(Range<usize>),
    Output { at: usize, content: Range<usize> },
    Tag(Tag),
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tag {
    pub at: usize,
    pub name: Range<usize>,
    /// What follows the name, trimmed.
    pub arguments: Range<usize>,
}

/// Offset and message of a piece that does not end.
pub(crate) type Unclosed = (usize, String);

#[derive(Debug)]
pub(crate) struct Lexer<'s> {
    source: &'s str,
    position: usize,
    end: usize,
    mode: Mode,
    trim_next_text: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Template,
    /// Inside `{% liquid %}` every line is a tag.
    Lines,
}

impl<'s> Lexer<'s> {
    pub fn template(source: &'s str, range: Range<usize>) -> Lexer<'s> {
        let Range { start, end } = range;
        Lexer { source, position: start, end, mode: Mode::Template, trim_next_text: false }
    }

    pub fn lines(source: &'s str, range: Range<usize>) -> Lexer<'s> {
        Lexer { mode: Mode::Lines, ..Lexer::template(source, range) }
    }

    /// Where the last chunk ended.
    pub fn position(&self) -> usize {
        self.position
    }

    pub fn next(&mut self) -> Result<Chunk, Unclosed> {
        match self.mode {
            Mode::Template => self.next_in_template(),
            Mode::Lines => Ok(self.next_line()),
        }
    }

    fn next_line(&mut self) -> Chunk {
        while self.position < self.end {
            let rest = &self.source[self.position..self.end];
            let length = rest.find('\n').unwrap_or(rest.len());
            let line = trimmed(self.source, self.position..self.position + length);
            self.position = (self.position + length + 1).min(self.end);
            if !line.is_empty() {
                return Chunk::Tag(split_tag(self.source, line.start, line));
            }
        }
        Chunk::End
    }

    fn next_in_template(&mut self) -> Result<Chunk, Unclosed> {
        if self.position >= self.end {
            return Ok(Chunk::End);
        }
        let opening = self.find_opening(self.position);
        let text_end = opening.unwrap_or(self.end);
        if text_end > self.position {
            let text = self.cut_text(text_end, opening.is_some_and(|at| self.is_trimming(at + 2)));
            if !text.is_empty() {
                return Ok(Chunk::Text(text));
            }
        }
        let Some(at) = opening else { return Ok(Chunk::End) };
        self.trim_next_text = false;
        if self.source.as_bytes()[at + 1] == b'{' { self.cut_output(at) } else { self.cut_tag(at) }
    }

    /// Consumes text up to `text_end` and returns what is left of it after trimming.
    fn cut_text(&mut self, text_end: usize, trim_end: bool) -> Range<usize> {
        let mut range = self.position..text_end;
        if self.trim_next_text {
            let text = &self.source[range.clone()];
            range.start += text.len() - text.trim_start().len();
        }
        if trim_end {
            let text = &self.source[range.clone()];
            range.end = range.start + text.trim_end().len();
        }
        self.position = text_end;
        self.trim_next_text = false;
        range
    }

    fn cut_output(&mut self, at: usize) -> Result<Chunk, Unclosed> {
        let Some(close) = self.find_output_end(at + 2) else {
            return Err((at, "output is not closed with '}}'".into()));
        };
        let content = self.inside(at + 2, close);
        self.position = close + 2;
        Ok(Chunk::Output { at, content })
    }

    fn cut_tag(&mut self, at: usize) -> Result<Chunk, Unclosed> {
        let Some(length) = self.source[at + 2..self.end].find("%}") else {
            return Err((at, "tag is not closed with '%}'".into()));
        };
        let close = at + 2 + length;
        let content = self.inside(at + 2, close);
        self.position = close + 2;
        Ok(Chunk::Tag(split_tag(self.source, at, content)))
    }

    /// What stands between the delimiters, without their dashes; notes a trailing dash.
    fn inside(&mut self, start: usize, close: usize) -> Range<usize> {
        let bytes = self.source.as_bytes();
        let start = if self.is_trimming(start) && start < close { start + 1 } else { start };
        self.trim_next_text = close > start && bytes[close - 1] == b'-';
        let end = if self.trim_next_text { close - 1 } else { close };
        trimmed(self.source, start..end)
    }

    fn is_trimming(&self, at: usize) -> bool {
        self.source.as_bytes().get(at) == Some(&b'-')
    }

    /// The next `{{` or `{%`.
    fn find_opening(&self, from: usize) -> Option<usize> {
        let bytes = self.source.as_bytes();
        let mut position = from;
        while let Some(found) = self.source[position..self.end].find('{') {
            let at = position + found;
            if at + 1 < self.end && matches!(bytes[at + 1], b'{' | b'%') {
                return Some(at);
            }
            position = at + 1;
        }
        None
    }

    /// The next `}}` that does not close a `${…}`.
    fn find_output_end(&self, from: usize) -> Option<usize> {
        let bytes = self.source.as_bytes();
        let mut position = from;
        while position + 1 < self.end {
            if bytes[position] == b'$' && bytes[position + 1] == b'{' {
                position += self.source[position..self.end].find('}')?;
            } else if bytes[position] == b'}' && bytes[position + 1] == b'}' {
                return Some(position);
            }
            position += 1;
        }
        None
    }

    /// Takes everything up to the tag `name` as it stands, and the tag with it.
    pub fn take_raw_until(&mut self, name: &str) -> Option<Range<usize>> {
        if self.mode == Mode::Lines {
            return None;
        }
        let start = self.position;
        let mut position = start;
        loop {
            let at = position + self.source[position..self.end].find("{%")?;
            if self.tag_name_at(at) == name {
                let close = at + self.source[at..self.end].find("%}")?;
                self.trim_next_text = self.source.as_bytes()[close - 1] == b'-';
                self.position = close + 2;
                return Some(start..at);
            }
            position = at + 2;
        }
    }

    /// Skips a comment whose opening tag has been read, with the comments inside it. Tags inside
    /// need not be Liquid at all. False when it has no end.
    pub fn skip_comment(&mut self) -> bool {
        let mut open = 1_usize;
        while open > 0 {
            let name = match self.mode {
                Mode::Lines => match self.next_line() {
                    Chunk::Tag(tag) => &self.source[tag.name],
                    _ => return false,
                },
                Mode::Template => {
                    let Some(found) = self.source[self.position..self.end].find("{%") else {
                        return false;
                    };
                    let at = self.position + found;
                    self.position = at + 2;
                    self.tag_name_at(at)
                }
            };
            match name {
                "comment" => open += 1,
                "endcomment" => open -= 1,
                "raw" => drop(self.take_raw_until("endraw")),
                _ => {}
            }
        }
        self.mode == Mode::Lines || self.close_tag()
    }

    fn close_tag(&mut self) -> bool {
        let Some(length) = self.source[self.position..self.end].find("%}") else { return false };
        let close = self.position + length;
        self.trim_next_text = self.source.as_bytes()[close - 1] == b'-';
        self.position = close + 2;
        true
    }

    fn tag_name_at(&self, at: usize) -> &'s str {
        let inside = &self.source[at + 2..self.end];
        let inside = inside.strip_prefix('-').unwrap_or(inside).trim_start();
        &inside[..name_len(inside)]
    }
}

fn name_len(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

fn split_tag(source: &str, at: usize, content: Range<usize>) -> Tag {
    let text = &source[content.clone()];
    let length = if text.starts_with('#') { 1 } else { name_len(text) };
    let name = content.start..content.start + length;
    Tag { at, arguments: trimmed(source, name.end..content.end), name }
}

pub(crate) fn trimmed(source: &str, range: Range<usize>) -> Range<usize> {
    let text = &source[range.clone()];
    let start = range.start + (text.len() - text.trim_start().len());
    start..start + text.trim().len()
}
