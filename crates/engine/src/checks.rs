//! What can be seen to be wrong with a message before anybody gets it: links that lead nowhere,
//! pictures that say nothing, fields that do not exist, and more than a mail reader shows. Nothing
//! is asked of the network.

use tidings_domain::schema::Schema;
use tidings_liquid::masked;
use tidings_store::templates::{Format, TemplateDraft};

use crate::campaigns::Level;
use crate::messages::{Compiled, Parts, is_dollar_known, line_and_column};

/// Gmail hides what comes after this many bytes of HTML.
const GMAIL_CLIP_BYTES: usize = 102 * 1024;
/// More than so many findings help nobody.
const MAX_FINDINGS: usize = 200;
/// Stands for a byte of Liquid while markup is looked at.
const FILLER: u8 = 0x1a;
/// Elements whose `href` is a link.
const LINKS: [&str; 5] = ["a", "area", "mj-button", "mj-navbar-link", "mj-social-element"];
/// Elements that show a picture.
const PICTURES: [&str; 3] = ["img", "mj-image", "mj-carousel-image"];
/// What a message knows beside the customer.
const VARIABLES: [&str; 8] = [
    "customer",
    "custom_attribute",
    "campaign",
    "workspace",
    "unsubscribe_url",
    "preferences_url",
    "content_blocks",
    "subscribed_state",
];
const OF_CUSTOMER: [&str; 5] = ["id", "system_id", "external_id", "email", "phone"];

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// An error stops a launch.
    pub level: Level,
    /// A stable word: `broken_link`, `empty_link`, `missing_alt`, `missing_source`,
    /// `no_unsubscribe_link`, `unknown_field`, `too_large`, `per_customer`, `no_subject`.
    pub code: &'static str,
    pub message: String,
    pub fix: String,
    /// Which part it is in, such as `html` or `variants[0].subject`, or `block NAME`.
    pub part: String,
    /// Line and column in that part, counted from 1.
    pub place: Option<(u32, u32)>,
}

/// Looks a template through. `sample` is a message made from it, where there is one; the
/// unsubscribe link is asked for where the message is marketing.
pub fn check(
    draft: &TemplateDraft,
    compiled: &Compiled,
    schema: &Schema,
    is_marketing: bool,
    sample: Option<&Parts>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for (part, source) in bodies(draft) {
        markup(&part, source, draft.format, &mut found);
    }
    for (name, body) in &compiled.blocks().bodies {
        markup(&format!("block {name}"), body, Format::Html, &mut found);
    }
    fields(compiled, schema, &mut found);
    if is_marketing && !has_unsubscribe_link(compiled) {
        found.push(Finding {
            level: Level::Warning,
            code: "no_unsubscribe_link",
            message: "the message has no unsubscribe link of its own".to_owned(),
            fix: "add <a href=\"{{ unsubscribe_url }}\">Unsubscribe</a> to the body".to_owned(),
            part: "html".to_owned(),
            place: None,
        });
    }
    let longest = sample.map_or_else(
        || bodies(draft).map(|(_, source)| source.len()).max().unwrap_or(0),
        |parts| parts.html.len(),
    );
    if longest > GMAIL_CLIP_BYTES {
        found.push(Finding {
            level: Level::Warning,
            code: "too_large",
            message: format!(
                "the HTML has {} KB; Gmail hides what comes after 102 KB",
                longest / 1024
            ),
            fix: "shorten it, or host its pictures instead of writing them into it".to_owned(),
            part: "html".to_owned(),
            place: None,
        });
    }
    if sample.is_some_and(|parts| parts.subject.is_empty()) {
        found.push(Finding {
            level: Level::Warning,
            code: "no_subject",
            message: "the subject is empty for this customer".to_owned(),
            fix: "give its variables a default: {{ customer.first_name | default: \"you\" }}"
                .to_owned(),
            part: "subject".to_owned(),
            place: None,
        });
    }
    if let Some((part, line, column)) = &compiled.per_customer {
        found.push(Finding {
            level: Level::Warning,
            code: "per_customer",
            message: "Liquid decides the structure here, so the MJML is compiled for each customer"
                .to_owned(),
            fix: "it costs about a millisecond a message; Liquid inside mj-text, mj-table or \
                  mj-raw costs nothing"
                .to_owned(),
            part: part.clone(),
            place: Some((*line, *column)),
        });
    }
    found.sort_by_key(|finding| finding.level == Level::Warning);
    found
}

/// The bodies in all languages, with what they are called.
fn bodies(draft: &TemplateDraft) -> impl Iterator<Item = (String, &str)> {
    let variants = draft.variants.iter().enumerate();
    std::iter::once(("html".to_owned(), draft.html.as_str()))
        .chain(variants.map(|(at, one)| (format!("variants[{at}].html"), one.html.as_str())))
}

fn has_unsubscribe_link(compiled: &Compiled) -> bool {
    compiled.reads_everywhere(|path| match path {
        [one, ..] if one == "unsubscribe_url" || one == "preferences_url" => true,
        [one] => one == "${set_user_to_unsubscribed_url}",
        _ => false,
    })
}

/// A tag of the markup: its name, its attributes, and where it stands.
struct Tag<'t> {
    name: String,
    attributes: Vec<(String, &'t str, usize)>,
    at: usize,
}

impl Tag<'_> {
    fn attribute(&self, name: &str) -> Option<(&str, usize)> {
        let found = self.attributes.iter().find(|(known, _, _)| known == name);
        found.map(|(_, value, at)| (*value, *at))
    }
}

/// The start tags of a text in which Liquid has been masked; comments are passed over.
fn tags(text: &str) -> Vec<Tag<'_>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find('<').map(|next| at + next) {
        if text[open..].starts_with("<!--") {
            at = text[open..].find("-->").map_or(text.len(), |end| open + end + 3);
            continue;
        }
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        let length = bytes[open + 1..].iter().take_while(|byte| is_name(byte)).count();
        at = open + 1 + length;
        if length == 0 || !bytes[open + 1].is_ascii_alphabetic() {
            continue;
        }
        let mut tag =
            Tag { name: text[open + 1..at].to_ascii_lowercase(), attributes: Vec::new(), at: open };
        at = attributes(text, at, &mut tag);
        found.push(tag);
    }
    found
}

/// Reads attributes up to the end of a tag; gives where that is.
fn attributes<'t>(text: &'t str, mut at: usize, tag: &mut Tag<'t>) -> usize {
    let bytes = text.as_bytes();
    let is_blank = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_whitespace);
    while at < bytes.len() && bytes[at] != b'>' {
        if is_blank(at) || bytes[at] == b'/' {
            at += 1;
            continue;
        }
        let from = at;
        while at < bytes.len() && !is_blank(at) && !b"=>/".contains(&bytes[at]) {
            at += 1;
        }
        let name = text[from..at].to_ascii_lowercase();
        while is_blank(at) {
            at += 1;
        }
        if bytes.get(at) != Some(&b'=') {
            at = at.max(from + 1);
            tag.attributes.push((name, "", from));
            continue;
        }
        at += 1;
        while is_blank(at) {
            at += 1;
        }
        let (start, end, next) = match bytes.get(at) {
            Some(quote @ (b'"' | b'\'')) => {
                let end = bytes[at + 1..].iter().position(|byte| byte == quote);
                let end = end.map_or(bytes.len(), |found| at + 1 + found);
                (at + 1, end, end + 1)
            }
            _ => {
                let length = bytes[at..].iter().position(|b| b.is_ascii_whitespace() || *b == b'>');
                let end = length.map_or(bytes.len(), |length| at + length);
                (at, end, end)
            }
        };
        tag.attributes.push((name, text.get(start..end).unwrap_or_default(), start));
        at = next.min(bytes.len());
    }
    at
}

/// Links and pictures.
fn markup(part: &str, source: &str, format: Format, found: &mut Vec<Finding>) {
    let text = masked(source, FILLER);
    for tag in tags(&text) {
        if found.len() >= MAX_FINDINGS {
            return;
        }
        let mut add = |level, code, at: usize, message: String, fix: &str| {
            found.push(Finding {
                level,
                code,
                message,
                fix: fix.to_owned(),
                part: part.to_owned(),
                place: Some(line_and_column(source, at)),
            });
        };
        let name = tag.name.as_str();
        if LINKS.contains(&name) {
            match tag.attribute("href") {
                Some((href, at)) => {
                    let shown = source.get(at..at + href.len()).unwrap_or(href).trim();
                    match link_fault(href) {
                        Some(LinkFault::Empty) => add(
                            Level::Error,
                            "empty_link",
                            tag.at,
                            "a link leads nowhere".to_owned(),
                            "write its address into href",
                        ),
                        Some(LinkFault::Broken(why)) => add(
                            Level::Error,
                            "broken_link",
                            at,
                            format!("{shown} is no address that works: {why}"),
                            "write a whole address, such as https://shop.example/page",
                        ),
                        None => {}
                    }
                }
                // An anchor that is only named is none, nor is a button that does nothing.
                None if name == "a" && tag.attribute("name").or(tag.attribute("id")).is_none() => {
                    add(
                        Level::Error,
                        "empty_link",
                        tag.at,
                        "a link has no address".to_owned(),
                        "write its address into href",
                    );
                }
                None => {}
            }
        }
        if PICTURES.contains(&name) {
            let is_mjml = format == Format::Mjml && name.starts_with("mj-");
            if tag.attribute("src").is_none_or(|(src, _)| src.trim().is_empty()) {
                add(
                    Level::Error,
                    "missing_source",
                    tag.at,
                    "a picture has no address".to_owned(),
                    "write its address into src, or take one from the library",
                );
            }
            if tag.attribute("alt").is_none() {
                let element = if is_mjml { name } else { "img" };
                add(
                    Level::Warning,
                    "missing_alt",
                    tag.at,
                    "a picture has no text for those who do not see it".to_owned(),
                    &format!("say in alt what <{element}> shows; alt=\"\" where it only decorates"),
                );
            }
        }
    }
}

enum LinkFault {
    Empty,
    Broken(&'static str),
}

/// What is wrong with an address as it is written; Liquid in it may come to anything.
fn link_fault(href: &str) -> Option<LinkFault> {
    let href = href.trim();
    if href.is_empty() || href == "#" {
        return Some(LinkFault::Empty);
    }
    let has_liquid = href.as_bytes().contains(&FILLER);
    if href.starts_with('#') || href.starts_with(char::from(FILLER)) {
        return None;
    }
    if href.contains(char::is_whitespace) {
        return Some(LinkFault::Broken("it has blanks in it"));
    }
    let Some((scheme, rest)) = href.split_once(':') else {
        return Some(LinkFault::Broken("it does not begin with https://"));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "mailto" | "tel" | "sms" => match rest.is_empty() {
            true => Some(LinkFault::Empty),
            false => None,
        },
        "http" | "https" => {
            let Some(rest) = rest.strip_prefix("//") else {
                return Some(LinkFault::Broken("two slashes belong behind https:"));
            };
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let host = host.rsplit('@').next().unwrap_or_default();
            if has_liquid && host.as_bytes().contains(&FILLER) {
                return None;
            }
            host_fault(host).map(LinkFault::Broken)
        }
        "javascript" | "data" | "file" | "vbscript" => {
            Some(LinkFault::Broken("mail readers follow only https, mailto and tel"))
        }
        _ if scheme.contains(['/', '.']) => {
            Some(LinkFault::Broken("it does not begin with https://"))
        }
        _ => Some(LinkFault::Broken("mail readers follow only https, mailto and tel")),
    }
}

fn host_fault(host: &str) -> Option<&'static str> {
    if host.starts_with('[') {
        return None;
    }
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Some("its port is no number");
    }
    if name.is_empty() {
        return Some("it names no host");
    }
    let fits = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if !name.split('.').all(fits) {
        return Some("its host is not well formed");
    }
    (!name.contains('.') && name != "localhost").then_some("its host has no dot")
}

/// Variables that nothing answers: they are empty for everybody.
fn fields(compiled: &Compiled, schema: &Schema, found: &mut Vec<Finding>) {
    let is_attribute = |name: &str| schema.attribute(name).is_some() || OF_CUSTOMER.contains(&name);
    let unknown = |path: &[String]| -> Option<String> {
        let [first, rest @ ..] = path else { return None };
        let bare = |name: &String| -> String {
            let inner = name.strip_prefix("${").and_then(|name| name.strip_suffix('}'));
            inner.unwrap_or(name).to_owned()
        };
        match (first.as_str(), rest) {
            ("customer" | "custom_attribute", [field, ..]) if !is_attribute(&bare(field)) => {
                Some(format!("customers have no field {}", bare(field)))
            }
            (name, _) if name.starts_with("${") => {
                let name = bare(first);
                let is_known = is_dollar_known(&name, is_attribute);
                (!is_known).then(|| format!("customers have no field {name}"))
            }
            (name, _) if VARIABLES.contains(&name) => None,
            (name, _) => Some(format!("nothing is called {name} here")),
        }
    };
    let blocks = compiled.blocks().bodies.iter().filter_map(|(name, _)| {
        compiled.blocks().get(name).map(|block| (format!("block {name}"), block.reads()))
    });
    let parts = compiled.parts().map(|(name, part)| (name, part.reads()));
    for (part, reads) in parts.chain(blocks) {
        for read in reads {
            let Some(message) = unknown(&read.path) else { continue };
            found.push(Finding {
                level: Level::Warning,
                code: "unknown_field",
                message: format!("{message}; it stays empty"),
                fix: "check its spelling, or add the field under Settings".to_owned(),
                part: part.clone(),
                place: crate::messages::place(read.line, read.column),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(html: &str) -> Vec<(&'static str, u32, u32)> {
        let mut found = Vec::new();
        markup("html", html, Format::Html, &mut found);
        let place = |finding: &Finding| finding.place.unwrap_or_default();
        found.iter().map(|one| (one.code, place(one).0, place(one).1)).collect()
    }

    #[test]
    fn links_that_work_are_let_through() {
        for href in [
            "https://shop.example",
            "http://shop.example/a?b=c&amp;d=e#f",
            "HTTPS://Shop.Example:8443/",
            "https://münchen.example/straße",
            "https://127.0.0.1/x",
            "https://[::1]/x",
            "mailto:a@b.example?subject=x%20y",
            "tel:+3161234",
            "#top",
            "{{ unsubscribe_url }}",
            "https://shop.example/{{ customer.id }}?a={{ b | append: \"x y\" }}",
            "https://{{ host }}/x",
            "{% if a %}https://a.example{% else %}https://b.example{% endif %}",
        ] {
            assert_eq!(findings(&format!("<p>\n<a href='{href}'>x</a>")), [], "{href}");
        }
        assert_eq!(findings("<a name=\"top\"></a> <!-- <a href=''> -->"), []);
    }

    #[test]
    fn links_that_cannot_work_are_found_with_their_line() {
        for href in [
            "shop.example/page",
            "www.shop.example",
            "https:/shop.example",
            "https://",
            "https://shop",
            "https://shop..example",
            "https://shop .example",
            "http://shop.example:port/",
            "https://-shop.example",
            "javascript:alert(1)",
            "htps://shop.example",
            "https://?a=1",
        ] {
            let found = findings(&format!("<p>\n<a class=\"b\" href=\"{href}\">x</a>"));
            assert_eq!(found, [("broken_link", 2, 20)], "{href}");
        }
        for link in ["<a href=\"\">", "<a href=\" \">", "<a href='#'>", "<a>", "<a class=x href>"] {
            assert_eq!(findings(&format!("\n\n  {link}x</a>")), [("empty_link", 3, 3)], "{link}");
        }
        assert_eq!(findings("<mj-button href=\"shop\">x</mj-button>"), [("broken_link", 1, 18)]);
    }

    #[test]
    fn pictures_need_a_source_and_a_text() {
        for (html, expected) in [
            ("<img src=\"https://x.example/a.png\" alt=\"\">", vec![]),
            ("<img src='{{ picture }}' alt='{{ name }}'/>", vec![]),
            ("<img src=a.png>", vec![("missing_alt", 1, 1)]),
            ("é<img alt=x>", vec![("missing_source", 1, 2)]),
            ("<mj-image src=\"x\" />", vec![("missing_alt", 1, 1)]),
        ] {
            assert_eq!(findings(html), expected, "{html}");
        }
    }
}
