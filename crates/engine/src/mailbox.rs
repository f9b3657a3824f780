//! The demo's mailbox: mails as a reader would show them.

use mail_parser::MessageParser;
use tidings_store::customers::{Customer, Page};
pub use tidings_store::mailbox::{MailRow, NewMail};
use uuid::Uuid;

use crate::{Ctx, Error, Result};

/// A mail that was opened.
pub struct OpenMail {
    pub row: MailRow,
    pub html: Option<String>,
    pub text: Option<String>,
    pub headers: Vec<(String, String)>,
    pub links: Vec<String>,
    /// Whose it is, by its address.
    pub customer: Option<Customer>,
}

/// Reads what the list needs from a mail that came in.
pub fn incoming(recipient: &str, raw: Vec<u8>) -> NewMail {
    let parsed = MessageParser::default().parse(&raw);
    let parsed = parsed.as_ref();
    let sender = parsed.and_then(|mail| mail.from()?.first()?.address());
    NewMail {
        recipient: recipient.to_lowercase(),
        sender: sender.unwrap_or_default().to_owned(),
        subject: parsed.and_then(|mail| mail.subject()).unwrap_or_default().to_owned(),
        message_id: parsed.and_then(|mail| mail.message_id()).unwrap_or_default().to_owned(),
        raw,
    }
}

/// Keeps mails that came in.
pub async fn keep(ctx: &Ctx, mails: Vec<NewMail>) -> Result<()> {
    Ok(ctx.workspace.add_mails(mails, ctx.now()).await?)
}

/// Mails, newest first.
pub async fn list(
    ctx: &Ctx,
    text: Option<String>,
    before: Option<Uuid>,
    limit: usize,
) -> Result<Page<MailRow, Uuid>> {
    only_in_demo(ctx)?;
    Ok(ctx.workspace.mails(text, before, limit).await?)
}

/// Opens a mail and marks it as read.
pub async fn open(ctx: &Ctx, id: Uuid) -> Result<OpenMail> {
    only_in_demo(ctx)?;
    let found = ctx.workspace.read_mail(id, ctx.now()).await?;
    let (row, raw) = found.ok_or_else(|| Error::NotFound(format!("mail {id}")))?;
    let parsed = MessageParser::default()
        .parse(&raw)
        .ok_or_else(|| Error::Internal("a kept mail cannot be read".to_owned()))?;
    let html = parsed.body_html(0).map(|html| html.into_owned());
    let text = parsed.body_text(0).map(|text| text.into_owned());
    let headers =
        parsed.headers_raw().map(|(name, value)| (name.to_owned(), unfolded(value))).collect();
    let links = html.as_deref().map(crate::messages::links_of).unwrap_or_default();
    let reference =
        tidings_domain::change::CustomerRef::Identity(tidings_domain::change::Identity {
            kind: tidings_domain::change::IdentityKind::Email,
            value: row.recipient.clone(),
        });
    let customer = ctx.workspace.customer(reference).await?;
    Ok(OpenMail { row, html, text, headers, links, customer })
}

fn unfolded(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn only_in_demo(ctx: &Ctx) -> Result<()> {
    match ctx.hub.settings.demo {
        true => Ok(()),
        false => Err(Error::NotFound("a mailbox; only the demo has one".to_owned())),
    }
}
