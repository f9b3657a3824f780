//! Sign-up forms: pages of the hub, or pieces of other pages, where people ask to get something.
//!
//! Whoever fills one in gets a mail, and only who follows its link is signed up. What protects a
//! form from robots is in `sign_up.rs`; nothing of it needs a third party.

mod confirmation;
mod limits;
mod sign_up;

use serde::{Deserialize, Serialize};
use tidings_domain::schema::{Schema, checked_name};
use tidings_domain::value::Kind;
use tidings_domain::{FormId, checked};
pub use tidings_store::forms::Form as StoredForm;

pub use confirmation::send_confirmation;
pub use limits::Limits;
pub(crate) use limits::place;
pub use sign_up::{Confirmation, Faults, Filled, Submitted, confirm, confirmation, stamp, submit};

use crate::pages::{self, Words, checked_language};
use crate::{Ctx, Error, Fault, Result, topics};
use std::sync::Arc;

const MAX_FIELDS: usize = 20;
pub(crate) const MAX_FORMS: usize = 500;

/// One thing that a form asks beside the e-mail address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormField {
    /// `phone`, or the name of an attribute.
    pub to: String,
    pub label: String,
    #[serde(default)]
    pub required: bool,
}

/// Who the confirmation comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormSender {
    pub name: String,
    pub address: String,
}

/// What a form shows and asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    pub title: String,
    pub intro: String,
    /// Of the form's own words; the other words on the page follow it.
    pub language: String,
    pub fields: Vec<FormField>,
    /// Names of e-mail topics; one that is offered alone is not asked about.
    pub topics: Vec<String>,
    pub sender: FormSender,
    /// Where people go once they have confirmed.
    pub redirect_url: Option<String>,
}

/// A form as colleagues see it.
#[derive(Clone, Debug)]
pub struct Form {
    pub stored: StoredForm,
    pub definition: Definition,
    pub url: String,
    /// HTML to put into another page.
    pub snippet: String,
}

fn definition(stored: &StoredForm) -> Result<Definition> {
    serde_json::from_str(&stored.definition)
        .map_err(|error| Error::Internal(format!("read form {}: {error}", stored.number)))
}

fn form(ctx: &Ctx, stored: StoredForm) -> Result<Form> {
    let definition = definition(&stored)?;
    let url = format!("{}/f/{}/{}", ctx.hub.settings.public_url, ctx.workspace.row.slug, stored.id);
    let snippet = format!(
        "<div data-tidings-form=\"{url}\"><a href=\"{url}\">{}</a></div>\n\
         <script async src=\"{}/f/embed.js\"></script>",
        escaped(&definition.title),
        ctx.hub.settings.public_url
    );
    Ok(Form { stored, definition, url, snippet })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Every form, oldest first.
pub async fn list(ctx: &Ctx) -> Result<Vec<Form>> {
    let stored = ctx.workspace.forms().await?;
    stored.into_iter().map(|stored| form(ctx, stored)).collect()
}

pub async fn get(ctx: &Ctx, id: FormId) -> Result<Form> {
    form(ctx, ctx.workspace.form(id).await?)
}

/// Makes a form.
pub async fn create(ctx: &Ctx, name: &str, definition: Definition) -> Result<Form> {
    let json = checked_json(ctx, name, definition).await?;
    if ctx.workspace.forms().await?.len() >= MAX_FORMS {
        return Err(Error::Conflict(format!("a workspace has at most {MAX_FORMS} forms")));
    }
    form(ctx, ctx.workspace.add_form(name, &json, ctx.now()).await?)
}

/// Changes a form; what people see changes with it at once.
pub async fn change(
    ctx: &Ctx,
    id: FormId,
    name: &str,
    definition: Definition,
    archived: bool,
) -> Result<Form> {
    let json = checked_json(ctx, name, definition).await?;
    form(ctx, ctx.workspace.change_form(id, name, &json, archived, ctx.now()).await?)
}

async fn checked_json(ctx: &Ctx, name: &str, definition: Definition) -> Result<String> {
    let schema = ctx.workspace.schema().await?;
    let offered = topics::offered(ctx).await?;
    let offered: Vec<String> = offered.into_iter().map(|topic| topic.name).collect();
    checked(name, definition, &schema, &offered)
}

/// Checks a form against a schema and the e-mail topics that are offered; gives it as it is kept.
pub(crate) fn checked(
    name: &str,
    mut definition: Definition,
    schema: &Schema,
    offered: &[String],
) -> Result<String> {
    checked_name(name).map_err(|text| Error::invalid("name", text))?;
    let long = |text: &str, most: usize| text.chars().count() > most || text.contains('\0');
    if definition.title.trim().is_empty() || long(&definition.title, 200) {
        return Err(Error::invalid("title", "expected 1 to 200 characters"));
    }
    if long(&definition.intro, 2_000) {
        return Err(Error::invalid("intro", "expected at most 2000 characters"));
    }
    checked_language(&definition.language).map_err(|text| Error::invalid("language", text))?;
    check_fields(schema, &definition.fields)?;
    check_topics(offered, &definition.topics)?;
    let sender = &mut definition.sender;
    sender.address =
        checked::email(&sender.address).map_err(|text| Error::invalid("sender.address", text))?;
    if sender.name.chars().any(char::is_control) || sender.name.chars().count() > 200 {
        return Err(Error::invalid("sender.name", "expected at most 200 characters in one line"));
    }
    if let Some(url) = &definition.redirect_url {
        let fine = (url.starts_with("https://") || url.starts_with("http://"))
            && url.len() <= 2_000
            && !url.chars().any(|c| c.is_control() || c.is_whitespace());
        if !fine {
            return Err(Error::invalid("redirect_url", "expected an http or https address"));
        }
    }
    serde_json::to_string(&definition).map_err(|error| Error::Internal(error.to_string()))
}

fn check_fields(schema: &Schema, fields: &[FormField]) -> Result<()> {
    if fields.len() > MAX_FIELDS {
        return Err(Error::invalid("fields", format!("expected at most {MAX_FIELDS} fields")));
    }
    for (at, field) in fields.iter().enumerate() {
        let path = |name: &str| format!("fields[{at}].{name}");
        let label = field.label.chars().count();
        if label == 0 || label > 200 || field.label.chars().any(char::is_control) {
            return Err(Error::invalid(path("label"), "expected 1 to 200 characters in one line"));
        }
        if fields[..at].iter().any(|other| other.to == field.to) {
            return Err(Error::invalid(path("to"), "this is asked twice"));
        }
        if field.to == "phone" {
            continue;
        }
        match schema.position(&field.to).map(|position| &schema.attributes[position].kind) {
            Some(Kind::List | Kind::Timestamp) => {
                let message = "a form cannot ask for a list or a moment";
                return Err(Error::invalid(path("to"), message));
            }
            Some(_) => {}
            None => {
                let message = format!("unknown attribute {}; expected phone or one", field.to);
                let fault = Fault::new(path("to"), "unknown_attribute", message);
                return Err(Error::Invalid(vec![fault]));
            }
        }
    }
    Ok(())
}

fn check_topics(offered: &[String], names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Err(Error::invalid("topics", "expected at least one e-mail topic"));
    }
    for (at, name) in names.iter().enumerate() {
        let is_offered = offered.contains(name);
        if !is_offered || names[..at].contains(name) {
            let message = format!("expected different e-mail topics; {name} is none");
            let fault = Fault::new(format!("topics[{at}]"), "unknown_topic", message);
            return Err(Error::Invalid(vec![fault]));
        }
    }
    Ok(())
}

/// How a field is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    Text,
    Number,
    Date,
    Tick,
    Phone,
}

/// A field as people see it.
#[derive(Clone, Debug)]
pub struct ShownField {
    pub field: FormField,
    pub input: Input,
}

/// A topic as people see it.
#[derive(Clone, Debug)]
pub struct ShownTopic {
    pub name: String,
    pub title: String,
    pub text: String,
    pub version: i32,
}

/// Everything that a form's page shows.
pub struct Shown {
    pub ctx: Ctx,
    pub form: Form,
    pub words: Words,
    pub fields: Vec<ShownField>,
    pub topics: Vec<ShownTopic>,
}

/// A form as its page shows it, by the workspace's short name and its own id. One that was taken
/// off is not found.
pub async fn shown(hub: &Arc<crate::Hub>, workspace: &str, id: FormId) -> Result<Shown> {
    let gone = || Error::NotFound("this form".to_owned());
    let ctx = match hub.ctx_by_slug(workspace).await {
        Err(Error::NotFound(_)) => return Err(gone()),
        other => other?,
    };
    let form = get(&ctx, id).await?;
    if form.stored.archived_at.is_some() {
        return Err(gone());
    }
    let words = pages::words(&ctx, Some(&form.definition.language)).await?;
    let schema = ctx.workspace.schema().await?;
    // What has gone from the schema since is not asked any more.
    let fields = form.definition.fields.iter().filter_map(|field| {
        let input = match field.to.as_str() {
            "phone" => Input::Phone,
            name => input(&schema.attributes[schema.position(name)?].kind),
        };
        Some(ShownField { field: field.clone(), input })
    });
    let fields = fields.collect();
    let topics = shown_topics(&ctx, &form.definition.topics, &words).await?;
    Ok(Shown { ctx, form, words, fields, topics })
}

async fn shown_topics(ctx: &Ctx, names: &[String], words: &Words) -> Result<Vec<ShownTopic>> {
    let offered = topics::offered(ctx).await?;
    let found = names.iter().filter_map(|name| {
        let topic = offered.iter().find(|topic| topic.name == *name)?;
        let languages = [words.language.as_str(), words.default_language.as_str()];
        let text = topics::text_in(topic, languages)?;
        Some(ShownTopic {
            name: name.clone(),
            title: text.title.clone(),
            text: text.text.clone(),
            version: topic.version,
        })
    });
    Ok(found.collect())
}

fn input(kind: &Kind) -> Input {
    match kind {
        Kind::Integer | Kind::Decimal { .. } | Kind::Money { .. } => Input::Number,
        Kind::Boolean => Input::Tick,
        Kind::Date => Input::Date,
        Kind::Phone => Input::Phone,
        _ => Input::Text,
    }
}
