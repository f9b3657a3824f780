//! Templates and forms out of their files.

use tidings_domain::checked;
use tidings_store::definitions::Form;
use tidings_store::templates::{Format, TemplateDraft, Variant};

use super::bodies::{FormBody, TemplateBody, Wrong, body};
use super::entry::Entry;
use super::target::{faults, wrong};
use crate::forms::Definition;

/// A template out of `template.toml`, `body.html` or `body.mjml`, `plain.txt`, and the same with a
/// language in the middle.
pub fn template(entry: &Entry) -> Result<TemplateDraft, Vec<Wrong>> {
    let read: TemplateBody = body(&entry.fields).map_err(|one| vec![one])?;
    let mut texts = entry.texts.clone();
    let (html, mjml) = (texts.remove("body.html"), texts.remove("body.mjml"));
    let (format, html) = match (html, mjml) {
        (Some(html), None) => (Format::Html, html),
        (None, Some(mjml)) => (Format::Mjml, mjml),
        (None, None) => return Err(wrong("", "its body is missing, body.html or body.mjml")),
        _ => return Err(wrong("", "it has both body.html and body.mjml")),
    };
    let mut draft = TemplateDraft {
        name: entry.name.clone(),
        subject: read.subject,
        html,
        text: texts.remove("plain.txt").unwrap_or_default(),
        format,
        variants: Vec::new(),
    };
    for (at, variant) in read.variants.into_iter().enumerate() {
        let language = &variant.language;
        let body = format!("body.{language}.{}", format.name());
        let Some(html) = texts.remove(&body) else {
            return Err(wrong(&format!("variants[{at}]"), format!("{body} is missing")));
        };
        let text = texts.remove(&format!("plain.{language}.txt")).unwrap_or_default();
        draft.variants.push(Variant {
            language: variant.language,
            subject: variant.subject,
            html,
            text,
        });
    }
    if let Some(unknown) = texts.keys().next() {
        let text = format!("{unknown} belongs to no language of the template");
        return Err(wrong("variants", text));
    }
    crate::templates::check_parts(&mut draft).map_err(faults)?;
    Ok(draft)
}

/// A form; whether its fields and topics are there is seen when everything has been read.
pub fn form(entry: &Entry) -> Result<Form, Vec<Wrong>> {
    let read: FormBody = body(&entry.fields).map_err(|one| vec![one])?;
    let FormBody { title, intro, language, fields, topics, sender, redirect_url, archived } = read;
    let mut definition =
        Definition { title, intro, language, fields, topics, sender, redirect_url };
    definition.sender.address =
        checked::email(&definition.sender.address).map_err(|text| wrong("sender.address", text))?;
    let definition =
        serde_json::to_string(&definition).map_err(|error| wrong("", error.to_string()))?;
    Ok(Form { name: entry.name.clone(), definition, archived })
}
