//! `/v1/templates`: the texts that messages are rendered from.

use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidings_domain::{TemplateId, Timestamp};
use tidings_engine::customers::Listed;
use tidings_engine::templates::{self, Template as Stored, TemplateDraft};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::call::{Call, ReadTemplates, WriteTemplates};
use crate::campaigns::Sender;
use crate::customers::{CustomerSummary, summary};
use crate::errors::Result;
use crate::input::{Input, Path, Query};
use crate::paging::{List, Paging};
use crate::translate::path_ref;

/// A template as lists show it.
#[derive(Debug, Serialize, ToSchema)]
pub struct TemplateSummary {
    pub id: Uuid,
    pub number: i32,
    pub name: String,
    pub subject: String,
    /// Grows with every save; a launched campaign keeps the version it was launched with.
    pub version: i32,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Template {
    #[serde(flatten)]
    pub summary: TemplateSummary,
    pub html: String,
    /// The plain part; null where it is made from the HTML.
    pub text: Option<String>,
}

/// A template to save. All parts are Liquid.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateInput {
    pub name: String,
    #[schema(example = "Hello {{ customer.first_name }}")]
    pub subject: String,
    pub html: String,
    pub text: Option<String>,
}

/// Parts to preview; nothing is saved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewInput {
    pub subject: String,
    pub html: String,
    pub text: Option<String>,
    /// Whose message it would be: an id, or `email:…`, `external_id:…`, `phone:…`.
    pub customer: Option<String>,
    /// Further variables, by name.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub data: Option<Map<String, Value>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Preview {
    pub subject: String,
    pub html: String,
    pub text: Option<String>,
    pub customer: Option<CustomerSummary>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PreviewQuery {
    pub customer: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestInput {
    #[schema(example = "me@example.com")]
    pub to: String,
    pub customer: Option<String>,
    pub sender: Option<Sender>,
}

/// What the relay said to a test mail.
#[derive(Debug, Serialize, ToSchema)]
pub struct TestDone {
    pub sent: bool,
    pub reply: String,
}

fn template_summary(stored: &Stored) -> TemplateSummary {
    TemplateSummary {
        id: stored.id.0,
        number: stored.number,
        name: stored.name.clone(),
        subject: stored.subject.clone(),
        version: stored.version,
        updated_at: stored.updated_at,
    }
}

fn template(stored: Stored) -> Json<Template> {
    let summary = template_summary(&stored);
    let text = (!stored.text.is_empty()).then_some(stored.text);
    Json(Template { summary, html: stored.html, text })
}

fn draft(body: TemplateInput) -> TemplateDraft {
    TemplateDraft {
        name: body.name,
        subject: body.subject,
        html: body.html,
        text: body.text.unwrap_or_default(),
    }
}

pub(crate) fn preview(made: templates::Preview) -> Preview {
    Preview {
        subject: made.parts.subject,
        html: made.parts.html,
        text: made.parts.text,
        customer: made.customer.map(|customer| summary(Listed { customer, tags: Vec::new() })),
    }
}

/// Templates, oldest first.
#[utoipa::path(get, path = "/v1/templates", tag = "Templates",
    security(("token" = ["templates:read"]), ("session" = ["viewer"])), params(Paging),
    responses((status = 200, body = List<TemplateSummary>)))]
pub async fn list(
    call: Call<ReadTemplates>,
    Query(paging): Query<Paging>,
) -> Result<Json<List<TemplateSummary>>> {
    let after = paging.place()?.unwrap_or(0);
    let page = templates::page(&call.ctx, after, paging.limit()?).await?;
    Ok(Json(List::page(page.items.iter().map(template_summary).collect(), page.next)))
}

/// Save a new template.
#[utoipa::path(post, path = "/v1/templates", tag = "Templates", request_body = TemplateInput,
    security(("token" = ["templates"]), ("session" = ["editor"])),
    responses((status = 201, body = Template)))]
pub async fn create(
    call: Call<WriteTemplates>,
    Input(body): Input<TemplateInput>,
) -> Result<(StatusCode, Json<Template>)> {
    let id = templates::create(&call.ctx, draft(body)).await?;
    Ok((StatusCode::CREATED, template(templates::get(&call.ctx, id).await?)))
}

/// One template with its parts.
#[utoipa::path(get, path = "/v1/templates/{id}", tag = "Templates",
    security(("token" = ["templates:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Template)))]
pub async fn show(call: Call<ReadTemplates>, Path(id): Path<Uuid>) -> Result<Json<Template>> {
    Ok(template(templates::get(&call.ctx, TemplateId(id)).await?))
}

/// Save a new version of a template.
#[utoipa::path(put, path = "/v1/templates/{id}", tag = "Templates", request_body = TemplateInput,
    security(("token" = ["templates"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = Template)))]
pub async fn put(
    call: Call<WriteTemplates>,
    Path(id): Path<Uuid>,
    Input(body): Input<TemplateInput>,
) -> Result<Json<Template>> {
    templates::change(&call.ctx, TemplateId(id), draft(body)).await?;
    Ok(template(templates::get(&call.ctx, TemplateId(id)).await?))
}

/// Remove a template that no campaign uses.
#[utoipa::path(delete, path = "/v1/templates/{id}", tag = "Templates",
    security(("token" = ["templates"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 204)))]
pub async fn remove(call: Call<WriteTemplates>, Path(id): Path<Uuid>) -> Result<StatusCode> {
    templates::drop(&call.ctx, TemplateId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Render parts for a customer without saving them. A fault names its part, line and column.
#[utoipa::path(post, path = "/v1/templates/preview", tag = "Templates",
    request_body = PreviewInput, security(("token" = ["templates:read"]), ("session" = ["viewer"])),
    responses((status = 200, body = Preview)))]
pub async fn preview_parts(
    call: Call<ReadTemplates>,
    Input(body): Input<PreviewInput>,
) -> Result<Json<Preview>> {
    let customer = body.customer.as_deref().map(path_ref).transpose()?;
    let draft = TemplateDraft {
        name: "Preview".to_owned(),
        subject: body.subject,
        html: body.html,
        text: body.text.unwrap_or_default(),
    };
    let data = body.data.unwrap_or_default();
    Ok(Json(preview(templates::preview(&call.ctx, &draft, customer, data).await?)))
}

/// Render a saved template for a customer.
#[utoipa::path(get, path = "/v1/templates/{id}/preview", tag = "Templates",
    security(("token" = ["templates:read"]), ("session" = ["viewer"])), params(("id" = Uuid, Path), PreviewQuery),
    responses((status = 200, body = Preview)))]
pub async fn preview_saved(
    call: Call<ReadTemplates>,
    Path(id): Path<Uuid>,
    Query(query): Query<PreviewQuery>,
) -> Result<Json<Preview>> {
    let customer = query.customer.as_deref().map(path_ref).transpose()?;
    let saved = templates::get(&call.ctx, TemplateId(id)).await?;
    let draft = templates::as_draft(saved);
    Ok(Json(preview(templates::preview(&call.ctx, &draft, customer, Map::new()).await?)))
}

/// Send one mail to look at; it counts nowhere, and its subject says that it is a test.
#[utoipa::path(post, path = "/v1/templates/{id}/test", tag = "Templates",
    request_body = TestInput, security(("token" = ["templates"]), ("session" = ["editor"])), params(("id" = Uuid, Path)),
    responses((status = 200, body = TestDone)))]
pub async fn test(
    call: Call<WriteTemplates>,
    Path(id): Path<Uuid>,
    Input(body): Input<TestInput>,
) -> Result<Json<TestDone>> {
    let customer = body.customer.as_deref().map(path_ref).transpose()?;
    let sender = body.sender.map(Into::into);
    let (sent, reply) =
        templates::send_test(&call.ctx, TemplateId(id), &body.to, customer, sender).await?;
    Ok(Json(TestDone { sent, reply }))
}
