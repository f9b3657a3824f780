//! Reads what stands inside outputs and tags: values, paths, filters and conditions.

use std::ops::Range;
use std::sync::Arc;

use super::{MAX_DEPTH, Parsed, Usage, offset};
use crate::ast::{
    Comparison, Condition, Expression, FilterCall, Filtered, Join, Path, Root, Segment, Test,
};
use crate::filters;
use crate::tokens::{Kind, Token, describe, tokenize};
use crate::value::Value;

/// A reader over the tokens of one tag or output.
pub(super) struct Expressions<'s, 'u> {
    source: &'s str,
    tokens: Vec<Token<'s>>,
    position: usize,
    end: usize,
    depth: usize,
    usage: &'u mut Usage,
}

impl<'s, 'u> Expressions<'s, 'u> {
    pub fn new(source: &'s str, range: Range<usize>, usage: &'u mut Usage) -> Parsed<Self> {
        let end = range.end;
        let tokens = tokenize(source, range)?;
        Ok(Expressions { source, tokens, position: 0, end, depth: 0, usage })
    }

    pub fn usage(&mut self) -> &mut Usage {
        self.usage
    }

    pub fn peek(&self) -> Option<&Kind<'s>> {
        self.tokens.get(self.position).map(|token| &token.kind)
    }

    fn peek_second(&self) -> Option<&Kind<'s>> {
        self.tokens.get(self.position + 1).map(|token| &token.kind)
    }

    /// Where the next token starts.
    pub fn at(&self) -> usize {
        self.tokens.get(self.position).map_or(self.end, |token| token.at)
    }

    /// Where the last token read ended.
    pub fn last_end(&self) -> usize {
        match self.position.checked_sub(1).and_then(|last| self.tokens.get(last)) {
            Some(token) => token.end,
            None => self.at(),
        }
    }

    pub fn advance(&mut self) {
        self.position += 1;
    }

    pub fn take_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Kind::Sign(next)) if *next == sign);
        self.position += usize::from(found);
        found
    }

    pub fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Kind::Word(next)) if *next == word);
        self.position += usize::from(found);
        found
    }

    pub fn expect_sign(&mut self, sign: &str) -> Parsed<()> {
        if self.take_sign(sign) { Ok(()) } else { self.unexpected(&format!("'{sign}'")) }
    }

    pub fn expect_word(&mut self) -> Parsed<&'s str> {
        match self.peek() {
            Some(Kind::Word(word)) => {
                let word = *word;
                self.advance();
                Ok(word)
            }
            _ => self.unexpected("a name"),
        }
    }

    /// A word followed by a colon, as in `limit: 3`.
    pub fn take_argument_name(&mut self) -> Option<&'s str> {
        match (self.peek(), self.peek_second()) {
            (Some(Kind::Word(name)), Some(Kind::Sign(":"))) => {
                let name = *name;
                self.position += 2;
                Some(name)
            }
            _ => None,
        }
    }

    pub fn is_done(&self) -> bool {
        self.position >= self.tokens.len()
    }

    pub fn finish(&self) -> Parsed<()> {
        if self.is_done() { Ok(()) } else { self.unexpected("the end") }
    }

    pub fn unexpected<T>(&self, wanted: &str) -> Parsed<T> {
        Err((self.at(), format!("expected {wanted}, found {}", describe(self.peek()))))
    }

    pub fn text_between(&self, start: usize, end: usize) -> &'s str {
        self.source[start..end.max(start)].trim()
    }

    /// A value: literal, range or path.
    pub fn value(&mut self) -> Parsed<Expression> {
        let at = self.at();
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err((at, format!("more than {MAX_DEPTH} brackets deep")));
        }
        let value = match self.peek() {
            Some(Kind::Text(text)) => Expression::Literal(Value::text(*text)),
            Some(Kind::Int(number)) => Expression::Literal(Value::Int(*number)),
            Some(Kind::Float(number)) => Expression::Literal(Value::Float(*number)),
            _ => {
                let value = self.range_or_path()?;
                self.depth -= 1;
                return Ok(value);
            }
        };
        self.advance();
        self.depth -= 1;
        Ok(value)
    }

    fn range_or_path(&mut self) -> Parsed<Expression> {
        let at = self.at();
        let root = match self.peek() {
            Some(Kind::Sign("(")) => return self.range(),
            Some(Kind::Sign("[")) => {
                self.advance();
                let name = self.value()?;
                self.expect_sign("]")?;
                Root::Computed(name)
            }
            Some(Kind::Dollar(name)) => {
                let root = Root::Dollar(Arc::from(*name));
                self.advance();
                root
            }
            Some(Kind::Word(word)) => {
                let word = *word;
                self.advance();
                if !matches!(self.peek(), Some(Kind::Sign("." | "[")))
                    && let Some(literal) = keyword(word)
                {
                    return Ok(Expression::Literal(literal));
                }
                match word {
                    "forloop" => Root::ForLoop,
                    "tablerowloop" => Root::TableRowLoop,
                    _ => Root::Name(Arc::from(word)),
                }
            }
            _ => return self.unexpected("a value"),
        };
        let segments = self.segments()?;
        Ok(Expression::Path(Box::new(Path { at: offset(at), root, segments })))
    }

    fn segments(&mut self) -> Parsed<Vec<Segment>> {
        let mut segments = Vec::new();
        loop {
            if self.take_sign("[") {
                let index = self.value()?;
                self.expect_sign("]")?;
                segments.push(Segment::Index(index));
            } else if self.take_sign(".") {
                if let Some(Kind::Dollar(name)) = self.peek() {
                    segments.push(Segment::Dollar(Arc::from(*name)));
                    self.advance();
                } else {
                    segments.push(Segment::Name(Arc::from(self.expect_word()?)));
                }
            } else {
                return Ok(segments);
            }
        }
    }

    fn range(&mut self) -> Parsed<Expression> {
        self.expect_sign("(")?;
        let start = self.value()?;
        if !self.take_sign("..") {
            return Err((self.at(), "expected '..', brackets only make ranges in Liquid".into()));
        }
        let end = self.value()?;
        self.expect_sign(")")?;
        Ok(Expression::Range(Box::new((start, end))))
    }

    /// A value and its filters.
    pub fn filtered(&mut self) -> Parsed<Filtered> {
        let input = self.value()?;
        let mut filters = Vec::new();
        while self.take_sign("|") {
            filters.push(self.filter_call()?);
        }
        Ok(Filtered { input, filters })
    }

    fn filter_call(&mut self) -> Parsed<FilterCall> {
        let at = self.at();
        let name = match self.peek() {
            Some(Kind::Word(_)) => self.expect_word()?,
            _ => return self.unexpected("a filter"),
        };
        let Some(filter) = filters::find(name) else {
            return Err((at, format!("unknown filter '{name}'")));
        };
        self.usage.note_filter(filter.name);
        let mut call =
            FilterCall { at: offset(at), filter, positional: Vec::new(), named: Vec::new() };
        if self.take_sign(":") {
            while !self.is_done() && !matches!(self.peek(), Some(Kind::Sign("|"))) {
                self.filter_argument(&mut call)?;
                if !self.take_sign(",") {
                    break;
                }
            }
        }
        check_arguments(&call).map_err(|message| (at, message))?;
        Ok(call)
    }

    fn filter_argument(&mut self, call: &mut FilterCall) -> Parsed<()> {
        let at = self.at();
        match self.take_argument_name() {
            Some(name) if call.filter.named.contains(&name) => {
                let value = self.value()?;
                call.named.push((Arc::from(name), value));
            }
            Some(name) => {
                let message = format!("filter '{}' has no argument '{name}'", call.filter.name);
                return Err((at, message));
            }
            None => call.positional.push(self.value()?),
        }
        Ok(())
    }

    /// Tests joined by `and` and `or`.
    pub fn condition(&mut self) -> Parsed<Condition> {
        let mut condition = Condition { negated: false, tests: Vec::new(), joins: Vec::new() };
        loop {
            condition.tests.push(self.test()?);
            if self.take_word("and") {
                condition.joins.push(Join::And);
            } else if self.take_word("or") {
                condition.joins.push(Join::Or);
            } else {
                self.finish()?;
                return Ok(condition);
            }
        }
    }

    fn test(&mut self) -> Parsed<Test> {
        let at = offset(self.at());
        let left = self.value()?;
        let comparison = match self.peek() {
            Some(Kind::Sign("==")) => Comparison::Equal,
            Some(Kind::Sign("!=" | "<>")) => Comparison::NotEqual,
            Some(Kind::Sign("<")) => Comparison::Less,
            Some(Kind::Sign("<=")) => Comparison::LessOrEqual,
            Some(Kind::Sign(">")) => Comparison::Greater,
            Some(Kind::Sign(">=")) => Comparison::GreaterOrEqual,
            Some(Kind::Word("contains")) => Comparison::Contains,
            _ => return Ok(Test { at, left, comparison: None }),
        };
        self.advance();
        let right = self.value()?;
        Ok(Test { at, left, comparison: Some((comparison, right)) })
    }
}

fn check_arguments(call: &FilterCall) -> Result<(), String> {
    let filter = call.filter;
    let given = call.positional.len();
    if given < filter.min_arguments {
        let wanted = filter.min_arguments;
        return Err(format!("filter '{}' needs {wanted} argument(s), found {given}", filter.name));
    }
    if given > filter.max_arguments {
        let most = filter.max_arguments;
        return Err(format!(
            "filter '{}' takes at most {most} argument(s), found {given}",
            filter.name
        ));
    }
    Ok(())
}

fn keyword(word: &str) -> Option<Value> {
    match word {
        "nil" | "null" => Some(Value::Nil),
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        "empty" => Some(Value::Empty),
        "blank" => Some(Value::Blank),
        _ => None,
    }
}
