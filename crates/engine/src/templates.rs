//! Templates: checked when saved, previewed as any customer, sent as a test.

use serde_json::{Map, Value as Json};
use tidings_channels::email::mime::{self, Mailbox};
use tidings_domain::TemplateId;
use tidings_domain::change::CustomerRef;
use tidings_liquid::Value;
use tidings_store::Page;
use tidings_store::campaigns::Sender;
use tidings_store::customers::Customer;
pub use tidings_store::templates::{Template, TemplateDraft};

use crate::messages::{Compiled, NotRendered, Parts, preview_variables, zoned};
use crate::{Ctx, Error, Fault, Result, mail};

/// The most that the parts of a template may take together, in bytes.
const MAX_BYTES: usize = 1_000_000;

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
pub async fn create(ctx: &Ctx, draft: TemplateDraft) -> Result<TemplateId> {
    check(&draft)?;
    Ok(ctx.workspace.add_template(draft, ctx.now()).await?)
}

/// Saves a new version of a template.
pub async fn change(ctx: &Ctx, id: TemplateId, draft: TemplateDraft) -> Result<()> {
    check(&draft)?;
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

fn check(draft: &TemplateDraft) -> Result<()> {
    tidings_domain::schema::checked_name(&draft.name)
        .map_err(|text| Error::invalid("name", text))?;
    if draft.subject.trim().is_empty() {
        return Err(Error::invalid("subject", "expected a subject"));
    }
    if draft.subject.len() > 2_000 {
        return Err(Error::invalid("subject", "a subject has at most 2,000 bytes"));
    }
    if draft.html.len() + draft.text.len() > MAX_BYTES {
        return Err(Error::invalid("html", "a template has at most 1,000,000 bytes"));
    }
    if [&draft.subject, &draft.html, &draft.text].into_iter().any(|part| part.contains('\0')) {
        return Err(Error::invalid("", "a template has no NUL characters"));
    }
    Compiled::new(draft).map(|_| ())
}

/// Renders a draft for one customer, or with given data; links lead nowhere.
pub async fn preview(
    ctx: &Ctx,
    draft: &TemplateDraft,
    customer: Option<CustomerRef>,
    data: Map<String, Json>,
) -> Result<Preview> {
    let customer = match customer {
        Some(reference) => {
            let found = ctx.workspace.customer(reference).await?;
            Some(found.ok_or_else(|| Error::NotFound("the customer".to_owned()))?)
        }
        None => None,
    };
    let compiled = Compiled::new(draft)?;
    let variables = preview_variables(ctx, customer.as_ref(), "Preview", data);
    let variables: Vec<(&str, Value)> =
        variables.iter().map(|(name, value)| (name.as_ref(), value.clone())).collect();
    let parts = compiled.render(&variables, &zoned(ctx)).map_err(not_rendered)?;
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

/// The parts of a saved template.
pub fn as_draft(template: Template) -> TemplateDraft {
    TemplateDraft {
        name: template.name,
        subject: template.subject,
        html: template.html,
        text: template.text,
    }
}

/// Sends one mail to look at, rendered for a customer; gives whether the relay took it, and what
/// it said. It counts nowhere, and its subject says that it is a test.
pub async fn send_test(
    ctx: &Ctx,
    id: TemplateId,
    to: &str,
    customer: Option<CustomerRef>,
    sender: Option<Sender>,
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
    let draft = as_draft(get(ctx, id).await?);
    let made = preview(ctx, &draft, customer, Map::new()).await?;
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
