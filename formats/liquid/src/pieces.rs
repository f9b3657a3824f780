//! Where Liquid stands in a text, for those who must read the rest of the text as something else:
//! markup is compiled, checked and searched for links with its Liquid set aside.

use std::ops::Range;

use crate::lexer::{Chunk, Lexer};

/// What a piece of Liquid is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceKind {
    /// `{{ … }}`, and text that Liquid passes on untouched: it prints, and decides nothing.
    Output,
    /// A tag that decides nothing about what follows: `assign`, `comment`, `increment` and the like.
    Quiet,
    /// A tag that opens, divides or ends a block, or prints another template.
    Structure,
}

/// A piece of Liquid and the bytes that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub range: Range<usize>,
    pub kind: PieceKind,
}

/// The pieces of Liquid in a text, in order. A `raw`, `comment` or `doc` block is one piece with all
/// that stands in it. Reading stops at a piece that does not end.
pub fn pieces(source: &str) -> Vec<Piece> {
    let mut lexer = Lexer::template(source, 0..source.len());
    let mut found = Vec::new();
    loop {
        let (start, kind) = match lexer.next() {
            Ok(Chunk::Text(_)) => continue,
            Ok(Chunk::Output { at, .. }) => (at, PieceKind::Output),
            Ok(Chunk::Tag(tag)) => {
                let kind = match &source[tag.name] {
                    "raw" => {
                        lexer.take_raw_until("endraw");
                        PieceKind::Output
                    }
                    "comment" => {
                        lexer.skip_comment();
                        PieceKind::Quiet
                    }
                    "doc" => {
                        lexer.take_raw_until("enddoc");
                        PieceKind::Quiet
                    }
                    "echo" | "cycle" | "increment" | "decrement" => PieceKind::Output,
                    "assign" | "#" | "abort_message" | "connected_content" => PieceKind::Quiet,
                    _ => PieceKind::Structure,
                };
                (tag.at, kind)
            }
            Ok(Chunk::End) | Err(_) => return found,
        };
        found.push(Piece { range: start..lexer.position(), kind });
    }
}

/// The text with a filler in the place of each byte of Liquid, so that every offset keeps its
/// meaning and no quote or bracket inside Liquid is taken for markup.
pub fn masked(source: &str, filler: u8) -> String {
    let mut bytes = source.as_bytes().to_vec();
    for piece in pieces(source) {
        for byte in &mut bytes[piece.range] {
            // Line ends stay, so that lines keep their numbers.
            if *byte != b'\n' {
                *byte = filler;
            }
        }
    }
    // Pieces begin and end at ASCII signs, so that whole characters are replaced.
    String::from_utf8(bytes).unwrap_or_else(|_| source.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(source: &str) -> Vec<(&str, PieceKind)> {
        pieces(source).into_iter().map(|piece| (&source[piece.range], piece.kind)).collect()
    }

    #[test]
    fn every_piece_is_found_whole() {
        use PieceKind::{Output, Quiet, Structure};
        assert_eq!(
            shown("a{{ x }}b{%- if {{${y}}} == '}}' -%}c{% endif %}{{${z}}}"),
            [
                ("{{ x }}", Output),
                ("{%- if {{${y}}} == '}}' -%}", Structure),
                ("{% endif %}", Structure),
                ("{{${z}}}", Output)
            ]
        );
        assert_eq!(
            shown(
                "{% raw %}{{ a }}{% endraw %}{% comment %}{% if %}{% endcomment %}{% assign a = 1 %}"
            ),
            [
                ("{% raw %}{{ a }}{% endraw %}", Output),
                ("{% comment %}{% if %}{% endcomment %}", Quiet),
                ("{% assign a = 1 %}", Quiet)
            ]
        );
        assert_eq!(shown("<p>{ a } {{ open"), []);
        assert_eq!(shown("{% render 'footer' %}"), [("{% render 'footer' %}", Structure)]);
    }

    #[test]
    fn a_masked_text_keeps_its_places() {
        let source = "<a href=\"{{ 'é>' | f: \"x\" }}\">{% if a\n> 1 %}ü</a>";
        let masked = masked(source, b'~');
        assert_eq!(masked.len(), source.len());
        assert_eq!(masked.find("</a>"), source.find("</a>"));
        assert_eq!(masked.matches('\n').count(), 1);
        assert!(!masked.contains("{{") && masked.contains("ü</a>"), "{masked}");
    }
}
