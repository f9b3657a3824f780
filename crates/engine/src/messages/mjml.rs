//! MJML to HTML. Liquid is set aside before the compiler reads the text and put back afterwards, so
//! neither it nor what it prints is ever taken for markup. Knows nothing of customers.
//!
//! Liquid inside texts and attribute values changes nothing about the structure: the template is
//! compiled once and Liquid runs on the HTML. Where a tag stands between elements (a loop around
//! sections, say) each customer's mail has a structure of its own and is compiled by itself.

use std::ops::Range;
use std::panic::catch_unwind;

use tidings_liquid::{Opaque, PieceKind, masked, pieces};

/// Elements whose content is text or HTML, not further MJML.
const ENDINGS: [&str; 11] = [
    "mj-accordion-text",
    "mj-accordion-title",
    "mj-button",
    "mj-navbar-link",
    "mj-preview",
    "mj-raw",
    "mj-social-element",
    "mj-style",
    "mj-table",
    "mj-text",
    "mj-title",
];
/// The other elements, whose content is elements.
const CONTAINERS: [&str; 26] = [
    "mjml",
    "mj-accordion",
    "mj-accordion-element",
    "mj-all",
    "mj-attributes",
    "mj-body",
    "mj-breakpoint",
    "mj-carousel",
    "mj-carousel-image",
    "mj-class",
    "mj-column",
    "mj-divider",
    "mj-font",
    "mj-group",
    "mj-head",
    "mj-hero",
    "mj-html-attribute",
    "mj-html-attributes",
    "mj-image",
    "mj-include",
    "mj-navbar",
    "mj-section",
    "mj-selector",
    "mj-social",
    "mj-spacer",
    "mj-wrapper",
];
/// HTML's elements that never have an end.
const VOID: [&str; 13] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track",
    "wbr",
];
/// A tag that is longer counts as one that has an end of its own.
const MAX_TAG_BYTES: usize = 2_048;
/// Elements inside each other.
const MAX_DEPTH: usize = 100;
/// Stands for a byte of Liquid while markup is looked at.
const FILLER: u8 = 0x1a;

/// What is wrong, and at which byte of the text that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MjmlFault {
    pub message: String,
    pub at: usize,
}

impl MjmlFault {
    /// Its line and column in the text, counted from 1.
    pub fn place(&self, source: &str) -> (u32, u32) {
        super::line_and_column(source, self.at)
    }
}

/// What a template's MJML came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// HTML with its Liquid in place, the same for everybody.
    Once(String),
    /// Liquid decides the structure: it runs first, and [`compile`] follows for each customer.
    /// Where the first tag stands that does so, in bytes.
    PerCustomer(usize),
}

/// Compiles a template as far as it can be compiled without a customer.
pub fn prepare(source: &str) -> Result<Prepared, MjmlFault> {
    let zones = Zones::of(source);
    zones.check_elements(source)?;
    let first = zones.structure.first().copied();
    let opaque = Opaque::default();
    let mut protected = Protected::default();
    let mut done = 0;
    let mut lead = String::new();
    for piece in pieces(source) {
        let text = &source[piece.range.clone()];
        protected.copy(source, done..piece.range.start);
        done = piece.range.end;
        let is_free = !zones.covers(piece.range.start);
        if is_free && piece.range.start < zones.root {
            // What stands before the document runs before it.
            lead.push_str(text);
        } else if is_free && (piece.kind == PieceKind::Structure || zones.in_tag(piece.range.start))
        {
            // Left out of the trial that shows whether the rest is sound.
        } else if is_free {
            let mark = opaque.keep(text.to_owned());
            protected.insert(&format!("<mj-raw>{mark}</mj-raw>"), piece.range.start);
        } else {
            protected.insert(&opaque.keep(text.to_owned()), piece.range.start);
        }
    }
    protected.copy(source, done..source.len());
    let html = compile(&protected.text)
        .map_err(|fault| MjmlFault { at: protected.origin(fault.at), ..fault })?;
    match first {
        Some(at) => Ok(Prepared::PerCustomer(at)),
        None => Ok(Prepared::Once(format!("{lead}{}", opaque.restore(&html)))),
    }
}

/// Compiles MJML that holds no Liquid any more. Nothing is loaded: `mj-include` is refused.
pub fn compile(source: &str) -> Result<String, MjmlFault> {
    let from = source.len() - source.trim_start().len();
    let text = source.trim();
    if let Some(at) = text.find("<mj-include") {
        let message = "mj-include is not supported; use a content block".to_owned();
        return Err(MjmlFault { message, at: from + at });
    }
    if let Some(at) = too_deep(text) {
        let message = format!("more than {MAX_DEPTH} elements inside each other");
        return Err(MjmlFault { message, at: from + at });
    }
    // The parser steps into the middle of a letter where a tag is called by more than ASCII, and
    // panics. Nobody's request is to end by that, nor the next thing of this kind.
    let parsed = match catch_unwind(|| mrml::parse(text)) {
        Ok(Ok(parsed)) => parsed,
        Ok(Err(error)) => {
            let (message, at) = explain(text, &error);
            return Err(MjmlFault { message, at: from + at });
        }
        Err(_) => {
            let at = odd_tag(text).unwrap_or_default();
            let message = "this cannot be read as MJML; look for a tag with a letter beyond a to z";
            return Err(MjmlFault { message: message.to_owned(), at: from + at });
        }
    };
    // A mail asks for no font of others' unless its author names one by mj-font.
    let fonts = Default::default();
    let options = mrml::prelude::render::RenderOptions { fonts, ..Default::default() };
    parsed
        .element
        .render(&options)
        .map_err(|error| MjmlFault { message: format!("render the MJML: {error}"), at: from })
}

/// The first tag with too many others open around it: the compiler takes a piece of the stack for
/// each of them.
fn too_deep(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, _) in text.match_indices('<') {
        let rest = &text[at + 1..];
        if rest.starts_with('/') {
            depth = depth.saturating_sub(1);
            continue;
        }
        let name: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
        // Only so far, so that a text without any end is looked through once.
        let ahead = &rest.as_bytes()[..rest.len().min(MAX_TAG_BYTES)];
        let end = || ahead.iter().position(|byte| *byte == b'>');
        let is_empty = || end().is_some_and(|end| end > 0 && ahead[end - 1] == b'/');
        if name.is_empty() || VOID.contains(&name.to_ascii_lowercase().as_str()) || is_empty() {
            continue;
        }
        depth += 1;
        if depth > MAX_DEPTH {
            return Some(at);
        }
    }
    None
}

/// The first tag whose name or attributes hold letters beyond ASCII.
fn odd_tag(text: &str) -> Option<usize> {
    text.match_indices('<').map(|(at, _)| at).find(|at| {
        let rest = &text[at + 1..];
        let end = rest.find('>').unwrap_or(rest.len());
        !rest[..end].is_ascii()
    })
}

/// Says what the compiler found, and where.
fn explain(text: &str, error: &mrml::prelude::parser::Error) -> (String, usize) {
    use mrml::prelude::parser::Error;
    let what = |at: usize| {
        let rest = text.get(at..).unwrap_or_default();
        let end = rest.find(['>', '\n']).map_or(rest.len(), |end| end + 1).min(60);
        let end = (0..=end).rev().find(|end| rest.is_char_boundary(*end)).unwrap_or(0);
        rest[..end].trim().to_owned()
    };
    match error {
        Error::UnexpectedElement { position, .. } => (
            format!("this element does not belong here: <{}", what(position.start)),
            position.start,
        ),
        Error::UnexpectedToken { position, .. } => {
            (format!("this does not belong here: {}", what(position.start)), position.start)
        }
        Error::MissingAttribute { name, position, .. } => {
            (format!("the attribute {name} is missing"), position.start)
        }
        Error::InvalidAttribute { position, .. } => {
            (format!("this attribute has a wrong value: {}", what(position.start)), position.start)
        }
        Error::InvalidFormat { position, .. } => {
            (format!("this is not well formed: {}", what(position.start)), position.start)
        }
        Error::EndOfStream { .. } => {
            ("the MJML ends before all its elements are closed".to_owned(), text.len())
        }
        Error::NoRootNode => ("expected <mjml> around the whole".to_owned(), 0),
        Error::SizeLimit { .. } => ("the MJML is too long".to_owned(), 0),
        Error::ParserError { source, .. } => {
            let place = source.pos();
            let at = offset(text, place.row as usize, place.col as usize);
            (format!("this is not well formed: {source}"), at)
        }
        Error::IncludeLoaderError { position, .. } => {
            ("mj-include is not supported; use a content block".to_owned(), position.start)
        }
    }
}

/// The byte at a line and a column, both counted from 1.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let mut from = 0;
    for _ in 1..line {
        from += text[from..].find('\n').map_or(0, |at| at + 1);
    }
    text[from..]
        .char_indices()
        .nth(column.saturating_sub(1))
        .map_or(text.len(), |(at, _)| from + at)
}

/// The text that the compiler gets, and where each part of it comes from.
#[derive(Default)]
struct Protected {
    text: String,
    /// Where copied parts begin: in the text, and in the source.
    parts: Vec<(usize, usize)>,
}

impl Protected {
    fn copy(&mut self, source: &str, range: Range<usize>) {
        self.parts.push((self.text.len(), range.start));
        self.text.push_str(&source[range]);
    }

    fn insert(&mut self, text: &str, from: usize) {
        self.parts.push((self.text.len(), from));
        self.text.push_str(text);
    }

    fn origin(&self, at: usize) -> usize {
        let next = self.parts.partition_point(|(start, _)| *start <= at);
        let Some((start, from)) = next.checked_sub(1).map(|last| self.parts[last]) else {
            return 0;
        };
        let end = self.parts.get(next).map_or(usize::MAX, |(_, from)| *from);
        (from + (at - start)).min(end)
    }
}

/// A tag of one of MJML's own elements.
struct Element {
    name: String,
    at: usize,
    kind: ElementKind,
}

#[derive(Clone, Copy, PartialEq)]
enum ElementKind {
    Begin,
    End,
    Empty,
}

/// What the places of a source are.
struct Zones {
    /// Contents of ending elements, attribute values and comments: Liquid decides nothing there.
    texts: Vec<Range<usize>>,
    /// Tags from their name to their end.
    tags: Vec<Range<usize>>,
    /// Where Liquid decides the structure.
    structure: Vec<usize>,
    /// MJML's own elements as they begin and end.
    elements: Vec<Element>,
    /// Where the document begins.
    root: usize,
}

impl Zones {
    fn of(source: &str) -> Zones {
        let text = masked(source, FILLER);
        let root = text.find("<mjml").unwrap_or(0);
        let mut zones = Zones {
            texts: Vec::new(),
            tags: Vec::new(),
            structure: Vec::new(),
            elements: Vec::new(),
            root,
        };
        let mut at = root;
        while let Some(open) = text[at..].find('<').map(|found| at + found) {
            if text[open..].starts_with("<!--") {
                at = text[open..].find("-->").map_or(text.len(), |end| open + end + 3);
                zones.texts.push(open..at);
                continue;
            }
            at = zones.tag(&text, open);
        }
        for piece in pieces(source) {
            let start = piece.range.start;
            if start < root || zones.covers(start) {
                continue;
            }
            if piece.kind == PieceKind::Structure || zones.in_tag(start) {
                zones.structure.push(start);
            }
        }
        zones
    }

    /// Notes a tag with its attribute values and, for an ending element, its content; gives where
    /// it ends.
    fn tag(&mut self, text: &str, open: usize) -> usize {
        let bytes = text.as_bytes();
        let name_from = open + 1;
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        let length = bytes[name_from..].iter().take_while(|byte| is_name(byte)).count();
        let name = &text[name_from..name_from + length];
        let mut at = name_from + length;
        while at < bytes.len() && bytes[at] != b'>' {
            match bytes[at] {
                quote @ (b'"' | b'\'') => {
                    let end = bytes[at + 1..].iter().position(|byte| *byte == quote);
                    let end = end.map_or(bytes.len(), |found| at + 1 + found);
                    self.texts.push(at + 1..end);
                    at = (end + 1).min(bytes.len());
                }
                _ => at += 1,
            }
        }
        self.tags.push(open..at);
        self.note(text, open, name_from + length, at);
        let is_empty = at > 0 && bytes.get(at - 1) == Some(&b'/');
        let content = (at + 1).min(text.len());
        if is_empty || !ENDINGS.contains(&name) {
            return content;
        }
        let close = format!("</{name}");
        let end = text[content..].find(&close).map_or(text.len(), |found| content + found);
        self.texts.push(content..end);
        end
    }

    /// Keeps a tag if it is one of MJML's own elements.
    fn note(&mut self, text: &str, open: usize, name_end: usize, end: usize) {
        let bytes = text.as_bytes();
        let closes = bytes.get(open + 1) == Some(&b'/');
        let name = if closes {
            let rest = &text[open + 2..end.max(open + 2)];
            rest.split(|c: char| c.is_whitespace()).next().unwrap_or_default()
        } else {
            &text[open + 1..name_end]
        };
        if !name.starts_with("mj") {
            return;
        }
        let kind = match (closes, bytes.get(end.saturating_sub(1)) == Some(&b'/')) {
            (true, _) => ElementKind::End,
            (false, true) => ElementKind::Empty,
            (false, false) => ElementKind::Begin,
        };
        self.elements.push(Element { name: name.to_owned(), at: open, kind });
    }

    /// The compiler takes any end for the one it waits for, and an element it does not know for HTML;
    /// both are mistakes.
    fn check_elements(&self, source: &str) -> Result<(), MjmlFault> {
        let fault = |message: String, at: usize| Err(MjmlFault { message, at });
        let mut open: Vec<&Element> = Vec::new();
        for element in &self.elements {
            let name = element.name.as_str();
            if !ENDINGS.contains(&name) && !CONTAINERS.contains(&name) {
                return fault(format!("MJML has no element <{name}>"), element.at);
            }
            match element.kind {
                ElementKind::Empty => {}
                ElementKind::Begin => open.push(element),
                ElementKind::End => match open.pop() {
                    Some(begun) if begun.name == name => {}
                    Some(begun) => {
                        let expected = &begun.name;
                        let message = format!("expected </{expected}> here, found </{name}>");
                        return fault(message, element.at);
                    }
                    None => {
                        return fault(format!("</{name}> ends what has not begun"), element.at);
                    }
                },
            }
        }
        match open.pop() {
            Some(begun) => fault(format!("<{}> has no end", begun.name), begun.at),
            None if self.elements.is_empty() => {
                fault("expected <mjml> around the whole".to_owned(), source.len().min(self.root))
            }
            None => Ok(()),
        }
    }

    fn covers(&self, at: usize) -> bool {
        holds(&self.texts, at)
    }

    fn in_tag(&self, at: usize) -> bool {
        holds(&self.tags, at)
    }
}

/// Whether one of the ranges, which stand in their order, holds a place.
fn holds(ranges: &[Range<usize>], at: usize) -> bool {
    let next = ranges.partition_point(|range| range.start <= at);
    next.checked_sub(1).is_some_and(|last| ranges[last].contains(&at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(body: &str) -> String {
        format!(
            "<mjml><mj-body><mj-section><mj-column>{body}</mj-column></mj-section></mj-body></mjml>"
        )
    }

    fn once(source: &str) -> String {
        match prepare(source) {
            Ok(Prepared::Once(html)) => html,
            other => panic!("{source}: {other:?}"),
        }
    }

    #[test]
    fn liquid_in_texts_and_attributes_comes_out_as_it_went_in() {
        for liquid in [
            "<mj-text>Hi {{ customer.name | default: \"<b>you</b>\" }}</mj-text>",
            "<mj-text>{% if a > 1 and b < 2 %}<b>x</b>{% else %}y{% endif %}</mj-text>",
            "<mj-text>{% for x in xs %}<p>{{ x }}</p>{% endfor %}</mj-text>",
            "<mj-button href=\"{{ url | append: '?a=1&b=2' }}\">go</mj-button>",
            "<mj-table>{% for x in xs %}<tr><td>{{ x }}</td></tr>{% endfor %}</mj-table>",
            "<mj-text>{{content_blocks.${footer}}}</mj-text>",
            "<mj-text>{% raw %}{{ a }}{% endraw %}</mj-text>",
        ] {
            let html = once(&mail(liquid));
            for piece in pieces(liquid) {
                assert!(html.contains(&liquid[piece.range.clone()]), "{liquid}\n{html}");
            }
            assert!(html.contains("<table") && !html.contains("tdgliq"), "{html}");
            assert!(!html.contains("googleapis"), "{html}");
        }
    }

    #[test]
    fn an_output_between_elements_is_markup_of_its_own() {
        let html = once(
            "{% assign a = 1 %}\n<mjml><mj-body>{{content_blocks.${head}}}<mj-section>\
             <mj-column><mj-text>x</mj-text></mj-column></mj-section></mj-body></mjml>",
        );
        assert!(html.starts_with("{% assign a = 1 %}"), "{html}");
        assert!(html.contains("{{content_blocks.${head}}}"), "{html}");
    }

    #[test]
    fn a_tag_between_elements_or_among_attributes_decides_the_structure() {
        let section = "<mj-section><mj-column><mj-text>x</mj-text></mj-column></mj-section>";
        for (source, tag) in [
            (
                format!(
                    "<mjml><mj-body>{{% for x in xs %}}{section}{{% endfor %}}</mj-body></mjml>"
                ),
                "{% for",
            ),
            (mail("<mj-text {% if a %}color=\"red\"{% endif %}>x</mj-text>"), "{% if"),
            (mail("{% render 'rows' %}<mj-text>x</mj-text>"), "{% render"),
        ] {
            assert_eq!(prepare(&source), Ok(Prepared::PerCustomer(source.find(tag).unwrap())));
        }
    }

    #[test]
    fn elements_inside_each_other_are_bounded() {
        let nested = |name: &str, count: usize| {
            let (open, close) = (format!("<{name}>"), format!("</{name}>"));
            format!("{}{}", open.repeat(count), close.repeat(count))
        };
        // The document, its body, section, column and text are five.
        for (name, most) in [("div", 95), ("b", 95)] {
            let fits = mail(&format!("<mj-text><br>{}</mj-text>", nested(name, most)));
            assert!(matches!(prepare(&fits), Ok(Prepared::Once(_))), "{name}");
            let deep = mail(&format!("<mj-text>{}</mj-text>", nested(name, most + 1)));
            let fault = prepare(&deep).unwrap_err();
            assert!(fault.message.contains("100 elements"), "{fault:?}");
        }
        for name in ["mj-wrapper", "mj-section", "mj-raw", "p"] {
            let endless = format!("<mjml><mj-body>{}", format!("<{name}>").repeat(100_000));
            assert!(prepare(&endless).is_err() && compile(&endless).is_err(), "{name}");
        }
    }

    #[test]
    fn faults_are_found_where_they_stand_in_the_source() {
        for (body, wanted) in [
            ("<mj-text>{{ a_rather_long_name | upcase }}</mj-text>\n<mj-nope />", "<mj-nope"),
            ("<mj-text>{{ a }}</mj-text>\n<mj-text>x</mj-txt>", "<mj-text>x"),
            ("<mj-text>{{ a }}</mj-text>\n<mj-divider></mj-spacer>", "</mj-spacer"),
            ("<mj-text>{{ a }}</mj-text>\n</mj-group>", "</mj-group"),
            ("<mj-text>{{ a }}</mj-text>\n<mj-column>", "</mj-section"),
            ("<mj-text>{{ a }}</mj-text>\n<mj-image src=\"a\" <b> />", "<b>"),
        ] {
            let source = mail(body);
            let fault = prepare(&source).unwrap_err();
            let wanted = source.find(wanted).unwrap();
            assert!(fault.at.abs_diff(wanted) <= 12, "{fault:?}, wanted {wanted} in {source}");
        }
        let include = "<mjml><mj-body>\n<mj-include path=\"/etc/passwd\" /></mj-body></mjml>";
        let fault = prepare(include).unwrap_err();
        assert_eq!(fault.at, include.find("<mj-include").unwrap());
        assert!(prepare("<p>x</p>").is_err() && prepare("").is_err() && prepare("x < y").is_err());
    }
}
