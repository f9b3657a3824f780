//! A plain text made from HTML, for mails that bring none of their own.

/// Elements whose content is not for reading.
const HIDDEN: [&str; 4] = ["head", "script", "style", "title"];
/// Elements that stand on lines of their own.
const BLOCKS: [&str; 20] = [
    "address",
    "article",
    "blockquote",
    "div",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "li",
    "ol",
    "p",
    "section",
    "table",
    "tr",
    "ul",
];
const ENTITIES: [(&str, &str); 24] = [
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", " "),
    ("euro", "€"),
    ("pound", "£"),
    ("copy", "©"),
    ("reg", "®"),
    ("trade", "™"),
    ("hellip", "…"),
    ("mdash", "—"),
    ("ndash", "–"),
    ("lsquo", "‘"),
    ("rsquo", "’"),
    ("ldquo", "“"),
    ("rdquo", "”"),
    ("laquo", "«"),
    ("raquo", "»"),
    ("bull", "•"),
    ("middot", "·"),
    ("shy", ""),
    ("zwnj", ""),
];

/// Strips tags, decodes entities, and keeps link targets in angle brackets behind their text. Never
/// fails: what is not understood stays as it stands.
pub fn plain_text(html: &str) -> String {
    let mut out = Text::default();
    let mut link: Option<(String, usize)> = None;
    let mut rest = html;
    while let Some((text, tag, after)) = next_tag(rest) {
        out.words(text);
        rest = after;
        let (closing, name) = tag_name(tag);
        let name = name.as_str();
        match name {
            "a" => {
                if let Some((target, start)) = link.take() {
                    out.link(&target, start);
                }
                link = if closing {
                    None
                } else {
                    attribute(tag, "href").map(|t| (t, out.text.len()))
                };
            }
            "br" => out.line_end(1),
            "li" if !closing => {
                out.line_end(1);
                out.words("- ");
            }
            "img" => out.words(&attribute(tag, "alt").unwrap_or_default()),
            "td" | "th" if closing => out.words(" "),
            "p" | "h1" | "h2" | "h3" | "table" | "ul" | "ol" => out.line_end(2),
            name if BLOCKS.contains(&name) => out.line_end(1),
            name if HIDDEN.contains(&name) && !closing => rest = behind_element(rest, name),
            _ => {}
        }
    }
    out.words(rest);
    let mut text = out.text;
    text.truncate(text.trim_end().len());
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// The text before the next tag, the inside of the tag, and what follows it. Comments are skipped as
/// tags without a name.
fn next_tag(html: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let start = from + html[from..].find('<')?;
        let inside = &html[start + 1..];
        if let Some(comment) = inside.strip_prefix("!--") {
            let after = comment.split_once("-->").map_or("", |(_, after)| after);
            return Some((&html[..start], "!", after));
        }
        let is_tag = inside.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '!');
        if let (true, Some(end)) = (is_tag, tag_end(inside)) {
            return Some((&html[..start], &inside[..end], &inside[end + 1..]));
        }
        from = start + 1;
    }
}

/// Where the tag's `>` stands, quoted attribute values passed over.
fn tag_end(inside: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in inside.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') if inside[..at].ends_with('=') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

fn tag_name(tag: &str) -> (bool, String) {
    let (closing, tag) = match tag.strip_prefix('/') {
        Some(rest) => (true, rest),
        None => (false, tag),
    };
    let end = tag.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tag.len());
    (closing, tag[..end].to_ascii_lowercase())
}

/// The decoded value of an attribute, if it is there and not empty.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let lower = tag.to_ascii_lowercase();
    let mut from = 0;
    loop {
        let at = from + lower[from..].find(name)?;
        from = at + name.len();
        let value = tag[from..].trim_start();
        let own_word =
            lower[..at].ends_with(|c: char| c.is_ascii_whitespace() || c == '"' || c == '\'');
        let (true, Some(value)) = (own_word, value.strip_prefix('=')) else { continue };
        let value = value.trim_start();
        let value = match value.chars().next()? {
            quote @ ('"' | '\'') => value[1..].split(quote).next()?,
            _ => value.split_ascii_whitespace().next()?,
        };
        return Some(decode(value.trim())).filter(|value| !value.is_empty());
    }
}

/// What follows the closing tag of an element; nothing if it is never closed.
fn behind_element<'a>(html: &'a str, name: &str) -> &'a str {
    let mut rest = html;
    while let Some(at) = rest.find("</") {
        rest = &rest[at + 2..];
        let (_, closed) = tag_name(rest);
        if closed == name {
            return rest.split_once('>').map_or("", |(_, after)| after);
        }
    }
    ""
}

fn decode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(12).position(|byte| byte == b';');
        match end.and_then(|end| entity(&rest[1..end]).map(|text| (text, end))) {
            Some((text, end)) => {
                out.push_str(&text);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn entity(name: &str) -> Option<String> {
    let Some(number) = name.strip_prefix('#') else {
        return ENTITIES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, text)| (*text).to_owned());
    };
    let number = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    char::from_u32(number.ok()?).filter(|c| !c.is_control()).map(String::from)
}

/// The text so far, with white space as a reader of the page would see it.
#[derive(Default)]
struct Text {
    text: String,
    space: bool,
}

impl Text {
    fn words(&mut self, html: &str) {
        for c in decode(html).chars() {
            if c.is_whitespace() {
                self.space = true;
                continue;
            }
            if std::mem::take(&mut self.space)
                && !self.text.is_empty()
                && !self.text.ends_with('\n')
            {
                self.text.push(' ');
            }
            self.text.push(c);
        }
    }

    fn line_end(&mut self, count: usize) {
        self.space = false;
        let lines = self.text.len() - self.text.trim_end_matches('\n').len();
        if !self.text.is_empty() {
            self.text.extend(std::iter::repeat_n('\n', count.saturating_sub(lines)));
        }
    }

    /// Adds a link's target, unless the text from `start` on already is the target.
    fn link(&mut self, target: &str, start: usize) {
        if !target.starts_with('#') && self.text[start..].trim() != target {
            self.words(" <");
            self.text.push_str(target);
            self.text.push('>');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::plain_text;

    #[test]
    fn html_becomes_readable_text() {
        for (html, expected) in [
            ("", ""),
            ("plain", "plain\n"),
            ("<p>One</p>\n<p>two\n  three</p>", "One\n\ntwo three\n"),
            ("a<br>b<br/>c", "a\nb\nc\n"),
            (
                "<a href=\"https://x.example/?a=1&amp;b=2\">Shop</a> now",
                "Shop <https://x.example/?a=1&b=2> now\n",
            ),
            ("<a href='https://x.example'>https://x.example</a>", "https://x.example\n"),
            ("<a class=b data-href=no href=https://x.example>Go</a>", "Go <https://x.example>\n"),
            ("<a href=\"#top\">up</a>", "up\n"),
            (
                "<a href=\"https://x.example\"><img alt=\"Our shop\" src=y></a>",
                "Our shop <https://x.example>\n",
            ),
            ("<ul><li>one</li><li>two</li></ul>", "- one\n- two\n"),
            ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc\n"),
            (
                "&lt;b&gt; &euro;5&nbsp;&#8211;&#x20AC;6 &bogus; &#xD800; AT&T",
                "<b> €5 –€6 &bogus; &#xD800; AT&T\n",
            ),
            (
                "<style>p{}</style><head><title>t</title></head><script>if (a<b) x('</p>')</script>Hi",
                "Hi\n",
            ),
            ("a<!-- <b>hidden</b> -->b", "ab\n"),
            ("<img alt=\"a > b\"> 1 < 2 and 2<3", "a > b 1 < 2 and 2<3\n"),
            ("<b>Über</b><i>raschung</i>", "Überraschung\n"),
            ("<style>never closed", ""),
            ("<a href=\"x", "<a href=\"x\n"),
            ("ends with <", "ends with <\n"),
        ] {
            assert_eq!(plain_text(html), expected, "{html}");
        }
    }
}
