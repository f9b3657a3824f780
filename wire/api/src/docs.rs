//! `/docs`: the reference as pages for people, made from the OpenAPI document. Plain HTML, one
//! style sheet and one small script, all served from here.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::OnceLock;

use axum::Router;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde_json::Value;

/// How deep the shape of an answer is unfolded.
const DEPTH: usize = 4;
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The pages.
pub fn router() -> Router {
    Router::new()
        .route("/docs", get(page))
        .route("/docs/style.css", get(style))
        .route("/docs/filter.js", get(script))
}

async fn page() -> Response {
    static PAGE: OnceLock<String> = OnceLock::new();
    let page = PAGE.get_or_init(|| {
        let document = crate::document();
        render(&serde_json::to_value(&document).unwrap_or_default())
    });
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(page.as_str())).into_response()
}

async fn style() -> Response {
    let kind = "text/css; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], include_str!("docs/style.css")).into_response()
}

async fn script() -> Response {
    let kind = "text/javascript; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], include_str!("docs/filter.js")).into_response()
}

/// One operation with where it stands.
struct Operation<'d> {
    method: &'static str,
    path: &'d str,
    value: &'d Value,
}

impl Operation<'_> {
    fn anchor(&self) -> String {
        let path = self.path.replace(['/', '{', '}', '.'], "-");
        format!("{}{}", self.method, path)
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Text with `code` in it, as doc comments are written.
fn prose(text: &str) -> String {
    let mut html = String::new();
    for (at, part) in escaped(text).split('`').enumerate() {
        match at % 2 {
            0 => html.push_str(part),
            _ => html.push_str(&format!("<code>{part}</code>")),
        }
    }
    html
}

/// The whole page. Writing to a `String` cannot fail, so results of `write!` are not looked at.
fn render(document: &Value) -> String {
    let mut by_tag: BTreeMap<&str, Vec<Operation<'_>>> = BTreeMap::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            let Some(value) = item.get(method) else { continue };
            let tag = value["tags"][0].as_str().unwrap_or("Other");
            by_tag.entry(tag).or_default().push(Operation { method, path, value });
        }
    }
    let mut html = String::with_capacity(256 * 1024);
    html.push_str(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Tidings API</title>\
         <link rel=\"stylesheet\" href=\"/docs/style.css\">\
         <script src=\"/docs/filter.js\" defer></script></head><body><nav>\
         <h1><a href=\"#top\">Tidings API</a></h1>\
         <input type=\"search\" id=\"filter\" placeholder=\"Find\" aria-label=\"Find\">",
    );
    for (tag, operations) in &by_tag {
        let _ = write!(html, "<h2>{}</h2><ul>", escaped(tag));
        for one in operations {
            let _ = write!(
                html,
                "<li><a href=\"#{}\"><b class=\"{m}\">{m}</b> {}</a></li>",
                one.anchor(),
                escaped(one.path.trim_start_matches("/v1")),
                m = one.method
            );
        }
        html.push_str("</ul>");
    }
    let _ = write!(
        html,
        "</nav><main id=\"top\"><p>{}</p><p>The same as <a href=\"/v1/openapi.json\">OpenAPI</a>.</p>",
        prose(text(&document["info"], "description"))
    );
    for (tag, operations) in &by_tag {
        let _ = write!(html, "<h2>{}</h2>", escaped(tag));
        for one in operations {
            operation(&mut html, document, one);
        }
    }
    html.push_str("</main></body></html>");
    html
}

fn operation(html: &mut String, document: &Value, one: &Operation<'_>) {
    let _ = write!(
        html,
        "<section id=\"{}\"><h3><b class=\"{m}\">{m}</b> <code>{}</code></h3><p>{}</p>",
        one.anchor(),
        escaped(one.path),
        prose(&[text(one.value, "summary"), text(one.value, "description")].join(" ")),
        m = one.method
    );
    let security = one.value["security"].as_array().map_or(&[][..], Vec::as_slice);
    for (scheme, word) in [("token", "Scope"), ("session", "Role")] {
        let needed = security.iter().filter_map(|rule| rule[scheme].as_array()).flatten();
        for name in needed.filter_map(Value::as_str) {
            let name = escaped(name);
            let _ = write!(html, "<p class=\"scope\">{word} <code>{name}</code></p>");
        }
    }
    let parameters = one.value["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    if !parameters.is_empty() {
        html.push_str("<table>");
        for parameter in parameters {
            let _ = write!(
                html,
                "<tr><td><code>{}</code></td><td>{}{}</td><td>{}</td></tr>",
                escaped(text(parameter, "name")),
                escaped(text(parameter, "in")),
                if parameter["required"] == true { ", needed" } else { "" },
                prose(text(parameter, "description"))
            );
        }
        html.push_str("</table>");
    }
    for (kind, content) in one.value["requestBody"]["content"].as_object().into_iter().flatten() {
        let _ = write!(html, "<h4>Body, {}</h4>", escaped(kind));
        shape(html, document, &content["schema"], DEPTH);
    }
    for (status, answer) in one.value["responses"].as_object().into_iter().flatten() {
        if status == "default" {
            continue;
        }
        let _ = write!(html, "<h4>{} {}</h4>", escaped(status), prose(text(answer, "description")));
        if let Some(content) = answer["content"].get("application/json") {
            shape(html, document, &content["schema"], DEPTH);
        }
    }
    html.push_str("</section>");
}

/// What a reference points at.
fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    let Some(reference) = schema["$ref"].as_str() else { return schema };
    document.pointer(reference.trim_start_matches('#')).unwrap_or(schema)
}

/// The fields of a schema as a nested list.
fn shape(html: &mut String, document: &Value, schema: &Value, depth: usize) {
    let schema = resolved(document, schema);
    let parts = ["allOf", "oneOf", "anyOf"].iter().filter_map(|key| schema[*key].as_array());
    for part in parts.flatten().filter(|part| part["type"] != "null") {
        shape(html, document, part, depth);
    }
    if schema["type"] == "array" {
        shape(html, document, &schema["items"], depth);
        return;
    }
    let Some(properties) = schema["properties"].as_object() else { return };
    html.push_str("<dl>");
    for (name, property) in properties {
        let target = resolved(document, property);
        let note = match text(property, "description") {
            "" => text(target, "description"),
            note => note,
        };
        let _ = write!(
            html,
            "<dt><code>{}</code> <i>{}</i></dt><dd>{}",
            escaped(name),
            escaped(&kind(document, property)),
            prose(note)
        );
        if depth > 0 {
            shape(html, document, property, depth - 1);
        }
        html.push_str("</dd>");
    }
    html.push_str("</dl>");
}

/// A schema's type in a word or two.
fn kind(document: &Value, schema: &Value) -> String {
    let target = resolved(document, schema);
    for key in ["oneOf", "anyOf", "allOf"] {
        if let Some(parts) = target[key].as_array() {
            let kinds: Vec<String> = parts.iter().map(|part| kind(document, part)).collect();
            return kinds.join(" or ");
        }
    }
    if let Some(values) = target["enum"].as_array() {
        let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        return values.join(" | ");
    }
    match &target["type"] {
        Value::String(one) if one == "array" => {
            format!("list of {}", kind(document, &target["items"]))
        }
        Value::String(one) => one.clone(),
        Value::Array(many) => {
            let kinds: Vec<&str> = many.iter().filter_map(Value::as_str).collect();
            kinds.join(" or ")
        }
        _ => "any".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_every_operation_and_runs_nothing_inline() {
        let document = serde_json::to_value(crate::document()).unwrap();
        let page = render(&document);
        for path in document["paths"].as_object().unwrap().keys() {
            assert!(page.contains(&format!("<code>{path}</code>")), "{path}");
        }
        assert!(
            !page.contains("style=") && !page.contains("<script>") && !page.contains("onclick")
        );
        assert!(!page.contains("http://") && !page.contains("https://"));
    }

    #[test]
    fn texts_are_escaped() {
        assert_eq!(prose("a `<b>` & \"c\""), "a <code>&lt;b&gt;</code> &amp; &quot;c&quot;");
    }
}
