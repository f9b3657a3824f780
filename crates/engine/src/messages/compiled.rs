//! A template read once, in all its languages, ready to be rendered for any customer.

use std::collections::HashMap;

use tidings_domain::Timestamp;
use tidings_liquid::{Context, Escape, Opaque, ParseError, Rendered, Template, Value, deadline};
use tidings_store::templates::{Format, TemplateDraft};

use super::blocks::Blocks;
use super::mjml::{self, MjmlFault, Prepared};
use super::rewrite;
use crate::{Ctx, Error, Fault, Result};

/// A template whose parts are parsed.
pub struct Compiled {
    main: Reading,
    /// The same message in other languages, by their codes.
    variants: Vec<(String, Reading)>,
    blocks: Blocks,
    /// Addresses that stand in the HTML as they are, the same for every customer.
    pub fixed_links: Vec<String>,
    /// Whether any part asks for `${name}`.
    pub reads_dollar: bool,
    /// Where Liquid decides the structure of MJML, so that each message is compiled by itself: the
    /// part's path, line and column.
    pub per_customer: Option<(String, u32, u32)>,
}

/// The parts in one language.
struct Reading {
    /// What faults are named by: empty, or `variants[0].`.
    path: String,
    subject: Template,
    body: Body,
    text: Option<Template>,
}

enum Body {
    Html(Template),
    /// HTML that was made of MJML, and what it was made of, whose lines are those that were written.
    Made {
        html: Template,
        source: Template,
    },
    /// Liquid that makes MJML.
    Mjml(Template),
}

impl Reading {
    fn parts(&self) -> impl Iterator<Item = &Template> {
        let (Body::Html(body) | Body::Made { source: body, .. } | Body::Mjml(body)) = &self.body;
        [Some(&self.subject), Some(body), self.text.as_ref()].into_iter().flatten()
    }
}

/// The parts of a rendered message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    pub subject: String,
    pub html: String,
    /// `None` where the text is to be made from the HTML.
    pub text: Option<String>,
    /// The language of the variant that was chosen; `None` for the template's own parts.
    pub language: Option<String>,
}

/// Why a message was not rendered for a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRendered {
    /// The template called it off, with its reason.
    Aborted(String),
    /// A fault in the template that shows with this customer's data.
    Failed(Fault),
}

/// What a message is rendered from.
pub struct Data<'d> {
    pub variables: &'d [(&'d str, Value)],
    /// What answers `${name}`.
    pub dollar: Value,
    /// The customer's language, such as `de` or `pt-BR`.
    pub language: Option<&'d str>,
    pub now: &'d jiff::Zoned,
}

impl Compiled {
    /// Reads a template with the blocks it includes as they stood at a time. Each fault names its
    /// part, line and column; a block that is not there is one.
    pub async fn new(ctx: &Ctx, draft: &TemplateDraft, at: Timestamp) -> Result<Compiled> {
        let compiled = Compiled::parse(draft)?;
        let blocks = Blocks::load(ctx, compiled.includes(), at).await?;
        compiled.with(blocks)
    }

    /// Reads a template with the blocks it includes out of these texts by name.
    pub fn among(draft: &TemplateDraft, all: &HashMap<String, String>) -> Result<Compiled> {
        let compiled = Compiled::parse(draft)?;
        let blocks = Blocks::among(compiled.includes(), all);
        compiled.with(blocks)
    }

    /// The names of the blocks that its parts include.
    fn includes(&self) -> Vec<String> {
        let included = self.parts().flat_map(|(_, part)| part.includes());
        included.map(|included| included.name).collect()
    }

    fn with(mut self, blocks: Blocks) -> Result<Compiled> {
        self.blocks = blocks;
        let mut compiled = self;
        let mut faults = Vec::new();
        for (path, part) in compiled.parts() {
            for included in part.includes() {
                if compiled.blocks.get(&included.name).is_none() {
                    let message = format!("no content block is named '{}'", included.name);
                    let place = place(included.line, included.column);
                    faults.push(Fault {
                        path: path.clone(),
                        code: "unknown_block",
                        message,
                        place,
                    });
                }
            }
        }
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        for (_, body) in &compiled.blocks.bodies {
            add_fixed_links(body, &mut compiled.fixed_links);
        }
        let dollar = |part: &Template| {
            part.variables()
                .iter()
                .any(|path| path.first().is_some_and(|name| name.starts_with('$')))
        };
        compiled.reads_dollar = compiled.parts().any(|(_, part)| dollar(part))
            || compiled.blocks.templates().any(dollar);
        Ok(compiled)
    }

    /// Reads a template without its blocks.
    pub fn parse(draft: &TemplateDraft) -> Result<Compiled> {
        let mut reader = Reader { format: draft.format, ..Reader::default() };
        let main = reader.read("", &draft.subject, &draft.html, &draft.text);
        let mut variants = Vec::with_capacity(draft.variants.len());
        for (at, variant) in draft.variants.iter().enumerate() {
            let path = format!("variants[{at}].");
            let reading = reader.read(&path, &variant.subject, &variant.html, &variant.text);
            variants.extend(reading.map(|reading| (variant.language.clone(), reading)));
        }
        match main {
            Some(main) if reader.faults.is_empty() => Ok(Compiled {
                main,
                variants,
                blocks: Blocks::default(),
                fixed_links: reader.fixed_links,
                reads_dollar: false,
                per_customer: reader.per_customer,
            }),
            _ => Err(Error::Invalid(reader.faults)),
        }
    }

    /// The parts with what faults in them are named by.
    pub fn parts(&self) -> impl Iterator<Item = (String, &Template)> {
        let readings =
            std::iter::once(&self.main).chain(self.variants.iter().map(|(_, reading)| reading));
        readings.flat_map(|reading| {
            let names = ["subject", "html", "text"].into_iter();
            names.zip(reading.parts()).map(|(name, part)| (format!("{}{name}", reading.path), part))
        })
    }

    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Whether the parts of every language, or a block that they include, read a variable, by its
    /// first name: `false` where a language is without it.
    pub fn reads_everywhere(&self, is_it: impl Fn(&[String]) -> bool) -> bool {
        let reads = |part: &Template| part.variables().iter().any(|path| is_it(path));
        let readings =
            std::iter::once(&self.main).chain(self.variants.iter().map(|(_, reading)| reading));
        let in_block = |part: &Template| {
            part.includes().iter().any(|included| self.block_reads(&included.name, &is_it, 0))
        };
        readings
            .into_iter()
            .all(|reading| reading.parts().any(|part| reads(part) || in_block(part)))
    }

    fn block_reads(&self, name: &str, is_it: &impl Fn(&[String]) -> bool, depth: usize) -> bool {
        let Some(block) = self.blocks.get(name).filter(|_| depth < 20) else { return false };
        block.variables().iter().any(|path| is_it(path))
            || block.includes().iter().any(|one| self.block_reads(&one.name, is_it, depth + 1))
    }

    /// The parts for a customer's language: its own, else its language without the region, else the
    /// template's.
    fn reading(&self, language: Option<&str>) -> (Option<&str>, &Reading) {
        let Some(language) = language else { return (None, &self.main) };
        let primary = language.split('-').next().unwrap_or(language);
        let of = |wanted: &str| {
            self.variants.iter().find(|(known, _)| known.eq_ignore_ascii_case(wanted))
        };
        match of(language).or_else(|| of(primary)) {
            Some((language, reading)) => (Some(language), reading),
            None => (None, &self.main),
        }
    }

    /// Renders all parts. Outputs in the HTML are escaped; those in the subject and the text are
    /// plain, and a subject is one line.
    pub fn render(&self, data: &Data) -> Result<Parts, NotRendered> {
        let (language, reading) = self.reading(data.language);
        let part = |name: &str| format!("{}{name}", reading.path);
        let subject = self.part(&reading.subject, &part("subject"), data, Escape::None, None)?;
        let html = match &reading.body {
            Body::Html(body) => self.part(body, &part("html"), data, Escape::Html, None)?,
            Body::Made { html, .. } => {
                self.part(html, &part("html"), data, Escape::Html, None).map_err(without_place)?
            }
            Body::Mjml(body) => {
                let opaque = Opaque::default();
                let mjml = self.part(body, &part("html"), data, Escape::Html, Some(&opaque))?;
                let html = mjml::compile(&mjml).map_err(|fault| {
                    let message = format!("the MJML made for this customer: {}", fault.message);
                    NotRendered::Failed(Fault::new(part("html"), "not_rendered", message))
                })?;
                opaque.restore(&html)
            }
        };
        let text = match &reading.text {
            Some(text) => Some(self.part(text, &part("text"), data, Escape::None, None)?),
            None => None,
        };
        let subject = subject.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Parts { subject, html, text, language: language.map(str::to_owned) })
    }

    fn part(
        &self,
        template: &Template,
        path: &str,
        data: &Data,
        escape: Escape,
        opaque: Option<&Opaque>,
    ) -> Result<String, NotRendered> {
        let expired = deadline(tidings_liquid::DEFAULT_TIME);
        let find = |name: &str| self.blocks.get(name);
        let mut context = Context::new(data.now.clone());
        context.variables = data.variables;
        context.dollar = data.dollar.clone();
        context.templates = Some(&find);
        context.escape = escape;
        context.opaque = opaque;
        context.expired = Some(&expired);
        match template.render(&context) {
            Ok(Rendered::Complete(text)) => Ok(text),
            Ok(Rendered::Aborted(reason)) => Err(NotRendered::Aborted(reason)),
            Ok(Rendered::Pending(_)) => Err(NotRendered::Failed(Fault::new(
                path,
                "not_rendered",
                "connected content is not available in this message",
            ))),
            Err(error) => Err(NotRendered::Failed(Fault {
                path: path.to_owned(),
                code: "not_rendered",
                message: error.message.clone(),
                place: place(error.line, error.column),
            })),
        }
    }
}

fn without_place(why: NotRendered) -> NotRendered {
    match why {
        NotRendered::Failed(fault) => NotRendered::Failed(Fault { place: None, ..fault }),
        other => other,
    }
}

/// Reads parts and gathers what is wrong with them.
#[derive(Default)]
struct Reader {
    format: Format,
    faults: Vec<Fault>,
    fixed_links: Vec<String>,
    per_customer: Option<(String, u32, u32)>,
}

impl Reader {
    fn read(&mut self, path: &str, subject: &str, body: &str, text: &str) -> Option<Reading> {
        let subject = self.parse(&format!("{path}subject"), subject);
        let body = self.body(&format!("{path}html"), body);
        let has_text = !text.trim().is_empty();
        let text = if has_text { self.parse(&format!("{path}text"), text) } else { None };
        Some(Reading { path: path.to_owned(), subject: subject?, body: body?, text })
    }

    fn body(&mut self, path: &str, source: &str) -> Option<Body> {
        // Read as it stands first, so that a fault of Liquid is found at its own line.
        let template = self.parse(path, source)?;
        if self.format == Format::Html {
            add_fixed_links(source, &mut self.fixed_links);
            return Some(Body::Html(template));
        }
        match mjml::prepare(source) {
            Ok(Prepared::Once(html)) => {
                add_fixed_links(&html, &mut self.fixed_links);
                self.parse(path, &html).map(|html| Body::Made { html, source: template })
            }
            Ok(Prepared::PerCustomer(at)) => {
                let (line, column) = line_and_column(source, at);
                self.per_customer.get_or_insert((path.to_owned(), line, column));
                Some(Body::Mjml(template))
            }
            Err(fault) => {
                self.faults.push(mjml_fault(path, source, &fault));
                None
            }
        }
    }

    fn parse(&mut self, path: &str, source: &str) -> Option<Template> {
        match Template::parse(source) {
            Ok(template) => Some(template),
            Err(error) => {
                self.faults.push(parse_fault(path, &error));
                None
            }
        }
    }
}

fn add_fixed_links(html: &str, found: &mut Vec<String>) {
    for url in rewrite::links(html) {
        if !url.contains("{{") && !url.contains("{%") && !found.contains(&url) {
            found.push(url);
        }
    }
}

/// The line and column of a byte, counted from 1.
pub(crate) fn line_and_column(source: &str, at: usize) -> (u32, u32) {
    let mut at = at.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    let before = &source[..at];
    let line = before.matches('\n').count() + 1;
    let column = before[before.rfind('\n').map_or(0, |at| at + 1)..].chars().count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}

fn mjml_fault(path: &str, source: &str, fault: &MjmlFault) -> Fault {
    Fault {
        path: path.to_owned(),
        code: "mjml",
        message: fault.message.clone(),
        place: Some(fault.place(source)),
    }
}

pub(crate) fn parse_fault(path: &str, error: &ParseError) -> Fault {
    Fault {
        path: path.to_owned(),
        code: "template",
        message: error.message.clone(),
        place: place(error.line, error.column),
    }
}

pub(crate) fn place(line: usize, column: usize) -> Option<(u32, u32)> {
    Some((u32::try_from(line).ok()?, u32::try_from(column).ok()?))
}
