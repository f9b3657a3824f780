//! Patterns of `matches`: `*` for any characters, `?` for one, the rest taken literally.
//!
//! These two mean the same as `GLOB` on one database and `LIKE` on the other; a regular expression
//! would not. A character is a Unicode scalar value.

/// A pattern that a whole text must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    Literal(char),
    /// Exactly one character.
    One,
    /// Any characters, none included.
    Many,
}

/// Longer patterns are refused; databases limit them too.
const MAX_BYTES: usize = 1_000;

impl Pattern {
    pub fn parse(text: &str) -> Result<Pattern, String> {
        if text.is_empty() || text.len() > MAX_BYTES || text.contains('\0') {
            return Err(format!(
                "expected a pattern of 1 to {MAX_BYTES} bytes, such as *@example.*"
            ));
        }
        let mut pieces = Vec::with_capacity(text.len());
        let mut characters = text.chars();
        while let Some(c) = characters.next() {
            let piece = match c {
                '*' => Piece::Many,
                '?' => Piece::One,
                '\\' => match characters.next() {
                    Some(c @ ('*' | '?' | '\\')) => Piece::Literal(c),
                    _ => return Err("a backslash stands before *, ? or a backslash".to_owned()),
                },
                c => Piece::Literal(c),
            };
            // Two stars in a row say no more than one, and cost the matcher time.
            if !(piece == Piece::Many && pieces.last() == Some(&Piece::Many)) {
                pieces.push(piece);
            }
        }
        Ok(Pattern { pieces })
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Whether the whole text matches; at most text length times pattern length steps.
    pub fn matches(&self, text: &str) -> bool {
        let pieces = &self.pieces;
        let mut rest = text.chars();
        let mut at = 0;
        // Where to go on from when a literal fails: after the last star, one character further.
        let mut retry: Option<(usize, std::str::Chars)> = None;
        loop {
            let before = rest.clone();
            match (pieces.get(at), rest.next()) {
                (Some(Piece::Many), _) => {
                    at += 1;
                    rest = before;
                    retry = Some((at, rest.clone()));
                    continue;
                }
                (Some(Piece::One), Some(_)) => at += 1,
                (Some(Piece::Literal(wanted)), Some(found)) if *wanted == found => at += 1,
                (None, None) => return true,
                (Some(_), None) => return false,
                _ => {
                    let Some((star, from)) = retry.as_mut() else {
                        return false;
                    };
                    from.next();
                    at = *star;
                    rest = from.clone();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_texts_are_matched() {
        for (pattern, text, expected) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*c", "abbc", true),
            ("a*c", "ac", true),
            ("a?c", "ac", false),
            ("a?c", "aüc", true),
            ("*@example.*", "ann@example.com", true),
            ("*ab", "aab", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("*", "", true),
            ("?", "", false),
            ("A*", "abc", false),
            ("50\\*", "50*", true),
            ("50\\*", "500", false),
            ("a%_[b]", "a%_[b]", true),
            ("**x", "yx", true),
        ] {
            let matched = Pattern::parse(pattern).unwrap().matches(text);
            assert_eq!(matched, expected, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_ends() {
        let pattern = Pattern::parse(&"*a".repeat(400)).unwrap();
        assert!(!pattern.matches(&format!("{}b", "a".repeat(20_000))));
    }

    #[test]
    fn wrong_patterns_are_refused() {
        for pattern in ["", "a\\", "\\d+", "a\0", &"a".repeat(1_001)] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern:?}");
        }
    }
}
