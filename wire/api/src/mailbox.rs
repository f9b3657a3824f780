//! `/v1/mailbox`: what the demo's own mail server has taken in.

use axum::Json;
use serde::{Deserialize, Serialize};
use tidings_domain::Timestamp;
use tidings_engine::customers::Listed;
use tidings_engine::mailbox::{self, MailRow};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::call::{Call, ReadMailbox};
use crate::customers::{CustomerSummary, summary};
use crate::errors::Result;
use crate::input::{Path, Query};
use crate::paging::{List, checked_limit, place};

#[derive(Debug, Serialize, ToSchema)]
pub struct MailSummary {
    pub id: Uuid,
    pub to: String,
    pub from: String,
    pub subject: String,
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    pub read: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Mail {
    #[serde(flatten)]
    pub summary: MailSummary,
    pub html: Option<String>,
    pub text: Option<String>,
    /// Name and value, in the order they stand.
    pub headers: Vec<(String, String)>,
    pub links: Vec<String>,
    /// Whose address it went to.
    pub customer: Option<CustomerSummary>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MailsQuery {
    /// Part of a recipient or subject.
    pub q: Option<String>,
    #[param(minimum = 1, maximum = 1000, default = 50)]
    pub limit: Option<usize>,
    pub cursor: Option<String>,
}

fn mail_summary(row: MailRow) -> MailSummary {
    MailSummary {
        id: row.id,
        to: row.recipient,
        from: row.sender,
        subject: row.subject,
        received_at: row.received_at,
        read: row.read_at.is_some(),
    }
}

/// Mails, newest first. Only the demo has a mailbox.
#[utoipa::path(get, path = "/v1/mailbox", tag = "Mailbox",
    security(("token" = ["mailbox"]), ("session" = ["viewer"])), params(MailsQuery),
    responses((status = 200, body = List<MailSummary>)))]
pub async fn list(
    call: Call<ReadMailbox>,
    Query(query): Query<MailsQuery>,
) -> Result<Json<List<MailSummary>>> {
    let before = place(query.cursor.as_deref())?;
    let text = query.q.filter(|text| !text.trim().is_empty());
    let page = mailbox::list(&call.ctx, text, before, checked_limit(query.limit)?).await?;
    Ok(Json(List::page(page.items.into_iter().map(mail_summary).collect(), page.next)))
}

/// One mail, which is read from then on.
#[utoipa::path(get, path = "/v1/mailbox/{id}", tag = "Mailbox",
    security(("token" = ["mailbox"]), ("session" = ["viewer"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Mail)))]
pub async fn show(call: Call<ReadMailbox>, Path(id): Path<Uuid>) -> Result<Json<Mail>> {
    let mail = mailbox::open(&call.ctx, id).await?;
    Ok(Json(Mail {
        summary: mail_summary(mail.row),
        html: mail.html,
        text: mail.text,
        headers: mail.headers,
        links: mail.links,
        customer: mail.customer.map(|customer| summary(Listed { customer, tags: Vec::new() })),
    }))
}
