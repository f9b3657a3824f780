//! What the caller hands in for one render: the data, the clock, the limits, named templates and
//! answers to fetches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Zoned;

use crate::fetch::{FetchRequest, Fetched};
use crate::template::Template;
use crate::value::Value;

/// Finds a named template for `render` and `include`.
pub type Templates<'a> = &'a dyn Fn(&str) -> Option<Arc<Template>>;
/// Answers a fetch that was made before, `None` for one still to be made.
pub type Answers<'a> = &'a dyn Fn(&FetchRequest) -> Option<Fetched>;

/// Everything a render may see. Rendering twice with equal contexts gives equal results.
pub struct Context<'a> {
    /// Top-level variables, looked up first; a slice, so that nothing is built for each customer.
    pub variables: &'a [(&'a str, Value)],
    /// An object whose entries are top-level variables too.
    pub root: Value,
    /// An object that answers `${name}` at the start of a path.
    pub dollar: Value,
    /// What `now` and `today` mean; its time zone is the one dates are shown in.
    pub now: Zoned,
    pub templates: Option<Templates<'a>>,
    pub answers: Option<Answers<'a>>,
    /// Keeps what outputs print apart from the text around them. See [`Opaque`].
    pub opaque: Option<&'a Opaque>,
    pub escape: Escape,
    /// Reading a variable that does not exist is an error, but under the `default` filter.
    pub strict: bool,
    pub limits: Limits,
    /// Asked now and then; true ends the render. See [`deadline`].
    pub expired: Option<&'a dyn Fn() -> bool>,
}

impl Context<'_> {
    /// A context with no data at all.
    pub fn new(now: Zoned) -> Self {
        Context {
            variables: &[],
            root: Value::Nil,
            dollar: Value::Nil,
            now,
            templates: None,
            answers: None,
            opaque: None,
            escape: Escape::None,
            strict: false,
            limits: Limits::default(),
            expired: None,
        }
    }
}

/// What outputs print, kept apart: the render writes a mark in the place of each, so that the text
/// can be read as another language before [`Opaque::restore`] puts the values in. No value is ever
/// seen by that reader, whatever is in it.
#[derive(Debug, Default)]
pub struct Opaque {
    kept: std::cell::RefCell<Vec<String>>,
}

impl Opaque {
    const START: &'static str = "tdgliq";
    const END: char = 'q';

    /// Keeps a text and gives the mark that stands for it: letters and digits alone.
    pub fn keep(&self, text: String) -> String {
        let mut kept = self.kept.borrow_mut();
        kept.push(text);
        format!("{}{}{}", Self::START, kept.len() - 1, Self::END)
    }

    /// Puts the kept texts in the places of their marks. A kept text is not searched for marks.
    pub fn restore(&self, text: &str) -> String {
        let kept = self.kept.borrow();
        let mut out = String::with_capacity(text.len() * 2);
        let mut rest = text;
        while let Some(at) = rest.find(Self::START) {
            let (before, tail) = rest.split_at(at);
            out.push_str(before);
            let tail = &tail[Self::START.len()..];
            let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
            let known = tail[..digits].parse::<usize>().ok().and_then(|number| kept.get(number));
            match known {
                Some(text) if tail[digits..].starts_with(Self::END) => {
                    out.push_str(text);
                    rest = &tail[digits + 1..];
                }
                _ => {
                    out.push_str(Self::START);
                    rest = tail;
                }
            }
        }
        out.push_str(rest);
        out
    }
}

/// What happens to an output that no filter has made fit for its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Escape {
    #[default]
    None,
    /// Fit for HTML text and for quoted attributes.
    Html,
}

/// Bounds of one render.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of the result, and of any single text made on the way.
    pub output_bytes: usize,
    /// A step is a tag, an output, a filter, an item of a loop, an item a filter looks at, or
    /// 16 bytes of text made by a filter or a capture.
    pub steps: u64,
    /// Blocks and named templates inside each other.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { output_bytes: 1_000_000, steps: 1_000_000, depth: 100 }
    }
}

/// How long a render may take unless the caller decides otherwise.
pub const DEFAULT_TIME: Duration = Duration::from_millis(200);

/// A check for [`Context::expired`] that starts counting now.
pub fn deadline(time: Duration) -> impl Fn() -> bool {
    let start = Instant::now();
    move || start.elapsed() >= time
}
