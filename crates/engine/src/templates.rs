//! Templates: checked when saved, previewed as any customer, sent as a test.

use serde_json::{Map, Value as Json};
use tidings_channels::email::mime::{self, Mailbox};
use tidings_domain::TemplateId;
use tidings_domain::change::CustomerRef;
use tidings_store::Page;
use tidings_store::campaigns::Sender;
use tidings_store::customers::Customer;
pub use tidings_store::templates::{Format, Template, TemplateDraft, Variant, Version};

use crate::checks::{self, Finding};
use crate::diff::{self, PartDiff};
use crate::messages::{self, Compiled, NotRendered, Parts, PreviewData};
use crate::{Ctx, Error, Fault, Result, mail};

/// The most that the parts of a template may take together, in bytes.
const MAX_BYTES: usize = 1_000_000;
const MAX_VARIANTS: usize = 50;

/// A preview and whose it is.
pub struct Preview {
    pub parts: Parts,
    pub customer: Option<Customer>,
}

/// One template by its id.
pub async fn get(ctx: &Ctx, id: TemplateId) -> Result<Template> {
    let found = ctx.workspace.template(id).await?;
    found.ok_or_else(|| Error::NotFound(format!("template {id}")))
}

/// Saves a new template. A fault in a part is refused with its line and column.
pub async fn create(ctx: &Ctx, mut draft: TemplateDraft) -> Result<TemplateId> {
    check(ctx, &mut draft).await?;
    Ok(ctx.workspace.add_template(draft, ctx.now()).await?)
}

/// Saves a new version of a template.
pub async fn change(ctx: &Ctx, id: TemplateId, mut draft: TemplateDraft) -> Result<()> {
    check(ctx, &mut draft).await?;
    match ctx.workspace.put_template(id, draft, ctx.now()).await? {
        Some(_) => Ok(()),
        None => Err(Error::NotFound(format!("template {id}"))),
    }
}

/// Drops a template that no campaign uses.
pub async fn drop(ctx: &Ctx, id: TemplateId) -> Result<()> {
    match ctx.workspace.drop_template(id).await? {
        true => Ok(()),
        false => Err(Error::NotFound(format!("template {id}"))),
    }
}

async fn check(ctx: &Ctx, draft: &mut TemplateDraft) -> Result<()> {
    check_parts(draft)?;
    Compiled::new(ctx, draft, ctx.now()).await.map(|_| ())
}

/// Checks what needs nothing but the draft, and gives its languages their one spelling.
pub(crate) fn check_parts(draft: &mut TemplateDraft) -> Result<()> {
    tidings_domain::schema::checked_name(&draft.name)
        .map_err(|text| Error::invalid("name", text))?;
    if draft.variants.len() > MAX_VARIANTS {
        return Err(Error::invalid("variants", "a template has at most 50 languages"));
    }
    check_part("", &draft.subject, &draft.html, &draft.text)?;
    let mut bytes = draft.html.len() + draft.text.len();
    for at in 0..draft.variants.len() {
        let path = format!("variants[{at}].");
        let code = tidings_domain::checked::language(&draft.variants[at].language)
            .map_err(|text| Error::invalid(format!("{path}language"), text))?;
        if draft.variants[..at].iter().any(|earlier| earlier.language == code) {
            return Err(Error::invalid(format!("{path}language"), "this language is there twice"));
        }
        let variant = &mut draft.variants[at];
        variant.language = code;
        check_part(&path, &variant.subject, &variant.html, &variant.text)?;
        bytes += variant.html.len() + variant.text.len();
    }
    if bytes > MAX_BYTES {
        return Err(Error::invalid("html", "a template has at most 1,000,000 bytes"));
    }
    Ok(())
}

fn check_part(path: &str, subject: &str, html: &str, text: &str) -> Result<()> {
    if subject.trim().is_empty() {
        return Err(Error::invalid(format!("{path}subject"), "expected a subject"));
    }
    if subject.len() > 2_000 {
        let text = "a subject has at most 2,000 bytes";
        return Err(Error::invalid(format!("{path}subject"), text));
    }
    for (name, part) in [("subject", subject), ("html", html), ("text", text)] {
        if part.contains('\0') {
            let text = "a template has no NUL characters";
            return Err(Error::invalid(format!("{path}{name}"), text));
        }
    }
    Ok(())
}

/// All texts of a template.
pub(crate) fn texts(template: &Template) -> impl Iterator<Item = &str> {
    let own = [&template.subject, &template.html, &template.text].into_iter();
    let variants = template.variants.iter();
    own.chain(variants.flat_map(|one| [&one.subject, &one.html, &one.text])).map(String::as_str)
}

/// A template as it was at a version.
pub async fn at_version(ctx: &Ctx, id: TemplateId, version: i32) -> Result<Template> {
    let number = get(ctx, id).await?.number;
    let found = ctx.workspace.template_at(number, version).await?;
    found.ok_or_else(|| Error::NotFound(format!("version {version} of the template")))
}

/// The versions of a template, newest first.
pub async fn versions(
    ctx: &Ctx,
    id: TemplateId,
    before: i32,
    limit: usize,
) -> Result<Page<Version, i32>> {
    get(ctx, id).await?;
    Ok(ctx.workspace.template_versions(id, before, limit).await?)
}

/// Saves what stood at an older version as the newest one. The name stays.
pub async fn restore(ctx: &Ctx, id: TemplateId, version: i32) -> Result<()> {
    let old = at_version(ctx, id, version).await?;
    change(ctx, id, TemplateDraft::from(old)).await
}

/// What changed from one version to another, part by part.
pub async fn compare(ctx: &Ctx, id: TemplateId, from: i32, to: i32) -> Result<Vec<PartDiff>> {
    let old = at_version(ctx, id, from).await?;
    let new = at_version(ctx, id, to).await?;
    let format = |template: &Template| template.format.name().to_owned();
    let mut parts = vec![("format".to_owned(), format(&old), format(&new))];
    let own = |template: &Template| Variant {
        language: String::new(),
        subject: template.subject.clone(),
        html: template.html.clone(),
        text: template.text.clone(),
    };
    let mut languages = vec![String::new()];
    for variant in old.variants.iter().chain(&new.variants) {
        if !languages.contains(&variant.language) {
            languages.push(variant.language.clone());
        }
    }
    for language in languages {
        let of = |template: &Template| match language.as_str() {
            "" => own(template),
            _ => {
                let found = template.variants.iter().find(|one| one.language == language);
                found.cloned().unwrap_or_default()
            }
        };
        let (old, new) = (of(&old), of(&new));
        let name = |part: &str| match language.as_str() {
            "" => part.to_owned(),
            language => format!("{language}.{part}"),
        };
        parts.push((name("subject"), old.subject, new.subject));
        parts.push((name("html"), old.html, new.html));
        parts.push((name("text"), old.text, new.text));
    }
    Ok(diff::parts(parts))
}

/// Looks a draft through: what is wrong with it, whoever gets it, and with what one customer gets.
pub async fn checked(
    ctx: &Ctx,
    draft: &TemplateDraft,
    customer: Option<CustomerRef>,
) -> Result<Vec<Finding>> {
    let compiled = Compiled::new(ctx, draft, ctx.now()).await?;
    let schema = ctx.workspace.schema().await?;
    let made = match customer {
        Some(_) => preview(ctx, draft, customer, PreviewOptions::default()).await.ok(),
        None => None,
    };
    let sample = made.as_ref().map(|preview| &preview.parts);
    Ok(checks::check(draft, &compiled, &schema, true, sample))
}

/// How a preview differs from what a customer would get.
#[derive(Clone, Debug, Default)]
pub struct PreviewOptions {
    /// Further variables; they win over what is known.
    pub data: Map<String, Json>,
    /// In place of the customer's language.
    pub language: Option<String>,
    /// What is added to the links, as a campaign would.
    pub link_parameters: Vec<(String, String)>,
}

/// Renders a draft for one customer, or with given data; links are not counted.
pub async fn preview(
    ctx: &Ctx,
    draft: &TemplateDraft,
    customer: Option<CustomerRef>,
    options: PreviewOptions,
) -> Result<Preview> {
    let customer = match customer {
        Some(reference) => {
            let found = ctx.workspace.customer(reference).await?;
            Some(found.ok_or_else(|| Error::NotFound("the customer".to_owned()))?)
        }
        None => None,
    };
    let compiled = Compiled::new(ctx, draft, ctx.now()).await?;
    let data = PreviewData::new(ctx, customer.as_ref(), "Preview", options.data, options.language);
    let mut parts = data.render(&compiled).map_err(not_rendered)?;
    if !options.link_parameters.is_empty() {
        parts.html = messages::with_parameters_everywhere(&parts.html, &options.link_parameters);
    }
    let text = match parts.text {
        Some(text) => text,
        None => tidings_channels::email::plain_text(&parts.html),
    };
    Ok(Preview { parts: Parts { text: Some(text), ..parts }, customer })
}

fn not_rendered(why: NotRendered) -> Error {
    match why {
        NotRendered::Aborted(reason) => Error::Invalid(vec![Fault::new(
            "html",
            "aborted",
            format!("the template calls this message off: {reason}"),
        )]),
        NotRendered::Failed(fault) => Error::Invalid(vec![fault]),
    }
}

/// A page of templates, oldest first.
pub async fn page(ctx: &Ctx, after: i32, limit: usize) -> Result<Page<Template, i32>> {
    Ok(ctx.workspace.templates(after, limit).await?)
}

/// Sends one mail to look at, rendered for a customer; gives whether the relay took it, and what
/// it said. It counts nowhere, and its subject says that it is a test.
pub async fn send_test(
    ctx: &Ctx,
    id: TemplateId,
    to: &str,
    customer: Option<CustomerRef>,
    sender: Option<Sender>,
    language: Option<String>,
) -> Result<(bool, String)> {
    let to = tidings_domain::checked::email(to).map_err(|text| Error::invalid("to", text))?;
    let sender = sender.unwrap_or_else(|| Sender {
        name: ctx.workspace.row.name.clone(),
        address: to.clone(),
        reply_to: None,
    });
    let from = tidings_domain::checked::email(&sender.address)
        .map_err(|text| Error::invalid("sender.address", text))?;
    if !mail::has_way(ctx, &from).await? {
        return Err(Error::Conflict(mail::NO_RELAY.to_owned()));
    }
    let draft = TemplateDraft::from(get(ctx, id).await?);
    let options = PreviewOptions { language, ..PreviewOptions::default() };
    let made = preview(ctx, &draft, customer, options).await?;
    let domain = mail::domain_of(&from);
    let domain =
        domain.ok_or_else(|| Error::invalid("sender.address", "its domain has no ASCII form"))?;
    let bytes = mime::build(&mime::Message {
        from: Mailbox { name: Some(&sender.name), address: &from },
        to: Mailbox { name: None, address: &to },
        reply_to: None,
        subject: &format!("[Test] {}", made.parts.subject),
        html: Some(&made.parts.html),
        text: made.parts.text.as_deref(),
        message_id: &format!("{}@{domain}", uuid::Uuid::now_v7()),
        date_s: ctx.now().0 / 1_000_000,
        unsubscribe: None,
        headers: &[],
    })
    .map_err(|error| Error::invalid("subject", error.to_string()))?;
    mail::send_now(ctx, &from, &to, bytes).await
}
