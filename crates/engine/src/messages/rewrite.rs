//! Finds the links of an HTML mail and puts others in their place. Only `href` of `a` and `area`
//! counts; the rest of the mail is left as it is, byte for byte.

use std::borrow::Cow;

/// The web addresses that an HTML text links to, each once, in order.
pub fn links(html: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for range in Hrefs::new(html) {
        let url = unescaped(&html[range]);
        if is_web(&url) && !found.contains(&url) {
            found.push(url);
        }
    }
    found
}

/// Puts what `replace` gives in the place of each web address; `None` leaves it.
pub fn rewrite(html: &str, mut replace: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(html.len() + 2_048);
    let mut copied = 0;
    for range in Hrefs::new(html) {
        let url = unescaped(&html[range.clone()]);
        if !is_web(&url) {
            continue;
        }
        if let Some(new) = replace(&url) {
            out.push_str(&html[copied..range.start]);
            out.push_str(&new);
            copied = range.end;
        }
    }
    out.push_str(&html[copied..]);
    out
}

/// Adds parameters to an address, before its fragment. A name that the address has already stays as
/// its author wrote it.
pub fn with_parameters<'u>(url: &'u str, parameters: &[(String, String)]) -> Cow<'u, str> {
    let (address, fragment) = url.split_at(url.find('#').unwrap_or(url.len()));
    let query = address.split_once('?').map_or("", |(_, query)| query);
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let mut out = String::new();
    for (name, value) in parameters.iter().filter(|(name, _)| !has(name)) {
        if out.is_empty() {
            out.push_str(address);
            match address.split_once('?') {
                None => out.push('?'),
                Some((_, query)) if query.is_empty() || query.ends_with('&') => {}
                Some(_) => out.push('&'),
            }
        } else {
            out.push('&');
        }
        push_encoded(name, &mut out);
        out.push('=');
        push_encoded(value, &mut out);
    }
    if out.is_empty() {
        return Cow::Borrowed(url);
    }
    out.push_str(fragment);
    Cow::Owned(out)
}

/// Adds parameters to every web link of an HTML text.
pub fn with_parameters_everywhere(html: &str, parameters: &[(String, String)]) -> String {
    rewrite(html, |url| match with_parameters(url, parameters) {
        Cow::Borrowed(_) => None,
        Cow::Owned(url) => Some(url.replace('&', "&amp;").replace('"', "&quot;")),
    })
}

fn push_encoded(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// Adds HTML at the end of the body.
pub fn append_to_body(html: &mut String, addition: &str) {
    let tail_from = html.len().saturating_sub(512);
    let tail_from = (tail_from..=html.len()).find(|at| html.is_char_boundary(*at));
    let found = tail_from.and_then(|from| {
        let tail = html[from..].to_ascii_lowercase();
        tail.rfind("</body").map(|at| from + at)
    });
    match found {
        Some(at) => html.insert_str(at, addition),
        None => html.push_str(addition),
    }
}

fn is_web(url: &str) -> bool {
    let starts = |scheme: &str| {
        url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    starts("http://") || starts("https://")
}

/// The few references that stand in addresses.
fn unescaped(text: &str) -> String {
    let text = text.trim();
    if !text.contains('&') {
        return text.to_owned();
    }
    text.replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&#x2F;", "/")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

/// The ranges of `href` values, quotes excluded.
struct Hrefs<'h> {
    html: &'h str,
    at: usize,
}

impl<'h> Hrefs<'h> {
    fn new(html: &'h str) -> Hrefs<'h> {
        Hrefs { html, at: 0 }
    }

    /// The end of a tag that starts before `from`, and its `href` if it has one.
    fn tag(&self, from: usize) -> (usize, Option<std::ops::Range<usize>>) {
        let bytes = self.html.as_bytes();
        let mut at = from;
        let mut href = None;
        while at < bytes.len() && bytes[at] != b'>' {
            if bytes[at].is_ascii_whitespace() || bytes[at] == b'/' {
                at += 1;
                continue;
            }
            let name_from = at;
            while at < bytes.len() && !b" \t\r\n=/>".contains(&bytes[at]) {
                at += 1;
            }
            let name = &bytes[name_from..at];
            while at < bytes.len() && bytes[at].is_ascii_whitespace() {
                at += 1;
            }
            if bytes.get(at) != Some(&b'=') {
                at = at.max(name_from + 1);
                continue;
            }
            at += 1;
            while at < bytes.len() && bytes[at].is_ascii_whitespace() {
                at += 1;
            }
            let (value, end) = self.value(at);
            if name.eq_ignore_ascii_case(b"href") && href.is_none() {
                href = Some(value);
            }
            at = end;
        }
        (at, href)
    }

    /// The range of an attribute's value, and where the attribute ends.
    fn value(&self, from: usize) -> (std::ops::Range<usize>, usize) {
        let bytes = self.html.as_bytes();
        match bytes.get(from) {
            Some(quote @ (b'"' | b'\'')) => {
                let end = bytes[from + 1..].iter().position(|b| b == quote);
                match end {
                    Some(length) => (from + 1..from + 1 + length, from + length + 2),
                    None => (from + 1..from + 1, bytes.len()),
                }
            }
            _ => {
                let length = bytes[from..]
                    .iter()
                    .position(|b| b.is_ascii_whitespace() || *b == b'>')
                    .unwrap_or(bytes.len() - from);
                (from..from + length, from + length)
            }
        }
    }
}

impl Iterator for Hrefs<'_> {
    type Item = std::ops::Range<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.html.as_bytes();
        while let Some(offset) = self.html[self.at..].find('<') {
            let open = self.at + offset;
            if self.html[open..].starts_with("<!--") {
                // Conditional comments of old mail readers hold links too, but those readers
                // never see our server; they are left alone.
                let end = self.html[open..].find("-->").map_or(bytes.len(), |at| open + at + 3);
                self.at = end;
                continue;
            }
            let name_from = open + 1;
            let name_end = bytes[name_from..]
                .iter()
                .position(|b| !b.is_ascii_alphanumeric())
                .map_or(bytes.len(), |at| name_from + at);
            let name = &bytes[name_from..name_end];
            let links = name.eq_ignore_ascii_case(b"a") || name.eq_ignore_ascii_case(b"area");
            let (end, href) = if links { self.tag(name_end) } else { (name_end, None) };
            self.at = end.min(bytes.len());
            if href.is_some() {
                return href;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_links_of_anchors_are_replaced() {
        for (html, expected) in [
            (
                r#"<a href="https://x.example/a?b=1&amp;c=2">x</a>"#,
                r#"<a href="[https://x.example/a?b=1&c=2]">x</a>"#,
            ),
            (
                "<A class=b HREF = 'http://x.example'>x</A>",
                "<A class=b HREF = '[http://x.example]'>x</A>",
            ),
            ("<a href=https://x.example/q>x</a>", "<a href=[https://x.example/q]>x</a>"),
            (r#"<a href="mailto:a@b.example">x</a>"#, r#"<a href="mailto:a@b.example">x</a>"#),
            (r##"<a href="#top">x</a>"##, r##"<a href="#top">x</a>"##),
            (
                r#"<link href="https://x.example/style.css">"#,
                r#"<link href="https://x.example/style.css">"#,
            ),
            (
                r#"<img alt="<a href='https://no.example'>">"#,
                r#"<img alt="<a href='[https://no.example]'>">"#,
            ),
            (
                r#"<!-- <a href="https://x.example"> -->"#,
                r#"<!-- <a href="https://x.example"> -->"#,
            ),
            (
                r#"<a title="a > b" href="https://x.example">x</a>"#,
                r#"<a title="a > b" href="[https://x.example]">x</a>"#,
            ),
            ("<a href=\"https://open.example", "<a href=\"https://open.example"),
            ("<a", "<a"),
            (
                "<a =>x</a><a href=\"https://ü.example/ü\">ü</a>",
                "<a =>x</a><a href=\"[https://ü.example/ü]\">ü</a>",
            ),
        ] {
            assert_eq!(rewrite(html, |url| Some(format!("[{url}]"))), expected);
        }
    }

    #[test]
    fn parameters_are_added_once_and_before_the_fragment() {
        let parameters = [("utm_source", "letter"), ("utm_campaign", "Spring & more")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let added = "utm_source=letter&utm_campaign=Spring%20%26%20more";
        for (url, expected) in [
            ("https://x.example", format!("https://x.example?{added}")),
            ("https://x.example/a?b=1", format!("https://x.example/a?b=1&{added}")),
            ("https://x.example/?", format!("https://x.example/?{added}")),
            ("https://x.example/?a&", format!("https://x.example/?a&{added}")),
            ("https://x.example/#part?x", format!("https://x.example/?{added}#part?x")),
            (
                "https://x.example/?utm_source=mine",
                "https://x.example/?utm_source=mine&utm_campaign=Spring%20%26%20more".to_owned(),
            ),
        ] {
            assert_eq!(with_parameters(url, &parameters), expected);
            assert_eq!(with_parameters(url, &[]), url);
        }
        let twice = with_parameters("https://x.example", &parameters).into_owned();
        assert_eq!(with_parameters(&twice, &parameters), twice);
    }

    #[test]
    fn links_are_listed_once() {
        let html = r#"<a href="https://b.example"></a><a href="https://a.example"></a>
            <a href="https://b.example"></a>"#;
        assert_eq!(links(html), ["https://b.example", "https://a.example"]);
    }

    #[test]
    fn the_pixel_goes_to_the_end_of_the_body() {
        let mut html = "<body>ü</BODY></html>".to_owned();
        append_to_body(&mut html, "[p]");
        assert_eq!(html, "<body>ü[p]</BODY></html>");
        let mut bare = "text".to_owned();
        append_to_body(&mut bare, "[p]");
        assert_eq!(bare, "text[p]");
    }
}
