//! The parsers, and what must hold whatever they are given.

mod files;
mod http;
mod hub;
mod mail;
mod texts;

use crate::{Feed, Target};

pub fn all() -> Vec<Target> {
    let mut all = files::targets();
    all.extend(texts::targets());
    all.extend(mail::targets());
    all.extend(hub::targets());
    all.extend(http::targets());
    all
}

/// A target that needs nothing made ready.
fn plain(feed: fn(&[u8])) -> Feed {
    Box::new(feed)
}

/// The input as text; what is none is read as if it were.
fn text(input: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(input)
}
