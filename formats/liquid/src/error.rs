//! What can go wrong with a template, and where. Knows nothing of how templates are read or run.

/// The template text is not Liquid this crate speaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct ParseError {
    pub message: String,
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
}

/// A template that reads well but could not be rendered with this data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct RenderError {
    pub message: String,
    /// 1-based; inside a named template the message says which one, and the line is that template's.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
}

/// Line and column (both 1-based) of byte `offset` in `source`.
pub(crate) fn locate(source: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(source.len());
    while !source.is_char_boundary(end) {
        end -= 1;
    }
    let before = &source[..end];
    let line = before.matches('\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (line, before[line_start..].chars().count() + 1)
}

pub(crate) fn parse_error(source: &str, offset: usize, message: impl Into<String>) -> ParseError {
    let (line, column) = locate(source, offset);
    ParseError { message: message.into(), line, column }
}

#[cfg(test)]
mod tests {
    use super::locate;

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let source = "ab\nçd{{\n";
        assert_eq!(locate(source, 0), (1, 1));
        assert_eq!(locate(source, 3), (2, 1));
        assert_eq!(locate(source, 6), (2, 3));
        assert_eq!(locate(source, 999), (3, 1));
    }
}
