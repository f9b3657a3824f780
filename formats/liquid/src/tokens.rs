//! Cuts the inside of a tag or an output into words, literals and signs.

use std::ops::Range;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind<'s> {
    Word(&'s str),
    Text(&'s str),
    Int(i64),
    Float(f64),
    /// `${name with spaces}`
    Dollar(&'s str),
    /// One of `. .. [ ] ( ) | : , = == != <> < > <= >=`
    Sign(&'static str),
}

#[derive(Debug, Clone)]
pub(crate) struct Token<'s> {
    pub at: usize,
    pub end: usize,
    pub kind: Kind<'s>,
}

const SIGNS: [&str; 17] =
    ["..", "==", "!=", "<>", "<=", ">=", ".", "[", "]", "(", ")", "|", ":", ",", "=", "<", ">"];

/// Offset and message of what cannot be read.
pub(crate) type Unreadable = (usize, String);

pub(crate) fn tokenize(source: &str, range: Range<usize>) -> Result<Vec<Token<'_>>, Unreadable> {
    let mut tokens = Vec::new();
    let mut position = range.start;
    while position < range.end {
        let rest = &source[position..range.end];
        let Some(first) = rest.chars().next() else { break };
        // `{{x}}` inside a tag means x; Braze's users write it so.
        if rest.starts_with("{{") || rest.starts_with("}}") {
            position += 2;
            continue;
        }
        if first.is_whitespace() {
            position += first.len_utf8();
            continue;
        }
        let (kind, length) = read_token(rest, first).map_err(|message| (position, message))?;
        tokens.push(Token { at: position, end: position + length, kind });
        position += length;
    }
    Ok(tokens)
}

fn read_token(rest: &str, first: char) -> Result<(Kind<'_>, usize), String> {
    if first == '"' || first == '\'' {
        let Some(length) = rest[1..].find(first) else {
            return Err(format!("text is not closed with {first}"));
        };
        return Ok((Kind::Text(&rest[1..=length]), length + 2));
    }
    if rest.starts_with("${") {
        let Some(close) = rest.find('}') else {
            return Err("'${' is not closed with '}'".into());
        };
        return Ok((Kind::Dollar(rest[2..close].trim()), close + 1));
    }
    let digits_at = usize::from(first == '-');
    if rest[digits_at..].starts_with(|c: char| c.is_ascii_digit()) {
        return read_number(rest, digits_at);
    }
    if first.is_alphabetic() || first == '_' {
        let mut length =
            rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').unwrap_or(rest.len());
        length += usize::from(rest[length..].starts_with('?'));
        return Ok((Kind::Word(&rest[..length]), length));
    }
    match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        Some(sign) => Ok((Kind::Sign(sign), sign.len())),
        None => Err(format!("unexpected '{first}'")),
    }
}

fn read_number(rest: &str, digits_at: usize) -> Result<(Kind<'_>, usize), String> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits_at + digits(&rest[digits_at..]);
    let fraction = match rest[whole..].strip_prefix('.') {
        Some(after) => digits(after),
        None => 0,
    };
    let length = if fraction > 0 { whole + 1 + fraction } else { whole };
    if rest[length..].starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return Err(format!("'{}' is followed by a letter", &rest[..length]));
    }
    if fraction == 0
        && let Ok(number) = rest[..length].parse::<i64>()
    {
        return Ok((Kind::Int(number), length));
    }
    // Whole numbers outside 64 bits become floats too.
    let number = rest[..length].parse::<f64>().map_err(|error| error.to_string())?;
    Ok((Kind::Float(number), length))
}

/// How a token is called in an error message.
pub(crate) fn describe(kind: Option<&Kind<'_>>) -> String {
    match kind {
        None => "the end".into(),
        Some(Kind::Word(word)) => format!("'{word}'"),
        Some(Kind::Text(text)) => format!("text '{text}'"),
        Some(Kind::Int(number)) => format!("number {number}"),
        Some(Kind::Float(number)) => format!("number {number}"),
        Some(Kind::Dollar(name)) => format!("'${{{name}}}'"),
        Some(Kind::Sign(sign)) => format!("'{sign}'"),
    }
}
