//! The filters: one table of names, and a file per kind. A filter sees its input, its arguments
//! and the render's budget, nothing else.

mod arrays;
mod braze;
mod dates;
mod encoding;
mod items;
mod math;
mod selection;
mod strftime;
pub(crate) mod strings;

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Zoned;

use crate::context::Escape;
use crate::number::to_integer;
use crate::render::budget::{Budget, TOO_LONG};
use crate::shown::write_as_text;
use crate::value::Value;

/// Why a filter cannot answer.
pub(crate) type Failure = Cow<'static, str>;
pub(crate) type Filtered = Result<Value, Failure>;

/// A filter's row in the table.
pub(crate) struct Filter {
    pub name: &'static str,
    pub run: fn(Value, &mut Call<'_, '_>) -> Filtered,
    pub min_arguments: usize,
    pub max_arguments: usize,
    /// Arguments given as `name: value`.
    pub named: &'static [&'static str],
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.name)
    }
}

/// One use of a filter.
pub(crate) struct Call<'c, 'b> {
    pub positional: &'c [Value],
    pub named: &'c [(Arc<str>, Value)],
    pub now: &'c Zoned,
    pub escape: Escape,
    pub budget: &'c mut Budget<'b>,
}

impl Call<'_, '_> {
    pub fn argument(&self, position: usize) -> Option<&Value> {
        self.positional.get(position)
    }

    /// An argument that may be left out or nil.
    pub fn given(&self, position: usize) -> Option<&Value> {
        self.positional.get(position).filter(|value| !value.is_nil())
    }

    pub fn named(&self, name: &str) -> Option<&Value> {
        self.named.iter().find(|(given, _)| &**given == name).map(|(_, value)| value)
    }

    /// A value as text; nil is the empty text.
    pub fn text<'v>(&self, value: &'v Value) -> Result<Cow<'v, str>, Failure> {
        if let Value::Text(text) = value {
            return Ok(Cow::Borrowed(text.as_str()));
        }
        let mut out = String::new();
        if write_as_text(value, &mut out, self.budget.max_text_bytes) {
            return Ok(Cow::Owned(out));
        }
        Err(TOO_LONG.into())
    }

    /// An argument as text, the empty text when it is left out.
    pub fn text_argument(&self, position: usize) -> Result<Cow<'_, str>, Failure> {
        match self.positional.get(position) {
            Some(value) => self.text(value),
            None => Ok(Cow::Borrowed("")),
        }
    }

    pub fn integer_argument(&self, position: usize) -> Result<Option<i64>, Failure> {
        let Some(value) = self.positional.get(position) else { return Ok(None) };
        match to_integer(value) {
            Some(number) => Ok(Some(number)),
            None => Err("expected a whole number".into()),
        }
    }

    pub fn check_len(&self, bytes: usize) -> Result<(), Failure> {
        if bytes > self.budget.max_text_bytes { Err(TOO_LONG.into()) } else { Ok(()) }
    }
}

const fn filter(
    name: &'static str,
    run: fn(Value, &mut Call<'_, '_>) -> Filtered,
    min_arguments: usize,
    max_arguments: usize,
) -> Filter {
    Filter { name, run, min_arguments, max_arguments, named: &[] }
}

static FILTERS: &[Filter] = &[
    filter("abs", math::abs, 0, 0),
    filter("append", strings::append, 1, 1),
    filter("as_json_string", braze::as_json_string, 0, 0),
    filter("at_least", math::at_least, 1, 1),
    filter("at_most", math::at_most, 1, 1),
    filter("base64", encoding::base64_encode, 0, 0),
    filter("base64_decode", encoding::base64_decode, 0, 0),
    filter("base64_encode", encoding::base64_encode, 0, 0),
    filter("base64_url_safe_decode", encoding::base64_url_safe_decode, 0, 0),
    filter("base64_url_safe_encode", encoding::base64_url_safe_encode, 0, 0),
    filter("capitalize", strings::capitalize, 0, 0),
    filter("ceil", math::ceil, 0, 0),
    filter("compact", arrays::compact, 0, 1),
    filter("concat", arrays::concat, 1, 1),
    filter("date", dates::date, 1, 1),
    Filter {
        name: "default",
        run: selection::default,
        min_arguments: 0,
        max_arguments: 1,
        named: &["allow_false"],
    },
    filter("divided_by", math::divided_by, 1, 1),
    filter("downcase", strings::downcase, 0, 0),
    filter("escape", encoding::escape, 0, 0),
    filter("escape_once", encoding::escape_once, 0, 0),
    filter("find", selection::find, 1, 2),
    filter("find_index", selection::find_index, 1, 2),
    filter("first", arrays::first, 0, 0),
    filter("floor", math::floor, 0, 0),
    filter("h", encoding::escape, 0, 0),
    filter("has", selection::has, 1, 2),
    filter("hmac_sha256", encoding::hmac_sha256, 1, 1),
    filter("hmac_sha512", braze::hmac_sha512, 1, 1),
    filter("join", arrays::join, 0, 1),
    filter("json", encoding::json, 0, 0),
    filter("json_escape", encoding::json_escape, 0, 0),
    filter("json_parse", braze::json_parse, 0, 0),
    filter("last", arrays::last, 0, 0),
    filter("lstrip", strings::lstrip, 0, 0),
    filter("map", arrays::map, 1, 1),
    filter("minus", math::minus, 1, 1),
    filter("modulo", math::modulo, 1, 1),
    filter("newline_to_br", strings::newline_to_br, 0, 0),
    filter("number_with_delimiter", braze::number_with_delimiter, 0, 0),
    filter("plus", math::plus, 1, 1),
    filter("prepend", strings::prepend, 1, 1),
    filter("property_accessor", braze::property_accessor, 1, 1),
    filter("raw", encoding::raw, 0, 0),
    filter("reject", selection::reject, 1, 2),
    filter("remove", strings::remove, 1, 1),
    filter("remove_first", strings::remove_first, 1, 1),
    filter("remove_last", strings::remove_last, 1, 1),
    filter("replace", strings::replace, 1, 2),
    filter("replace_first", strings::replace_first, 1, 2),
    filter("replace_last", strings::replace_last, 1, 2),
    filter("reverse", arrays::reverse, 0, 0),
    filter("round", math::round, 0, 1),
    filter("rstrip", strings::rstrip, 0, 0),
    filter("sha2", encoding::sha256, 0, 0),
    filter("sha256", encoding::sha256, 0, 0),
    filter("size", arrays::size, 0, 0),
    filter("slice", arrays::slice, 1, 2),
    filter("slugify", braze::slugify, 0, 0),
    filter("sort", arrays::sort, 0, 1),
    filter("sort_natural", arrays::sort_natural, 0, 1),
    filter("split", strings::split, 1, 1),
    filter("squish", strings::squish, 0, 0),
    filter("strip", strings::strip, 0, 0),
    filter("strip_html", strings::strip_html, 0, 0),
    filter("strip_newlines", strings::strip_newlines, 0, 0),
    filter("sum", arrays::sum, 0, 1),
    filter("time_zone", dates::time_zone, 1, 1),
    filter("times", math::times, 1, 1),
    filter("truncate", strings::truncate, 0, 2),
    filter("truncatewords", strings::truncatewords, 0, 2),
    filter("uniq", arrays::uniq, 0, 1),
    filter("upcase", strings::upcase, 0, 0),
    filter("url_decode", encoding::url_decode, 0, 0),
    filter("url_encode", encoding::url_encode, 0, 0),
    filter("url_param_escape", encoding::url_param_escape, 0, 0),
    filter("where", selection::where_filter, 1, 2),
];

pub(crate) fn find(name: &str) -> Option<&'static Filter> {
    FILTERS.binary_search_by(|filter| filter.name.cmp(name)).ok().map(|at| &FILTERS[at])
}

/// Every filter's name, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILTERS.iter().map(|filter| filter.name)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_is_sorted_so_that_every_filter_is_found() {
        for name in super::names() {
            assert_eq!(super::find(name).map(|filter| filter.name), Some(name));
        }
    }
}
